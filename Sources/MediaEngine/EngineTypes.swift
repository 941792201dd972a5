import DTLS
import MediaFormats
import SDP
import SRTP
import Synchronization
import Wire

/// What the engine needs to know before it starts; fixed for its life.
package struct EngineConfiguration: Sendable {
    /// UDP and ICE-TCP port; 0 lets the kernel choose (tests).
    package var port: UInt16 = 31001
    /// Addresses to bind, port ignored.
    package var listen: [SocketAddress] = [SocketAddress(ipv4: 0, port: 0)]
    package var workers = 1
    package var pinWorkers = false
    package var gso = true
    package var tcp = true
    /// RTP port of plain RTP clients (RTSP over UDP), an even number; RTCP has the one behind it. nil: none; 0: a free
    /// pair (tests).
    package var plainPort: UInt16?
    package var backend = SRTPBackendKind.preferred
    package var profiles: [SRTPProfile] = [.aeadAES128GCM, .aeadAES256GCM, .aes128CMHMACSHA1_80]
    package var certificate: DTLSCertificate
    /// Without an authenticated check for so long the peer is gone.
    package var iceTimeout = Interval.seconds(30)
    /// A publisher that sends no RTP for so long is gone.
    package var rtpTimeout = Interval.seconds(60)
    /// A joining player starts from a stored key frame that is at most this old; zero: always ask for a new one.
    package var groupCache = Interval.milliseconds(500)
    /// A publisher that does not answer key-frame requests has its whole current group of pictures stored, up to so
    /// many packets, so that joining players need not wait for the next; 0: never.
    package var groupCachePackets = 4096
    /// Earlier packets of a picture wait for its last one at most this long…
    package var gatherLimit = Interval.milliseconds(15)
    /// …when the stream has at least so many players on a worker.
    package var gatherMinPlayers = 16
    /// Longest that sound waits for the end of the picture in whose midst it came; zero: not at all. Chromium's jitter
    /// buffer counts in steps of 20 ms.
    package var soundGatherLimit = Interval.milliseconds(15)
    /// Streams with fewer players do not hold sound at all. A worker knows its own players only, and takes it that
    /// the others have as many.
    package var soundGatherMinPlayers = 150
    /// Video packets that one player gets at once; the rest of a key frame follows in slices, one per
    /// `burstInterval`. 0: no bound.
    package var burstPackets = 0
    package var burstInterval = Interval.milliseconds(5)
    /// A worker whose packets wait longer than this, again and again, is overloaded.
    package var overloadDelay = Interval.milliseconds(60)
    package var receiveBuffer = 4 << 20
    package var sendBuffer = 4 << 20
    /// Bitrate announced to publishers by REMB, bit/s.
    package var maxBitrate = 5_000_000
    /// Packet memory of one worker, in 2 KiB slots.
    package var maxSlots = 262_144
    /// Bytes that wait for a slow ICE-TCP peer before it loses whole pictures.
    package var maxTCPQueue = 1 << 20
    package var maxTCPConnections = 4096
    package var maxTCPConnectionsPerAddress = 256

    package init(certificate: DTLSCertificate) { self.certificate = certificate }
}

/// Why a peer ended without being told to.
package enum EngineFailure: Sendable, Equatable {
    case iceTimeout, iceError, iceKeepAlive, dtlsError(String), dtlsFingerprint, rtpActivity, transportClosed
    case error(String)
}

/// News from the workers; `UInt64` is the peer's id.
package enum EngineEvent: Sendable {
    /// A first ICE pair is valid; DTLS begins.
    case iceConnected(UInt64)
    /// ICE and DTLS are up on every transport.
    case connected(UInt64)
    case failed(UInt64, EngineFailure)
    case firstMedia(UInt64)
    case videoSize(UInt64, VideoSize)
    case overload(worker: Int, OverloadNews)
}

/// Counters of one peer: written by its worker, read by anyone at any time.
package final class PeerCounters: Sendable {
    package let packetsReceived = Atomic<UInt64>(0)
    package let bytesReceived = Atomic<UInt64>(0)
    package let videoBytesReceived = Atomic<UInt64>(0)
    package let packetsSent = Atomic<UInt64>(0)
    package let bytesSent = Atomic<UInt64>(0)
    package let videoBytesSent = Atomic<UInt64>(0)
    package let packetsLost = Atomic<UInt64>(0)
    package let packetsRetransmitted = Atomic<UInt64>(0)
    package let nacks = Atomic<UInt64>(0)
    package let plis = Atomic<UInt64>(0)
    package let jitterMicroseconds = Atomic<UInt64>(0)
    package let roundTripMicroseconds = Atomic<UInt64>(0)
    package init() {}
}

