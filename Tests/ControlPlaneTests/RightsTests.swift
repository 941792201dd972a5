import ControlPlane
import TestSupport
import Testing

/// Rights as told: by token, action and name.
private final class FakeRights: StreamRights {
    struct Question: Hashable, Sendable {
        var token: String?
        var action: StreamAction
        var stream: String
        var appKey = ControlConfiguration.defaultAppKey
    }

    struct State: Sendable {
        var endsIn: Duration?
        var questions: [Question] = []
    }

    static let missing = RightsRefusal(code: .unauthorized, info: "Token is missing", label: "token_missing")
    static let noRight = RightsRefusal(code: .forbidden, info: "Token does not allow this", label: "token_noRight")

    let state = Watched(State())

    /// A token is the name that it is for.
    func allow(token: String?, action: StreamAction, stream: String, appKey: String) -> RightsDecision {
        let endsIn = state.update { state in
            state.questions.append(Question(token: token, action: action, stream: stream, appKey: appKey))
            return state.endsIn
        }
        guard let token else { return .refuse(Self.missing) }
        return token == stream ? .allow(RightsGrant(subject: "ann", endsIn: endsIn)) : .refuse(Self.noRight)
    }
}

@Suite struct RightsTests {
    /// A client whose connection has that token in `custom`.
    private func client(_ plant: Plant, token: String?) async throws -> Client {
        let custom = token.map { JSONText("{\"token\":\"\($0)\"}") }
        return Client(
            try await plant.plane.openSession(ConnectRequest(remoteAddress: "192.0.2.1:1", custom: custom)), plant)
    }

    @Test func whoHasNoRightIsRefusedBeforeTheBackendIsAsked() async throws {
        try await withPlant(rights: FakeRights()) { plant in
            let client = try await client(plant, token: nil)
            let asked = plant.hooks.state.value.asked
            await client.session.publish(client.request("p"))
            let refused = try await client.status()
            #expect(refused.status == .failed && refused.info == "Token is missing" && refused.code == .unauthorized)
            var other = client.request("q")
            other.custom = JSONText("{\"token\":\"other\"}")
            await client.session.play(other)
            let denied = try await client.status()
            #expect(denied.info == "Token does not allow this" && denied.code == .forbidden)
            #expect(plant.hooks.state.value.asked == asked)
            #expect(plant.media.state.value.calls.isEmpty)
            #expect(plant.rejections("token_missing") == 1)
            #expect(plant.rejections("token_noRight") == 1)
            // The ids are free: nothing was claimed.
            var again = client.request("p")
            again.custom = JSONText("{\"token\":\"cam\"}")
            await client.session.publish(again)
            try await client.expectAnswer("p")
        }
    }

    @Test func theBackendMayStillRefuseWhatTheTokenAllows() async throws {
        try await withPlant(rights: FakeRights()) { plant in
            plant.hooks.state.update { $0.publish = .refuse(code: 403, reason: "no") }
            let client = try await client(plant, token: "cam")
            await client.session.publish(client.request("p"))
            try await client.expect("p", .failed, "no")
        }
    }

    @Test func rightsAreAboutTheNameThatTheClientGave() async throws {
        let rights = FakeRights()
        try await withPlant(rights: rights) { plant in
            let client = try await client(plant, token: "alias")
            var real = client.request("p", "alias")
            real.name = "real"
            plant.hooks.state.update { [real] in $0.publish = .change(real) }
            await client.session.publish(client.request("p", "alias"))
            try await client.expectAnswer("p")
            #expect(rights.state.value.questions.map(\.stream) == ["alias"])
            #expect(plant.media.state.value.calls.map(\.stream) == ["real"])
        }
    }

    @Test func theNearestTokenCounts() async throws {
        let rights = FakeRights()
        try await withPlant(rights: rights) { plant in
            let connect = ConnectRequest(
                remoteAddress: "192.0.2.1:1", custom: JSONText("{\"token\":\"connection\"}"), bearerToken: "header",
                query: "a=b&token=first&token=query&c")
            func ask(_ connect: ConnectRequest, _ custom: String?) async throws -> String? {
                let client = Client(try await plant.plane.openSession(connect), plant)
                var request = client.request("p")
                request.custom = custom.map { JSONText($0) }
                await client.session.publish(request)
                return rights.state.value.questions.last?.token
            }
            let nearest = try await ask(connect, "{\"token\":\"stream\"}")
            #expect(nearest == "stream")
            for useless in [nil, "{\"token\":\"\"}", "{\"token\":7}", "{\"Token\":\"x\"}", "\"token\"", "[]"] {
                #expect(try await ask(connect, useless) == "connection")
            }
            var without = connect
            without.custom = nil
            #expect(try await ask(without, nil) == "header")
            without.bearerToken = ""
            #expect(try await ask(without, nil) == "query")
            without.query = "mytoken=a&token=&x"
            #expect(try await ask(without, nil) == nil)
            plant.hooks.state.update { $0.custom = JSONText("{\"token\":\"backend\"}") }
            #expect(try await ask(connect, nil) == "backend")
            plant.hooks.state.update { $0.custom = JSONText("{}") }
            #expect(try await ask(connect, nil) == "connection")
        }
    }

