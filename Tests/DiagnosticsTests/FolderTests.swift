import ControlPlane
import Diagnostics
import Foundation
import Logging
import Synchronization
import Testing
import WeirMetrics

/// What stands in the folder of reports and logs, and what finds no room there.
@Suite(.timeLimit(.minutes(4)))
struct FolderTests {
    /// 2026-01-02T03:04:05.678Z
    private static let time: Int64 = 1_767_323_045_678_000_000
    private static let session = "/192.0.2.1:5000/192.0.2.9:8080-0123456789ABCDEF0123456789abcdef"

    /// A folder of its own for one test, in a place that is not there yet; removed when the value is released.
    private final class Place: Sendable {
        let path = NSTemporaryDirectory() + "weir-diagnostics-\(UInt64.random(in: 0 ... .max))"
        let metrics = MetricsRegistry()
        let free = Mutex(Int.max / 2)

        deinit { try? FileManager.default.removeItem(atPath: path) }

        func open(_ change: (inout DiagnosticSettings) -> Void = { _ in }) throws -> DiagnosticFolder {
            var settings = DiagnosticSettings(folder: "\(path)/below", server: "weir test")
            settings.minFree = 1_000
            change(&settings)
            var logger = Logger(label: "test")
            logger.logLevel = .critical
            return try DiagnosticFolder(
                settings, metrics: metrics, logger: logger, unixNanoseconds: FolderTests.time,
                freeBytes: { [self] _ in free.withLock { $0 } })
        }

        var files: [String] {
            get throws { try FileManager.default.contentsOfDirectory(atPath: "\(path)/below").sorted() }
        }

        func read(_ name: String) throws -> String {
            try String(contentsOfFile: "\(path)/below/\(name)", encoding: .utf8)
        }

        func mode(_ name: String) throws -> Int? {
            try FileManager.default.attributesOfItem(atPath: "\(path)/below/\(name)")[.posixPermissions] as? Int
        }

        func count(_ kind: String, _ result: String) -> UInt64 {
            metrics.counter(
                "weir_diagnostics_files_total", help: "", labels: [("kind", kind), ("result", result)]
            ).value
        }
    }

