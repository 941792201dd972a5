import SDP
import Wire

/// Who may log in, by Digest or Basic.
package struct RTSPUsers: Sendable {
    private var passwords: [String: String] = [:]

    package init(_ passwords: [String: String] = [:]) { self.passwords = passwords }

    package var isEmpty: Bool { passwords.isEmpty }

    func password(of user: String) -> String? { passwords[user] }
}

/// How a connection's user is asked for name and password (RFC 7616, RFC 7617).
package struct RTSPAuthSettings: Sendable {
    package var realm = "Weir"
    /// Offered in this order: clients that know one only take the last that they understand.
    package var algorithms: [DigestAlgorithm] = [.sha256, .md5]
    /// A password in clear needs TLS.
    package var allowsBasic = false
    package var nonceLife: Interval = .seconds(300)
    /// Wrong credentials on one connection before it is closed.
    package var maxFailures = 5

    package init() {}
}

/// The server's side of one connection's authentication. Nonces are of the connection: what was overheard on one is of
/// no use on another, and within one each count is taken once.
package struct ServerAuthenticator {
    package enum Verdict: Sendable, Equatable {
        case user(String)
        /// Ask (again), by these `WWW-Authenticate` values.
        case challenge([String])
        /// Enough attempts.
        case tooManyFailures
    }

    private struct Nonce {
        var value: String
        var expiry: Instant
        /// The highest count seen.
        var count: UInt64 = 0
    }

    /// Nonces of a connection that are still answered: a client that pipelines may answer the one before.
    private static let maxNonces = 4

    private let settings: RTSPAuthSettings
    private let users: RTSPUsers
    private let isSecure: Bool
    private let makeNonce: @Sendable () -> String
    private var nonces: [Nonce] = []
    private var failures = 0

    /// - Parameters:
    ///   - isSecure: The connection is under TLS.
    ///   - makeNonce: Something that nobody can guess, at each call.
    package init(
        settings: RTSPAuthSettings, users: RTSPUsers, isSecure: Bool, makeNonce: @escaping @Sendable () -> String
    ) {
        self.settings = settings
        self.users = users
        self.isSecure = isSecure
        self.makeNonce = makeNonce
    }

    package mutating func verify(_ request: RTSPRequest, now: Instant) -> Verdict {
        guard let value = request.headers["Authorization"] else { return challenge(stale: false, now: now) }
        guard let credentials = AuthCredentials(value) else { return failed(now: now) }
        switch credentials {
        case .bearer: return failed(now: now)
        case .basic(let user, let password):
            guard isBasicOffered else { return failed(now: now) }
            let expected = users.password(of: user)
            // Compared also where there is no such user, so that time does not tell which names exist.
            let matches = constantTimeEquals(
                DigestAlgorithm.sha256.hash(password), DigestAlgorithm.sha256.hash(expected ?? ""))
            return matches && expected != nil ? .user(user) : failed(now: now)
        case .digest(let digest): return verify(digest, request, now: now)
        }
    }

    private var isBasicOffered: Bool { settings.allowsBasic && isSecure }

    private mutating func verify(_ digest: AuthCredentials.Digest, _ request: RTSPRequest, now: Instant) -> Verdict {
        guard settings.algorithms.contains(digest.algorithm), digest.realm == settings.realm,
            Self.names(digest.uri, request.uri)
        else { return failed(now: now) }
        var protection: (String, String)?
        var count: UInt64?
        if let qop = digest.protection {
            guard qop.equalsIgnoringCase("auth"), let text = digest.nonceCount, let clientNonce = digest.clientNonce,
                text.utf8.count == 8, let number = UInt64(text, radix: 16)
            else { return failed(now: now) }
            protection = (text, clientNonce)
            count = number
        }
        let expected = users.password(of: digest.user)
        let input = DigestInput(
            algorithm: digest.algorithm, user: digest.user, realm: digest.realm, password: expected ?? "",
            nonce: digest.nonce, method: request.methodName, uri: digest.uri, protection: protection)
        guard constantTimeEquals(input.response, digest.response.asciiLowercased), expected != nil else {
            return failed(now: now)
        }
        // The password is right: whatever is wrong with the nonce is no failure, and the client need not ask its user.
        guard let at = nonces.firstIndex(where: { $0.value == digest.nonce }), nonces[at].expiry > now else {
            return challenge(stale: true, now: now)
        }
        if let count {
            guard count > nonces[at].count else { return challenge(stale: true, now: now) }
            nonces[at].count = count
        }
        failures = 0
        return .user(digest.user)
    }

    /// Clients put the URL of the request, the path alone, or (all VLCs) the URL without a slash at its end into `uri`.
    static func names(_ uri: String, _ requested: String) -> Bool {
        if uri == requested { return true }
        func path(_ text: String) -> Substring {
            guard let url = RTSPURL(text) else { return Substring(text) }
            return Substring(url.path + (url.query.map { "?" + $0 } ?? ""))
        }
        func trimmed(_ text: Substring) -> Substring {
            text.utf8.last == UInt8(ascii: "/") ? Substring(text.utf8.dropLast()) : text
        }
        return trimmed(path(uri)) == trimmed(path(requested))
    }

    private mutating func failed(now: Instant) -> Verdict {
        failures += 1
        return failures < settings.maxFailures ? challenge(stale: false, now: now) : .tooManyFailures
    }

    private mutating func challenge(stale: Bool, now: Instant) -> Verdict {
        let nonce = makeNonce()
        nonces.append(Nonce(value: nonce, expiry: now + settings.nonceLife))
        if nonces.count > Self.maxNonces { nonces.removeFirst() }
        var out = settings.algorithms.map { algorithm in
            "Digest realm=\(settings.realm.quoted), nonce=\(nonce.quoted), algorithm=\(algorithm.rawValue), qop=\"auth\""
                + (stale ? ", stale=true" : "")
        }
        if isBasicOffered { out.append("Basic realm=\(settings.realm.quoted)") }
        return .challenge(out)
    }
}
