import ControlPlane
import HTTPTypes
import Hummingbird
import WeirJSON

/// `/?action=stat`: the statistics page of the original, with the groups and keys that have a meaning here.
struct Statistics: Sendable {
    struct Group: Sendable {
        let name: String
        let title: String
        let values: [(key: String, value: JSONValue)]
    }

    let control: ControlPlane
    let services: RESTServices
    /// nil: this server has no HLS.
    let hls: (any HLSBackend)?

    func groups() async -> [Group] {
        let sessions = control.sessions()
        let streams = await control.streams()
        let capacity = control.capacity
        let process = services.process()
        func number(_ kind: SessionKind) -> Int { sessions.count { $0.facts.kind == kind } }
        func count(_ kind: SessionKind) -> JSONValue { .integer(number(kind)) }
        func published(_ kinds: SessionKind...) -> JSONValue {
            .integer(streams.count { kinds.contains($0.kind) })
        }
        let outputs = hls?.all ?? []
        let watched = Dictionary(
            outputs.map { ($0.name, $0.status.viewers) }, uniquingKeysWith: { first, _ in first })
        let players = streams.reduce(0) { $0 + $1.viewers }
        let viewers = streams.map {
            "\(PathSegment.encode(StreamName.shown($0.name)))/\($0.players + $0.viewers + (watched[$0.name] ?? 0))"
        }
        .joined(separator: ";")
        return [
            Group(
                name: "connections_stats", title: "Connection Stats",
                values: [
                    ("connections", .integer(sessions.count)), ("connections_websocket", count(.webSocket)),
                    ("connections_whip", count(.whip)), ("connections_whep", count(.whep)),
                    ("connections_hls", .integer(watched.values.reduce(0, +))),
                    // Players have no session, publishers have.
                    ("connections_rtsp", .integer(players + number(.rtsp))),
                ]),
            Group(
                name: "streams_stats", title: "Stream Stats",
                values: [
                    ("streams_webrtc_in", published(.webSocket, .whip)),
                    ("streams_webrtc_out", .integer(capacity.players - players)),
                    ("streams_rtsp_in", published(.rtsp)), ("streams_rtsp_out", .integer(players)),
                    ("streams_on_demand", published(.onDemand)), ("streams_hls", .integer(outputs.count)),
                    ("streams_viewers", .string(viewers)),
                ]),
            Group(
                name: "core_stats", title: "Core Stats",
                values: [
                    ("core_threads", .integer(process.threads)),
                    ("core_resident_memory", .integer(process.residentMemory)),
                    ("core_uptime_seconds", .integer(process.uptime.components.seconds)),
                    ("core_cpu_percent", .integer(Int(capacity.load.cpu.rounded()))),
                    ("core_packets_per_second", .integer(Int(capacity.load.packetRate.rounded()))),
                ]),
        ]
    }

    func response(_ query: [(name: String, value: String)]) async -> Response {
        func parameter(_ name: String) -> String? { query.last { $0.name == name }?.value }
        let wanted = parameter("groups").map { Set($0.split(separator: ",").map(String.init)) }
        let groups = await groups().filter { wanted?.contains($0.name) != false }
        if parameter("format") == "json" {
            return JSONResponse.make(
                json: .object(
                    groups.map { group in
                        JSONMember(group.name, .object(group.values.map { JSONMember($0.key, $0.value) }))
                    }))
        }
        let text = groups.map { group in
            "-----\(group.title)-----\n" + group.values.map { "\($0.key)=\($0.value.text ?? "")\n" }.joined()
        }.joined()
        return Response(
            status: .ok, headers: [.contentType: "text/plain; charset=utf-8", .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }
}

/// Answers `/?action=stat` before the page at `/` does.
struct StatisticsMiddleware: RouterMiddleware {
    let statistics: Statistics
    let access: AdminAccess

    func handle(
        _ request: Request, context: HTTPContext, next: (Request, HTTPContext) async throws -> Response
    ) async throws -> Response {
        guard request.uri.path == "/", request.method == .get || request.method == .head else {
            return try await next(request, context)
        }
        let query = WebRTCConnect.parameters(of: request.uri.query)
        guard query.contains(where: { $0.name == "action" && $0.value == "stat" }) else {
            return try await next(request, context)
        }
        try access.check(request, context)
        let response = await statistics.response(query)
        return request.method == .head ? response.createHeadResponse() : response
    }
}
