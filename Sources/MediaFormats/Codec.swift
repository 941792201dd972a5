/// Codecs that Weir forwards, and AAC, which comes from cameras and files and goes into them.
package enum Codec: String, Sendable, CaseIterable {
    case vp8, vp9, h264, h265, av1, opus, pcmu, pcma, g722, aac

    package var isVideo: Bool {
        switch self {
        case .vp8, .vp9, .h264, .h265, .av1: true
        case .opus, .pcmu, .pcma, .g722, .aac: false
        }
    }

    /// Encoding name as `a=rtpmap` spells it.
    package var name: String {
        switch self {
        case .opus: "opus"
        case .aac: "MPEG4-GENERIC"
        default: rawValue.uppercased()
        }
    }
}

/// Luma samples as displayed, cropping applied.
package struct VideoSize: Equatable, Hashable, Sendable, BitwiseCopyable {
    package var width: Int
    package var height: Int

    package init(width: Int, height: Int) {
        self.width = width
        self.height = height
    }
}

/// What one RTP payload says about the picture that it belongs to.
package struct RTPPayloadFacts: Equatable, Sendable, BitwiseCopyable {
    /// The first packet of a picture that can be decoded without any before, or its parameter sets.
    package var isKeyFrameStart = false
    /// The first packet of a picture.
    package var isFrameStart = false
    /// H264 and H265: an SPS is in this packet.
    package var hasParameterSets = false
    /// No media behind the payload descriptor: padding of a bandwidth probe.
    package var isEmpty = false
    /// VP9 in flexible mode, one spatial layer: where the bytes lie that say which pictures it needs; 0: nothing of the
    /// kind. See `VP9.withoutFlexibleMode`.
    package var flexibleStart: UInt8 = 0
    package var flexibleLength: UInt8 = 0
    private var width: UInt16 = 0
    private var height: UInt16 = 0

    /// Picture size, if this packet tells it.
    package var size: VideoSize? {
        get { width == 0 || height == 0 ? nil : VideoSize(width: Int(width), height: Int(height)) }
        set {
            width = newValue.flatMap { UInt16(exactly: $0.width) } ?? 0
            height = newValue.flatMap { UInt16(exactly: $0.height) } ?? 0
        }
    }

    package init() {}
}

/// Looks into RTP payloads without decoding them. Never throws, never allocates: what cannot be read says nothing.
package enum PayloadInspector {
    package static func inspect(_ codec: Codec, _ payload: RawSpan) -> RTPPayloadFacts {
        var facts = RTPPayloadFacts()
        guard payload.byteCount > 0 else {
            facts.isEmpty = true
            return facts
        }
        switch codec {
        case .vp8: VP8.inspect(payload, &facts)
        case .vp9: VP9.inspect(payload, &facts)
        case .h264: H264.inspect(payload, &facts)
        case .h265: H265.inspect(payload, &facts)
        case .av1: AV1.inspect(payload, &facts)
        case .opus, .pcmu, .pcma, .g722, .aac: break
        }
        return facts
    }
}
