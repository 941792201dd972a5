import Foundation
import MediaFiles
import MediaFormats
import MediaFrames
import Recording
import Testing
import Wire

/// `kill -9` of a process that records, at moments that nobody chose.
@Suite struct KillTests {
    private static let program = (CommandLine.arguments[0] as NSString).deletingLastPathComponent + "/record-torture"

    @Test(arguments: [Codec.h264, .vp8])
    func atMostASecondIsLostWheneverTheProcessIsKilled(_ codec: Codec) throws {
        var random = SeededRandom(seed: UInt64(codec.rawValue.count))
        for _ in 0..<6 {
            let lines = 100 + Int(random.next() % 3_000)
            let path = NSTemporaryDirectory() + "weir-kill-" + UUID().uuidString
            defer { try? FileManager.default.removeItem(atPath: path) }
            let reached = try killed(after: lines, path, codec)
            let studio = try Studio(path: path)
            studio.finaliser.repair(settings: Studio.settings)
            studio.finaliser.waitUntilIdle()
            #expect(studio.events.all.notFinalised.isEmpty)
            #expect(studio.names.filter { $0.hasPrefix("unfinished/") } == ["unfinished/.lock"])
            // Files follow one another, so what all of them hold together is how far the recording is.
            var length = Interval.zero
            let files = studio.folder.files()
            for file in files {
                let demuxer = try Demuxer(path: studio.path + "/" + file.name)
                var end = Interval.zero
                while let sample = try demuxer.next() { end = max(end, sample.frame.time) }
                length = length + end
            }
            #expect(!files.isEmpty)
            #expect(
                reached - length <= .seconds(1) + .milliseconds(100 * Int64(files.count)),
                "killed at \(reached.seconds) s, \(length.seconds) s are left in \(files.map(\.name))")
        }
    }

    /// - Returns: how far the stream was.
    private func killed(after lines: Int, _ path: String, _ codec: Codec) throws -> Interval {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: Self.program)
        process.arguments = [path, codec.rawValue]
        let pipe = Pipe()
        process.standardOutput = pipe
        try process.run()
        var text = Data()
        var seen = 0
        while seen < lines {
            let more = pipe.fileHandleForReading.availableData
            try #require(!more.isEmpty, "the process ended by itself")
            seen += more.count(where: { $0 == UInt8(ascii: "\n") })
            text.append(more)
        }
        kill(process.processIdentifier, SIGKILL)
        text.append(pipe.fileHandleForReading.readDataToEndOfFile())
        process.waitUntilExit()
        let last = String(decoding: text, as: UTF8.self).split(separator: "\n").last
        return .milliseconds(Int64(last ?? "0") ?? 0)
    }
}
