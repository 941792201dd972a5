/// Takes out of text what would let its reader act as somebody else: passwords and tokens wherever a name says so, keys
/// of SDP, bearer tokens, JWTs, and the user part of URLs. For text of clients that is kept in files.
///
/// One pass over the bytes; how far it looks ahead is bounded, so that no text takes more than linear time.
package enum Redaction {
    package static let mark = "***"

    /// Attributes of SDP whose value goes: keys (RFC 4568, RFC 4567), passwords and identities of a connection.
    private static let attributes = ["a=ice-pwd:", "a=fingerprint:", "a=crypto:", "a=key-mgmt:", "a=identity:"].map {
        Array($0.utf8)
    }
    /// Parts of names whose values go, in lower case.
    private static let words = [
        "password", "passwd", "passphrase", "pass", "pwd", "token", "secret", "authorization", "credential", "apikey",
        "api_key", "api-key", "signature", "cookie", "jwt", "private_key", "privatekey",
    ].map { Array($0.utf8) }
    private static let schemes = ["bearer ", "basic ", "digest ", "wcs "].map { Array($0.utf8) }
    private static let authority = Array("://".utf8)
    /// `{"` in base64url begins `eyJ`.
    private static let webToken = Array("eyj".utf8)
    /// Bytes of a name behind the word, and of a JWT's first part, that are looked at.
    private static let nameReach = 64
    private static let headerReach = 256
    private static let shortestHeader = 10

    package static func text(_ text: String) -> String {
        var scanner = Scanner(bytes: Array(text.utf8))
        return scanner.run()
    }

    /// The name of a stream, which may be a URL with a password or a query.
    package static func name(_ name: String) -> String {
        let shown = text(StreamName.shown(name))
        guard let query = shown.firstIndex(of: "?") else { return shown }
        return "\(shown[...query])\(mark)"
    }

    private struct Scanner {
        let bytes: [UInt8]
        var at = 0
        var out: [UInt8] = []

        mutating func run() -> String {
            out.reserveCapacity(bytes.count)
            while at < bytes.count {
                if takeAttribute() || takeNamed() || takeScheme() || takeUserInfo() || takeJWT() { continue }
                out.append(bytes[at])
                at += 1
            }
            return String(decoding: out, as: UTF8.self)
        }

        private func has(_ word: [UInt8], at place: Int) -> Bool {
            guard place + word.count <= bytes.count else { return false }
            for i in 0..<word.count where Self.lower(bytes[place + i]) != word[i] { return false }
            return true
        }

        private static func lower(_ byte: UInt8) -> UInt8 { (0x41...0x5a).contains(byte) ? byte | 0x20 : byte }

        private mutating func hide(until isEnd: (UInt8) -> Bool) {
            while at < bytes.count, !isEnd(bytes[at]) { at += 1 }
            out += Redaction.mark.utf8
        }

        private mutating func keep(_ count: Int) {
            out += bytes[at..<at + count]
            at += count
        }

        /// Ends at the line, which in JSON is written `\r\n`.
        private mutating func takeAttribute() -> Bool {
            guard bytes[at] | 0x20 == UInt8(ascii: "a"),
                let found = Redaction.attributes.first(where: { has($0, at: at) })
            else { return false }
            keep(found.count)
            hide { $0 == 10 || $0 == 13 || $0 == UInt8(ascii: "\\") || $0 == UInt8(ascii: "\"") }
            return true
        }

        /// `name: value`, `name=value`, `"name":"value"`, also inside a text of JSON, where quotes have backslashes.
        private mutating func takeNamed() -> Bool {
            guard let word = Redaction.words.first(where: { has($0, at: at) }) else { return false }
            var place = at + word.count
            let reach = min(bytes.count, place + Redaction.nameReach)
            while place < reach, Self.isName(bytes[place]) { place += 1 }
            while place < reach, Self.isQuote(bytes[place]) || bytes[place] == 32 { place += 1 }
            guard place < reach, bytes[place] == UInt8(ascii: ":") || bytes[place] == UInt8(ascii: "=") else {
                return false
            }
            place += 1
            while place < bytes.count, bytes[place] == 32 { place += 1 }
            var escapes = 0
            while place < bytes.count, bytes[place] == UInt8(ascii: "\\") {
                place += 1
                escapes += 1
            }
            let quote = place < bytes.count && Self.isQuote(bytes[place]) ? bytes[place] : nil
            if quote != nil { place += 1 }
            guard place < bytes.count, bytes[place] != UInt8(ascii: "{"), bytes[place] != UInt8(ascii: "[") else {
                return false
            }
            keep(place - at)
            if let scheme = Redaction.schemes.first(where: { has($0, at: at) }) { keep(scheme.count) }
            if let quote { hide(quote, escapes: escapes) } else { hide { Self.isEnd($0) } }
            return true
        }

        /// A quoted value. The quote that ends it has no more backslashes before it than the one that began it: in a
        /// text of JSON inside JSON that is one, and three belong to the value.
        private mutating func hide(_ quote: UInt8, escapes: Int) {
            var run = 0
            while at < bytes.count {
                if bytes[at] == quote, run <= escapes {
                    at -= run
                    break
                }
                if bytes[at] == 10 || bytes[at] == 13 { break }
                run = bytes[at] == UInt8(ascii: "\\") ? run + 1 : 0
                at += 1
            }
            out += Redaction.mark.utf8
        }

        private mutating func takeScheme() -> Bool {
            guard has(Redaction.schemes[0], at: at), at == 0 || !Self.isName(bytes[at - 1]) else { return false }
            keep(Redaction.schemes[0].count)
            hide { Self.isEnd($0) }
            return true
        }

        /// `scheme://user:password@host`
        private mutating func takeUserInfo() -> Bool {
            guard has(Redaction.authority, at: at) else { return false }
            var place = at + 3
            let reach = min(bytes.count, place + Redaction.headerReach)
            while place < reach, bytes[place] != UInt8(ascii: "@") {
                if bytes[place] == UInt8(ascii: "/") || bytes[place] <= 32 || Self.isQuote(bytes[place]) {
                    return false
                }
                place += 1
            }
            guard place < reach else { return false }
            keep(3)
            at = place
            out += Redaction.mark.utf8
            return true
        }

        /// Two or three parts of base64url with full stops between them.
        private mutating func takeJWT() -> Bool {
            guard has(Redaction.webToken, at: at), bytes[at] == UInt8(ascii: "e"), bytes[at + 2] == UInt8(ascii: "J"),
                at == 0 || !Self.isName(bytes[at - 1])
            else { return false }
            var place = at
            let reach = min(bytes.count, at + Redaction.headerReach)
            while place < reach, Self.isName(bytes[place]) { place += 1 }
            guard place < reach, place - at >= Redaction.shortestHeader, bytes[place] == UInt8(ascii: ".") else {
                return false
            }
            hide { !Self.isName($0) && $0 != UInt8(ascii: ".") }
            return true
        }

        private static func isName(_ byte: UInt8) -> Bool {
            switch byte {
            case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, UInt8(ascii: "_"), UInt8(ascii: "-"): true
            default: false
            }
        }

        private static func isQuote(_ byte: UInt8) -> Bool {
            byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'") || byte == UInt8(ascii: "\\")
        }

        private static func isEnd(_ byte: UInt8) -> Bool {
            byte <= 32 || isQuote(byte) || ",;&})]".utf8.contains(byte)
        }
    }
}
