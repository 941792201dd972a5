import ControlPlane
import WeirJSON

/// Paths of monitoring as the description tells them; served by `OperatorRoutes` and `StatisticsMiddleware`.
enum MonitoringPaths {
    static let capacitySchema = "Capacity"
    static let healthSchema = "Health"

    static let schemas: [(String, [RESTField])] = [
        (
            capacitySchema,
            [
                RESTField("verdict", .text, required: true, "accepting, full, draining or ending"),
                RESTField("reason", .text, "why new players are refused"),
                RESTField("limits", .object, required: true, "what there may be; 0: no limit"),
                RESTField("load", .object, required: true, "what there is"),
            ]
        ), (healthSchema, [RESTField("status", .text, required: true, "ok")]),
    ]

    static var described: [JSONMember] {
        [
            path("/health/live", "Whether the process answers.", json(OpenAPI.reference(healthSchema)), [500]),
            path(
                "/health/ready", "Whether new clients should be sent here: not while draining or ending.",
                json(OpenAPI.reference(healthSchema)), [500, 503]),
            path(
                "/capacity", "Limits, load, and whether another player is let in.",
                json(OpenAPI.reference(capacitySchema)), operators),
            path(
                "/metrics", "Metrics for Prometheus.",
                OpenAPI.content("text/plain", .object([JSONMember("type", .string("string"))])), operators),
            statistics,
        ]
    }

    private static let operators = [401, 403, 500]

    private static func json(_ schema: JSONValue) -> JSONValue { OpenAPI.content("application/json", schema) }

    private static func path(
        _ path: String, _ summary: String, _ content: JSONValue, _ statuses: [Int],
        parameters: [JSONValue] = []
    ) -> JSONMember {
        let name = path.split { !$0.isLetter }.joined(separator: "_")
        return JSONMember(
            path,
            .object([
                JSONMember(
                    "get",
                    .object([
                        JSONMember("operationId", .string(name.isEmpty ? "statistics" : name)),
                        JSONMember("summary", .string(summary)),
                        JSONMember("tags", .array([.string("monitoring")])),
                        JSONMember("parameters", .array(parameters)),
                        JSONMember(
                            "responses",
                            .object(
                                [
                                    JSONMember(
                                        "200",
                                        .object([
                                            JSONMember("description", .string("Now.")),
                                            JSONMember("content", content),
                                        ]))
                                ] + OpenAPI.problems(statuses))),
                    ]))
            ]))
    }

    private static var statistics: JSONMember {
        func parameter(_ name: String, _ schema: [JSONMember], required: Bool, _ about: String) -> JSONValue {
            .object([
                JSONMember("name", .string(name)), JSONMember("in", .string("query")),
                JSONMember("required", .bool(required)), JSONMember("description", .string(about)),
                JSONMember("schema", .object([JSONMember("type", .string("string"))] + schema)),
            ])
        }
        let content = JSONValue.object([
            JSONMember(
                "text/plain",
                .object([JSONMember("schema", .object([JSONMember("type", .string("string"))]))])),
            JSONMember(
                "application/json",
                .object([JSONMember("schema", .object([JSONMember("type", .string("object"))]))])),
            // The page.
            JSONMember(
                "text/html", .object([JSONMember("schema", .object([JSONMember("type", .string("string"))]))])),
        ])
        return path(
            "/", "Statistics as the original has them. Without action=stat this is the page.", content, operators,
            parameters: [
                parameter(
                    "action", [JSONMember("enum", .array([.string("stat")]))], required: true, "stat"),
                parameter(
                    "format", [JSONMember("enum", .array([.string("text"), .string("json")]))], required: false,
                    "text, or json"),
                parameter("groups", [], required: false, "names of groups with commas between them; all without it"),
            ])
    }
}
