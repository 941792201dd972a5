import Foundation
import MediaFiles
import MediaFormats
import MediaFrames
import MediaTestSupport
import Recording
import Testing
import Wire

/// What is left when the process dies: the parts as they were, without any end.
@Suite struct CrashTests {
    /// A part and its journal, as `kill -9` leaves them after these frames.
    private func torn(_ clips: [TestClip], name: String = "s1") throws -> (path: String, part: String) {
        let studio = try Studio()
        let recorder = studio.recorder(clips.map(\.description), identity: .init(streamName: name, mediaSessionID: "m"))
        recorder.feed(clips.flatMap(\.frames).sorted { ($0.time, $0.track) < ($1.time, $1.track) })
        let part = try #require(studio.names.first { $0.hasSuffix(".part") })
        let copy = NSTemporaryDirectory() + "weir-torn-" + UUID().uuidString
        try FileManager.default.copyItem(atPath: studio.path, toPath: copy)
        return (copy, copy + "/" + part)
    }

    @Test func aFragmentThatIsNotWholeIsLeftOutWholly() throws {
        let clips = [try TestClip.video(.h264, count: 100), try TestClip.audio(.opus, count: 166)]
        let (path, part) = try torn(clips)
        defer { try? FileManager.default.removeItem(atPath: path) }
        // Within the last sample: a reader that takes what it finds would take a part of it.
        let length = try #require(FileHandle(forReadingAtPath: part)).seekToEnd()
        #expect(truncate(part, Int(length) - 20) == 0)
        let studio = try Studio(path: path)
        #expect(studio.finaliser.repair(settings: Studio.settings) == 1)
        let recording = try #require(try studio.recordings().first)
        #expect(recording.frames[0].count >= 60 && recording.frames[1].count >= 100)
        for (codec, clip, frames) in zip3([Codec.h264, .opus], clips, recording.frames) {
            let same = essence(codec, frames) == Array(essence(codec, clip.frames).prefix(frames.count))
            #expect(same, "\(codec)")
        }
    }

    private func zip3<A, B, C>(_ a: [A], _ b: [B], _ c: [C]) -> [(A, B, C)] {
        zip(a, zip(b, c)).map { ($0, $1.0, $1.1) }
    }

    @Test(arguments: [Codec.h264, .vp8])
    func aTornRecordingIsMadeWholeAtTheNextStart(_ codec: Codec) throws {
        let clips = [try TestClip.video(codec, count: 100), try TestClip.audio(.opus, count: 166)]
        let (path, part) = try torn(clips)
        defer { try? FileManager.default.removeItem(atPath: path) }
        // In the middle of a fragment.
        let handle = try #require(FileHandle(forWritingAtPath: part))
        try handle.seekToEnd()
        try handle.write(contentsOf: Data([0, 0, 9, 9, 0x6d, 0x6f, 0x6f, 0x66, 1, 2, 3]))
        try handle.close()
        let studio = try Studio(path: path)
        #expect(studio.finaliser.repair(settings: Studio.settings) == 1)
        let recording = try #require(try studio.recordings().first)
        #expect(recording.file.wasRepaired && recording.file.isIndexed)
        #expect(recording.file.name == "s1." + (codec == .h264 ? "mp4" : "webm"))
        #expect(studio.events.all.repaired.map(\.lost) == [11])
        // 3.3 s were recorded; at most one of them may be lost.
        #expect(recording.frames[0].count >= 70 && recording.frames[1].count >= 116)
        let kept = recording.frames[0].count
        let same = essence(codec, recording.frames[0]) == Array(essence(codec, clips[0].frames).prefix(kept))
        #expect(same)
        #expect(studio.names.filter { $0.hasPrefix("unfinished/") } == ["unfinished/.lock"])
    }

    /// Every state that writing leaves behind, since what is written is never touched again: the file cut anywhere.
    @Test(arguments: [ContainerFormat.mp4, .webm, .mkv, .ts])
    func cutAnywhereAtMostASecondIsLost(_ format: ContainerFormat) throws {
        let codec: Codec = format == .webm ? .vp8 : .h264
        let video = try TestClip.video(codec, count: 90, size: VideoSize(width: 96, height: 64))
        let audio = try TestClip.audio(.opus, count: 150)
        let path = NSTemporaryDirectory() + "weir-cut-" + UUID().uuidString
        defer { for suffix in ["", ".cut", ".out"] { unlink(path + suffix) } }
        let output = try FileOutput(creating: path, seekable: false)
        let muxer = try Muxer(
            format: format,
            tracks: [MuxerTrack(video.description, first: video.frames[0]), MuxerTrack(audio.description)],
            origin: .zero, output: output)
        // How far the stream was when the file had so many bytes.
        var history: [(length: Int64, time: Interval)] = []
        for frame in interleaved(video, audio) {
            try muxer.write(frame, track: frame.track)
            history.append((output.size, frame.time))
        }
        let head = try #require(history.first).length
        let bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        let step = max(1, bytes.count / 150)
        for cut in stride(from: 0, through: bytes.count, by: step) {
            try bytes.prefix(cut).write(to: URL(fileURLWithPath: path + ".cut"))
            let torn = try TornFile.inspect(path: path + ".cut", format: format)
            #expect(torn.wholeLength <= cut)
            // The latest moment at which the file can have had this length.
            let time = history.last { $0.length <= Int64(cut) }?.time ?? .zero
            guard time > .seconds(1) || (format != .ts && torn.fragments > 0) else { continue }
            #expect(Int64(cut) >= head && !torn.isEmpty)
            unlink(path + ".out")
            let end: Interval
            if format.isFinalised {
                let target = try FileOutput(creating: path + ".out", seekable: true)
                let remuxer = Remuxer(source: path + ".cut", limit: torn.wholeLength, format: format)
                end = try remuxer.run(into: target).duration
            } else {
                end = try lastTime(path + ".cut")
            }
            #expect(time - end <= .seconds(1), "cut at \(cut): \(time.seconds) s were written, \(end.seconds) are left")
        }
    }

