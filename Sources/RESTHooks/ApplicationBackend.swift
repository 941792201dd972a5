import ControlPlane
import Logging
import Synchronization
import WeirJSON

/// The backend of one application as all its sessions share it: so many POSTs at a time, none while it is down.
///
/// Sending has two steps. A *grant* is leave to send one POST now; waiting for one can be given up at any time, and
/// what is to be sent is taken out of its queue only when there is one. Each grant ends in `send` or `giveBack`.
final class ApplicationBackend: Sendable {
    struct Grant: Sendable {
        fileprivate let admission: CircuitBreaker.Admission
    }

    private struct State {
        var breaker: CircuitBreaker
        /// Senders of events that wait for the breaker.
        var parked: [Int: CheckedContinuation<Void, Never>] = [:]
        var cancelled: Set<Int> = []
        var lastTicket = 0
        /// Lets one of them try when the breaker's time is over.
        var alarm: Task<Void, Never>?
    }

    let application: Application
    let backlog: Backlog
    let metrics: HookMetrics
    let settings: HookSettings
    let timers: Timers
    private let transport: any HookTransport
    private let credentials: Application.Credentials
    private let permits: Permits
    private let logger: Logger
    private let state: Mutex<State>

    init(
        _ application: Application, settings: HookSettings, transport: any HookTransport, timers: Timers,
        metrics: HookMetrics, logger: Logger
    ) {
        self.application = application
        self.settings = settings
        self.transport = transport
        self.timers = timers
        self.metrics = metrics
        credentials =
            application.credentials == .none && !settings.secretKey.isEmpty
            ? .signature(secret: settings.secretKey) : application.credentials
        var logger = logger
        logger[metadataKey: "app"] = "\(application.key)"
        self.logger = logger
        backlog = Backlog(limit: settings.backlog)
        permits = Permits(settings.concurrency)
        state = Mutex(State(breaker: CircuitBreaker(settings.breaker)))
    }

    /// Whether calls have a chance.
    var isUp: Bool { state.withLock { $0.breaker.isClosed } }

    // MARK: Grants

    /// For a call whose client waits: at once while the backend is down, else until `deadline`.
    func grantForCall(until deadline: Duration) async throws(HookFailure) -> Grant {
        let admission = state.withLock { $0.breaker.admit(now: timers.now) }
        guard admission != .rejected else { throw .circuitOpen }
        if permits.tryAcquire() { return Grant(admission: admission) }
        let permits = permits
        let granted = await withDeadline(
            timers, deadline - timers.now, late: { if $0 { permits.release() } }, { await permits.acquire() })
        if granted == true {
            // It may have opened meanwhile.
            if admission == .probe || isUp { return Grant(admission: admission) }
            permits.release()
            throw .circuitOpen
        }
        abandon(admission)
        throw granted == nil ? .timeout : .circuitOpen
    }

    /// For an event, which can wait; nil if the task was cancelled.
    /// - Parameter whileDown: called each time before the wait for a backend that is down begins.
    func grantForEvent(whileDown: () -> Void) async -> Grant? {
        while !Task.isCancelled {
            let admission = state.withLock { $0.breaker.admit(now: timers.now) }
            if admission == .rejected {
                whileDown()
                await park()
            } else if await permits.acquire() {
                if !Task.isCancelled, admission == .probe || isUp { return Grant(admission: admission) }
                permits.release()
                abandon(admission)
            } else {
                abandon(admission)
            }
        }
        return nil
    }

    /// A grant that is not used.
    func giveBack(_ grant: Grant) {
        permits.release()
        abandon(grant.admission)
    }

    private func abandon(_ admission: CircuitBreaker.Admission) {
        guard admission == .probe else { return }
        state.withLock { $0.breaker.abandon(admission) }
        wakeOne()
    }

    // MARK: Sending

