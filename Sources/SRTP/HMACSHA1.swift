import COpenSSL

/// HMAC-SHA1 of one key as plain memory: the hash states after the inner and after the outer pad, which every library
/// that we use can start from.
enum HMACSHA1 {
    static let stateLength = 40
    /// The outer state follows the inner one.
    static let outerOffset = 20
    static let digestLength = 20

    /// - Parameters:
    ///   - key: at most 64 bytes, which is the block of SHA-1; SRTP's are 20.
    ///   - states: `stateLength` bytes, 4-byte aligned.
    static func expand(_ key: [UInt8], into states: UnsafeMutableRawPointer) {
        precondition(key.count <= 64)
        weir_hmac_sha1_expand(states.assumingMemoryBound(to: UInt32.self), key, key.count)
    }

    /// One message at once: the bytes and, if given, a 32-bit number after them. Writes `digestLength` bytes.
    static func authenticate(
        _ states: UnsafeRawPointer, _ bytes: UnsafeRawPointer, length: Int, then word: UInt32?,
        into out: UnsafeMutableRawPointer
    ) {
        let words = states.assumingMemoryBound(to: UInt32.self)
        let digest = out.assumingMemoryBound(to: UInt8.self)
        var more = (word ?? 0).bigEndian
        weir_hmac_sha1(words, bytes, length, &more, word == nil ? 0 : 4, digest)
    }
}
