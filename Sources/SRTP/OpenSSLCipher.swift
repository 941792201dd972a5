import COpenSSL
import Wire

/// One key of one direction on OpenSSL: AES-GCM, or AES-CTR with HMAC-SHA1. One thread at a time.
final class OpenSSLCipher {
    private let context: OpaquePointer
    /// States of HMAC-SHA1, meaningless for AEAD.
    private let mac: UnsafeMutableRawPointer
    private let isEncrypting: Bool

    enum Kind: Int, CaseIterable {
        case counter128, gcm128, gcm256

        init(_ profile: SRTPProfile) {
            self =
                switch profile {
                case .aes128CMHMACSHA1_80: .counter128
                case .aeadAES128GCM: .gcm128
                case .aeadAES256GCM: .gcm256
                }
        }
    }

    /// - Parameters:
    ///   - key: as many bytes as the kind takes.
    ///   - authKey: of HMAC-SHA1; not needed where `authenticate` is not called.
    ///   - encrypt: AES-GCM contexts work in one direction only.
    init(kind: Kind, key: UnsafeRawPointer, authKey: [UInt8] = [], encrypt: Bool) throws(SRTPError) {
        guard let context = EVP_CIPHER_CTX_new() else { throw .library("EVP_CIPHER_CTX_new") }
        self.context = context
        isEncrypting = encrypt
        let cipher =
            switch kind {
            case .gcm128: EVP_aes_128_gcm()
            case .gcm256: EVP_aes_256_gcm()
            case .counter128: EVP_aes_128_ctr()
            }
        mac = .allocate(byteCount: HMACSHA1.stateLength, alignment: 16)
        HMACSHA1.expand(authKey, into: mac)
        guard
            EVP_CipherInit_ex(context, cipher, nil, key.assumingMemoryBound(to: UInt8.self), nil, encrypt ? 1 : 0) == 1
        else { throw .library("set up \(kind)") }
    }

    /// Another key of the same kind from here on.
    func rekey(_ key: UnsafeRawPointer) -> Bool {
        EVP_CipherInit_ex(context, nil, nil, key.assumingMemoryBound(to: UInt8.self), nil, -1) == 1
    }

    deinit {
        EVP_CIPHER_CTX_free(context)
        eraseMemory(mac, HMACSHA1.stateLength)
        mac.deallocate()
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
        HMACSHA1.authenticate(mac, bytes, length: length, then: word, into: out)
    }
}
