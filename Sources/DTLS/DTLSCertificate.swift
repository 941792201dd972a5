import COpenSSL
import Wire

/// Why a DTLS association or its certificate could not be had.
package enum DTLSError: Error, Equatable, Sendable, CustomStringConvertible {
    /// OpenSSL's own words.
    case library(String)
    /// The certificate is not the one that the peer's SDP announced (RFC 8122 §6).
    case fingerprintMismatch
    case noCertificate
    case noSRTPProfile
    case timedOut
    /// The peer's fatal alert, by its number (RFC 5246 §7.2).
    case alert(UInt8)
    case badCertificate(String)

    package var description: String {
        switch self {
        case .library(let text): text
        case .fingerprintMismatch: "the peer's certificate does not match the fingerprint in its SDP"
        case .noCertificate: "the peer showed no certificate"
        case .noSRTPProfile: "no SRTP protection profile in common"
        case .timedOut: "the handshake was not finished in time"
        case .alert(let number):
            "the peer ended the association: alert \(number), "
                + (unsafe SSL_alert_desc_string_long(CInt(number)).map { unsafe String(cString: $0) } ?? "unknown")
        case .badCertificate(let text): text
        }
    }

    /// Takes the oldest error off OpenSSL's queue and empties it.
    static func last() -> DTLSError {
        let code = ERR_get_error()
        ERR_clear_error()
        guard code != 0 else { return .library("unknown OpenSSL error") }
        var text = [CChar](repeating: 0, count: 256)
        unsafe ERR_error_string_n(code, &text, 256)
        return .library(String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))
    }
}

/// Our certificate and private key for DTLS. Peers check it by fingerprint only, so it is self-signed.
@safe package final class DTLSCertificate: @unchecked Sendable {
    // Immutable after init; OpenSSL counts references atomically.
    let certificate: OpaquePointer
    let key: OpaquePointer
    /// SHA-256 as SDP writes it: `AB:CD:…`.
    package let fingerprintSHA256: String

    /// Takes both over: they are freed with the object.
    package init(certificate: OpaquePointer, key: OpaquePointer) {
        unsafe self.certificate = certificate
        unsafe self.key = key
        fingerprintSHA256 = unsafe Self.digest(certificate, "sha-256").map(Self.hexText) ?? ""
    }

    deinit {
        unsafe X509_free(certificate)
        unsafe EVP_PKEY_free(key)
    }

    /// ECDSA P-256, valid from yesterday for a year.
    package static func generate() throws(DTLSError) -> DTLSCertificate {
        guard let key = unsafe weir_ec_p256() else { throw .last() }
        guard let x = unsafe X509_new() else {
            unsafe EVP_PKEY_free(key)
            throw .last()
        }
        var serial: Int64 = 0
        unsafe withUnsafeMutableBytes(of: &serial) { _ = unsafe RAND_bytes($0.baseAddress, 8) }
        unsafe X509_set_version(x, 2)
        unsafe ASN1_INTEGER_set_int64(X509_get_serialNumber(x), serial & .max)
        unsafe X509_gmtime_adj(X509_getm_notBefore(x), -86_400)
        unsafe X509_gmtime_adj(X509_getm_notAfter(x), 365 * 86_400)
        let name = unsafe X509_get_subject_name(x)
        unsafe X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, "WebRTC", -1, -1, 0)
        unsafe X509_set_issuer_name(x, name)
        unsafe X509_set_pubkey(x, key)
        guard unsafe X509_sign(x, key, EVP_sha256()) != 0 else {
            unsafe X509_free(x)
            unsafe EVP_PKEY_free(key)
            throw .last()
        }
        return unsafe DTLSCertificate(certificate: x, key: key)
    }

    package convenience init(pemCertificate: [UInt8], pemKey: [UInt8]) throws(DTLSError) {
        func bio(_ bytes: [UInt8]) -> OpaquePointer? { unsafe BIO_new_mem_buf(bytes, CInt(bytes.count)) }
        guard let certificateBIO = unsafe bio(pemCertificate), let keyBIO = unsafe bio(pemKey) else { throw .last() }
        defer {
            unsafe BIO_free(certificateBIO)
            unsafe BIO_free(keyBIO)
        }
        guard let x = unsafe PEM_read_bio_X509(certificateBIO, nil, nil, nil) else {
            throw .badCertificate("no PEM certificate: \(DTLSError.last())")
        }
        guard let key = unsafe PEM_read_bio_PrivateKey(keyBIO, nil, nil, nil) else {
            unsafe X509_free(x)
            throw .badCertificate("no PEM private key: \(DTLSError.last())")
        }
        guard unsafe X509_check_private_key(x, key) == 1 else {
            unsafe X509_free(x)
            unsafe EVP_PKEY_free(key)
            throw .badCertificate("the private key is not that of the certificate")
        }
        unsafe self.init(certificate: x, key: key)
    }

    static func digest(_ certificate: OpaquePointer, _ algorithm: String) -> [UInt8]? {
        let method: OpaquePointer? =
            switch algorithm {
            case "sha-1": unsafe EVP_sha1()
            case "sha-224": unsafe EVP_sha224()
            case "sha-256": unsafe EVP_sha256()
            case "sha-384": unsafe EVP_sha384()
            case "sha-512": unsafe EVP_sha512()
            default: nil
            }
        guard let method = unsafe method else { return nil }
        var out = [UInt8](repeating: 0, count: 64)
        var length: UInt32 = 0
        guard unsafe X509_digest(certificate, method, &out, &length) == 1 else { return nil }
        return Array(out.prefix(Int(length)))
    }

    private static func hexText(_ bytes: [UInt8]) -> String {
        bytes.map { byte in
            let text = String(byte, radix: 16, uppercase: true)
            return text.count == 1 ? "0" + text : text
        }.joined(separator: ":")
    }
}

/// One `a=fingerprint` (RFC 8122 §5).
package struct DTLSFingerprint: Sendable, Equatable {
    package let algorithm: String
    package let bytes: [UInt8]

    /// `nil`: an algorithm we do not check, or not hexadecimal pairs.
    package init?(algorithm: String, hex: String) {
        let lengths = ["sha-1": 20, "sha-224": 28, "sha-256": 32, "sha-384": 48, "sha-512": 64]
        self.algorithm = algorithm.lowercased()
        let parts = hex.split(separator: ":", omittingEmptySubsequences: false)
        let bytes = parts.compactMap { $0.utf8.count == 2 ? UInt8($0, radix: 16) : nil }
        guard bytes.count == parts.count, lengths[self.algorithm] == bytes.count else { return nil }
        self.bytes = bytes
    }
}
