import CLibAV
import Foundation
import MediaFiles
import MediaFormats
import MediaFrames
import MediaTestSupport
import Testing
import Wire

/// A folder of one test, removed with it.
final class Folder {
    let path: String

    init() {
        path = NSTemporaryDirectory() + "weir-test-" + UUID().uuidString
        try? FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func file(_ name: String) -> String { path + "/" + name }
}

/// Frames of each track of a file.
func readBack(_ path: String) throws -> [[MediaFrame]] {
    let demuxer = try Demuxer(path: path)
    var frames: [[MediaFrame]] = demuxer.tracks.map { _ in [] }
    while let sample = try demuxer.next() { frames[sample.frame.track].append(sample.frame) }
    return frames
}

/// Writes frames of all clips as a fragmented file.
@discardableResult
func record(
    _ format: ContainerFormat, _ clips: [TestClip], to path: String, origin: Interval = .zero,
    settings: Muxer.Settings = .init()
) throws -> Muxer {
    let output = try FileOutput(creating: path, seekable: false)
    let muxer = try Muxer(
        format: format, tracks: clips.map { MuxerTrack($0.description, first: $0.frames.first) }, origin: origin,
        output: output, settings: settings)
    let all = clips.flatMap(\.frames).sorted { ($0.time, $0.track) < ($1.time, $1.track) }
    for frame in all { try muxer.write(frame, track: frame.track) }
    try muxer.finish()
    return muxer
}

func finalise(
    _ source: String, _ format: ContainerFormat, to path: String, limit: Int64? = nil
) throws -> Remuxer.Result {
    let output = try FileOutput(creating: path, seekable: true)
    return try Remuxer(source: source, limit: limit, format: format).run(into: output)
}

/// Largest difference between the times of two lists of frames, in nanoseconds.
func timeError(_ a: [MediaFrame], _ b: [MediaFrame]) -> Int64 {
    zip(a, b).map { abs($0.time.nanoseconds - $1.time.nanoseconds) }.max() ?? 0
}

/// Whether the coded pictures are the same, parameter sets aside, which files may keep elsewhere.
func sameMedia(_ codec: Codec, _ a: [MediaFrame], _ b: [MediaFrame]) -> Bool {
    func essence(_ frame: MediaFrame) -> [[UInt8]] {
        switch codec {
        case .h264: TestClip.units(frame.data).filter { ![7, 8, 9].contains($0[0] & 0x1f) }
        case .h265: TestClip.units(frame.data).filter { !(32...35).contains($0[0] >> 1 & 0x3f) }
        default: [frame.data]
        }
    }
    return a.count == b.count && zip(a, b).allSatisfy { essence($0) == essence($1) }
}

struct Combination: Sendable, CustomStringConvertible {
    var format: ContainerFormat
    var video: Codec?
    var audio: Codec?
    var description: String { "\(format) \(video.map { "\($0)" } ?? "-") \(audio.map { "\($0)" } ?? "-")" }

    static let all: [Combination] = [
        .init(format: .mp4, video: .h264, audio: .opus), .init(format: .mp4, video: .h264, audio: .aac),
        .init(format: .mp4, video: .h265, audio: .opus), .init(format: .mp4, video: .av1, audio: .opus),
        .init(format: .mp4, video: .vp9, audio: .opus), .init(format: .mp4, audio: .opus),
        .init(format: .mp4, audio: .aac), .init(format: .webm, video: .vp8, audio: .opus),
        .init(format: .webm, video: .vp9, audio: .opus), .init(format: .webm, video: .av1, audio: .opus),
        .init(format: .webm, audio: .opus), .init(format: .mkv, video: .h264, audio: .pcmu),
        .init(format: .mkv, video: .h265, audio: .aac), .init(format: .mkv, video: .vp8, audio: .g722),
        .init(format: .ts, video: .h264, audio: .aac), .init(format: .ts, video: .h265, audio: .opus),
        .init(format: .ts, audio: .aac),
    ]

    func clips(_ count: Int = 45) throws -> [TestClip] {
        var clips: [TestClip] = []
        if let video { clips.append(try .video(video, count: count)) }
        if let audio { clips.append(try .audio(audio, count: count * 5 / 3, track: clips.count)) }
        return clips
    }
}

@Suite struct ContainerTests {
    let folder = Folder()

