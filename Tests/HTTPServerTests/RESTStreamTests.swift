import ControlPlane
import HTTPServer
import HummingbirdTesting
import Testing
import WeirJSON

@Suite struct RESTStreamTests {
    @Test func publishersAndPlayersAreFoundByAnyOfTheirValues() async throws {
        try await withServer { server in
            _ = try await server.goLive("cam")
            _ = try await server.goLive("other")
            _ = try await server.post("/whep/cam")
            #expect(try await server.found("stream/find_all").count == 3)
            let both = try await server.found("stream/find", "{\"name\": \"cam\"}")
            #expect(Set(both.compactMap { $0["mediaType"]?.text }) == ["publish", "play"])
            let publisher = try #require(
                try await server.found("stream/find", "{\"name\":\"cam\",\"published\":\"true\"}").first)
            #expect(publisher["status"] == .string("PUBLISHING"))
            #expect(publisher["nodeId"] == .string("node"))
            #expect(publisher["appKey"] == .string("defaultApp"))
            #expect(publisher["videoCodec"] == .string("VP8"))
            #expect(publisher["audioState"]?["muted"] == .bool(false))
            #expect((publisher["createDate"]?.integer ?? 0) > 1_700_000_000_000)
            #expect(publisher["metrics"] == nil)
            let id = try #require(publisher["mediaSessionId"]?.text)
            #expect(try await server.found("stream/find", "{\"mediaSessionId\":\"\(id)\"}").count == 1)
            #expect(try await server.found("stream/find", "{\"mediaSessionIds\":[\"\(id)\",\"x\"]}").count == 1)
            #expect(try await server.found("stream/find", "{\"status\":\"PENDING\"}").count == 1)
            #expect(try await server.found("stream/find", "{\"name\":null,\"videoCodec\":\"VP8\"}").count == 3)
        }
    }

    @Test func metricsComeWhenTheyAreAskedFor() async throws {
        try await withServer { server in
            _ = try await server.goLive("cam")
            let stream = try #require(
                try await server.found("stream/find", "{\"name\":\"cam\",\"display\":[\"metrics\"]}").first)
            #expect(stream["metrics"]?["VIDEO_PLI"] == .number("0"))
        }
    }

    @Test func nothingFoundIs404() async throws {
        try await withServer { server in
            let all = try await server.call("stream/find_all")
            #expect(all.isProblem(404))
            #expect(try await server.call("stream/find", "{\"name\":\"no\"}").isProblem(404))
            #expect(try await server.call("stream/terminate", "{\"name\":\"no\"}").isProblem(404))
        }
    }

    @Test func listsAreWholeUnlessAPartIsAskedFor() async throws {
        try await withServer { server in
            for index in 0..<5 { _ = try await server.goLive("s\(index)") }
            let all = try await server.found("stream/find_all")
            #expect(all.count == 5)
            let part = try await server.found("stream/find_all", "{\"offset\":1,\"size\":\"2\"}")
            #expect(part.compactMap { $0["name"] } == all[1...2].compactMap { $0["name"] })
            let get = try await server.call("stream/find_all?offset=4&size=9", nil, .get)
            guard case .array(let last) = try get.json() else { throw NotInTime() }
            #expect(last.count == 1)
            #expect(try await server.call("stream/find_all", "{\"offset\":5}").text == "[]")
            #expect(try await server.call("stream/find_all", "{\"offset\":-1}").isProblem(400, "offset"))
            #expect(try await server.call("stream/find_all?size=few", nil, .get).isProblem(400, "size"))
        }
    }

    @Test func terminateEndsPublisherAndPlayers() async throws {
        try await withServer { server in
            _ = try await server.goLive("cam")
            _ = try await server.goLive("stays")
            let viewer = try await server.webSocket()
            await viewer.play(StreamRequest(mediaSessionId: "v", name: "cam", sdp: Fixture.offer))
            try await eventually { server.media.state.withLock { $0.peers["player of cam"] != nil } }
            let done = try await server.call("stream/terminate", "{\"name\":\"cam\"}")
            #expect(done.status == .ok)
            #expect(done.body.readableBytes == 0)
            let info = await viewer.first { event -> String? in
                if case .status(let status) = event, status.status.isTerminal { status.info } else { nil }
            }
            #expect(info == "Stopped by publisher stop")
            #expect(try await server.found("stream/find_all").compactMap { $0["name"]?.text } == ["stays"])
            await viewer.close(.clientClosed)
        }
    }

    @Test func aPlayerAloneIsTerminatedByItsId() async throws {
        try await withServer { server in
            _ = try await server.goLive("cam")
            let viewer = try await server.webSocket()
            await viewer.play(StreamRequest(mediaSessionId: "v", name: "cam", sdp: Fixture.offer))
            #expect(try await server.call("stream/terminate", "{\"mediaSessionIds\":[\"v\"]}").status == .ok)
            let info = await viewer.first { event -> String? in
                if case .status(let status) = event, status.status.isTerminal { status.info } else { nil }
            }
            #expect(info == "Stopped by rest /terminate")
            #expect(await server.control.isAvailable("cam"))
            await viewer.close(.clientClosed)
        }
    }

    @Test(arguments: ["", "{}", "{\"name\":null}"])
    func terminateWithoutAFilterIs400(body: String) async throws {
        try await withServer { server in
            _ = try await server.goLive("cam")
            #expect(try await server.call("stream/terminate", body).isProblem(400))
            #expect(await server.control.isAvailable("cam"))
        }
    }

    @Test(arguments: [
        "[]", "{", "\"name\"", "{\"nme\":\"cam\"}", "{\"name\":{}}", "{\"published\":\"perhaps\"}",
        "{\"mediaSessionIds\":7}", "{\"width\":-1}",
    ])
    func whatDoesNotFitIs400(body: String) async throws {
        try await withServer { server in
            _ = try await server.goLive("cam")
            #expect(try await server.call("stream/find", body).isProblem(400))
            #expect(try await server.call("stream/terminate", body).isProblem(400))
            #expect(await server.control.isAvailable("cam"))
        }
    }

    @Test func aStreamEventReachesThePlayers() async throws {
        try await withServer { server in
            _ = try await server.goLive("cam")
            let viewer = try await server.webSocket()
            await viewer.play(StreamRequest(mediaSessionId: "v", name: "cam", sdp: Fixture.offer))
            try await eventually { server.media.state.withLock { $0.peers["player of cam"] != nil } }
            let peer = try #require(server.media.state.withLock { $0.peers["player of cam"] })
            server.media.send(.connected(peer))
            try await eventually { try await server.found("stream/find", "{\"status\":\"PLAYING\"}").count == 1 }
            let body = "{\"streamName\":\"cam\",\"payload\":{\"count\": 1.50}}"
            #expect(try await server.call("stream/event/send", body).status == .ok)
            let payload = await viewer.first { event -> String? in
                if case .streamEvent("v", "data", let payload) = event { payload?.text } else { nil }
            }
            #expect(payload == "{\"count\":1.50}")
            #expect(try await server.call("stream/event/send", "{\"streamName\":\"no\",\"payload\":1}").isProblem(404))
            #expect(try await server.call("stream/event/send", "{\"streamName\":\"cam\"}").isProblem(400, "payload"))
            let long = String(repeating: "x", count: 70_000)
            #expect(
                try await server.call("stream/event/send", "{\"streamName\":\"cam\",\"payload\":\"\(long)\"}")
                    .isProblem(413))
            await viewer.close(.clientClosed)
        }
    }

    @Test func whereRecordingIsSwitchedOffCallsSaySo() async throws {
        try await withServer { server in
            #expect(try await server.call("recording/find_all").isProblem(501))
            for path in ["stream/startRecording", "stream/stopRecording"] {
                let answer = try await server.call(path, "{\"mediaSessionId\":\"x\"}")
                #expect(answer.isProblem(501))
                #expect(try await server.call(path).isProblem(400, "mediaSessionId"))
            }
            #expect(try await server.call("multipleRecorder/find_all").isProblem(501))
            for path in ["startup", "terminate", "add", "remove"] {
                let id = path == "add" || path == "remove" ? ",\"mediaSessionId\":\"x\"" : ""
                let answer = try await server.call(
                    "multipleRecorder/\(path)", "{\"uri\":\"multi-recorder://a\"\(id)}")
                #expect(answer.isProblem(501))
                for bad in ["", "multi-recorder://", "mixer://a", String(repeating: "x", count: 300)] {
                    let answer = try await server.call("multipleRecorder/\(path)", "{\"uri\":\"\(bad)\"\(id)}")
                    #expect(answer.isProblem(400, "uri"))
                }
                #expect(try await server.call("multipleRecorder/\(path)").isProblem(400, "uri"))
            }
        }
    }

    @Test func aSnapshotIsAPNGInBase64() async throws {
        try await withServer { server in
            _ = try await server.goLive("cam")
            let answer = try await server.call("stream/snapshot", "{\"streamName\":\"cam\"}")
            #expect(answer.isProblem(501))
        }
        try await withServer(snapshots: Pictures()) { server in
            for name in ["png", "dark", "busy"] { _ = try await server.goLive(name) }
            let picture = try await server.call("stream/snapshot", "{\"streamName\":\"png\"}")
            #expect(picture.text == "{\"data\":\"iVBORw==\"}")
            #expect(try await server.call("stream/snapshot", "{\"streamName\":\"no\"}").isProblem(404))
            #expect(try await server.call("stream/snapshot", "{\"streamName\":\"dark\"}").isProblem(500, "key frame"))
            let busy = try await server.call("stream/snapshot", "{\"streamName\":\"busy\"}")
            #expect(busy.isProblem(503))
            #expect(busy.headers[.retryAfter] != nil)
        }
    }
}

/// Makes what the stream's name asks for.
private struct Pictures: SnapshotMaker {
    func snapshot(of publisher: PeerID, stream: String) async throws(SnapshotError) -> [UInt8] {
        switch stream {
        case "dark": throw .failed("no key frame")
        case "busy": throw .busy
        default: return [0x89, 0x50, 0x4e, 0x47]
        }
    }
}
