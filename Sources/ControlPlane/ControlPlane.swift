import Logging
import WeirMetrics

/// The control side of the server: admits sessions, routes media events, ends everything in order.
///
/// Sessions live in `ClientSession`, what they share in `StreamRegistry`. Adapters (WebSocket, WHIP, WHEP) use only
/// this actor and the sessions it opens.
package actor ControlPlane {
    /// Between two samples of the counters. Clients compare rates with their own counts per message: it must be 1 s.
    static let samplingInterval = Duration.seconds(1)
    /// Sessions sampled at the same time.
    private static let samplingWidth = 16

    private nonisolated let context: ControlContext
    private nonisolated let logger: Logger
    private nonisolated let stopped = Gate()

    package init(
        media: any MediaBackend, hooks: any BackendHooks, configuration: ControlConfiguration,
        metrics: MetricsRegistry, logger: Logger, clock: any Clock<Duration> = ContinuousClock()
    ) {
        let metrics = ControlMetrics(metrics)
        let timers = Timers(clock)
        context = ControlContext(
            media: media, hooks: hooks, configuration: configuration,
            registry: StreamRegistry(limits: configuration.limits, metrics: metrics),
            notifier: HookNotifier(hooks: hooks, configuration: configuration, timers: timers, metrics: metrics),
            metrics: metrics, timers: timers)
        self.logger = logger
    }

    /// Consumes media events, samples rates and notifies the backend until `shutdown` is done or the task is cancelled.
    /// Call it once.
    package nonisolated func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.routeMediaEvents() }
            group.addTask { await self.sampleEverySecond() }
            group.addTask { await self.context.notifier.run() }
            await stopped.wait()
            group.cancelAll()
        }
    }

    /// Admits a client. The adapter must call `close` on the session in the end.
    package func openSession(_ request: ConnectRequest) async throws(SignallingError) -> ClientSession {
        do throws(SignallingError) {
            return try await admit(request)
        } catch {
            context.metrics.countRejection(error.label)
            logger.info(
                "session refused",
                metadata: ["app": "\(request.appKey)", "address": "\(request.remoteAddress)", "info": "\(error.info)"])
            throw error
        }
    }

    private func admit(_ request: ConnectRequest) async throws(SignallingError) -> ClientSession {
        if let applications = context.configuration.applications, !applications.contains(request.appKey) {
            throw .unknownApplication(request.appKey)
        }
        let addressKey = AddressKey.make(request.remoteAddress)
        try context.registry.admit(address: addressKey)
        let facts = SessionFacts(id: Token.make(), request: request)
        let context = context
        let decision = await withDeadline(context.timers, context.configuration.hookTimeout) {
            await context.hooks.connect(facts)
        }
        var refusal: SignallingError?
        switch decision {
        case .allow: break
        case .refuse(let code, let reason): refusal = .refused(code: code, reason: reason)
        case nil:
            context.metrics.hookTimeouts.increment()
            refusal = .backendTimeout
        }
        let session = ClientSession(
            id: facts.id, authToken: Token.make(), facts: facts, addressKey: addressKey, context: context,
            logger: logger)
        if refusal == nil, !context.registry.add(session) { refusal = .shuttingDown }
        if let refusal {
            context.registry.dismiss(address: addressKey, session: nil)
            throw refusal
        }
        context.notifier.post(.connection(facts, ended: nil))
        session.logger.info(
            "session opened", metadata: ["kind": "\(facts.kind.rawValue)", "address": "\(facts.remoteAddress)"])
        return session
    }

    /// An open session, for adapters that get its id back from the client (WHIP and WHEP resources).
    package func session(_ id: String) -> ClientSession? { context.registry.session(id) }

    /// All published streams, sorted by name.
    package func streams() async -> [StreamSummary] { context.registry.summaries(now: context.timers.now) }

    /// Whether the stream can be played now.
    package func isAvailable(_ name: String) -> Bool { context.registry.availability(name) == .available }

    /// Ends a published stream on behalf of the operator (`Stopped by rest /terminate`); false if there is none.
    package func terminateStream(_ name: String) async -> Bool {
        guard let publisher = context.registry.publisher(of: name) else { return false }
        return await publisher.session.end(publisher.mediaSessionId, .terminated) != nil
    }

    /// Refuses new sessions and streams, ends all sessions with their events, then stops `run`. Returns after
    /// `timeout` at the latest.
    package func shutdown(timeout: Duration) async {
        let sessions = context.registry.startDraining()
        logger.info("shutdown", metadata: ["sessions": "\(sessions.count)"])
        let context = context
        let finished: Void? = await withDeadline(context.timers, timeout) {
            // All players before the first publisher: each hears of the shutdown, not of its publisher's end.
            await withTaskGroup(of: Void.self) { group in
                for session in sessions { group.addTask { _ = await session.endPlayers(.shutdown) } }
            }
            await withTaskGroup(of: Void.self) { group in
                for session in sessions { group.addTask { await session.close(.shutdown) } }
            }
            await context.notifier.finish()
        }
        if finished == nil { logger.warning("shutdown was not complete in time") }
        stopped.open()
    }

    // MARK: Work of run()

    private nonisolated func routeMediaEvents() async {
        for await event in context.media.events {
            if await context.registry.owner(of: event.peer)?.handle(event) != true {
                context.metrics.lateMediaEvents.increment()
            }
        }
    }

    private nonisolated func sampleEverySecond() async {
        let timers = context.timers
        var next = timers.now + Self.samplingInterval
        while await timers.sleep(until: next) {
            await sample()
            next += Self.samplingInterval
            // After a hang, not a burst of samples.
            next = max(next, timers.now)
        }
    }

    private nonisolated func sample() async {
        let timers = context.timers
        await withTaskGroup(of: Void.self) { group in
            for (index, session) in context.registry.sessions.enumerated() {
                if index >= Self.samplingWidth { await group.next() }
                group.addTask {
                    _ = await withDeadline(timers, Self.samplingInterval) { await session.sampleRates() }
                }
            }
        }
    }
}

/// Unguessable identifiers.
enum Token {
    /// 128 bits of the system's generator, in hexadecimal.
    static func make() -> String {
        var generator = SystemRandomNumberGenerator()
        return (0..<2).map { _ in
            let text = String(generator.next() as UInt64, radix: 16)
            return String(repeating: "0", count: 16 - text.count) + text
        }.joined()
    }
}

extension SignallingError {
    /// Value of the metrics label `reason`.
    var label: String {
        switch self {
        case .unknownApplication: "unknownApplication"
        case .refused: "refusedByBackend"
        case .shuttingDown, .tooManySessions, .tooManySessionsFromAddress, .backendTimeout: "\(self)"
        }
    }
}
