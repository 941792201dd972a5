import ControlPlane
import Testing

@Suite struct LoadTests {
    @Test func playersWhoAreStillJoiningCount() async throws {
        let limits = ControlConfiguration.Limits(packetRate: 10_000)
        try await withPlant(ControlConfiguration(limits: limits)) { plant in
            let publisher = try await plant.client()
            try await publisher.publish("p")
            let viewer = try await plant.client()
            for index in 0..<40 { try await viewer.play("v\(index)") }
            for _ in 0..<4 { plant.plane.noteLoad(MachineLoad(packetRate: 8_000)) }
            // 200 packets a second each: there is room for ten more, measured or not.
            for index in 40..<50 { try await viewer.play("v\(index)") }
            await viewer.session.play(viewer.request("late"))
            try await viewer.expect("late", .failed, "Limit of packets per second is reached")
            #expect(plant.plane.capacity.verdict == .full)
            #expect(plant.rejections("limitOfpacketRate") == 1)
            // The ten are in the load now.
            for _ in 0..<4 { plant.plane.noteLoad(MachineLoad(packetRate: 9_900)) }
            try await viewer.play("next")
            await viewer.session.close(.clientClosed)
            await publisher.session.close(.clientClosed)
        }
    }

    @Test func withoutLimitsNoLoadRefuses() async throws {
        try await withPlant { plant in
            let publisher = try await plant.client()
            plant.plane.noteLoad(MachineLoad(packetRate: 1e9, cpu: 100))
            try await publisher.publish("p")
            #expect(plant.plane.capacity.verdict == .accepting)
            await publisher.session.close(.clientClosed)
        }
    }

    @Test func fullnessIsSaidInTheWordsOfTheRefusal() async throws {
        try await withPlant(ControlConfiguration(limits: .init(players: 1))) { plant in
            let publisher = try await plant.client()
            try await publisher.publish("p")
            let viewer = try await plant.client()
            try await viewer.play("v")
            #expect(plant.plane.capacity.reason == "Limit of players is reached")
            await viewer.session.play(viewer.request("w"))
            try await viewer.expect("w", .failed, plant.plane.capacity.reason)
            await viewer.session.close(.clientClosed)
            await publisher.session.close(.clientClosed)
        }
    }
}
