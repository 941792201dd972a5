import ControlPlane
import TestSupport
import Testing

/// Streams on demand under plain names, and viewers who are no sessions' players.
@Suite("Holds of streams", .timeLimit(.minutes(4)))
struct StreamHoldTests {
    @Test func `a name that is kept for a source is played as any and published by nobody`() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            await ann.session.publish(ann.request("p", "camera"))
            try await ann.expect("p", .failed, "Stream name is already in use")
            #expect(plant.sources.state.value.opened.isEmpty)
            try await ann.play("a", "camera")
            try await ann.play("b", "camera")
            #expect(plant.sources.state.value.opened.count == 1)
            let streams = await plant.plane.streams()
            #expect(streams.map(\.name) == ["camera"] && streams.map(\.players) == [2])
        }
    }

    @Test func `a source goes on as long as somebody holds it`() async throws {
        // Another one than the time to open, so that who sleeps until then is known.
        var configuration = ControlConfiguration()
        configuration.sourceGrace = configuration.sourceTimeout + .seconds(5)
        let grace = configuration.sourceGrace
        try await withPlant(configuration) { plant in
            let first = try await plant.plane.hold("camera")
            let second = try await plant.plane.hold("camera")
            let source = try await plant.sources.opened(0)
            #expect(first.name == "camera" && first.publisher == source.state.value.peer)
            #expect(plant.sources.state.value.opened.count == 1)
            // Without players, and longer than it would wait for some.
            try await plant.clock.sleeper(until: grace)
            plant.clock.advance(by: grace)
            first.release()
            first.release()
            #expect(plant.plane.holdIfPublished("camera") != nil, "the second one holds")
            #expect(source.state.value.closed == 0)
            second.release()
            // Who waits for players may not have looked yet; then it ends at once.
            while source.state.value.closed == 0 {
                plant.clock.advance(by: FakeSource.lingerOfShared)
                await Task.yield()
            }
            await second.ended()
            #expect(plant.plane.holdIfPublished("camera") == nil)
        }
    }

    @Test func `who would hold what cannot be had is told why`() async throws {
        try await withPlant { plant in
            plant.sources.state.update { $0.opening = .fail(.status(.rtspNotFound)) }
            for (name, info, code) in [
                ("camera", "Rtsp stream not found", 404), ("nobody", "Stream not found", 404),
                ("other://x", "Failed to get agent storage", 404),
            ] {
                do throws(StreamRefusal) {
                    _ = try await plant.plane.hold(name)
                    Issue.record("held")
                } catch {
                    #expect(error.info == info && error.code.rawValue == code)
                }
            }
        }
    }

    @Test func `a client is not told what its name was made to`() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            plant.sources.state.update { $0.opening = .fail(.status(.rtspNotFound)) }
            plant.hooks.state.update {
                $0.play = .change(StreamRequest(mediaSessionId: "a", name: "shared://u:secret@x/y", sdp: "OFFER"))
            }
            await ann.session.play(ann.request("a", "front-door"))
            let status = try await ann.status()
            #expect(status.name == "shared://x/y")
        }
    }
}
