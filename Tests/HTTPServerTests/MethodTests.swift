import HTTPServer
import HTTPTypes
import HummingbirdTesting
import Testing

@Suite struct MethodTests {
    @Test func resourcesHaveNoRepresentation() async throws {
        try await withServer { server in
            let resource = try #require(try await server.post("/whip/s").headers[.location])
            for url in ["/whip/s", "/whep/s", resource] {
                for method in [HTTPRequest.Method.get, .head] {
                    let response = try await server.send(method, url)
                    #expect(response.status == .noContent)
                    #expect(response.body.readableBytes == 0)
                }
            }
            #expect(try await server.send(.get, "/whip/s/unknown").status == .notFound)
            // A body behind the head of a refusal would be taken for the next response.
            let refused = try await server.send(.head, "/whip/s/unknown")
            #expect(refused.status == .notFound && refused.body.readableBytes == 0)
        }
    }

    @Test func otherMethodsAreNotAllowed() async throws {
        try await withServer { server in
            let resource = try #require(try await server.post("/whip/s").headers[.location])
            for method in [HTTPRequest.Method.put, .patch, .delete] {
                let response = try await server.send(method, "/whip/s", "x")
                #expect(response.isProblem(405))
                #expect(response.headers[.allow] == "GET, HEAD, POST, OPTIONS")
            }
            for method in [HTTPRequest.Method.put, .post] {
                let response = try await server.send(method, resource, "x")
                #expect(response.isProblem(405))
                #expect(response.headers[.allow] == "GET, HEAD, PATCH, DELETE, OPTIONS")
            }
            #expect(try await server.send(HTTPRequest.Method("QUERY")!, "/whip/s").isProblem(405))
            #expect(try await server.send(HTTPRequest.Method("PROPFIND")!, "/whip/s").isProblem(501))
            #expect(try await server.send(.get, "/nothing/here").isProblem(404))
        }
    }

    @Test func preflightsAreAnswered() async throws {
        try await withServer(HTTPConfiguration(iceServers: [ICEServer(url: "stun:a")])) { server in
            let resource = try #require(try await server.post("/whip/s").headers[.location])
            for url in ["/whip/s", "/whep/s", resource] {
                let response = try await server.send(
                    .options, url, nil,
                    [
                        .origin: "http://example.test", .accessControlRequestMethod: "POST",
                        .accessControlRequestHeaders: "authorization,content-type,if-match",
                    ])
                #expect(response.status == .ok)
                #expect(response.headers[.accessControlAllowOrigin] == "*")
                let methods = try #require(response.headers[.accessControlAllowMethods])
                for method in ["POST", "PATCH", "DELETE"] { #expect(methods.contains(method)) }
                let headers = try #require(response.headers[.accessControlAllowHeaders])
                for name in ["Authorization", "Content-Type", "If-Match"] { #expect(headers.contains(name)) }
                #expect(response.headers[.link] == nil)
            }
            let plain = try await server.send(.options, "/whip/s")
            #expect(plain.headers[.acceptPost] == "application/sdp")
            #expect(plain.headers[.link] == "<stun:a>; rel=\"ice-server\"")
            #expect(plain.headers[.accessControlAllowMethods] == nil)
        }
    }

    @Test func onlyConfiguredOriginsMayReadAnswers() async throws {
        try await withServer(HTTPConfiguration(corsOrigins: ["https://good.example"])) { server in
            let good = try await server.post("/whip/s", "bad", [.origin: "https://good.example"])
            #expect(good.status == .badRequest)
            #expect(good.headers[.accessControlAllowOrigin] == "https://good.example")
            #expect(good.headers[.vary] == "Origin")
            let bad = try await server.post("/whip/s", "bad", [.origin: "https://evil.example"])
            #expect(bad.headers[.accessControlAllowOrigin] == nil)
            #expect(bad.headers[.vary] == "Origin")
        }
    }
}
