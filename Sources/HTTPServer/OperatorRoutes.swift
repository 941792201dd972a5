import ControlPlane
import FoundationEssentials
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import Synchronization
import WeirMetrics

/// `/health`, `/health/live`, `/health/ready`, `/capacity`, `/metrics`, `/api/streams`, `/api/addresses`, `/api/log-level` and `/apps/EchoApp`.
struct OperatorRoutes: Sendable {
    static let metricsType = "text/plain; version=0.0.4; charset=utf-8"
    private static let levelBodyLimit = 1_024
    /// A hook carries the client's offer and whatever it gave as `custom`.
    private static let echoBodyLimit = 4 << 20

    let control: ControlPlane
    /// nil: this server has no HLS.
    let hls: (any HLSBackend)?
    let metrics: MetricsRegistry
    let access: AdminAccess
    let publicStreamList: Bool
    let addresses: ServiceAddresses
    let logLevel: LogLevelControl
    let state: ServiceState
    let logger: Logger

    func add(to router: Router<HTTPContext>) {
        // The old path says what /health/ready says.
        for path in ["/health", "/health/ready"] {
            router.serve(RouterPath(path), both { _, _ in readiness() })
        }
        router.serve("/health/live", both { _, _ in JSONResponse.make(HealthBody(status: "ok")) })
        router.serve(
            "/capacity",
            both { request, context in
                try access.check(request, context)
                return JSONResponse.make(CapacityBody(control.capacity))
            })
        router.serve(
            "/metrics",
            both { request, context in
                try access.check(request, context)
                let headers: HTTPFields = [.contentType: Self.metricsType, .cacheControl: "no-store"]
                let body = ByteBuffer(string: metrics.render())
                return Response(status: .ok, headers: headers, body: ResponseBody(byteBuffer: body))
            })
        router.serve(
            "/api/streams",
            both { request, context in
                if !publicStreamList { try access.check(request, context) }
                return JSONResponse.make(await control.streams().map(entry))
            })
        // For everyone: whoever plays knows them already.
        router.serve("/api/addresses", both { _, _ in JSONResponse.make(addresses) })
        router.serve(
            "/api/log-level",
            both { request, context in
                try access.check(request, context)
                return JSONResponse.make(LevelBody(level: logLevel.get().rawValue))
            }.merging([.put: { try await setLevel($0, $1) }]) { $1 })
        router.serve("/apps/EchoApp/{method}", [.post: { try await echo($0, $1) }])
    }

    /// The backend that allows everything: the answer is what came (reference part 1.1). An application that leads here
    /// by `url: /apps/EchoApp` does not take the way over HTTP; this is for those that name the whole URL.
    private func echo(_ request: Request, _ context: HTTPContext) async throws -> Response {
        try access.check(request, context)
        let body: ByteBuffer
        do {
            body = try await request.body.collect(upTo: Self.echoBodyLimit)
        } catch is NIOTooManyBytesError {
            throw Problem(
                .contentTooLarge, "The body is larger than \(Self.echoBodyLimit) bytes", remedy: "Send less.")
        }
        let headers: HTTPFields = [.contentType: "application/json", .cacheControl: "no-store"]
        return Response(status: .ok, headers: headers, body: ResponseBody(byteBuffer: body))
    }

    private func entry(_ summary: StreamSummary) -> StreamEntry {
        StreamEntry(summary, hlsViewers: hls?.running(named: summary.name)?.status.viewers ?? 0)
    }

    /// GET, and HEAD without the body.
    private func both(_ handler: @escaping Handler) -> [HTTPRequest.Method: Handler] {
        [
            .get: handler,
            .head: { try await handler($0, $1).createHeadResponse() },
        ]
    }

    /// Whether new clients should be sent here.
    private func readiness() -> Response {
        let reason: String
        if state.isShuttingDown {
            reason = "The server is shutting down"
        } else if control.isDraining {
            reason = "The server is draining"
        } else {
            return JSONResponse.make(HealthBody(status: "ok"))
        }
        return Problem(
            .serviceUnavailable, reason, remedy: "Use another server.", headers: [.retryAfter: Problem.retryLater]
        ).response()
    }

