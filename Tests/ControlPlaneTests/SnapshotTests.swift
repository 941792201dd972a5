import ControlPlane
import TestSupport
import Testing

/// Pictures of live streams: for clients, for the backend, for the operator.
@Suite("Snapshots", .timeLimit(.minutes(4)))
struct SnapshotTests {
    private static let payload = JSONText(#"{"snapshot":"iVBORw=="}"#)

    private static func event(_ id: String, info: String) -> SessionEvent {
        .streamEvent(mediaSessionId: id, type: "snapshotFailed", payload: JSONText(#"{"info":"\#(info)"}"#))
    }

    private static func made(_ id: String) -> SessionEvent {
        .streamEvent(mediaSessionId: id, type: "snapshotCompleted", payload: payload)
    }

    @Test func anyClientGetsAPictureByTheStreamsName() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            let bob = try await plant.client()
            let peer = try await ann.publish("a")
            await bob.session.snapshot(mediaSessionId: "never seen", name: "cam")
            #expect(await bob.next() == Self.made("never seen"))
            #expect(plant.pictures.state.value.asked == [peer])
            #expect(plant.hooks.state.value.calls.last == "snapshot")
            #expect(plant.hooks.state.value.heard.last == "never seen StreamEvent snapshotCompleted")
            #expect(await plant.plane.snapshot(of: "cam") == .png([0x89, 0x50, 0x4e, 0x47]))
            #expect(plant.count("weir_control_snapshots_total", [("result", "made")]) == 2)
        }
    }

    @Test func aFailureIsAnEventOfTheSnapshotAndHurtsNoStream() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            await ann.session.snapshot(mediaSessionId: "x", name: "cam")
            #expect(await ann.next() == Self.event("x", info: "Stream not found"))
            #expect(await plant.plane.snapshot(of: "cam") == .noStream)
            _ = try await ann.beginPublish("a")
            #expect(await plant.plane.snapshot(of: "cam") == .noStream)
            try await ann.publish("b", "live")
            plant.pictures.state.update { $0.error = .noVideo }
            await ann.session.snapshot(mediaSessionId: "b", name: "live")
            #expect(await ann.next() == Self.event("b", info: "The stream has no video"))
            plant.hooks.state.update { $0.other = .refuse(code: 403, reason: "Forbidden") }
            await ann.session.snapshot(mediaSessionId: "b", name: "live")
            #expect(await ann.next() == Self.event("b", info: "Forbidden"))
            #expect(plant.pictures.state.value.asked.count == 1)
            #expect(plant.hooks.state.value.heard.last == "b StreamEvent snapshotFailed")
        }
    }

    @Test func onlySoManyAreMadeAtATime() async throws {
        var configuration = ControlConfiguration()
        configuration.snapshots = 1
        configuration.snapshotTimeout = .seconds(7)
        try await withPlant(configuration) { plant in
            let ann = try await plant.client()
            try await ann.publish("a")
            let latch = Latch()
            plant.pictures.state.update { $0.hold = latch }
            async let first = plant.plane.snapshot(of: "cam")
            try await plant.pictures.state.wait { $0.asked.count == 1 }
            #expect(await plant.plane.snapshot(of: "cam") == .busy)
            try await plant.clock.sleeper(until: .seconds(7))
            plant.clock.advance(by: .seconds(7))
            #expect(await first == .failed("No picture came in time"))
            // It is still being made: nobody else begins.
            #expect(await plant.plane.snapshot(of: "cam") == .busy)
            #expect(plant.pictures.state.value.asked.count == 1)
            plant.pictures.state.update { $0.hold = nil }
            latch.open()
            var again = await plant.plane.snapshot(of: "cam")
            while again == .busy { again = await plant.plane.snapshot(of: "cam") }
            #expect(again == .png([0x89, 0x50, 0x4e, 0x47]))
        }
    }

    @Test func aPictureThatIsTooLargeIsNone() async throws {
        var configuration = ControlConfiguration()
        configuration.snapshotBytes = 3
        try await withPlant(configuration) { plant in
            let ann = try await plant.client()
            try await ann.publish("a")
            #expect(await plant.plane.snapshot(of: "cam") == .failed("The picture is too large"))
        }
    }

    @Test func backendsThatDoNotTakeTheirPicturesGetNoMore() async throws {
        var configuration = ControlConfiguration()
        configuration.pictureCopies = 1
        try await withPlant(configuration) { plant in
            let ann = try await plant.client()
            try await ann.publish("a")
            for _ in 0..<2 {
                await ann.session.snapshot(mediaSessionId: "a", name: "cam")
                #expect(await ann.next() == Self.made("a"))
            }
            let told = plant.hooks.state.value.told.suffix(2)
            #expect(told.map(\.payload) == [Self.payload, JSONText("{}")])
            told.first?.gate.open()
            var last: JSONText?
            while last != Self.payload {
                await ann.session.snapshot(mediaSessionId: "a", name: "cam")
                #expect(await ann.next() == Self.made("a"))
                last = plant.hooks.state.value.told.last?.payload
            }
        }
    }
}
