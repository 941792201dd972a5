/// The media side as the control plane sees it. Weir implements it over MediaEngine, tests by a fake.
package protocol MediaBackend: Sendable {
    /// Answers a publisher's offer and makes the peer ready for ICE. `peer` is chosen by the control plane.
    func publish(
        peer: PeerID, stream: String, offer: String, options: MediaOptions
    ) async throws(MediaError) -> MediaDescription

    /// Answers a player's offer with what `publisher` sends and makes the peer ready for ICE.
    func play(
        peer: PeerID, stream: String, publisher: PeerID, offer: String, options: MediaOptions
    ) async throws(MediaError) -> MediaDescription

    /// Stops or resumes sending to a player; it resumes at a key frame.
    func setPaused(_ paused: Bool, peer: PeerID) async

    /// Takes the client's new ICE credentials and returns ours (RFC 8445 §9, RFC 9725 §4.3.3).
    func restartICE(
        peer: PeerID, ufrag: String, password: String
    ) async throws(MediaError) -> (ufrag: String, password: String)

    /// Frees the peer. Idempotent, also for peers never heard of; no event of the peer follows.
    func close(peer: PeerID) async

    /// Cumulative counters, nil when there is no such peer.
    func statistics(peer: PeerID) async -> PeerStatistics?

    /// What the media side knows of the peer and of its latest packets, that many of each track; nil when there is no
    /// such peer.
    func capture(peer: PeerID, packets: Int) async -> MediaCapture?

    /// What happens to peers. One consumer: `ControlPlane.run()`.
    var events: AsyncStream<MediaEvent> { get }
}

/// Wishes of the client for its media connection.
package struct MediaOptions: Hashable, Sendable {
    package enum Transport: String, Hashable, Sendable {
        case any, udp, tcp
    }

    package var transport: Transport
    /// kbit/s, 0 = unset.
    package var minBitrate: Int
    /// kbit/s, 0 = unset.
    package var maxBitrate: Int
    /// Whether the RTP header extension `urn:3gpp:video-orientation` may be accepted.
    package var cvoExtension: Bool

    package init(transport: Transport = .any, minBitrate: Int = 0, maxBitrate: Int = 0, cvoExtension: Bool = false) {
        self.transport = transport
        self.minBitrate = minBitrate
        self.maxBitrate = maxBitrate
        self.cvoExtension = cvoExtension
    }
}

/// The answer to an offer and what it agreed on.
package struct MediaDescription: Hashable, Sendable {
    package var sdp: String
    package var hasAudio: Bool
    package var hasVideo: Bool
    /// SDP spelling, for example `opus`; nil without audio.
    package var audioCodec: String?
    /// SDP spelling, for example `VP8`; nil without video.
    package var videoCodec: String?
    /// Our ICE user fragment, which WHIP also uses as the entity tag of the ICE session (RFC 9725 §4.3.3).
    package var ufrag: String

    package init(
        sdp: String, hasAudio: Bool, hasVideo: Bool, audioCodec: String? = nil, videoCodec: String? = nil,
        ufrag: String = ""
    ) {
        self.sdp = sdp
        self.hasAudio = hasAudio
        self.hasVideo = hasVideo
        self.audioCodec = audioCodec
        self.videoCodec = videoCodec
        self.ufrag = ufrag
    }
}

package enum MediaError: Error, Hashable, Sendable {
    case malformedSDP(String)
    case noCommonCodecs
    case noCapacity
    case streamNotReady
    case streamNotFound
    /// The player can only be given what would have to be transcoded, and that is switched off.
    case transcodingDisabled
    /// ... and is done for as many streams as may be.
    case noTranscoders
    case `internal`(String)
}

package enum MediaEvent: Hashable, Sendable {
    /// A valid ICE pair exists, DTLS is under way. Optional: without it the ICE timeout covers DTLS too.
    case iceConnected(PeerID)
    /// ICE and DTLS are up.
    case connected(PeerID)
    /// The peer cannot go on. The control plane closes it.
    case failed(PeerID, MediaFailure)
    /// Size of the published picture, read from the bitstream; sent when it is first known and when it changes.
    case videoSize(PeerID, width: Int, height: Int)
    /// The first media packet of a publisher arrived.
    case firstMedia(PeerID)
    /// The pictures of a publisher are not in the order in which they are shown (B frames). Once; `evidence` is text for
    /// people.
    case reordered(PeerID, evidence: String)

    package var peer: PeerID {
        switch self {
        case .iceConnected(let peer), .connected(let peer), .failed(let peer, _), .videoSize(let peer, _, _),
            .firstMedia(let peer), .reordered(let peer, _):
            peer
        }
    }
}

/// Why a media connection ended by itself.
package enum MediaFailure: String, Hashable, Sendable, CaseIterable {
    /// No authenticated ICE check in time.
    case iceTimeout
    case iceError
    /// The peer's checks stopped.
    case iceKeepAlive
    case dtlsError
    case dtlsFingerprint
    /// No RTP for too long.
    case rtpActivity
    /// The peer closed DTLS or its TCP connection. Browsers do so right after a stop message.
    case transportClosed
    /// A player is sent what it turned out not to be able to show.
    case transcodingRequired
    case error
}

/// Cumulative counters of a peer since it connected. Rates per second are computed by the control plane.
package struct PeerStatistics: Hashable, Sendable {
    package var packetsReceived: UInt64
    package var bytesReceived: UInt64
    package var packetsSent: UInt64
    package var bytesSent: UInt64
    package var packetsLost: UInt64
    package var packetsRetransmitted: UInt64
    package var nacks: UInt64
    package var plis: UInt64
    package var jitterMs: Double
    package var roundTripMs: Double
    /// Bytes of video only; nil when not counted apart, then the totals stand for them.
    package var videoBytesReceived: UInt64?
    package var videoBytesSent: UInt64?

    package init(
        packetsReceived: UInt64 = 0, bytesReceived: UInt64 = 0, packetsSent: UInt64 = 0, bytesSent: UInt64 = 0,
        packetsLost: UInt64 = 0, packetsRetransmitted: UInt64 = 0, nacks: UInt64 = 0, plis: UInt64 = 0,
        jitterMs: Double = 0, roundTripMs: Double = 0, videoBytesReceived: UInt64? = nil,
        videoBytesSent: UInt64? = nil
    ) {
        self.packetsReceived = packetsReceived
        self.bytesReceived = bytesReceived
        self.packetsSent = packetsSent
        self.bytesSent = bytesSent
        self.packetsLost = packetsLost
        self.packetsRetransmitted = packetsRetransmitted
        self.nacks = nacks
        self.plis = plis
        self.jitterMs = jitterMs
        self.roundTripMs = roundTripMs
        self.videoBytesReceived = videoBytesReceived
        self.videoBytesSent = videoBytesSent
    }
}
