/// The two kinds of media that Weir forwards; raw values are the media types of `m=` lines.
package enum MediaKind: String, Sendable, Hashable, CaseIterable {
    case audio, video
}

/// One payload type of an m-line with everything SDP says of it (RFC 8866 §6.6 and §6.15, RFC 4585 §4.2,
/// RFC 4588 §8.6).
package struct RTPCodec: Sendable, Hashable {
    package var payloadType: UInt8
    /// Encoding name, in the usual spelling (`VP8`, `opus`), whatever the offer's case.
    package var name: String
    /// RTP clock in hertz. G722 says 8000 although it samples at 16 kHz (RFC 3551 §4.5.2).
    package var clockRate: Int
    /// Audio channels; 1 where the offer says nothing.
    package var channels: Int
    /// Value of `a=fmtp` behind the payload type; empty without one.
    package var fmtp: String
    /// Values of `a=rtcp-fb` behind the payload type: `nack`, `nack pli`, `ccm fir`, `goog-remb`, `transport-cc`.
    package var feedback: [String]
    /// Payload type of the retransmissions of this codec, where both ends take them.
    package var rtxPayloadType: UInt8?

    package init(
        payloadType: UInt8, name: String, clockRate: Int, channels: Int = 1, fmtp: String = "",
        feedback: [String] = [], rtxPayloadType: UInt8? = nil
    ) {
        self.payloadType = payloadType
        self.name = name
        self.clockRate = clockRate
        self.channels = channels
        self.fmtp = fmtp
        self.feedback = feedback
        self.rtxPayloadType = rtxPayloadType
    }
}

/// A track of a live stream as players are offered it; made of the publisher's `NegotiatedTrack`.
package struct PublishedTrack: Sendable, Hashable {
    package var kind: MediaKind
    package var codec: RTPCodec
    /// The publisher sends `urn:3gpp:video-orientation` and so leaves the turning of pictures to players.
    package var hasVideoOrientation: Bool

    package init(kind: MediaKind, codec: RTPCodec, hasVideoOrientation: Bool = false) {
        self.kind = kind
        self.codec = codec
        self.hasVideoOrientation = hasVideoOrientation
    }

    package init(_ track: NegotiatedTrack) {
        self.init(
            kind: track.kind, codec: track.codec,
            hasVideoOrientation: track.extensions[ExtensionURI.videoOrientation] != nil)
    }
}
