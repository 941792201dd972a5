import SDP

/// Looking into header values byte by byte: what a peer sends is split at bytes, never at Swift's characters, so that
/// no combining mark can hide a separator.
extension Substring {
    /// Parts between bytes of this value outside quoted strings, without spaces around them; empty parts are left out.
    func listed(by separator: UInt8, limit: Int) -> [Substring] {
        var out: [Substring] = []
        var start = utf8.startIndex
        var at = start
        var quoted = false
        func close(_ end: Index) {
            let part = self[start..<end].trimmed
            if !part.isEmpty, out.count < limit { out.append(part) }
        }
        while at < utf8.endIndex {
            let byte = utf8[at]
            if quoted, byte == UInt8(ascii: "\\") {
                at = utf8.index(after: at)
                if at == utf8.endIndex { break }
            } else if byte == UInt8(ascii: "\"") {
                quoted.toggle()
            } else if byte == separator, !quoted {
                close(at)
                start = utf8.index(after: at)
            }
            at = utf8.index(after: at)
        }
        close(utf8.endIndex)
        return out
    }

    /// The two sides of the first `separator`; `nil` behind it where there is none.
    func halves(at separator: UInt8) -> (head: Substring, tail: Substring?) {
        guard let at = utf8.firstIndex(of: separator) else { return (self, nil) }
        return (self[..<at], self[utf8.index(after: at)...])
    }

    /// Without the quotes around it and the backslashes within (RFC 2326 §15.1); as it is without quotes.
    var unquoted: String {
        guard utf8.count >= 2, utf8.first == UInt8(ascii: "\""), utf8.last == UInt8(ascii: "\"") else {
            return String(self)
        }
        var out: [UInt8] = []
        var escaped = false
        for byte in utf8.dropFirst().dropLast() {
            if byte == UInt8(ascii: "\\"), !escaped {
                escaped = true
            } else {
                out.append(byte)
                escaped = false
            }
        }
        return String(decoding: out, as: UTF8.self)
    }

    /// Digits alone, as a number.
    func decimal<T: FixedWidthInteger>(as type: T.Type = T.self) -> T? {
        guard !utf8.isEmpty, utf8.allSatisfy(\.isDigit) else { return nil }
        return T(self)
    }
}

extension StringProtocol {
    /// ASCII letters alone are compared without case: names of headers, methods' parameters, schemes.
    func equalsIgnoringCase(_ other: some StringProtocol) -> Bool {
        utf8.count == other.utf8.count && zip(utf8, other.utf8).allSatisfy { $0.lowercased == $1.lowercased }
    }

    /// ASCII letters alone in lower case.
    var asciiLowercased: String { String(decoding: utf8.map(\.lowercased), as: UTF8.self) }
}

extension String {
    /// As a quoted string of a header: backslashes before quotes and backslashes, nothing that could end the line.
    var quoted: String {
        var out: [UInt8] = [UInt8(ascii: "\"")]
        for byte in utf8 where byte >= 0x20 && byte != 0x7f {
            if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") { out.append(UInt8(ascii: "\\")) }
            out.append(byte)
        }
        out.append(UInt8(ascii: "\""))
        return String(decoding: out, as: UTF8.self)
    }
}

extension UInt8 {
    var isDigit: Bool { self >= 0x30 && self <= 0x39 }

    var lowercased: UInt8 { self >= 0x41 && self <= 0x5a ? self | 0x20 : self }

    /// Characters of methods, header names and parameters (RFC 2326 §15.1 `token`).
    var isToken: Bool {
        switch self {
        case 0x30...0x39, 0x41...0x5a, 0x61...0x7a: true
        case UInt8(ascii: "!"), UInt8(ascii: "#"), UInt8(ascii: "$"), UInt8(ascii: "%"), UInt8(ascii: "&"),
            UInt8(ascii: "'"), UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."),
            UInt8(ascii: "^"), UInt8(ascii: "_"), UInt8(ascii: "`"), UInt8(ascii: "|"), UInt8(ascii: "~"):
            true
        default: false
        }
    }

    /// Value of a hexadecimal digit.
    var hexValue: UInt8? {
        switch self {
        case 0x30...0x39: self - 0x30
        case 0x41...0x46: self - 0x41 + 10
        case 0x61...0x66: self - 0x61 + 10
        default: nil
        }
    }
}

/// Numbers in hexadecimal, without Foundation.
enum Hex {
    private static let digits = Array("0123456789abcdef".utf8)

    static func string(_ bytes: some Sequence<UInt8>) -> String {
        var out: [UInt8] = []
        for byte in bytes {
            out.append(digits[Int(byte >> 4)])
            out.append(digits[Int(byte & 15)])
        }
        return String(decoding: out, as: UTF8.self)
    }

    /// Eight digits, as `ssrc` of a Transport header has them.
    static func string(_ value: UInt32) -> String {
        string((0..<4).map { UInt8(truncatingIfNeeded: value >> UInt32(24 - 8 * $0)) }).uppercased()
    }
}

/// Base64 (RFC 4648 §4).
package enum Base64Text {
    private static let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

    package static func encode(_ bytes: some Collection<UInt8>) -> String {
        var out: [UInt8] = []
        out.reserveCapacity((bytes.count + 2) / 3 * 4)
        var buffer: UInt32 = 0
        var held = 0
        for byte in bytes {
            buffer = buffer << 8 | UInt32(byte)
            held += 1
            guard held == 3 else { continue }
            for shift: UInt32 in [18, 12, 6, 0] { out.append(alphabet[Int(buffer >> shift & 63)]) }
            (buffer, held) = (0, 0)
        }
        if held > 0 {
            buffer <<= UInt32(8 * (3 - held))
            for i in 0..<4 {
                let index = Int(buffer >> UInt32(18 - 6 * i) & 63)
                out.append(i <= held ? alphabet[index] : UInt8(ascii: "="))
            }
        }
        return String(decoding: out, as: UTF8.self)
    }

    /// `nil` for anything that is no Base64; padding may be missing.
    static func decode(_ text: some StringProtocol) -> [UInt8]? {
        var out: [UInt8] = []
        var buffer: UInt32 = 0
        var bits: UInt32 = 0
        var isPadding = false
        for byte in text.utf8 {
            let value: UInt8
            switch byte {
            case 0x41...0x5a: value = byte - 0x41
            case 0x61...0x7a: value = byte - 0x61 + 26
            case 0x30...0x39: value = byte - 0x30 + 52
            case UInt8(ascii: "+"), UInt8(ascii: "-"): value = 62
            case UInt8(ascii: "/"), UInt8(ascii: "_"): value = 63
            case UInt8(ascii: "="):
                isPadding = true
                continue
            default: return nil
            }
            guard !isPadding else { return nil }
            buffer = (buffer << 6 | UInt32(value)) & 0xff_ffff
            bits += 6
            if bits >= 8 {
                bits -= 8
                out.append(UInt8(truncatingIfNeeded: buffer >> bits))
            }
        }
        return out
    }
}
