/// The backend web server as the control plane sees it: it is asked before things happen and told afterwards.
package protocol BackendHooks: Sendable {
    /// Asks whether a client may connect. An answer that comes after `ControlConfiguration.hookTimeout` is not heard,
    /// and its session is finished.
    func connect(_ session: SessionFacts, _ request: ConnectRequest) async -> ConnectDecision

    /// Asks whether a viewer without a session may play (`playHLS`, `playRTSP`). Answers in bounded time.
    func play(_ viewer: ViewerRequest) async -> HookDecision

    /// Returns when all that sessions told before has been delivered or given up.
    func drain() async
}

/// The backend's answer to `connect`.
package enum ConnectDecision: Sendable {
    case allow(Admission)
    /// `code` is an HTTP status, `reason` the text that the client sees.
    case refuse(code: Int, reason: String)
    /// Nobody has that application key.
    case unknownApplication
}

/// A session that the backend lets in.
package struct Admission: Sendable {
    /// How the session asks and tells from now on. Each needs one `finish` in the end.
    package var hooks: any SessionHooks
    /// The connection object with what the backend changed in it.
    package var profile: JSONText?
    /// The client's `custom`, perhaps changed; goes with later events.
    package var custom: JSONText?

    package init(hooks: any SessionHooks, profile: JSONText?, custom: JSONText?) {
        self.hooks = hooks
        self.profile = profile
        self.custom = custom
    }
}

/// The hooks of one session, in one order: what is asked and told reaches the backend as it was called here.
///
/// No call waits for the backend, and no call may be made that calls back before it returns.
package protocol SessionHooks: Sendable {
    /// The client of the session, for what the backend does to it; called once, before everything else.
    func attach(_ client: any HookedClient)

    /// Asks the backend. The answer comes in bounded time, whatever the backend does.
    func ask(_ call: DirectCall) -> HookAnswer

    /// Tells the backend. Returns a gate that opens when the backend has been told (or never will be); nil if nobody is
    /// told. With `after`, the backend is not told before that gate is open.
    @discardableResult
    func tell(_ event: HookEvent, after: Gate?) -> Gate?

    /// Fields that the client is not to see in messages of that method.
    func clientExclude(_ method: HookMethod) -> Set<String>

    /// The session has ended: nothing follows. What was told before is still delivered.
    func finish()
}

extension SessionHooks {
    @discardableResult
    package func tell(_ event: HookEvent) -> Gate? { tell(event, after: nil) }
}

/// What a backend may do to the client of a session. All return at once.
package protocol HookedClient: AnyObject, Sendable {
    /// Sends data to the client, in the order of the calls.
    func deliverData(operationId: String, payload: JSONText)
    /// Lets the client know of an error that ended nothing (`ErrorEvent`).
    func reportError(_ info: String)
    /// Ends a stream: `Terminated by keep-alive`.
    func endByKeepAlive(mediaSessionId: String)
}

/// What the backend may refuse.
package enum DirectCall: Sendable {
    case publish(StreamRequest)
    case play(StreamRequest)
    case data(operationId: String, payload: JSONText)
    case snapshot(mediaSessionId: String, name: String)
    case bugReport(text: String, type: String)

    package var method: HookMethod {
        switch self {
        case .publish: .publishStream
        case .play: .playStream
        case .data: .onDataEvent
        case .snapshot: .snapshot
        case .bugReport: .sendBugReport
        }
    }
}

/// What the backend is only told.
package enum HookEvent: Sendable {
    case established(authToken: String)
    case connectionFailed(info: String)
    case disconnected(SessionCloseReason)
    case streamStatus(StreamStatusEvent)
    /// The client stops a stream: `unPublishStream` or `stopStream`. Carries the state in which the stream was.
    case stop(StreamStatusEvent)
    case pause(StreamStatusEvent)
    /// A publisher's stream event …
    case sentStreamEvent(mediaSessionId: String, type: String, payload: JSONText?)
    /// … and how a player got it.
    case streamEvent(mediaSessionId: String, type: String, payload: JSONText?)
    /// A recording of a publisher's stream began or ended; goes as `StreamEvent`.
    case recording(mediaSessionId: String, type: String, payload: JSONText?)
    case dataStatus(operationId: String, accepted: Bool, info: String?)
    case bugReportStatus(fileName: String, text: String, type: String)
    case logs(String)
    case sessionDebug(command: String)
    case sessionDebugStatus(started: Bool, file: String?)

    package var method: HookMethod {
        switch self {
        case .established, .connectionFailed, .disconnected: .connectionStatusEvent
        case .streamStatus: .streamStatusEvent
        case .stop(let stream): stream.published ? .unPublishStream : .stopStream
        case .pause: .pauseStream
        case .sentStreamEvent: .sendStreamEvent
        case .streamEvent, .recording: .streamEvent
        case .dataStatus: .dataStatusEvent
        case .bugReportStatus: .bugReportStatusEvent
        case .logs: .pushLogs
        case .sessionDebug: .sessionDebug
        case .sessionDebugStatus: .sessionDebugStatusEvent
        }
    }
}

package enum HookDecision: Hashable, Sendable {
    case allow
    /// Allowed, with what the backend changed. Only for `publish` and `play`.
    case change(StreamRequest)
    /// `code` is an HTTP status, `reason` the text that the client sees.
    case refuse(code: Int, reason: String)
}

/// An answer that may still be on its way. One waiter.
package final class HookAnswer: Sendable {
    private let outcome = Outcome<HookDecision>()

    package init() {}

    package init(_ decision: HookDecision) { outcome.settle(decision) }

    /// False if there was an answer before.
    @discardableResult
    package func settle(_ decision: HookDecision) -> Bool { outcome.settle(decision) }

    package var decision: HookDecision { get async { await outcome.wait() } }
}

/// A viewer that is no session of the control plane.
package struct ViewerRequest: Hashable, Sendable {
    /// `.playHLS` or `.playRTSP`.
    package var method: HookMethod
    package var appKey: String
    package var sessionId: String
    package var name: String
    package var mediaSessionId: String
    package var token: String?
    package var custom: JSONText?
    package var rtspUrl: String?
    package var userAgent: String?

    package init(
        method: HookMethod, appKey: String = ControlConfiguration.defaultAppKey, sessionId: String, name: String,
        mediaSessionId: String, token: String? = nil, custom: JSONText? = nil, rtspUrl: String? = nil,
        userAgent: String? = nil
    ) {
        self.method = method
        self.appKey = appKey
        self.sessionId = sessionId
        self.name = name
        self.mediaSessionId = mediaSessionId
        self.token = token
        self.custom = custom
        self.rtspUrl = rtspUrl
        self.userAgent = userAgent
    }
}

/// What the backend learns about a session.
package struct SessionFacts: Hashable, Sendable {
    package var id: String
    package var appKey: String
    package var kind: SessionKind
    /// As the adapter gave it, usually `address:port`.
    package var remoteAddress: String
    package var custom: JSONText?
    package var bearerToken: String?
    package var query: String?

    package init(id: String, request: ConnectRequest) {
        self.id = id
        appKey = request.appKey
        kind = request.kind
        remoteAddress = request.remoteAddress
        custom = request.custom
        bearerToken = request.bearerToken
        query = request.query
    }
}
