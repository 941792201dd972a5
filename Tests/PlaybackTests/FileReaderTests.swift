import Foundation
import Glibc
import MediaFiles
import MediaFormats
import MediaFrames
import MediaTestSupport
import Playback
import Testing
import Wire

/// A folder of one test, removed with it.
private final class Folder {
    let path = NSTemporaryDirectory() + "weir-playback-" + UUID().uuidString

    init() { try? FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
    deinit { try? FileManager.default.removeItem(atPath: path) }

    func file(_ name: String) -> String { path + "/" + name }

    @discardableResult
    func record(_ name: String, _ format: ContainerFormat, _ clips: TestClip...) throws -> String {
        let output = try FileOutput(creating: file(name), seekable: false)
        let muxer = try Muxer(
            format: format, tracks: clips.map { MuxerTrack($0.description, first: $0.frames.first) }, origin: .zero,
            output: output)
        let all = clips.flatMap(\.frames).sorted { ($0.time, $0.track) < ($1.time, $1.track) }
        for frame in all { try muxer.write(frame, track: frame.track) }
        try muxer.finish()
        return file(name)
    }

    func reader(_ name: String, loops: Bool = false, places: Int = 0) throws -> FileReader {
        let descriptor = try MediaFolder(path: path).open([name])
        return try FileReader(descriptor: descriptor, loops: loops, places: TranscodingPlaces(places))
    }
}

private func all(_ reader: FileReader, limit: Int = 10_000) throws -> [MediaUnit] {
    var units: [MediaUnit] = []
    while units.count < limit, let unit = try reader.next() { units.append(unit) }
    return units
}

@Suite(.timeLimit(.minutes(4))) struct FileReaderTests {
    @Test func `pictures come as they are in the file and sound as Opus`() throws {
        let folder = Folder()
        let clip = try TestClip.video(.h264, count: 45)
        try folder.record("a.mp4", .mp4, clip, TestClip.audio(.aac, count: 70))
        let reader = try folder.reader("a.mp4")
        #expect(reader.tracks.map(\.description.codec) == [.h264, .opus])
        #expect(reader.tracks.map(\.isTranscoded) == [false, true])
        #expect(reader.tracks[0].description.formatParameters.contains("profile-level-id=42"))
        let units = try all(reader)
        let pictures = units.filter { $0.track == 0 }
        #expect(pictures.count == 45)
        #expect(pictures.map(\.isKeyFrame) == clip.frames.map(\.isKeyFrame))
        // The parameter sets are in front, together in one payload with whatever fits.
        #expect(pictures[0].payloads[0][0] & 0x1f == 24 && pictures[0].payloads[0][3] & 0x1f == 7)
        let sounds = units.filter { $0.track == 1 }
        #expect((sounds.count * 20 - 70 * 1024 / 48).magnitude <= 60, "as long as it was")
        for track in [pictures, sounds] {
            #expect(zip(track, track.dropFirst()).allSatisfy { $0.time < $1.time && $0.due <= $1.due })
        }
    }

    @Test(arguments: [Codec.vp8, .vp9, .av1])
    func `other codecs and Opus are passed on`(codec: Codec) throws {
        let folder = Folder()
        let sound = try TestClip.audio(.opus, count: 30)
        try folder.record("a.mkv", .mkv, TestClip.video(codec, count: 4), sound)
        let reader = try folder.reader("a.mkv")
        #expect(reader.tracks.map(\.description.codec) == [codec, .opus])
        #expect(reader.tracks.allSatisfy { !$0.isTranscoded })
        let units = try all(reader)
        #expect(units.count { $0.track == 0 } == 4)
        #expect(units.filter { $0.track == 1 }.map { $0.payloads[0] } == sound.frames.map(\.data))
    }

    @Test func `a loop goes on without a jump`() throws {
        let folder = Folder()
        try folder.record("a.mkv", .mkv, TestClip.video(.h264, count: 30), TestClip.audio(.opus, count: 50))
        let units = try all(folder.reader("a.mkv", loops: true), limit: 400)
        #expect(units.count == 400, "it has no end")
        for track in 0..<2 {
            let own = units.filter { $0.track == track }
            let steps = zip(own, own.dropFirst()).map { $1.time - $0.time }
            let usual = track == 0 ? TestClip.frameInterval : TestClip.soundInterval
            #expect(steps.allSatisfy { $0 > .zero && $0 <= usual + .milliseconds(25) }, "track \(track)")
            #expect(zip(own, own.dropFirst()).allSatisfy { $0.due <= $1.due })
        }
        let pictures = units.filter { $0.track == 0 }
        #expect(pictures.enumerated().allSatisfy { $0 % 30 != 0 || $1.isKeyFrame }, "each pass begins with a key frame")
    }

    @Test func `sound made anew goes on through loops, too`() throws {
        let folder = Folder()
        try folder.record("a.mp4", .mp4, TestClip.video(.h264, count: 30), TestClip.audio(.aac, count: 47))
        let units = try all(folder.reader("a.mp4", loops: true), limit: 500)
        let own = units.filter { $0.track == 1 }
        let steps = zip(own, own.dropFirst()).map { $1.time - $0.time }
        #expect(!steps.isEmpty && steps.allSatisfy { $0 == .milliseconds(20) }, "one packet each 20 ms")
    }

    @Test func `a private file ends`() throws {
        let folder = Folder()
        try folder.record("a.mkv", .mkv, TestClip.video(.vp8, count: 5))
        let reader = try folder.reader("a.mkv")
        #expect(try all(reader).count == 5)
        #expect(try reader.next() == nil, "and stays at its end")
    }

    @Test func `sound alone is played, and so are pictures alone`() throws {
        let folder = Folder()
        try folder.record("sound.mp4", .mp4, TestClip.audio(.aac, count: 20, track: 0))
        #expect(try folder.reader("sound.mp4").tracks.map(\.description.codec) == [.opus])
        try folder.record("pictures.mp4", .mp4, TestClip.video(.h264, count: 3))
        #expect(try folder.reader("pictures.mp4").tracks.map(\.description.codec) == [.h264])
    }

    @Test func `what is no media is told so`() throws {
        let folder = Folder()
        for (name, bytes) in [("text.mp4", Data("no film\n".utf8)), ("empty.mp4", Data())] {
            try bytes.write(to: URL(fileURLWithPath: folder.file(name)))
            #expect(throws: PlaybackError.container(.wrongFormat)) { _ = try folder.reader(name) }
        }
    }

    @Test func `places for transcoding come back`() throws {
        let places = TranscodingPlaces(1)
        #expect(places.inUse == 0)
        #expect(PlaybackError.noTranscoders != .transcodingDisabled)
    }
}

@Suite struct MediaFolderTests {
    @Test func `links, folders and pipes are no files to play`() throws {
        let folder = Folder()
        let outside = Folder()
        try Data("x".utf8).write(to: URL(fileURLWithPath: outside.file("secret")))
        try FileManager.default.createDirectory(atPath: folder.file("sub"), withIntermediateDirectories: false)
        try Data("x".utf8).write(to: URL(fileURLWithPath: folder.file("sub/inner")))
        symlink(outside.file("secret"), folder.file("link"))
        symlink(outside.path, folder.file("way"))
        mkfifo(folder.file("pipe"), 0o644)
        let media = MediaFolder(path: folder.path)
        for components in [["link"], ["way", "secret"], ["sub"], ["pipe"], ["none"], ["sub", "none"], ["none", "x"]] {
            #expect(throws: ContainerError.notFound, "\(components)") { _ = try media.open(components) }
        }
        let descriptor = try media.open(["sub", "inner"])
        #expect(descriptor >= 0)
        close(descriptor)
        #expect(throws: ContainerError.notFound) {
            _ = try MediaFolder(path: folder.path, isFlat: true).open(["sub", "inner"])
        }
    }

    @Test func `the folder itself may be a link`() throws {
        let folder = Folder()
        let outside = Folder()
        try Data("x".utf8).write(to: URL(fileURLWithPath: outside.file("file")))
        symlink(outside.path, folder.file("media"))
        close(try MediaFolder(path: folder.file("media")).open(["file"]))
    }
}
