import ControlPlane
import HTTPServer
import HTTPTypes
import HummingbirdTesting
import Testing

@Suite struct CreateSessionTests {
    @Test func aPublisherIsAnsweredWithAllHeadersOfTheRFC() async throws {
        let configuration = HTTPConfiguration(iceServers: [
            ICEServer(url: "stun:stun.example.net"),
            ICEServer(url: "turn:turn.example.net?transport=udp", username: "me", credential: "a\"b"),
        ])
        try await withServer(configuration) { server in
            let response = try await server.post("/whip/my%20stream")
            #expect(response.status == .created)
            #expect(response.text == FakeMedia.answer)
            #expect(response.headers[.contentType] == "application/sdp")
            #expect(response.headers[.eTag] == "\"ours0\"")
            #expect(response.headers[.acceptPatch] == "application/trickle-ice-sdpfrag")
            let location = try #require(response.headers[.location])
            #expect(location.hasPrefix("/whip/my%20stream/"))
            #expect(location.count == "/whip/my%20stream/".count + 32)
            #expect(
                response.headers[values: .link] == [
                    "<stun:stun.example.net>; rel=\"ice-server\"",
                    "<turn:turn.example.net?transport=udp>; rel=\"ice-server\"; username=\"me\"; "
                        + "credential=\"a\\\"b\"; credential-type=\"password\"",
                ])
            #expect(response.headers[.accessControlAllowOrigin] == "*")
            let exposed = try #require(response.headers[.accessControlExposeHeaders])
            for name in ["Location", "ETag", "Link"] { #expect(exposed.contains(name)) }
            #expect(await server.control.streams().map(\.name) == ["my stream"])
        }
    }

    @Test func aPlayerOfALiveStreamIsAnswered() async throws {
        try await withServer { server in
            _ = try await server.goLive("s")
            let response = try await server.post("/whep/s")
            #expect(response.status == .created)
            #expect(response.headers[.location]?.hasPrefix("/whep/s/") == true)
            #expect(await server.control.streams().map(\.players) == [1])
        }
    }

    @Test func everyLocationIsDifferent() async throws {
        try await withServer { server in
            let one = try await server.post("/whip/a").headers[.location]
            let two = try await server.post("/whip/b").headers[.location]
            #expect(one?.split(separator: "/").last != two?.split(separator: "/").last)
        }
    }

    @Test func tokenQueryAndAddressReachTheBackend() async throws {
        try await withServer { server in
            let response = try await server.post(
                "/whip/s?room=1&x=%20", Fixture.offer, [.authorization: "bearer abc.d-_~+/=="])
            #expect(response.status == .created)
            let facts = try #require(server.hooks.state.withLock { $0.sessions.first })
            #expect(facts.bearerToken == "abc.d-_~+/==")
            #expect(facts.query == "room=1&x=%20")
            #expect(facts.kind == .whip)
            #expect(facts.remoteAddress.hasPrefix("127.0.0.1:") || facts.remoteAddress.hasPrefix("[::1]:"))
        }
    }

    @Test func aClientIsDescribedToTheBackendLikeAPageOfTheSDK() async throws {
        try await withServer { server in
            let agent = try #require(HTTPField.Name("User-Agent"))
            _ = try await server.post(
                "/whip/s?appKey=live&user=J%C3%BCrgen+M&token=url&flag&user=ann&bad=%ff", Fixture.offer,
                [.authorization: "Bearer abc", .origin: "https://a.example", agent: "OBS"])
            _ = try await server.post("/whip/t")
            let requests = server.hooks.state.withLock { $0.requests }
            let first = try #require(requests.first)
            #expect(first.appKey == "live")
            #expect(first.custom?.text == #"{"flag":"","user":"ann","bad":"%ff","token":"abc"}"#)
            #expect(
                first.profile?.text == #"{"mediaProviders":["WebRTC"],"status":"PENDING","clientBrowserVersion":"OBS","#
                    + #""origin":"https://a.example","custom":{"flag":"","user":"ann","bad":"%ff","token":"abc"}}"#)
            let port = try #require(first.localAddress?.split(separator: ":").last.flatMap { Int($0) })
            #expect(port > 0)
            #expect(requests.last?.appKey == "defaultApp" && requests.last?.custom == nil)
        }
    }

    @Test(arguments: [true, false]) func onlyATrustedProxyNamesTheClient(trusted: Bool) async throws {
        let ranges = ["127.0.0.0/8", "::1"].compactMap { AddressRange($0) }
        let proxies = TrustedProxies(trusted ? ranges : [])
        try await withServer(HTTPConfiguration(trustedProxies: proxies)) { server in
            let forwarded = try #require(HTTPField.Name("X-Forwarded-For"))
            _ = try await server.post("/whip/s", Fixture.offer, [forwarded: "6.6.6.6, 203.0.113.9"])
            let facts = try #require(server.hooks.state.withLock { $0.sessions.first })
            #expect((facts.remoteAddress == "203.0.113.9") == trusted, "\(facts.remoteAddress)")
        }
    }

    @Test func whatIsNoOfferIsRefused() async throws {
        try await withServer(HTTPConfiguration(bodyLimit: 1_000)) { server in
            let text = try await server.send(.post, "/whip/s", Fixture.offer, type: "text/plain")
            #expect(text.isProblem(415, "text/plain"))
            #expect(text.headers[.acceptPost] == "application/sdp")
            #expect(try await server.send(.post, "/whip/s", Fixture.offer).isProblem(415))
            #expect(try await server.post("/whip/s", "").isProblem(400, "empty"))
            #expect(try await server.post("/whip/s", "hello").isProblem(400))
            #expect(try await server.post("/whip/s", String(repeating: "a", count: 1_001)).isProblem(413))
            let charset = try await server.send(.post, "/whip/s", Fixture.offer, type: "Application/SDP; charset=utf-8")
            #expect(charset.status == .created)
        }
    }