    @Test func aStreamEndsWithItsRight() async throws {
        let rights = FakeRights()
        rights.state.update { $0.endsIn = .seconds(60) }
        try await withPlant(rights: rights) { plant in
            let client = try await client(plant, token: "cam")
            try await client.publish("p")
            try await plant.clock.sleeper(until: .seconds(60))
            plant.clock.advance(by: .seconds(60))
            let ended = try await client.status()
            #expect(ended.status == .failed && ended.info == "Token has expired" && ended.code == .unauthorized)
            let reason = [("kind", "publish"), ("reason", "token_expired")]
            #expect(plant.count("weir_control_failures_total", reason) == 1)
        }
    }

    @Test func aRightWithoutEndEndsNothing() async throws {
        let rights = FakeRights()
        rights.state.update { $0.endsIn = .seconds(250_000_000_000) }
        try await withPlant(rights: rights) { plant in
            let client = try await client(plant, token: "cam")
            try await client.publish("p")
            plant.clock.advance(by: .seconds(86_400))
            #expect(await plant.plane.isAvailable("cam"))
        }
    }

    @Test func resumingNeedsTheRightAgainForTheStreamThatIsPaused() async throws {
        let rights = FakeRights()
        try await withPlant(rights: rights) { plant in
            let publisher = try await client(plant, token: "cam")
            try await publisher.publish("p")
            let player = try await client(plant, token: "cam")
            try await player.play("v")
            await player.session.pause(mediaSessionId: "v")
            try await player.expect("v", .paused)
            await player.session.play(player.request("v"))
            try await player.expect("v", .playing)
            await player.session.pause(mediaSessionId: "v")
            try await player.expect("v", .paused)
            // A right to another stream, which the request names, is none to the one that is paused.
            var request = player.request("v", "mine")
            request.custom = JSONText("{\"token\":\"mine\"}")
            await player.session.play(request)
            try await player.expect("v", .failed, "Token does not allow this")
        }
    }

    @Test func resumingWithANewTokenGivesNewTime() async throws {
        let rights = FakeRights()
        rights.state.update { $0.endsIn = .seconds(60) }
        try await withPlant(rights: rights) { plant in
            let publisher = try await client(plant, token: "cam")
            let player = try await client(plant, token: "cam")
            rights.state.update { $0.endsIn = nil }
            try await publisher.publish("p")
            rights.state.update { $0.endsIn = .seconds(60) }
            try await player.play("v")
            await player.session.pause(mediaSessionId: "v")
            try await player.expect("v", .paused)
            rights.state.update { $0.endsIn = .seconds(100) }
            await player.session.play(player.request("v"))
            try await player.expect("v", .playing)
            try await plant.clock.sleeper(until: .seconds(100))
            plant.clock.advance(by: .seconds(60))
            plant.clock.advance(by: .seconds(40))
            try await player.expect("v", .failed, "Token has expired")
        }
    }

    @Test func aViewerWithoutASessionNeedsARightToo() async throws {
        let rights = FakeRights()
        try await withPlant(rights: rights) { plant in
            func admit(_ token: String?, custom: String? = nil) async -> HookDecision {
                await plant.plane.admit(
                    ViewerRequest(
                        method: .playHLS, sessionId: "s", name: "cam", mediaSessionId: "m", token: token,
                        custom: custom.map { JSONText($0) }))
            }
            #expect(await admit("cam") == .allow)
            #expect(await admit(nil, custom: "{\"token\":\"cam\"}") == .allow)
            #expect(await admit(nil) == .refuse(code: 401, reason: "Token is missing"))
            #expect(await admit("other") == .refuse(code: 403, reason: "Token does not allow this"))
            #expect(plant.rejections("token_missing") == 1)
        }
    }
}
