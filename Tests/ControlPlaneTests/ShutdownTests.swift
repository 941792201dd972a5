import ControlPlane
import TestSupport
import Testing

@Suite("Shutdown and endurance", .timeLimit(.minutes(4)))
struct ShutdownTests {
    @Test func everyoneIsToldAndNobodyComesIn() async throws {
        let plant = Plant(ControlConfiguration())
        let running = Task { await plant.plane.run() }
        let ann = try await plant.client()
        let bob = try await plant.client()
        try await ann.publish("a")
        try await bob.play("b")
        try await ann.play("c")
        _ = try await bob.beginPublish("d", "pending")
        await plant.plane.shutdown(timeout: .seconds(10))
        await running.value
        try await ann.expect("c", .failed, "Requested stream shutdown")
        try await ann.expect("a", .failed, "Requested stream shutdown")
        #expect(await ann.next() == .closing(.shutdown))
        #expect(await ann.next() == nil)
        try await bob.expect("b", .failed, "Requested stream shutdown")
        try await bob.expect("d", .failed, "Requested stream shutdown")
        #expect(await bob.rest() == [.closing(.shutdown)])
        #expect(plant.media.state.value.open.isEmpty)
        await #expect(throws: SignallingError.shuttingDown) { _ = try await plant.client() }
        #expect(plant.hooks.state.value.heard.filter { $0 == "ended: server shutdown" }.count == 2)
    }

    @Test func aHangingMediaSideDoesNotHoldItBeyondItsTimeout() async throws {
        let plant = Plant(ControlConfiguration(mediaTimeout: .seconds(60)))
        let running = Task { await plant.plane.run() }
        let ann = try await plant.client()
        try await ann.publish("a")
        let latch = Latch()
        plant.media.state.update { $0.holdsClose = latch }
        let stopping = Task { await plant.plane.shutdown(timeout: .seconds(10)) }
        try await ann.expect("a", .failed, "Requested stream shutdown")
        #expect(await ann.next() == .closing(.shutdown), "told before anything is waited for")
        try await plant.clock.sleeper(until: .seconds(10))
        plant.clock.advance(by: .seconds(10))
        await stopping.value
        await running.value
        latch.open()
    }

    @Test func aSessionThatComesInDuringTheShutdownIsRefused() async throws {
        let plant = Plant(ControlConfiguration())
        let running = Task { await plant.plane.run() }
        let latch = Latch()
        plant.hooks.state.update { $0.hold = latch }
        let plane = plant.plane
        let opening = Task { try await plane.openSession(ConnectRequest(remoteAddress: "192.0.2.1:1")) }
        try await plant.hooks.state.wait { $0.asked == 1 }
        await plane.shutdown(timeout: .seconds(10))
        latch.open()
        await #expect(throws: SignallingError.shuttingDown) { _ = try await opening.value }
        await running.value
    }

    @Test func cancellationOfRunEndsIt() async throws {
        let plant = Plant(ControlConfiguration())
        let running = Task { await plant.plane.run() }
        _ = try await plant.client()
        running.cancel()
        await running.value
        await plant.plane.shutdown(timeout: .seconds(10))
    }

    /// Many clients doing as they like at once: every stream that was answered or refused ends exactly once, and
    /// nothing is left (`withPlant` looks).
    @Test(arguments: [1, 2, 3] as [UInt64])
    func anythingMayHappenAtOnce(seed: UInt64) async throws {
        try await withPlant(ControlConfiguration(transportCloseGrace: .zero)) { plant in
            await withTaskGroup(of: Void.self) { group in
                for index in 0..<40 {
                    group.addTask { await rumble(plant, index: index, seed: seed &* 1000 &+ UInt64(index)) }
                }
            }
            try await plant.media.state.wait { $0.open.isEmpty }
            #expect(await plant.plane.streams().isEmpty)
        }
    }
}

/// One client's random life: 60 actions over five names, then its end.
private func rumble(_ plant: Plant, index: Int, seed: UInt64) async {
    var random = SmallRandom(state: seed)
    guard
        let session = try? await plant.plane.openSession(
            ConnectRequest(remoteAddress: "192.0.2.\(index):1", kind: .webSocket))
    else {
        Issue.record("session refused")
        return
    }
    let reader = Task {
        var answered: [String: Int] = [:]
        var ended: [String: Int] = [:]
        for await event in session.events {
            switch event {
            case .remoteSDP(let id, _):
                #expect(ended[id] == nil, "answer after the end")
                answered[id, default: 0] += 1
            case .status(let status):
                #expect(ended[status.mediaSessionId] == nil, "status after the end")
                if status.status.isTerminal { ended[status.mediaSessionId, default: 0] += 1 }
            default: break
            }
        }
        return (answered, ended)
    }
    var asked: [String] = []
    for step in 0..<60 {
        let name = "cam\(random.next(below: 5))"
        let id = "\(index)-\(step)"
        let calls = plant.media.state.value.calls
        switch random.next(below: 10) {
        case 0, 1:
            asked.append(id)
            await session.publish(StreamRequest(mediaSessionId: id, name: name, sdp: "OFFER"))
        case 2, 3, 4:
            asked.append(id)
            await session.play(StreamRequest(mediaSessionId: id, name: name, sdp: "OFFER"))
        case 5:
            if !asked.isEmpty { await session.stop(mediaSessionId: asked[random.next(below: asked.count)]) }
        case 6:
            if !calls.isEmpty {
                let peer = calls[random.next(below: calls.count)].peer
                let failures = MediaFailure.allCases
                plant.media.send(.failed(peer, failures[random.next(below: failures.count)]))
            }
        case 7:
            if !asked.isEmpty {
                await session.sendStreamEvent(
                    mediaSessionId: asked[random.next(below: asked.count)], type: "audioMuted", payload: nil)
            }
        default:
            for call in calls.suffix(20) { plant.media.send(.connected(call.peer)) }
        }
        await Task.yield()
    }
    await session.close(.connectionLost)
    let (answered, ended) = await reader.value
    #expect(answered.values.allSatisfy { $0 == 1 })
    #expect(Set(ended.keys) == Set(asked), "every stream ends")
    #expect(ended.values.allSatisfy { $0 == 1 }, "and only once")
}

private struct SmallRandom {
    var state: UInt64

    mutating func next(below bound: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int((state >> 33) % UInt64(bound))
    }
}
