/// A key, ready to check signatures of its one algorithm.
package protocol SignatureKey: Sendable {
    /// Takes constant time where the key is a secret. Any thread may call.
    func isSignature(_ signature: [UInt8], of signed: [UInt8]) -> Bool
}

/// The keys by which tokens may be signed. A key is for one algorithm and is found by that and its id together: no token
/// can make a public key serve as a secret, and none finds a key that it does not name.
package struct TokenKeys: Sendable {
    package struct Name: Hashable, Sendable {
        package var algorithm: TokenAlgorithm
        /// nil only for the one secret of tokens without `kid`.
        package var id: String?

        package init(_ algorithm: TokenAlgorithm, _ id: String?) {
            self.algorithm = algorithm
            self.id = id
        }
    }

    private let keys: [Name: any SignatureKey]

    package init(_ keys: [Name: any SignatureKey] = [:]) { self.keys = keys }

    package var count: Int { keys.count }

    func check(_ token: CompactToken) throws(TokenRefusal) {
        guard let key = keys[Name(token.algorithm, token.keyId)] else { throw .unknownKey }
        guard key.isSignature(token.signature, of: token.signed) else { throw .signature }
    }
}
