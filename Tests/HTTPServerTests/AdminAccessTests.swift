import ControlPlane
import HTTPServer
import HTTPTypes
import HummingbirdTesting
import Testing

/// Who is the operator without a token: only this machine, and nobody who makes this machine ask.
@Suite struct AdminAccessTests {
    private func field(_ name: String) throws -> HTTPField.Name { try #require(HTTPField.Name(name)) }

    @Test(arguments: [
        "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port",
        "X-Forwarded-Server", "X-Real-IP", "X-Client-IP", "True-Client-IP", "Via",
    ])
    func aProxySpeaksForSomebodyElse(name: String) async throws {
        try await withServer { server in
            for value in ["127.0.0.1", "for=127.0.0.1", "localhost", ""] {
                let response = try await server.send(.get, "/metrics", nil, [try field(name): value])
                #expect(response.isProblem(403), "\(value)")
            }
            #expect(try await server.send(.get, "/metrics").status == .ok)
        }
    }

    @Test func aTrustedProxyIsNeverTheOperatorItself() async throws {
        // nginx by default adds no header and asks with the Host of its upstream: 127.0.0.1.
        let loopback = TrustedProxies(["127.0.0.0/8", "::1"].compactMap { AddressRange($0) })
        try await withServer(HTTPConfiguration(trustedProxies: loopback)) { server in
            let response = try await server.send(.get, "/metrics")
            #expect(response.isProblem(403))
        }
        let configuration = HTTPConfiguration(trustedProxies: loopback, admin: AdminSettings(token: "secret"))
        try await withServer(configuration) { server in
            let none = try await server.send(.get, "/metrics")
            #expect(none.isProblem(401))
            #expect(try await server.send(.get, "/metrics", nil, [.authorization: "Bearer secret"]).status == .ok)
        }
    }

    @Test(arguments: [
        "http://evil.example", "https://127.0.0.1.evil.example", "null", "", "file://", "http://localhost.evil.example",
        "http://127.0.0.1:1", "https://localhost:8443", "http://LOCALHOST@evil.example", "http://localhost/",
    ])
    func aPageOfAnotherOriginIsNot(origin: String) async throws {
        try await withServer { server in
            let response = try await server.send(.get, "/metrics", nil, [.origin: origin])
            #expect(response.isProblem(403))
            #expect(response.headers[.accessControlAllowOrigin] == nil)
        }
    }

    @Test(arguments: [
        ("cross-site", 403), ("same-site", 403), ("Cross-Site", 403), ("", 403), ("anything", 403),
        ("same-origin", 200),
        ("none", 200),
    ])
    func whatAPageOfAnotherSiteFetchesIsNot(site: String, status: Int) async throws {
        // An <img> of a page sends no Origin.
        try await withServer { server in
            let response = try await server.send(.get, "/metrics", nil, [try field("Sec-Fetch-Site"): site])
            #expect(response.status.code == status)
        }
    }

    @Test func loopbackTrustCanBeSwitchedOff() async throws {
        let off = HTTPConfiguration(admin: AdminSettings(trustsLoopback: false))
        try await withServer(off) { server in
            let response = try await server.send(.get, "/metrics")
            #expect(response.isProblem(403))
        }
    }

    @Test(arguments: [
        "secret1", "Secret", "secre", "secretsecret", "\u{53}ecret", "s", "%73ecret", "secret,secret",
    ])
    func anotherTokenIsNot(token: String) async throws {
        let configuration = HTTPConfiguration(admin: AdminSettings(token: "secret"))
        try await withServer(configuration) { server in
            // Also from this machine: who sends a wrong token is told so.
            let response = try await server.send(.get, "/metrics", nil, [.authorization: "Bearer \(token)"])
            #expect(response.isProblem(401))
            #expect(!response.text.contains(token) || token == "s")
        }
    }

    @Test func theTokenIsNotTakenFromTheQuery() async throws {
        let configuration = HTTPConfiguration(admin: AdminSettings(token: "secret", trustsLoopback: false))
        try await withServer(configuration) { server in
            for query in ["?token=secret", "?access_token=secret", "?admin_token=secret"] {
                let response = try await server.send(.get, "/metrics\(query)")
                #expect(response.isProblem(401))
            }
        }
    }

    @Test func credentialsOfPagesAreNeverAllowed() async throws {
        let allow = try field("Access-Control-Allow-Credentials")
        for origins in [["*"], ["https://good.example"], ["*", "https://good.example"]] {
            try await withServer(HTTPConfiguration(corsOrigins: origins)) { server in
                let headers: HTTPFields = [.origin: "https://good.example", .accessControlRequestMethod: "POST"]
                for path in ["/whip/s", "/whep/s", "/metrics", "/api/streams", "/api/log-level", "/health"] {
                    for method in [HTTPRequest.Method.options, .get, .post] {
                        let response = try await server.send(method, path, nil, headers)
                        #expect(response.headers[allow] == nil, "\(method) \(path)")
                        if !path.hasPrefix("/wh") { #expect(response.headers[.accessControlAllowOrigin] == nil) }
                    }
                }
            }
        }
    }
}
