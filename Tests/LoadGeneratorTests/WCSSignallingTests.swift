import FoundationEssentials
import LoadGenerator
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(5))) struct WCSSignallingTests {
    private struct Message: Decodable {
        struct Stream: Decodable {
            var mediaSessionId: String?
            var name: String?
            var published: Bool?
            var sdp: String?
            var status: String?
            var appKey: String?
            var mediaProvider: String?
            var quality: Int?
            var hasVideo: Bool?
            var hasAudio: Bool?
        }
        var message: String
        var data: [Stream?]

        static func read(_ text: String) -> Message? {
            try? JSONDecoder().decode(Message.self, from: Data(text.utf8))
        }
    }

    private static let ready = FakeWCSServer.Action.text(
        #"{"message":"getUserData","data":[{"authToken":"t","status":"ESTABLISHED"}]}"#)

    private static func status(_ id: String, _ status: String, _ info: String) -> FakeWCSServer.Action {
        .text(
            #"{"message":"notifyStreamStatusEvent","data":[{"mediaSessionId":"\#(id)","status":"\#(status)","#
                + #""info":"\#(info)"}]}"#)
    }

    /// A server that behaves, except for what `onStart` does when a stream is asked for.
    private func server(
        greeting: [FakeWCSServer.Action] = [],
        onStart: @escaping @Sendable (String) -> [FakeWCSServer.Action] = { id in
            [
                Self.status("other", "FAILED", "not yours"),
                .text(#"{"message":"setRemoteSDP","data":["other","v=0 wrong",true]}"#),
                .text(#"{"message":"setRemoteSDP","data":["\#(id)","v=0 answer\r\n",true]}"#),
                Self.status(id, "PLAYING", ""),
            ]
        }
    ) async throws -> FakeWCSServer {
        try await FakeWCSServer(greeting: greeting) { text in
            guard let message = Message.read(text) else { return [] }
            switch message.message {
            case "connection": return [Self.ready]
            case "publishStream", "playStream": return onStart(message.data.first??.mediaSessionId ?? "")
            default: return []
            }
        }
    }

    /// - Parameter clock: one that stands still, so a slow machine makes no timeouts.
    private func signalling(_ port: Int, clock: ManualClock = ManualClock()) throws -> WCSSignalling {
        var settings = WCSSignalling.Settings(url: "ws://127.0.0.1:\(port)")
        settings.timeout = .seconds(60)
        settings.clock = clock
        return try WCSSignalling(settings)
    }

    @Test func playerSaysWhatTheSDKSays() async throws {
        let server = try await server()
        let signalling = try signalling(server.port)
        let session = try await signalling.play(name: "cam", offer: "v=0\r\nm=video 9\r\n")
        #expect(session.answer == "v=0 answer\r\n")
        await session.end()
        try await server.expect("close 1000")
        let messages = server.received.compactMap(Message.read)
        #expect(messages.map(\.message) == ["connection", "playStream", "stopStream"])
        try #require(messages.count == 3)
        #expect(messages[0].data[0]?.appKey == "defaultApp")
        let play = try #require(messages[1].data[0])
        #expect(play.name == "cam" && play.published == false && play.sdp == "v=0\r\nm=video 9\r\n")
        #expect(play.status == "PENDING" && play.mediaProvider == "WebRTC" && play.quality == 0)
        #expect(play.hasVideo == true && play.hasAudio == false)
        #expect(messages[2].data[0]?.mediaSessionId == play.mediaSessionId)
        #expect(signalling.lostSessions.count == 0)
        await signalling.close()
        await server.stop()
    }

    @Test func publisherUsesItsOwnMessages() async throws {
        let server = try await server()
        let signalling = try signalling(server.port)
        let session = try await signalling.publish(name: "cam", offer: "v=0\r\nm=audio 9\r\n")
        await session.end()
        try await server.expect("close")
        let messages = server.received.compactMap(Message.read)
        #expect(messages.map(\.message) == ["connection", "publishStream", "unPublishStream"])
        #expect(messages.dropFirst().allSatisfy { $0.data[0]?.published == true && $0.data[0]?.hasVideo == false })
        await signalling.close()
        await server.stop()
    }

    @Test func everyClientHasItsOwnConnectionUntilItsEnd() async throws {
        let server = try await server()
        let signalling = try signalling(server.port)
        let first = try await signalling.play(name: "a", offer: "v=0")
        let second = try await signalling.play(name: "a", offer: "v=0")
        #expect(server.openConnections == 2)
        await first.end()
        try await eventually("connections end") { server.openConnections <= 1 }
        await second.end()
        try await eventually("connections end") { server.openConnections <= 0 }
        await signalling.close()
        await server.stop()
    }

    @Test func pingsAreAnsweredInEveryState() async throws {
        let ping = FakeWCSServer.Action.text(#"{"message":"ping","data":[null]}"#)
        let server = try await server(greeting: [ping, .ping("frame")]) { id in
            [.text(#"{"message":"setRemoteSDP","data":["\#(id)","v=0",true]}"#), ping, ping]
        }
        let signalling = try signalling(server.port)
        _ = try await signalling.play(name: "a", offer: "v=0")
        try await eventually("three pongs") {
            server.received.count { $0 == #"{"message":"pong","data":[null]}"# } == 3
        }
        try await server.expect("pong frame")
        await signalling.close()
        await server.stop()
    }

    @Test func refusalOfAStreamIsNamed() async throws {
        let server = try await server { [Self.status($0, "FAILED", "Stream not found")] }
        let signalling = try signalling(server.port)
        let failure = await failure { _ = try await signalling.play(name: "a", offer: "v=0") }
        #expect(failure?.code == .refused)
        #expect(failure?.description == "ws://127.0.0.1:\(server.port)/ playStream a: FAILED: Stream not found")
        try await eventually("connections end") { server.openConnections <= 0 }
        await signalling.close()
        await server.stop()
    }

    @Test func refusalOfTheConnectionIsNamed() async throws {
        let server = try await FakeWCSServer { text in
            guard text.contains("\"connection\"") else { return [] }
            let fail = #"{"status":"FAILED","info":"Forbidden","apiMethod":"ConnectionStatusEvent"}"#
            return [.text(#"{"message":"fail","data":[\#(fail)]}"#), .close(1_000, "")]
        }
        let signalling = try signalling(server.port)
        let failure = await failure { _ = try await signalling.publish(name: "a", offer: "v=0") }
        #expect(failure?.code == .refused && failure?.description.hasSuffix("FAILED: Forbidden") == true)
        await signalling.close()
        await server.stop()
    }

    @Test(arguments: [
        (FakeWCSServer.Action.hangUp, SignallingFailure.Code.disconnected, "the connection ended"),
        (.close(1_008, "too many"), .disconnected, "the server closed the WebSocket (1008 too many)"),
        (.text("hello"), .protocolViolation, "a message is no WCS: hello"),
    ])
    func endBeforeTheAnswerIsNamed(
        _ action: FakeWCSServer.Action, _ code: SignallingFailure.Code, _ text: String
    ) async throws {
        let server = try await server { _ in [action] }
        let signalling = try signalling(server.port)
        let failure = await failure { _ = try await signalling.play(name: "a", offer: "v=0") }
        #expect(failure?.code == code)
        #expect(failure?.description.hasSuffix(text) == true, "\(failure?.description ?? "no failure")")
        #expect(signalling.lostSessions.count == 0)
        await signalling.close()
        await server.stop()
    }

    @Test func streamThatTheServerEndsCountsAsLostOnce() async throws {
        let server = try await server { id in
            [
                .text(#"{"message":"setRemoteSDP","data":["\#(id)","v=0",true]}"#),
                Self.status(id, "FAILED", "Stopped by publisher stop"), .close(1_001, ""),
            ]
        }
        let signalling = try signalling(server.port)
        let session = try await signalling.play(name: "a", offer: "v=0")
        try await eventually("connections end") { server.openConnections <= 0 }
        try await eventually("the loss is counted") { signalling.lostSessions.count > 0 }
        await session.end()
        #expect(signalling.lostSessions.reasons == ["a: FAILED: Stopped by publisher stop"])
        #expect(signalling.lostSessions.count == 1)
        await signalling.close()
        await server.stop()
    }

    @Test func silenceEndsInTime() async throws {
        let server = try await FakeWCSServer { _ in [] }
        let clock = ManualClock()
        let signalling = try signalling(server.port, clock: clock)
        async let failure = failure { _ = try await signalling.play(name: "a", offer: "v=0") }
        try await server.expect("connection")
        try await clock.sleeper(until: .seconds(60))
        clock.advance(by: .seconds(60))
        #expect(await failure?.code == .timeout)
        try await eventually("connections end") { server.openConnections <= 0 }
        await signalling.close()
        await server.stop()
    }

    @Test func serverWithoutWebSocketIsNamed() async throws {
        let server = try await FakeWCSServer(upgrades: false) { _ in [] }
        let signalling = try signalling(server.port)
        let failure = await failure { _ = try await signalling.play(name: "a", offer: "v=0") }
        #expect(failure?.status == 426)
        #expect(failure?.description.contains("does not speak WebSocket there: 426") == true)
        await signalling.close()
        await server.stop()
    }

    @Test func closingEndsAllConnections() async throws {
        let server = try await server()
        let signalling = try signalling(server.port)
        for _ in 0..<5 { _ = try await signalling.play(name: "a", offer: "v=0") }
        await signalling.close()
        try await eventually("connections end") { server.openConnections <= 0 }
        await #expect(throws: (any Error).self) { try await signalling.play(name: "a", offer: "v=0") }
        await server.stop()
    }

    @Test func addressMustBeAWebSocket() {
        #expect(throws: SignallingFailure.self) { try WCSSignalling(WCSSignalling.Settings(url: "http://h:1")) }
    }
}
