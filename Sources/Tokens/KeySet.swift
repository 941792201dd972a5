import WeirJSON

/// What is wrong with secrets or a file of keys, for the operator. Never with any of it.
package struct TokenKeysError: Error, Hashable, Sendable, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = description }
}

/// A JWK Set (RFC 7517), read strictly: whoever can put a key into it can let in anybody, so what is not clear is an error
/// and not a guess. Keys without `kid` or `alg` are errors: without them the token would choose which key it is checked by.
package struct KeySet: Sendable, Equatable {
    package static let maxBytes = 1 << 20
    static let maxKeys = 200
    /// Bytes of a modulus, as base64url: RSA with 8192 bits.
    private static let maxNumberText = 1_400

    package struct Key: Sendable, Equatable {
        package enum Material: Sendable, Equatable {
            /// Modulus and exponent, base64url.
            case rsa(modulus: String, exponent: String)
            /// A point of P-256, base64url.
            case p256(x: String, y: String)
        }

        package let id: String
        package let material: Material

        package var name: TokenKeys.Name {
            switch material {
            case .rsa: TokenKeys.Name(.rs256, id)
            case .p256: TokenKeys.Name(.es256, id)
            }
        }
    }

    /// Those that check RS256 or ES256.
    package let keys: [Key]
    /// Keys for encryption, and of algorithms that are not accepted: identity providers publish all they have.
    package let skipped: Int

    package init(parsing bytes: [UInt8]) throws(TokenKeysError) {
        var limits = JSONParser.Limits()
        limits.bytes = Self.maxBytes
        let value: JSONValue
        do {
            value = try JSONParser.parse(bytes, limits: limits)
        } catch {
            throw TokenKeysError("it is not JSON of at most \(Self.maxBytes) bytes")
        }
        guard case .object(let members) = value, case .array(let elements)? = value["keys"] else {
            throw TokenKeysError("it is no JWK Set: {\"keys\": [...]}")
        }
        guard members.count(where: { $0.name == "keys" }) == 1 else { throw TokenKeysError("it has \"keys\" twice") }
        guard elements.count <= Self.maxKeys else { throw TokenKeysError("it has more than \(Self.maxKeys) keys") }
        var keys: [Key] = []
        var ids: Set<String> = []
        for (index, element) in elements.enumerated() {
            do {
                let (id, key) = try Self.read(element)
                // Also among those that are skipped: which one a token means must be clear to everybody.
                guard ids.insert(id).inserted else { throw TokenKeysError("another key has the same kid") }
                if let key { keys.append(key) }
            } catch {
                throw TokenKeysError("key \(index + 1): \(error)")
            }
        }
        guard !keys.isEmpty else { throw TokenKeysError("it has no key for RS256 or ES256") }
        self.keys = keys
        skipped = elements.count - keys.count
    }

    /// - Returns: the id, and nil for a key that is not for checking RS256 or ES256.
    private static func read(_ value: JSONValue) throws(TokenKeysError) -> (id: String, key: Key?) {
        guard case .object(let members) = value else { throw TokenKeysError("it is no object") }
        guard Set(members.map(\.name)).count == members.count else { throw TokenKeysError("it has a name twice") }
        guard value["kty"] != .string("oct"), value["k"] == nil else {
            throw TokenKeysError("it is a secret; secrets belong into tokens.hs256_secrets")
        }
        guard value["d"] == nil else {
            throw TokenKeysError("it is a private key; only the issuer of tokens may have that")
        }
        guard case .string(let id)? = value["kid"], (1...CompactToken.maxKeyIdBytes).contains(id.utf8.count) else {
            throw TokenKeysError("it has no kid")
        }
        guard case .string(let algorithm)? = value["alg"] else { throw TokenKeysError("it has no alg") }
        if let use = value["use"], use != .string("sig") { return (id, nil) }
        if let operations = value["key_ops"] {
            guard case .array(let list) = operations else { throw TokenKeysError("key_ops is no list") }
            guard list.contains(.string("verify")) else { return (id, nil) }
        }
        switch TokenAlgorithm(rawValue: algorithm) {
        case .rs256:
            guard value["kty"] == .string("RSA") else { throw TokenKeysError("alg RS256 needs kty RSA") }
            let (n, e) = (try number(value, "n"), try number(value, "e"))
            return (id, Key(id: id, material: .rsa(modulus: n, exponent: e)))
        case .es256:
            guard value["kty"] == .string("EC"), value["crv"] == .string("P-256") else {
                throw TokenKeysError("alg ES256 needs kty EC and crv P-256")
            }
            let (x, y) = (try number(value, "x", bytes: 32), try number(value, "y", bytes: 32))
            return (id, Key(id: id, material: .p256(x: x, y: y)))
        case .hs256: throw TokenKeysError("a public key cannot be for HS256")
        case nil: return (id, nil)
        }
    }

    private static func number(
        _ value: JSONValue, _ name: String, bytes wanted: Int? = nil
    ) throws(TokenKeysError) -> String {
        guard case .string(let text)? = value[name], (1...maxNumberText).contains(text.utf8.count),
            let bytes = Base64URL.decode(Array(text.utf8)[...]), wanted == nil || bytes.count == wanted
        else { throw TokenKeysError("\(name) is not right") }
        return text
    }
}
