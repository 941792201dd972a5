/// The client's side of authentication: answers the challenges of one server.
package struct ClientAuthenticator {
    private let user: String
    private let password: String
    /// Basic tells the password to who listens; under TLS only, unless allowed.
    private let allowsBasic: Bool
    private let makeNonce: @Sendable () -> String
    private var challenge: AuthChallenge?
    private var count: UInt32 = 0

    package init(
        user: String, password: String, allowsBasic: Bool, makeNonce: @escaping @Sendable () -> String
    ) {
        self.user = user
        self.password = password
        self.allowsBasic = allowsBasic
        self.makeNonce = makeNonce
    }

    /// Takes the challenges of a 401. False if there is no use in trying again: we have answered already and were
    /// refused, or there is no challenge that we can answer.
    package mutating func take(_ headers: RTSPHeaders) -> Bool {
        let offered = AuthChallenge.parse(headers)
        func digest(_ algorithm: DigestAlgorithm) -> AuthChallenge.Digest? {
            for case .digest(let digest) in offered where digest.algorithm == algorithm { return digest }
            return nil
        }
        let old = challenge
        if let best = digest(.sha256) ?? digest(.md5) {
            challenge = .digest(best)
            count = 0
            // A new nonce is a new chance only if the server says that the old one was too old.
            guard old != nil else { return true }
            return best.isStale
        }
        guard allowsBasic, old == nil else { return false }
        guard let basic = offered.first(where: { if case .basic = $0 { true } else { false } }) else { return false }
        challenge = basic
        return true
    }

    /// Value of the `Authorization` header of a request; `nil` before a challenge.
    package mutating func credentials(method: RTSPMethod, uri: String) -> String? {
        switch challenge {
        case nil: return nil
        case .basic: return "Basic " + Base64Text.encode(Array("\(user):\(password)".utf8))
        case .digest(let digest):
            var protection: (String, String)?
            if digest.offersProtection {
                count &+= 1
                protection = (Hex.string(count).asciiLowercased, makeNonce())
            }
            let input = DigestInput(
                algorithm: digest.algorithm, user: user, realm: digest.realm, password: password, nonce: digest.nonce,
                method: method.rawValue, uri: uri, protection: protection)
            var out = "Digest username=\(user.quoted), realm=\(digest.realm.quoted), nonce=\(digest.nonce.quoted), "
            out += "uri=\(uri.quoted), response=\(input.response.quoted)"
            if let text = digest.algorithmText { out += ", algorithm=\(text)" }
            if let opaque = digest.opaque { out += ", opaque=\(opaque.quoted)" }
            if let (count, clientNonce) = protection { out += ", qop=auth, nc=\(count), cnonce=\(clientNonce.quoted)" }
            return out
        }
    }
}
