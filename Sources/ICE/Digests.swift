import COpenSSL
import Wire

/// HMAC-SHA1 as STUN's MESSAGE-INTEGRITY uses it (RFC 2104).
enum HMACSHA1 {
    static func authenticate(_ message: [UInt8], key: [UInt8]) -> [UInt8] {
        var out = [UInt8](repeating: 0, count: 20)
        var length: UInt32 = 20
        _ = unsafe HMAC(EVP_sha1(), key, CInt(key.count), message, message.count, &out, &length)
        return out
    }
}

/// CRC-32 of ITU V.42, as STUN's FINGERPRINT uses it (RFC 8489 §14.7).
enum CRC32 {
    private static let table: [UInt32] = (0..<256).map { n in
        (0..<8).reduce(UInt32(n)) { c, _ in c & 1 != 0 ? 0xedb8_8320 ^ (c >> 1) : c >> 1 }
    }

    static func checksum(_ bytes: RawSpan) -> UInt32 {
        var crc: UInt32 = 0xffff_ffff
        for i in 0..<bytes.byteCount { crc = table[Int((crc ^ UInt32(bytes[i])) & 0xff)] ^ (crc >> 8) }
        return crc ^ 0xffff_ffff
    }
}
