import ControlPlane
import Logging
import RESTHooks
import TestSupport
import Testing
import WeirJSON
import WeirMetrics

/// A backend without a network: keeps what it gets, answers as told.
final class FakeTransport: HookTransport {
    enum Behaviour: Sendable {
        case reply(HookReply)
        case fail(HookFailure)
        /// No answer until the latch opens, then 200.
        case hold(Latch)
        /// No answer until the caller gives up.
        case hang

        static let ok = Behaviour.reply(HookReply(status: 200, reason: "OK", body: []))
        static func status(_ code: Int, _ reason: String = "", _ body: String = "") -> Behaviour {
            .reply(HookReply(status: code, reason: reason, body: Array(body.utf8)))
        }
        static func json(_ text: String) -> Behaviour { status(200, "OK", text) }
    }

    struct Post: Sendable {
        let url: String
        let authorization: String?
        let body: JSONValue

        /// Last part of the URL.
        var method: String { url.split(separator: "/").last.map(String.init) ?? "" }
        /// Method and what tells it from others of its kind.
        var short: String {
            let id = body["mediaSessionId"]?.text ?? body["operationId"]?.text
            return [method, id, body["status"]?.text].compactMap { $0 }.joined(separator: " ")
        }
    }

    struct State: Sendable {
        /// By method; "" for all others.
        var behaviours: [String: Behaviour] = [:]
        var posts: [Post] = []
        var inFlight = 0
        var mostInFlight = 0
        var given = 0
    }

    let state = Watched(State())

    func script(_ method: String = "", _ behaviour: Behaviour) { state.update { $0.behaviours[method] = behaviour } }

    func post(_ post: HookPost) async throws(HookFailure) -> HookReply {
        let body = (try? JSONParser.parse(post.body)) ?? .null
        let made = Post(url: post.url, authorization: post.authorization, body: body)
        let behaviour = state.update { state in
            state.posts.append(made)
            state.inFlight += 1
            state.mostInFlight = max(state.mostInFlight, state.inFlight)
            return state.behaviours[made.method] ?? state.behaviours[""] ?? .ok
        }
        defer {
            state.update {
                $0.inFlight -= 1
                $0.given += 1
            }
        }
        switch behaviour {
        case .reply(let reply): return reply
        case .fail(let failure): throw failure
        case .hold(let latch):
            await latch.wait()
            return HookReply(status: 200, reason: "OK", body: [])
        case .hang:
            // Passes when the task is cancelled.
            await Gate().wait()
            throw .unreachable("cancelled")
        }
    }

    func shutdown() async {}

    /// Waits until so many posts were answered.
    func posts(_ count: Int) async throws -> [Post] {
        try await state.wait { $0.posts.count >= count && $0.given >= count }.posts
    }

    var methods: [String] { state.value.posts.map(\.method) }
    var shorts: [String] { state.value.posts.map(\.short) }
}

/// A client that keeps what the backend does to it.
final class FakeClient: HookedClient {
    struct State: Sendable {
        var data: [String] = []
        var errors: [String] = []
        var ended: [String] = []
    }

    let state = Watched(State())

    func deliverData(operationId: String, payload: JSONText) { state.update { $0.data.append(payload.text) } }
    func reportError(_ info: String) { state.update { $0.errors.append(info) } }
    func endByKeepAlive(mediaSessionId: String) { state.update { $0.ended.append(mediaSessionId) } }
}

/// Hooks with everything around them.
struct Plant: Sendable {
    let transport = FakeTransport()
    let clock = ManualClock()
    let metrics = MetricsRegistry()
    let service: RESTHookService

    /// - Parameter applications: nil: one that is called `app` and sends everything.
    init(_ settings: HookSettings = HookSettings(), _ applications: [Application]? = nil) throws {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        service = RESTHookService(
            applications: try Applications(configured: try applications ?? [Self.application()], store: nil),
            settings: settings,
            transport: transport, metrics: metrics, logger: logger, clock: clock)
    }

    static func application(
        _ key: String = "app", methods: Set<String> = Application.allMethods, config: String = "{}",
        credentials: Application.Credentials = .none
    ) throws -> Application {
        try Application(
            key: key, backend: .url("http://backend/\(key)"), methods: methods, credentials: credentials,
            defaultRESTClientConfig: try RESTClientConfig(try JSONParser.parse(Array(config.utf8))))
    }

    func connect(
        _ appKey: String = "app", id: String = "s1", profile: String = #"{"custom":{"user":"ann"}}"#
    ) async -> ConnectDecision {
        let request = ConnectRequest(appKey: appKey, remoteAddress: "192.0.2.1:1", profile: JSONText(profile))
        return await service.connect(SessionFacts(id: id, request: request), request)
    }

    /// A session that was let in.
    func session(
        _ appKey: String = "app", id: String = "s1", config: String? = nil
    ) async throws -> (hooks: any SessionHooks, client: FakeClient) {
        if let config { transport.script("connect", .json(#"{"restClientConfig":\#(config)}"#)) }
        guard case .allow(let admission) = await connect(appKey, id: id) else { throw NotAdmitted() }
        let client = FakeClient()
        admission.hooks.attach(client)
        return (admission.hooks, client)
    }

    func count(_ name: String, _ labels: [(String, String)] = [("app", "app")]) -> UInt64 {
        metrics.counter(name, help: "", labels: labels).value
    }

    func requests(_ method: String, _ result: String) -> UInt64 {
        count("weir_hooks_requests_total", [("app", "app"), ("method", method), ("result", result)])
    }

    struct NotAdmitted: Error {}
}

func status(
    _ id: String, _ status: StreamStatus, published: Bool = true, name: String = "cam", custom: String? = nil
) -> HookEvent {
    .streamStatus(
        StreamStatusEvent(
            request: StreamRequest(
                mediaSessionId: id, name: name, sdp: "SDP", custom: custom.map { JSONText($0) }), published: published,
            status: status))
}

func request(_ id: String, _ name: String = "cam") -> StreamRequest {
    StreamRequest(mediaSessionId: id, name: name, sdp: "SDP")
}
