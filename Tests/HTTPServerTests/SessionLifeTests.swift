import ControlPlane
import HTTPServer
import HTTPTypes
import HummingbirdTesting
import Testing

@Suite struct SessionLifeTests {
    @Test func deleteEndsTheStreamAndFreesItsNameAtOnce() async throws {
        try await withServer { server in
            let resource = try #require(try await server.post("/whip/s").headers[.location])
            let deleted = try await server.send(.delete, resource, nil, [.ifMatch: "\"whatever\""])
            #expect(deleted.status == .ok)
            #expect(try await server.send(.delete, resource).isProblem(404))
            #expect(try await server.post("/whip/s").status == .created)
            let peers = server.media.state.withLock { $0.closed.count }
            #expect(peers == 1)
        }
    }

    @Test func aSessionDisappearsWhenItsMediaFails() async throws {
        try await withServer { server in
            let resource = try #require(try await server.goLive("s").headers[.location])
            let player = try #require(try await server.post("/whep/s").headers[.location])
            let peer = try #require(server.media.state.withLock { $0.peers["s"] })
            server.media.send(.failed(peer, .iceKeepAlive))
            for url in [resource, player] {
                try await eventually { try await server.send(.get, url).status == .notFound }
                #expect(try await server.send(.delete, url).isProblem(404))
                #expect(try await server.patch(url, Fixture.fragment, ifMatch: "\"ours0\"").isProblem(404))
            }
            #expect(server.metrics.render().contains("weir_http_webrtc_sessions 0\n"))
        }
    }

    @Test func aSessionIsFoundOnlyUnderItsOwnURL() async throws {
        try await withServer { server in
            let resource = try #require(try await server.post("/whip/s").headers[.location])
            let id = try #require(resource.split(separator: "/").last)
            for wrong in ["/whep/s/\(id)", "/whip/t/\(id)", "/whip/s/\(id)0", "/whip/s/"] {
                #expect(try await server.send(.delete, wrong).status != .ok, "\(wrong)")
            }
            #expect(try await server.send(.delete, resource).status == .ok)
        }
    }

    @Test func candidatesAreAcceptedWithTheEntityTag() async throws {
        try await withServer { server in
            let created = try await server.post("/whip/s")
            let resource = try #require(created.headers[.location])
            let tag = try #require(created.headers[.eTag])
            for condition in [tag, "\"other\", \(tag)", "*"] {
                let response = try await server.patch(resource, Fixture.fragment, ifMatch: condition)
                #expect(response.status == .noContent, "\(condition)")
                #expect(response.headers[.eTag] == nil)
                #expect(response.body.readableBytes == 0)
            }
            let bare = "m=audio 9 UDP/TLS/RTP/SAVPF 0\na=mid:0\na=candidate:1 1 weird 5 x.local 5 typ host\n"
            #expect(try await server.patch(resource, bare, ifMatch: tag).status == .noContent)
            #expect(server.media.state.withLock { $0.restarts } == 0)
        }
    }