    @Test func aReportHasANameOfTimeAndSessionAndIsForItsOwnerOnly() async throws {
        let place = Place()
        let folder = try place.open()
        let first = try await folder.keepReport("text\n", session: Self.session)
        #expect(first == "bug-report-20260102T030405.678Z-01234567.txt")
        #expect(
            try place.read(first)
                == "Weir bug report\ntime: 2026-01-02T03:04:05.678Z\nserver: weir test\ntext\n")
        let second = try await folder.keepReport("again", session: Self.session)
        #expect(second == "bug-report-20260102T030405.678Z-01234567-2.txt")
        #expect(try place.mode(first) == 0o600)
        #expect(try place.mode("") == 0o700)
        #expect(place.count("report", "kept") == 2)
        await folder.shutdown()
    }

    @Test(arguments: ["../../etc/passwd", "", "/", "-../..", "a-\u{0}", "x-../0a/9"])
    func
        nothingOfASessionsIdLeavesTheFolder(session: String) async throws
    {
        let place = Place()
        let folder = try place.open()
        let name = try await folder.keepReport("text", session: session)
        #expect(!name.contains("/") && !name.contains("\u{0}"))
        #expect(try place.files == [name])
        await folder.shutdown()
    }

    @Test func whatIsFullTakesNothingNewAndSaysWhy() async throws {
        let place = Place()
        let folder = try place.open {
            $0.maxFiles = 2
            $0.maxBytes = 1_000
        }
        let long = String(repeating: "x", count: 900)
        await #expect(throws: DiagnosticError.folderFull) { try await folder.keepReport(long + long, session: "-1") }
        let kept = try await folder.keepReport(String(repeating: "x", count: 700), session: "-1")
        await #expect(throws: DiagnosticError.folderFull) { try await folder.keepReport(long, session: "-1") }
        _ = try await folder.keepReport("x", session: "-1")
        await #expect(throws: DiagnosticError.tooManyFiles) { try await folder.keepReport("x", session: "-1") }
        await #expect(throws: DiagnosticError.tooManyFiles) { try await folder.openLog(.session, session: "-1") }
        // The operator makes room.
        try FileManager.default.removeItem(atPath: "\(place.path)/below/\(kept)")
        _ = try await folder.keepReport("x", session: "-1")
        #expect(place.count("report", "kept") == 3)
        #expect(place.count("report", "folder_full") == 2 && place.count("report", "too_many_files") == 1)
        #expect(place.count("session", "too_many_files") == 1)
        await folder.shutdown()
    }

    @Test func theDiskKeepsSomeFree() async throws {
        let place = Place()
        let folder = try place.open()
        place.free.withLock { $0 = 1_050 }
        await #expect(throws: DiagnosticError.diskFull) { try await folder.keepReport("text", session: "-1") }
        #expect(try place.files.isEmpty)
        place.free.withLock { $0 = 100_000 }
        let log = try await folder.openLog(.session, session: "-1")
        log.append("there is room")
        place.free.withLock { $0 = 999 }
        log.append("there may be none")
        log.append("there is none")
        await log.close()
        #expect(try !place.read(log.fileName).contains("there is none"))
        await folder.shutdown()
    }

    @Test func aLogHasItsLinesInOrderWithTheirTimes() async throws {
        let place = Place()
        let folder = try place.open()
        let log = try await folder.openLog(.session, session: Self.session)
        #expect(log.fileName == "session-20260102T030405.678Z-01234567.log")
        for number in 0..<1_000 { log.append("line \(number)") }
        await log.close()
        log.append("too late")
        await log.close()
        let lines = try place.read(log.fileName).split(separator: "\n")
        #expect(lines.count == 1_001)
        #expect(lines.first == "2026-01-02T03:04:05.678Z log of session \(Self.session) on weir test")
        #expect(lines.dropFirst().enumerated().allSatisfy { $1 == "2026-01-02T03:04:05.678Z line \($0)" })
        #expect(place.metrics.gauge("weir_diagnostics_open_logs", help: "").value == 0)
        await folder.shutdown()
    }

    @Test func aLogEndsAtItsGreatestSizeAndSaysSo() async throws {
        let place = Place()
        let folder = try place.open { $0.maxLogBytes = 64 << 10 }
        let log = try await folder.openLog(.client, session: Self.session)
        for _ in 0..<1_000 { log.append(String(repeating: "x", count: 100)) }
        await log.close()
        let text = try place.read(log.fileName)
        #expect(text.utf8.count <= 64 << 10 && text.utf8.count > 60 << 10)
        #expect(text.hasSuffix("the log has reached its greatest size and ends here\n"))
        #expect(place.metrics.counter("weir_diagnostics_lines_left_out_total", help: "").value > 300)
        await folder.shutdown()
    }

    @Test func soManyLogsAreOpenAtATime() async throws {
        let place = Place()
        let folder = try place.open { $0.maxOpenLogs = 1 }
        let log = try await folder.openLog(.session, session: "-1")
        await #expect(throws: DiagnosticError.tooManyLogs) { try await folder.openLog(.session, session: "-2") }
        await log.close()
        await (try await folder.openLog(.session, session: "-2")).close()
        await folder.shutdown()
    }

    @Test func aFolderThatCannotBeIsNamed() throws {
        #expect(throws: DiagnosticError.self) {
            let settings = DiagnosticSettings(folder: "/proc/none/of/it", server: "")
            _ = try DiagnosticFolder(settings, metrics: MetricsRegistry(), logger: Logger(label: "test"))
        }
    }

    @Test func whatIsAskedAfterTheEndIsRefused() async throws {
        let place = Place()
        let folder = try place.open()
        await folder.shutdown()
        await #expect(throws: DiagnosticError.timeout) { try await folder.keepReport("x", session: "-1") }
    }
}
