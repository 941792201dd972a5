import Hummingbird
import WeirJSON

/// `rtsp/…`: cameras and other RTSP servers that are pulled.
struct RTSPOperations: Sendable {
    private static let schema = "RTSPAgent"
    private static let uri = RESTField(
        "uri", .text, required: true,
        "rtsp://…, or a URL of another scheme that is allowed, with user and password if need be")

    /// nil: this server pulls nothing.
    let pulls: (any StreamPulls)?

    var all: [RESTOperation] {
        [
            RESTOperation(
                "rtsp/startup",
                "Begins to pull an RTSP stream, which can then be played by its URI and goes on without viewers. "
                    + "Answers at once: `rtsp/find` tells what became of it.",
                fields: [Self.uri], answer: .nothing, statuses: [409, 501]
            ) { try startup($0) },
            RESTOperation(
                "rtsp/find", "The RTSP streams with this URI that are pulled.", fields: [Self.uri],
                answer: .list(Self.schema), statuses: [404, 501]
            ) { parameters in
                let found = try served().find(parameters.text(Self.uri.name) ?? "")
                return try RESTOperation.found(found.map(Self.object), "RTSP stream", parameters)
            },
            RESTOperation(
                "rtsp/find_all", "The RTSP streams that are pulled, for viewers or on the operator's word.",
                fields: RESTPage.fields, answer: .list(Self.schema), statuses: [404, 501], isAlsoGET: true
            ) { try RESTOperation.found(try served().all.map(Self.object), "RTSP stream", $0) },
            RESTOperation(
                "rtsp/terminate", "Ends the pulling of an RTSP stream. Its viewers see `RtspAgent shutdown`.",
                fields: [Self.uri], answer: .nothing, statuses: [404, 501]
            ) { parameters in
                guard try served().terminate(parameters.text(Self.uri.name) ?? "") else {
                    throw Problem.nothingFound("RTSP stream")
                }
                return RESTOperation.done
            },
        ]
    }

    static let schemas: [(String, [RESTField])] = [
        (
            schema,
            [
                RESTField("uri", .text, required: true, "without its password"),
                RESTField("status", .text, required: true, "PENDING: connecting, again perhaps; PLAYING"),
            ]
        )
    ]

    private static func object(_ agent: PullAgent) -> JSONValue {
        .object([JSONMember("uri", .string(agent.uri)), JSONMember("status", .string(agent.status))])
    }

    private func served() throws(Problem) -> any StreamPulls {
        guard let pulls else {
            throw Problem(.notImplemented, "Pulling is switched off", remedy: "Set rtsp.pull.enabled.")
        }
        return pulls
    }

    private func startup(_ parameters: RESTParameters) throws -> Response {
        let pulls = try served()
        do throws(PullRefusal) {
            try pulls.startup(parameters.text(Self.uri.name) ?? "")
        } catch {
            throw switch error {
            case .badURI:
                Problem(
                    .badRequest, "uri is not the URI of a stream that can be pulled",
                    remedy: "Send rtsp://HOST/PATH, with what is special in a password percent-encoded.")
            case .notAllowed:
                Problem(
                    .badRequest, "The scheme, host or port of uri is not one that may be pulled",
                    remedy: "See rtsp.pull.schemes and rtsp.pull.hosts in the configuration.")
            case .exists:
                Problem(.conflict, "There is such a stream already", remedy: "Look at what there is by find_all.")
            }
        }
        return RESTOperation.done
    }
}
