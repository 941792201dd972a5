import Foundation
import MediaFiles
import MediaFormats
import MediaFrames
import MediaTestSupport
import Recording
import Testing
import Wire

/// Several streams in one file.
@Suite struct GroupTests {
    private static let base = "multi-recorder___room"

    /// A stream of the group, written up to its end.
    private struct Member {
        var name: String
        var clips: [TestClip]
        /// Milliseconds behind the first one.
        var delay: WallMillis
    }

    private static let start: WallMillis = 1_700_000_000_250
    /// Packets of sound in a second.
    private static let mostLost = 49

    private func members() throws -> [Member] {
        let sound = try TestClip.audio(.opus, count: 100)
        return [
            Member(name: "ann", clips: [try TestClip.video(.vp8, count: 60), sound], delay: 0),
            Member(name: "$(id) 🎥\u{7}", clips: [try TestClip.video(.h264, count: 30), sound], delay: 1_250),
            Member(name: "ann", clips: [try TestClip.audio(.opus, count: 50, track: 0)], delay: 3_000),
        ]
    }

    private func settings(_ format: ContainerFormat) -> RecordingSettings {
        var settings = Studio.settings
        settings.formats = [.vp8: format, .h264: format]
        settings.audioFormat = format
        return settings
    }

    private func group(_ studio: Studio, _ format: ContainerFormat = .mkv) throws -> RecordingGroup {
        try RecordingGroup(
            name: "multi-recorder://room", base: Self.base, format: format, keepsUnicode: false, folder: studio.folder,
            finaliser: studio.finaliser)
    }

    private func recorder(
        _ member: Member, _ studio: Studio, _ group: RecordingGroup, _ settings: RecordingSettings
    ) -> Recorder {
        Recorder(
            identity: .init(
                streamName: member.name, mediaSessionID: "\(member.name)-\(member.delay)", group: group.id),
            tracks: member.clips.map(\.description), settings: settings, folder: studio.folder,
            finaliser: studio.finaliser, group: group, wallClock: { Self.start + member.delay })
    }

    private func feed(_ recorder: Recorder, _ member: Member) {
        recorder.feed(member.clips.flatMap(\.frames).sorted { ($0.time, $0.track) < ($1.time, $1.track) })
    }

    /// What is in a joined file: by track its name, its first time, its frames.
    private func read(_ path: String) throws -> [(title: String, first: Interval, frames: [MediaFrame])] {
        let demuxer = try Demuxer(path: path, selection: .all)
        #expect(demuxer.startedAt == Self.start)
        var frames: [[MediaFrame]] = demuxer.tracks.map { _ in [] }
        while let sample = try demuxer.next() { frames[sample.frame.track].append(sample.frame) }
        return zip(demuxer.titles, frames).map { ($0, ($1.first?.time ?? .zero) + demuxer.start, $1) }
    }

    private func check(_ path: String, _ members: [Member], count: (Int) -> Range<Int>) throws {
        let tracks = try read(path)
        #expect(tracks.map(\.title) == ["ann", "ann", "$(id) 🎥\u{fffd}", "$(id) 🎥\u{fffd}", "ann"])
        let clips = members.flatMap { member in member.clips.map { (member.delay, $0) } }
        for (track, (delay, clip)) in zip(tracks, clips) {
            #expect(abs((track.first - .milliseconds(delay)).milliseconds) <= 2, "\(track.first)")
            #expect(count(clip.frames.count).contains(track.frames.count), "\(track.frames.count)")
            let codec = clip.description.codec
            let isSame =
                essence(codec, track.frames) == Array(essence(codec, clip.frames).prefix(track.frames.count))
            #expect(isSame, "\(codec)")
        }
    }

    @Test func streamsThatComeAndGoAndComeBackAreTracksOfOneFileOnOneClock() throws {
        let studio = try Studio()
        let group = try group(studio)
        let members = try members()
        for member in members {
            let recorder = recorder(member, studio, group, settings(.mkv))
            feed(recorder, member)
            #expect(recorder.stop(now: .zero) == Self.base + ".mkv")
        }
        studio.finaliser.waitUntilIdle()
        #expect(studio.events.all.completed.isEmpty, "nothing is joined before the end")
        #expect(group.finish() == Self.base + ".mkv")
        #expect(group.finish() == nil)
        studio.finaliser.waitUntilIdle()
        let file = try #require(studio.events.all.completed.first)
        #expect(file.name == Self.base + ".mkv" && file.isIndexed && !file.wasRepaired)
        #expect(studio.events.all.completed.count == 1 && studio.events.all.ended == [file.name])
        #expect(abs(file.duration.milliseconds - 4_000) < 50)
        try check(file.path, members) { $0..<($0 + 1) }
        #expect(studio.names.filter { $0.hasPrefix("unfinished/") } == ["unfinished/.lock"])
    }

