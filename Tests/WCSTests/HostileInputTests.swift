import ControlPlane
import NIOCore
import Testing
import WCS

/// Input that means harm. Each is refused, counted, and leaves the other clients alone.
@Suite(.serialized, .timeLimit(.minutes(4))) struct HostileInputTests {
    /// Runs an attack on its own connections while another client lives; that client must still be served afterwards.
    private func attack(
        _ change: (inout WCSConfiguration) -> Void = { _ in }, _ body: (TestServer) async throws -> Void
    ) async throws {
        try await TestServer.run(change) { server in
            let bystander = try await TestClient.session(server.port)
            try await body(server)
            try await bystander.send(#"{"message":"availableStream","data":[{"mediaSessionId":"e","name":"n"}]}"#)
            #expect(
                try await bystander.message("availableStream").first.serialized
                    == #"{"id":"e","status":"false","info":"Stream not found"}"#)
        }
    }

    @Test func tenMegabytesAreRefusedByTheirLength() async throws {
        try await attack { server in
            let client = try await TestClient.session(server.port)
            try? await client.frame(1, [UInt8](repeating: 0x20, count: 10_000_000))
            #expect(await [1009, 1006].contains(client.closeCode()))
            await server.expectRejected("message_too_long")
        }
    }

    @Test func longFrameIsRefusedBeforeItsPayload() async throws {
        try await attack { server in
            let client = try await TestClient.session(server.port)
            try await client.raw([0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4])
            #expect(await client.closeCode() == 1009)
            let other = try await TestClient.session(server.port)
            try await other.raw([0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4])
            #expect(await other.closeCode() == 1009)
        }
    }

    @Test func fragmentsAreAssembled() async throws {
        try await attack { server in
            let client = try await TestClient.session(server.port)
            let bytes = Array(#"{"message":"ping","data":["ж"]}"#.utf8)
            for (index, byte) in bytes.enumerated() {
                try await client.frame(index == 0 ? 1 : 0, [byte], isFinal: index == bytes.count - 1)
                if index == 5 { try await client.frame(9, [7]) }  // control frames may come between
            }
            #expect(try await client.message("pong").first == .null)
        }
    }

    @Test func aMessageOf256KiloBytesIsAccepted() async throws {
        try await attack { server in
            let client = try await TestClient.session(server.port)
            let logs = String(repeating: "x", count: 256_000)
            for _ in 0..<3 { try await client.send(#"{"message":"pushLogs","data":[{"logs":"\#(logs)"}]}"#) }
            try await client.send(#"{"message":"ping","data":[null]}"#)
            #expect(try await client.message("pong").first == .null)
        }
    }

    @Test func endlessFragmentsAreCutByNumber() async throws {
        try await attack({ $0.maxFragments = 50 }) { server in
            let client = try await TestClient.session(server.port)
            for index in 0..<60 { try? await client.frame(index == 0 ? 1 : 0, [0x20], isFinal: false) }
            #expect(await client.closeCode() == 1008)
            await server.expectRejected("too_many_fragments")
        }
    }

    @Test func endlessFragmentsAreCutBySize() async throws {
        try await attack({ $0.maxMessageBytes = 10_000 }) { server in
            let client = try await TestClient.session(server.port)
            let part = [UInt8](repeating: 0x20, count: 4_000)
            for index in 0..<4 { try? await client.frame(index == 0 ? 1 : 0, part, isFinal: false) }
            #expect(await client.closeCode() == 1009)
            await server.expectRejected("message_too_long")
        }
    }

    @Test func endlessFragmentsAreCutByTime() async throws {
        try await attack({ $0.fragmentTimeout = .seconds(1) }) { server in
            let client = try await TestClient.session(server.port)
            try await client.frame(1, [0x20], isFinal: false)
            #expect(await client.closeCode() == 1008)
            await server.expectRejected("fragment_timeout")
        }
    }

    @Test func deepJSONIsRefusedAndTheConnectionGoesOn() async throws {
        try await attack { server in
            let client = try await TestClient.session(server.port)
            try await client.send(String(repeating: "[", count: 1_000_000))
            try await client.send(String(repeating: #"{"a":"#, count: 200_000))
            try await client.send("[" + String(repeating: "0,", count: 400_000) + "0]")
            try await client.send(#"{"message":"ping"}"#)
            #expect(try await client.message("pong").first == .null)
            #expect(server.rejected("json_too_deep") == 2)
            #expect(server.rejected("json_too_many_values") == 1)
        }
    }

    @Test func badTextsAreIgnoredUntilThereAreTooMany() async throws {
        try await attack({ $0.maxRejectedMessages = 20 }) { server in
            let client = try await TestClient.session(server.port)
            for text in ["", "{", "[]", "null", #"{"message":5,"data":[]}"#] { try await client.send(text) }
            try await client.send(#"{"message":"abc","data":[{}]}"#)
            try await client.send(#"{"message":"ping"}"#)
            #expect(try await client.message("pong").first == .null)
            #expect(server.rejected("json_malformed") == 2)
            #expect(server.rejected("not_an_envelope") == 3)
            #expect(server.rejected("unknown_message") == 1)
            for _ in 0..<20 { try? await client.send("{") }
            #expect(await client.closeCode() == 1008)
            await server.expectRejected("too_many_rejected")
        }
    }

    @Test func binaryFramesAreIgnored() async throws {
        try await attack { server in
            let client = try await TestClient.session(server.port)
            try await client.frame(2, [0, 1, 2])
            try await client.frame(2, [0, 1, 2], isFinal: false)
            try await client.frame(0, [3], isFinal: true)
            try await client.send(#"{"message":"ping"}"#)
            #expect(try await client.message("pong").first == .null)
            #expect(server.rejected("binary_message") == 2)
        }
    }

    @Test func badUTF8EndsTheConnection() async throws {
        try await attack { server in
            let client = try await TestClient.session(server.port)
            try await client.frame(1, Array(#"{"message":"#.utf8) + [0x22, 0xff, 0xfe, 0x22, 0x7d])
            #expect(await client.closeCode() == 1007)
            await server.expectRejected("bad_utf8")
        }
    }

    @Test(arguments: ["unmasked", "reserved bit", "unknown opcode", "continuation", "nested", "long ping", "bad close"])
    func brokenFramesEndTheConnection(_ kind: String) async throws {
        try await attack { server in
            let client = try await TestClient.session(server.port)
            let text = Array(#"{"message":"ping"}"#.utf8)
            switch kind {
            case "unmasked": try await client.frame(1, text, masked: false)
            case "reserved bit": try await client.frame(1, text, reserved: 4)
            case "unknown opcode": try await client.frame(3, text)
            case "continuation": try await client.frame(0, text)
            case "nested":
                try await client.frame(1, text, isFinal: false)
                try await client.frame(1, text)
            case "long ping": try await client.raw([0x89, 0xfe, 0x00, 0x7e, 1, 2, 3, 4])
            default: try await client.frame(8, [3])
            }
            #expect(await client.closeCode() == 1002)
            await server.expectRejected("frame_protocol")
        }
    }

    @Test func pingAndCloseFramesAreAnswered() async throws {
        try await attack { server in
            let client = try await TestClient.open(server.port)
            try await client.frame(9, [1, 2, 3])
            #expect(await client.next() == Frame(opcode: 10, payload: [1, 2, 3]))
            try await client.frame(8, [0x03, 0xe8, 0x62])
            #expect(await client.next() == Frame(opcode: 8, payload: [0x03, 0xe8]))
            #expect(await client.next() == nil)
        }
    }

    @Test func whoeverDoesNotUpgradeIsToldAndTimedOut() async throws {
        try await attack({ $0.handshakeTimeout = .seconds(1) }) { server in
            let plain = try await TestClient.open(server.port, request: "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            #expect(plain.response.hasPrefix("HTTP/1.1 426"))
            await server.expectRejected("not_websocket")
            let slow = try? await TestClient.open(server.port, request: "GET / HT")
            #expect(slow?.response ?? "" == "")
            await server.expectRejected("handshake_timeout")
            _ = try? await TestClient.open(server.port, request: "\u{1}\u{2}\u{3}\r\n\r\n")
            await server.expectRejected("not_websocket", atLeast: 2)
        }
    }

    @Test func whoeverSendsNoConnectionIsTimedOut() async throws {
        try await attack({ $0.firstMessageTimeout = .seconds(1) }) { server in
            // A machine that stands still for so long may have closed it before the client has read a word.
            if let client = try? await TestClient.open(server.port) {
                try? await client.send(#"{"message":"ping"}"#)
                #expect(await client.closeCode() == 1008)
            }
            await server.expectRejected("first_message_timeout")
        }
    }

    @Test func connectionsAreLimitedInAllAndPerAddress() async throws {
        try await attack({ $0.connections = ConnectionBudget(limit: 100, limitPerAddress: 2) }) { server in
            let second = try await TestClient.session(server.port)
            await #expect(throws: (any Error).self) { try await TestClient.session(server.port) }
            #expect(server.rejected("too_many_from_address") == 1)
            try await second.channel.close().get()
            for _ in 0..<6_000 {
                if (try? await TestClient.session(server.port)) != nil { return }
                try await Task.sleep(for: .milliseconds(10))
            }
            Issue.record("the place of a closed connection is not given to another")
        }
        try await attack({ $0.connections = ConnectionBudget(limit: 1, limitPerAddress: 1) }) { server in
            await #expect(throws: (any Error).self) { try await TestClient.session(server.port) }
            #expect(server.rejected("too_many_connections") == 1)
        }
    }

    @Test func slowReaderIsDisconnected() async throws {
        try await attack({
            $0.maxQueuedBytes = 200_000
            $0.keepAlive = .none
        }) { server in
            let publisher = try await TestClient.session(server.port)
            try await publisher.send(
                #"{"message":"publishStream","data":[{"mediaSessionId":"p","name":"n","sdp":"x"}]}"#)
            _ = try await publisher.status()
            let slow = try await TestClient.session(server.port)
            try await slow.send(#"{"message":"playStream","data":[{"mediaSessionId":"v","name":"n","sdp":"x"}]}"#)
            _ = try await slow.status()
            try await slow.channel.setOption(.autoRead, value: false).get()
            let payload = String(repeating: "x", count: 60_000)
            for _ in 0..<400 where server.rejected("slow_reader") == 0 {
                try await publisher.send(
                    #"{"message":"sendStreamEvent","data":[{"mediaSessionId":"p","type":"data","payload":"\#(payload)"}]}"#
                )
            }
            await server.expectRejected("slow_reader")
            // The publisher has not noticed.
            try await publisher.send(#"{"message":"unPublishStream","data":[{"mediaSessionId":"p"}]}"#)
            #expect(try await publisher.status()["status"]?.text == "UNPUBLISHED")
        }
    }

    @Test func floodOfPingsWithoutReadingIsCut() async throws {
        try await attack({
            $0.maxQueuedMessages = 100
            $0.keepAlive = .none
        }) { server in
            let client = try await TestClient.session(server.port)
            try await client.channel.setOption(.autoRead, value: false).get()
            let pings = (0..<2_000).flatMap { _ in TestClient.bytes(9, [UInt8](repeating: 1, count: 125)) }
            for _ in 0..<200 where server.rejected("slow_reader") == 0 { try? await client.raw(pings) }
            await server.expectRejected("slow_reader")
        }
    }

    @Test func burstOfRequestsIsServedInOrder() async throws {
        try await attack({
            $0.maxPendingRequests = 4
            $0.keepAliveInterval = .seconds(60)
        }) { server in
            let client = try await TestClient.session(server.port)
            let count = 3_000
            let burst = (0..<count).flatMap {
                TestClient.bytes(
                    1, Array(#"{"message":"availableStream","data":[{"mediaSessionId":"\#($0)","name":"n"}]}"#.utf8))
            }
            try await client.raw(burst)
            for index in 0..<count {
                let id = try await client.message("availableStream").first["id"]?.text
                guard id == "\(index)" else {
                    Issue.record("\(id ?? "nothing") instead of \(index)")
                    return
                }
            }
        }
    }

    @Test func mutatedMessagesDoNotHurt() async throws {
        try await attack({ $0.maxRejectedMessages = 1_000_000 }) { server in
            var generator = Seeded(state: 99)
            var client = try await TestClient.session(server.port)
            for _ in 0..<3_000 {
                guard let message = SDKMessages.all.randomElement(using: &generator) else { return }
                let bytes = mutate(Array(message.text.utf8), &generator)
                if !client.channel.isActive { client = try await TestClient.session(server.port) }
                try? await client.frame(1, bytes)
            }
        }
    }

    @Test func mutatedFramesDoNotHurt() async throws {
        try await attack { server in
            var generator = Seeded(state: 5)
            let text = Array(#"{"message":"availableStream","data":[{"mediaSessionId":"e","name":"n"}]}"#.utf8)
            for _ in 0..<200 {
                let client = try await TestClient.session(server.port)
                for _ in 0..<5 { try? await client.raw(mutate(TestClient.bytes(1, text), &generator)) }
                client.channel.close(promise: nil)
            }
        }
    }
}
