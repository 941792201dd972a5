import ControlPlane
import Testing

/// A client that comes back with the token of its earlier session (signalling 2.5).
@Suite("Re-attachment", .timeLimit(.minutes(4)))
struct ReattachTests {
    private func open(
        _ plant: Plant, keepAlive: Bool = true, profile: String = #"{"n":1}"#, from address: String = "192.0.2.1:5000"
    ) async throws -> Client {
        let request = ConnectRequest(
            remoteAddress: address, custom: JSONText(#"{"login":"ann"}"#), keepAlive: keepAlive,
            profile: JSONText(profile))
        return Client(try await plant.plane.openSession(request), plant)
    }

    private func reattach(_ plant: Plant, _ token: String) async throws -> Client {
        Client(try await plant.plane.reattach(token: token, ConnectRequest(remoteAddress: "198.51.100.7:1")), plant)
    }

    private func expectRefused(
        _ plant: Plant, _ token: String, here: SourceLocation = #_sourceLocation
    ) async {
        await #expect(throws: SignallingError.sessionDoesNotExist, sourceLocation: here) {
            _ = try await reattach(plant, token)
        }
    }

    @Test func aLostSessionGoesOnUnderItsIdAndToken() async throws {
        try await withPlant { plant in
            let first = try await open(plant)
            try await first.publish("a")
            await first.session.close(.connectionLost)
            let second = try await reattach(plant, first.session.authToken)
            #expect(second.session !== first.session)
            #expect(second.session.id == first.session.id)
            #expect(second.session.authToken == first.session.authToken)
            #expect(second.session.facts.custom == JSONText(#"{"login":"ann"}"#))
            #expect(second.session.facts.remoteAddress == "198.51.100.7:1", "the new connection's own address counts")
            #expect(second.session.request.profile == JSONText(#"{"n":1}"#))
            #expect(await plant.plane.session(first.session.id) === second.session)
            // Streams are not resumed, but their names are free.
            try await second.publish("a")
            await second.session.close(.clientClosed)
            let third = try await reattach(plant, first.session.authToken)
            #expect(third.session.id == first.session.id, "it may happen again")
            let heard = try await plant.hooks.state.wait { $0.heard.count { $0 == "connected" } == 3 }.heard
            #expect(
                heard == [
                    "connected", "a PENDING", "a PUBLISHING", "a UNPUBLISHED", "ended: connection lost",
                    "connected", "a PENDING", "a PUBLISHING", "a UNPUBLISHED", "ended: closed by client", "connected",
                ])
        }
    }

    @Test func aConnectionThatStillHoldsTheSessionIsReplaced() async throws {
        try await withPlant { plant in
            let first = try await open(plant)
            try await first.publish("a")
            let second = try await reattach(plant, first.session.authToken)
            // The name is free at once, also if the client publishes in its first message.
            try await second.publish("a2")
            try await first.expect("a", .unpublished, "Stopped by session disconnect")
            #expect(await first.next() == .closing(.replaced))
            #expect(await plant.plane.session(first.session.id) === second.session)
            #expect(plant.gauge("weir_control_sessions") == 1)
        }
    }

    @Test func onlyASessionThatAskedForItIsKept() async throws {
        try await withPlant { plant in
            let plain = try await open(plant, keepAlive: false)
            await expectRefused(plant, plain.session.authToken)
            try await plain.publish("a")
            await plain.session.close(.connectionLost)
            await expectRefused(plant, plain.session.authToken)
            await expectRefused(plant, "token-1")
            await expectRefused(plant, plain.session.id)
            #expect(plant.rejections("sessionDoesNotExist") == 4)
        }
    }

    @Test(arguments: [SessionCloseReason.protocolError("x"), .terminated])
    func whoWasSentAwayDoesNotComeBack(reason: SessionCloseReason) async throws {
        try await withPlant { plant in
            let client = try await open(plant)
            await client.session.close(reason)
            await expectRefused(plant, client.session.authToken)
        }
    }

    @Test(arguments: [SessionCloseReason.keepAliveTimeout, .slowReader, .clientClosed])
    func whoWasLostMayComeBack(reason: SessionCloseReason) async throws {
        try await withPlant { plant in
            let client = try await open(plant)
            await client.session.close(reason)
            _ = try await reattach(plant, client.session.authToken)
        }
    }

    @Test func aKeptSessionIsForgottenInTime() async throws {
        try await withPlant(ControlConfiguration(reattachTime: .seconds(60))) { plant in
            let early = try await open(plant)
            let late = try await open(plant)
            await early.session.close(.connectionLost)
            plant.clock.advance(by: .seconds(30))
            await late.session.close(.connectionLost)
            plant.clock.advance(by: .seconds(30))
            await expectRefused(plant, early.session.authToken)
            _ = try await reattach(plant, late.session.authToken)
        }
    }

    @Test func keepingCanBeSwitchedOff() async throws {
        try await withPlant(ControlConfiguration(reattachTime: .zero)) { plant in
            let client = try await open(plant)
            await client.session.close(.connectionLost)
            await expectRefused(plant, client.session.authToken)
        }
    }

    @Test func theBackendIsAskedAgain() async throws {
        try await withPlant { plant in
            let client = try await open(plant)
            await client.session.close(.connectionLost)
            plant.hooks.state.update { $0.connect = .refuse(code: 403, reason: "Forbidden") }
            await #expect(throws: SignallingError.refused(code: 403, reason: "Forbidden")) {
                _ = try await reattach(plant, client.session.authToken)
            }
            plant.hooks.state.update { $0.connect = .allow }
            await expectRefused(plant, client.session.authToken)
        }
    }

    @Test func aFullServerLosesNoKeptSession() async throws {
        try await withPlant(ControlConfiguration(limits: .init(sessions: 1))) { plant in
            let client = try await open(plant)
            await client.session.close(.connectionLost)
            let other = try await open(plant, keepAlive: false)
            await #expect(throws: SignallingError.tooManySessions) {
                _ = try await reattach(plant, client.session.authToken)
            }
            await other.session.close(.clientClosed)
            _ = try await reattach(plant, client.session.authToken)
        }
    }

    @Test func whatIsKeptIsBounded() async throws {
        try await withPlant(ControlConfiguration(limits: .init(sessions: 2))) { plant in
            var tokens: [String] = []
            for _ in 0..<3 {
                let client = try await open(plant)
                await client.session.close(.connectionLost)
                tokens.append(client.session.authToken)
            }
            await expectRefused(plant, tokens[0])
            let large = try await open(plant, profile: "\"\(String(repeating: "x", count: 65_536))\"")
            await large.session.close(.connectionLost)
            await expectRefused(plant, large.session.authToken)
            // Coming and going, the same client takes no more room: the other one stays.
            for _ in 0..<200 { await (try reattach(plant, tokens[1])).session.close(.connectionLost) }
            _ = try await reattach(plant, tokens[2])
        }
    }

    @Test func oneAddressCannotFillTheRoom() async throws {
        try await withPlant { plant in
            let guest = try await open(plant, from: "203.0.113.9:1")
            await guest.session.close(.connectionLost)
            var last = ""
            for _ in 0..<101 {
                let client = try await open(plant)
                await client.session.close(.connectionLost)
                last = client.session.authToken
            }
            await expectRefused(plant, last)
            _ = try await reattach(plant, guest.session.authToken)
        }
    }

    @Test func whoComesBackTwiceAtOnceGetsOneSession() async throws {
        try await withPlant { plant in
            let client = try await open(plant)
            await client.session.close(.connectionLost)
            let (plane, token) = (plant.plane, client.session.authToken)
            let results = await withTaskGroup(of: Bool.self) { group in
                for _ in 0..<20 {
                    group.addTask {
                        (try? await plane.reattach(token: token, ConnectRequest(remoteAddress: "192.0.2.1:1"))) != nil
                    }
                }
                return await group.reduce(into: [Bool]()) { $0.append($1) }
            }
            #expect(results.contains(true))
            #expect(plant.gauge("weir_control_sessions") <= 1)
        }
    }
}