    @Test(arguments: Combination.all)
    func whatIsWrittenIsReadBackFromFragmentsAndFromTheFinalFile(_ combination: Combination) throws {
        let clips = try combination.clips()
        let part = folder.file("a.part")
        let muxer = try record(combination.format, clips, to: part)
        #expect(muxer.frameCounts == clips.map(\.frames.count))
        var files = [part]
        if combination.format.isFinalised {
            let final = folder.file("a." + combination.format.fileExtension)
            let result = try finalise(part, combination.format, to: final)
            #expect(result.samples == clips.map(\.frames.count))
            files.append(final)
        }
        // Matroska counts milliseconds; a file's zero may be that of one track, the other follows it.
        let tolerance: Int64 = combination.format == .mp4 ? 21_000 : 1_100_000
        for file in files {
            let tracks = try readBack(file)
            try #require(tracks.count == clips.count)
            for (clip, frames) in zip(clips, tracks) {
                #expect(frames.count == clip.frames.count, "\(file) \(clip.description.codec)")
                let isSame = sameMedia(clip.description.codec, clip.frames, frames)
                #expect(isSame, "\(file) \(clip.description.codec)")
                #expect(timeError(clip.frames, frames) <= tolerance, "\(file) \(clip.description.codec)")
                let sameKeys = frames.map(\.isKeyFrame) == clip.frames.map(\.isKeyFrame)
                #expect(sameKeys, "\(file)")
            }
        }
    }

    @Test func aTrackThatBeginsLaterStaysLater() throws {
        for format in [ContainerFormat.mp4, .mkv] {
            let video = try TestClip.video(.h264, count: 30, first: 15)
            let audio = try TestClip.audio(.opus, count: 75)
            let part = folder.file("late.\(format).part")
            try record(format, [video, audio], to: part)
            let final = folder.file("late.\(format)")
            _ = try finalise(part, format, to: final)
            for file in [part, final] {
                let tracks = try readBack(file)
                #expect(timeError(video.frames, tracks[0]) <= 1_100_000, "\(file)")
                #expect(timeError(audio.frames, tracks[1]) <= 1_100_000, "\(file)")
            }
        }
    }

    @Test func gapsStayGaps() throws {
        for format in [ContainerFormat.mp4, .webm] {
            let video = try TestClip.video(.vp9, count: 150)
            var audio = try TestClip.audio(.opus, count: 250)
            audio.frames.removeSubrange(60..<190)
            let part = folder.file("gap.\(format).part")
            try record(format, [video, audio], to: part)
            let final = folder.file("gap.\(format)")
            _ = try finalise(part, format, to: final)
            for file in [part, final] {
                let tracks = try readBack(file)
                #expect(tracks[1].count == 120)
                #expect(timeError(audio.frames, tracks[1]) <= 1_100_000, "\(file)")
                #expect(timeError(video.frames, tracks[0]) <= 1_100_000, "\(file)")
            }
        }
    }

    @Test(arguments: [Codec.h264, .h265, .vp9, .av1])
    func sizesMayChangeInTheMiddle(_ codec: Codec) throws {
        let small = try TestClip.video(codec, count: 30)
        let large = try TestClip.video(codec, count: 30, size: VideoSize(width: 320, height: 192), first: 30)
        let clip = TestClip(description: small.description, frames: small.frames + large.frames)
        let part = folder.file("size.part")
        try record(.mp4, [clip], to: part)
        let final = folder.file("size.mp4")
        _ = try finalise(part, .mp4, to: final)
        for file in [part, final] {
            let tracks = try readBack(file)
            #expect(sameMedia(codec, clip.frames, tracks[0]))
            let sizes = try decodedSizes(file)
            #expect(sizes.prefix(30).allSatisfy { $0 == VideoSize(width: 160, height: 96) }, "\(file)")
            #expect(sizes.suffix(30).allSatisfy { $0 == VideoSize(width: 320, height: 192) }, "\(file)")
            #expect(sizes.count == 60, "\(file)")
        }
    }

    @Test func theFinalFileHasItsIndexInFrontAndPlainSampleEntries() throws {
        for (codec, plain, inBand) in [(Codec.h264, "avc1", "avc3"), (.h265, "hvc1", "hev1")] {
            let clip = try TestClip.video(codec, count: 40)
            let part = folder.file("\(codec).part")
            try record(.mp4, [clip], to: part)
            let final = folder.file("\(codec).mp4")
            _ = try finalise(part, .mp4, to: final)
            #expect(try boxes(part).prefix(3) == ["ftyp", "moov", "moof"])
            #expect(try boxes(final).filter { $0 != "free" } == ["ftyp", "moov", "mdat"])
            #expect(try contains(part, inBand))
            #expect(try contains(final, plain) && !contains(final, inBand))
        }
    }

