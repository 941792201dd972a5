import COpenSSL
import Wire

/// One DTLS 1.2 association that ends in SRTP keys (RFC 5764). Datagrams in, datagrams out; one thread at a time.
/// OpenSSL's retransmission timers read the wall clock, so this core is not virtual-time code.
@safe package final class DTLSSession {
    package enum Role: Sendable { case client, server }
    package enum State: Sendable {
        case handshaking
        case connected(SRTPKeyingMaterial)
        case closed
        case failed(DTLSError)
    }

    /// Payload of one datagram (ICE has no path MTU discovery).
    static let mtu = 1200
    /// First retransmission, and the longest wait between two, microseconds. RFC 6347 §4.2.4.1 recommends 1 s and
    /// allows less: ICE has shown that the path is up and short, and a browser begins with 50 ms.
    private static let firstRetransmission: UInt32 = 100_000
    private static let longestRetransmission: UInt32 = 3_000_000
    /// A handshake that takes longer has failed.
    package static let handshakeTimeout = Interval.seconds(30)

    private let ssl: OpaquePointer
    private let queue = DatagramQueue()
    private let role: Role
    private let fingerprints: [DTLSFingerprint]
    private let giveUp: Instant
    private let context: DTLSContext
    private var timer: Instant?
    package private(set) var state = State.handshaking

    package init(
        context: DTLSContext, role: Role, fingerprints: [DTLSFingerprint], now: Instant
    ) throws(DTLSError) {
        guard let ssl = unsafe SSL_new(context.pointer) else { throw .last() }
        guard let bio = unsafe queue.makeBIO() else {
            unsafe SSL_free(ssl)
            throw .last()
        }
        unsafe SSL_set_bio(ssl, bio, bio)
        // Without NO_QUERY_MTU OpenSSL asks the BIO and falls back to 256-byte fragments.
        _ = unsafe weir_ssl_set_options(ssl, SSL_OP_NO_QUERY_MTU_VALUE | SSL_OP_NO_TICKET_VALUE)
        _ = unsafe weir_ssl_set_mtu(ssl, Self.mtu)
        unsafe DTLS_set_timer_cb(ssl) { _, last in
            last == 0 ? DTLSSession.firstRetransmission : min(last * 2, DTLSSession.longestRetransmission)
        }
        if role == .client { unsafe SSL_set_connect_state(ssl) } else { unsafe SSL_set_accept_state(ssl) }
        unsafe self.ssl = ssl
        self.role = role
        self.fingerprints = fingerprints
        self.context = context
        giveUp = now + Self.handshakeTimeout
    }

    deinit { unsafe SSL_free(ssl) }

    /// Next time `poll` is due; `nil` once the handshake is over.
    package var deadline: Instant? {
        guard case .handshaking = state else { return nil }
        return min(timer ?? giveUp, giveUp)
    }

    /// A client sends its hello; a server waits.
    package func start(now: Instant) {
        if role == .client { advance(now: now) }
    }

    package func handle(_ datagram: RawSpan, now: Instant) {
        switch state {
        case .closed, .failed: return
        case .handshaking, .connected: break
        }
        guard queue.incoming.count < DatagramQueue.maxIncoming else { return }
        queue.incoming.append(datagram.copied())
        if case .connected = state { readAfterHandshake() } else { advance(now: now) }
    }

    /// Retransmits what the timers say.
    package func poll(now: Instant) {
        guard case .handshaking = state else { return }
        guard now < giveUp else {
            state = .failed(.timedOut)
            return
        }
        if unsafe weir_dtls_handle_timeout(ssl) < 0 {
            state = .failed(.last())
            return
        }
        updateTimer(now: now)
    }

    package func nextDatagram() -> [UInt8]? { queue.outgoing.isEmpty ? nil : queue.outgoing.removeFirst() }

    /// Says goodbye (close_notify) if there is anybody to say it to.
    package func close() {
        if case .connected = state {
            // OpenSSL 3.0 writes through freed buffers unless they are asked for again.
            _ = unsafe SSL_alloc_buffers(ssl)
            _ = unsafe SSL_shutdown(ssl)
        }
        ERR_clear_error()
        state = .closed
    }

    // MARK: - Helpers

    private func advance(now: Instant) {
        ERR_clear_error()
        // One call reads one flight's worth; more datagrams may wait.
        repeat {
            let result = unsafe SSL_do_handshake(ssl)
            if result == 1 {
                finish()
                return
            }
            let reason = unsafe SSL_get_error(ssl, result)
            if reason != SSL_ERROR_WANT_READ && reason != SSL_ERROR_WANT_WRITE {
                state = .failed(.last())
                return
            }
        } while !queue.incoming.isEmpty
        updateTimer(now: now)
    }

    private func updateTimer(now: Instant) {
        let left = unsafe weir_dtls_timeout_us(ssl)
        timer = left < 0 ? nil : now + .microseconds(left)
    }

    private func finish() {
        guard let certificate = unsafe weir_peer_certificate(ssl) else {
            state = .failed(.noCertificate)
            return
        }
        defer { unsafe X509_free(certificate) }
        let matches = fingerprints.contains { fingerprint in
            unsafe DTLSCertificate.digest(certificate, fingerprint.algorithm) == fingerprint.bytes
        }
        guard matches else {
            state = .failed(.fingerprintMismatch)
            return
        }
        guard let selected = unsafe SSL_get_selected_srtp_profile(ssl),
            let profile = unsafe SRTPProfile(rawValue: UInt16(truncatingIfNeeded: selected.pointee.id))
        else {
            state = .failed(.noSRTPProfile)
            return
        }
        let k = profile.keyLength
        let s = profile.saltLength
        var block = [UInt8](repeating: 0, count: 2 * (k + s))
        let label = "EXTRACTOR-dtls_srtp"
        guard unsafe SSL_export_keying_material(ssl, &block, block.count, label, label.utf8.count, nil, 0, 0) == 1
        else {
            state = .failed(.last())
            return
        }
        // RFC 5764 §4.2: client key, server key, client salt, server salt.
        let clientKey = Array(block[0..<k])
        let serverKey = Array(block[k..<(2 * k)])
        let clientSalt = Array(block[(2 * k)..<(2 * k + s)])
        let serverSalt = Array(block[(2 * k + s)...])
        let isClient = role == .client
        state = .connected(
            SRTPKeyingMaterial(
                profile: profile, localKey: isClient ? clientKey : serverKey,
                localSalt: isClient ? clientSalt : serverSalt, remoteKey: isClient ? serverKey : clientKey,
                remoteSalt: isClient ? serverSalt : clientSalt))
        timer = nil
        _ = unsafe SSL_free_buffers(ssl)
    }

    /// After the handshake: retransmitted flights are answered by OpenSSL, close_notify ends the session.
    private func readAfterHandshake() {
        var scratch = [UInt8](repeating: 0, count: 2048)
        _ = unsafe SSL_alloc_buffers(ssl)
        defer { _ = unsafe SSL_free_buffers(ssl) }
        while !queue.incoming.isEmpty {
            ERR_clear_error()
            let n = unsafe SSL_read(ssl, &scratch, CInt(scratch.count))
            if n > 0 { continue }
            switch unsafe SSL_get_error(ssl, n) {
            case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE: break
            case SSL_ERROR_ZERO_RETURN:
                state = .closed
                return
            default:
                // OpenSSL drops forged records silently (RFC 6347 §4.1.2.7), so this came from the peer itself: a fatal
                // alert, or what breaks the protocol. From now on OpenSSL fails without reading: the queue would
                // never become empty.
                state = .failed(.last())
                return
            }
        }
    }
}

/// OpenSSL's option bits are macros over shifts, which Swift does not import.
private let SSL_OP_NO_QUERY_MTU_VALUE: UInt64 = 1 << 12
private let SSL_OP_NO_TICKET_VALUE: UInt64 = 1 << 14