    private func lastTime(_ path: String) throws -> Interval {
        let demuxer = try Demuxer(path: path)
        var last = Interval.zero
        while let sample = try demuxer.next() { last = max(last, sample.frame.time) }
        return last
    }

    @Test func aDeathBetweenTheStepsOfPublishingLosesAndDoublesNothing() throws {
        let clip = try TestClip.video(.h264, count: 60)
        let (path, part) = try torn([clip])
        defer { try? FileManager.default.removeItem(atPath: path) }
        let id = (part as NSString).lastPathComponent.split(separator: ".")[0]
        let base = path + "/unfinished/" + id
        // A final file that is not whole lies beside its part.
        try Data("half".utf8).write(to: URL(fileURLWithPath: base + ".final"))
        do {
            let studio = try Studio(path: path)
            #expect(studio.finaliser.repair(settings: Studio.settings) == 1)
            #expect(try studio.recordings().count == 1)
        }
        // Published, but the spent part was not removed.
        try Data("old".utf8).write(to: URL(fileURLWithPath: base + ".spent"))
        do {
            let studio = try Studio(path: path)
            #expect(studio.finaliser.repair(settings: Studio.settings) == 0)
            #expect(studio.names.filter { $0.hasSuffix(".mp4") } == ["s1.mp4"])
            #expect(studio.names.filter { $0.hasPrefix("unfinished/") } == ["unfinished/.lock"])
        }
        // Spent, and the whole final file not yet in its place.
        try FileManager.default.moveItem(atPath: path + "/s1.mp4", toPath: base + ".final")
        try Data("old".utf8).write(to: URL(fileURLWithPath: base + ".spent"))
        do {
            let studio = try Studio(path: path)
            try studio.folder.writeJournal(
                RecordingJournal(
                    id: String(id), identity: .init(streamName: "s1", mediaSessionID: "m"), startedAt: 0, part: 1,
                    name: "s1.mp4"))
            #expect(studio.finaliser.repair(settings: Studio.settings) == 1)
            let recordings = try studio.recordings()
            #expect(recordings.map(\.file.name) == ["s1.mp4"])
            #expect(recordings[0].frames[0].count >= 30)
            #expect(studio.names.filter { $0.hasPrefix("unfinished/") } == ["unfinished/.lock"])
        }
    }

    @Test func aPartWithoutItsJournalIsNotLost() throws {
        let (path, part) = try torn([try TestClip.video(.h264, count: 60)])
        defer { try? FileManager.default.removeItem(atPath: path) }
        let journal = part.replacingOccurrences(of: ".mp4.part", with: ".json")
        try FileManager.default.removeItem(atPath: journal)
        let studio = try Studio(path: path)
        #expect(studio.finaliser.repair(settings: Studio.settings) == 1)
        let recording = try #require(try studio.recordings().first)
        #expect(recording.file.name.hasPrefix("recovered-"))
    }

    @Test func aPartWithoutAnyFragmentIsReportedAndRemoved() throws {
        let (path, part) = try torn([try TestClip.video(.h264, count: 60)])
        defer { try? FileManager.default.removeItem(atPath: path) }
        try Data(repeating: 0, count: 5_000).write(to: URL(fileURLWithPath: part))
        let studio = try Studio(path: path)
        #expect(studio.finaliser.repair(settings: Studio.settings) == 0)
        #expect(studio.events.all.repaired.map(\.bytes) == [0])
        #expect(studio.names.filter { $0.hasPrefix("unfinished/") } == ["unfinished/.lock"])
    }

    @Test func twoServersCannotHaveOneFolder() throws {
        let studio = try Studio()
        #expect(throws: ContainerError.system(errno: EBUSY)) { try RecordingFolder(path: studio.path) }
    }

    @Test func damagedPartsNeitherCrashNorHang() throws {
        let (path, part) = try torn([try TestClip.video(.h264, count: 45), try TestClip.audio(.opus, count: 75)])
        defer { try? FileManager.default.removeItem(atPath: path) }
        let sound = try [UInt8](Data(contentsOf: URL(fileURLWithPath: part)))
        var random = SeededRandom(seed: 7)
        for _ in 0..<60 {
            var bytes = sound
            for _ in 0..<8 {
                let at = Int(random.next() % UInt64(bytes.count))
                bytes[at] = UInt8(truncatingIfNeeded: random.next())
            }
            try Data(bytes).write(to: URL(fileURLWithPath: part))
            let torn = try TornFile.inspect(path: part, format: .mp4)
            #expect(torn.wholeLength <= Int64(bytes.count))
            _ = try? Remuxer(source: part, limit: torn.wholeLength, format: .mp4).run(into: CountingOutput())
        }
    }
}