    @Test(arguments: [ContainerFormat.mp4, .mkv])
    func everyTrackHasItsTurnAndItsName(format: ContainerFormat) throws {
        let studio = try Studio()
        let group = try group(studio, format)
        for (index, rotation) in [VideoRotation.none, .clockwise90].enumerated() {
            let member = Member(
                name: "s\(index)", clips: [try TestClip.video(.h264, count: 30, rotation: rotation)],
                delay: WallMillis(index) * 500)
            let recorder = recorder(member, studio, group, settings(format))
            feed(recorder, member)
            recorder.stop(now: .zero)
        }
        group.finish()
        studio.finaliser.waitUntilIdle()
        let file = try #require(studio.events.all.completed.first)
        let demuxer = try Demuxer(path: file.path, selection: .all)
        #expect(demuxer.titles == ["s0", "s1"] && demuxer.rotations == [.none, .clockwise90])
        #expect(demuxer.startedAt == Self.start)
        #expect(try read(file.path).map { ($0.first.milliseconds + 10) / 500 } == [0, 1])
    }

    @Test func aPictureThatIsTurnedGoesOnInATrackOfItsOwn() throws {
        let studio = try Studio()
        let group = try group(studio)
        let upright = try TestClip.video(.vp8, count: 30, keyEvery: 15)
        let turned = try TestClip.video(.vp8, count: 30, keyEvery: 15, first: 30, rotation: .clockwise270)
        let member = Member(name: "phone", clips: [upright], delay: 0)
        let recorder = recorder(member, studio, group, settings(.mkv))
        recorder.feed(upright.frames + turned.frames)
        recorder.stop(now: .zero)
        group.finish()
        studio.finaliser.waitUntilIdle()
        let demuxer = try Demuxer(path: try #require(studio.events.all.completed.first).path, selection: .all)
        #expect(demuxer.titles == ["phone", "phone"] && demuxer.rotations == [.none, .clockwise270])
    }

    @Test func aGroupWithoutStreamsLeavesNothing() throws {
        let studio = try Studio()
        #expect(try group(studio).finish() == nil)
        studio.finaliser.waitUntilIdle()
        #expect(studio.names == ["unfinished", "unfinished/.lock"])
        #expect(try group(studio).fileName == Self.base + ".mkv", "the name is free again")
    }

    @Test func whatComesAfterTheEndIsAFileOfItsOwn() throws {
        let studio = try Studio()
        let group = try group(studio)
        let member = try members()[0]
        let recorder = recorder(member, studio, group, settings(.mkv))
        feed(recorder, member)
        group.finish()
        #expect(recorder.stop(now: .zero) == "ann.mkv")
        studio.finaliser.waitUntilIdle()
        #expect(studio.events.all.completed.map(\.name) == ["ann.mkv"])
    }

    // MARK: Crashes

    /// The folder as `kill -9` leaves it: the first stream has ended, the others are being written.
    private func killed(_ members: [Member]) throws -> String {
        let studio = try Studio()
        let group = try group(studio)
        var open: [Recorder] = []
        for (index, member) in members.enumerated() {
            let recorder = recorder(member, studio, group, settings(.mkv))
            feed(recorder, member)
            if index == 0 { recorder.stop(now: .zero) } else { open.append(recorder) }
        }
        let copy = NSTemporaryDirectory() + "weir-killed-" + UUID().uuidString
        try FileManager.default.copyItem(atPath: studio.path, toPath: copy)
        withExtendedLifetime(open) {}
        return copy
    }

    @Test func aKilledGroupIsMadeWholeAtTheNextStart() throws {
        let members = try members()
        let path = try killed(members)
        defer { try? FileManager.default.removeItem(atPath: path) }
        // Half a fragment at the end of one.
        let part = try #require(
            try FileManager.default.contentsOfDirectory(atPath: path + "/unfinished").filter { $0.hasSuffix(".part") }
                .sorted().last)
        let handle = try #require(FileHandle(forWritingAtPath: path + "/unfinished/" + part))
        try handle.seekToEnd()
        try handle.write(contentsOf: Data([0x1f, 0x43, 0xb6, 0x75, 0x41, 0, 1, 2, 3]))
        try handle.close()
        let studio = try Studio(path: path)
        #expect(studio.finaliser.repair(settings: Studio.settings) == 1)
        studio.finaliser.waitUntilIdle()
        let file = try #require(studio.events.all.completed.first)
        #expect(studio.events.all.completed.count == 1)
        #expect(file.name == Self.base + ".mkv" && file.wasRepaired && file.isIndexed)
        #expect(studio.events.all.repaired.map(\.lost).filter { $0 > 0 } == [9])
        // Fragments of half a second.
        try check(file.path, members) { $0 - Self.mostLost..<($0 + 1) }
        #expect(studio.names.filter { $0.hasPrefix("unfinished/") } == ["unfinished/.lock"])
    }

