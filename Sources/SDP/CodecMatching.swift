/// The codecs that Weir forwards, and when two formats of one codec are the same thing.
enum KnownCodec: String, CaseIterable {
    case vp8 = "VP8"
    case vp9 = "VP9"
    case h264 = "H264"
    case h265 = "H265"
    case av1 = "AV1"
    case opus = "opus"
    case pcmu = "PCMU"
    case pcma = "PCMA"
    case g722 = "G722"

    var kind: MediaKind {
        switch self {
        case .vp8, .vp9, .h264, .h265, .av1: .video
        case .opus, .pcmu, .pcma, .g722: .audio
        }
    }
    var clockRate: Int {
        switch self {
        case .opus: 48000
        case .pcmu, .pcma, .g722: 8000
        default: 90000
        }
    }
    /// RFC 7587 §7: opus is always written with two channels.
    var channels: Int { self == .opus ? 2 : 1 }

    /// The codec of a format; `nil` for other names, clocks and channel counts.
    init?(_ codec: RTPCodec) {
        let name = codec.name.lowercased()
        guard let match = Self.allCases.first(where: { $0.rawValue.lowercased() == name }),
            match.clockRate == codec.clockRate, match.channels == codec.channels
        else { return nil }
        self = match
    }

    /// How well a variant suits a publisher: 0 is best, `nil` cannot be forwarded. What most players take comes first.
    func publisherRank(_ fmtp: FormatParameters) -> Int? {
        switch self {
        case .h264:
            guard let format = H264Format(fmtp) else { return nil }
            return format.rank
        case .h265:
            let format = H265Format(fmtp)
            return format.profile + format.tier * 16
        case .vp9: return rank(fmtp.number("profile-id", default: 0), of: 0...3)
        case .av1: return rank(fmtp.number("profile", default: 0), of: 0...2)
        case .vp8, .opus, .pcmu, .pcma, .g722: return 0
        }
    }

    /// How well an offered variant takes what is published: 0 is best, `nil` not at all.
    func playerRank(published: FormatParameters, offered: FormatParameters) -> Int? {
        switch self {
        case .h264:
            guard let source = H264Format(published), let sink = H264Format(offered) else { return nil }
            return sink.rank(asPlayerOf: source)
        case .h265:
            let source = H265Format(published)
            let sink = H265Format(offered)
            return source.profile == sink.profile && sink.tier >= source.tier ? sink.tier - source.tier : nil
        case .vp9:
            return published.number("profile-id", default: 0) == offered.number("profile-id", default: 0) ? 0 : nil
        case .av1:
            return published.number("profile", default: 0) == offered.number("profile", default: 0) ? 0 : nil
        case .vp8, .opus, .pcmu, .pcma, .g722: return 0
        }
    }

    private func rank(_ value: Int, of known: ClosedRange<Int>) -> Int? { known.contains(value) ? value : nil }
}

/// Profile and packetization mode of an H264 format (RFC 6184 §8.1). Levels are left out: browsers decode above the
/// level that they state, and refusing a player for its level would help nobody.
struct H264Format: Equatable {
    enum Profile: Equatable {
        case constrainedBaseline, baseline, main, constrainedHigh, high
        /// `profile_idc` and `profile-iop` of any other profile.
        case other(UInt8, UInt8)

        /// The same table as libwebrtc's `h264_profile_level_id.cc` (after RFC 6184 table 5).
        init(idc: UInt8, iop: UInt8) {
            switch (idc, iop) {
            case (0x42, _) where iop & 0x40 != 0: self = .constrainedBaseline
            case (0x4d, _) where iop & 0x80 != 0: self = .constrainedBaseline
            case (0x58, _) where iop & 0xc0 == 0xc0: self = .constrainedBaseline
            case (0x42, _): self = .baseline
            case (0x58, _) where iop & 0xc0 == 0x80: self = .baseline
            case (0x4d, _): self = .main
            case (0x64, _) where iop & 0x0c == 0x0c: self = .constrainedHigh
            case (0x64, _): self = .high
            default: self = .other(idc, iop)
            }
        }

        /// Order of preference for publishers.
        var order: Int {
            switch self {
            case .constrainedBaseline: 0
            case .baseline: 1
            case .main: 2
            case .constrainedHigh: 3
            case .high: 4
            case .other: 5
            }
        }

        /// Profiles whose decoders take this one, best first.
        var decoders: [Profile] {
            switch self {
            case .constrainedBaseline: [.constrainedBaseline, .baseline, .main, .constrainedHigh, .high]
            // Baseline proper has tools (FMO, ASO) that no encoder of today uses: it is taken as constrained.
            case .baseline: [.baseline, .constrainedBaseline, .main, .constrainedHigh, .high]
            case .main: [.main, .high]
            case .constrainedHigh: [.constrainedHigh, .high]
            case .high: [.high]
            case .other: [self]
            }
        }
    }

    var profile: Profile
    /// 0 single NAL units, 1 non-interleaved.
    var mode: Int
    /// The format has no parameters at all, as after a careless removal of lines: usable, but the last choice.
    var isBare: Bool

    /// `nil` for a broken profile-level-id and for mode 2 (interleaved), which nobody forwards.
    init?(_ fmtp: FormatParameters) {
        isBare = fmtp.entries.isEmpty
        mode = fmtp.number("packetization-mode", default: 0)
        guard mode == 0 || mode == 1 else { return nil }
        guard let text = fmtp["profile-level-id"] else {
            profile = .baseline
            return
        }
        guard text.utf8.count == 6, text.utf8.allSatisfy(\.isHexDigit), let value = UInt32(text, radix: 16) else {
            return nil
        }
        profile = Profile(
            idc: UInt8(truncatingIfNeeded: value >> 16), iop: UInt8(truncatingIfNeeded: value >> 8))
    }

    var rank: Int { (isBare ? 100 : 0) + profile.order * 2 + (mode == 1 ? 0 : 1) }

    /// A decoder of mode 1 also takes single NAL units, not the other way round.
    func rank(asPlayerOf source: H264Format) -> Int? {
        guard let place = source.profile.decoders.firstIndex(of: profile), mode >= source.mode else { return nil }
        return (isBare ? 100 : 0) + place * 2 + (mode == source.mode ? 0 : 1)
    }
}

/// Profile and tier of an H265 format (RFC 7798 §7.1): main profile and main tier where nothing is said.
struct H265Format: Equatable {
    var profile: Int
    var tier: Int

    init(_ fmtp: FormatParameters) {
        profile = min(max(fmtp.number("profile-id", default: 1), 0), 31)
        tier = fmtp.number("tier-flag", default: 0) == 0 ? 0 : 1
    }
}

extension UInt8 {
    var isHexDigit: Bool {
        (0x30...0x39).contains(self) || (0x41...0x46).contains(self) || (0x61...0x66).contains(self)
    }
}
