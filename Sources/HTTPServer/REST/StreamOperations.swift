import ControlPlane
import FoundationEssentials
import HTTPTypes
import Hummingbird
import WeirJSON

/// `stream/…`
struct StreamOperations: Sendable {
    private static let display = RESTField("display", .texts, "[\"metrics\"] adds counters and rates")
    private static let ids = RESTField("mediaSessionIds", .texts, "ids of several streams")
    private static let snapshotSchema = "Snapshot"

    let control: ControlPlane
    let services: RESTServices

    var all: [RESTOperation] {
        [
            RESTOperation(
                "stream/find", "Published and played streams with these values.",
                fields: StreamObject.filterFields + [Self.ids, Self.display] + RESTPage.fields,
                answer: .list(StreamObject.schema), statuses: [404]
            ) { try await find($0) },
            RESTOperation(
                "stream/find_all", "All published and played streams.", fields: [Self.display] + RESTPage.fields,
                answer: .list(StreamObject.schema), statuses: [404], isAlsoGET: true
            ) { try await find($0) },
            RESTOperation(
                "stream/terminate",
                "Ends the streams with these values, at least one of which must be given. Their clients see "
                    + "`Stopped by rest /terminate`.",
                fields: StreamObject.filterFields + [Self.ids], answer: .nothing, statuses: [404]
            ) { try await terminate($0) },
            RESTOperation(
                "stream/event/send", "Sends a stream event `data` to the players of a stream, as its publisher could.",
                fields: [
                    RESTField("streamName", .text, required: true, "name of a published stream"),
                    RESTField("payload", .any, required: true, "what the players get"),
                ], answer: .nothing, statuses: [404]
            ) { try await sendEvent($0) },
            RESTOperation(
                "stream/snapshot", "A picture of a published stream.",
                fields: [RESTField("streamName", .text, required: true, "name of a published stream")],
                answer: .one(Self.snapshotSchema), statuses: [404, 501, 503]
            ) { try await snapshot($0) },
        ]
    }

    /// The snapshot's schema of the description.
    static let snapshotSchemas: [(String, [RESTField])] = [
        (snapshotSchema, [RESTField("data", .text, required: true, "the PNG file in Base64")])
    ]

    private func wanted(
        _ parameters: RESTParameters, statistics: Bool
    ) async throws -> [(report: StreamReport, object: JSONValue)] {
        let ids = parameters.texts(Self.ids.name).map(Set.init)
        let filter = try parameters.filter(
            except: RESTPage.names.union([Self.display.name, Self.ids.name])
        ).showing("name", StreamName.shown)
        let reports = await control.streamReports(statistics: statistics) { report in
            ids?.contains(report.state.mediaSessionId) != false
        }
        return reports.map { (report: $0, object: StreamObject.make($0, nodeId: services.nodeId)) }
            .filter { filter.matches($0.object) }
    }

    private func find(_ parameters: RESTParameters) async throws -> Response {
        let withMetrics = parameters.texts(Self.display.name)?.contains("metrics") == true
        let found = try await wanted(parameters, statistics: withMetrics)
        return try RESTOperation.found(found.map(\.object), "stream", parameters)
    }

    private func terminate(_ parameters: RESTParameters) async throws -> Response {
        let filter = try parameters.filter(except: [Self.ids.name])
        let ids = parameters.texts(Self.ids.name) ?? []
        guard !filter.isEmpty || !ids.isEmpty else {
            throw Problem(
                .badRequest, "Nothing says which streams to end",
                remedy: "Send mediaSessionId, mediaSessionIds, name, status or another value of the stream.")
        }
        let found = try await wanted(parameters, statistics: false)
        guard await control.terminate(found.map(\.report)) > 0 else { throw Problem.nothingFound("stream") }
        return RESTOperation.done
    }

    private func sendEvent(_ parameters: RESTParameters) async throws -> Response {
        let payload = JSONText(parameters["payload"]?.serialized ?? "null")
        switch await control.sendStreamEvent(to: parameters.text("streamName") ?? "", payload: payload) {
        case .sent: return RESTOperation.done
        case .noStream: throw Problem.nothingFound("stream")
        case .tooLong: throw Problem(.contentTooLarge, "The payload is too long", remedy: "Send less.")
        }
    }

    private func snapshot(_ parameters: RESTParameters) async throws -> Response {
        switch await control.snapshot(of: parameters.text("streamName") ?? "") {
        case .png(let bytes):
            let data = Data(bytes).base64EncodedString()
            return JSONResponse.make(json: .object([JSONMember("data", .string(data))]))
        case .noStream: throw Problem.nothingFound("stream")
        case .failed(let reason):
            throw Problem(.internalServerError, reason, remedy: "Try again when the stream has sent a key frame.")
        case .busy:
            throw Problem(
                .serviceUnavailable, "Too many snapshots are being made", remedy: "Try again later.",
                headers: [.retryAfter: Problem.retrySoon])
        case .notServed:
            throw Problem(.notImplemented, "Snapshots are not served", remedy: "Take a picture at a player.")
        }
    }
}
