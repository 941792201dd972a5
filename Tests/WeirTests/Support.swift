import Foundation
import Logging
import Synchronization
import Weir
import Wire

/// A directory of its own for one test, removed when the value is released.
final class TemporaryDirectory: Sendable {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "weir-test-\(UInt64.random(in: 0 ... .max))"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func write(_ name: String, _ text: String) throws -> String {
        let file = "\(path)/\(name)"
        try text.write(toFile: file, atomically: false, encoding: .utf8)
        return file
    }
}

/// Collects log lines, with a clock that the test moves.
final class LogTape: Sendable {
    private struct State {
        var lines: [String] = []
        var now: Int64 = 0
        var isBlocked = false
        var waits: [CInt] = []
    }
    private let state = Mutex(State())
    /// 2026-01-02T03:04:05.678Z
    static let start: Int64 = 1_767_323_045_678_000_000

    var lines: [String] { state.withLock { $0.lines } }
    var waits: [CInt] { state.withLock { $0.waits } }
    func advance(_ interval: Interval) { state.withLock { $0.now += interval.nanoseconds } }
    func block(_ on: Bool) { state.withLock { $0.isBlocked = on } }

    func makeSink(_ settings: Configuration.Log = Configuration.Log()) -> LogSink {
        LogSink(
            settings,
            clock: { [self] in
                let now = state.withLock { $0.now }
                return .init(unixNanoseconds: Self.start + now, monotonic: Instant(nanoseconds: now))
            },
            output: { [self] line, wait in
                state.withLock {
                    $0.waits.append(wait)
                    guard !$0.isBlocked else { return false }
                    $0.lines.append(String(decoding: line, as: UTF8.self))
                    return true
                }
            })
    }
}

let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

/// The root of the repository: the nearest directory above this file with `Config/weir.yaml` in it.
func repositoryFile(_ path: String) throws -> String {
    let root = URL(fileURLWithPath: #filePath).resolvingSymlinksInPath()
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    return try String(contentsOf: root.appendingPathComponent(path), encoding: .utf8)
}
