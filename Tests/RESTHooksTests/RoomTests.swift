import ControlPlane
import RESTHooks
import TestSupport
import Testing

@Suite("roomApp", .timeLimit(.minutes(4)))
struct RoomTests {
    private struct Member {
        let hooks: any SessionHooks
        let client: FakeClient

        /// Sends a command as a session does it; the refusal, or nil.
        func send(_ command: String) async -> String? {
            let operation = "op"
            let decision = await hooks.ask(.data(operationId: operation, payload: JSONText(command))).decision
            var refusal: String?
            if case .refuse(_, let reason) = decision { refusal = reason }
            hooks.tell(.dataStatus(operationId: operation, accepted: refusal == nil, info: refusal))
            return refusal
        }

        func join(_ room: String = "r") async -> String? {
            await send(#"{"command":"join","options":{"name":"\#(room)"}}"#)
        }

        func publish(_ name: String, _ status: StreamStatus = .publishing, custom: String? = #"{"name":"r"}"#) {
            hooks.tell(RESTHooksTests.status(name, status, name: name, custom: custom))
        }

        /// What it heard since it was asked last.
        func heard() -> [String] {
            client.state.update { state in
                defer { state.data = [] }; return state.data
            }
        }
    }

    private func member(_ plant: Plant, _ login: String?) async throws -> Member {
        let request = ConnectRequest(
            appKey: "roomApp", remoteAddress: "192.0.2.1:1",
            custom: login.map { JSONText(#"{"login":"\#($0)","token":"x"}"#) })
        guard case .allow(let admission) = await plant.service.connect(SessionFacts(id: "s", request: request), request)
        else { throw Plant.NotAdmitted() }
        let client = FakeClient()
        admission.hooks.attach(client)
        return Member(hooks: admission.hooks, client: client)
    }

    private func event(_ name: String, _ info: String) -> String {
        #"{"roomName":"r","name":"\#(name)","info":\#(info)}"#
    }

    @Test func membersHearOfOneAnotherInOrder() async throws {
        let plant = try Plant()
        let (ann, bob) = (try await member(plant, "ann"), try await member(plant, "bob"))
        #expect(await ann.join() == nil)
        #expect(ann.heard() == [event("STATE", "[]")])
        ann.publish("r-ann-1")
        #expect(await bob.join() == nil)
        #expect(bob.heard() == [event("STATE", #"[{"login":"ann","name":"r-ann-1"}]"#)])
        #expect(ann.heard() == [event("JOINED", #""bob""#)])
        bob.publish("r-bob-1", custom: nil)
        #expect(ann.heard() == [event("PUBLISHED", #"{"login":"bob","name":"r-bob-1"}"#)])
        bob.publish("r-bob-1", .unpublished)
        ann.publish("r-ann-1", .failed)
        #expect(ann.heard() == [event("UNPUBLISHED", #"{"login":"bob","name":"r-bob-1"}"#)])
        #expect(bob.heard() == [event("FAILED", #"{"login":"ann","name":"r-ann-1"}"#)])
        ann.publish("never-live", .failed)
        #expect(bob.heard().isEmpty, "what was not there cannot fail")
        let message =
            #"{"command":"sendMessage","options":{"roomConfig":{"name":"r"},"to":"bob","text":"hi \"there\""}}"#
        #expect(await ann.send(message) == nil)
        #expect(bob.heard() == [event("MESSAGE", #"{"from":"ann","text":"hi \"there\""}"#)])
        #expect(ann.heard().isEmpty)
        #expect(await bob.send(#"{"command":"leave","options":{"name":"r"}}"#) == nil)
        #expect(ann.heard() == [event("LEFT", #""bob""#)])
    }

    @Test func aLostMembersStreamsGoBeforeIt() async throws {
        let plant = try Plant()
        let (ann, bob) = (try await member(plant, "ann"), try await member(plant, "bob"))
        _ = await ann.join()
        _ = await bob.join()
        bob.publish("r-bob-1")
        _ = ann.heard()
        bob.hooks.tell(.disconnected(.connectionLost))
        #expect(
            ann.heard() == [event("UNPUBLISHED", #"{"login":"bob","name":"r-bob-1"}"#), event("LEFT", #""bob""#)])
    }

    @Test func whoComesAgainTakesItsOwnPlace() async throws {
        let plant = try Plant()
        let (ann, old, new) = (
            try await member(plant, "ann"), try await member(plant, "bob"), try await member(plant, "bob")
        )
        _ = await ann.join()
        _ = await old.join()
        _ = ann.heard()
        #expect(await new.join() == nil)
        #expect(ann.heard() == [event("LEFT", #""bob""#), event("JOINED", #""bob""#)])
        old.hooks.tell(.disconnected(.keepAliveTimeout))
        #expect(ann.heard().isEmpty)
    }

    @Test func whatMakesNoSenseIsRefused() async throws {
        let plant = try Plant()
        let (nobody, ann) = (try await member(plant, nil), try await member(plant, "ann"))
        #expect(await nobody.join() == "Login is missing")
        #expect(await ann.join("") == "Bad room name")
        #expect(await ann.send(#"{"command":"dance","options":{}}"#) == "Unknown command")
        #expect(await ann.send("7") == "Unknown command")
        #expect(await ann.send(#"{"command":"leave","options":{"name":"r"}}"#) == "Not in the room")
        _ = await ann.join()
        let message = #"{"command":"sendMessage","options":{"roomConfig":{"name":"r"},"to":"eve","text":"hi"}}"#
        #expect(await ann.send(message) == "No such participant")
    }
}
