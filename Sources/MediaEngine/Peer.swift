import DTLS
import ICE
import RTP
import SDP
import SRTP
import Synchronization
import Wire

/// One ICE/DTLS/SRTP association of a peer. A bundled peer has one, an unbundled one has one per m-line.
final class Transport {
    unowned let peer: Peer
    let index: Int
    let negotiated: NegotiatedTransport
    var agent: ICELiteAgent
    var dtls: DTLSSession?
    var outbound: SRTPOutbound?
    var inbound: SRTPInbound?
    /// Where to send: the agent's selected path and the socket that heard it.
    var path: ICEPath?
    var socket: Int32 = 0
    /// Socket by local path, so that a nominated path is sent from the socket that received its checks.
    var socketOfPath: [ICEPath: Int32] = [:]
    let transportSequence = UnsafeMutablePointer<UInt16>.allocate(capacity: 1)
    var feedback = TransportFeedbackRecorder()
    /// When our latest handshake flight left.
    var flightSent: Instant?
    /// Latest packet or check that proved to be the peer's.
    var lastHeard = Instant.zero
    var transportCCID: UInt8 = 0
    var midID: UInt8 = 0

    init(peer: Peer, index: Int, negotiated: NegotiatedTransport, agent: ICELiteAgent) {
        self.peer = peer
        self.index = index
        self.negotiated = negotiated
        self.agent = agent
        transportSequence.initialize(to: 0)
    }

    deinit { transportSequence.deallocate() }

    var isSecure: Bool { outbound != nil }
}

/// One publisher or player, owned by one worker from adoption to its end.
package final class Peer {
    package let id: UInt64
    let registration: PeerRegistration
    let negotiation: Negotiation
    let counters: PeerCounters
    var transports: [Transport] = []
    var stream: StreamState?
    /// A publisher inside the process; it has no transports.
    var source: PacketSource?
    /// A player without transports.
    var plain: PlainState?
    /// Place in its worker's roster.
    var rosterIndex = 0
    /// Place among the players of its stream.
    package internal(set) var position: Int?
    let isPublisher: Bool
    var isConnected = false
    var isPaused = false
    /// When its stream ended under a player.
    var orphaned: Instant?
    let localSSRC: UInt32
    var lastRTP: Instant
    var gotMedia = false
    var nextReport: Instant
    var nextFeedback: Instant
    /// The publisher's bitrate depends on our transport-wide feedback.
    var wantsTransportFeedback: Bool { transports.contains { $0.transportCCID != 0 } }
    var roundTrip = Interval.milliseconds(100)
    /// Share of its packets that a player lost lately by its own report, in 1/256; the worst of its tracks.
    var reportedLoss: UInt8 = 0
    var retransmission: RetransmissionBudget
    /// Stream track of each negotiated track (players), by SSRC for feedback, and what the player says it lost.
    var trackOfSSRC: [(ssrc: UInt32, track: Int, lost: Int32)] = []
    /// What was retransmitted lately, by the low bits of its number: a request that crosses its answer is no new one.
    /// Empty until the first request.
    private var resent: [(index: Int64, track: Int, at: Instant)]
    private static let resentMarks = 256

    /// Smoothed over the last few measurements (RFC 6298 §2).
    func took(roundTrip sample: Interval) {
        let bounded = min(max(sample, .microseconds(100)), .seconds(2))
        roundTrip = hasRoundTrip ? roundTrip + .nanoseconds((bounded - roundTrip).nanoseconds / 8) : bounded
        hasRoundTrip = true
        counters.roundTripMicroseconds.set(UInt64(max(0, roundTrip.microseconds)))
    }
    private var hasRoundTrip = false

    /// Whether a packet may be retransmitted now; `false` while an answer to an earlier request is on its way.
    func mayResend(_ index: Int64, track: Int, now: Instant) -> Bool {
        guard !resent.isEmpty else { return true }
        let mark = resent[Int(truncatingIfNeeded: index) & (Self.resentMarks - 1)]
        return mark.index != index || mark.track != track || now - mark.at >= min(roundTrip, .milliseconds(100))
    }

    func resends(_ index: Int64, track: Int, now: Instant) {
        if resent.isEmpty { resent = Array(repeating: (-1, -1, now), count: Self.resentMarks) }
        resent[Int(truncatingIfNeeded: index) & (Self.resentMarks - 1)] = (index, track, now)
    }

    /// Next stored packet of the video track while the player catches up.
    var catchUp: Int64 = 0
    var catchUpWaits = 0

    package init(registration: PeerRegistration, now: Instant, localSSRC: UInt32) {
        id = registration.id
        self.registration = registration
        negotiation = registration.negotiation
        counters = registration.counters
        isPublisher = registration.publisher == nil
        self.localSSRC = localSSRC
        lastRTP = now
        nextReport = now + .milliseconds(200)
        nextFeedback = now
        resent = []
        retransmission = RetransmissionBudget(bytesPerSecond: 1_250_000, burst: 500_000, now: now)
    }
}
