import MediaFormats

/// What of a publisher's tracks goes into HLS, and as what: codecs that HLS has no place for are made into others.
package struct HLSTrackPlan: Equatable, Sendable {
    /// Which sound a stream with Opus has.
    package enum Sound: String, CaseIterable, Sendable {
        /// Opus, for players of today.
        case published
        /// AAC, which every player plays.
        case aac
        /// Both, each a rendition of its own.
        case both
    }

    /// The tracks that go in: those of the publisher, one of them twice where it comes out in two codecs.
    package private(set) var inputs: [TrackDescription] = []
    /// By published track: the inputs that its frames go to.
    package private(set) var targets: [[Int]] = []
    /// By input: what it becomes. Others stay as they are.
    package private(set) var codecs: [Int: Codec] = [:]

    /// - Parameter isTransportStream: MPEG-TS, which has a place for fewer codecs.
    package init(_ tracks: [TrackDescription], sound: Sound, isTransportStream: Bool = false) {
        targets = tracks.map { _ in [] }
        for (index, track) in tracks.enumerated() {
            for codec in Self.outputs(track.codec, isTransportStream ? .aac : sound, isTransportStream) {
                if codec != track.codec { codecs[inputs.count] = codec }
                targets[index].append(inputs.count)
                inputs.append(track)
            }
        }
    }

    private static func outputs(_ codec: Codec, _ sound: Sound, _ isTransportStream: Bool) -> [Codec] {
        switch codec {
        case .vp8: [.h264]
        case .vp9, .av1: [isTransportStream ? .h264 : codec]
        case .pcmu, .pcma, .g722: [.aac]
        case .opus:
            switch sound {
            case .published: [.opus]
            case .aac: [.aac]
            case .both: [.opus, .aac]
            }
        case .h264, .h265, .aac: [codec]
        }
    }

    /// A picture is decoded and encoded anew.
    package var makesPictures: Bool { codecs.keys.contains { inputs[$0].isVideo } }
    package var makesSound: Bool { codecs.keys.contains { !inputs[$0].isVideo } }
}
