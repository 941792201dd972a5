import MediaFormats
import Wire

/// `a=fmtp` of what a file holds: what a player must be able to decode. The bytes are a file's, hence hostile.
enum FormatParameters {
    static let opus = "minptime=10;useinbandfec=1"
    /// Constrained Baseline, which `VideoTranscoder` makes.
    static let baselineH264 = h264 + "42e01f"
    private static let h264 = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id="

    /// - Parameters:
    ///   - parameterSets: in the form of `TrackDescription.parameterSets`.
    ///   - keyFrame: in the form of `MediaFrame.data`.
    static func video(_ codec: Codec, parameterSets: [[UInt8]], keyFrame: [UInt8]) -> String {
        switch codec {
        case .h264:
            let sps = parameterSets.first { $0.count >= 4 && $0[0] & 0x1f == 7 }
            guard let sps else { return baselineH264 }
            return h264 + hex(sps[1]) + hex(sps[2]) + hex(sps[3])
        case .h265:
            // Profile space, tier and profile follow a byte of other things behind the header (H.265 §7.3.2.2, §7.3.3).
            let sps = parameterSets.first { $0.count >= 4 && $0[0] >> 1 & 0x3f == 33 }
            guard let sps else { return "" }
            return "profile-id=\(sps[3] & 0x1f);tier-flag=\(sps[3] >> 5 & 1)"
        // Lower bit first (VP9 §6.2).
        case .vp9: return "profile-id=\(keyFrame.first.map { ($0 >> 5 & 1) | ($0 >> 3 & 2) } ?? 0)"
        case .av1: return "profile=\(av1Profile(parameterSets.first ?? keyFrame))"
        default: return ""
        }
    }

    /// Main or High, eight bits, 4:2:0.
    static func isUsualH264(_ parameters: String) -> Bool {
        [h264 + "4d", h264 + "64"].contains { parameters.hasPrefix($0) }
    }

    /// Of the first sequence header (AV1 §5.5.1).
    private static func av1Profile(_ bytes: [UInt8]) -> UInt8 {
        let span = bytes.span.bytes
        var at = 0
        while at < span.byteCount {
            let header = span[at]
            var body = at + (header & 0x04 != 0 ? 2 : 1)
            var length = span.byteCount - body
            if header & 0x02 != 0 {
                guard let told = AV1.leb128(span, &body), told <= span.byteCount - body else { return 0 }
                length = told
            }
            guard length > 0 else { return 0 }
            if AV1.type(header) == AV1.OBUType.sequenceHeader { return span[body] >> 5 }
            at = body + length
        }
        return 0
    }

    private static func hex(_ byte: UInt8) -> String {
        let text = String(byte, radix: 16)
        return text.count == 1 ? "0" + text : text
    }
}
