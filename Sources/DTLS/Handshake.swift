import COpenSSL
import Wire

/// The OpenSSL side of one association, from the first hello to the keys. It is released then: an `SSL` object with
/// its BIO costs 72 KiB.
@safe final class Handshake {
    enum Progress {
        case waiting
        case done(Secrets)
        /// The peer said goodbye right behind its Finished.
        case closed
        case failed(DTLSError)
    }

    /// All that is needed of a finished handshake.
    struct Secrets {
        let media: SRTPKeyingMaterial
        let records: Association
        /// What to repeat when the peer asks: the datagrams with our ChangeCipherSpec and Finished, if they ended the
        /// handshake. A client has nothing to repeat (RFC 6347 §4.2.4: only resumed handshakes end with its flight).
        let lastFlight: [[UInt8]]
    }

    /// Payload of one datagram (ICE has no path MTU discovery).
    static let mtu = 1200
    /// First retransmission, and the longest wait between two, microseconds. RFC 6347 §4.2.4.1 recommends 1 s and
    /// allows less: ICE has shown that the path is up and short, and a browser begins with 50 ms.
    private static let firstRetransmission: UInt32 = 100_000
    private static let longestRetransmission: UInt32 = 3_000_000
    private static let masterSecretLength = 48
    private static let randomLength = 32

    private let ssl: OpaquePointer
    private let queue = DatagramQueue()
    private let role: DTLSSession.Role
    private let fingerprints: [DTLSFingerprint]
    /// Records sent under the negotiated keys so far: OpenSSL does not tell its sequence number and nonce.
    private var nextSequence: UInt64 = 0
    private var nextNonce: UInt64 = 0

    init(context: DTLSContext, role: DTLSSession.Role, fingerprints: [DTLSFingerprint]) throws(DTLSError) {
        guard let ssl = unsafe SSL_new(context.pointer) else { throw .last() }
        guard let bio = unsafe queue.makeBIO() else {
            unsafe SSL_free(ssl)
            throw .last()
        }
        unsafe SSL_set_bio(ssl, bio, bio)
        _ = unsafe weir_ssl_set_mtu(ssl, Self.mtu)
        unsafe DTLS_set_timer_cb(ssl) { _, last in
            last == 0 ? Handshake.firstRetransmission : min(last * 2, Handshake.longestRetransmission)
        }
        if role == .client { unsafe SSL_set_connect_state(ssl) } else { unsafe SSL_set_accept_state(ssl) }
        unsafe self.ssl = ssl
        self.role = role
        self.fingerprints = fingerprints
    }

    deinit { unsafe SSL_free(ssl) }

    /// When to call `retransmit`.
    func timer(now: Instant) -> Instant? {
        let left = unsafe weir_dtls_timeout_us(ssl)
        return left < 0 ? nil : now + .microseconds(left)
    }

    /// Reads a datagram, if any, and goes on. What is to be sent is added to `outgoing`.
    func advance(_ datagram: RawSpan?, outgoing: inout [[UInt8]]) -> Progress {
        if let datagram { queue.incoming.append(datagram.copied()) }
        ERR_clear_error()
        // One call reads one flight's worth; more may wait.
        repeat {
            let result = unsafe SSL_do_handshake(ssl)
            let sent = takeSent()
            outgoing += sent
            if result == 1 { return finish(lastSent: sent) }
            let reason = unsafe SSL_get_error(ssl, result)
            if reason != SSL_ERROR_WANT_READ && reason != SSL_ERROR_WANT_WRITE { return .failed(.last()) }
        } while !queue.incoming.isEmpty
        return .waiting
    }

    func retransmit(outgoing: inout [[UInt8]]) -> Progress {
        ERR_clear_error()
        let result = unsafe weir_dtls_handle_timeout(ssl)
        outgoing += takeSent()
        return result < 0 ? .failed(.last()) : .waiting
    }

    // MARK: - Helpers

    private func takeSent() -> [[UInt8]] {
        let sent = queue.outgoing
        queue.outgoing = []
        for datagram in sent {
            Self.forEachRecord(of: datagram) { record in
                guard record.epoch == DTLSRecord.protectedEpoch, record.sequence >= nextSequence else { return }
                nextSequence = record.sequence + 1
                // Where AES-GCM writes its nonce, which OpenSSL counts from a random start; without meaning else.
                if record.fragment.count >= MemoryLayout<UInt64>.size {
                    let start = record.fragment.lowerBound
                    nextNonce = unsafe datagram.span.bytes.loadBigEndian(at: start, as: UInt64.self) &+ 1
                }
            }
        }
        return sent
    }

