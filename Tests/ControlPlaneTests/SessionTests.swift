import ControlPlane
import TestSupport
import Testing

@Suite("Sessions, races and limits", .timeLimit(.minutes(4)))
struct SessionTests {
    @Test func sessionsHaveTheirOwnUnguessableNames() async throws {
        try await withPlant { plant in
            let ann = try await plant.client().session
            let bob = try await plant.client().session
            #expect(Set([ann.id, bob.id, ann.authToken, bob.authToken]).count == 4)
            #expect(ann.authToken.utf8.count == 32)
            #expect(await plant.plane.session(ann.id) === ann)
        }
    }

    @Test func aLostSessionEndsAllItsStreams() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            let bob = try await plant.client()
            let publisher = try await ann.publish("a")
            try await bob.publish("other", "other")
            try await ann.play("b", "other")
            try await bob.play("c")
            await ann.session.close(.connectionLost)
            await ann.session.close(.clientClosed)
            let open = plant.media.state.value.open
            #expect(!open.contains(publisher), "close returns when the peers are freed")
            try await ann.expect("b", .stopped, "Stopped by session disconnect")
            try await ann.expect("a", .unpublished, "Stopped by session disconnect")
            #expect(await ann.next() == .closing(.connectionLost))
            #expect(await ann.next() == nil)
            try await bob.expect("c", .failed, "Stopped by publisher stop")
            #expect(await plant.plane.session(ann.session.id) == nil)
            try await bob.publish("a")
            await ann.session.publish(ann.request("late", "late"))
            #expect(await plant.plane.streams().map(\.name) == ["cam", "other"])
        }
    }

    @Test func aSessionClosedWhileTheMediaSideAnswersLeavesNothing() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            let latch = Latch()
            plant.media.script("cam", .hold(latch))
            await ann.session.publish(ann.request("a"))
            let peer = try await plant.media.nextCall().peer
            await ann.session.close(.connectionLost)
            #expect(await plant.plane.streams().isEmpty)
            latch.open()
            try await plant.media.state.wait { $0.closed.contains(peer) && $0.open.isEmpty }
            let events = await ann.rest()
            #expect(events.count == 2 && events.last == .closing(.connectionLost))
        }
    }

    @Test func aSessionClosedWhileTheBackendIsAskedLeavesNothing() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            let latch = Latch()
            plant.hooks.state.update { $0.hold = latch }
            await ann.session.publish(ann.request("a"))
            try await plant.hooks.state.wait { $0.asked == 2 }
            await ann.session.close(.clientClosed)
            latch.open()
            let bob = try await plant.client()
            try await bob.publish("b")
            #expect(plant.media.state.value.calls.count == 1)
        }
    }

    @Test func aPublisherLeavesWhileAPlayIsAnswered() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            let bob = try await plant.client()
            try await ann.publish("a")
            let latch = Latch()
            plant.media.script("cam", .hold(latch))
            await bob.session.play(bob.request("b"))
            let player = try await plant.media.nextCall().peer
            await ann.session.close(.connectionLost)
            try await bob.expect("b", .failed, "Stopped by publisher stop")
            latch.open()
            try await plant.media.state.wait { $0.closed.contains(player) && $0.open.isEmpty }
            plant.media.script("cam", .answer(FakeMedia.both))
            try await bob.publish("b")
        }
    }

    @Test func aPublisherLeavesWhileAPlayerConnects() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            let bob = try await plant.client()
            let publisher = try await ann.publish("a")
            let player = try await bob.beginPlay("b")
            plant.media.send(.failed(publisher, .iceKeepAlive))
            plant.media.send(.connected(player))
            try await bob.expect("b", .failed, "Stopped by publisher stop")
            try await bob.publish("b")
        }
    }

    @Test func oneOfAThousandSimultaneousPublishersGetsTheName() async throws {
        try await withPlant { plant in
            var sessions: [ClientSession] = []
            for _ in 0..<1000 { sessions.append(try await plant.client().session) }
            let winners = await withTaskGroup(of: Bool.self) { group in
                for (index, session) in sessions.enumerated() {
                    group.addTask {
                        await session.publish(StreamRequest(mediaSessionId: "m\(index)", name: "cam", sdp: "OFFER"))
                        for await event in session.events {
                            switch event {
                            case .remoteSDP: return true
                            case .status(let status) where status.status == .failed:
                                #expect(status.info == "Stream name is already in use")
                                return false
                            default: continue
                            }
                        }
                        return false
                    }
                }
                return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
            }
            #expect(winners == 1)
            #expect(plant.media.state.value.calls.count == 1)
        }
    }

    @Test func aClientThatDoesNotReadIsClosed() async throws {
        try await withPlant(ControlConfiguration(eventQueueLimit: 8)) { plant in
            let ann = try await plant.client()
            let bob = try await plant.client()
            let player = try await bob.beginPlayOf(ann)
            for _ in 0..<8 {
                await ann.session.sendStreamEvent(mediaSessionId: "a", type: "data", payload: JSONText("1"))
            }
            #expect(await bob.session.closeReason == nil)
            await ann.session.sendStreamEvent(mediaSessionId: "a", type: "data", payload: JSONText("2"))
            try await plant.media.waitUntilClosed(player)
            let events = await bob.rest()
            #expect(events.count == 10, "what was queued, and the closing")
            #expect(events.last == .closing(.slowReader))
            #expect(await plant.plane.isAvailable("cam"), "the publisher goes on")
        }
    }

    @Test func aSessionWhoseAdapterStoppedReadingIsClosed() async throws {
        try await withPlant { plant in
            let session = try await plant.plane.openSession(ConnectRequest(remoteAddress: "192.0.2.1:1"))
            let reader = Task { for await _ in session.events {} }
            reader.cancel()
            await reader.value
            await session.available(mediaSessionId: "q", name: "none")
            try await plant.hooks.state.wait { $0.heard.last == "ended: connection lost" }
        }
    }

    @Test func limitsOfSessions() async throws {
        let limits = ControlConfiguration.Limits(sessions: 3, sessionsPerAddress: 2)
        try await withPlant(ControlConfiguration(limits: limits)) { plant in
            let ann = try await plant.client(from: "192.0.2.1:1")
            _ = try await plant.client(from: "192.0.2.1:2")
            await #expect(throws: SignallingError.tooManySessionsFromAddress) {
                _ = try await plant.client(from: "::ffff:192.0.2.1")
            }
            _ = try await plant.client(from: "[2001:db8::1]:3")
            await #expect(throws: SignallingError.tooManySessions) { _ = try await plant.client(from: "192.0.2.9:1") }
            await ann.session.close(.clientClosed)
            _ = try await plant.client(from: "192.0.2.1:3")
            #expect(plant.rejections("tooManySessions") == 1)
            #expect(plant.rejections("tooManySessionsFromAddress") == 1)
            #expect(plant.gauge("weir_control_sessions") == 3)
        }
    }

    @Test func ipv6IsCountedByNetwork() async throws {
        let limits = ControlConfiguration.Limits(sessionsPerAddress: 1)
        try await withPlant(ControlConfiguration(limits: limits)) { plant in
            _ = try await plant.client(from: "[2001:db8::1]:3")
            await #expect(throws: SignallingError.tooManySessionsFromAddress) {
                _ = try await plant.client(from: "2001:db8::ffff:1")
            }
            _ = try await plant.client(from: "[2001:db8:0:1::1]:3")
        }
    }

    @Test func limitsOfStreamsAndPlayers() async throws {
        let limits = ControlConfiguration.Limits(streams: 2, players: 3, playersPerStream: 2, streamsPerSession: 4)
        try await withPlant(ControlConfiguration(limits: limits)) { plant in
            let ann = try await plant.client()
            let bob = try await plant.client()
            try await ann.publish("a", "one")
            try await ann.publish("b", "two")
            await bob.session.publish(bob.request("c", "three"))
            try await bob.expect("c", .failed, "Limit of published streams is reached")
            try await ann.play("d", "one")
            try await ann.play("e", "one")
            await bob.session.play(bob.request("f", "one"))
            try await bob.expect("f", .failed, "Limit of players of this stream is reached")
            await ann.session.play(ann.request("g", "two"))
            try await ann.expect("g", .failed, "Limit of streams of this session is reached")
            try await bob.play("h", "two")
            await bob.session.play(bob.request("i", "two"))
            try await bob.expect("i", .failed, "Limit of players is reached")
            await ann.session.stop(mediaSessionId: "d")
            try await ann.expect("d", .stopped, "Stopped by user")
            try await bob.play("i", "one")
            for reason in ["streams", "players", "playersPerStream", "streamsPerSession"] {
                #expect(plant.rejections("limitOf\(reason)") == 1)
            }
        }
    }

    @Test func viewersWithoutASessionTakePlacesOfPlayers() async throws {
        let limits = ControlConfiguration.Limits(players: 3, playersPerStream: 2)
        try await withPlant(ControlConfiguration(limits: limits)) { plant in
            let ann = try await plant.client()
            #expect(plant.plane.takePlace(of: "one").refusal == ViewerRefusal(code: 404, info: "Stream not found"))
            let peer = try await ann.publish("a", "one")
            try await ann.publish("b", "two")
            let first = try plant.plane.takePlace(of: "one").get()
            let second = try plant.plane.takePlace(of: "one").get()
            #expect(first.publisher == peer && plant.plane.capacity.players == 2)
            #expect(
                plant.plane.takePlace(of: "one").refusal
                    == ViewerRefusal(code: 503, info: "Limit of players of this stream is reached"))
            await ann.session.play(ann.request("c", "one"))
            try await ann.expect("c", .failed, "Limit of players of this stream is reached")
            let third = try plant.plane.takePlace(of: "two").get()
            #expect(
                plant.plane.takePlace(of: "two").refusal
                    == ViewerRefusal(code: 503, info: "Limit of players is reached"))
            #expect(await plant.plane.streams().map(\.viewers) == [2, 1])
            first.giveBack()
            first.giveBack()
            #expect(plant.plane.capacity.players == 2)
            // A place outlives its stream, and is not one of the next publisher's.
            await ann.session.stop(mediaSessionId: "a")
            try await ann.expect("a", .unpublished, "Stopped by user")
            try await ann.publish("d", "one")
            second.giveBack()
            third.giveBack()
            #expect(await plant.plane.streams().map(\.viewers) == [0, 0])
            #expect(plant.plane.capacity.players == 0)
            plant.plane.setDraining(true)
            #expect(plant.plane.takePlace(of: "one").refusal?.code == 503)
            plant.plane.setDraining(false)
        }
    }

    @Test func theBackendAndItsApplicationsDecideWhoConnects() async throws {
        try await withPlant { plant in
            plant.hooks.state.update { $0.knowsApplication = false }
            await #expect(throws: SignallingError.unknownApplication("x")) {
                _ = try await plant.plane.openSession(ConnectRequest(appKey: "x", remoteAddress: "192.0.2.1:1"))
            }
            plant.hooks.state.update { $0.knowsApplication = true }
            plant.hooks.state.update { $0.connect = .refuse(code: 403, reason: "Forbidden") }
            await #expect(throws: SignallingError.refused(code: 403, reason: "Forbidden")) {
                _ = try await plant.client()
            }
            #expect(plant.gauge("weir_control_sessions") == 0)
        }
    }

    @Test func aBackendThatDoesNotAnswerRefusesTheConnection() async throws {
        let limits = ControlConfiguration.Limits(sessions: 1)
        try await withPlant(ControlConfiguration(limits: limits, hookTimeout: .seconds(3))) { plant in
            let latch = Latch()
            plant.hooks.state.update { $0.hold = latch }
            let plane = plant.plane
            let opening = Task { try await plane.openSession(ConnectRequest(remoteAddress: "192.0.2.1:1")) }
            try await plant.hooks.state.wait { $0.asked == 1 }
            plant.clock.advance(by: .seconds(3))
            await #expect(throws: SignallingError.backendTimeout) { _ = try await opening.value }
            plant.hooks.state.update { $0.hold = nil }
            latch.open()
            _ = try await plant.client()
        }
    }

    @Test func theOperatorEndsAStream() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            try await ann.publish("a")
            try await ann.play("b")
            #expect(await plant.plane.terminateStream("cam"))
            try await ann.expect("a", .unpublished, "Stopped by rest /terminate")
            try await ann.expect("b", .failed, "Stopped by publisher stop")
            #expect(await !plant.plane.terminateStream("cam"))
        }
    }

    @Test func theBackendHearsEverythingInOrder() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            try await ann.publish("a")
            try await ann.play("b")
            await ann.session.play(ann.request("c", "nothing"))
            try await ann.expect("c", .failed, "Stream not found")
            await ann.session.close(.clientClosed)
            let heard = try await plant.hooks.state.wait { $0.heard.last == "ended: closed by client" }.heard
            #expect(
                heard == [
                    "connected", "a PENDING", "a PUBLISHING", "b PENDING", "b PLAYING", "c FAILED", "b STOPPED",
                    "a UNPUBLISHED", "ended: closed by client",
                ])
        }
    }
}

extension Client {
    /// `publisher` publishes "a", this client plays it as "b".
    fileprivate func beginPlayOf(_ publisher: Client) async throws -> PeerID {
        try await publisher.publish("a")
        return try await play("b")
    }
}

extension Result where Success == ViewerPlace, Failure == ViewerRefusal {
    fileprivate var refusal: ViewerRefusal? { if case .failure(let refusal) = self { refusal } else { nil } }
}