    @Test func aGroupWhoseJournalIsGoneIsStillJoined() throws {
        let path = try killed(try members())
        defer { try? FileManager.default.removeItem(atPath: path) }
        let folder = path + "/unfinished/"
        for name in try FileManager.default.contentsOfDirectory(atPath: folder) where name.hasSuffix(".json") {
            let text = try String(contentsOfFile: folder + name, encoding: .utf8)
            if !text.contains("\"group\"") { try FileManager.default.removeItem(atPath: folder + name) }
        }
        let studio = try Studio(path: path)
        #expect(studio.finaliser.repair(settings: Studio.settings) == 1)
        studio.finaliser.waitUntilIdle()
        // The stream that had ended knew the name.
        #expect(studio.events.all.completed.map(\.name) == [Self.base + ".mkv"])
    }

    /// Dead between the last byte of the joined file and its name.
    @Test(arguments: [false, true])
    func aJoinedFileWithoutItsNameIsNotMadeTwice(withParts: Bool) throws {
        let members = try members()
        let path = try killed(members)
        defer { try? FileManager.default.removeItem(atPath: path) }
        let folder = path + "/unfinished/"
        let names = try FileManager.default.contentsOfDirectory(atPath: folder)
        let head = try #require(
            names.first { name in
                name.hasSuffix(".json")
                    && (try? String(contentsOfFile: folder + name, encoding: .utf8).contains("\"group\"")) == false
            })
        let id = String(head.dropLast(5))
        let whole = try #require(names.first { $0.hasSuffix(".part") })
        try FileManager.default.copyItem(atPath: folder + whole, toPath: folder + id + ".joined")
        if !withParts {
            for name in names where name.hasSuffix(".part") || (name.hasSuffix(".json") && name != head) {
                try FileManager.default.removeItem(atPath: folder + name)
            }
        }
        let studio = try Studio(path: path)
        #expect(studio.finaliser.repair(settings: Studio.settings) == 1)
        studio.finaliser.waitUntilIdle()
        #expect(studio.events.all.completed.map(\.name) == [Self.base + ".mkv"])
        #expect(studio.names == [Self.base + ".mkv", "unfinished", "unfinished/.lock"])
    }

    @Test func aHalfJoinedFileIsMadeAnew() throws {
        let members = try members()
        let path = try killed(members)
        defer { try? FileManager.default.removeItem(atPath: path) }
        let folder = path + "/unfinished/"
        let head = try #require(
            try FileManager.default.contentsOfDirectory(atPath: folder).first { name in
                name.hasSuffix(".json")
                    && (try? String(contentsOfFile: folder + name, encoding: .utf8).contains("\"group\"")) == false
            })
        try Data([1, 2, 3]).write(to: URL(fileURLWithPath: folder + head.dropLast(5) + ".final"))
        let studio = try Studio(path: path)
        #expect(studio.finaliser.repair(settings: Studio.settings) == 1)
        studio.finaliser.waitUntilIdle()
        try check(path + "/" + Self.base + ".mkv", members) { $0 - Self.mostLost..<($0 + 1) }
        #expect(studio.names.filter { $0.hasPrefix("unfinished/") } == ["unfinished/.lock"])
    }

    // MARK: Clock

    /// The file begins when its first frame was captured, not when its first key frame let it begin.
    @Test func whatWaitedForAKeyFrameKeepsItsTime() throws {
        let studio = try Studio()
        let sound = try TestClip.audio(.opus, count: 100)
        let video = try TestClip.video(.vp8, count: 30, first: 24)
        let recorder = Recorder(
            identity: .init(streamName: "s", mediaSessionID: "m"), tracks: [video.description, sound.description],
            settings: Studio.settings, folder: studio.folder, finaliser: studio.finaliser,
            wallClock: { Self.start + 800 })
        // The first picture comes 800 ms behind the first sound.
        recorder.feed(interleaved(video, sound))
        recorder.stop(now: .zero)
        studio.finaliser.waitUntilIdle()
        let file = try #require(studio.events.all.completed.first)
        #expect(abs(file.startedAt - Self.start) <= 20)
        #expect(try Demuxer(path: file.path).startedAt == file.startedAt)
    }
}
