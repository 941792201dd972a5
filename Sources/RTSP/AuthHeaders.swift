import SDP

/// A challenge of a `WWW-Authenticate` header (RFC 7616 §3.3, RFC 7617 §2), as far as we can answer it.
package enum AuthChallenge: Sendable, Hashable {
    case basic(realm: String)
    case digest(Digest)

    package struct Digest: Sendable, Hashable {
        package var realm: String
        package var nonce: String
        package var algorithm: DigestAlgorithm
        /// As written, to be echoed: nothing where the server said nothing (RFC 2069).
        package var algorithmText: String?
        package var opaque: String?
        package var isStale: Bool
        /// The server knows `qop=auth`.
        package var offersProtection: Bool
    }

    /// The challenges of all header fields, in order; kinds that we do not know are left out.
    package static func parse(_ headers: RTSPHeaders) -> [AuthChallenge] {
        headers.values("WWW-Authenticate").prefix(maxChallenges).flatMap { parse($0) }
    }

    private static let maxChallenges = 8

    /// One field may hold several challenges, divided by the same commas as their parameters.
    static func parse(_ value: String) -> [AuthChallenge] {
        var out: [AuthChallenge] = []
        var scheme: String?
        var parameters: [String: String] = [:]
        func close() {
            if let scheme, let challenge = AuthChallenge(scheme, parameters) { out.append(challenge) }
            parameters = [:]
        }
        for part in Substring(value).listed(by: UInt8(ascii: ","), limit: 64) {
            var parameter = part
            let (first, rest) = part.halves(at: UInt8(ascii: " "))
            if !first.utf8.contains(UInt8(ascii: "=")) {
                close()
                scheme = first.asciiLowercased
                parameter = (rest ?? "").trimmed
            }
            let (name, value) = parameter.halves(at: UInt8(ascii: "="))
            if let value { parameters[name.trimmed.asciiLowercased] = value.trimmed.unquoted }
        }
        close()
        return out
    }

    private init?(_ scheme: String, _ parameters: [String: String]) {
        let realm = parameters["realm"] ?? ""
        switch scheme {
        case "basic": self = .basic(realm: realm)
        case "digest":
            guard let nonce = parameters["nonce"] else { return nil }
            let name = parameters["algorithm"]
            guard
                let algorithm = DigestAlgorithm.allCases.first(where: {
                    (name ?? "MD5").equalsIgnoringCase($0.rawValue)
                })
            else { return nil }
            let protections = parameters["qop"].map { Substring($0).listed(by: UInt8(ascii: ","), limit: 8) }
            let offersProtection = protections?.contains { $0.equalsIgnoringCase("auth") } ?? false
            // Only `auth-int`: the server would not take what we can say.
            if protections != nil, !offersProtection { return nil }
            self = .digest(
                Digest(
                    realm: realm, nonce: nonce, algorithm: algorithm, algorithmText: name,
                    opaque: parameters["opaque"],
                    isStale: parameters["stale"]?.equalsIgnoringCase("true") ?? false,
                    offersProtection: offersProtection))
        default: return nil
        }
    }
}

/// Credentials of an `Authorization` header.
package enum AuthCredentials: Sendable, Hashable {
    case basic(user: String, password: String)
    case digest(Digest)
    case bearer(String)

    package struct Digest: Sendable, Hashable {
        package var user: String
        package var realm: String
        package var nonce: String
        package var uri: String
        package var response: String
        /// As written; MD5 where nothing is said.
        package var algorithm: DigestAlgorithm
        package var protection: String?
        package var nonceCount: String?
        package var clientNonce: String?
    }

    private static let maxLength = 8 << 10

    /// `nil` for what is no credentials of a kind that we know.
    package init?(_ value: String) {
        guard value.utf8.count <= Self.maxLength else { return nil }
        let (scheme, rest) = Substring(value).trimmed.halves(at: UInt8(ascii: " "))
        guard let rest = rest?.trimmed else { return nil }
        switch scheme.asciiLowercased {
        case "basic":
            guard let bytes = Base64Text.decode(rest), let text = String(validating: bytes, as: UTF8.self) else {
                return nil
            }
            let (user, password) = Substring(text).halves(at: UInt8(ascii: ":"))
            guard let password else { return nil }
            self = .basic(user: String(user), password: String(password))
        case "bearer":
            guard !rest.isEmpty else { return nil }
            self = .bearer(String(rest))
        case "digest":
            var parameters: [String: String] = [:]
            for part in rest.listed(by: UInt8(ascii: ","), limit: 32) {
                let (name, value) = part.halves(at: UInt8(ascii: "="))
                guard let value else { return nil }
                // A second value could be the one that somebody else reads.
                guard parameters.updateValue(value.trimmed.unquoted, forKey: name.trimmed.asciiLowercased) == nil
                else { return nil }
            }
            let name = parameters["algorithm"] ?? DigestAlgorithm.md5.rawValue
            guard let user = parameters["username"], let realm = parameters["realm"], let nonce = parameters["nonce"],
                let uri = parameters["uri"], let response = parameters["response"],
                let algorithm = DigestAlgorithm.allCases.first(where: { name.equalsIgnoringCase($0.rawValue) })
            else { return nil }
            self = .digest(
                Digest(
                    user: user, realm: realm, nonce: nonce, uri: uri, response: response, algorithm: algorithm,
                    protection: parameters["qop"], nonceCount: parameters["nc"], clientNonce: parameters["cnonce"]))
        default: return nil
        }
    }
}
