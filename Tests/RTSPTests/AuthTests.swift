import RTSP
import Testing
import Wire

@Suite struct AuthTests {
    /// RFC 7616 §3.9.1 and RFC 2069 §2.4 (its password, its response as the errata has it).
    @Test func responsesOfTheStandards() {
        func response(_ algorithm: DigestAlgorithm) -> String {
            DigestInput(
                algorithm: algorithm, user: "Mufasa", realm: "http-auth@example.org", password: "Circle of Life",
                nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", method: "GET", uri: "/dir/index.html",
                protection: ("00000001", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ")
            ).response
        }
        #expect(response(.md5) == "8ca523f5e9506fed4657c9700eebdbec")
        #expect(response(.sha256) == "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1")
        let old = DigestInput(
            algorithm: .md5, user: "Mufasa", realm: "testrealm@host.com", password: "CircleOfLife",
            nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093", method: "GET", uri: "/dir/index.html")
        #expect(old.response == "1949323746fe6a43ef61f9606e7febea")
    }

    private func server(basic: Bool = false, secure: Bool = false, life: Interval = .seconds(300)) -> Server {
        var settings = RTSPAuthSettings()
        settings.allowsBasic = basic
        settings.nonceLife = life
        let counter = Counter()
        return Server(
            ServerAuthenticator(
                settings: settings, users: RTSPUsers(["anna": "sesam:öffne"]), isSecure: secure,
                makeNonce: { "nonce-\(counter.next())" }))
    }

    private func client(_ password: String = "sesam:öffne", basic: Bool = false) -> Client {
        Client(ClientAuthenticator(user: "anna", password: password, allowsBasic: basic, makeNonce: { "mine" }))
    }

    private func ask(_ authorization: String?, _ method: RTSPMethod = .describe, _ uri: String = "rtsp://h/a")
        -> RTSPRequest
    {
        var request = RTSPRequest(method, uri)
        request.headers["Authorization"] = authorization
        return request
    }

    /// The headers of a 401.
    private func headers(_ verdict: ServerAuthenticator.Verdict) throws -> RTSPHeaders {
        guard case .challenge(let values) = verdict else { throw TestFailure("\(verdict)") }
        var headers = RTSPHeaders()
        for value in values { headers.add("WWW-Authenticate", value) }
        return headers
    }

    /// The 401 that a request without credentials gets.
    private func headers(of server: Server) throws -> RTSPHeaders {
        try headers(server.verify(ask(nil), now: .zero))
    }

    @Test func clientAndServerUnderstandEachOther() throws {
        let server = server()
        let client = client()
        #expect(client.credentials(method: .describe, uri: "rtsp://h/a") == nil)
        #expect(client.take(try headers(server.verify(ask(nil), now: .zero))))
        for method in [RTSPMethod.describe, .setup, .play] {
            let text = client.credentials(method: method, uri: "rtsp://h/a")
            #expect(text?.contains("algorithm=SHA-256") == true)
            #expect(server.verify(ask(text, method), now: .zero) == .user("anna"))
        }
    }

    @Test func challengesAreStrongestFirstAndMD5Suffices() throws {
        let server = server()
        let challenge = try headers(server.verify(ask(nil), now: .zero))
        let kinds = AuthChallenge.parse(challenge).map {
            if case .digest(let digest) = $0 { digest.algorithm.rawValue } else { "Basic" }
        }
        #expect(kinds == ["SHA-256", "MD5"])
        // As GStreamer and VLC answer: RFC 2069, without qop.
        let input = DigestInput(
            algorithm: .md5, user: "anna", realm: "Weir", password: "sesam:öffne", nonce: "nonce-1",
            method: "DESCRIBE", uri: "rtsp://h/a")
        let text =
            "Digest username=\"anna\", realm=\"Weir\", nonce=\"nonce-1\", uri=\"rtsp://h/a\", response=\"\(input.response)\""
        #expect(server.verify(ask(text), now: .zero) == .user("anna"))
        #expect(server.verify(ask(text, .describe, "rtsp://h/a/"), now: .zero) == .user("anna"))
        #expect(server.verify(ask(text, .setup), now: .zero) != .user("anna"))
        #expect(server.verify(ask(text, .describe, "rtsp://h/b"), now: .zero) != .user("anna"))
    }

    @Test func aCountIsTakenOnce() throws {
        let server = server()
        let client = client()
        #expect(client.take(try headers(server.verify(ask(nil), now: .zero))))
        let first = client.credentials(method: .describe, uri: "rtsp://h/a")
        let second = client.credentials(method: .describe, uri: "rtsp://h/a")
        #expect(server.verify(ask(second), now: .zero) == .user("anna"))
        for replayed in [first, second] {
            let again = try headers(server.verify(ask(replayed), now: .zero))
            #expect(again.values("WWW-Authenticate").allSatisfy { $0.contains("stale=true") })
        }
    }

    @Test func anOldNonceIsStaleAndTheClientTriesAgain() throws {
        let server = server()
        let client = client()
        #expect(client.take(try headers(server.verify(ask(nil), now: .zero))))
        let late = Instant.zero + .seconds(300)
        let text = client.credentials(method: .describe, uri: "rtsp://h/a")
        let again = try headers(server.verify(ask(text), now: late))
        #expect(client.take(again))
        #expect(
            server.verify(ask(client.credentials(method: .describe, uri: "rtsp://h/a")), now: late) == .user("anna"))
    }

    @Test func noncesOfAnotherConnectionAreOfNoUse() throws {
        let one = server()
        let other = server()
        let client = client()
        #expect(client.take(try headers(one.verify(ask(nil), now: .zero))))
        _ = try headers(other.verify(ask(client.credentials(method: .describe, uri: "rtsp://h/a")), now: .zero))
    }

    @Test func wrongPasswordsEndTheConnection() throws {
        let server = server()
        for attempt in 1...5 {
            let client = client("wrong")
            let challenge = server.verify(ask(nil), now: .zero)
            #expect(client.take(try headers(challenge)))
            let verdict = server.verify(ask(client.credentials(method: .describe, uri: "rtsp://h/a")), now: .zero)
            #expect((verdict == .tooManyFailures) == (attempt == 5))
            if attempt < 5 { #expect(!client.take(try headers(verdict))) }
        }
    }

    @Test func basicIsForTLSOnly() throws {
        let basic = "Basic " + "YW5uYTpzZXNhbTrDtmZmbmU="
        let plain = server(basic: true, secure: false)
        #expect(!(try headers(of: plain)).values("WWW-Authenticate").contains { $0.hasPrefix("Basic") })
        #expect(plain.verify(ask(basic), now: .zero) != .user("anna"))
        let secure = server(basic: true, secure: true)
        #expect((try headers(of: secure)).values("WWW-Authenticate").last == "Basic realm=\"Weir\"")
        #expect(secure.verify(ask(basic), now: .zero) == .user("anna"))
        #expect(secure.verify(ask("Basic eA=="), now: .zero) != .user("anna"))
        // Nobody, with the password that an unknown user has.
        #expect(secure.verify(ask("Basic bm9ib2R5Og=="), now: .zero) != .user("nobody"))
        let client = client(basic: true)
        var only = RTSPHeaders()
        only.add("WWW-Authenticate", "Basic realm=\"cam\"")
        #expect(client.take(only))
        #expect(client.credentials(method: .play, uri: "x") == basic)
        #expect(!client.take(only))
        let careful = self.client(basic: false)
        #expect(!careful.take(only))
    }

    @Test(arguments: [
        "Digest", "Digest ", "Digest username=\"anna\"", "Basic !!!", "Basic /w==", "Basic YQ==", "Bearer ", "NTLM abc",
        "Digest username=\"a\", realm=\"Weir\", nonce=\"n\", uri=\"u\", response=\"r\", algorithm=SHA-512",
        "Digest username=\"a\", username=\"b\", realm=\"Weir\", nonce=\"n\", uri=\"u\", response=\"r\"",
        "Digest username, realm=\"Weir\"",
    ])
    func whatIsNoCredentials(_ text: String) { #expect(AuthCredentials(text) == nil) }

    @Test func challengesOfCameras() {
        var headers = RTSPHeaders()
        headers.add(
            "WWW-Authenticate", "Digest realm=\"IP Camera(12345)\", nonce=\"0a1b\", stale=\"FALSE\", opaque=\"x,\\\"y\""
        )
        headers.add(
            "WWW-Authenticate",
            "Basic realm=\"a, b\", Digest realm=\"c\", qop=\"auth-int,auth\", nonce=\"d\", algorithm=md5")
        headers.add("WWW-Authenticate", "Negotiate")
        headers.add("WWW-Authenticate", "Digest realm=\"q\", nonce=\"n\", qop=\"auth-int\"")
        headers.add("WWW-Authenticate", "Digest realm=\"q\", nonce=\"n\", algorithm=MD5-sess")
        let found = AuthChallenge.parse(headers)
        #expect(found.count == 3)
        guard case .digest(let first)? = found.first, case .digest(let last)? = found.last else { return }
        #expect(
            first.realm == "IP Camera(12345)" && first.opaque == "x,\"y" && !first.isStale && !first.offersProtection)
        #expect(first.algorithmText == nil && first.algorithm == .md5)
        #expect(last.realm == "c" && last.offersProtection && last.algorithm == .md5)
    }
}

/// Both sides behind references: what changes them may then stand in an expectation.
private final class Server {
    private var authenticator: ServerAuthenticator
    init(_ authenticator: ServerAuthenticator) { self.authenticator = authenticator }
    func verify(_ request: RTSPRequest, now: Instant) -> ServerAuthenticator.Verdict {
        authenticator.verify(request, now: now)
    }
}

private final class Client {
    private var authenticator: ClientAuthenticator
    init(_ authenticator: ClientAuthenticator) { self.authenticator = authenticator }
    func take(_ headers: RTSPHeaders) -> Bool { authenticator.take(headers) }
    func credentials(method: RTSPMethod, uri: String) -> String? {
        authenticator.credentials(method: method, uri: uri)
    }
}

private final class Counter: @unchecked Sendable {
    private var value = 0
    func next() -> Int {
        value += 1
        return value
    }
}