    @Test func matroskaFilesGetTheirCuesInFrontAndADuration() throws {
        let clips = try Combination(format: .webm, video: .vp8, audio: .opus).clips(90)
        let part = folder.file("c.part")
        try record(.webm, clips, to: part)
        let final = folder.file("c.webm")
        _ = try finalise(part, .webm, to: final)
        let bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: final)))
        let cues = try #require(bytes.cuesBehindSeekHead)
        let cluster = try #require(bytes.firstRange(of: [0x1f, 0x43, 0xb6, 0x75]))
        #expect(cues.lowerBound < cluster.lowerBound)
        let probe = try MediaProbe(path: final)
        #expect(abs(probe.duration.seconds - 3) < 0.05)
        #expect(probe.codecs == [.vp8, .opus])
    }

    @Test func rotationIsInTheFile() throws {
        let clip = try TestClip.video(.h264, count: 20, rotation: .clockwise90)
        let part = folder.file("r.part")
        try record(.mp4, [clip], to: part)
        let final = folder.file("r.mp4")
        _ = try finalise(part, .mp4, to: final)
        for file in [part, final] {
            #expect(try Demuxer(path: file).rotations == [.clockwise90], "\(file)")
            #expect(try MediaProbe(path: file).size == VideoSize(width: 96, height: 160))
        }
    }

    @Test func rewindingGivesTheSameFramesAgain() throws {
        for format in [ContainerFormat.mp4, .webm, .ts] {
            let video = try TestClip.video(format == .webm ? .vp8 : .h264, count: 40)
            let part = folder.file("rewind.\(format)")
            try record(format, [video], to: part)
            let demuxer = try Demuxer(path: part)
            var runs: [[MediaFrame]] = []
            for _ in 0..<3 {
                var frames: [MediaFrame] = []
                while let sample = try demuxer.next() { frames.append(sample.frame) }
                runs.append(frames)
                try demuxer.rewind()
            }
            #expect(runs[0].count == 40)
            let same = runs[0].map(\.data) == runs[1].map(\.data) && runs[1].map(\.time) == runs[2].map(\.time)
            #expect(same, "\(format)")
        }
    }

    @Test func filesThatCannotBePlayedSayWhy() throws {
        func status(_ path: String) -> String {
            do {
                _ = try Demuxer(path: path)
                return "none"
            } catch { return error.playbackStatus }
        }
        #expect(status(folder.file("missing.mp4")) == "File not found")
        let junk = folder.file("junk.mp4")
        try Data(repeating: 0x41, count: 20_000).write(to: URL(fileURLWithPath: junk))
        #expect(status(junk) == "File has wrong format")
        try Data().write(to: URL(fileURLWithPath: folder.file("empty.mp4")))
        #expect(status(folder.file("empty.mp4")) == "File has wrong format")
        #expect(status(folder.path) == "File has wrong format")
        #expect(ContainerError.system(errno: EIO).playbackStatus == "Failed to read file")
    }

    @Test func playlistsAreNotFollowed() throws {
        let secret = folder.file("secret.mp4")
        try record(.mp4, [try TestClip.video(.h264, count: 10)], to: secret)
        for text in ["ffconcat version 1.0\nfile '\(secret)'\n", "#EXTM3U\n#EXTINF:10,\nfile://\(secret)\n"] {
            let path = folder.file("list.mp4")
            try text.write(toFile: path, atomically: true, encoding: .utf8)
            #expect(throws: ContainerError.wrongFormat) { try Demuxer(path: path) }
        }
    }

    @Test func framesOfOneTimeAndBackwardStepsDoNotEndTheFile() throws {
        var clip = try TestClip.video(.h264, count: 30)
        clip.frames[7].time = clip.frames[6].time
        clip.frames[12].time = clip.frames[10].time
        let part = folder.file("step.part")
        try record(.mp4, [clip], to: part)
        #expect(try readBack(part)[0].count == 30)
    }

    @Test(arguments: [ContainerFormat.mp4, .webm])
    func twentyHoursAreNoProblem(_ format: ContainerFormat) throws {
        var clip = try TestClip.video(.vp9, count: 60)
        for index in clip.frames.indices { clip.frames[index].time = .seconds(Int64(index) * 1_200) }
        let part = folder.file("long.part")
        try record(format, [clip], to: part)
        let final = folder.file("long")
        let result = try finalise(part, format, to: final)
        #expect(abs(result.duration.seconds - 59 * 1_200) <= 1_201)
        for file in [part, final] {
            let frames = try readBack(file)[0]
            #expect(frames.count == 60)
            #expect(timeError(clip.frames, frames) <= 1_100_000, "\(file)")
        }
    }

    @Test func thumbnailsArePicturesOfTheFile() throws {
        let video = folder.file("t.mp4")
        try record(.mp4, [try TestClip.video(.h264, count: 90)], to: video)
        let png = try Thumbnail.png(path: video, maxWidth: 80)
        #expect(Array(png.prefix(8)) == [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
        #expect(png.count > 100)
        let sound = folder.file("s.mp4")
        try record(.mp4, [try TestClip.audio(.opus, count: 20, track: 0)], to: sound)
        #expect(throws: ContainerError.wrongFormat) { try Thumbnail.png(path: sound, maxWidth: 80) }
    }

    @Test func aRefusalOfTheOutputIsTold() throws {
        let clips = try Combination(format: .mp4, video: .h264, audio: .opus).clips()
        var taken = 0
        let output = StreamOutput { bytes in
            taken += bytes.count
            return taken > 4_000 ? ENOSPC : 0
        }
        let muxer = try Muxer(
            format: .mp4, tracks: clips.map { MuxerTrack($0.description, first: $0.frames[0]) }, origin: .zero,
            output: output)
        #expect(throws: ContainerError.system(errno: ENOSPC)) {
            for frame in clips.flatMap(\.frames).sorted(by: { $0.time < $1.time }) {
                try muxer.write(frame, track: frame.track)
            }
        }
        #expect(muxer.wholeLength <= 4_000 && muxer.wholeLength > 0)
    }
}