    private func setLevel(_ request: Request, _ context: HTTPContext) async throws -> Response {
        try access.check(request, context)
        let body = try await request.body.collect(upTo: Self.levelBodyLimit)
        let names = Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")
        let data = Data(body.readableBytesView)
        guard let wanted = try? JSONDecoder().decode(LevelBody.self, from: data) else {
            throw Problem(
                .badRequest, "The body is not {\"level\": \"NAME\"}", remedy: "Send JSON with one of: \(names).")
        }
        guard let level = Logger.Level(rawValue: wanted.level.lowercased()) else {
            throw Problem(.badRequest, "There is no log level of this name", remedy: "Send one of: \(names).")
        }
        logLevel.set(level)
        logger.notice("log level changed", metadata: ["level": "\(level)", "peer": "\(context.remoteText)"])
        return JSONResponse.make(LevelBody(level: level.rawValue))
    }
}

/// Whether the server still takes work; shared by the service and `/health`.
final class ServiceState: Sendable {
    private let shuttingDown = Atomic<Bool>(false)

    var isShuttingDown: Bool { shuttingDown.load(ordering: .relaxed) }
    func beginShutdown() { shuttingDown.store(true, ordering: .relaxed) }
}

private struct HealthBody: Encodable {
    var status: String
}

private struct CapacityBody: Encodable {
    struct Limits: Encodable {
        var sessions: Int
        var streams: Int
        var players: Int
        var playersPerStream: Int
        /// Packets per second.
        var packetRate: Int
        /// Percent of the processors.
        var cpu: Int
    }

    struct Load: Encodable {
        var sessions: Int
        var streams: Int
        var players: Int
        var packetRate: Int
        var cpu: Int
    }

    var verdict: String
    var reason: String?
    var limits: Limits
    var load: Load

    init(_ report: CapacityReport) {
        verdict = report.verdict.rawValue
        reason = report.reason
        limits = Limits(
            sessions: report.limits.sessions, streams: report.limits.streams, players: report.limits.players,
            playersPerStream: report.limits.playersPerStream, packetRate: report.limits.packetRate,
            cpu: report.limits.cpu)
        load = Load(
            sessions: report.sessions, streams: report.streams, players: report.players,
            packetRate: Int(report.load.packetRate.rounded()), cpu: Int(report.load.cpu.rounded()))
    }
}

private struct LevelBody: Codable {
    var level: String
}

/// One stream as the page shows it. Ids of sessions stay inside: they are nobody's business.
private struct StreamEntry: Encodable {
    var name: String
    /// `websocket`, `whip` or `rtsp`.
    var kind: String
    /// False while the publisher is still connecting.
    var isLive: Bool
    var audioCodec: String?
    var videoCodec: String?
    /// Pixels, 0 = not known.
    var width: Int
    var height: Int
    /// Bits per second from the publisher.
    var bitrate: Int
    var audioMuted: Bool
    var videoMuted: Bool
    /// Its pictures are out of order (B frames).
    var reordered: Bool
    var players: Int
    /// Who has asked for its playlist lately.
    var hlsViewers: Int
    var rtspPlayers: Int
    /// Seconds since it became live.
    var uptime: Int64

    init(_ summary: StreamSummary, hlsViewers: Int) {
        name = StreamName.shown(summary.name)
        kind = summary.kind.rawValue
        isLive = summary.isLive
        audioCodec = summary.audioCodec
        videoCodec = summary.videoCodec
        width = summary.width
        height = summary.height
        bitrate = summary.bitsPerSecond
        audioMuted = summary.audioMuted
        videoMuted = summary.videoMuted
        reordered = summary.isReordered
        players = summary.players
        self.hlsViewers = hlsViewers
        rtspPlayers = summary.viewers
        uptime = summary.uptime.components.seconds
    }
}
