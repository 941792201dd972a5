import ControlPlane

/// Decides by keys, rules and the time. A value: what decides about one token does not change meanwhile.
package struct TokenVerifier: Sendable {
    /// What tokens must say beside the rights.
    package struct Rules: Hashable, Sendable {
        /// nil: tokens of every issuer who has one of the keys.
        package var issuer: String?
        /// nil: only tokens that name no audience (RFC 7519 §4.1.3: who is not named must refuse).
        package var audience: String?
        /// How far the clocks of issuer and server may be apart, in seconds.
        package var leeway: Double

        package init(issuer: String? = nil, audience: String? = nil, leeway: Double = 0) {
            self.issuer = issuer
            self.audience = audience
            self.leeway = leeway
        }
    }

    package let keys: TokenKeys
    package let rules: Rules

    package init(keys: TokenKeys, rules: Rules) {
        self.keys = keys
        self.rules = rules
    }

    /// - Parameter now: seconds since 1970.
    /// - Returns: the claims of a token that is good now and allows the action.
    package func allow(
        token: String?, action: StreamAction, stream: String, now: Double
    ) throws(TokenRefusal) -> TokenClaims {
        guard let token, !token.isEmpty else { throw .missing }
        let parts = try CompactToken(parsing: token)
        try keys.check(parts)
        let claims = try TokenClaims(parsing: parts.payload)
        guard now < claims.expires + rules.leeway else { throw .expired }
        if let notBefore = claims.notBefore, now + rules.leeway < notBefore { throw .notYetValid }
        if let issuer = rules.issuer, claims.issuer != issuer { throw .issuer }
        if let audience = rules.audience {
            guard claims.audiences.contains(audience) else { throw .audience }
        } else if !claims.audiences.isEmpty {
            throw .audience
        }
        guard claims.patterns[action]?.contains(where: { $0.matches(stream) }) == true else { throw .noRight }
        return claims
    }
}