/// Types of the boxes at the top of an MP4 file.
func boxes(_ path: String) throws -> [String] {
    let bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: path)))
    var types: [String] = []
    var at = 0
    while at + 8 <= bytes.count {
        let size = bytes[at..<(at + 4)].reduce(0) { $0 << 8 | Int($1) }
        types.append(String(decoding: bytes[(at + 4)..<(at + 8)], as: UTF8.self))
        guard size >= 8 else { break }
        at += size
    }
    return types
}

func contains(_ path: String, _ text: String) throws -> Bool {
    try Data(contentsOf: URL(fileURLWithPath: path)).range(of: Data(text.utf8)) != nil
}

/// Sizes of all pictures of a file's video, as a decoder gives them.
func decodedSizes(_ path: String) throws -> [VideoSize] {
    let demuxer = try Demuxer(path: path)
    let index = demuxer.tracks.firstIndex { $0.isVideo }
    let track = try #require(index)
    let ids: [Codec: AVCodecID] = [
        .h264: AV_CODEC_ID_H264, .h265: AV_CODEC_ID_HEVC, .vp8: AV_CODEC_ID_VP8, .vp9: AV_CODEC_ID_VP9,
        .av1: AV_CODEC_ID_AV1,
    ]
    let id = try #require(ids[demuxer.tracks[track].codec])
    let found = avcodec_find_decoder(id)
    let decoder = try #require(found)
    var context = avcodec_alloc_context3(decoder)
    defer { avcodec_free_context(&context) }
    context!.pointee.thread_count = 1
    let opened = avcodec_open2(context, decoder, nil)
    try #require(opened >= 0)
    var packet = av_packet_alloc()
    var picture = av_frame_alloc()
    defer {
        av_packet_free(&packet)
        av_frame_free(&picture)
    }
    var sizes: [VideoSize] = []
    func drain() {
        while avcodec_receive_frame(context, picture) >= 0 {
            sizes.append(VideoSize(width: Int(picture!.pointee.width), height: Int(picture!.pointee.height)))
        }
    }
    while let sample = try demuxer.next() {
        guard sample.frame.track == track else { continue }
        av_new_packet(packet, Int32(sample.frame.data.count))
        sample.frame.data.withUnsafeBufferPointer {
            packet!.pointee.data.update(from: $0.baseAddress!, count: $0.count)
        }
        avcodec_send_packet(context, packet)
        av_packet_unref(packet)
        drain()
    }
    avcodec_send_packet(context, nil)
    drain()
    return sizes
}

extension [UInt8] {
    /// The Cues element itself: its ID is in the SeekHead, too.
    fileprivate var cuesBehindSeekHead: Range<Int>? {
        let id: [UInt8] = [0x1c, 0x53, 0xbb, 0x6b]
        guard let first = firstRange(of: id) else { return nil }
        return self[first.upperBound...].firstRange(of: id)
    }
}