/// Counters of the whole engine, summed over workers.
package final class EngineCounters: Sendable {
    package let datagramsReceived = Atomic<UInt64>(0)
    package let packetsSent = Atomic<UInt64>(0)
    package let sendMessages = Atomic<UInt64>(0)
    /// Of these, those of several packets, and the packets in them.
    package let sendRuns = Atomic<UInt64>(0)
    package let packetsInRuns = Atomic<UInt64>(0)
    package let packetsDropped = Atomic<UInt64>(0)
    /// Datagrams from addresses that ICE has not validated, by kind.
    package let unknownSource = Atomic<UInt64>(0)
    package let unknownUser = Atomic<UInt64>(0)
    /// Datagrams to the ports of plain RTP from addresses that no session has named.
    package let unknownClient = Atomic<UInt64>(0)
    package let stunRejected = Atomic<UInt64>(0)
    package let malformed = Atomic<UInt64>(0)
    package let authenticationFailed = Atomic<UInt64>(0)
    package let replayed = Atomic<UInt64>(0)
    package let unknownSSRC = Atomic<UInt64>(0)
    package let noMemory = Atomic<UInt64>(0)
    package let retransmissionsRefused = Atomic<UInt64>(0)
    package let tcpPicturesDropped = Atomic<UInt64>(0)
    /// Packets that another worker was too slow to take over.
    package let crossingDropped = Atomic<UInt64>(0)
    /// ICE-TCP connections closed by us: too many, no valid check in time, or framing that cannot be.
    package let tcpRefused = Atomic<UInt64>(0)
    /// Key-frame requests of players that needed no request of ours to the publisher.
    package let keyFrameRequestsMerged = Atomic<UInt64>(0)
    /// Turns that gave packets to players, from waking up to the hand-over to the kernel.
    package let fanOutTurns = TurnTimes()
    package let peers = Atomic<Int>(0)
    /// Players of whom video is thinned to key frames now, since their worker is overloaded.
    package let playersThinned = Atomic<Int>(0)
    /// Offers that were refused since a worker is overloaded.
    package let peersRefused = Atomic<UInt64>(0)
    /// Sinks attached now, and the memory of their rings.
    package let sinks = Atomic<Int>(0)
    package let sinkBytes = Atomic<Int>(0)
    /// Packets that sinks were given, and those that found no room in them.
    package let sinkPackets = Atomic<UInt64>(0)
    package let sinkPacketsLost = Atomic<UInt64>(0)
    /// Workers that take no new peers now, a bit each (workers from 64 on share them).
    private let closedWorkers = Atomic<UInt64>(0)
    /// Workers that have bounded key-frame requests, likewise.
    private let pressedWorkers = Atomic<UInt64>(0)
    package init() {}

    /// Whether any worker is overloaded so far that it thins video: no new peers until it has caught up.
    package var admits: Bool { closedWorkers.load(ordering: .relaxed) == 0 }
    package var overloadedWorkers: Int { pressedWorkers.load(ordering: .relaxed).nonzeroBitCount }

    func isClosed(worker: Int) -> Bool {
        closedWorkers.load(ordering: .relaxed) & 1 << UInt64(worker & 63) != 0
    }

    func setOverload(worker: Int, isPressed: Bool, admits: Bool) {
        Self.set(worker, in: pressedWorkers, isPressed)
        Self.set(worker, in: closedWorkers, !admits)
    }

    private static func set(_ worker: Int, in workers: borrowing Atomic<UInt64>, _ on: Bool) {
        let bit: UInt64 = 1 << UInt64(worker & 63)
        if on { workers.bitwiseOr(bit, ordering: .relaxed) } else { workers.bitwiseAnd(~bit, ordering: .relaxed) }
    }
}

extension Atomic where Value == UInt64 {
    @inline(__always) package func bump(_ n: UInt64 = 1) { wrappingAdd(n, ordering: .relaxed) }
    package var value: UInt64 { load(ordering: .relaxed) }
    package func set(_ n: UInt64) { store(n, ordering: .relaxed) }
}

