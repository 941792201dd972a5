import Logging

/// One client: its streams, their life and their events.
///
/// A stream has one owner, this actor, and one teardown path, `end`. Requests return at once or after hops that do not
/// wait for the network; what comes of them arrives in `events`.
package actor ClientSession {
    package nonisolated let id: String
    /// Unguessable; the client shows it to re-attach.
    package nonisolated let authToken: String
    package nonisolated let facts: SessionFacts
    /// What the client asked for when it connected.
    package nonisolated let request: ConnectRequest
    /// What the client said of itself, with what the backend changed in it.
    package nonisolated let profile: JSONText?
    /// What to tell the client, in order. One consumer. Finishes after `.closing`.
    package nonisolated let events: AsyncStream<SessionEvent>

    /// Opened when all streams have ended and their names are free.
    nonisolated let ended = Gate()
    nonisolated let context: ControlContext
    nonisolated let logger: Logger
    nonisolated let hooks: any SessionHooks
    nonisolated let journal: SessionJournal
    /// The token that holds for all streams of the session.
    nonisolated let token: String?
    /// The key under which limits count this session; nil: they do not.
    private nonisolated let addressKey: String?
    private nonisolated let queue: EventQueue
    var streams: [String: ManagedStream] = [:]
    /// The closing has begun (or is done): nothing new is accepted.
    package private(set) var closeReason: SessionCloseReason?
    var isSampling = false
    /// Operations of the client that wait for the backend or are being served.
    var operations = 0
    var lastOperation = 0
    var operationRate: RateBound
    /// `sendData` of the client that is not settled yet, by a number of its own.
    var waitingData: [Int: String] = [:]
    /// Data of the operator that is not written yet: operations and how often each.
    var undelivered: [String: Int] = [:]
    /// Bug reports so far.
    var reports = 0
    var debugLog: (any SessionLog)?
    var isOpeningLog = false
    var clientLog = ClientLog.none
    /// By the stream's id; only of streams that there are.
    var clientMetrics: [String: ClientMetrics] = [:]

    init(
        authToken: String, facts: SessionFacts, request: ConnectRequest, admission: Admission, addressKey: String?,
        context: ControlContext, logger: Logger
    ) {
        id = facts.id
        self.authToken = authToken
        self.facts = facts
        self.request = request
        // Only clients of the WebSocket can report anything.
        journal = SessionJournal(
            limit: facts.kind == .webSocket ? context.configuration.journalBytes : 0, timers: context.timers)
        hooks =
            facts.kind == .webSocket ? JournaledHooks(hooks: admission.hooks, journal: journal) : admission.hooks
        operationRate = RateBound(
            perSecond: context.configuration.operationRate, burst: 2 * context.configuration.operationRate)
        profile = admission.profile
        token = context.rights.flatMap { _ in StreamToken.of(facts, request) }
        self.addressKey = addressKey
        self.context = context
        var logger = logger
        logger[metadataKey: "session"] = "\(id)"
        logger[metadataKey: "app"] = "\(facts.appKey)"
        self.logger = logger
        queue = EventQueue(limit: context.configuration.eventQueueLimit)
        events = queue.events
    }

    // MARK: Requests of the client

    /// Publishes a stream. Outcome: `.remoteSDP`, then `.status` PENDING, PUBLISHING; or `.status` FAILED.
    package func publish(_ request: StreamRequest) async {
        journal.add(.received, sdp: request.sdp, JournalText.request("publishStream", request))
        begin(request, published: true)
    }

    /// Plays a stream, or resumes it if `mediaSessionId` is that of a paused player of this session.
    package func play(_ request: StreamRequest) async {
        journal.add(.received, sdp: request.sdp, JournalText.request("playStream", request))
        if let stream = streams[request.mediaSessionId], !stream.published, stream.phase == .paused {
            // The right may have ended in the meantime, or the client brings a new one. It is about the stream that
            // is paused, whatever name the request has.
            switch rights(to: .play, stream.askedName, custom: request.custom) {
            case .refuse(let refusal):
                await end(request.mediaSessionId, .denied(refusal))
                return
            case .allow(let grant):
                stream.expiry?.cancel()
                streams[request.mediaSessionId]?.expiry = expiry(of: grant, request.mediaSessionId, stream.peer)
            }
            let answer = hooks.ask(.play(request))
            Task { await resume(request.mediaSessionId, stream.peer, answer) }
        } else {
            begin(request, published: false)
        }
    }

    private func resume(_ id: String, _ peer: PeerID, _ answer: HookAnswer) async {
        let decision = await decision(answer, .playStream)
        guard isCurrent(id, peer), let stream = streams[id], stream.phase == .paused else { return }
        switch decision {
        case .allow, .change: await setPaused(false, stream)
        case .refuse(let code, let reason): await end(id, .refused(code: code, reason: reason))
        case nil: await end(id, .backendTimeout)
        }
    }

    /// Ends a stream in any state with UNPUBLISHED or STOPPED. An id that is not (or no longer) known is ignored.
    package func stop(mediaSessionId: String) async {
        journal.add(.received, "stop mediaSessionId=\(JournalText.clean(mediaSessionId))")
        guard let stream = streams[mediaSessionId], !stream.isEnding else { return }
        hooks.tell(.stop(stream.event(stream.status)))
        await end(mediaSessionId, .stoppedByUser)
    }

    /// Pauses a player that is PLAYING; anything else is ignored.
    package func pause(mediaSessionId: String) async {
        journal.add(.received, "pauseStream mediaSessionId=\(JournalText.clean(mediaSessionId))")
        guard let stream = streams[mediaSessionId], !stream.published, stream.phase == .live else { return }
        hooks.tell(.pause(stream.event(stream.status)))
        await setPaused(true, stream)
    }

    private func setPaused(_ paused: Bool, _ stream: ManagedStream) async {
        let id = stream.request.mediaSessionId
        streams[id]?.phase = paused ? .paused : .live
        streams[id]?.rate = RateMeter()
        report(id, paused ? .paused : .playing)
        let context = context
        // What is there for this player alone stands still and goes on where it stopped.
        if let source = context.registry.source(of: stream.publishedName), !source.isShared {
            source.setPaused(paused)
            return
        }
        _ = await withDeadline(context.timers, context.configuration.mediaTimeout) {
            await context.media.setPaused(paused, peer: stream.peer)
        }
    }

    /// Answers by `.availability`.
    package func available(mediaSessionId: String, name: String) async {
        journal.add(.received, "availableStream \(JournalText.stream(mediaSessionId, name))")
        let info: StatusInfo? =
            switch context.registry.availability(name) {
            case .available: nil
            case .notReady: .publishStreamNotReady
            // It is made for whoever plays it.
            case .notFound where context.onDemand.isReserved(name): nil
            case .notFound: .streamNotFound
            }
        emit(.availability(mediaSessionId: mediaSessionId, available: info == nil, info: info?.rawValue))
    }

    /// Takes new ICE credentials of the client for a stream and returns ours (WHIP, RFC 9725 §4.3.3).
    package func restartICE(
        mediaSessionId: String, ufrag: String, password: String
    ) async throws(MediaError) -> (ufrag: String, password: String) {
        guard let stream = streams[mediaSessionId] else { throw .streamNotFound }
        guard stream.phase != .settingUp else { throw .streamNotReady }
        let context = context
        typealias Outcome = Result<(ufrag: String, password: String), MediaError>
        let outcome = await withDeadline(context.timers, context.configuration.mediaTimeout) { () -> Outcome in
            do throws(MediaError) {
                return .success(
                    try await context.media.restartICE(peer: stream.peer, ufrag: ufrag, password: password))
            } catch {
                return .failure(error)
            }
        }
        guard let outcome else { throw .internal("no answer of the media side in time") }
        return try outcome.get()
    }

    /// Counters of a stream's media connection.
    package func statistics(mediaSessionId: String) async -> PeerStatistics? {
        guard let stream = streams[mediaSessionId] else { return nil }
        let context = context
        return await withDeadline(context.timers, context.configuration.mediaTimeout) {
            await context.media.statistics(peer: stream.peer)
        } ?? nil
    }

    /// Ends all streams, tells the client and finishes `events`. Repeated calls do nothing. Returns when the media
    /// side has freed the peers, in bounded time.
    package func close(_ reason: SessionCloseReason) async {
        guard closeReason == nil else { return }
        closeReason = reason
        journal.add(.state, "session ends: \(JournalText.clean(reason.description))")
        if reason == .slowReader { queue.finish(reason) }
        let cause: EndCause =
            switch reason {
            case .shutdown: .shutdown
            case .terminated: .terminated
            case .clientClosed, .connectionLost, .keepAliveTimeout, .slowReader, .replaced, .protocolError:
                .sessionLost
            }
        let closings = await endAll(cause)
        queue.finish(reason)
        if request.keepAlive, reason.mayReattach, let addressKey {
            let now = context.timers.now
            context.kept.keep(
                KeptSessions.Kept(
                    id: id, authToken: authToken, request: request, addressKey: addressKey,
                    until: now + context.configuration.reattachTime), now: now)
        }
        context.registry.dismiss(address: addressKey, session: self)
        failData()
        hooks.tell(.disconnected(reason))
        hooks.finish()
        closeLogs()
        ended.open()
        logger.info("session closed", metadata: ["reason": "\(reason)"])
        for closing in closings { await closing.value }
    }

    // MARK: Ends

    /// Players first, so that they hear the true cause and not that their publisher, perhaps of this session, stopped.
    private func endAll(_ cause: EndCause) async -> [Task<Void, Never>] {
        var closings = await endPlayers(cause)
        stopRecordings()
        for id in streams.keys.sorted() {
            if let closing = await end(id, cause) { closings.append(closing) }
        }
        return closings
    }

    @discardableResult
    func endPlayers(_ cause: EndCause) async -> [Task<Void, Never>] {
        var closings: [Task<Void, Never>] = []
        for (id, stream) in streams.sorted(by: { $0.key < $1.key }) where !stream.published {
            if let closing = await end(id, cause) { closings.append(closing) }
        }
        return closings
    }

    /// Ends a stream; the first cause counts. A recording of it is ended first, in bounded time, so that the terminal
    /// status has its name: as long the stream keeps its name and id.
    /// Returns the freeing of the peer, nil if there was no such stream. The backend is told not before `gate` is open.
    @discardableResult
    func end(_ mediaSessionId: String, _ cause: EndCause, after gate: Gate? = nil) async -> Task<Void, Never>? {
        if let ending = streams[mediaSessionId]?.ending {
            await ending.wait()
            return nil
        }
        guard streams[mediaSessionId]?.recording?.isOn == true else {
            return await tearDown(mediaSessionId, cause, after: gate)
        }
        let ending = Gate()
        streams[mediaSessionId]?.ending = ending
        await finishRecording(mediaSessionId)
        let closing = await tearDown(mediaSessionId, cause, after: gate)
        ending.open()
        return closing
    }

    /// The one teardown path of a stream. All of it up to the players' notification is one step: name, id and peer are
    /// free and the terminal status is on its way before anything else can happen to the stream.
    private func tearDown(_ mediaSessionId: String, _ cause: EndCause, after gate: Gate?) async -> Task<Void, Never>? {
        guard let stream = streams.removeValue(forKey: mediaSessionId) else { return nil }
        clientMetrics[mediaSessionId] = nil
        stream.setup?.cancel()
        stream.deadline?.cancel()
        stream.expiry?.cancel()
        let orphans = context.registry.release(
            mediaSessionId: mediaSessionId, published: stream.published, peer: stream.peer)
        if stream.published, stream.isLive {
            for observer in context.observers { observer.unpublished(stream.request.name, by: stream.peer) }
        }
        // WHIP and WHEP have no stop message beside DELETE: for the backend the loss of a client is one.
        if facts.kind != .webSocket, stream.description != nil, cause.isLoss {
            hooks.tell(.stop(stream.event(stream.status)))
        }
        let status = stream.status(for: cause)
        // Whoever hears of it finds it counted.
        if case .rejected(let refusal) = cause {
            context.metrics.countRejection(refusal.label)
        } else if status == .failed {
            context.metrics.countFailure(cause.label, published: stream.published)
        }
        let told = report(stream.event(status, info: cause.info, code: cause.code), after: gate)
        log(stream, "stream ended", ["status": "\(status.rawValue)", "info": "\(cause.info)"])
        stream.source?.source.close()
        let closing = context.closeMedia(stream.peer)
        for player in orphans {
            await player.session.publisherEnded(
                player.mediaSessionId, peer: player.peer, stream.source == nil ? .publisherGone : cause.forPlayers,
                appKey: facts.appKey, told: told)
        }
        stream.source?.isOver.open()
        if !stream.published, let idle = context.registry.unwatched(stream.publishedName) {
            await idle.session.unwatched(idle.mediaSessionId, idle.peer)
        }
        return closing
    }

    /// The publisher of a player of ours is gone. Its backend hears that before it hears of the player; another backend
    /// cannot know which was first, and does not wait.
    private func publisherEnded(
        _ mediaSessionId: String, peer: PeerID, _ cause: EndCause, appKey: String, told: Gate?
    ) async {
        guard isCurrent(mediaSessionId, peer) else { return }
        await end(mediaSessionId, cause, after: appKey == facts.appKey ? told : nil)
    }

    // MARK: Helpers

    /// False once the stream ended, also when its id is used anew.
    func isCurrent(_ mediaSessionId: String, _ peer: PeerID) -> Bool { streams[mediaSessionId]?.peer == peer }

    nonisolated func emit(_ event: SessionEvent) {
        if let text = event.journalText { journal.add(.sent, sdp: event.journalSDP, text) }
        switch queue.offer(event) {
        case .accepted: return
        case .overflow: Task { await closeUnread(.slowReader) }
        // The adapter's reading task was cancelled: nobody will hear of these streams any more.
        case .finished: Task { await closeUnread(.connectionLost) }
        }
    }

    private func closeUnread(_ reason: SessionCloseReason) async {
        guard closeReason == nil else { return }
        logger.warning("client does not read its events, closing the session", metadata: ["reason": "\(reason)"])
        await close(reason)
    }

    /// One change of state, to the client and to the backend.
    @discardableResult
    func report(_ event: StreamStatusEvent, after gate: Gate? = nil) -> Gate? {
        emit(.status(event))
        return hooks.tell(.streamStatus(event), after: gate)
    }

    func report(_ mediaSessionId: String, _ status: StreamStatus) {
        guard let stream = streams[mediaSessionId] else { return }
        report(stream.event(status))
    }

    func log(_ stream: ManagedStream, _ message: Logger.Message, _ more: Logger.Metadata = [:]) {
        logger.info(
            message,
            metadata: [
                "stream": "\(StreamName.shown(stream.request.name))", "peer": "\(stream.peer)",
                "mediaSessionId": "\(stream.request.mediaSessionId)", "published": "\(stream.published)",
            ].merging(more) { $1 })
    }
}

extension SessionCloseReason {
    /// Whether the client may come back: nobody decided that it must go.
    fileprivate var mayReattach: Bool {
        switch self {
        case .clientClosed, .connectionLost, .keepAliveTimeout, .slowReader, .replaced: true
        case .protocolError, .terminated, .shutdown: false
        }
    }
}

extension ManagedStream {
    func status(for cause: EndCause) -> StreamStatus { cause.status(published: published) }
}
