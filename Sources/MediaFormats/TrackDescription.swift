/// One track of a stream as its publisher has described it: what who reads its packets or frames must know beforehand.
package struct TrackDescription: Sendable, Equatable {
    package var codec: Codec
    /// Ticks of the RTP timestamp per second: 90,000 for video, 48,000 for Opus, 8,000 for G.711 and (by an old mistake
    /// that RFC 3551 §4.5.2 keeps) for G.722.
    package var clockRate: Int
    /// Channels of sound; 0 for video. Opus is always announced with 2 (RFC 7587 §7), whatever is in its packets.
    package var channels: Int
    /// Payload type in the publisher's packets.
    package var payloadType: UInt8
    /// The publisher's `a=fmtp` parameters as written, without the payload type; may be empty.
    package var formatParameters: String
    /// H264: SPS and PPS, H265: VPS, SPS and PPS, as NAL units without start codes, from the publisher's session
    /// description. AV1: sequence header OBU with its size field. AAC: one `AudioSpecificConfig`. Empty if not known
    /// beforehand: then they come with the first key frame (`MediaFrame.parameterSets`).
    package var parameterSets: [[UInt8]]

    package init(
        codec: Codec, clockRate: Int? = nil, channels: Int? = nil, payloadType: UInt8 = 0,
        formatParameters: String = "", parameterSets: [[UInt8]] = []
    ) {
        self.codec = codec
        self.clockRate = clockRate ?? codec.clockRate
        self.channels = channels ?? codec.channels
        self.payloadType = payloadType
        self.formatParameters = formatParameters
        self.parameterSets = parameterSets
    }

    package var isVideo: Bool { codec.isVideo }

    /// Samples per second of the sound itself, which G.722's clock rate does not tell.
    package var sampleRate: Int { codec == .g722 ? 16_000 : clockRate }
}

extension Codec {
    /// The usual RTP clock rate. AAC has no usual one: 48,000 is what our own encoder makes.
    package var clockRate: Int {
        switch self {
        case .vp8, .vp9, .h264, .h265, .av1: 90_000
        case .opus, .aac: 48_000
        case .pcmu, .pcma, .g722: 8_000
        }
    }

    /// The usual number of channels; 0 for video.
    package var channels: Int {
        switch self {
        case .vp8, .vp9, .h264, .h265, .av1: 0
        case .opus, .aac: 2
        case .pcmu, .pcma, .g722: 1
        }
    }
}
