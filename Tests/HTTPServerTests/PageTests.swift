import Foundation
import HTTPServer
import HTTPTypes
import HummingbirdTesting
import Testing

@Suite struct PageTests {
    private func withPage(_ body: @escaping @Sendable (Fixture) async throws -> Void) async throws {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent("weir-page-\(UUID().uuidString)")
        let files = [
            "index.html": "<!doctype html>", "app.js": "export {}", "css/style.css": "body{}", ".hidden.js": "x",
            "secret.key": "x",
        ]
        for (name, text) in files {
            let url = directory.appendingPathComponent(name)
            try FileManager.default.createDirectory(
                at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: url)
        }
        defer { try? FileManager.default.removeItem(at: directory) }
        try await withServer(HTTPConfiguration(webDirectory: directory.path), body)
    }

    @Test func filesAreServedWithTheirTypes() async throws {
        try await withPage { server in
            for path in ["/", "/index.html"] {
                let page = try await server.send(.get, path)
                #expect(page.status == .ok)
                #expect(page.text == "<!doctype html>")
                #expect(page.headers[.contentType] == "text/html; charset=utf-8")
                #expect(page.headers[.xContentTypeOptions] == "nosniff")
                #expect(page.headers[.contentSecurityPolicy] != nil)
            }
            let script = try await server.send(.get, "/app.js?v=1")
            #expect(script.headers[.contentType] == "text/javascript; charset=utf-8")
            let style = try await server.send(.get, "/css/style.css")
            #expect(style.headers[.contentType] == "text/css; charset=utf-8")
            let head = try await server.send(.head, "/app.js")
            #expect(head.status == .ok)
            #expect(head.body.readableBytes == 0)
        }
    }

    @Test func unchangedFilesAreNotSentAgain() async throws {
        try await withPage { server in
            let tag = try #require(try await server.send(.get, "/app.js").headers[.eTag])
            for condition in [tag, "W/\(tag)", "\"x\", \(tag)", "*"] {
                let again = try await server.send(.get, "/app.js", nil, [.ifNoneMatch: condition])
                #expect(again.status == .notModified)
                #expect(again.headers[.eTag] == tag)
                #expect(again.body.readableBytes == 0)
            }
            #expect(try await server.send(.get, "/app.js", nil, [.ifNoneMatch: "\"x\""]).status == .ok)
        }
    }

    @Test func nothingElseIsServed() async throws {
        try await withPage { server in
            for path in [
                "/.hidden.js", "/secret.key", "/../etc/passwd", "/css/../app.js", "/%2e%2e/etc/passwd", "/css",
                "//etc/passwd",
            ] {
                let response = try await server.send(.get, path)
                #expect(response.isProblem(404), "\(path)")
            }
            let posted = try await server.send(.post, "/", "x")
            #expect(posted.isProblem(405))
        }
    }

    @Test func thePageComesWithTheModule() async throws {
        try await withServer { server in
            let page = try await server.send(.get, "/")
            #expect(page.status == .ok)
        }
    }
}
