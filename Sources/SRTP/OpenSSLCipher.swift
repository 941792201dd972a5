import COpenSSL
import Wire

/// One key of one direction on OpenSSL: AES-GCM, or AES-CTR with HMAC-SHA1. One thread at a time.
final class OpenSSLCipher {
    private let context: OpaquePointer
    private let mac: OpaquePointer?
    private let isEncrypting: Bool

    /// - Parameter encrypt: AES-GCM contexts work in one direction only.
    init(profile: SRTPProfile, key: [UInt8], authKey: [UInt8], encrypt: Bool) throws(SRTPError) {
        guard let context = EVP_CIPHER_CTX_new() else { throw .library("EVP_CIPHER_CTX_new") }
        self.context = context
        isEncrypting = encrypt
        let cipher =
            switch profile {
            case .aeadAES128GCM: EVP_aes_128_gcm()
            case .aeadAES256GCM: EVP_aes_256_gcm()
            case .aes128CMHMACSHA1_80: EVP_aes_128_ctr()
            }
        var made: OpaquePointer?
        if profile == .aes128CMHMACSHA1_80 { made = Self.makeHMAC(authKey) }
        mac = made
        guard EVP_CipherInit_ex(context, cipher, nil, key, nil, encrypt ? 1 : 0) == 1,
            profile != .aes128CMHMACSHA1_80 || made != nil
        else { throw .library("set up \(profile.name)") }
    }

    deinit {
        EVP_CIPHER_CTX_free(context)
        EVP_MAC_CTX_free(mac)
    }

    private static func makeHMAC(_ key: [UInt8]) -> OpaquePointer? {
        guard let algorithm = EVP_MAC_fetch(nil, "HMAC", nil) else { return nil }
        defer { EVP_MAC_free(algorithm) }
        guard let context = EVP_MAC_CTX_new(algorithm) else { return nil }
        var digest = Array("SHA1".utf8CString)
        let ready = digest.withUnsafeMutableBufferPointer { name in
            let parameters = [
                OSSL_PARAM_construct_utf8_string("digest", name.baseAddress, 0), OSSL_PARAM_construct_end(),
            ]
            return EVP_MAC_init(context, key, key.count, parameters) == 1
        }
        guard ready else {
            EVP_MAC_CTX_free(context)
            return nil
        }
        return context
    }

    /// AES-GCM. When opening, `tag` is the received one and the result says whether it was right.
    func gcm(
        nonce: UnsafeRawPointer, aad: UnsafeRawPointer, aadLength: Int, source: UnsafeRawPointer,
        destination: UnsafeMutableRawPointer, length: Int, tag: UnsafeMutableRawPointer
    ) -> Bool {
        let iv = nonce.assumingMemoryBound(to: UInt8.self)
        let out = destination.assumingMemoryBound(to: UInt8.self)
        var n: CInt = 0
        guard EVP_CipherInit_ex(context, nil, nil, nil, iv, -1) == 1,
            EVP_CipherUpdate(context, nil, &n, aad.assumingMemoryBound(to: UInt8.self), CInt(aadLength)) == 1
        else { return false }
        if !isEncrypting {
            guard EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, 16, tag) == 1 else { return false }
        }
        if length > 0 {
            guard EVP_CipherUpdate(context, out, &n, source.assumingMemoryBound(to: UInt8.self), CInt(length)) == 1
            else { return false }
        }
        guard EVP_CipherFinal_ex(context, out + length, &n) == 1 else { return false }
        return !isEncrypting || EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, tag) == 1
    }

    /// AES-CTR in either direction.
    func counter(
        _ counter: UnsafeRawPointer, source: UnsafeRawPointer, destination: UnsafeMutableRawPointer, length: Int
    ) {
        guard length > 0 else { return }
        var n: CInt = 0
        _ = EVP_CipherInit_ex(context, nil, nil, nil, counter.assumingMemoryBound(to: UInt8.self), -1)
        _ = EVP_CipherUpdate(
            context, destination.assumingMemoryBound(to: UInt8.self), &n, source.assumingMemoryBound(to: UInt8.self),
            CInt(length))
    }

    /// HMAC-SHA1 over the bytes and, if given, a 32-bit number after them; writes 20 bytes.
    func authenticate(_ bytes: UnsafeRawPointer, length: Int, then word: UInt32?, into out: UnsafeMutableRawPointer) {
        guard let mac else { return }
        // Without a key: start again under the same one.
        _ = EVP_MAC_init(mac, nil, 0, nil)
        _ = EVP_MAC_update(mac, bytes.assumingMemoryBound(to: UInt8.self), length)
        if var word = word?.bigEndian {
            withUnsafeBytes(of: &word) {
                _ = EVP_MAC_update(mac, $0.baseAddress?.assumingMemoryBound(to: UInt8.self), 4)
            }
        }
        var n = 0
        _ = EVP_MAC_final(mac, out.assumingMemoryBound(to: UInt8.self), &n, 20)
    }
}

/// Both keys of one direction.
final class OpenSSLKeys {
    let rtp: OpenSSLCipher
    let rtcp: OpenSSLCipher

    init(_ keys: SessionKeys, encrypt: Bool) throws(SRTPError) {
        rtp = try OpenSSLCipher(profile: keys.profile, key: keys.rtpKey, authKey: keys.rtpAuth, encrypt: encrypt)
        rtcp = try OpenSSLCipher(profile: keys.profile, key: keys.rtcpKey, authKey: keys.rtcpAuth, encrypt: encrypt)
    }
}
