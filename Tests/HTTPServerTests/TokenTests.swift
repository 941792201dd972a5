import ControlPlane
import HTTPServer
import HTTPTypes
import HummingbirdTesting
import Testing

/// A token is the name that it is for.
private struct NameRights: StreamRights {
    func allow(token: String?, action: StreamAction, stream: String, appKey: String) -> RightsDecision {
        switch token {
        case stream: .allow(RightsGrant())
        case nil: .refuse(RightsRefusal(code: .unauthorized, info: "Token is missing", label: "missing"))
        case "expired": .refuse(.expired)
        default: .refuse(RightsRefusal(code: .forbidden, info: "Token does not allow this", label: "noRight"))
        }
    }
}

@Suite struct TokenTests {
    @Test(arguments: ["whip", "whep"]) func refusalsAreHTTPStatuses(kind: String) async throws {
        try await withServer(rights: NameRights()) { server in
            let none = try await server.post("/\(kind)/cam")
            #expect(none.isProblem(401, "Token is missing"))
            #expect(none.headers[.wwwAuthenticate] == "Bearer realm=\"weir\"")
            let expired = try await server.post("/\(kind)/cam", Fixture.offer, [.authorization: "Bearer expired"])
            #expect(expired.isProblem(401, "Token has expired"))
            #expect(expired.headers[.wwwAuthenticate] == "Bearer realm=\"weir\", error=\"invalid_token\"")
            let other = try await server.post("/\(kind)/cam", Fixture.offer, [.authorization: "Bearer other"])
            #expect(other.isProblem(403, "Token does not allow this"))
            #expect(other.headers[.wwwAuthenticate] == nil)
        }
    }

    @Test func theHeaderOrTheQueryCarriesTheToken() async throws {
        try await withServer(rights: NameRights()) { server in
            let header = try await server.post("/whip/a", Fixture.offer, [.authorization: "Bearer a"])
            #expect(header.status == .created)
            #expect(try await server.post("/whip/b?token=b").status == .created)
            // The header counts.
            let both = try await server.post("/whip/c?token=c", Fixture.offer, [.authorization: "Bearer x"])
            #expect(both.isProblem(403))
            #expect(try await server.post("/whip/d%20e?token=d+e").status == .created)
        }
    }
}
