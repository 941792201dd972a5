import JWTKit

/// jwt-kit makes keys of their numbers and checks signatures; nothing else of it is used. Its collections of keys fall back
/// to their first key, its parser takes more than it should: those parts are ours.
struct JWTKitKey: SignatureKey {
    private let algorithm: any JWTAlgorithm

    func isSignature(_ signature: [UInt8], of signed: [UInt8]) -> Bool {
        // Throws for a signature that cannot be one, as by its length.
        (try? algorithm.verify(signature, signs: signed)) ?? false
    }

    private init(_ wanted: TokenAlgorithm, _ add: (JWTKeyCollection, JWKIdentifier) async throws -> Void) async throws {
        let collection = JWTKeyCollection()
        let id = JWKIdentifier(string: "key")
        try await add(collection, id)
        algorithm = try await collection.getKey(for: id)
        precondition(algorithm.name == wanted.rawValue, "a key of \(algorithm.name) for \(wanted.rawValue)")
    }

    /// - Parameter secret: at least `TokenSettings.minSecretBytes`.
    init(secret: String) async throws {
        try await self.init(.hs256) { collection, id in
            await collection.add(hmac: HMACKey(from: secret), digestAlgorithm: .sha256, kid: id)
        }
    }

    init(_ material: KeySet.Key.Material) async throws {
        switch material {
        case .rsa(let modulus, let exponent):
            let key = try Insecure.RSA.PublicKey(modulus: modulus, exponent: exponent)
            try await self.init(.rs256) { collection, id in
                await collection.add(rsa: key, digestAlgorithm: .sha256, kid: id)
            }
        case .p256(let x, let y):
            let key = try ES256PublicKey(parameters: (x, y))
            try await self.init(.es256) { collection, id in await collection.add(ecdsa: key, kid: id) }
        }
    }
}

extension TokenKeys {
    /// All of them, or none: an error says which one is not right.
    package static func make(
        secrets: [TokenSecret], keySet: KeySet?
    ) async throws(TokenKeysError) -> TokenKeys {
        var keys: [Name: any SignatureKey] = [:]
        for (index, secret) in secrets.enumerated() {
            guard secret.secret.utf8.count >= TokenSecret.minBytes else {
                throw TokenKeysError("secret \(index + 1) is shorter than \(TokenSecret.minBytes) bytes")
            }
            let name = Name(.hs256, secret.id)
            guard keys[name] == nil else { throw TokenKeysError("two secrets have the same kid, or none") }
            do {
                keys[name] = try await JWTKitKey(secret: secret.secret)
            } catch {
                throw TokenKeysError("secret \(index + 1) cannot be used")
            }
        }
        for key in keySet?.keys ?? [] {
            do {
                keys[key.name] = try await JWTKitKey(key.material)
            } catch {
                throw TokenKeysError("the numbers of key \"\(key.id)\" are no key of at least 2048 bits or of P-256")
            }
        }
        return TokenKeys(keys)
    }
}
