import ControlPlane
import Testing
import WCS
import WeirJSON

/// Data, pictures and figures of clients on the wire.
@Suite("Diagnostics on the wire", .timeLimit(.minutes(4)))
struct DiagnosticTests {
    private struct Picture: SnapshotMaker {
        let bytes: Int

        func snapshot(of publisher: PeerID, stream: String) async throws(SnapshotError) -> [UInt8] {
            [UInt8](repeating: 0, count: bytes)
        }
    }

    /// A picture is longer than all that may wait for a client; one that reads gets it.
    @Test func aLongPictureArrivesWhole() async throws {
        let bytes = 6_000_000
        try await TestServer.run({ $0.maxQueuedBytes = 1 << 20 }, snapshots: Picture(bytes: bytes)) { server in
            let client = try await TestClient.session(server.port)
            try await client.send(
                #"{"message":"publishStream","data":[{"mediaSessionId":"p","name":"n","sdp":"x"}]}"#)
            #expect(try await client.status()["status"]?.text == "PUBLISHING")
            try await client.send(#"{"message":"snapshot","data":[{"name":"n","mediaSessionId":"ff"}]}"#)
            var picture: Frame?
            while picture == nil, let frame = await client.next() {
                if frame.payload.count > bytes { picture = frame }
            }
            let head =
                #"{"message":"notifyStreamEvent","data":[{"mediaSessionId":"ff","type":"snapshotCompleted","#
                + #""payload":{"snapshot":"AAAA"#
            #expect(picture?.text.hasPrefix(head) == true)
            #expect(picture?.payload.count == head.utf8.count - 4 + bytes / 3 * 4 + 5)
            try await client.send(#"{"message":"ping","data":[null]}"#)
            #expect(try await client.message("pong").first == .null)
        }
    }

    @Test func dataOfTheOperatorReachesTheClient() async throws {
        try await TestServer.run { server in
            let client = try await TestClient.session(server.port)
            try await client.send(
                #"{"message":"publishStream","data":[{"mediaSessionId":"p","name":"n","sdp":"x"}]}"#)
            #expect(try await client.status()["status"]?.text == "PUBLISHING")
            let session = try #require(await server.control.streams().first?.sessionId)
            let delivery = await server.control.sendData(
                to: [session], operationId: "op", payload: JSONText(#"{"a":[1.50]}"#))
            #expect(delivery == DataDelivery(sent: 1, missing: []))
            #expect(
                try await client.message("OnDataEvent").first.serialized
                    == #"{"operationId":"op","payload":{"a":[1.50]}}"#)
            // Old clients acknowledge, which nobody needs.
            try await client.send(#"{"message":"DataStatusEvent","data":[{"operationId":"op","status":"ACCEPTED"}]}"#)
            try await client.send(#"{"message":"ping","data":[null]}"#)
            #expect(try await client.message("pong").first == .null)
        }
    }

    @Test(arguments: [true, false]) func clientsAreAskedForFiguresOnlyIfWanted(wanted: Bool) async throws {
        try await TestServer.run({ $0.metricsDescription = wanted ? ClientMetricsDescription.json : nil }) { server in
            let client = try await TestClient.open(server.port)
            try await client.send(
                #"{"message":"connection","data":[{"webRTCMetricsServerDescription":{"types":{}}}]}"#)
            let user = try await client.message("getUserData").first
            let description = user["webRTCMetricsServerDescription"]
            #expect((description != nil) == wanted)
            guard wanted else { return }
            #expect(description?["sampling"]?.integer == 2_000 && description?["batchSize"]?.integer == 5)
            #expect(description?["types"]?["inbound-rtp"]?["metrics"]?.text?.contains("packetsLost") == true)
        }
    }

    @Test(arguments: [
        (
            #"{"message":"webRTCMetricsClientDescription","data":[{"mediaSessionId":"m","headers":"a.1.b,a.1.c"}]}"#,
            WCSRequest.metricsDescription(mediaSessionId: "m", headers: "a.1.b,a.1.c")
        ),
        (
            #"{"message":"webRTCMetricsBatch","data":[{"mediaSessionId":"m","metrics":["1;2",";3"]}]}"#,
            .metricsBatch(mediaSessionId: "m", samples: ["1;2", ";3"])
        ),
        (
            #"{"message":"webRTCMetricsBatch","data":[{"mediaSessionId":"m","metrics":"H4sIAAAA"}]}"#,
            .metricsBatch(mediaSessionId: "m", samples: [])
        ),
        (#"{"message":"webRTCMetricsBatch","data":[null]}"#, .metricsBatch(mediaSessionId: "", samples: [])),
    ])
    func figuresAreUnderstood(text: String, request: WCSRequest) throws {
        #expect(try WCSCodec.decode(Array(text.utf8)) == request)
    }
}