    @Test func aBodyThatOnlyShowsToBeTooLargeWhileItArrivesIsRefused() async throws {
        try await withServer(HTTPConfiguration(bodyLimit: 1_000)) { server in
            let response = try await server.post(
                "/whip/s", "v=0" + String(repeating: "a", count: 100_000), [.transferEncoding: "chunked"])
            #expect(response.isProblem(413))
            #expect(try await server.post("/whip/s").status == .created)
        }
    }

    @Test func badNamesAreRefused() async throws {
        try await withServer { server in
            for name in ["a%2Fb", "a%00", "%ff", "%2e%2e", "a%3Fb", String(repeating: "n", count: 256)] {
                let response = try await server.post("/whip/\(name)")
                #expect(response.isProblem(400), "\(name)")
            }
        }
    }

    @Test func credentialsOfAnotherKindAreUnauthorized() async throws {
        try await withServer { server in
            for value in ["Basic YTpi", "Bearer", "Bearer a b", "Bearer \u{22}x\u{22}"] {
                let response = try await server.post("/whip/s", Fixture.offer, [.authorization: value])
                #expect(response.isProblem(401), "\(value)")
                #expect(response.headers[.wwwAuthenticate]?.hasPrefix("Bearer ") == true)
            }
        }
    }

    @Test func theRefusalsOfTheBackendKeepTheirStatus() async throws {
        try await withServer { server in
            server.hooks.state.withLock { $0.connect = .refuse(code: 401, reason: "Who are you?") }
            let unknown = try await server.post("/whip/s")
            #expect(unknown.isProblem(401, "Who are you?"))
            #expect(unknown.headers[.wwwAuthenticate] != nil)
            server.hooks.state.withLock { $0.connect = .refuse(code: 403, reason: "Not you") }
            #expect(try await server.post("/whip/s").isProblem(403, "Not you"))
            server.hooks.state.withLock { $0.connect = .refuse(code: 200, reason: "") }
            #expect(try await server.post("/whip/s").isProblem(403))
            server.hooks.state.withLock {
                $0.connect = .allow
                $0.publish = .refuse(code: 403, reason: "Not this stream")
            }
            #expect(try await server.post("/whip/s").isProblem(403, "Not this stream"))
            #expect(await server.control.streams().isEmpty)
        }
    }

    @Test func everyFailureOfTheMediaSideHasItsStatus() async throws {
        let cases: [(MediaError, Int, String)] = [
            (.malformedSDP("line 3"), 400, "Failed to add stream to proxy"),
            (.noCommonCodecs, 422, "No common codecs"),
            (.noCapacity, 503, ""),
            (.internal("broken"), 500, ""),
        ]
        try await withServer { server in
            for (failure, status, text) in cases {
                server.media.state.withLock { $0.failure = failure }
                let response = try await server.post("/whip/s")
                #expect(response.isProblem(status, text), "\(failure) \(response.text)")
                #expect((response.headers[.retryAfter] != nil) == (status == 503))
            }
            server.media.state.withLock { $0.failure = nil }
            #expect(try await server.post("/whip/s").status == .created, "the name is free after failures")
        }
    }

    @Test func namesThatCannotBeServedNow() async throws {
        try await withServer { server in
            #expect(try await server.post("/whep/s").isProblem(404, "Stream not found"))
            #expect(try await server.post("/whip/s").status == .created)
            #expect(try await server.post("/whip/s").isProblem(409, "Stream name is already in use"))
            let early = try await server.post("/whep/s")
            #expect(early.isProblem(409, "Publish stream is not ready"))
            #expect(early.headers[.retryAfter] == "1")
        }
    }

    @Test func aFullServerSaysWhenToTryAgain() async throws {
        try await withServer(control: .patient(limits: .init(sessions: 1))) { server in
            #expect(try await server.post("/whip/a").status == .created)
            let full = try await server.post("/whip/b")
            #expect(full.isProblem(503))
            #expect(full.headers[.retryAfter] != nil)
        }
        try await withServer(control: .patient(limits: .init(streams: 1))) { server in
            #expect(try await server.post("/whip/a").status == .created)
            let full = try await server.post("/whip/b")
            #expect(full.isProblem(503))
            #expect(full.headers[.retryAfter] != nil)
        }
    }

    @Test func anAnswerThatDoesNotComeInTimeEndsTheSession() async throws {
        try await withServer(HTTPConfiguration(answerTimeout: .milliseconds(100))) { server in
            server.media.state.withLock { $0.delay = .seconds(1) }
            let late = try await server.post("/whip/s")
            #expect(late.isProblem(503, "in time"))
            #expect(await server.control.streams().isEmpty)
            server.media.state.withLock { $0.delay = .zero }
            // A machine that is busy may be late again.
            var again = try await server.post("/whip/s").status
            for _ in 0..<100 where again == .serviceUnavailable { again = try await server.post("/whip/s").status }
            #expect(again == .created)
        }
    }

    @Test func aServerThatShutsDownTakesNoSession() async throws {
        try await withServer { server in
            await server.control.shutdown(timeout: .seconds(1))
            let response = try await server.post("/whip/s")
            #expect(response.isProblem(503, "shutting down"))
            #expect(response.headers[.retryAfter] != nil)
        }
    }
}
