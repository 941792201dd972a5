import ControlPlane
import HTTPServer
import HTTPTypes
import HummingbirdTesting
import NIOCore
import Testing
import WeirJSON

extension Fixture {
    /// A call of the REST API, with a check that its status is one of those described.
    @discardableResult
    func call(
        _ path: String, _ body: String? = nil, _ method: HTTPRequest.Method = .post,
        here: SourceLocation = #_sourceLocation
    ) async throws -> TestResponse {
        let response = try await send(method, "/rest-api/\(path)", body)
        let described = try await description()
        let bare = path.prefix { $0 != "?" }
        let operation = described["paths"]?["/rest-api/\(bare)"]?[method.rawValue.lowercased()]
        let answer = operation?["responses"]?["\(response.status.code)"]
        #expect(answer != nil, "\(response.status.code) is not described", sourceLocation: here)
        if let type = response.headers[.contentType] {
            #expect(answer?["content"]?[type] != nil, "\(type) is not described", sourceLocation: here)
        } else {
            #expect(answer?["content"] == nil, "a body is described", sourceLocation: here)
        }
        return response
    }

    /// The served OpenAPI description.
    func description() async throws -> JSONValue { try await send(.get, "/rest-api/openapi.json").json() }

    /// The objects of a find.
    func found(_ path: String, _ body: String? = nil) async throws -> [JSONValue] {
        let response = try await call(path, body)
        guard response.status == .ok else { return [] }
        guard case .array(let objects) = try response.json() else { return [] }
        return objects
    }

    /// A WebSocket session as its adapter opens it.
    func webSocket(_ profile: String = "{}", from address: String = "192.0.2.1:5000") async throws -> ClientSession {
        try await control.openSession(
            ConnectRequest(remoteAddress: address, keepAlive: false, profile: JSONText(profile)))
    }
}

extension TestResponse {
    func json() throws -> JSONValue { try JSONParser.parse(Array(body.readableBytesView)) }
}

extension ClientSession {
    /// The first event that is wanted.
    func first<Value: Sendable>(_ wanted: @Sendable (SessionEvent) -> Value?) async -> Value? {
        for await event in events {
            if let value = wanted(event) { return value }
        }
        return nil
    }
}
