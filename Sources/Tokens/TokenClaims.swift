import ControlPlane
import WeirJSON

/// What a token says (RFC 7519 §4), read after its signature was checked.
package struct TokenClaims: Sendable, Equatable {
    /// Patterns of one action. A token is no database.
    static let maxPatterns = 200
    static let maxAudiences = 100
    /// 9999-12-31. What is later is a mistake, most often milliseconds for seconds, and such a token would never expire.
    static let latestDate = 253_402_300_799.0
    private static let earliestDate = -9_007_199_254_740_992.0
    private static let maxTextBytes = 1_024
    private static let maxNumberBytes = 64

    package var subject: String?
    package var issuer: String?
    package var audiences: [String]
    /// Seconds since 1970, perhaps with a fraction.
    package var expires: Double
    package var notBefore: Double?
    package var patterns: [StreamAction: [NamePattern]]

    package init(parsing payload: [UInt8]) throws(TokenRefusal) {
        let claims = try CompactToken.object(payload)
        subject = try Self.text(claims["sub"])
        issuer = try Self.text(claims["iss"])
        audiences = try Self.audiences(claims["aud"])
        guard let expires = try Self.date(claims["exp"]) else { throw .noExpiry }
        self.expires = expires
        notBefore = try Self.date(claims["nbf"])
        patterns = try Self.patterns(claims["weir"])
    }

    private static func text(_ value: JSONValue?) throws(TokenRefusal) -> String? {
        switch value {
        case nil: nil
        case .string(let text)? where text.utf8.count <= maxTextBytes: text
        default: throw .malformed
        }
    }

    /// One text or a list of texts (RFC 7519 §4.1.3).
    private static func audiences(_ value: JSONValue?) throws(TokenRefusal) -> [String] {
        switch value {
        case nil: return []
        case .string(let text)?: return [text]
        case .array(let elements)? where elements.count <= maxAudiences:
            var texts: [String] = []
            for element in elements {
                guard case .string(let text) = element else { throw .malformed }
                texts.append(text)
            }
            return texts
        default: throw .malformed
        }
    }

    /// A NumericDate (RFC 7519 §2): a number, never a text with one in it.
    private static func date(_ value: JSONValue?) throws(TokenRefusal) -> Double? {
        guard let value else { return nil }
        guard case .number(let text) = value, text.utf8.count <= maxNumberBytes, let seconds = Double(text),
            (earliestDate...latestDate).contains(seconds)
        else { throw .malformed }
        return seconds
    }

    /// `{"publish": [PATTERN, …], "play": [PATTERN, …]}`; what is not there allows nothing.
    private static func patterns(_ value: JSONValue?) throws(TokenRefusal) -> [StreamAction: [NamePattern]] {
        guard let value else { return [:] }
        guard case .object = value else { throw .malformed }
        var found: [StreamAction: [NamePattern]] = [:]
        for action in StreamAction.allCases {
            guard let list = value[action.rawValue] else { continue }
            guard case .array(let elements) = list, elements.count <= maxPatterns else { throw .malformed }
            for element in elements {
                guard case .string(let text) = element, let pattern = NamePattern(text) else { throw .malformed }
                found[action, default: []].append(pattern)
            }
        }
        return found
    }
}