    /// Sends one hook and uses the grant up.
    /// - Parameter timeout: for the whole answer; a probe gets less.
    func send(
        _ grant: Grant, _ method: HookMethod, as name: String, _ members: [JSONMember], timeout: Duration
    ) async -> Result<[JSONMember], HookFailure> {
        defer { permits.release() }
        var body: [UInt8] = []
        JSONValue.object(members).write(to: &body)
        let post = HookPost(
            url: "\(application.backend.text)/\(name)",
            authorization: credentials.authorization(for: body), body: body)
        let started = timers.now
        let transport = transport
        let limit = grant.admission == .probe ? min(timeout, settings.probeTimeout) : timeout
        let reply = await withDeadline(timers, limit) { () -> Result<HookReply, HookFailure> in
            do throws(HookFailure) {
                return .success(try await transport.post(post))
            } catch {
                return .failure(error)
            }
        }
        metrics.seconds.observe((timers.now - started) / .seconds(1))
        let result = Self.read(reply)
        record(result, grant.admission)
        switch result {
        case .success: metrics.count(method, "ok")
        case .failure(let failure): metrics.count(method, failure.label)
        }
        return result
    }

    private static func read(_ reply: Result<HookReply, HookFailure>?) -> Result<[JSONMember], HookFailure> {
        do throws(HookFailure) {
            guard let reply else { throw .timeout }
            return .success(try reply.get().members())
        } catch {
            return .failure(error)
        }
    }

    // MARK: Circuit breaker

    private func record(_ result: Result<[JSONMember], HookFailure>, _ admission: CircuitBreaker.Admission) {
        var isOutage = false
        if case .failure(let failure) = result { isOutage = failure.isOutage }
        let now = timers.now
        let (before, after) = state.withLock { state in
            let before = state.breaker.state
            state.breaker.record(isOutage: isOutage, admission, now: now)
            if case .open(let until, _) = state.breaker.state, state.breaker.state != before { setAlarm(&state, until) }
            return (before, state.breaker.state)
        }
        guard before != after else { return }
        switch (before, after) {
        case (.closed, .open):
            metrics.circuit.set(1)
            logger.warning("hooks: the backend seems to be down, nothing is sent for a while", metadata: log(result))
            permits.failWaiting()
        case (_, .open):
            logger.info("hooks: the backend is still down", metadata: log(result))
            wakeOne()
        case (.halfOpen, .closed):
            metrics.circuit.set(0)
            logger.notice("hooks: the backend is back")
            wakeAll()
        default: break
        }
    }

    private func log(_ result: Result<[JSONMember], HookFailure>) -> Logger.Metadata {
        guard case .failure(let failure) = result else { return [:] }
        return ["error": "\(failure)"]
    }

    private func setAlarm(_ state: inout State, _ until: Duration) {
        state.alarm?.cancel()
        let timers = timers
        state.alarm = Task { [weak self] in
            if await timers.sleep(until: until) { self?.wakeOne() }
        }
    }

    /// Until something changes or the task is cancelled.
    private func park() async {
        let ticket = state.withLock { state in
            state.lastTicket += 1
            return state.lastTicket
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let now = timers.now
                let passes = state.withLock { state in
                    // What it was rejected for may be over already.
                    if state.cancelled.remove(ticket) != nil || state.breaker.mayAdmit(now: now) { return true }
                    state.parked[ticket] = continuation
                    return false
                }
                if passes { continuation.resume() }
            }
        } onCancel: {
            let waiter = state.withLock { state -> CheckedContinuation<Void, Never>? in
                if let waiter = state.parked.removeValue(forKey: ticket) { return waiter }
                state.cancelled.insert(ticket)
                return nil
            }
            waiter?.resume()
        }
        state.withLock { _ = $0.cancelled.remove(ticket) }
    }

    private func wakeOne() {
        let waiter = state.withLock { state in
            state.parked.keys.min().flatMap { state.parked.removeValue(forKey: $0) }
        }
        waiter?.resume()
    }

    private func wakeAll() {
        let waiters = state.withLock { state in
            defer { state.parked = [:] }
            return Array(state.parked.values)
        }
        for waiter in waiters { waiter.resume() }
    }
}

extension CircuitBreaker {
    /// Whether `admit` would let somebody through.
    func mayAdmit(now: Duration) -> Bool {
        var copy = self
        return copy.admit(now: now) != .rejected
    }
}
