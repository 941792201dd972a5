import HTTPTypes
import WeirJSON

/// The description of the operator's paths by OpenAPI 3.1, made of the operations themselves.
enum OpenAPI {
    static let version = "3.1.0"

    static func document(_ operations: [RESTOperation]) -> JSONValue {
        let paths = operations.map { JSONMember($0.fullPath, item($0)) } + MonitoringPaths.described
        return .object([
            JSONMember("openapi", .string(version)),
            JSONMember(
                "info",
                .object([
                    JSONMember("title", .string("Weir: REST API and monitoring")), JSONMember("version", .string("1")),
                    JSONMember(
                        "description",
                        .string(
                            "Calls, fields and statuses are those of Flashphoner Web Call Server 5. All of it is the "
                                + "operator's: it answers to the server's own machine, from elsewhere only with the "
                                + "token of http.admin_token. Content-Type need not be sent.")),
                ])),
            JSONMember("paths", .object(paths)),
            JSONMember(
                "components",
                .object([
                    JSONMember("schemas", .object(schemas)),
                    JSONMember(
                        "securitySchemes",
                        .object([
                            JSONMember(
                                "token",
                                .object([
                                    JSONMember("type", .string("http")), JSONMember("scheme", .string("bearer")),
                                ]))
                        ])),
                ])),
            JSONMember("security", .array([.object([]), .object([JSONMember("token", .array([]))])])),
        ])
    }

    // MARK: Operations

    private static func item(_ operation: RESTOperation) -> JSONValue {
        var members = [JSONMember("post", post(operation))]
        if operation.isAlsoGET { members.append(JSONMember("get", get(operation))) }
        return .object(members)
    }

    private static func head(_ operation: RESTOperation, _ id: String) -> [JSONMember] {
        let name = operation.path.split(separator: "/").joined(separator: "_")
        return [
            JSONMember("operationId", .string("\(name)\(id)")), JSONMember("summary", .string(operation.summary)),
            JSONMember("tags", .array([.string(operation.family)])),
        ]
    }

    private static func post(_ operation: RESTOperation) -> JSONValue {
        var members = head(operation, "")
        let schema = object(operation.fields, isOpen: operation.isOpen)
        members.append(
            JSONMember(
                "requestBody",
                .object([
                    JSONMember("required", .bool(operation.fields.contains(where: \.isRequired))),
                    JSONMember("content", content("application/json", schema)),
                ])))
        members.append(
            JSONMember(
                "responses",
                responses(RESTOperation.commonStatuses + operation.statuses, answer: operation.answer)))
        return .object(members)
    }

    /// Without a body there is none that could be late or long.
    private static let statusesOfBodies: Set<Int> = [408, 413]

    private static func get(_ operation: RESTOperation) -> JSONValue {
        let parameters = operation.queryFields.map { field in
            JSONValue.object([
                JSONMember("name", .string(field.name)), JSONMember("in", .string("query")),
                JSONMember("required", .bool(field.isRequired)), JSONMember("description", .string(field.about)),
                JSONMember("schema", .object(type(field.kind))),
            ])
        }
        let statuses = (RESTOperation.commonStatuses + operation.statuses).filter { !statusesOfBodies.contains($0) }
        return .object(
            head(operation, "_get") + [
                JSONMember("parameters", .array(parameters)),
                JSONMember("responses", responses(statuses, answer: operation.answer)),
            ])
    }

    // MARK: Parts

    static func content(_ type: String, _ schema: JSONValue) -> JSONValue {
        .object([JSONMember(type, .object([JSONMember("schema", schema)]))])
    }

    static func reference(_ schema: String) -> JSONValue {
        .object([JSONMember("$ref", .string("#/components/schemas/\(schema)"))])
    }