    @Test func newCredentialsRestartICE() async throws {
        try await withServer { server in
            let created = try await server.post("/whip/s")
            let resource = try #require(created.headers[.location])
            let restarted = try await server.patch(resource, Fixture.restart, ifMatch: "*")
            #expect(restarted.status == .ok)
            #expect(restarted.headers[.contentType] == "application/trickle-ice-sdpfrag")
            #expect(restarted.headers[.eTag] == "\"ours1\"")
            #expect(
                restarted.text == """
                    a=ice-lite\r\na=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n\
                    a=ice-ufrag:ours1\r\na=ice-pwd:ournewpassword01234567891\r\n\
                    a=candidate:1 1 udp 2130706431 127.0.0.1 31001 typ host\r\na=end-of-candidates\r\n
                    """)
            #expect(try await server.patch(resource, Fixture.restart, ifMatch: "\"ours0\"").isProblem(412))
            #expect(try await server.patch(resource, Fixture.restart, ifMatch: "\"ours1\"").status == .noContent)
            #expect(try await server.patch(resource, Fixture.fragment, ifMatch: "*").status == .ok)
        }
    }

    @Test func aRestartThatFailsLeavesTheSessionAsItWas() async throws {
        try await withServer { server in
            let created = try await server.post("/whip/s")
            let resource = try #require(created.headers[.location])
            server.media.state.withLock { $0.restartFailure = .internal("no") }
            #expect(try await server.patch(resource, Fixture.restart, ifMatch: "*").isProblem(503))
            #expect(try await server.patch(resource, Fixture.fragment, ifMatch: "\"ours0\"").status == .noContent)
            #expect(try await server.send(.get, resource).status == .noContent)
        }
    }

    @Test func restartsAreLimited() async throws {
        try await withServer { server in
            let resource = try #require(try await server.post("/whip/s").headers[.location])
            var last: TestResponse?
            for index in 0..<8 {
                let body = Fixture.restart.replacing("bXmS", with: "bXm\(index)")
                last = try await server.patch(resource, body, ifMatch: "*")
                if last?.status == .tooManyRequests { break }
            }
            #expect(last?.isProblem(429) == true)
            #expect(last?.headers[.retryAfter] != nil)
        }
    }

    @Test func patchesThatBreakTheRulesAreRefused() async throws {
        try await withServer { server in
            let resource = try #require(try await server.post("/whip/s").headers[.location])
            let wrongType = try await server.send(.patch, resource, "x", type: "text/plain", [.ifMatch: "*"])
            #expect(wrongType.isProblem(415))
            #expect(wrongType.headers[.acceptPatch] == "application/trickle-ice-sdpfrag")
            #expect(try await server.patch(resource, Fixture.fragment, ifMatch: nil).isProblem(428))
            #expect(try await server.patch(resource, Fixture.fragment, ifMatch: "ours0").isProblem(400))
            #expect(try await server.patch(resource, Fixture.fragment, ifMatch: "\"stale\"").isProblem(412))
            #expect(try await server.patch(resource, Fixture.fragment, ifMatch: "W/\"ours0\"").isProblem(412))
            for body in [
                "", "nonsense", "a=mid:0\r\n", "a=ice-ufrag:abcd\r\n", "a=ice-ufrag:ab\r\na=ice-pwd:x\r\n",
                "a=candidate:1 1 udp\r\n", "a=candidate:1 1 udp 1 1.2.3.4 99999 typ host\r\n",
            ] {
                #expect(try await server.patch(resource, body, ifMatch: "*").isProblem(400), "\(body)")
            }
            let many = String(repeating: "a=candidate:1 1 udp 5 1.2.3.4 5 typ host\r\n", count: 200)
            #expect(try await server.patch(resource, many, ifMatch: "*").isProblem(413))
            let two = Fixture.restart + "m=video 9 X 0\r\na=ice-ufrag:zzzz\r\na=ice-pwd:0123456789abcdefghijklmn\r\n"
            #expect(try await server.patch(resource, two, ifMatch: "*").isProblem(422))
        }
    }

    @Test func noNoiseBreaksTheSession() async throws {
        try await withServer { server in
            let resource = try #require(try await server.post("/whip/s").headers[.location])
            var noise = Noise(seed: 7)
            for _ in 0..<300 {
                var body = Array(Fixture.restart.utf8 + Fixture.fragment.utf8.suffix(90))
                for _ in 0...noise.next(below: 6) {
                    body[noise.next(below: body.count)] = UInt8(noise.next(below: 256))
                }
                body.removeLast(noise.next(below: body.count))
                let tag = ["*", "\"ours0\"", "\"", "W/", ",,\"a", "\"a\" b"][noise.next(below: 6)]
                let response = try await server.patch(resource, String(decoding: body, as: UTF8.self), ifMatch: tag)
                #expect([200, 204, 400, 412, 413, 422, 429].contains(response.status.code))
            }
            let deleted = try await server.send(.delete, resource)
            #expect(deleted.status == .ok)
        }
    }

    @Test func aSessionWithoutBundleCannotBeRestarted() async throws {
        try await withServer { server in
            let second = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=ice-ufrag:other\r\na=ice-pwd:0123456789abcdefghijkl\r\n"
            let resource = try #require(try await server.post("/whip/s", Fixture.offer + second).headers[.location])
            #expect(try await server.patch(resource, Fixture.restart, ifMatch: "*").isProblem(422, "BUNDLE"))
        }
    }
}
