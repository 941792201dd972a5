import Logging

/// From the request to the live stream.
extension ClientSession {
    /// Takes a request and asks the backend about it. Both in one step, so that the backend is asked in the order in
    /// which requests came.
    func begin(_ request: StreamRequest, published: Bool) {
        guard closeReason == nil else { return }
        switch reserve(request, published: published) {
        case .failure(let refusal):
            context.metrics.countRejection(refusal.label)
            logger.info(
                "stream refused",
                metadata: [
                    "stream": "\(StreamName.shown(request.name))", "mediaSessionId": "\(request.mediaSessionId)",
                    "published": "\(published)", "info": "\(refusal.info)",
                ])
            report(
                StreamStatusEvent(
                    request: request, published: published, status: .failed, info: refusal.info, code: refusal.code))
        case .success(let reserved):
            let peer = reserved.peer
            var stream = ManagedStream(
                request: request, askedName: request.name, published: published, peer: peer, begun: context.timers.now)
            stream.expiry = expiry(of: reserved.grant, request.mediaSessionId, peer)
            let answer = hooks.ask(published ? .publish(request) : .play(request))
            stream.setup = Task { await setUp(request.mediaSessionId, peer, answer) }
            streams[request.mediaSessionId] = stream
        }
    }

    /// What a request has before the backend is asked.
    struct Reservation {
        let peer: PeerID
        let grant: RightsGrant
    }

    private func reserve(_ request: StreamRequest, published: Bool) -> Result<Reservation, Refusal> {
        if request.mediaSessionId.isEmpty { return .failure(.text(.mediaSessionIdNull)) }
        if streams[request.mediaSessionId] != nil { return .failure(.text(.mediaSessionIdInUse)) }
        if streams.count >= context.registry.limits.streamsPerSession {
            return .failure(.limit(.streamsPerSession))
        }
        switch rights(to: published ? .publish : .play, request.name, custom: request.custom) {
        case .refuse(let refusal): return .failure(.denied(refusal))
        case .allow(let grant):
            return context.registry.reserve(request.mediaSessionId, session: self).map {
                Reservation(peer: $0, grant: grant)
            }
        }
    }

    /// What was claimed for a stream.
    struct Claim {
        let peer: PeerID
        /// nil for a publisher.
        let publisher: PeerID?
    }

    /// Claims the name, which is looked at only now: the backend may have given another one than the client.
    private func claim(_ stream: ManagedStream) async -> Result<Claim, EndCause> {
        let request = stream.request
        let peer = stream.peer
        // Media over WebSocket (signalling 10) is not served; an empty provider is an old client's WebRTC.
        let isWebRTC =
            request.intake != nil || request.mediaProvider.map { $0.isEmpty || $0.lowercased() == "webrtc" } ?? true
        switch StreamName.check(request.name) {
        case .valid where isWebRTC && context.onDemand.isReserved(request.name):
            return stream.published ? .failure(.rejected(.text(.nameInUse))) : await claimOnDemand(stream)
        case .valid where isWebRTC: break
        case .url where stream.published: return .failure(.rejected(.text(.noAgentStorage)))
        case .url where isWebRTC: return await claimOnDemand(stream)
        case .valid, .url: return .failure(.rejected(.text(.noCommonCodecs)))
        case .bad(let text): return .failure(.rejected(.badName(text)))
        }
        if stream.published {
            if let refusal = context.registry.claimPublisher(request, peer: peer, session: self) {
                return .failure(.rejected(refusal))
            }
            return .success(Claim(peer: peer, publisher: nil))
        }
        return context.registry.claimPlayer(request, of: request.name, peer: peer, session: self)
            .map { Claim(peer: peer, publisher: $0) }.mapError(EndCause.rejected)
    }

    private func noteUnserved(_ stream: ManagedStream) {
        let request = stream.request
        let wishes = [request.width, request.height, request.bitrate, request.quality]
        if !stream.published, wishes.contains(where: { $0 != 0 }) {
            log(stream, "no transcoding: the source is served as it is")
        }
        if request.rtmpUrl != nil { log(stream, "rtmpUrl is not served; publishing goes on") }
        if request.record, context.recorder?.servesRequests != true {
            log(stream, "recording is not served; publishing goes on")
        }
    }

