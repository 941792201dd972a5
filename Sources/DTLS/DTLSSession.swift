import COpenSSL
import Wire

/// One DTLS 1.2 association that ends in SRTP keys (RFC 5764). Datagrams in, datagrams out; one thread at a time.
/// OpenSSL's retransmission timers read the wall clock, so this core is not virtual-time code.
package final class DTLSSession {
    package enum Role: Sendable { case client, server }
    package enum State: Sendable {
        case handshaking
        case connected(SRTPKeyingMaterial)
        case closed
        case failed(DTLSError)
    }

    /// A handshake that takes longer has failed.
    package static let handshakeTimeout = Interval.seconds(30)
    /// Time between two answers to a peer that repeats its last flight. Ours is kept as long as the association: it has
    /// about 100 bytes, and RFC 6347 §4.2.4 wants it for four minutes.
    static let resendInterval = Interval.milliseconds(20)

    private let role: Role
    private let giveUp: Instant
    /// `nil` once the handshake is over.
    private var handshake: Handshake?
    /// From the end of the handshake to the end of the association.
    private var association: Association?
    private var lastFlight: [[UInt8]] = []
    private var resent: Instant?
    private var outgoing: [[UInt8]] = []
    private var timer: Instant?
    package private(set) var state = State.handshaking

    package init(
        context: DTLSContext, role: Role, fingerprints: [DTLSFingerprint], now: Instant
    ) throws(DTLSError) {
        handshake = try Handshake(context: context, role: role, fingerprints: fingerprints)
        self.role = role
        giveUp = now + Self.handshakeTimeout
    }

    /// Next time `poll` is due; `nil` once the handshake is over.
    package var deadline: Instant? {
        guard case .handshaking = state else { return nil }
        return min(timer ?? giveUp, giveUp)
    }

    /// A client sends its hello; a server waits.
    package func start(now: Instant) {
        guard role == .client, let handshake else { return }
        take(handshake.advance(nil, outgoing: &outgoing), now: now)
    }

    package func handle(_ datagram: RawSpan, now: Instant) {
        switch state {
        case .closed, .failed: return
        case .handshaking:
            guard let handshake else { return }
            take(handshake.advance(datagram, outgoing: &outgoing), now: now)
        case .connected: readAfterHandshake(datagram, now: now)
        }
    }

    /// Retransmits what the timers say.
    package func poll(now: Instant) {
        guard case .handshaking = state, let handshake else { return }
        guard now < giveUp else {
            end(.failed(.timedOut))
            return
        }
        take(handshake.retransmit(outgoing: &outgoing), now: now)
    }

    package func nextDatagram() -> [UInt8]? {
        guard !outgoing.isEmpty else { return nil }
        let datagram = outgoing.removeFirst()
        // An array keeps its room, and most sessions have nothing more to say.
        if outgoing.isEmpty { outgoing = [] }
        return datagram
    }

    /// Says goodbye (close_notify) if there is anybody to say it to.
    package func close() {
        if let datagram = association?.sealCloseNotify() { outgoing.append(datagram) }
        end(.closed)
    }

    // MARK: - Helpers

    private func take(_ progress: Handshake.Progress, now: Instant) {
        switch progress {
        case .waiting: timer = handshake?.timer(now: now)
        case .failed(let error): end(.failed(error))
        case .closed: end(.closed)
        case .done(let secrets):
            handshake = nil
            timer = nil
            association = secrets.records
            lastFlight = secrets.lastFlight
            state = .connected(secrets.media)
        }
    }

    private func readAfterHandshake(_ datagram: RawSpan, now: Instant) {
        switch association?.read(datagram) {
        case .nothing, nil: break
        case .wantsLastFlight:
            if let resent, now - resent < Self.resendInterval { return }
            resent = now
            // The same bytes with the same record numbers: a peer drops what it has already.
            outgoing += lastFlight
        case .closed: end(.closed)
        case .failed(let alert): end(.failed(.alert(alert)))
        }
    }

    private func end(_ last: State) {
        state = last
        handshake = nil
        association = nil
        lastFlight = []
        timer = nil
    }
}
