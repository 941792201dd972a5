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

    nonisolated let context: ControlContext
    nonisolated let logger: Logger
    private nonisolated let stopped = Gate()

    package init(
        media: any MediaBackend, hooks: any BackendHooks, rights: (any StreamRights)? = nil,
        configuration: ControlConfiguration, metrics: MetricsRegistry, logger: Logger,
        clock: any Clock<Duration> = ContinuousClock(), diagnostics: (any DiagnosticStore)? = nil,
        snapshots: (any SnapshotMaker)? = nil, recorder: (any StreamRecorder)? = nil,
        sources: (any OnDemandSources)? = nil, observers: [any StreamObserver] = []
    ) {
        let metrics = ControlMetrics(metrics)
        let timers = Timers(clock)
        context = ControlContext(
            media: media, hooks: hooks, rights: rights, configuration: configuration,
            registry: StreamRegistry(limits: configuration.limits, metrics: metrics),
            metrics: metrics, timers: timers, kept: KeptSessions(maxSessions: configuration.limits.sessions),
            diagnostics: diagnostics, snapshots: snapshots, snapshotPlaces: Places(configuration.snapshots),
            recorder: recorder, observers: observers, onDemand: OnDemandStreams(sources, logger: logger),
            pictureCopies: Places(configuration.pictureCopies), capturePlaces: Places(configuration.captures))
        self.logger = logger
    }

    /// Consumes media events and samples rates until `shutdown` is done or the task is cancelled. Call it once.
    package nonisolated func run() async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.routeMediaEvents() }
            group.addTask { await self.sampleEverySecond() }
            await stopped.wait()
            group.cancelAll()
        }
    }

    /// Admits a client. The adapter must call `close` on the session in the end.
    package func openSession(_ request: ConnectRequest) async throws(SignallingError) -> ClientSession {
        try await counted(request) { () throws(SignallingError) in try await admit(request) }
    }

    /// Admits a client that comes back to a session of its own, by the token which that one had (signalling 2.5). The
    /// session goes on under the same id and token, with what the client said when it first came; its streams have
    /// ended. A connection that still holds the session, as after a change of network, is closed.
    ///
    /// Of `request` only what belongs to the new connection counts: address, bearer token and query.
    package func reattach(
        token: String, _ request: ConnectRequest
    ) async throws(SignallingError) -> ClientSession {
        try await counted(request) { () throws(SignallingError) in
            if let holder = context.registry.session(token: token), holder.request.keepAlive {
                await holder.close(.replaced)
                await holder.ended.wait()
            }
            guard let kept = context.kept.take(token, now: context.timers.now) else { throw .sessionDoesNotExist }
            var known = kept.request
            known.remoteAddress = request.remoteAddress
            known.bearerToken = request.bearerToken
            known.query = request.query
            do throws(SignallingError) {
                return try await admit(known, as: kept)
            } catch {
                // It may try again, unless the backend does not want it any more.
                if case .refused = error { throw error }
                context.kept.keep(kept, now: context.timers.now)
                throw error
            }
        }
    }

    private func counted(
        _ request: ConnectRequest, _ open: () async throws(SignallingError) -> ClientSession
    ) async throws(SignallingError) -> ClientSession {
        do throws(SignallingError) {
            return try await open()
        } catch {
            context.metrics.countRejection(error.label)
            logger.info(
                "session refused",
                metadata: ["app": "\(request.appKey)", "address": "\(request.remoteAddress)", "info": "\(error.info)"])
            throw error
        }
    }

    private func admit(
        _ request: ConnectRequest, as kept: KeptSessions.Kept? = nil
    ) async throws(SignallingError) -> ClientSession {
        let addressKey = AddressKey.make(request.remoteAddress)
        try context.registry.admit(address: addressKey)
        var facts = SessionFacts(id: kept?.id ?? SessionID.make(request), request: request)
        let admission: Admission
        do throws(SignallingError) {
            admission = try await ask(facts, request)
        } catch {
            context.registry.dismiss(address: addressKey, session: nil)
            throw error
        }
        facts.custom = admission.custom
        let session = ClientSession(
            authToken: kept?.authToken ?? Token.make(), facts: facts, request: request, admission: admission,
            addressKey: addressKey, context: context, logger: logger)
        admission.hooks.attach(session)
        guard context.registry.add(session) else {
            context.registry.dismiss(address: addressKey, session: nil)
            admission.hooks.abandon(.shuttingDown)
            throw .shuttingDown
        }
        admission.hooks.tell(.established(authToken: session.authToken))
        session.logger.info(
            kept == nil ? "session opened" : "session re-attached",
            metadata: ["kind": "\(facts.kind.rawValue)", "address": "\(facts.remoteAddress)"])
        return session
    }

    private func ask(_ facts: SessionFacts, _ request: ConnectRequest) async throws(SignallingError) -> Admission {
        let hooks = context.hooks
        let decision = await withDeadline(
            context.timers, context.configuration.hookTimeout,
            late: { decision in
                if case .allow(let admission) = decision { admission.hooks.abandon(.backendTimeout) }
            }, { await hooks.connect(facts, request) })
        switch decision {
        case .allow(let admission): return admission
        case .refuse(let code, let reason): throw .refused(code: code, reason: reason)
        case .unknownApplication: throw .unknownApplication(request.appKey)
        case nil:
            context.metrics.hookTimeouts.increment()
            throw .backendTimeout
        }
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
            let closings = await withTaskGroup(of: [Task<Void, Never>].self) { group in
                for session in sessions { group.addTask { await session.endPlayers(.shutdown) } }
                return await group.reduce(into: []) { $0 += $1 }
            }
            await withTaskGroup(of: Void.self) { group in
                for session in sessions { group.addTask { await session.close(.shutdown) } }
            }
            for closing in closings { await closing.value }
            await context.hooks.drain()
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
            context.kept.expire(now: timers.now)
            next += Self.samplingInterval
            // After a hang, not a burst of samples.
            next = max(next, timers.now)
        }
    }

    private nonisolated func sample() async {
        let timers = context.timers
        await withTaskGroup(of: Void.self) { group in
            let sessions = context.registry.sessions.lazy.filter(\.mayHaveRates)
            for (index, session) in sessions.enumerated() {
                if index >= Self.samplingWidth { await group.next() }
                group.addTask {
                    _ = await withDeadline(timers, Self.samplingInterval) { await session.sampleRates() }
                }
            }
        }
    }
}

extension SessionHooks {
    /// The session did not come to be, though the backend let it in.
    fileprivate func abandon(_ error: SignallingError) {
        tell(.connectionFailed(info: error.info))
        finish()
    }
}

extension SignallingError {
    /// Value of the metrics label `reason`.
    var label: String {
        switch self {
        case .unknownApplication: "unknownApplication"
        case .refused: "refusedByBackend"
        case .shuttingDown, .draining, .tooManySessions, .tooManySessionsFromAddress, .sessionDoesNotExist,
            .backendTimeout:
            "\(self)"
        }
    }
}
