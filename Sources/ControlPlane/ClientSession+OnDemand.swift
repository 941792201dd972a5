import Logging

/// Streams that are made because somebody plays them: how a player comes to one, and how a session of its own publishes it.
extension ClientSession {
    /// A source may end between its opening and the player's claim; then it is made anew, so often at most.
    private static let attempts = 3

    // MARK: The player's session

    func claimOnDemand(_ stream: ManagedStream) async -> Result<Claim, EndCause> {
        let (id, peer, name) = (stream.request.mediaSessionId, stream.peer, stream.request.name)
        for _ in 0..<Self.attempts {
            guard let entry = context.onDemand.entry(for: name, context) else {
                return .failure(.rejected(.text(.noAgentStorage)))
            }
            if let cause = await entry.opening.value { return .failure(cause) }
            guard isCurrent(id, peer) else { return .failure(.stoppedByUser) }
            let claimed = context.registry.claimPlayer(stream.request, of: entry.name, peer: peer, session: self)
            switch claimed {
            case .success(let publisher):
                streams[id]?.publication = entry.name
                return .success(Claim(peer: peer, publisher: publisher))
            case .failure(.text(.streamNotFound)): await entry.isGone.wait()
            case .failure(let refusal): return .failure(.rejected(refusal))
            }
        }
        return .failure(.failed(.streamNotFound))
    }

    // MARK: The source's session

    /// Makes the source a publisher of this session, which has nothing else. It can be played when this has returned nil;
    /// else it returns what players are told, and the source is closed. `isOver` opens at its end.
    func publish(_ source: any OnDemandSource, as name: String, _ isOver: Gate) async -> EndCause? {
        let request = StreamRequest(
            mediaSessionId: Token.make(), name: name, sdp: "", mediaProvider: source.provider)
        let id = request.mediaSessionId
        guard closeReason == nil else { return .rejected(.shuttingDown) }
        let peer: PeerID
        switch context.registry.reserve(id, session: self) {
        case .success(let made): peer = made
        case .failure(let refusal): return .rejected(refusal)
        }
        var stream = ManagedStream(
            request: request, askedName: name, published: true, peer: peer, begun: context.timers.now)
        stream.source = OnDemandLife(source: source, isOver: isOver)
        streams[id] = stream
        if let refusal = context.registry.claimPublisher(request, peer: peer, session: self, source: source) {
            await end(id, .rejected(refusal))
            return .rejected(refusal)
        }
        let context = context
        let opened = await withDeadline(
            context.timers, source.openingLimit ?? context.configuration.sourceTimeout,
            late: { _ in
                source.close()
                context.closeMedia(peer)
            }
        ) { () -> Result<MediaDescription, OnDemandFailure> in
            do throws(OnDemandFailure) {
                return .success(try await source.open(peer: peer))
            } catch {
                return .failure(error)
            }
        }
        guard isCurrent(id, peer) else {
            // Its peer may have come to be after it was closed.
            context.closeMedia(peer)
            return .publisherGone
        }
        switch opened {
        case .success(let description): opening(id, of: source, is: description)
        case .failure(let failure):
            await end(id, failure.cause)
            return failure.cause
        case nil:
            await end(id, .failed(source.unanswered))
            return .failed(source.unanswered)
        }
        return nil
    }

    private func opening(_ id: String, of source: any OnDemandSource, is description: MediaDescription) {
        guard let stream = streams[id] else { return }
        streams[id]?.description = description
        streams[id]?.phase = .live
        let (name, peer) = (stream.request.name, stream.peer)
        context.registry.setDescription(description, name: name, peer: peer)
        context.registry.markPublisherLive(name: name, peer: peer, now: context.timers.now)
        log(stream, "stream on demand begins")
        report(id, .publishing)
        // What all players share is played like any stream, by HLS and RTSP, too.
        if source.isShared {
            for observer in context.observers { observer.published(name, by: peer) }
        }
        waitForPlayers(id, context.configuration.sourceGrace)
        Task {
            let cause: EndCause =
                switch await source.ended() {
                case .finished: .sourceFinished
                case .failed(let info): .failed(info)
                }
            if isCurrent(id, peer) { await end(id, cause) }
        }
    }

    /// The last player of the source has gone.
    func unwatched(_ id: String, _ peer: PeerID) async {
        guard isCurrent(id, peer), let source = streams[id]?.source?.source else { return }
        if source.linger == .zero {
            await endIfUnwatched(id, peer)
        } else {
            waitForPlayers(id, source.linger)
        }
    }

    /// Ends the source after that time, unless it has players then.
    private func waitForPlayers(_ id: String, _ limit: Duration) {
        guard let peer = streams[id]?.peer else { return }
        streams[id]?.deadline?.cancel()
        let timers = context.timers
        let time = timers.now + limit
        streams[id]?.deadline = Task {
            guard await timers.sleep(until: time), isCurrent(id, peer) else { return }
            await endIfUnwatched(id, peer)
        }
    }

    private func endIfUnwatched(_ id: String, _ peer: PeerID) async {
        guard let name = streams[id]?.request.name, context.registry.retire(name, peer: peer) else { return }
        await end(id, .unwatched)
    }
}
