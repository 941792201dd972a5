import COpenSSL
import Wire

/// The record protection of the cipher suites that we negotiate: AEAD only.
package enum RecordCipher: CaseIterable, Sendable {
    case aes128GCM, aes256GCM, chaCha20Poly1305

    static let tagLength = 16
    static let nonceLength = 12

    /// - Parameter suite: as the hello messages write it; `nil` for one that is none of ours.
    package init?(suite: UInt16) {
        switch suite {
        case 0xc02b, 0xc02f: self = .aes128GCM
        case 0xc02c, 0xc030: self = .aes256GCM
        case 0xcca8, 0xcca9: self = .chaCha20Poly1305
        default: return nil
        }
    }

    package var keyLength: Int { self == .aes128GCM ? 16 : 32 }
    /// Part of the nonce that comes from the key block.
    package var saltLength: Int { self == .chaCha20Poly1305 ? Self.nonceLength : 4 }
    /// Part of the nonce that each record carries (RFC 5288 §3); ChaCha20 has none (RFC 7905 §2).
    package var explicitNonceLength: Int { self == .chaCha20Poly1305 ? 0 : 8 }
    package var keyBlockLength: Int { 2 * (keyLength + saltLength) }
    /// Hash of the suite's pseudo-random function, as OpenSSL calls it.
    var digest: String { self == .aes256GCM ? "SHA2-384" : "SHA2-256" }

    fileprivate var method: OpaquePointer? {
        switch self {
        case .aes128GCM: unsafe EVP_aes_128_gcm()
        case .aes256GCM: unsafe EVP_aes_256_gcm()
        case .chaCha20Poly1305: unsafe EVP_chacha20_poly1305()
        }
    }
}

/// The key block of an association (RFC 5246 §6.3), without MAC keys: client key, server key, client salt, server salt.
/// About 100 bytes, overwritten at the end; one record at a time makes and frees the cipher's context, because records
/// are rare after the handshake and a context costs more than half a kilobyte.
@safe package final class RecordKeys {
    package enum Writer: Sendable { case client, server }

    package let cipher: RecordCipher
    private let block: UnsafeMutableRawBufferPointer

    /// - Parameter keyBlock: of `cipher.keyBlockLength` bytes.
    package init(cipher: RecordCipher, keyBlock: [UInt8]) {
        precondition(keyBlock.count == cipher.keyBlockLength, "a key block of another cipher")
        self.cipher = cipher
        unsafe block = .allocate(byteCount: keyBlock.count, alignment: 1)
        unsafe block.copyBytes(from: keyBlock)
    }

    deinit {
        unsafe OPENSSL_cleanse(block.baseAddress, block.count)
        unsafe block.deallocate()
    }

    /// The plaintext of a record, or `nil` when it is not authentic.
    package func open(_ record: DTLSRecord, of datagram: RawSpan, writer: Writer) -> [UInt8]? {
        let body = record.fragment.lowerBound + cipher.explicitNonceLength
        let length = record.fragment.upperBound - body - RecordCipher.tagLength
        guard length >= 0 else { return nil }
        let explicit = datagram.extracting(record.fragment.lowerBound..<body).copied()
        let input = datagram.extracting(body..<(body + length)).copied()
        var tag = datagram.extracting((body + length)..<record.fragment.upperBound).copied()
        return run(
            input, type: record.type, version: record.version, number: UInt64(record.epoch) << 48 | record.sequence,
            explicit: explicit, tag: &tag, writer: writer, seals: false)
    }

    /// A whole record of the protected epoch.
    /// - Parameter nonce: the explicit part; never twice under one key. ChaCha20 takes `sequence` instead.
    package func seal(type: UInt8, plaintext: [UInt8], sequence: UInt64, nonce: UInt64, writer: Writer) -> [UInt8]? {
        let number = UInt64(DTLSRecord.protectedEpoch) << 48 | sequence
        var explicit: [UInt8] = []
        if cipher.explicitNonceLength > 0 { explicit.appendBigEndian(nonce) }
        var tag = [UInt8](repeating: 0, count: RecordCipher.tagLength)
        guard
            let sealed = run(
                plaintext, type: type, version: DTLSRecord.version, number: number, explicit: explicit, tag: &tag,
                writer: writer, seals: true)
        else { return nil }
        var record = [type]
        record.appendBigEndian(DTLSRecord.version)
        record.appendBigEndian(number)
        record.appendBigEndian(UInt16(explicit.count + sealed.count + tag.count))
        return record + explicit + sealed + tag
    }

    // MARK: - Helpers

    /// Nonces of RFC 5288 §3 and RFC 7905 §2: the salt followed by the explicit part, or XOR the record's number.
    private func makeNonce(number: UInt64, explicit: [UInt8], writer: Writer) -> [UInt8] {
        let start = 2 * cipher.keyLength + (writer == .server ? cipher.saltLength : 0)
        var nonce = unsafe [UInt8](block[start..<(start + cipher.saltLength)]) + explicit
        guard cipher == .chaCha20Poly1305 else { return nonce }
        for i in 0..<8 { nonce[4 + i] ^= UInt8(truncatingIfNeeded: number >> UInt64(56 - 8 * i)) }
        return nonce
    }

    /// - Parameters:
    ///   - number: epoch and sequence number.
    ///   - tag: what the bytes must have, or what they get.
    private func run(
        _ input: [UInt8], type: UInt8, version: UInt16, number: UInt64, explicit: [UInt8], tag: inout [UInt8],
        writer: Writer, seals: Bool
    ) -> [UInt8]? {
        // RFC 5246 §6.2.3.3, with the numbers of RFC 6347 §4.1.2.1.
        var header: [UInt8] = []
        header.appendBigEndian(number)
        header.append(type)
        header.appendBigEndian(version)
        header.appendBigEndian(UInt16(input.count))
        let nonce = makeNonce(number: number, explicit: explicit, writer: writer)
        guard let context = unsafe EVP_CIPHER_CTX_new() else { return nil }
        defer {
            unsafe EVP_CIPHER_CTX_free(context)
            ERR_clear_error()
        }
        let key = unsafe block.baseAddress.map {
            unsafe ($0 + (writer == .server ? cipher.keyLength : 0)).assumingMemoryBound(to: UInt8.self)
        }
        var output = [UInt8](repeating: 0, count: input.count)
        var count: CInt = 0
        var rest: CInt = 0
        let length = CInt(RecordCipher.tagLength)
        guard
            unsafe EVP_CipherInit_ex(context, cipher.method, nil, key, nonce, seals ? 1 : 0) == 1
                && EVP_CipherUpdate(context, nil, &count, header, CInt(header.count)) == 1
                && (seals || EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, length, &tag) == 1)
                && (input.isEmpty
                    || EVP_CipherUpdate(context, &output, &count, input, CInt(input.count)) == 1)
                // An AEAD cipher has written everything already; the last call checks the tag and writes nothing.
                && EVP_CipherFinal_ex(context, &tag, &rest) == 1
                && (!seals || EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, length, &tag) == 1)
        else { return nil }
        return output
    }
}
