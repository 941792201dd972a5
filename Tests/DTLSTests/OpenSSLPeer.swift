import COpenSSL
import DTLS
import Glibc
import Wire

/// The other side of an association on a living `SSL` object, so that our own record protection is judged by OpenSSL's.
final class OpenSSLPeer {
    /// Microseconds: tests wait for it. OpenSSL takes a timer with less than 15 ms left for run out.
    private static let retransmission: UInt32 = 40_000
    private let ssl: OpaquePointer
    private let context: DTLSContext
    let queue = DatagramQueue()
    private(set) var isConnected = false
    /// close_notify has come.
    var hasHeardGoodbye: Bool { SSL_get_shutdown(ssl) & SSL_RECEIVED_SHUTDOWN != 0 }

    /// - Parameter suites: `nil`: those of the context.
    init(context: DTLSContext, isClient: Bool, suites: String? = nil) throws {
        guard let ssl = SSL_new(context.pointer), let bio = queue.makeBIO() else { throw DTLSError.noCertificate }
        self.ssl = ssl
        self.context = context
        SSL_set_bio(ssl, bio, bio)
        _ = weir_ssl_set_mtu(ssl, 1200)
        DTLS_set_timer_cb(ssl) { _, _ in OpenSSLPeer.retransmission }
        if let suites { guard SSL_set_cipher_list(ssl, suites) == 1 else { throw DTLSError.noCertificate } }
        if isClient { SSL_set_connect_state(ssl) } else { SSL_set_accept_state(ssl) }
    }

    deinit { SSL_free(ssl) }

    var suite: String { String(cString: SSL_CIPHER_get_name(SSL_get_current_cipher(ssl))) }

    /// Reads all that has come and goes on with the handshake.
    func turn() {
        ERR_clear_error()
        if SSL_do_handshake(ssl) == 1 { isConnected = true }
        guard isConnected else { return }
        var scratch = [UInt8](repeating: 0, count: 2048)
        repeat { ERR_clear_error() } while SSL_read(ssl, &scratch, 2048) > 0
    }

    /// Repeats the last flight, as soon as OpenSSL's own clock allows.
    func retransmit() {
        while true {
            let wait = weir_dtls_timeout_us(ssl)
            guard wait > 0 else { break }
            usleep(UInt32(wait))
        }
        _ = weir_dtls_handle_timeout(ssl)
    }

    /// Whether a later handshake could be shortened to a resumed one.
    var canResume: Bool {
        var length: UInt32 = 0
        guard let session = SSL_get_session(ssl) else { return false }
        _ = SSL_SESSION_get_id(session, &length)
        return length > 0 || SSL_SESSION_has_ticket(session) != 0
    }

    func sendCloseNotify() { _ = SSL_shutdown(ssl) }

    func sendApplicationData(_ bytes: [UInt8]) { _ = SSL_write(ssl, bytes, CInt(bytes.count)) }

    func takeSent() -> [[UInt8]] {
        defer { queue.outgoing = [] }
        return queue.outgoing
    }

    /// The keys as OpenSSL has them, derived once more: to write records that OpenSSL would not.
    func recordKeys() throws -> RecordKeys? {
        guard let cipher = RecordCipher(suite: SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(ssl))) else {
            return nil
        }
        var master = [UInt8](repeating: 0, count: 48)
        var client = [UInt8](repeating: 0, count: 32)
        var server = client
        var block = [UInt8](repeating: 0, count: cipher.keyBlockLength)
        guard SSL_SESSION_get_master_key(SSL_get_session(ssl), &master, 48) == 48,
            SSL_get_client_random(ssl, &client, 32) == 32, SSL_get_server_random(ssl, &server, 32) == 32,
            weir_tls12_key_block(
                cipher == .aes256GCM ? "SHA384" : "SHA256", master, 48, server, client, 32, &block, block.count) == 1
        else { return nil }
        return RecordKeys(cipher: cipher, keyBlock: block)
    }
}

extension DTLSCertificate {
    /// A self-signed RSA certificate, for the suites that ask for one.
    static func rsa() throws -> DTLSCertificate {
        guard let making = EVP_PKEY_CTX_new_from_name(nil, "RSA", nil) else { throw DTLSError.noCertificate }
        defer { EVP_PKEY_CTX_free(making) }
        var made: OpaquePointer?
        guard EVP_PKEY_keygen_init(making) == 1, EVP_PKEY_generate(making, &made) == 1, let key = made,
            let certificate = X509_new()
        else { throw DTLSError.noCertificate }
        X509_gmtime_adj(X509_getm_notBefore(certificate), 0)
        X509_gmtime_adj(X509_getm_notAfter(certificate), 3600)
        X509_set_pubkey(certificate, key)
        guard X509_sign(certificate, key, EVP_sha256()) > 0 else {
            X509_free(certificate)
            EVP_PKEY_free(key)
            throw DTLSError.noCertificate
        }
        return DTLSCertificate(certificate: certificate, key: key)
    }
}
