import MediaFormats
import Playback
import RTSP
import SDP

/// A camera's or publisher's tracks as the engine and the players' negotiation know them.
enum IngestTrack {
    private static let firstPayloadType: UInt8 = 96
    private static let h264 = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id="

    static func negotiated(_ track: TrackDescription, index: Int, _ options: RTPIngest.Options) -> NegotiatedTrack {
        let codec = RTPCodec(
            payloadType: firstPayloadType + UInt8(truncatingIfNeeded: index), name: track.codec.name,
            clockRate: track.clockRate, channels: max(1, track.channels), fmtp: format(track),
            feedback: track.isVideo && options.answersKeyFrameRequests ? ["nack pli"] : [])
        var negotiated = NegotiatedTrack(
            kind: track.isVideo ? .video : .audio, mLineIndex: index, mid: "\(index)", codec: codec, extensions: [:])
        if track.codec == .h264 || track.codec == .h265, !track.parameterSets.isEmpty {
            negotiated.parameterSets = track.parameterSets.map { Base64Text.encode($0) }.joined(separator: ",")
        }
        return negotiated
    }

    /// Formats for players that do not know the true ones: browsers that state H264 Baseline decode Main and High too.
    static func secondChoice(_ tracks: [TrackDescription], _ published: [NegotiatedTrack]) -> [Int: String] {
        var formats: [Int: String] = [:]
        for (index, track) in tracks.enumerated() where track.codec == .h264 {
            var described = track
            described.formatParameters = published[index].codec.fmtp
            let playback = PlaybackTrack(description: described, source: .h264, isTranscoded: false)
            if let lenient = playback.lenientParameters { formats[index] = lenient }
        }
        return formats
    }

    /// Players of the one can be given the other.
    static func isSame(_ a: TrackDescription, _ b: TrackDescription) -> Bool {
        a.codec == b.codec && a.clockRate == b.clockRate && a.channels == b.channels
    }

    /// `a=fmtp` as a WebRTC offer would have it: what a player must be able to decode.
    private static func format(_ track: TrackDescription) -> String {
        let given = FormatParameters(track.formatParameters)
        func set(_ kind: NALUnits.Kind) -> [UInt8]? {
            track.parameterSets.first { NALUnits.kind(track.codec, $0.first ?? 0) == kind && $0.count > 3 }
        }
        switch track.codec {
        case .h264:
            if let sps = set(.sequenceParameterSet) { return h264 + hexadecimal(sps[1...3]) }
            let level = given["profile-level-id"] ?? ""
            let isLevel = level.utf8.count == 6 && UInt32(level, radix: 16) != nil
            return h264 + (isLevel ? level.lowercased() : "42e01f")
        case .h265:
            // Behind the header a byte of other things, then profile space, tier and profile (H.265 §7.3.2.2, §7.3.3).
            guard let sps = set(.sequenceParameterSet) else { return track.formatParameters }
            return "profile-id=\(sps[3] & 0x1f);tier-flag=\(sps[3] >> 5 & 1)"
        case .opus: return track.formatParameters.isEmpty ? "minptime=10;useinbandfec=1" : track.formatParameters
        case .aac:
            guard given["config"] == nil, let configuration = track.parameterSets.first else {
                return track.formatParameters
            }
            let before = track.formatParameters.isEmpty ? "" : track.formatParameters + ";"
            return before + "config=" + hexadecimal(configuration[...])
        case .vp8, .vp9, .av1, .pcmu, .pcma, .g722: return track.formatParameters
        }
    }

    private static func hexadecimal(_ bytes: ArraySlice<UInt8>) -> String {
        bytes.map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
    }
}
