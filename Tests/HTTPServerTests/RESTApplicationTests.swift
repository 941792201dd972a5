import HTTPServer
import HummingbirdTesting
import RESTHooks
import Testing
import WeirJSON

@Suite struct RESTApplicationTests {
    private static let added = """
        {"appKey":"shop","url":"http://192.0.2.1/h","methods":["connect"],"restUsername":"u","restPassword":"hidden"}
        """

    @Test func anApplicationIsMadeChangedAndRemoved() async throws {
        try await withServer { server in
            #expect(try await server.call("app/add", Self.added).status == .ok)
            #expect(try await server.call("app/add", Self.added).isProblem(409))
            let shown = try await server.call("app/find", "{\"appKey\":\"shop\"}")
            #expect(shown.text.contains("\"isReadOnly\":false"))
            #expect(!shown.text.contains("hidden"), "secrets stay inside")
            let change = "{\"appKey\":\"shop\",\"url\":\"https://192.0.2.2\"}"
            #expect(try await server.call("app/update", change).status == .ok)
            let changed = try #require(server.applications.find("shop"))
            #expect(changed.backend == .url("https://192.0.2.2"))
            #expect(changed.methods == ["connect"], "what is not sent stays")
            #expect(changed.credentials == .basic(username: "u", password: "hidden"))
            let signed = "{\"appKey\":\"shop\",\"secretKey\":\"s\"}"
            #expect(try await server.call("app/update", signed).status == .ok)
            #expect(server.applications.find("shop")?.credentials == .signature(secret: "s"))
            #expect(try await server.call("app/remove", "{\"appKey\":\"shop\"}").status == .ok)
            #expect(try await server.call("app/remove", "{\"appKey\":\"shop\"}").isProblem(404))
            #expect(try await server.call("app/update", change).isProblem(404))
            #expect(try await server.call("app/find", "{\"appKey\":\"shop\"}").isProblem(404))
        }
    }

    @Test(arguments: ["configured", "defaultApp"])
    func whatIsConfiguredOrBuiltInIs409(key: String) async throws {
        try await withServer { server in
            let body = "{\"appKey\":\"\(key)\",\"url\":\"http://192.0.2.9\"}"
            for path in ["app/add", "app/update"] {
                let answer = try await server.call(path, body)
                #expect(answer.isProblem(409, key))
            }
            for path in ["app/remove", "app/rest-method/add", "app/rest-method/remove"] {
                #expect(try await server.call(path, "{\"appKey\":\"\(key)\"}").isProblem(409, key))
            }
            #expect(try await server.found("app/find_all").count == 3)
        }
    }

    @Test func methodsAreAttachedOneByOneOrAll() async throws {
        try await withServer { server in
            _ = try await server.call("app/add", Self.added)
            let one = "{\"appKey\":\"shop\",\"method\":\"playStream\"}"
            #expect(try await server.call("app/rest-method/add", one).status == .ok)
            #expect(server.applications.find("shop")?.methods == ["connect", "playStream"])
            #expect(try await server.call("app/rest-method/remove", one).status == .ok)
            #expect(server.applications.find("shop")?.methods == ["connect"])
            #expect(try await server.call("app/rest-method/add", "{\"appKey\":\"shop\"}").status == .ok)
            #expect(server.applications.find("shop")?.methods == Application.allMethods)
            let wrong = "{\"appKey\":\"shop\",\"method\":\"plyStream\"}"
            #expect(try await server.call("app/rest-method/add", wrong).isProblem(400, "plyStream"))
            let names = try await server.found("app/rest-method/find_all").compactMap { $0["name"]?.text }
            #expect(Set(names) == Application.allMethods)
        }
    }

    @Test(arguments: [
        "{}", "{\"appKey\":\"a\"}", "{\"appKey\":\"a b\",\"url\":\"http://h\"}", "{\"appKey\":\"a\",\"url\":\"h\"}",
        "{\"appKey\":\"a\",\"url\":\"http://h\",\"methods\":[\"nope\"]}",
        "{\"appKey\":\"a\",\"url\":\"http://h\",\"secretKey\":\"s\",\"restUsername\":\"u\"}",
    ])
    func mistakesAre400(body: String) async throws {
        try await withServer { server in
            let answer = try await server.call("app/add", body)
            #expect(answer.isProblem(400))
            #expect(server.applications.find("a") == nil)
        }
    }
}
