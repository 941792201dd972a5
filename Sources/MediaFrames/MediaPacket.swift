import Wire

/// Head of one RTP packet of a stream, as a sink or a source gives it. Its payload, without padding, goes beside it.
package struct MediaPacket: Sendable, Equatable, BitwiseCopyable {
    /// Index into the stream's track descriptions.
    package var track: Int
    /// The sequence number, extended so that it never wraps; numbers of packets that were nothing but padding are
    /// closed up, or such packets are given with empty payloads.
    package var number: Int64
    package var timestamp: UInt32
    package var marker: Bool
    /// The video orientation that the packet carries (3GPP TS 26.114 §7.4.5).
    package var orientation: UInt8?
    package var arrival: Instant

    package init(
        track: Int, number: Int64, timestamp: UInt32, marker: Bool, orientation: UInt8? = nil, arrival: Instant
    ) {
        self.track = track
        self.number = number
        self.timestamp = timestamp
        self.marker = marker
        self.orientation = orientation
        self.arrival = arrival
    }
}

/// Limits of putting frames together.
package struct AssemblerSettings: Sendable, Equatable {
    /// How long a missing packet is waited for after one behind it has come. Retransmissions take a round trip and
    /// some tries; publishers keep packets for about half a second.
    package var retransmissionWait: Interval = .milliseconds(500)
    /// Packets and bytes of one track that wait behind a missing one; then it is taken for lost.
    package var maxWaitingPackets = 2_048
    package var maxWaitingBytes = 8 * 1024 * 1024

    package init() {}
}

/// What has become of a track's packets and frames.
package struct AssemblyCounts: Sendable, Equatable {
    package var packets: Int64 = 0
    /// Packets that never came, or came after they had been given up.
    package var lost: Int64 = 0
    /// Came after they had been given up; also in `lost`.
    package var late: Int64 = 0
    package var duplicates: Int64 = 0
    package var frames: Int64 = 0
    /// Pictures of which something is missing or broken.
    package var framesBroken: Int64 = 0
    /// Whole pictures that could not be decoded for want of one before.
    package var framesUndecodable: Int64 = 0
    /// Times at which the track's timestamps jumped.
    package var discontinuities: Int64 = 0

    package init() {}
}
