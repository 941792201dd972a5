import ControlPlane
import Logging
import Synchronization
import WeirJSON

/// The hooks of one session to a backend over HTTP: one POST at a time, in order; keep-alives beside them.
///
/// Owned by its `ClientSession`, and by the task that sends (`RemoteSession+Queue.swift`) as long as something waits.
final class RemoteSession: SessionHooks, BacklogOwner {
    /// What waits to be sent.
    struct Entry: Sendable {
        enum Work: Sendable {
            case ask(DirectCall, HookAnswer, deadline: Duration)
            case tell(HookEvent)
            /// `ErrorEvent`.
            case error(String)
        }

        let id: Int
        let work: Work
        /// Of events; calls are bounded by their deadline.
        let ticket: Backlog.Ticket?
        let after: Gate?
        /// Of events: opens when the backend has been told or never will be.
        let done: Gate?
        var alarm: Task<Void, Never>?
    }

    struct State {
        var client: (any HookedClient)?
        var entries: [Entry] = []
        var lastId = 0
        /// Sends as long as there are entries.
        var runner: Task<Void, Never>?
        /// It has taken an entry out and is busy with it.
        var isSending = false
        /// Streams that are PUBLISHING or PLAYING, with the last event of each, and what asks about them.
        var live: [String: (event: StreamStatusEvent, timer: Task<Void, Never>)] = [:]
        var isFinished = false
        var hasLoggedRefusal = false
    }

    let backend: ApplicationBackend
    let config: RESTClientConfig
    let state = Mutex(State())
    let logger: Logger
    private let context: [JSONMember]
    /// For `ConnectionStatusEvent`.
    private let known: [JSONMember]

    init(
        _ facts: SessionFacts, backend: ApplicationBackend, config: RESTClientConfig, profile: [JSONMember],
        logger: Logger
    ) {
        self.backend = backend
        self.config = config
        context = Self.context(
            nodeId: backend.settings.nodeId, appKey: backend.application.key, sessionId: facts.id)
        known = HookBody.session(profile)
        var logger = logger
        logger[metadataKey: "session"] = "\(facts.id)"
        logger[metadataKey: "app"] = "\(facts.appKey)"
        self.logger = logger
    }

    /// What every body begins with.
    static func context(nodeId: String, appKey: String, sessionId: String) -> [JSONMember] {
        [
            JSONMember("nodeId", .string(nodeId)), JSONMember("appKey", .string(appKey)),
            JSONMember("sessionId", .string(sessionId)),
        ]
    }

    var timers: Timers { backend.timers }
    var client: (any HookedClient)? { state.withLock { $0.client } }

    // MARK: SessionHooks

    func attach(_ client: any HookedClient) { state.withLock { $0.client = client } }

    func ask(_ call: DirectCall) -> HookAnswer {
        guard sendName(call.method) != nil else { return HookAnswer(.allow) }
        let answer = HookAnswer()
        if let failure = enqueue(call, answer) { answer.settle(decide(.failure(failure), call)) }
        return answer
    }

    func tell(_ event: HookEvent, after: Gate?) -> Gate? {
        if case .streamStatus(let status) = event { follow(status) }
        guard sendName(event.method) != nil else { return nil }
        return enqueue(.tell(event), isLow: event.isLow, after: after)
    }

    func clientExclude(_ method: HookMethod) -> Set<String> { config.config(method).clientExclude ?? [] }

    func finish() {
        let timers = state.withLock { state in
            state.isFinished = true
            state.client = nil
            defer { state.live = [:] }
            return state.live.values.map(\.timer)
        }
        for timer in timers { timer.cancel() }
    }

    /// The name under which a method is sent; nil if it is not.
    func sendName(_ method: HookMethod) -> String? {
        config.config(method).isDisabled ? nil : backend.application.attachedName(method)
    }

    // MARK: What is sent and what comes of it

    /// Sends what the grant is for and uses the grant up.
    func perform(_ entry: Entry, _ grant: ApplicationBackend.Grant) async {
        switch entry.work {
        case .ask(let call, let answer, let deadline):
            let result = await send(grant, call.method, HookBody.call(call), timeout: deadline - timers.now)
            answer.settle(decide(result, call))
        case .tell(let event):
            let members = HookBody.event(event, session: known)
            let result = await send(grant, event.method, members, timeout: backend.settings.timeout)
            if case .failure(let failure) = result { failed(event.method, failure) }
        case .error(let info):
            let members = [JSONMember("info", .string(info))]
            let result = await send(grant, .errorEvent, members, timeout: backend.settings.timeout)
            if case .failure(let failure) = result { log(.errorEvent, failure, "an ErrorEvent was not taken") }
        }
    }

    func send(
        _ grant: ApplicationBackend.Grant, _ method: HookMethod, _ members: [JSONMember], timeout: Duration
    ) async -> Result<[JSONMember], HookFailure> {
        let excluded = config.config(method).restExclude ?? []
        let body = context + (excluded.isEmpty ? members : members.filter { !excluded.contains($0.name) })
        return await backend.send(grant, method, as: sendName(method) ?? method.rawValue, body, timeout: timeout)
    }

    /// What an answer means for a call that can be refused.
    func decide(_ result: Result<[JSONMember], HookFailure>, _ call: DirectCall) -> HookDecision {
        let config = config.config(call.method)
        switch result {
        case .success(let members):
            guard config.restPolicy == .overwrite, let fields = config.restOverwrite, !members.isEmpty else {
                return .allow
            }
            switch call {
            case .publish(let request), .play(let request):
                return .change(request.overwritten(by: members, fields: fields))
            case .data, .snapshot, .bugReport: return .allow
            }
        case .failure(let failure):
            guard config.failsOnError else {
                ignore(call.method, failure)
                return .allow
            }
            log(call.method, failure, "a call was not allowed")
            return .refuse(code: failure.clientCode, reason: failure.clientReason)
        }
    }

    /// An event was not taken. Under FAIL the client and the backend hear of that; nothing else happens.
    private func failed(_ method: HookMethod, _ failure: HookFailure) {
        guard config.config(method).failsOnError else {
            ignore(method, failure)
            return
        }
        log(method, failure, "an event was not taken")
        let info = "\(method.rawValue): \(failure.clientReason)"
        client?.reportError(info)
        // A backend that is down does not want to hear of it.
        if sendName(.errorEvent) != nil, backend.isUp { enqueue(.error(info), isLow: true, after: nil) }
    }

    func ignore(_ method: HookMethod, _ failure: HookFailure) {
        backend.metrics.ignored.increment()
        guard case .refused = failure else {
            log(method, failure, "an error of the backend is ignored: restOnError is LOG")
            return
        }
        let isFirst = state.withLock { state in
            defer { state.hasLoggedRefusal = true }
            return !state.hasLoggedRefusal
        }
        if isFirst {
            logger.warning(
                "hooks: a refusal of the backend has no effect: restOnError is LOG. Told once per session",
                metadata: ["method": "\(method.rawValue)", "error": "\(failure)"])
        }
    }

    func log(_ method: HookMethod, _ failure: HookFailure, _ what: String) {
        // That the backend is down was said once for all.
        if failure == .circuitOpen { return }
        logger.info("hooks: \(what)", metadata: ["method": "\(method.rawValue)", "error": "\(failure)"])
    }
}
