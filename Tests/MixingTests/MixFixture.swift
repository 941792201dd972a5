import Foundation
import MediaFiles
import MediaFormats
import MediaFrames
import MediaTestSupport
import Mixing
import Recording
import Wire

/// Y, U and V of colours that are told apart after coding.
enum Colour: CaseIterable {
    case red, green, blue, white, black

    var yuv: (UInt8, UInt8, UInt8) {
        switch self {
        case .red: (81, 90, 240)
        case .green: (145, 54, 34)
        case .blue: (41, 240, 110)
        case .white: (235, 128, 128)
        case .black: (16, 128, 128)
        }
    }

    /// The one that a sample is nearest to, if it is near.
    static func nearest(_ sample: (UInt8, UInt8, UInt8)) -> Colour? {
        allCases.first { colour in
            let (y, u, v) = colour.yuv
            return abs(Int(y) - Int(sample.0)) < 25 && abs(Int(u) - Int(sample.1)) < 30
                && abs(Int(v) - Int(sample.2)) < 30
        }
    }
}

/// A folder of recordings to mix, which goes with it.
final class MixFolder {
    static let start: WallMillis = 1_700_000_000_250

    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "weir-mix-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    subscript(_ name: String) -> String { path + "/" + name }

    /// Everything in it, hidden files too.
    var names: [String] { ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).sorted() }

    /// One colour for so long, with a tone.
    static func clip(
        _ colour: Colour, seconds: Double, codec: Codec = .vp8, sound: Codec = .opus, frequency: Double? = nil,
        size: VideoSize = VideoSize(width: 160, height: 90), rotation: VideoRotation = .none
    ) throws -> [TestClip] {
        let pictures = try TestClip.video(
            codec, count: Int(seconds * 30), size: size, keyEvery: 30, rotation: rotation
        ) { _, _, _ in colour.yuv }
        guard let frequency else { return [pictures] }
        let packets = Int(seconds * 48_000) / (sound == .aac ? 1_024 : 960)
        return [pictures, try TestClip.audio(sound, count: packets, wave: tone(frequency, 0.5))]
    }

    /// Writes a file as the recorder does.
    ///
    /// - Parameter startedAt: nil: the file does not say.
    @discardableResult
    func write(
        _ name: String, _ clips: [TestClip], startedAt: WallMillis? = start, format: ContainerFormat? = nil
    ) throws -> String {
        guard let format = format ?? ContainerFormat(fileName: name) else { throw MixFolderError() }
        let frames = clips.flatMap(\.frames).sorted { ($0.time, $0.track) < ($1.time, $1.track) }
        let part = self[".part-" + UUID().uuidString]
        let tracks = clips.enumerated().map { index, clip in
            var track = MuxerTrack(clip.description, first: frames.first { $0.track == index })
            track.tagsRotation = true
            return track
        }
        let muxer = try Muxer(
            format: format, tracks: tracks, origin: frames.map(\.time).min() ?? .zero,
            output: try FileOutput(creating: part, seekable: false))
        for frame in frames { try muxer.write(frame, track: frame.track) }
        try muxer.finish()
        let output = try FileOutput(creating: self[name], seekable: true)
        _ = try Remuxer(
            source: part, format: format, metadata: startedAt.map { RecordingClock.metadata($0) } ?? [:]
        ).run(into: output)
        try FileManager.default.removeItem(atPath: part)
        return self[name]
    }

    func settings(_ inputs: [String], to output: String) -> MixSettings {
        var settings = MixSettings(inputs: inputs, output: self[output])
        settings.width = 320
        settings.height = 180
        return settings
    }
}

struct MixFolderError: Error {}

/// What is in a mixed file, decoded.
struct Mixed {
    /// By time.
    var pictures: [VideoPicture] = []
    /// Left channel from zero on.
    var sound: [Float] = []
    /// Of its packets, in seconds.
    var soundTimes: [Double] = []
    var tracks: [TrackDescription]
    var duration: Interval

    init(_ path: String) throws {
        let demuxer = try Demuxer(path: path)
        tracks = demuxer.tracks
        duration = demuxer.duration
        let video = try tracks.first(where: \.isVideo).map { try VideoDecoder($0) }
        let audio = try tracks.first { !$0.isVideo }.map { try PCMDecoder($0) }
        while let sample = try demuxer.next() {
            let frame = sample.frame
            if tracks[frame.track].isVideo {
                pictures += try video?.decode(frame) ?? []
            } else if let pcm = try audio?.decode(frame) {
                soundTimes.append(Double((frame.time + demuxer.start).nanoseconds) / 1e9)
                let at = Int((Double((pcm.time + demuxer.start).nanoseconds) * 48_000 / 1e9).rounded())
                if at > sound.count { sound += [Float](repeating: 0, count: at - sound.count) }
                let left = stride(from: 0, to: pcm.samples.count, by: 2).map { pcm.samples[$0] }
                sound += left.dropFirst(max(0, sound.count - at))
            }
        }
        pictures += try video?.finish() ?? []
    }

    func picture(_ seconds: Double) -> VideoPicture? {
        pictures.last { Double($0.time.nanoseconds) / 1e9 <= seconds + 0.001 }
    }

    /// Colours at places (shares of width and height) at a time.
    func colours(_ seconds: Double, _ places: [(Double, Double)]) -> [Colour?] {
        guard let picture = picture(seconds) else { return [] }
        return places.map { place in
            let x = Int(place.0 * Double(picture.size.width))
            let y = Int(place.1 * Double(picture.size.height))
            guard let luma = picture.luma(x: x, y: y), let (u, v) = picture.chroma(x: x, y: y) else { return nil }
            return Colour.nearest((luma, u, v))
        }
    }

    func strength(_ frequency: Double, from: Double, to: Double) -> Double {
        let range = Int(from * 48_000)..<min(sound.count, Int(to * 48_000))
        return goertzel(Array(sound[range]), frequency)
    }
}

let quarters = [(0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75)]
