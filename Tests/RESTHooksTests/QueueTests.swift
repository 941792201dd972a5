import ControlPlane
import RESTHooks
import TestSupport
import Testing

@Suite("Order, bounds and outages", .timeLimit(.minutes(4)))
struct QueueTests {
    static let fail = #"{"publishStream":{"restOnError":"FAIL"},"playStream":{"restOnError":"FAIL"}}"#

    @Test func oneSessionsHooksGoOutOneByOneInOrder() async throws {
        let plant = try Plant()
        let (hooks, _) = try await plant.session()
        let latch = Latch()
        plant.transport.script("ConnectionStatusEvent", .hold(latch))
        hooks.tell(.established(authToken: "t"))
        let answer = hooks.ask(.publish(request("a")))
        hooks.tell(status("a", .pending))
        hooks.tell(status("a", .publishing))
        try await plant.transport.state.wait { $0.posts.count == 2 }
        #expect(plant.transport.methods == ["connect", "ConnectionStatusEvent"], "the next one waits for the answer")
        latch.open()
        #expect(await answer.decision == .allow)
        _ = try await plant.transport.posts(5)
        #expect(
            plant.transport.shorts == [
                "connect", "ConnectionStatusEvent ESTABLISHED", "publishStream a NEW", "StreamStatusEvent a PENDING",
                "StreamStatusEvent a PUBLISHING",
            ])
        #expect(plant.transport.state.value.mostInFlight == 1)
    }

    @Test func theBackendHearsOfAPublishersEndBeforeItsPlayers() async throws {
        let plant = try Plant()
        let (publisher, _) = try await plant.session(id: "p")
        let (player, _) = try await plant.session(id: "q")
        let latch = Latch()
        plant.transport.script("unPublishStream", .hold(latch))
        publisher.tell(.stop(StreamStatusEvent(request: request("a"), published: true, status: .publishing)))
        let told = publisher.tell(status("a", .unpublished), after: nil)
        let last = player.tell(status("b", .failed, published: false), after: told)
        latch.open()
        await last?.wait()
        #expect(
            Array(plant.transport.shorts.suffix(3)) == [
                "unPublishStream a PUBLISHING", "StreamStatusEvent a UNPUBLISHED", "StreamStatusEvent b FAILED",
            ])
    }

    @Test func aCallHasItsAnswerInTimeAlsoWhenItWaitsBehindEvents() async throws {
        let plant = try Plant(HookSettings(timeout: .seconds(10)))
        let (hooks, _) = try await plant.session(config: Self.fail)
        plant.transport.script("StreamStatusEvent", .hang)
        for _ in 0..<3 { hooks.tell(status("x", .pending)) }
        try await plant.transport.state.wait { $0.inFlight == 1 }
        plant.clock.advance(by: .seconds(4))
        let answer = hooks.ask(.publish(request("a")))
        try await plant.clock.sleeper(until: .seconds(14))
        plant.clock.advance(by: .seconds(10))
        #expect(await answer.decision == .refuse(code: 503, reason: "Backend did not answer in time"))
        #expect(!plant.transport.methods.contains("publishStream"), "and is not sent any more")
    }

    @Test(arguments: [true, false])
    func aHangingBackendRefusesOrAllowsAsRestOnErrorSays(fails: Bool) async throws {
        let plant = try Plant(HookSettings(timeout: .seconds(10)))
        let (hooks, _) = try await plant.session(config: fails ? Self.fail : "{}")
        plant.transport.script("publishStream", .hang)
        let answer = hooks.ask(.publish(request("a")))
        try await plant.transport.state.wait { $0.inFlight == 1 }
        try await plant.clock.sleeper(until: .seconds(10))
        plant.clock.advance(by: .seconds(10))
        let refusal = HookDecision.refuse(code: 503, reason: "Backend did not answer in time")
        #expect(await answer.decision == (fails ? refusal : .allow))
        #expect(plant.requests("publishStream", "timeout") == 1)
    }

    @Test func aFullSessionQueueLosesItsOldestEventsStreamEventsFirst() async throws {
        let plant = try Plant(HookSettings(sessionQueue: 4))
        let (hooks, _) = try await plant.session()
        let latch = Latch()
        plant.transport.script("ConnectionStatusEvent", .hold(latch))
        hooks.tell(.established(authToken: "t"))
        try await plant.transport.state.wait { $0.inFlight == 1 }
        hooks.tell(status("1", .pending))
        hooks.tell(.streamEvent(mediaSessionId: "low", type: "data", payload: nil))
        for id in ["2", "3", "4", "5"] { hooks.tell(status(id, .pending)) }
        latch.open()
        _ = try await plant.transport.posts(6)
        #expect(
            Array(plant.transport.shorts.dropFirst(2)) == (2...5).map { "StreamStatusEvent \($0) PENDING" },
            "first the StreamEvent went, then the oldest")
        #expect(plant.count("weir_hooks_dropped_events_total") == 2)
    }

    @Test func aFullBacklogLosesTheOldestEventOfAnySession() async throws {
        let plant = try Plant(HookSettings(concurrency: 1, backlog: 3))
        let (first, _) = try await plant.session(id: "1")
        let (second, _) = try await plant.session(id: "2")
        let latch = Latch()
        plant.transport.script("ConnectionStatusEvent", .hold(latch))
        first.tell(.established(authToken: "t"))
        try await plant.transport.state.wait { $0.inFlight == 1 }
        let dropped = first.tell(status("old", .pending), after: nil)
        second.tell(status("new1", .pending))
        second.tell(status("new2", .pending))
        await dropped?.wait()
        #expect(plant.count("weir_hooks_dropped_events_total") == 1)
        latch.open()
        _ = try await plant.transport.posts(5)
        #expect(
            Array(plant.transport.shorts.dropFirst(3)) == [
                "StreamStatusEvent new1 PENDING", "StreamStatusEvent new2 PENDING",
            ])
        await plant.service.drain()
    }

    @Test func concurrencyIsBoundedPerApplication() async throws {
        let plant = try Plant(
            HookSettings(concurrency: 3), [try Plant.application(), try Plant.application("other")])
        var sessions: [any SessionHooks] = []
        for index in 0..<20 { sessions.append(try await plant.session(id: "\(index)").hooks) }
        let (other, _) = try await plant.session("other", id: "o")
        let latch = Latch()
        plant.transport.script("ConnectionStatusEvent", .hold(latch))
        for session in sessions { session.tell(.established(authToken: "t")) }
        try await plant.transport.state.wait { $0.inFlight == 3 }
        #expect(await other.ask(.publish(request("a"))).decision == .allow, "another application does not wait")
        #expect(plant.transport.state.value.mostInFlight == 4)
        latch.open()
        await plant.service.drain()
        #expect(plant.transport.methods.count { $0 == "ConnectionStatusEvent" } == 20)
        #expect(plant.transport.state.value.mostInFlight == 4)
    }

    @Test func aBackendThatIsDownIsLeftAloneAndHearsItsEventsWhenItIsBack() async throws {
        let plant = try Plant(HookSettings(timeout: .seconds(15)))
        let (hooks, _) = try await plant.session(config: Self.fail)
        plant.transport.script("StreamStatusEvent", .fail(.unreachable("refused")))
        for index in 0..<5 { hooks.tell(status("\(index)", .pending)) }
        _ = try await plant.transport.posts(6)
        // Open now: an event waits, a call does not.
        let kept = hooks.tell(status("kept", .pending), after: nil)
        #expect(
            await hooks.ask(.publish(request("a"))).decision == .refuse(code: 503, reason: "Backend is not available"))
        #expect(plant.metrics.gauge("weir_hooks_circuit_open", help: "", labels: [("app", "app")]).value == 1)
        #expect(plant.transport.state.value.posts.count == 6)
        plant.transport.script("StreamStatusEvent", .ok)
        try await plant.clock.sleeper(until: .seconds(1))
        plant.clock.advance(by: .seconds(1))
        await kept?.wait()
        #expect(plant.transport.shorts.last == "StreamStatusEvent kept PENDING")
        #expect(await hooks.ask(.publish(request("b"))).decision == .allow)
        #expect(plant.metrics.gauge("weir_hooks_circuit_open", help: "", labels: [("app", "app")]).value == 0)
    }

    @Test func aRefusalIsNoOutage() async throws {
        let plant = try Plant()
        let (hooks, _) = try await plant.session(config: Self.fail)
        plant.transport.script("publishStream", .status(403, "Forbidden"))
        for index in 0..<20 {
            #expect(await hooks.ask(.publish(request("\(index)"))).decision == .refuse(code: 403, reason: "Forbidden"))
        }
        #expect(plant.requests("publishStream", "refused") == 20)
    }

    /// The original server's pool of 200 is where its players and publishers lock one another out.
    @Test func tenThousandClientsOfAHangingBackendAllGetTheirAnswer() async throws {
        let settings = HookSettings(timeout: .seconds(15), concurrency: 64)
        let plant = try Plant(settings, [try Plant.application(), try Plant.application("other")])
        let (other, _) = try await plant.session("other", id: "o")
        plant.transport.script("connect", .hang)
        let refused = Watched(0)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0..<10_000 {
                group.addTask {
                    if case .refuse = await plant.connect(id: "\(index)") { refused.update { $0 += 1 } }
                }
            }
            // Each has begun to wait, for its answer or for its turn.
            try await plant.clock.sleepers(10_000, until: .seconds(15))
            #expect(await other.ask(.publish(request("a"))).decision == .allow, "another application does not notice")
            while refused.value < 10_000 {
                plant.clock.advance(by: .seconds(15))
                await Task.yield()
            }
        }
        #expect(refused.value == 10_000)
        #expect(plant.transport.state.value.mostInFlight <= 65)
        plant.transport.script("connect", .ok)
        // An event of somebody else may be the one that finds out; then this one is let in at its next try.
        while true {
            plant.clock.advance(by: .seconds(5))
            if case .allow = await plant.connect(id: "again") { break }
        }
    }
}
