import ControlPlane
import RESTHooks
import TestSupport
import Testing

@Suite("Stream keep-alive", .timeLimit(.minutes(4)))
struct KeepAliveTests {
    private static let fail = #"{"StreamKeepAliveEvent":{"restOnError":"FAIL"}}"#

    private func plant(_ applications: Set<String> = ["app"]) throws -> Plant {
        try Plant(
            HookSettings(
                timeout: .seconds(15),
                keepAlive: .init(isEnabled: true, interval: .seconds(10), applications: applications)))
    }

    private func tick(_ plant: Plant, at seconds: Int) async throws {
        try await plant.clock.sleeper(until: .seconds(seconds))
        plant.clock.advance(by: .seconds(seconds) - plant.clock.now.offset)
    }

    @Test func everyLiveStreamIsAskedAboutUntilItEnds() async throws {
        let plant = try plant()
        let (hooks, client) = try await plant.session(config: Self.fail)
        hooks.tell(status("a", .publishing))
        hooks.tell(status("b", .playing, published: false))
        _ = try await plant.transport.posts(3)
        try await tick(plant, at: 10)
        let posts = try await plant.transport.posts(5)
        #expect(
            Set(posts.suffix(2).map(\.short)) == [
                "StreamKeepAliveEvent a PUBLISHING", "StreamKeepAliveEvent b PLAYING",
            ])
        hooks.tell(status("b", .stopped, published: false))
        _ = try await plant.transport.posts(6)
        try await tick(plant, at: 20)
        #expect(try await plant.transport.posts(7).last?.short == "StreamKeepAliveEvent a PUBLISHING")
        #expect(client.state.value.ended.isEmpty)
    }

    @Test func onlyA403UnderFAILEndsTheStream() async throws {
        for (config, behaviour, ends) in [
            (Self.fail, FakeTransport.Behaviour.status(403, "Forbidden"), true),
            ("{}", .status(403, "Forbidden"), false),
            (Self.fail, .status(500, "Oops"), false), (Self.fail, .fail(.unreachable("x")), false),
            (Self.fail, .json("no JSON"), false),
        ] {
            let plant = try plant()
            let (hooks, client) = try await plant.session(config: config)
            plant.transport.script("StreamKeepAliveEvent", behaviour)
            hooks.tell(status("a", .publishing))
            try await tick(plant, at: 10)
            _ = try await plant.transport.posts(3)
            // Asked again: the first answer has had its effect.
            if ends {
                try await client.state.wait { $0.ended == ["a"] }
            } else {
                try await tick(plant, at: 20)
                #expect(client.state.value.ended.isEmpty)
            }
        }
    }

    @Test func anUnansweredOneIsNotFollowedByAnother() async throws {
        let plant = try plant()
        let (hooks, client) = try await plant.session(config: Self.fail)
        plant.transport.script("StreamKeepAliveEvent", .hang)
        hooks.tell(status("a", .publishing))
        try await tick(plant, at: 10)
        try await plant.transport.state.wait { $0.inFlight == 1 && $0.posts.count == 3 }
        try await tick(plant, at: 25)
        try await plant.clock.sleeper(until: .seconds(30))
        #expect(plant.transport.methods.count { $0 == "StreamKeepAliveEvent" } == 1)
        #expect(plant.count("weir_hooks_skipped_keep_alives_total") == 1)
        #expect(plant.requests("StreamKeepAliveEvent", "timeout") == 1)
        #expect(client.state.value.ended.isEmpty, "silence ends nothing")
    }

    @Test func itIsNotHeldUpByTheQueue() async throws {
        let plant = try plant()
        let (hooks, client) = try await plant.session(config: Self.fail)
        plant.transport.script("StreamStatusEvent", .hang)
        plant.transport.script("StreamKeepAliveEvent", .status(403, "Forbidden"))
        hooks.tell(status("a", .publishing))
        try await tick(plant, at: 10)
        try await client.state.wait { $0.ended == ["a"] }
    }

    @Test func otherApplicationsAndEndedSessionsAreNotAsked() async throws {
        let other = try plant(["someone else"])
        let (quiet, _) = try await other.session()
        quiet.tell(status("a", .publishing))
        _ = try await other.transport.posts(2)
        other.clock.advance(by: .seconds(100))
        let ended = try plant()
        let (hooks, _) = try await ended.session()
        hooks.tell(status("a", .publishing))
        try await ended.clock.sleeper(until: .seconds(10))
        hooks.finish()
        ended.clock.advance(by: .seconds(100))
        for plant in [other, ended] {
            await plant.service.drain()
            #expect(!plant.transport.methods.contains("StreamKeepAliveEvent"))
        }
    }
}
