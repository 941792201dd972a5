import HTTPTypes

/// The token of an `Authorization: Bearer` header (RFC 6750 §2.1).
enum BearerToken {
    static let challenge = "Bearer realm=\"weir\""
    static let invalidChallenge = "Bearer realm=\"weir\", error=\"invalid_token\""
    /// Tokens are carried to the backend; the longest JWT in use are a few KiB.
    static let maxBytes = 8_192

    /// nil without the header. Anything but a well-formed bearer token is 401, since a client that sends credentials
    /// of another kind would wonder why they are ignored.
    static func read(_ headers: HTTPFields) throws(Problem) -> String? {
        guard let value = headers[.authorization] else { return nil }
        let parts = value.split(separator: " ", omittingEmptySubsequences: true)
        guard parts.count == 2, parts[0].lowercased() == "bearer", isToken(parts[1]) else {
            throw Problem(
                .unauthorized, "The Authorization header is no bearer token",
                remedy: "Send Authorization: Bearer TOKEN, or no Authorization header.",
                headers: [.wwwAuthenticate: invalidChallenge])
        }
        return String(parts[1])
    }

    /// `b64token = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="`
    private static func isToken(_ text: Substring) -> Bool {
        guard (1...maxBytes).contains(text.utf8.count), text.first != "=" else { return false }
        let body = text.utf8.reversed().drop { $0 == UInt8(ascii: "=") }
        return body.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                true
            case UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"), UInt8(ascii: "+"),
                UInt8(ascii: "/"):
                true
            default: false
            }
        }
    }

    /// Compares without telling by its time where the first difference is.
    static func isEqual(_ one: String, _ other: String) -> Bool {
        let (left, right) = (Array(one.utf8), Array(other.utf8))
        guard left.count == right.count else { return false }
        return zip(left, right).reduce(0 as UInt8) { $0 | ($1.0 ^ $1.1) } == 0
    }
}
