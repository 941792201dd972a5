import ControlPlane
import TestSupport
import Testing

/// Data both ways: each operation is settled once, also when somebody leaves.
@Suite("Data", .timeLimit(.minutes(4)))
struct DataTests {
    @Test func whatIsNotSettledWhenTheSessionEndsHasFailed() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            let latch = Latch()
            plant.hooks.state.update { $0.hold = latch }
            await ann.session.sendData(operationId: "1", payload: JSONText("1"))
            await ann.session.sendData(operationId: "2", payload: JSONText("1"))
            await ann.session.sendToClient(operationId: "op", payload: JSONText("1"))
            await ann.session.close(.connectionLost)
            let heard = Array(plant.hooks.state.value.heard.dropFirst())
            #expect(heard == ["1 FAILED", "2 FAILED", "op FAILED", "ended: connection lost"])
            latch.open()
        }
    }

    @Test func aBackendThatDoesNotAnswerSettlesTheDataAsFailed() async throws {
        try await withPlant(ControlConfiguration(hookTimeout: .seconds(3))) { plant in
            let ann = try await plant.client()
            let latch = Latch()
            plant.hooks.state.update { $0.hold = latch }
            await ann.session.sendData(operationId: "1", payload: JSONText("1"))
            try await plant.clock.sleeper(until: .seconds(3))
            plant.clock.advance(by: .seconds(3))
            #expect(
                await ann.next()
                    == .dataStatus(operationId: "1", accepted: false, info: "Backend did not answer in time"))
            #expect(plant.hooks.state.value.heard.last == "1 FAILED")
            latch.open()
        }
    }

    @Test func dataOfTheOperatorIsAcceptedOnceItIsWritten() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            let bob = try await plant.client()
            let delivery = await plant.plane.sendData(
                to: [ann.session.id, "nobody", bob.session.id], operationId: "op", payload: JSONText("[1]"))
            #expect(delivery == DataDelivery(sent: 2, missing: ["nobody"]))
            #expect(await ann.next() == .data(operationId: "op", payload: JSONText("[1]")))
            #expect(await bob.next() == .data(operationId: "op", payload: JSONText("[1]")))
            #expect(plant.hooks.state.value.told.count == 2)
            await ann.session.dataDelivered(operationId: "op")
            await ann.session.dataDelivered(operationId: "op")
            await ann.session.dataDelivered(operationId: "of an application")
            let told = plant.hooks.state.value.told.dropFirst(2)
            #expect(told.map(\.text) == ["op ACCEPTED"] && told.first?.session == ann.session.id)
            await ann.session.close(.clientClosed)
            #expect(!plant.hooks.state.value.told.contains { $0.session == ann.session.id && $0.text == "op FAILED" })
            await bob.session.close(.clientClosed)
            #expect(plant.hooks.state.value.told.contains { $0.session == bob.session.id && $0.text == "op FAILED" })
        }
    }

    @Test func aClientWithoutASocketTakesNoData() async throws {
        try await withPlant { plant in
            let ann = try await plant.client(.whip)
            let delivery = await plant.plane.sendData(
                to: [ann.session.id], operationId: "op", payload: JSONText("1"))
            #expect(delivery.missing.isEmpty)
            #expect(plant.hooks.state.value.heard.last == "op FAILED")
        }
    }

    @Test func soManyOperationsMayComePerSecond() async throws {
        var configuration = ControlConfiguration()
        configuration.operationRate = 2
        try await withPlant(configuration) { plant in
            let ann = try await plant.client()
            func accepted(_ count: Int) async -> Int {
                var accepted = 0
                for number in 0..<count {
                    await ann.session.sendData(operationId: "\(number)", payload: JSONText("1"))
                    if await ann.next() == .dataStatus(operationId: "\(number)", accepted: true, info: nil) {
                        accepted += 1
                    }
                }
                return accepted
            }
            #expect(await accepted(10) == 4)
            plant.clock.advance(by: .seconds(1))
            #expect(await accepted(10) == 2)
            #expect(plant.rejections("tooManyOperations") == 14)
        }
    }

    @Test func aFloodOfStreamEventsDoesNotReachThePlayers() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            let bob = try await plant.client()
            try await ann.publish("a")
            try await bob.play("b")
            for _ in 0..<1_000 {
                await ann.session.sendStreamEvent(mediaSessionId: "a", type: "data", payload: JSONText("1"))
            }
            let dropped = plant.rejections("tooManyStreamEvents")
            #expect(dropped > 700 && dropped < 1_000, "\(dropped)")
            plant.clock.advance(by: .seconds(10))
            await ann.session.sendStreamEvent(mediaSessionId: "a", type: "audioMuted", payload: nil)
            var last: SessionEvent?
            for _ in 0...(1_000 - Int(dropped)) { last = await bob.next() }
            #expect(last == .streamEvent(mediaSessionId: "b", type: "audioMuted", payload: nil))
        }
    }
}