    private static func forEachRecord(of datagram: [UInt8], _ body: (DTLSRecord) -> Void) {
        var offset = 0
        while let record = unsafe DTLSRecord(parsing: datagram.span.bytes, at: offset) {
            offset = record.fragment.upperBound
            body(record)
        }
    }

    private static func endsHandshake(_ datagram: [UInt8]) -> Bool {
        var ends = false
        forEachRecord(of: datagram) {
            ends = ends || $0.type == DTLSRecord.ContentType.changeCipherSpec || $0.epoch == DTLSRecord.protectedEpoch
        }
        return ends
    }

    private func finish(lastSent: [[UInt8]]) -> Progress {
        guard let certificate = unsafe weir_peer_certificate(ssl) else { return .failed(.noCertificate) }
        defer { unsafe X509_free(certificate) }
        let matches = fingerprints.contains { fingerprint in
            unsafe DTLSCertificate.digest(certificate, fingerprint.algorithm) == fingerprint.bytes
        }
        guard matches else { return .failed(.fingerprintMismatch) }
        do {
            let secrets = Secrets(
                media: try exportMediaKeys(),
                records: Association(
                    keys: try deriveRecordKeys(), ours: role == .client ? .client : .server,
                    nextSequence: nextSequence, nextNonce: nextNonce),
                lastFlight: role == .server ? lastSent.filter(Self.endsHandshake) : [])
            return try hasPeerClosed() ? .closed : .done(secrets)
        } catch {
            return .failed(error)
        }
    }

    private func exportMediaKeys() throws(DTLSError) -> SRTPKeyingMaterial {
        guard let selected = unsafe SSL_get_selected_srtp_profile(ssl),
            let profile = unsafe SRTPProfile(rawValue: UInt16(truncatingIfNeeded: selected.pointee.id))
        else { throw .noSRTPProfile }
        let k = profile.keyLength
        let s = profile.saltLength
        var block = [UInt8](repeating: 0, count: 2 * (k + s))
        let label = "EXTRACTOR-dtls_srtp"
        guard unsafe SSL_export_keying_material(ssl, &block, block.count, label, label.utf8.count, nil, 0, 0) == 1
        else { throw .last() }
        // RFC 5764 §4.2: client key, server key, client salt, server salt.
        let clientKey = Array(block[0..<k])
        let serverKey = Array(block[k..<(2 * k)])
        let clientSalt = Array(block[(2 * k)..<(2 * k + s)])
        let serverSalt = Array(block[(2 * k + s)...])
        let isClient = role == .client
        return SRTPKeyingMaterial(
            profile: profile, localKey: isClient ? clientKey : serverKey,
            localSalt: isClient ? clientSalt : serverSalt, remoteKey: isClient ? serverKey : clientKey,
            remoteSalt: isClient ? serverSalt : clientSalt)
    }

    private func deriveRecordKeys() throws(DTLSError) -> RecordKeys {
        let suite = unsafe SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(ssl))
        guard let cipher = RecordCipher(suite: suite) else {
            throw .library("negotiated a cipher suite that was not offered: \(suite)")
        }
        var master = [UInt8](repeating: 0, count: Self.masterSecretLength)
        var client = [UInt8](repeating: 0, count: Self.randomLength)
        var server = client
        var block = [UInt8](repeating: 0, count: cipher.keyBlockLength)
        defer {
            unsafe OPENSSL_cleanse(&master, master.count)
            unsafe OPENSSL_cleanse(&block, block.count)
        }
        guard
            unsafe SSL_SESSION_get_master_key(SSL_get_session(ssl), &master, master.count) == master.count
                && SSL_get_client_random(ssl, &client, client.count) == client.count
                && SSL_get_server_random(ssl, &server, server.count) == server.count
                && weir_tls12_key_block(
                    cipher.digest, master, master.count, server, client, Self.randomLength, &block, block.count) == 1
        else { throw .last() }
        return RecordKeys(cipher: cipher, keyBlock: block)
    }

    /// Reads what OpenSSL still holds: records behind the Finished, or that had come before it.
    private func hasPeerClosed() throws(DTLSError) -> Bool {
        var scratch = [UInt8](repeating: 0, count: 2048)
        while true {
            ERR_clear_error()
            let count = unsafe SSL_read(ssl, &scratch, CInt(scratch.count))
            if count > 0 { continue }
            switch unsafe SSL_get_error(ssl, count) {
            case SSL_ERROR_WANT_READ, SSL_ERROR_WANT_WRITE: return false
            case SSL_ERROR_ZERO_RETURN: return true
            default: throw .last()
            }
        }
    }
}
