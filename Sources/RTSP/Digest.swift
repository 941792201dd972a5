import COpenSSL

/// Hash functions of Digest authentication (RFC 7616 §3.3), the weaker one because most cameras and players know no
/// other.
package enum DigestAlgorithm: String, Sendable, Hashable, CaseIterable {
    case sha256 = "SHA-256"
    case md5 = "MD5"

    /// The hash in hexadecimal.
    func hash(_ text: String) -> String { Hex.string(bytes(Array(text.utf8))) }

    private func bytes(_ message: [UInt8]) -> [UInt8] {
        var out = [UInt8](repeating: 0, count: Int(EVP_MAX_MD_SIZE))
        var length: UInt32 = 0
        let type = unsafe self == .md5 ? EVP_md5() : EVP_sha256()
        let done = unsafe EVP_Digest(message, message.count, &out, &length, type, nil)
        precondition(done == 1, "OpenSSL without \(rawValue)")
        return Array(out.prefix(Int(length)))
    }
}

/// Comparison whose time tells nothing about where texts differ.
func constantTimeEquals(_ a: String, _ b: String) -> Bool {
    let a = Array(a.utf8)
    let b = Array(b.utf8)
    guard a.count == b.count else { return false }
    var difference: UInt8 = 0
    for i in a.indices { difference |= a[i] ^ b[i] }
    return difference == 0
}

/// The parts of a Digest response that client and server must agree on (RFC 7616 §3.4.1, RFC 2069 §2.1.2 without
/// `nonceCount`).
package struct DigestInput: Sendable {
    package var algorithm: DigestAlgorithm
    package var user: String
    package var realm: String
    package var password: String
    package var nonce: String
    package var method: String
    package var uri: String
    /// `qop=auth`: the count as written, and the client's own nonce.
    package var protection: (nonceCount: String, clientNonce: String)?

    package init(
        algorithm: DigestAlgorithm, user: String, realm: String, password: String, nonce: String, method: String,
        uri: String, protection: (nonceCount: String, clientNonce: String)? = nil
    ) {
        self.algorithm = algorithm
        self.user = user
        self.realm = realm
        self.password = password
        self.nonce = nonce
        self.method = method
        self.uri = uri
        self.protection = protection
    }

    package var response: String {
        let secret = algorithm.hash("\(user):\(realm):\(password)")
        let what = algorithm.hash("\(method):\(uri)")
        guard let (count, clientNonce) = protection else { return algorithm.hash("\(secret):\(nonce):\(what)") }
        return algorithm.hash("\(secret):\(nonce):\(count):\(clientNonce):auth:\(what)")
    }
}