    private func setUp(_ id: String, _ peer: PeerID, _ answer: HookAnswer) async {
        let decision = await decision(answer, streams[id]?.published == false ? .playStream : .publishStream)
        guard isCurrent(id, peer), var stream = streams[id] else { return }
        switch decision {
        case .allow: break
        case .change(let request):
            stream.request = request
            streams[id] = stream
        case .refuse(let code, let reason):
            await end(id, .refused(code: code, reason: reason))
            return
        case nil:
            await end(id, .backendTimeout)
            return
        }
        let claimed = await claim(stream)
        // What is made on demand takes its time.
        guard isCurrent(id, peer) else { return }
        let claim: Claim
        switch claimed {
        case .success(let made): claim = made
        case .failure(let cause):
            await end(id, cause)
            return
        }
        noteUnserved(stream)
        await negotiate(id, stream.request, claim)
    }

    /// The backend's answer; nil if none came in time.
    func decision(_ answer: HookAnswer, _ method: HookMethod) async -> HookDecision? {
        let decision = await withDeadline(context.timers, context.configuration.hookTimeout) { await answer.decision }
        if decision == nil { context.metrics.hookTimeouts.increment() }
        journal.add(.backend, "\(method.rawValue) \(decision?.journalText ?? "not answered in time")")
        return decision
    }

    private func negotiate(_ id: String, _ request: StreamRequest, _ claim: Claim) async {
        let context = context
        // A media side that answers when nobody waits any more has made a peer that must go.
        let answer = await withDeadline(
            context.timers, context.configuration.mediaTimeout, late: { _ in context.closeMedia(claim.peer) }
        ) { await context.negotiate(request, claim) }
        guard isCurrent(id, claim.peer) else {
            context.closeMedia(claim.peer)
            return
        }
        switch answer {
        case .success(let description): await answered(id, description)
        case .failure(let error):
            log(id, "media side refused the stream", ["error": "\(error)"])
            await end(id, EndCause(error))
        case nil:
            log(id, "media side did not answer in time")
            await end(id, .notSetUp(.failedToAddStreamToProxy, .internalError))
        }
    }

    private func answered(_ id: String, _ description: MediaDescription) async {
        guard var stream = streams[id] else { return }
        stream.description = description
        stream.phase = .connecting
        streams[id] = stream
        if stream.published {
            context.registry.setDescription(description, name: stream.request.name, peer: stream.peer)
            recordIfWanted(id)
        }
        if stream.request.intake != nil {
            setDeadline(id, after: context.configuration.iceTimeout, .failed(.rtpActivity))
        } else if stream.iceIsUp {
            setDeadline(id, after: context.configuration.dtlsTimeout, .failed(.dtlsError))
        } else {
            setDeadline(id, after: context.configuration.iceTimeout, .failed(.iceTimeout))
        }
        emit(.remoteSDP(mediaSessionId: id, sdp: description.sdp))
        report(id, .pending)
        if stream.connectedEarly { await connected(id, stream.peer) }
    }

    /// The publisher of an intake begins to send.
    ///
    /// - Returns: false if the stream has ended, or is not there yet.
    package func begin(mediaSessionId: String) async -> Bool {
        guard let stream = streams[mediaSessionId], stream.request.intake != nil, stream.phase != .settingUp else {
            return false
        }
        await connected(mediaSessionId, stream.peer)
        return isCurrent(mediaSessionId, stream.peer)
    }

    /// Ends the stream with `cause` at that time, unless another deadline is set or it ends before.
    func setDeadline(_ id: String, after limit: Duration, _ cause: EndCause) {
        guard let peer = streams[id]?.peer else { return }
        streams[id]?.deadline?.cancel()
        let timers = context.timers
        let time = timers.now + limit
        streams[id]?.deadline = Task {
            guard await timers.sleep(until: time), isCurrent(id, peer), !Task.isCancelled else { return }
            await end(id, cause)
        }
    }

    private func log(_ id: String, _ message: Logger.Message, _ more: Logger.Metadata = [:]) {
        if let stream = streams[id] { log(stream, message, more) }
    }
}

extension ControlContext {
    fileprivate func negotiate(
        _ request: StreamRequest, _ claim: ClientSession.Claim
    ) async -> Result<MediaDescription, MediaError> {
        do throws(MediaError) {
            if let intake = request.intake { return .success(try await intake.source.open(peer: claim.peer)) }
            guard let publisher = claim.publisher else {
                return .success(
                    try await media.publish(
                        peer: claim.peer, stream: request.name, offer: request.sdp, options: request.mediaOptions))
            }
            return .success(
                try await media.play(
                    peer: claim.peer, stream: request.name, publisher: publisher, offer: request.sdp,
                    options: request.mediaOptions))
        } catch {
            return .failure(error)
        }
    }
}
