import LoadGenerator
import NIOCore
import NIOPosix
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(5))) struct WHIPSignallingTests {
    private static let answer = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\n"
    private static let created = FakeHTTPServer.Response.reply(
        201, headers: ["Location": "/whep/room%20a-0/secret", "Content-Type": "application/sdp"], body: answer)

    /// Time stands still for it, so a slow machine makes no timeouts.
    private func signalling(
        _ port: Int, _ change: (inout WHIPSignalling.Settings) -> Void = { _ in }
    ) throws -> WHIPSignalling {
        var settings = WHIPSignalling.Settings(base: "http://127.0.0.1:\(port)/")
        settings.timeout = .seconds(60)
        settings.clock = ManualClock()
        change(&settings)
        return try WHIPSignalling(settings)
    }

    @Test func offerIsPostedAndTheSessionDeleted() async throws {
        try await FakeHTTPServer.run {
            $0.method == "POST" ? Self.created : .reply(200)
        } _: { server in
            let signalling = try signalling(server.port) { $0.token = "letmein" }
            let session = try await signalling.play(name: "room a-0", offer: "v=0 offer")
            #expect(session.answer == Self.answer)
            await session.end()
            let requests = server.requests
            try #require(requests.count == 2)
            #expect(requests[0].method == "POST" && requests[0].uri == "/whep/room%20a-0")
            #expect(requests[0].body == "v=0 offer")
            #expect(requests[0].headers["content-type"] == "application/sdp")
            #expect(requests[0].headers["authorization"] == "Bearer letmein")
            #expect(requests[0].headers["host"] == "127.0.0.1:\(server.port)")
            #expect(requests[1].method == "DELETE" && requests[1].uri == "/whep/room%20a-0/secret")
            #expect(requests[1].headers["authorization"] == "Bearer letmein")
            await signalling.close()
        }
    }

    @Test func publishersHaveAPathOfTheirOwn() async throws {
        try await FakeHTTPServer.run { _ in
            Self.created
        } _: { server in
            let signalling = try signalling(server.port)
            _ = try await signalling.publish(name: "a", offer: "v=0")
            #expect(server.requests.map(\.uri) == ["/whip/a"])
            await signalling.close()
        }
    }

    @Test func templatesSuitOtherServers() async throws {
        try await FakeHTTPServer.run { _ in
            .reply(200, headers: ["Location": "session?id=7"], body: Self.answer)
        } _: {
            server in
            let base = "http://127.0.0.1:\(server.port)/rtc/v1"
            let signalling = try WHIPSignalling(
                WHIPSignalling.Settings(
                    publishURL: base + "/whip/?app=live&stream={name}",
                    playURL: base + "/whep/?app=live&stream={name}"))
            let session = try await signalling.play(name: "b-1", offer: "v=0")
            await session.end()
            #expect(
                server.requests.map(\.uri) == ["/rtc/v1/whep/?app=live&stream=b-1", "/rtc/v1/whep/session?id=7"])
            await signalling.close()
        }
    }

    @Test func connectionsAreUsedAgainAndBounded() async throws {
        try await FakeHTTPServer.run { _ in
            Self.created
        } _: { server in
            let signalling = try signalling(server.port) { $0.connections = 3 }
            for _ in 0..<5 { _ = try await signalling.play(name: "a", offer: "v=0") }
            #expect(server.connections == 1)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<40 { group.addTask { _ = try await signalling.play(name: "a", offer: "v=0") } }
                try await group.waitForAll()
            }
            #expect(server.requests.count == 45)
            #expect(server.connections <= 3)
            await signalling.close()
        }
    }

    @Test func connectionThatLayTooLongIsNotUsedAgain() async throws {
        try await FakeHTTPServer.run { _ in
            Self.created
        } _: { server in
            let clock = ManualClock()
            let signalling = try signalling(server.port) { $0.clock = clock }
            for (pause, connections) in [(Duration.zero, 1), (.milliseconds(1_999), 1), (.seconds(2), 2)] {
                clock.advance(by: pause)
                _ = try await signalling.play(name: "a", offer: "v=0")
                #expect(server.connections == connections)
            }
            await signalling.close()
        }
    }

    @Test func connectionThatTheServerEndsIsNotUsedAgain() async throws {
        let reply = FakeHTTPServer.Response.reply(
            201, headers: ["Location": "/x", "Connection": "close"], body: Self.answer)
        try await FakeHTTPServer.run { _ in
            reply
        } _: { server in
            let signalling = try signalling(server.port)
            for _ in 0..<3 { _ = try await signalling.play(name: "a", offer: "v=0") }
            #expect(server.connections == 3)
            await signalling.close()
        }
    }

    @Test func refusalNamesAddressStatusAndDetail() async throws {
        let problem =
            #"{"type":"about:blank","title":"Not Found","detail":"Stream not found","remedy":"Check the name."}"#
        try await FakeHTTPServer.run { _ in
            .reply(404, headers: ["Content-Type": "application/problem+json"], body: problem)
        } _: { server in
            let signalling = try signalling(server.port)
            let failure = await failure { _ = try await signalling.play(name: "a", offer: "v=0") }
            #expect(failure?.code == .refused)
            #expect(failure?.status == 404)
            #expect(
                failure?.description
                    == "POST http://127.0.0.1:\(server.port)/whep/a: 404 Not Found: Stream not found Check the name.")
            await signalling.close()
        }
    }

    @Test(arguments: [
        (FakeHTTPServer.Response.reply(500, body: "out of\nmemory"), "500 Internal Server Error: out of memory"),
        (.reply(201, body: "hello"), "201 Created, but the body is no SDP"),
        (.hangUp, "the server closed the connection before it answered"),
        (.garbage, "invalid"),
    ])
    func badAnswersAreNamed(_ response: FakeHTTPServer.Response, _ text: String) async throws {
        try await FakeHTTPServer.run { _ in
            response
        } _: { server in
            let signalling = try signalling(server.port)
            let failure = await failure { _ = try await signalling.play(name: "a", offer: "v=0") }
            let description = try #require(failure?.description)
            #expect(description.hasPrefix("POST http://127.0.0.1:\(server.port)/whep/a: "))
            #expect(description.lowercased().contains(text.lowercased()), "\(description)")
            await signalling.close()
        }
    }

    @Test func silenceEndsInTime() async throws {
        try await FakeHTTPServer.run { _ in
            .silence
        } _: { server in
            let clock = ManualClock()
            let signalling = try signalling(server.port) { $0.clock = clock }
            async let failure = failure { _ = try await signalling.play(name: "a", offer: "v=0") }
            try await eventually("the request arrives") { !server.requests.isEmpty }
            try await clock.sleeper(until: .seconds(60))
            clock.advance(by: .seconds(60))
            #expect(await failure?.code == .timeout)
            await signalling.close()
        }
    }

    @Test func waitForAConnectionEndsInTime() async throws {
        try await FakeHTTPServer.run { _ in
            .silence
        } _: { server in
            let clock = ManualClock()
            let signalling = try signalling(server.port) {
                $0.clock = clock
                $0.connections = 1
            }
            let codes = try await withThrowingTaskGroup(of: SignallingFailure.Code?.self) { group in
                for _ in 0..<8 {
                    group.addTask { await failure { _ = try await signalling.play(name: "a", offer: "v=0") }?.code }
                }
                try await clock.sleepers(8, until: .seconds(60))
                clock.advance(by: .seconds(60))
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(codes == Array(repeating: .timeout, count: 8))
            await signalling.close()
        }
    }

    @Test func cancellationEndsTheWait() async throws {
        try await FakeHTTPServer.run { _ in
            .silence
        } _: { server in
            let signalling = try signalling(server.port)
            let task = Task { try await signalling.play(name: "a", offer: "v=0") }
            try await eventually("the request arrives") { !server.requests.isEmpty }
            task.cancel()
            await #expect(throws: (any Error).self) { try await task.value }
            await signalling.close()
        }
    }

    @Test func closedClientRefuses() async throws {
        try await FakeHTTPServer.run { _ in
            .silence
        } _: { server in
            let signalling = try signalling(server.port)
            async let waiting = failure { _ = try await signalling.play(name: "a", offer: "v=0") }
            try await eventually("the request arrives") { !server.requests.isEmpty }
            await signalling.close()
            #expect(await waiting != nil)
            #expect(await failure { _ = try await signalling.play(name: "a", offer: "v=0") }?.code == .closed)
        }
    }

    @Test func noServerIsNamed() async throws {
        // A port that was free a moment ago.
        let server = try await FakeHTTPServer { _ in .silence }
        await server.stop()
        let signalling = try signalling(server.port)
        let failure = await failure { _ = try await signalling.play(name: "a", offer: "v=0") }
        #expect(failure?.code == .connect)
        #expect(failure?.description.contains("http://127.0.0.1:\(server.port)/whep/a: cannot connect") == true)
        await signalling.close()
    }

    @Test func endOfASessionNeverFails() async throws {
        let server = try await FakeHTTPServer { $0.method == "POST" ? Self.created : .hangUp }
        let signalling = try signalling(server.port)
        let session = try await signalling.play(name: "a", offer: "v=0")
        await session.end()
        await server.stop()
        await session.end()
        #expect(server.requests.contains { $0.method == "DELETE" })
        await signalling.close()
    }

    @Test func versionIsToldByHealth() async throws {
        try await FakeHTTPServer.run { request in
            request.uri == "/health"
                ? .reply(200, headers: ["Server": "Weir"], body: #"{"status":"ok","version":"1.2"}"#) : .reply(404)
        } _: { server in
            let signalling = try signalling(server.port)
            #expect(await signalling.serverVersion() == "Weir 1.2")
            await signalling.close()
        }
    }

    @Test(arguments: ["127.0.0.1:8080", "ftp://h/{name}", "http://h/whip", "ws://h/{name}", "http:///{name}"])
    func badAddressesAreRefused(_ template: String) {
        #expect(throws: SignallingFailure.self) {
            try WHIPSignalling(WHIPSignalling.Settings(publishURL: template, playURL: "http://h/{name}"))
        }
    }
}

@Suite struct ServiceURLTests {
    @Test func partsAreRead() throws {
        let url = try ServiceURL("https://[2001:db8::1]:8444/a%20b?c=d")
        #expect(url.scheme == .https && url.host == "2001:db8::1" && url.port == 8_444)
        #expect(url.target == "/a%20b?c=d" && url.authority == "[2001:db8::1]:8444")
        #expect(try ServiceURL("ws://host").port == 80 && ServiceURL("wss://host").port == 443)
        #expect(try ServiceURL("http://host:80/x").description == "http://host/x")
    }

    @Test(arguments: [
        ("/s/1", "http://h:8080/s/1"), ("1", "http://h:8080/whip/1"), ("?a=b", "http://h:8080/whip/?a=b"),
        ("https://o/x", "https://o/x"), ("//o:81/x", "http://o:81/x"),
    ])
    func locationsAreResolved(_ location: String, _ expected: String) throws {
        #expect(try ServiceURL("http://h:8080/whip/name?q=1/2").resolving(location).description == expected)
    }
}