    private static func responses(_ statuses: [Int], answer: RESTOperation.Answer) -> JSONValue {
        let success: [JSONMember] =
            switch answer {
            case .nothing: [JSONMember("description", .string("Done; no body."))]
            case .one(let schema):
                [
                    JSONMember("description", .string("One object.")),
                    JSONMember("content", content("application/json", reference(schema))),
                ]
            case .list(let schema):
                [
                    JSONMember("description", .string("What was found.")),
                    JSONMember(
                        "content",
                        content(
                            "application/json",
                            .object([
                                JSONMember("type", .string("array")), JSONMember("items", reference(schema)),
                            ]))),
                ]
            }
        return .object([JSONMember("200", .object(success))] + problems(statuses))
    }

    static func problems(_ statuses: [Int]) -> [JSONMember] {
        Set(statuses).sorted().map { status in
            JSONMember(
                "\(status)",
                .object([
                    JSONMember("description", .string(meaning(status))),
                    JSONMember("content", content(Problem.contentType, reference(problemSchema))),
                ]))
        }
    }

    private static func meaning(_ status: Int) -> String {
        switch status {
        case 400: "A parameter is missing, unknown or does not fit, or the body is no JSON object."
        case 401: "The token is missing or wrong."
        case 403: "Not from this machine, and no token is configured."
        case 404: "There is no such object."
        case 408: "The body did not arrive in time."
        case 409: "The key or the URI is taken, or it stands in the configuration; or the stream is being recorded."
        case 413: "The body is too long."
        case 501: "This server cannot do that."
        case 503: "Not now; see Retry-After."
        default: "The server could not do it."
        }
    }

    // MARK: Schemas

    static let problemSchema = "Problem"

    private static var schemas: [JSONMember] {
        let problem = [
            RESTField("type", .text, required: true, "about:blank"),
            RESTField("title", .text, required: true, "the status in words"),
            RESTField("status", .number, required: true, "the status"),
            RESTField("detail", .text, required: true, "what is wrong"),
            RESTField("remedy", .text, required: true, "what to do about it"),
        ]
        var all = [
            JSONMember(problemSchema, object(problem, isOpen: false)),
            JSONMember(StreamObject.schema, object(StreamObject.fields, isOpen: false)),
            // What clients say of themselves is theirs: its types are not ours to promise.
            JSONMember(
                ConnectionOperations.schema,
                object(
                    ConnectionOperations.fields.map {
                        $0.isRequired ? $0 : RESTField($0.name, .any, $0.about)
                    }, isOpen: true)),
            JSONMember(ApplicationOperations.schema, object(ApplicationOperations.fields, isOpen: false)),
            JSONMember(ApplicationOperations.methodSchema, object(ApplicationOperations.methodFields, isOpen: false)),
        ]
        for (name, fields) in StreamOperations.snapshotSchemas + RecordingOperations.schemas
            + MultipleRecorderOperations.schemas + HLSOperations.schemas + RTSPOperations.schemas
            + MonitoringPaths.schemas
        {
            all.append(JSONMember(name, object(fields, isOpen: false)))
        }
        return all
    }

    private static func object(_ fields: [RESTField], isOpen: Bool) -> JSONValue {
        let properties = fields.map { field in
            JSONMember(field.name, .object(type(field.kind) + [JSONMember("description", .string(field.about))]))
        }
        var members = [JSONMember("type", .string("object")), JSONMember("properties", .object(properties))]
        let required = fields.filter(\.isRequired).map { JSONValue.string($0.name) }
        if !required.isEmpty { members.append(JSONMember("required", .array(required))) }
        members.append(JSONMember("additionalProperties", .bool(isOpen)))
        return .object(members)
    }

    private static func type(_ kind: RESTField.Kind) -> [JSONMember] {
        switch kind {
        case .text: [JSONMember("type", .string("string"))]
        case .flag: [JSONMember("type", .string("boolean"))]
        case .number: [JSONMember("type", .string("integer")), JSONMember("minimum", .integer(0))]
        case .texts:
            [
                JSONMember("type", .string("array")),
                JSONMember("items", .object([JSONMember("type", .string("string"))])),
            ]
        case .object: [JSONMember("type", .string("object"))]
        case .any: []
        }
    }
}
