import ControlPlane
import HTTPServer
import HTTPTypes
import HummingbirdTesting
import Testing

@Suite struct OperatorTests {
    @Test func healthFollowsTheState() async throws {
        try await withServer { server in
            let healthy = try await server.send(.get, "/health")
            #expect(healthy.status == .ok)
            #expect(healthy.text == "{\"status\":\"ok\"}")
            server.service.beginShutdown()
            #expect(try await server.send(.get, "/health").isProblem(503))
        }
    }

    @Test func theStreamListIsLive() async throws {
        try await withServer { server in
            #expect(try await server.send(.get, "/api/streams").text == "[]")
            _ = try await server.goLive("s")
            let peer = try #require(server.media.state.withLock { $0.peers["s"] })
            server.media.send(.videoSize(peer, width: 640, height: 360))
            _ = try await server.post("/whep/s")
            try await eventually { try await server.send(.get, "/api/streams").text.contains("\"width\":640") }
            let list = try await server.send(.get, "/api/streams")
            #expect(list.headers[.contentType] == "application/json")
            #expect(list.headers[.accessControlAllowOrigin] == nil)
            for part in [
                "\"name\":\"s\"", "\"kind\":\"whip\"", "\"isLive\":true", "\"audioCodec\":\"opus\"",
                "\"videoCodec\":\"VP8\"", "\"height\":360", "\"players\":1", "\"uptime\":",
            ] {
                #expect(list.text.contains(part), "\(part)")
            }
            #expect(!list.text.contains("ession"), "ids of sessions stay inside")
            let head = try await server.send(.head, "/api/streams")
            #expect(head.status == .ok)
            #expect(head.body.readableBytes == 0)
        }
    }

    @Test func thePageIsToldOfOtherPorts() async throws {
        try await withServer { server in
            let told = try await server.send(.get, "/api/addresses")
            #expect(told.text == "{}")
        }
        var configuration = HTTPConfiguration(publicStreamList: false)
        configuration.addresses = ServiceAddresses(rtspPort: 8554, rtspTlsPort: 8322)
        try await withServer(configuration) { server in
            let told = try await server.send(.get, "/api/addresses", nil, [.xForwardedFor: "203.0.113.5"])
            #expect(told.status == .ok && told.text.contains("\"rtspPort\":8554"))
            #expect(told.text.contains("\"rtspTlsPort\":8322"))
        }
    }

    @Test func metricsAreRendered() async throws {
        try await withServer { server in
            _ = try await server.post("/whip/s")
            let response = try await server.send(.get, "/metrics")
            #expect(response.status == .ok)
            #expect(response.headers[.contentType] == "text/plain; version=0.0.4; charset=utf-8")
            #expect(response.text.contains("weir_http_webrtc_sessions 1\n"))
            let requests = "weir_http_requests_total{method=\"POST\",route=\"/whip/{name}\",status=\"201\"} 1\n"
            #expect(response.text.contains(requests), "\(response.text)")
        }
    }

    @Test func operatorPathsAnswerOnlyToThisMachine() async throws {
        try await withServer(HTTPConfiguration(publicStreamList: false)) { server in
            for path in ["/metrics", "/api/log-level", "/api/streams"] {
                #expect(try await server.send(.get, path).status == .ok)
                let forwarded = try await server.send(.get, path, nil, [.xForwardedFor: "203.0.113.5"])
                #expect(forwarded.isProblem(403))
                let page = try await server.send(.get, path, nil, [.origin: "https://evil.example"])
                #expect(page.isProblem(403))
                let own = try await server.send(.get, path, nil, [.origin: "http://localhost"])
                #expect(own.status == .ok)
            }
            #expect(try await server.send(.get, "/health", nil, [.xForwardedFor: "203.0.113.5"]).status == .ok)
        }
        try await withServer(HTTPConfiguration(admin: AdminSettings(trustsLoopback: false))) { server in
            let response = try await server.send(.get, "/metrics")
            #expect(response.isProblem(403))
        }
    }

    @Test func theTokenOpensOperatorPathsFromAnywhere() async throws {
        let configuration = HTTPConfiguration(admin: AdminSettings(token: "secret", trustsLoopback: false))
        try await withServer(configuration) { server in
            let none = try await server.send(.get, "/metrics")
            #expect(none.isProblem(401))
            #expect(none.headers[.wwwAuthenticate]?.hasPrefix("Bearer") == true)
            #expect(try await server.send(.get, "/metrics", nil, [.authorization: "Bearer secreT"]).isProblem(401))
            let right = try await server.send(
                .get, "/metrics", nil, [.authorization: "Bearer secret", .xForwardedFor: "203.0.113.5"])
            #expect(right.status == .ok)
        }
    }

    @Test func theLogLevelChangesAtRunTime() async throws {
        try await withServer { server in
            #expect(try await server.send(.get, "/api/log-level").text == "{\"level\":\"info\"}")
            let changed = try await server.send(
                .put, "/api/log-level", "{\"level\": \"Debug\"}", type: "application/json")
            #expect(changed.status == .ok)
            #expect(changed.text == "{\"level\":\"debug\"}")
            #expect(server.level.level.withLock { $0 } == .debug)
            #expect(try await server.send(.put, "/api/log-level", "{\"level\": \"loud\"}").isProblem(400, "trace"))
            #expect(try await server.send(.put, "/api/log-level", "debug").isProblem(400))
            let remote = try await server.send(
                .put, "/api/log-level", "{\"level\": \"trace\"}", [.xForwardedFor: "203.0.113.5"])
            #expect(remote.isProblem(403))
            #expect(server.level.level.withLock { $0 } == .debug)
        }
    }
}
