import WeirJSON

/// The algorithms by which a token may be signed (RFC 7518 §3.1).
package enum TokenAlgorithm: String, Hashable, Sendable, CaseIterable {
    case hs256 = "HS256"
    case rs256 = "RS256"
    case es256 = "ES256"
}

/// A JWT in the compact form (RFC 7515 §3.1), taken apart. Nothing of it is true yet: first `signature` must be that of
/// `signed` by the key which `algorithm` and `keyId` name.
package struct CompactToken: Sendable, Equatable {
    /// Tokens of identity providers with many groups have some 4 KiB. The same as for bearer tokens.
    package static let maxBytes = 8_192
    /// Algorithm and key, perhaps a type or a URL of keys.
    static let maxHeaderBytes = 1_024
    static let maxKeyIdBytes = 255
    /// A signature of RSA with 8192 bits.
    static let maxSignatureBytes = 1_024
    /// What a token is for has two levels; identity providers add a few of their own.
    static let limits: JSONParser.Limits = {
        var limits = JSONParser.Limits()
        limits.bytes = maxBytes
        limits.depth = 16
        limits.values = 2_000
        return limits
    }()

    package let algorithm: TokenAlgorithm
    package let keyId: String?
    /// What the signature is of: the first two parts as they came, with the point between them.
    package let signed: [UInt8]
    package let signature: [UInt8]
    /// The claims as bytes; read them after the signature was checked.
    package let payload: [UInt8]

    package init(parsing text: String) throws(TokenRefusal) {
        guard text.utf8.count <= Self.maxBytes else { throw .tooLong }
        let bytes = Array(text.utf8)
        let parts = bytes.split(separator: UInt8(ascii: "."), maxSplits: 3, omittingEmptySubsequences: false)
        guard parts.count == 3, let header = Base64URL.decode(parts[0]), let payload = Base64URL.decode(parts[1]),
            let signature = Base64URL.decode(parts[2]), header.count <= Self.maxHeaderBytes,
            signature.count <= Self.maxSignatureBytes
        else { throw .malformed }
        let fields = try Self.object(header)
        // Checked before the key is looked for: what `none` is signed by does not matter.
        guard case .string(let name)? = fields["alg"] else { throw .malformed }
        guard let algorithm = TokenAlgorithm(rawValue: name) else { throw .algorithm }
        guard fields["crit"] == nil else { throw .critical }
        switch fields["kid"] {
        case nil: keyId = nil
        case .string(let id)? where (1...Self.maxKeyIdBytes).contains(id.utf8.count): keyId = id
        default: throw .malformed
        }
        self.algorithm = algorithm
        signed = Array(bytes[..<parts[1].endIndex])
        self.signature = signature
        self.payload = payload
    }

    /// A JSON object in which no object has a name twice, however it is written (`\u0065xp` is `exp`).
    static func object(_ bytes: [UInt8]) throws(TokenRefusal) -> JSONValue {
        let value: JSONValue
        do {
            value = try JSONParser.parse(bytes, limits: limits)
        } catch {
            throw .malformed
        }
        guard case .object = value else { throw .malformed }
        guard !hasDuplicates(value) else { throw .duplicate }
        return value
    }

    /// As deep as `limits.depth` lets the parser go.
    private static func hasDuplicates(_ value: JSONValue) -> Bool {
        switch value {
        case .object(let members):
            Set(members.map(\.name)).count < members.count || members.contains { hasDuplicates($0.value) }
        case .array(let elements): elements.contains(where: hasDuplicates)
        case .null, .bool, .number, .string, .verbatim: false
        }
    }
}
