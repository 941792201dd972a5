import COpenSSL
import Wire

/// What all DTLS sessions share: certificate, ciphers, SRTP profiles in our order of preference.
@safe package final class DTLSContext: @unchecked Sendable {
    /// AES-128-GCM is what every WebRTC peer must offer (RFC 8827 §6.5); the others cost nothing. CBC suites are left
    /// out: no browser, GStreamer, Pion or aiortc needs them, and our own record protection does AEAD only.
    private static let suites = [
        "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305",
    ]

    // SSL_CTX may be used from several threads once it is set up.
    package let pointer: OpaquePointer

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
        // No session is ever resumed: the server's flight is the last one always. Without NO_QUERY_MTU OpenSSL asks the
        // BIO and falls back to 256-byte fragments.
        unsafe weir_ctx_no_sessions(context)
        _ = unsafe weir_ctx_set_options(
            context, SSL_OP_NO_QUERY_MTU_VALUE | SSL_OP_NO_TICKET_VALUE | SSL_OP_NO_RENEGOTIATION_VALUE)
        let ready =
            unsafe SSL_CTX_use_certificate(context, certificate.certificate) == 1
            && SSL_CTX_use_PrivateKey(context, certificate.key) == 1
            && weir_ctx_require_dtls12(context) == 1
            // Else OpenSSL has 16 KiB for the records that an association writes.
            && weir_ctx_max_fragment(context, Handshake.mtu) == 1
            && SSL_CTX_set_cipher_list(context, Self.suites.joined(separator: ":")) == 1
            && SSL_CTX_set_tlsext_use_srtp(context, names) == 0
        guard ready else {
            unsafe SSL_CTX_free(context)
            throw .last()
        }
        unsafe pointer = context
    }

    deinit { unsafe SSL_CTX_free(pointer) }
}

/// OpenSSL's option bits are macros over shifts, which Swift does not import.
private let SSL_OP_NO_QUERY_MTU_VALUE: UInt64 = 1 << 12
private let SSL_OP_NO_TICKET_VALUE: UInt64 = 1 << 14
private let SSL_OP_NO_RENEGOTIATION_VALUE: UInt64 = 1 << 30
