/// Base64 of RFC 4648 §4 with padding, on one line.
package enum Base64 {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    package static func encode(_ bytes: [UInt8]) -> String {
        let length = (bytes.count + 2) / 3 * 4
        return String(unsafeUninitializedCapacity: length) { out in
            var at = 0
            for start in stride(from: 0, to: bytes.count, by: 3) {
                let count = min(3, bytes.count - start)
                var group = UInt32(bytes[start]) << 16
                if count > 1 { group |= UInt32(bytes[start + 1]) << 8 }
                if count > 2 { group |= UInt32(bytes[start + 2]) }
                for i in 0..<4 {
                    let sextet = Int(group >> (18 - 6 * UInt32(i))) & 63
                    out[at + i] = i <= count ? alphabet[sextet] : UInt8(ascii: "=")
                }
                at += 4
            }
            return at
        }
    }
}
