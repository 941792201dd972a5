import ControlPlane
import HTTPServer
import HummingbirdTesting
import Testing
import WeirJSON

@Suite struct CapacityTests {
    @Test func drainRefusesWhatIsNewAndLeavesWhatIsLive() async throws {
        try await withServer { server in
            _ = try await server.goLive("cam")
            let session = try await server.webSocket()
            #expect(try await server.send(.get, "/health/ready").status == .ok)
            #expect(try await server.call("drain").status == .ok)
            #expect(try await server.send(.get, "/health/ready").isProblem(503, "draining"))
            #expect(try await server.send(.get, "/health").isProblem(503, "draining"))
            #expect(try await server.send(.get, "/health/live").status == .ok)
            #expect(try await server.send(.get, "/capacity").json()["verdict"] == .string("draining"))
            let refused = try await server.post("/whep/cam")
            #expect(refused.isProblem(503, "draining"))
            #expect(refused.headers[.retryAfter] != nil)
            await session.play(StreamRequest(mediaSessionId: "v", name: "cam", sdp: Fixture.offer))
            let info = await session.first { event -> String? in
                if case .status(let status) = event { status.info } else { nil }
            }
            #expect(info == "Server is draining")
            #expect(await server.control.isAvailable("cam"))
            #expect(try await server.call("resume").status == .ok)
            #expect(try await server.send(.get, "/health/ready").status == .ok)
            #expect(try await server.post("/whep/cam").status == .created)
            await session.close(.clientClosed)
        }
    }

    @Test(arguments: [
        (ControlConfiguration.Limits(packetRate: 1_000), MachineLoad(packetRate: 1_000, cpu: 5), "packets per second"),
        (ControlConfiguration.Limits(cpu: 80), MachineLoad(packetRate: 9, cpu: 81), "processor load"),
    ])
    func loadBeyondALimitRefusesPublishersAndPlayers(
        limits: ControlConfiguration.Limits, load: MachineLoad, reason: String
    ) async throws {
        try await withServer(control: .patient(limits: limits)) { server in
            _ = try await server.goLive("cam")
            server.control.noteLoad(load)
            let capacity = try await server.send(.get, "/capacity").json()
            #expect(capacity["verdict"] == .string("full"))
            #expect(capacity["reason"]?.text?.contains(reason) == true)
            #expect(capacity["load"]?["cpu"]?.integer == Int(load.cpu))
            #expect(capacity["limits"]?["packetRate"]?.integer == limits.packetRate)
            #expect(try await server.post("/whip/new").isProblem(503))
            #expect(try await server.post("/whep/cam").isProblem(503))
            #expect(await server.control.isAvailable("cam"), "who is there stays")
            server.control.noteLoad(MachineLoad())
            #expect(try await server.send(.get, "/capacity").json()["verdict"] == .string("accepting"))
            #expect(try await server.post("/whep/cam").status == .created)
        }
    }

    @Test func limitsMayChangeWhileTheServerRuns() async throws {
        try await withServer { server in
            _ = try await server.goLive("cam")
            server.control.replaceLimits(.init(streams: 1, players: 0))
            #expect(try await server.send(.get, "/capacity").json()["verdict"] == .string("full"))
            #expect(try await server.post("/whip/second").isProblem(503))
            #expect(try await server.post("/whep/cam").isProblem(503))
            server.control.replaceLimits(.init())
            #expect(try await server.post("/whip/second").status == .created)
        }
    }
}

@Suite struct StatisticsTests {
    @Test func textHasSectionsAndKeys() async throws {
        try await withServer { server in
            _ = try await server.goLive("a;b")
            _ = try await server.post("/whep/a;b")
            let text = try await server.send(.get, "/?action=stat").text
            for line in [
                "-----Connection Stats-----", "connections=2", "connections_websocket=0", "-----Stream Stats-----",
                "streams_webrtc_in=1", "streams_webrtc_out=1", "streams_viewers=a%3Bb/1", "-----Core Stats-----",
                "core_threads=7",
            ] {
                #expect(text.split(separator: "\n").contains(Substring(line)), "\(line)")
            }
        }
    }

    @Test func publishersByRTSPAreCountedAsSuch() async throws {
        try await withServer { server in
            let request = ConnectRequest(remoteAddress: "192.0.2.7:4000", kind: .rtsp)
            let session = try await server.control.openSession(request)
            let text = try await server.send(.get, "/?action=stat").text
            for line in ["connections=1", "connections_rtsp=1", "streams_rtsp_in=0", "streams_webrtc_in=0"] {
                #expect(text.split(separator: "\n").contains(Substring(line)), "\(line)")
            }
            await session.close(.clientClosed)
        }
    }

    @Test func jsonHasTheGroupsThatAreAskedFor() async throws {
        try await withServer { server in
            let all = try await server.send(.get, "/?action=stat&format=json").json()
            #expect(all["streams_stats"]?["streams_webrtc_in"] == .number("0"))
            let some = try await server.send(.get, "/?action=stat&format=json&groups=core_stats,connections_stats")
            guard case .object(let groups) = try some.json() else { throw NotInTime() }
            #expect(groups.map(\.name) == ["connections_stats", "core_stats"])
            let head = try await server.send(.head, "/?action=stat")
            #expect(head.status == .ok)
            #expect(head.body.readableBytes == 0)
            #expect(try await server.send(.get, "/?action=other").headers[.contentType] != "application/json")
        }
    }
}
