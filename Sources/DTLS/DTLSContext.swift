import COpenSSL
import Wire

/// What all DTLS sessions share: certificate, ciphers, SRTP profiles in our order of preference.
@safe package final class DTLSContext: @unchecked Sendable {
    // SSL_CTX may be used from several threads once it is set up.
    let pointer: OpaquePointer

    package init(certificate: DTLSCertificate, profiles: [SRTPProfile]) throws(DTLSError) {
        guard let context = unsafe SSL_CTX_new(DTLS_method()) else { throw .last() }
        let names = profiles.map { profile in
            switch profile {
            case .aes128CMHMACSHA1_80: "SRTP_AES128_CM_SHA1_80"
            case .aeadAES128GCM: "SRTP_AEAD_AES_128_GCM"
            case .aeadAES256GCM: "SRTP_AEAD_AES_256_GCM"
            }
        }.joined(separator: ":")
        unsafe SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT) { _, _ in
            // Self-signed certificates are the rule; the fingerprint decides after the handshake (RFC 8827 §6.5).
            1
        }
        let ready =
            unsafe SSL_CTX_use_certificate(context, certificate.certificate) == 1
            && SSL_CTX_use_PrivateKey(context, certificate.key) == 1
            && SSL_CTX_set_cipher_list(
                context,
                "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
                    + "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
                    + "ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA") == 1
            && SSL_CTX_set_tlsext_use_srtp(context, names) == 0
        guard ready else {
            unsafe SSL_CTX_free(context)
            throw .last()
        }
        unsafe pointer = context
    }

    deinit { unsafe SSL_CTX_free(pointer) }
}

/// A BIO over queues of datagrams: OpenSSL's memory BIO runs neighbouring datagrams together.
@safe final class DatagramQueue {
    /// Datagrams of a peer that wait to be read; a handshake flight has fewer.
    static let maxIncoming = 32
    var incoming: [[UInt8]] = []
    var outgoing: [[UInt8]] = []

    // Made once, never changed.
    nonisolated(unsafe) private static let method: OpaquePointer? = {
        guard let method = unsafe BIO_meth_new(weir_bio_type(), "datagram queue") else { return nil }
        unsafe BIO_meth_set_create(method) { bio in
            unsafe BIO_set_init(bio, 1)
            return 1
        }
        unsafe BIO_meth_set_read(method) { bio, out, length in
            guard let bio = unsafe bio, let out = unsafe out, let queue = unsafe DatagramQueue.of(bio) else {
                return -1
            }
            unsafe weir_bio_clear_retry(bio)
            guard !queue.incoming.isEmpty else {
                unsafe weir_bio_retry_read(bio)
                return -1
            }
            let datagram = queue.incoming.removeFirst()
            let count = min(datagram.count, Int(length))
            unsafe datagram.withUnsafeBytes { source in
                guard let base = source.baseAddress else { return }
                unsafe UnsafeMutableRawPointer(out).copyMemory(from: base, byteCount: count)
            }
            return CInt(count)
        }
        unsafe BIO_meth_set_write(method) { bio, bytes, length in
            guard let bio = unsafe bio, let bytes = unsafe bytes, let queue = unsafe DatagramQueue.of(bio) else {
                return -1
            }
            queue.outgoing.append(unsafe [UInt8](UnsafeRawBufferPointer(start: bytes, count: Int(length))))
            return length
        }
        unsafe BIO_meth_set_ctrl(method) { _, command, _, _ in
            command == CInt(WEIR_BIO_FLUSH) ? 1 : 0
        }
        return unsafe method
    }()

    private static func of(_ bio: OpaquePointer) -> DatagramQueue? {
        guard let data = unsafe BIO_get_data(bio) else { return nil }
        return unsafe Unmanaged<DatagramQueue>.fromOpaque(data).takeUnretainedValue()
    }

    /// The BIO does not own the queue: the session keeps both alive.
    func makeBIO() -> OpaquePointer? {
        guard let method = unsafe Self.method, let bio = unsafe BIO_new(method) else { return nil }
        unsafe BIO_set_data(bio, Unmanaged.passUnretained(self).toOpaque())
        return unsafe bio
    }
}
