import ControlPlane

/// A secret of HS256.
package struct TokenSecret: Hashable, Sendable {
    /// As long as what it makes (RFC 7518 §3.2).
    package static let minBytes = 32
    package static let maxBytes = 512

    /// nil: of tokens without `kid`.
    package var id: String?
    package var secret: String

    package init(id: String? = nil, secret: String) {
        self.id = id
        self.secret = secret
    }
}

/// How tokens decide.
package struct TokenSettings: Hashable, Sendable {
    package var secrets: [TokenSecret]
    /// A file with a JWK Set; empty: none.
    package var keyFile: String
    package var rules: TokenVerifier.Rules
    /// What needs a token; the rest is for everyone (or for the backend to decide).
    package var neededFor: Set<StreamAction>
    /// Applications whose backend decides alone.
    package var exceptApplications: Set<String>
    /// A live stream ends when its token does.
    package var endsAtExpiry: Bool

    package init(
        secrets: [TokenSecret] = [], keyFile: String = "", rules: TokenVerifier.Rules = .init(),
        neededFor: Set<StreamAction> = Set(StreamAction.allCases), exceptApplications: Set<String> = [],
        endsAtExpiry: Bool = false
    ) {
        self.secrets = secrets
        self.keyFile = keyFile
        self.rules = rules
        self.neededFor = neededFor
        self.exceptApplications = exceptApplications
        self.endsAtExpiry = endsAtExpiry
    }

    /// Without a key nobody could have a token, so nobody needs one.
    package var isEnabled: Bool { !secrets.isEmpty || !keyFile.isEmpty }
}
