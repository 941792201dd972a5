import ControlPlane
import HTTPServer
import HTTPTypes
import HummingbirdTesting
import Testing
import WeirJSON

@Suite struct RESTAccessTests {
    @Test func everyCallIsTheOperators() async throws {
        try await withServer { server in
            guard case .object(let paths)? = try await server.description()["paths"] else { throw NotInTime() }
            let calls = paths.map(\.name).filter { $0.hasPrefix("/rest-api/") }
            #expect(calls.count > 15)
            for path in calls + ["/rest-api/openapi.json", "/capacity", "/metrics", "/?action=stat"] {
                let method: HTTPRequest.Method = calls.contains(path) ? .post : .get
                let far = try await server.send(method, path, nil, [.xForwardedFor: "203.0.113.5"])
                #expect(far.isProblem(403), "\(path)")
                let page = try await server.send(method, path, nil, [.origin: "https://evil.example"])
                #expect(page.isProblem(403), "\(path)")
                #expect(page.headers[.accessControlAllowOrigin] == nil)
            }
            #expect(!server.control.isDraining)
        }
    }

    @Test func theTokenMayChangeWhileTheServerRuns() async throws {
        let settings = HTTPConfiguration(admin: AdminSettings(token: "one", trustsLoopback: false))
        try await withServer(settings) { server in
            func status(_ token: String) async throws -> Int {
                try await server.send(.get, "/capacity", nil, [.authorization: "Bearer \(token)"]).status.code
            }
            let before = try await status("one")
            server.service.setAdminToken("two")
            let (old, new) = (try await status("one"), try await status("two"))
            #expect([before, old, new] == [200, 401, 200])
        }
    }

    @Test func everyDescribedCallIsServedAndNoOther() async throws {
        try await withServer { server in
            let description = try await server.description()
            #expect(description["openapi"] == .string("3.1.0"))
            guard case .object(let paths)? = description["paths"] else { throw NotInTime() }
            for path in paths {
                guard case .object(let methods) = path.value else { throw NotInTime() }
                let served = Set(methods.map(\.name))
                for method in [HTTPRequest.Method.get, .post, .put, .patch, .delete] {
                    let response = try await server.send(method, path.name, "{}")
                    let isServed = served.contains(method.rawValue.lowercased())
                    // Without action=stat this is the page, which these tests do not have.
                    if path.name == "/" { continue }
                    #expect((response.status == .methodNotAllowed) != isServed, "\(method) \(path.name)")
                    #expect(!isServed || response.status != .notFound || response.text.contains("no such"))
                }
            }
            #expect(try await server.send(.post, "/rest-api/stream/unknown", "{}").isProblem(404))
        }
    }

    @Test func everyReferenceOfTheDescriptionLeadsSomewhere() async throws {
        try await withServer { server in
            let description = try await server.description()
            let text = description.serialized
            for part in text.split(separator: "\"$ref\":\"").dropFirst() {
                let target = part.prefix { $0 != "\"" }
                let name = String(target.split(separator: "/").last ?? "")
                #expect(target == "#/components/schemas/\(name)")
                #expect(description["components"]?["schemas"]?[name] != nil, "\(name)")
            }
        }
    }

    @Test func bodiesAreBounded() async throws {
        try await withServer { server in
            let long = "{\"name\":\"\(String(repeating: "x", count: 1 << 20))\"}"
            let tooLong = try await server.call("stream/find", long)
            #expect(tooLong.isProblem(413))
            let deep = String(repeating: "[", count: 100) + String(repeating: "]", count: 100)
            #expect(try await server.call("data/send", "{\"sessionId\":\"s\",\"payload\":\(deep)}").isProblem(400))
        }
    }

    @Test func contentTypeIsNotLookedAt() async throws {
        try await withServer { server in
            _ = try await server.goLive("cam")
            for type in [nil, "text/plain", "application/json; charset=utf-8", "application/x-www-form-urlencoded"] {
                let response = try await server.send(
                    .post, "/rest-api/stream/find", "{\"name\":\"cam\"}", type: type)
                #expect(response.status == .ok)
            }
        }
    }
}
