import ControlPlane
import Testing
import WCS
import WeirJSON

/// The protocol over a real socket, a real control plane, and a media side that always connects.
@Suite(.serialized, .timeLimit(.minutes(4))) struct SessionTests {
    private func publish(_ id: String, _ name: String, _ more: String = "") -> String {
        #"{"message":"publishStream","data":[{"mediaSessionId":"\#(id)","name":"\#(name)","published":true,"#
            + #""sdp":"OFFER","mediaProvider":"WebRTC"\#(more)}]}"#
    }

    private func play(_ id: String, _ name: String) -> String {
        #"{"message":"playStream","data":[{"mediaSessionId":"\#(id)","name":"\#(name)","published":false,"#
            + #""sdp":"OFFER","mediaProvider":"WebRTC"}]}"#
    }

    @Test(arguments: ["/", "/websocket", "/x/y?z=1"])
    func connectionIsAnsweredOnAnyPath(_ path: String) async throws {
        try await TestServer.run { server in
            let client = try await TestClient.open(server.port, path: path)
            #expect(client.response.hasPrefix("HTTP/1.1 101"))
            #expect(!client.response.lowercased().contains("sec-websocket-protocol"))
            #expect(client.response.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))
            try await client.send(#"{"message":"connection","data":[{"appKey":"defaultApp","custom":{"user":"ann"}}]}"#)
            let user = try await client.message("getUserData").first
            #expect(user["status"]?.text == "ESTABLISHED")
            #expect((user["authToken"]?.text ?? "").count >= 16)
            #expect(user["custom"]?.serialized == #"{"user":"ann"}"#)
            #expect(try await client.message("getVersion").first.text != nil)
            let ping = await client.next()
            #expect(ping?.text == #"{"message":"ping","data":[null]}"#)
        }
    }

    @Test func publishPlayMuteAndStop() async throws {
        try await TestServer.run { server in
            let publisher = try await TestClient.session(server.port)
            let player = try await TestClient.session(server.port)
            try await publisher.send(
                publish("p1", "cam1", #","transport":"TCP","minBitrate":100,"maxBitrate":"900","cvoExtension":true"#))
            let answer = try await publisher.message("setRemoteSDP")
            #expect(answer.serialized == #"["p1","ANSWER\r\n",true]"#)
            let publishing = try await publisher.status()
            #expect(publishing["status"]?.text == "PUBLISHING" && publishing["mediaSessionId"]?.text == "p1")
            #expect(publishing["audioState"] == nil && publishing["available"] == nil)
            #expect(
                server.media.lastOptions
                    == MediaOptions(transport: .tcp, minBitrate: 100, maxBitrate: 900, cvoExtension: true))

            try await publisher.send(
                #"{"message":"sendStreamEvent","data":[{"mediaSessionId":"p1","type":"audioMuted"}]}"#)
            // The answer shows that the event before it has been dealt with.
            try await publisher.send(#"{"message":"availableStream","data":[{"mediaSessionId":"e","name":"cam1"}]}"#)
            #expect(try await publisher.message("availableStream").serialized == #"[{"id":"e","status":"true"}]"#)

            try await player.send(play("v1", "cam1"))
            #expect(try await player.message("setRemoteSDP").first.text == "v1")
            let playing = try await player.status()
            #expect(playing["status"]?.text == "PLAYING")
            #expect(playing["audioState"]?.serialized == #"{"muted":true}"#)
            #expect(playing["videoState"]?.serialized == #"{"muted":false}"#)

            server.media.post { .videoSize($0, width: 640, height: 360) }
            #expect(
                try await player.message("notifyStreamEvent").first.serialized
                    == #"{"mediaSessionId":"v1","type":"resize","payload":{"streamerVideoWidth":640,"#
                    + #""streamerVideoHeight":360}}"#)
            try await publisher.send(
                #"{"message":"sendStreamEvent","data":[{"mediaSessionId":"p1","type":"data","payload":{"b":1,"a":[]}}]}"#
            )
            #expect(
                try await player.message("notifyStreamEvent").first.serialized
                    == #"{"mediaSessionId":"v1","type":"data","payload":{"b":1,"a":[]}}"#)

            try await player.send(#"{"message":"pauseStream","data":[{"mediaSessionId":"v1"}]}"#)
            #expect(try await player.status()["status"]?.text == "PAUSED")
            try await player.send(play("v1", "cam1"))
            #expect(try await player.status()["status"]?.text == "PLAYING")

            try await publisher.send(#"{"message":"unPublishStream","data":[{"mediaSessionId":"p1"}]}"#)
            let stopped = try await publisher.status()
            #expect(stopped["status"]?.text == "UNPUBLISHED" && stopped["info"]?.text == "Stopped by user")
            let failed = try await player.status()
            #expect(failed["status"]?.text == "FAILED" && failed["info"]?.text == "Stopped by publisher stop")
        }
    }

    @Test func refusalsHaveTheirTexts() async throws {
        try await TestServer.run { server in
            let client = try await TestClient.session(server.port)
            let requests: [(String, String)] = [
                (play("a", "none"), "Stream not found"),
                (play("a", "rtsp://x"), "Failed to get agent storage"),
                (#"{"message":"publishStream","data":[{"name":"n","sdp":"x"}]}"#, "MediaSessionId is null"),
                (#"{"message":"playStream","data":[null]}"#, "MediaSessionId is null"),
                (
                    #"{"message":"playStream","data":[{"mediaSessionId":"w","name":"n","mediaProvider":"MSE","sdp":"x"}]}"#,
                    "No common codecs"
                ),
                (
                    #"{"message":"publishStream","data":[{"mediaSessionId":"w","name":"n","sdp":""}]}"#,
                    "Failed to add stream to proxy"
                ),
            ]
            for (request, info) in requests {
                try await client.send(request)
                let status = try await client.status()
                #expect(status["status"]?.text == "FAILED" && status["info"]?.text == info)
                #expect(status["mediaSessionId"] != nil)
            }
        }
    }

    @Test func whatIsNotServedIsAnswered() async throws {
        try await TestServer.run { server in
            let client = try await TestClient.session(server.port)
            try await client.send(#"{"message":"snapshot","data":[{"name":"x","mediaSessionId":"ff"}]}"#)
            let snapshot = try await client.message("notifyStreamEvent").first
            #expect(snapshot["type"]?.text == "snapshotFailed" && snapshot["payload"]?["info"]?.text != nil)
            try await client.send(#"{"message":"sendData","data":[{"operationId":"op","payload":{}}]}"#)
            #expect(try await client.message("DataStatusEvent").first["status"]?.text == "ACCEPTED")
            try await client.send(#"{"message":"call","data":[{"callId":"k","callee":"1"}]}"#)
            #expect(try await client.message("fail").first["apiMethod"]?.text == "CallStatusEvent")
            #expect(try await client.message("finish").first["status"]?.text == "FAILED")
            try await client.send(#"{"message":"sessionDebug","data":[{"command":"stop"}]}"#)
            #expect(try await client.message("notifySessionDebugEvent").first["status"]?.text == "STOPPED")
            for report in [#"{"text":"x","type":"no_media"}"#, #"{"any":[1,2]}"#, "null"] {
                try await client.send(#"{"message":"submitBugReport","data":[\#(report)]}"#)
                let name = try await client.message("notifyBugReport").first.text ?? ""
                #expect(name == "bug-report-1.txt", "a bare string, not an object")
            }
            try await client.send(#"{"message":"ping","data":[null]}"#)
            #expect(try await client.message("pong").first == .null)
        }
    }

    @Test func refusedConnectionIsToldAndClosed() async throws {
        try await TestServer.run { server in
            let client = try await TestClient.open(server.port)
            try await client.send(#"{"message":"connection","data":[{"custom":"bad"}]}"#)
            let fail = await client.next()
            #expect(
                fail?.text
                    == #"{"message":"fail","data":[{"status":"FAILED","info":"Forbidden","apiMethod":"ConnectionStatusEvent"}]}"#
            )
            #expect(await client.closeCode() == 1008)
            await server.expectRejected("session_refused")
        }
    }

    @Test func theClientsBehindATrustedProxyAreToldApart() async throws {
        let proxy = try #require(AddressRange("127.0.0.1"))
        let control = ControlConfiguration(limits: .init(sessionsPerAddress: 1))
        func answer(_ server: TestServer, _ forwardedFor: String) async throws -> (TestClient, String) {
            let client = try await TestClient.open(
                server.port,
                request: "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
                    + "X-Forwarded-For: \(forwardedFor)\r\n\r\n")
            try await client.send(#"{"message":"connection","data":[{}]}"#)
            let first = try JSONParser.parse((await client.next())?.payload ?? [])
            return (client, first["message"]?.text ?? "")
        }
        try await TestServer.run({ $0.trustedProxies = TrustedProxies([proxy]) }, control: control) { server in
            let (ann, first) = try await answer(server, "203.0.113.1")
            let (bob, second) = try await answer(server, "203.0.113.2")
            let (_, third) = try await answer(server, "9.9.9.9, 203.0.113.2")
            #expect([first, second, third] == ["getUserData", "getUserData", "fail"])
            _ = (ann, bob)
        }
        try await TestServer.run(control: control) { server in
            let (ann, first) = try await answer(server, "203.0.113.1")
            let (_, second) = try await answer(server, "203.0.113.2")
            #expect([first, second] == ["getUserData", "fail"], "the header of anybody else says nothing")
            _ = ann
        }
    }

    @Test func requestsBeforeConnectionAndSecondConnectionsAreIgnored() async throws {
        try await TestServer.run { server in
            let client = try await TestClient.open(server.port)
            try await client.send(publish("p", "n"))
            try await client.send(#"{"message":"connection","data":[{}]}"#)
            _ = try await client.message("getUserData")
            try await client.send(#"{"message":"connection","data":[{}]}"#)
            try await client.send(publish("p", "n"))
            #expect(try await client.message("setRemoteSDP").first.text == "p")
            #expect(server.rejected("before_connection") == 1)
            #expect(server.rejected("second_connection") == 1)
        }
    }

    @Test func lostSocketFreesTheName() async throws {
        try await TestServer.run { server in
            let first = try await TestClient.session(server.port)
            try await first.send(publish("p", "n"))
            _ = try await first.message("setRemoteSDP")
            try await first.channel.close().get()
            for _ in 0..<6_000 where await !server.control.streams().isEmpty {
                try await Task.sleep(for: .milliseconds(10))
            }
            #expect(await server.control.streams().isEmpty)
        }
    }

    @Test func shutdownTellsEveryClientAndClosesWith1001() async throws {
        try await TestServer.run { server in
            let idle = try await TestClient.open(server.port)
            let client = try await TestClient.session(server.port)
            try await client.send(publish("p", "n"))
            #expect(try await client.status()["status"]?.text == "PUBLISHING")
            async let done: Void = server.server.shutDown(timeout: .seconds(5))
            #expect(try await client.status()["status"]?.text == "FAILED")
            #expect(await client.closeCode() == 1001)
            #expect(await idle.closeCode() == 1001)
            await done
        }
    }

    @Test func shutdownOfTheControlPlaneClosesWith1001() async throws {
        try await TestServer.run { server in
            let client = try await TestClient.session(server.port)
            await server.control.shutdown(timeout: .seconds(2))
            #expect(await client.closeCode() == 1001)
        }
    }

    @Test func silentClientIsDropped() async throws {
        try await TestServer.run {
            $0.keepAliveInterval = .milliseconds(500)
            $0.keepAliveProbes = 3
        } _: { server in
            let client = try await TestClient.session(server.port)
            #expect(await client.closeCode() == 1008)
            await server.expectRejected("keep_alive")
        }
    }

    @Test func keepAliveMayUsePingFrames() async throws {
        try await TestServer.run {
            $0.keepAlive = .webSocket
            $0.keepAliveInterval = .milliseconds(500)
            $0.keepAliveProbes = 3
        } _: { server in
            let client = try await TestClient.session(server.port)
            _ = try await client.message("getVersion")
            #expect(await client.next() == Frame(opcode: 9, payload: []))
            #expect(await client.closeCode() == 1008)
        }
    }

    @Test func answeringClientStays() async throws {
        try await TestServer.run {
            $0.keepAliveInterval = .milliseconds(30)
            $0.keepAliveProbes = 20
        } _: { server in
            let client = try await TestClient.session(server.port)
            for _ in 0..<40 {
                _ = try await client.message("ping")
                try await client.send(#"{"message":"pong"}"#)
            }
        }
    }
}
