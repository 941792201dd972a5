import ControlPlane
import HTTPTypes
import Hummingbird
import Logging
import WeirJSON

/// `connection/…` and `data/send`: sessions of clients.
struct ConnectionOperations: Sendable {
    static let schema = "Connection"
    /// Members of what clients say of themselves that stay inside: passwords, and the token that lets one come back.
    private static let withheld: Set<String> = ["sipPassword", "authToken", "nodeId", "appKey", "sessionId"]

    /// What every connection object has. WebSocket clients add what they say of themselves (`clientVersion`, `width`,
    /// `sip…`); it can be looked for, too.
    static let fields = [
        RESTField("nodeId", .text, required: true, "this server"),
        RESTField("appKey", .text, required: true, "key of the application"),
        RESTField("sessionId", .text, required: true, "id of the session"),
        RESTField("protocol", .text, required: true, "websocket, whip or whep"),
        RESTField("address", .text, required: true, "address and port of the client"),
        RESTField("custom", .any, "what the client gave when it connected"),
        RESTField("mediaProviders", .texts, "what the client can do"),
        RESTField("clientVersion", .text, "version of the client's SDK"),
        RESTField("clientOSVersion", .text, "as the client says"),
        RESTField("clientBrowserVersion", .text, "as the client says"),
        RESTField("keepAlive", .flag, "whether the session is kept when its connection is lost"),
    ]
    private static let filterFields = fields.filter(\.isScalar).map(\.optional) + RESTPage.fields
    private static let sessionId = RESTField("sessionId", .text, required: true, "id of the session")

    let control: ControlPlane
    let services: RESTServices

    var all: [RESTOperation] {
        [
            RESTOperation(
                "connection/find", "Sessions of clients with these values.", fields: Self.filterFields, isOpen: true,
                answer: .list(Self.schema), statuses: [404]
            ) { try find($0) },
            RESTOperation(
                "connection/find_all", "All sessions of clients.", fields: RESTPage.fields,
                answer: .list(Self.schema), statuses: [404], isAlsoGET: true
            ) { try find($0) },
            RESTOperation(
                "connection/terminate", "Ends a session with all its streams.", fields: [Self.sessionId],
                answer: .nothing, statuses: [404]
            ) { try await terminate($0) },
            RESTOperation(
                "connection/set_log_level", "Logs one session at another level than the rest.",
                fields: [
                    Self.sessionId,
                    RESTField(
                        "logLevel", .text, required: true,
                        "TRACE, DEBUG, INFO, NOTICE, WARN, ERROR or CRITICAL; empty: as the rest"),
                ], answer: .nothing, statuses: [404]
            ) { try await setLogLevel($0) },
            RESTOperation(
                "data/send", "Sends data to one or several clients; those that are there get it (`OnDataEvent`).",
                fields: [
                    RESTField("nodeId", .text, "this server; not looked at"),
                    RESTField("operationId", .text, "goes to the client with the data; one is made if it is missing"),
                    RESTField("sessionId", .text, "id of a session"),
                    RESTField("sessionIds", .texts, "ids of several sessions"),
                    RESTField("payload", .any, required: true, "the data"),
                ], answer: .nothing, statuses: [404]
            ) { try await sendData($0) },
        ]
    }

    private func object(_ session: ClientSession) -> JSONValue {
        var members = [
            JSONMember("nodeId", .string(services.nodeId)), JSONMember("appKey", .string(session.facts.appKey)),
            JSONMember("sessionId", .string(session.id)),
            JSONMember("protocol", .string(session.facts.kind.rawValue)),
            JSONMember("address", .string(session.facts.remoteAddress)),
        ]
        let taken = Self.withheld.union(members.map(\.name))
        if let text = session.profile?.text, case .object(let said)? = try? JSONParser.parse(Array(text.utf8)) {
            members += said.filter { !taken.contains($0.name) }
        }
        return .object(members)
    }

    private func find(_ parameters: RESTParameters) throws -> Response {
        let filter = try parameters.filter(except: RESTPage.names)
        let found = control.sessions().map(object).filter(filter.matches)
        return try RESTOperation.found(found, "connection", parameters)
    }

    private func session(_ parameters: RESTParameters) async throws(Problem) -> ClientSession {
        guard let session = await control.session(parameters.text(Self.sessionId.name) ?? "") else {
            throw .nothingFound("connection")
        }
        return session
    }

    private func terminate(_ parameters: RESTParameters) async throws -> Response {
        let session = try await session(parameters)
        await session.close(.terminated)
        return RESTOperation.done
    }

    private func setLogLevel(_ parameters: RESTParameters) async throws -> Response {
        let name = (parameters.text("logLevel") ?? "").lowercased()
        // `WARN` is the original's word.
        let level = Logger.Level(rawValue: name == "warn" ? "warning" : name)
        guard name.isEmpty || level != nil else {
            let names = Logger.Level.allCases.map { $0.rawValue.uppercased() }.joined(separator: ", ")
            throw Problem(.badRequest, "There is no such log level", remedy: "Send one of \(names).")
        }
        let session = try await session(parameters)
        services.setSessionLogLevel(session.id, level)
        return RESTOperation.done
    }

    private func sendData(_ parameters: RESTParameters) async throws -> Response {
        let ids = (parameters.texts("sessionIds") ?? []) + [parameters.text("sessionId")].compactMap { $0 }
        guard !ids.isEmpty else {
            throw Problem(.badRequest, "Nothing says to whom to send", remedy: "Send sessionId or sessionIds.")
        }
        let operationId = parameters.text("operationId") ?? Token.make()
        let payload = JSONText(parameters["payload"]?.serialized ?? "null")
        let delivery = await control.sendData(to: Array(Set(ids)), operationId: operationId, payload: payload)
        guard delivery.sent > 0 else { throw Problem.nothingFound("connection") }
        return RESTOperation.done
    }
}
