import MediaFormats
import Wire

/// What a decoder must know before the first frame of a track, in the forms that CMAF and playlists need.
///
/// Two configurations that differ cannot follow each other in one playlist without a discontinuity.
package enum CodecConfiguration: Sendable, Hashable {
    /// Parameter sets are NAL units with their headers, without start codes.
    case h264(sps: [[UInt8]], pps: [[UInt8]])
    case h265(vps: [[UInt8]], sps: [[UInt8]], pps: [[UInt8]])
    case vp9(VP9Facts)
    /// Sequence header OBU with its size field.
    case av1(sequenceHeader: [UInt8], AV1Facts)
    case opus(channels: Int)
    /// `AudioSpecificConfig`
    case aac([UInt8], sampleRate: Int, channels: Int)

    /// Most parameter sets of one kind: `avcC` counts SPS in five bits.
    private static let maxSets = 31

    /// - Parameter keyFrame: for video the key frame from which on it counts.
    /// - Returns: nil when something is missing or cannot be read, or when the codec has no place in HLS: VP8 and G.711
    ///   must be transcoded before.
    package init?(_ track: TrackDescription, keyFrame: MediaFrame?) {
        switch track.codec {
        case .h264, .h265:
            let sets = keyFrame?.parameterSets ?? track.parameterSets
            self.init(nalUnits: track.codec, sets: sets)
        case .vp9:
            guard let data = keyFrame?.data, let facts = VP9Facts(keyFrame: unsafe data.span.bytes) else { return nil }
            self = .vp9(facts)
        case .av1:
            let sets = keyFrame?.parameterSets ?? track.parameterSets
            guard let header = sets.first, let facts = AV1Facts(sequenceHeader: unsafe header.span.bytes) else {
                return nil
            }
            self = .av1(sequenceHeader: header, facts)
        case .opus: self = .opus(channels: track.channels)
        case .aac:
            let sets = keyFrame?.parameterSets ?? track.parameterSets
            guard let configuration = sets.first, configuration.count <= 64,
                let facts = AudioSpecificConfig(parsing: unsafe configuration.span.bytes), facts.sampleRate > 0
            else { return nil }
            self = .aac(configuration, sampleRate: facts.sampleRate, channels: facts.channels)
        case .vp8, .pcmu, .pcma, .g722: return nil
        }
    }

    private init?(nalUnits codec: Codec, sets: [[UInt8]]) {
        var vps: [[UInt8]] = []
        var sps: [[UInt8]] = []
        var pps: [[UInt8]] = []
        for set in sets where !set.isEmpty && set.count <= Int(UInt16.max) {
            switch NALUnits.kind(codec, set[0]) {
            case .videoParameterSet: vps.append(set)
            case .sequenceParameterSet: sps.append(set)
            case .pictureParameterSet: pps.append(set)
            case .slice, .keySlice, .other, .noise: break
            }
        }
        guard let first = sps.first, !pps.isEmpty, max(vps.count, sps.count, pps.count) <= Self.maxSets else {
            return nil
        }
        if codec == .h264 {
            guard first.count >= 4 else { return nil }
            self = .h264(sps: sps, pps: pps)
        } else {
            guard !vps.isEmpty, H265Profile(sps: first) != nil else { return nil }
            self = .h265(vps: vps, sps: sps, pps: pps)
        }
    }

    /// Name for `CODECS` (RFC 6381; for the others as their own bindings to ISO base media files define it).
    package var name: String {
        switch self {
        case .h264(let sps, _): "avc1." + sps[0][1..<4].map(Self.hex).joined()
        case .h265(_, let sps, _): H265Profile(sps: sps[0])?.name ?? "hvc1"
        case .vp9(let facts): facts.name
        case .av1(_, let facts): facts.name
        case .opus: "opus"
        case .aac(let configuration, _, _):
            "mp4a.40.\(AudioSpecificConfig(parsing: unsafe configuration.span.bytes)?.objectType ?? 2)"
        }
    }

    static func hex(_ byte: UInt8) -> String {
        let text = String(byte, radix: 16)
        return text.utf8.count == 1 ? "0\(text)" : text
    }
}

/// Profile, tier and level of an H.265 sequence parameter set (H.265 §7.3.3).
struct H265Profile: Hashable, Sendable {
    /// The 12 bytes of `profile_tier_level` up to the level, as `hvcC` repeats them.
    let bytes: [UInt8]

    /// - Parameter sps: with its two bytes of header.
    init?(sps: [UInt8]) {
        let span = unsafe sps.span.bytes
        guard sps.count > 15 else { return nil }
        var bits = BitReader(span.extracting(2..<sps.count), emulationPrevention: true)
        bits.skip(8)
        var found: [UInt8] = []
        for _ in 0..<12 { found.append(UInt8(truncatingIfNeeded: bits.read(8))) }
        guard bits.isValid else { return nil }
        bytes = found
    }

    /// ISO/IEC 14496-15 annex E.3, for example `hvc1.1.6.L93.90`.
    var name: String {
        let space = ["", "A", "B", "C"][Int(bytes[0] >> 6)]
        var compatibility: UInt32 = 0
        for (index, byte) in bytes[1...4].enumerated() {
            for bit in 0..<8 where byte >> (7 - UInt8(bit)) & 1 == 1 {
                compatibility |= 1 << UInt32(index * 8 + bit)
            }
        }
        var name = "hvc1.\(space)\(bytes[0] & 0x1f).\(String(compatibility, radix: 16).uppercased())"
        name += ".\(bytes[0] & 0x20 == 0 ? "L" : "H")\(bytes[11])"
        var constraints = Array(bytes[5...10])
        while constraints.last == 0 { constraints.removeLast() }
        for byte in constraints { name += ".\(String(byte, radix: 16).uppercased())" }
        return name
    }
}
