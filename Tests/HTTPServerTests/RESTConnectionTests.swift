import ControlPlane
import HTTPServer
import HummingbirdTesting
import Testing
import WeirJSON

@Suite struct RESTConnectionTests {
    private static let profile = """
        {"appKey":"other","clientVersion":"2.0","custom":{"n":1.0},"sipPassword":"hidden","authToken":"hidden"}
        """

    @Test func sessionsAreFoundWithWhatTheirClientsSay() async throws {
        try await withServer { server in
            let session = try await server.webSocket(Self.profile)
            _ = try await server.post("/whip/cam")
            #expect(try await server.found("connection/find_all").count == 2)
            let one = try #require(try await server.found("connection/find", "{\"clientVersion\":\"2.0\"}").first)
            #expect(one["sessionId"] == .string(session.id))
            #expect(one["appKey"] == .string("defaultApp"), "what the client says of itself is not the application")
            #expect(one["nodeId"] == .string("node"))
            #expect(one["protocol"] == .string("websocket"))
            #expect(one["custom"]?.serialized == "{\"n\":1.0}")
            #expect(!one.serialized.contains("hidden"), "secrets stay inside")
            #expect(!one.serialized.contains(session.authToken), "secrets stay inside")
            #expect(try await server.found("connection/find", "{\"protocol\":\"whip\"}").count == 1)
            #expect(try await server.call("connection/find", "{\"clientVersion\":\"3\"}").isProblem(404))
            #expect(try await server.call("connection/find", "{\"custom\":{}}").isProblem(400))
            await session.close(.clientClosed)
        }
    }

    @Test func terminateEndsASession() async throws {
        try await withServer { server in
            let session = try await server.webSocket()
            let body = "{\"sessionId\":\"\(session.id)\"}"
            #expect(try await server.call("connection/terminate", body).status == .ok)
            let reason = await session.first { event -> SessionCloseReason? in
                if case .closing(let reason) = event { reason } else { nil }
            }
            #expect(reason == .terminated)
            #expect(try await server.call("connection/terminate", body).isProblem(404))
            #expect(try await server.call("connection/terminate", "{}").isProblem(400, "sessionId"))
        }
    }

    @Test func aSessionIsLoggedAtItsOwnLevel() async throws {
        try await withServer { server in
            let session = try await server.webSocket()
            func set(_ level: String) async throws -> TestResponse {
                try await server.call(
                    "connection/set_log_level", "{\"sessionId\":\"\(session.id)\",\"logLevel\":\"\(level)\"}")
            }
            #expect(try await set("WARN").status == .ok)
            #expect(server.level.sessions.withLock { $0[session.id] } == .some(.some(.warning)))
            #expect(try await set("").status == .ok)
            #expect(server.level.sessions.withLock { $0[session.id] } == .some(.none))
            #expect(try await set("LOUD").isProblem(400, "TRACE"))
            let nobody = "{\"sessionId\":\"no\",\"logLevel\":\"DEBUG\"}"
            #expect(try await server.call("connection/set_log_level", nobody).isProblem(404))
            await session.close(.clientClosed)
        }
    }

    @Test func dataReachesTheSessionsThatAreThere() async throws {
        try await withServer { server in
            let one = try await server.webSocket()
            let other = try await server.webSocket(from: "192.0.2.2:5000")
            let body = """
                {"nodeId":"x","operationId":"op","sessionIds":["\(one.id)","gone"],"sessionId":"\(other.id)",
                 "payload":{"b":[1.0],"a":null}}
                """
            #expect(try await server.call("data/send", body).status == .ok)
            for session in [one, other] {
                let data = await session.first { event -> [String]? in
                    if case .data(let id, let payload) = event { [id, payload.text] } else { nil }
                }
                #expect(data == ["op", "{\"b\":[1.0],\"a\":null}"])
            }
            let made = "{\"sessionId\":\"\(one.id)\",\"payload\":null}"
            #expect(try await server.call("data/send", made).status == .ok)
            #expect(try await server.call("data/send", "{\"sessionId\":\"gone\",\"payload\":1}").isProblem(404))
            #expect(try await server.call("data/send", "{\"payload\":1}").isProblem(400, "sessionId"))
            #expect(try await server.call("data/send", "{\"sessionId\":\"\(one.id)\"}").isProblem(400, "payload"))
            await one.close(.clientClosed)
            await other.close(.clientClosed)
        }
    }
}
