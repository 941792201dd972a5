import ControlPlane
import RESTHooks
import Testing
import WeirJSON

@Suite("What answers do", .timeLimit(.minutes(4)))
struct PolicyTests {
    private func decision(_ plant: Plant, _ config: String?, name: String = "cam") async throws -> HookDecision {
        let (hooks, _) = try await plant.session(config: config)
        return await hooks.ask(.play(request("a", name))).decision
    }

    @Test func theDefaultIsToLogAndGoOn() async throws {
        let plant = try Plant()
        plant.transport.script("playStream", .status(403, "Forbidden"))
        #expect(try await decision(plant, nil) == .allow)
        #expect(plant.count("weir_hooks_ignored_errors_total") == 1)
    }

    static let errors: [(FakeTransport.Behaviour, Int, String)] = [
        (.status(403, "Forbidden"), 403, "Forbidden"),
        (.status(401, "Unauthorized"), 401, "Unauthorized"),
        (.status(302, "Found"), 302, "Found"),
        (.status(500, ""), 500, "Refused by the backend (500)"),
        (.status(204, "No Content"), 204, "No Content"),
        (.status(402, "Payment Required", #"{"status":402,"reason":"Pay first"}"#), 402, "Pay first"),
        (.status(403, "Forbidden", #"{"status":1,"reason":"x","more":1}"#), 403, "Forbidden"),
        (.json("hello"), 502, "Backend gave no valid answer"),
        (.json("[1]"), 502, "Backend gave no valid answer"),
        (.json(#"{"a":1"#), 502, "Backend gave no valid answer"),
        (.fail(.tooLarge), 502, "Backend gave no valid answer"),
        (.fail(.unreachable("reset")), 503, "Backend is not available"),
    ]

    @Test(arguments: errors)
    func underFAILEveryErrorRefuses(behaviour: FakeTransport.Behaviour, code: Int, reason: String) async throws {
        let plant = try Plant()
        plant.transport.script("playStream", behaviour)
        #expect(
            try await decision(plant, #"{"playStream":{"restOnError":"FAIL"}}"#)
                == .refuse(code: code, reason: reason))
    }

    @Test(arguments: ["", "  \r\n", "{}", #"{"name":"real"}"#])
    func anAnswerUnderNOTIFYChangesNothing(body: String) async throws {
        let plant = try Plant()
        plant.transport.script("playStream", .json(body))
        #expect(try await decision(plant, #"{"playStream":{"restOnError":"FAIL","restOverwrite":"name"}}"#) == .allow)
    }

    @Test func overwriteTouchesOnlyTheFieldsItNames() async throws {
        let plant = try Plant()
        plant.transport.script(
            "playStream", .json(#"{"name":"real","mediaSessionId":"evil","width":640,"record":true,"custom":{"a":1}}"#))
        let config = #"{"playStream":{"restPolicy":"OVERWRITE","restOverwrite":"name, custom,mediaSessionId,height"}}"#
        var expected = request("a", "real")
        expected.custom = JSONText(#"{"a":1}"#)
        #expect(try await decision(plant, config, name: "alias") == .change(expected))
    }

    @Test func whatIsDisabledOrNotAttachedIsNotSent() async throws {
        let plant = try Plant(
            HookSettings(), [try Plant.application(methods: ["connect", "publishStream", "sendData"])])
        let (hooks, _) = try await plant.session(config: #"{"publishStream":{"restPolicy":"DISABLE"}}"#)
        #expect(await hooks.ask(.publish(request("a"))).decision == .allow)
        #expect(await hooks.ask(.play(request("b"))).decision == .allow)
        #expect(hooks.tell(status("a", .pending), after: nil) == nil)
        #expect(await hooks.ask(.data(operationId: "o", payload: JSONText("1"))).decision == .allow)
        #expect(plant.transport.methods == ["connect", "sendData"], "under the name that is attached")
    }

    @Test func excludedFieldsStayHereAndTheContextIsAlwaysThere() async throws {
        let settings = HookSettings(nodeId: "node")
        let plant = try Plant(settings)
        let (hooks, _) = try await plant.session(config: #"{"publishStream":{"restExclude":"sdp,nodeId"}}"#)
        _ = await hooks.ask(.publish(request("a"))).decision
        let body = try #require(plant.transport.state.value.posts.last?.body)
        #expect(body["sdp"] == nil && body["nodeId"]?.text == "node" && body["sessionId"]?.text == "s1")
        #expect(body["appKey"]?.text == "app" && body["name"]?.text == "cam" && body["published"] == .bool(true))
    }

    @Test func connectTakesWhatTheBackendChanged() async throws {
        let plant = try Plant()
        plant.transport.script(
            "connect",
            .json(
                #"{"custom":{"user":"bob"},"sipLogin":"1000","appKey":"evil","authToken":"evil","clientVersion":null}"#)
        )
        guard
            case .allow(let admission) = await plant.connect(
                profile: #"{"appKey":"app","clientVersion":"2.0","custom":{"user":"ann"},"authToken":"old"}"#)
        else { throw Plant.NotAdmitted() }
        #expect(admission.custom == JSONText(#"{"user":"bob"}"#))
        let profile = try JSONParser.parse(Array((admission.profile?.text ?? "").utf8))
        #expect(profile["sipLogin"]?.text == "1000" && profile["clientVersion"] == nil)
        #expect(profile["appKey"]?.text == "app")
        let sent = try #require(plant.transport.state.value.posts.first?.body)
        #expect(sent["clientVersion"]?.text == "2.0" && sent["authToken"] == nil, "a token is no business of connect")
        admission.hooks.tell(.established(authToken: "new"))
        let event = try #require(try await plant.transport.posts(2).last?.body)
        #expect(event["custom"]?["user"]?.text == "bob" && event["authToken"]?.text == "new")
    }

    @Test(arguments: [
        #"{"restClientConfig":[]}"#, #"{"restClientConfig":{"playStream":7}}"#,
        #"{"restClientConfig":{"playStream":{"restOnError":"FIAL"}}}"#,
        #"{"restClientConfig":{"playStream":{"restPolicy":"SOMETIMES"}}}"#, "[]", "no JSON",
    ])
    func aConnectAnswerThatCannotBeUnderstoodDeclines(body: String) async throws {
        let plant = try Plant()
        plant.transport.script("connect", .json(body))
        guard case .refuse(let code, let reason) = await plant.connect() else { throw Plant.NotAdmitted() }
        #expect(code == 502 && reason == "Backend gave no valid answer")
    }

    @Test func aRefusedConnectionIsToldToTheBackend() async throws {
        let plant = try Plant()
        plant.transport.script("connect", .status(403, "Forbidden"))
        guard case .refuse(403, "Forbidden") = await plant.connect() else { throw Plant.NotAdmitted() }
        let posts = try await plant.transport.posts(3)
        #expect(
            posts.map(\.short) == ["connect", "ConnectionStatusEvent FAILED", "ConnectionStatusEvent DISCONNECTED"])
        #expect(posts[1].body["info"]?.text == "Forbidden" && posts[1].body["custom"] == nil)
    }

    @Test func theApplicationsDefaultsHoldUnlessTheAnswerSaysOtherwise() async throws {
        let config = #"{"playStream":{"restOnError":"FAIL","restExclude":"sdp"},"connect":{"restOnError":"LOG"}}"#
        let plant = try Plant(HookSettings(), [try Plant.application(config: config)])
        plant.transport.script("playStream", .status(403, "Forbidden"))
        #expect(try await decision(plant, nil) == .refuse(code: 403, reason: "Forbidden"))
        #expect(try await decision(plant, #"{"playStream":{"restOnError":"LOG"}}"#) == .allow)
        #expect(plant.transport.state.value.posts.last?.body["sdp"] == nil, "field by field")
        plant.transport.script("connect", .fail(.unreachable("down")))
        guard case .allow = await plant.connect() else { throw Plant.NotAdmitted() }
    }

    @Test func underFAILAnEventsErrorIsToldOnceToClientAndBackend() async throws {
        let plant = try Plant()
        let (hooks, client) = try await plant.session(
            config: #"{"StreamStatusEvent":{"restOnError":"FAIL"},"ErrorEvent":{"restOnError":"FAIL"}}"#)
        plant.transport.script("StreamStatusEvent", .status(500, "Oops"))
        plant.transport.script("ErrorEvent", .status(500, "Oops again"))
        hooks.tell(status("a", .pending))
        _ = try await plant.transport.posts(3)
        await plant.service.drain()
        #expect(plant.transport.methods == ["connect", "StreamStatusEvent", "ErrorEvent"])
        #expect(client.state.value.errors == ["StreamStatusEvent: Oops"])
        #expect(plant.transport.state.value.posts.last?.body["info"]?.text == "StreamStatusEvent: Oops")
    }

    @Test func builtInApplicationsAskNobody() async throws {
        let plant = try Plant()
        for key in ["defaultApp", "roomApp"] {
            let (hooks, _) = try await plant.session(key)
            #expect(await hooks.ask(.publish(request("a"))).decision == .allow)
        }
        #expect(plant.transport.state.value.posts.isEmpty)
        guard case .unknownApplication = await plant.connect("nobody") else { throw Plant.NotAdmitted() }
    }

    @Test func bodiesAreSignedByTheApplicationOrByAll() async throws {
        let own = try Plant(HookSettings(), [try Plant.application(credentials: .basic(username: "u", password: "p"))])
        _ = await own.connect()
        #expect(own.transport.state.value.posts.first?.authorization == "Basic dTpw")
        let all = try Plant(HookSettings(secretKey: "k"))
        _ = await all.connect()
        #expect(all.transport.state.value.posts.first?.authorization?.hasPrefix("WCS ") == true)
        // RFC 2202 §2, test case 2.
        #expect(
            Application.Credentials.signature(secret: "Jefe").authorization(
                for: Array("what do ya want for nothing?".utf8)) == "WCS 750c783e6ab0b503eaa86e310a5db738")
    }
}
