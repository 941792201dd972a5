/// The backend web server as the control plane sees it: it is asked before things happen and told afterwards.
/// Every question is bounded by `ControlConfiguration.hookTimeout`; a question without an answer is a refusal.
package protocol BackendHooks: Sendable {
    func connect(_ session: SessionFacts) async -> HookDecision
    func publish(_ request: StreamRequest, session: SessionFacts) async -> HookDecision
    func play(_ request: StreamRequest, session: SessionFacts) async -> HookDecision
    /// Every change of a stream's state, in order.
    func streamStatus(_ event: StreamStatusEvent, session: SessionFacts) async
    /// The session was established (`reason` nil) or ended.
    func connectionStatus(_ session: SessionFacts, ended reason: SessionCloseReason?) async
}

package enum HookDecision: Hashable, Sendable {
    case allow
    /// `code` is an HTTP status, `reason` the text that the client sees.
    case refuse(code: Int, reason: String)
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

/// No backend: everyone may do everything.
package struct AllowAllBackend: BackendHooks {
    package init() {}
    package func connect(_ session: SessionFacts) async -> HookDecision { .allow }
    package func publish(_ request: StreamRequest, session: SessionFacts) async -> HookDecision { .allow }
    package func play(_ request: StreamRequest, session: SessionFacts) async -> HookDecision { .allow }
    package func streamStatus(_ event: StreamStatusEvent, session: SessionFacts) async {}
    package func connectionStatus(_ session: SessionFacts, ended reason: SessionCloseReason?) async {}
}
