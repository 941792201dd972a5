import Wire

/// RTCP is rare, so its keys are not kept expanded: one packet expands them and forgets them again. Bytes of the
/// session key are all that a peer keeps.
extension SRTPMachine {
    /// AES-128 in counter mode, in place, in either direction.
    /// - Parameter key: 16 bytes, 16-byte aligned.
    /// - Returns: `false` when OpenSSL is out of memory.
    func rtcpCounter(
        key: UnsafeRawPointer, salt: Salt, ssrc: UInt32, index: UInt64, body: UnsafeMutableRawPointer, length: Int
    ) -> Bool {
        #if arch(x86_64)
            if let core {
                core.pointee.expandCounter(key, into: core.pointee.onceRoom)
                core.pointee.counter(
                    keys: core.pointee.onceRoom, salt: salt, ssrc: ssrc, index: index, source: body, destination: body,
                    length: length)
                return true
            }
        #endif
        guard let cipher = rtcpCiphers.cipher(.counter128, key: key, encrypt: true) else { return false }
        salt.writeCounter(scratch, ssrc: ssrc, index: index)
        cipher.counter(scratch, source: body, destination: body, length: length)
        return true
    }

    /// AES-GCM in place.
    /// - Parameters:
    ///   - key: 16 or 32 bytes, 16-byte aligned.
    ///   - tag: written when encrypting; the received one when decrypting.
    /// - Returns: `false` when the tag is wrong or OpenSSL out of memory.
    func rtcpGCM(
        key: UnsafeRawPointer, is256: Bool, encrypt: Bool, nonce: UnsafeRawPointer, aad: UnsafeRawPointer,
        aadLength: Int, body: UnsafeMutableRawPointer, length: Int, tag: UnsafeMutableRawPointer
    ) -> Bool {
        #if arch(x86_64)
            if let core {
                core.pointee.expandGCM(key, is256: is256, into: core.pointee.onceRoom)
                let computed = encrypt ? tag : scratch + 64
                core.pointee.gcm(
                    room: core.pointee.onceRoom, is256: is256, decrypt: !encrypt, nonce: nonce, aad: aad,
                    aadLength: aadLength, source: body, destination: body, length: length, tag: computed)
                return encrypt || constantTimeEqual(computed, tag, count: 16)
            }
        #endif
        guard let cipher = rtcpCiphers.cipher(is256 ? .gcm256 : .gcm128, key: key, encrypt: encrypt) else {
            return false
        }
        return cipher.gcm(
            nonce: nonce, aad: aad, aadLength: aadLength, source: body, destination: body, length: length, tag: tag)
    }
}

/// OpenSSL contexts of one thread that take another key for each packet.
final class RekeyedCiphers {
    private var ciphers: [OpenSSLCipher?] = .init(repeating: nil, count: OpenSSLCipher.Kind.allCases.count * 2)

    /// `nil` when OpenSSL is out of memory.
    func cipher(_ kind: OpenSSLCipher.Kind, key: UnsafeRawPointer, encrypt: Bool) -> OpenSSLCipher? {
        let place = kind.rawValue * 2 + (encrypt ? 1 : 0)
        if let made = ciphers[place] { return made.rekey(key) ? made : nil }
        ciphers[place] = try? OpenSSLCipher(kind: kind, key: key, encrypt: encrypt)
        return ciphers[place]
    }
}