/// A peer as the control side announces it: credentials before any packet, the owner once a worker has adopted it.
package final class PeerRegistration: Sendable {
    package let id: UInt64
    /// The publisher whose stream this is: `nil` for a publisher itself.
    package let publisher: PeerRegistration?
    package let negotiation: Negotiation
    package let counters = PeerCounters()
    /// Worker that owns the peer; -1 nobody yet, -2 closed before adoption.
    package let owner = Atomic<Int>(-1)
    /// Of a publisher: sinks on their way to its worker.
    let sinks: SinkList?
    /// Of a publisher inside the process.
    let source: PacketSource?
    /// Of a player without ICE and DTLS.
    let plain: PlainPlayer?

    package convenience init(id: UInt64, publisher: PeerRegistration?, negotiation: Negotiation) {
        self.init(
            id: id, publisher: publisher, negotiation: negotiation, sinks: publisher == nil ? SinkList() : nil)
    }

    init(
        id: UInt64, publisher: PeerRegistration?, negotiation: Negotiation, sinks: SinkList?,
        source: PacketSource? = nil, plain: PlainPlayer? = nil
    ) {
        self.id = id
        self.publisher = publisher
        self.negotiation = negotiation
        self.sinks = sinks
        self.source = source
        self.plain = plain
    }

    /// Nobody will adopt the peer any more, or has it.
    package func closeMedia() {
        sinks?.close()
        source?.end()
        plain?.end()
    }

    package var streamID: UInt64 { publisher?.id ?? id }

    /// One atomic claim decides which worker keeps the peer for life.
    package func claim(worker: Int) -> Bool {
        owner.compareExchange(expected: -1, desired: worker, ordering: .acquiringAndReleasing).exchanged
    }
}

/// ICE user fragments and peers, shared by all workers and the control side. Asked only for datagrams from addresses
/// that no worker knows.
package final class Directory: Sendable {
    package init() {}

    private struct State {
        var byFragment: [[UInt8]: (registration: PeerRegistration, transport: Int)] = [:]
        var byID: [UInt64: PeerRegistration] = [:]
        var fragments: [UInt64: [[UInt8]]] = [:]
        var isClosed = false

        mutating func add(_ registration: PeerRegistration) {
            byID[registration.id] = registration
            for (i, transport) in registration.negotiation.transports.enumerated() {
                let fragment = Array(transport.localUfrag.utf8)
                byFragment[fragment] = (registration, i)
                fragments[registration.id, default: []].append(fragment)
            }
        }
    }
    private let state = Mutex(State())
    private static let keptFragments = 2

    package func insert(_ registration: PeerRegistration) {
        state.withLock { $0.add(registration) }
    }

    /// `false`: the id is in use, or the directory was closed.
    func insertNew(_ registration: PeerRegistration) -> Bool {
        state.withLock { s in
            guard !s.isClosed, s.byID[registration.id] == nil else { return false }
            s.add(registration)
            return true
        }
    }

    package func addFragment(_ fragment: String, peer: UInt64, transport: Int) {
        state.withLock { s in
            guard let registration = s.byID[peer] else { return }
            s.byFragment[Array(fragment.utf8)] = (registration, transport)
            s.fragments[peer, default: []].append(Array(fragment.utf8))
            // The fragment before a restart serves until the first check with the new one; older ones are done with.
            while let all = s.fragments[peer], all.count > Self.keptFragments {
                s.byFragment[s.fragments[peer]?.removeFirst() ?? []] = nil
            }
        }
    }

    package func find(fragment: [UInt8]) -> (registration: PeerRegistration, transport: Int)? {
        state.withLock { $0.byFragment[fragment] }
    }

    /// Puts another registration in the place of one that is still there. `false`: it has been removed meanwhile.
    func replace(_ old: PeerRegistration, by new: PeerRegistration) -> Bool {
        state.withLock { s in
            guard s.byID[old.id] === old else { return false }
            for fragment in s.fragments.removeValue(forKey: old.id) ?? [] { s.byFragment[fragment] = nil }
            s.add(new)
            return true
        }
    }

    package func find(peer: UInt64) -> PeerRegistration? { state.withLock { $0.byID[peer] } }

    @discardableResult package func remove(peer: UInt64) -> PeerRegistration? {
        state.withLock { s in
            guard let registration = s.byID.removeValue(forKey: peer) else { return nil }
            for fragment in s.fragments.removeValue(forKey: peer) ?? [] { s.byFragment[fragment] = nil }
            return registration
        }
    }

    package var count: Int { state.withLock { $0.byID.count } }

    /// Forgets everybody, and lets no source in any more.
    func close() -> [PeerRegistration] {
        state.withLock { s in
            let all = Array(s.byID.values)
            s = State()
            s.isClosed = true
            return all
        }
    }
}
