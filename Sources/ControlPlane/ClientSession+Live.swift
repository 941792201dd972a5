import Logging

/// What the media side reports about our streams.
extension ClientSession {
    /// Takes an event of a peer of ours; false if the stream has ended meanwhile.
    func handle(_ event: MediaEvent) async -> Bool {
        let peer = event.peer
        guard let (id, stream) = streams.first(where: { $0.value.peer == peer }) else { return false }
        journal.add(.state, "mediaSessionId=\(JournalText.clean(id)): \(event.journalText)")
        switch event {
        case .iceConnected:
            streams[id]?.iceIsUp = true
            if stream.phase == .connecting {
                setDeadline(id, after: context.configuration.dtlsTimeout, .failed(.dtlsError))
            }
        case .connected:
            await connected(id, peer)
        case .failed where stream.isEnding: break
        case .failed(_, .transportClosed) where context.configuration.transportCloseGrace > .zero:
            // Browsers close their transport in the moment of the stop message, which may come later by its own way.
            setDeadline(
                id, after: context.configuration.transportCloseGrace, EndCause(.transportClosed, iceWasUp: true))
        case .failed(_, let failure):
            await end(id, EndCause(failure, iceWasUp: stream.iceIsUp || stream.isLive))
        case .videoSize(_, let width, let height):
            guard stream.published, width > 0, height > 0 else { return true }
            await publisherSize(.init(width: width, height: height), stream)
        case .firstMedia:
            logger.debug(
                "first media", metadata: ["stream": "\(StreamName.shown(stream.request.name))", "peer": "\(peer)"])
        case .reordered(_, let evidence):
            guard stream.published else { return true }
            _ = context.registry.changePublisher(name: stream.request.name, peer: peer) { $0.isReordered = true }
            logger.notice(
                "pictures are out of order (B frames): WebRTC players need a transcode",
                metadata: ["stream": "\(StreamName.shown(stream.request.name))", "because": "\(evidence)"])
        }
        return true
    }

    func connected(_ id: String, _ peer: PeerID) async {
        guard let stream = streams[id], stream.peer == peer else { return }
        switch stream.phase {
        case .live, .paused: return
        case .settingUp:
            streams[id]?.connectedEarly = true
            return
        case .connecting: break
        }
        stream.deadline?.cancel()
        streams[id]?.deadline = nil
        let registry = context.registry
        let now = context.timers.now
        if stream.published {
            registry.markPublisherLive(name: stream.request.name, peer: peer, now: now)
            streams[id]?.phase = .live
            report(id, .publishing)
            for observer in context.observers { observer.published(stream.request.name, by: peer) }
        } else {
            guard let publisher = registry.markPlayerLive(name: stream.publishedName, peer: peer) else {
                await end(id, .publisherGone)
                return
            }
            streams[id]?.phase = .live
            streams[id]?.mute = publisher.mute
            report(id, .playing)
            registry.source(of: stream.publishedName)?.begin()
            if let size = publisher.size { emit(Self.resize(id, size)) }
        }
        context.metrics.countSetup(published: stream.published, after: now - stream.begun)
        log(stream, "stream live")
    }

    // MARK: Stream events

    /// Takes a stream event of a publisher and hands it to the stream's players (signalling 3.8). Types that clients
    /// do not send, events of players and `data` before PUBLISHING are ignored.
    package func sendStreamEvent(mediaSessionId: String, type: String, payload: JSONText?) async {
        journal.add(
            .received,
            "sendStreamEvent \(JournalText.clean(type)) mediaSessionId=\(JournalText.clean(mediaSessionId)) "
                + "payload=\(JournalText.bytes(payload))")
        guard let stream = streams[mediaSessionId], stream.published, let kind = PublisherEvent(rawValue: type),
            kind != .data || stream.phase == .live
        else {
            logger.debug("stream event ignored", metadata: ["mediaSessionId": "\(mediaSessionId)", "type": "\(type)"])
            return
        }
        if let payload, payload.text.utf8.count > context.configuration.eventPayloadLimit {
            context.metrics.countRejection("streamEventTooLong")
            log(stream, "stream event dropped: its payload is too long", ["bytes": "\(payload.text.utf8.count)"])
            return
        }
        // Each goes to every player, and a player that cannot read them all would be taken for a slow reader.
        guard streams[mediaSessionId]?.eventRate.take(now: context.timers.now) == true else {
            context.metrics.countRejection("tooManyStreamEvents")
            return
        }
        let players = context.registry.changePublisher(name: stream.request.name, peer: stream.peer) {
            kind.apply(to: &$0.mute)
        }
        hooks.tell(.sentStreamEvent(mediaSessionId: mediaSessionId, type: type, payload: payload))
        for player in players {
            await player.session.deliver(kind, payload: payload, to: player)
        }
    }

    func deliver(_ kind: PublisherEvent, payload: JSONText?, to player: StreamRegistry.Player) {
        guard var stream = streams[player.mediaSessionId], stream.peer == player.peer, stream.isLive else { return }
        kind.apply(to: &stream.mute)
        streams[player.mediaSessionId] = stream
        emit(.streamEvent(mediaSessionId: player.mediaSessionId, type: kind.rawValue, payload: payload))
        hooks.tell(.streamEvent(mediaSessionId: player.mediaSessionId, type: kind.rawValue, payload: payload))
    }

    private func publisherSize(_ size: StreamRegistry.VideoSize, _ stream: ManagedStream) async {
        let name = stream.request.name
        guard context.registry.isNewSize(size, name: name, peer: stream.peer) else { return }
        let players = context.registry.changePublisher(name: name, peer: stream.peer) { $0.size = size }
        for player in players { await player.session.deliver(size, to: player) }
    }

    func deliver(_ size: StreamRegistry.VideoSize, to player: StreamRegistry.Player) {
        guard let stream = streams[player.mediaSessionId], stream.peer == player.peer, stream.isLive else { return }
        emit(Self.resize(player.mediaSessionId, size))
    }

    private static func resize(_ id: String, _ size: StreamRegistry.VideoSize) -> SessionEvent {
        .streamEvent(
            mediaSessionId: id, type: "resize",
            payload: JSONText("{\"streamerVideoWidth\":\(size.width),\"streamerVideoHeight\":\(size.height)}"))
    }

    // MARK: Rates

    /// A WHEP session publishes nothing and is told nothing: with thousands of them the questions alone would cost.
    nonisolated var mayHaveRates: Bool { facts.kind != .whep }

    /// Reads the counters of the live streams; tells WebSocket clients their video rates. Called once per second.
    func sampleRates() async {
        // A media side that hangs is asked by one task, not by one more each second.
        guard !isSampling, closeReason == nil else { return }
        isSampling = true
        defer { isSampling = false }
        let tellsClient = context.configuration.rateEvents && facts.kind == .webSocket
        for (id, stream) in streams where stream.phase == .live && (stream.published || tellsClient) {
            guard let statistics = await context.media.statistics(peer: stream.peer), isCurrent(id, stream.peer)
            else { continue }
            sampled(id, statistics, tellsClient: tellsClient)
        }
    }

    private func sampled(_ id: String, _ statistics: PeerStatistics, tellsClient: Bool) {
        guard var stream = streams[id], stream.phase == .live else { return }
        let now = context.timers.now
        let total = stream.published ? statistics.bytesReceived : statistics.bytesSent
        let video = stream.published ? statistics.videoBytesReceived : statistics.videoBytesSent
        let rate = stream.rate.sample(total: total, video: video ?? total, at: now)
        streams[id] = stream
        guard let rate else { return }
        if stream.published {
            context.registry.setBitrate(rate.total, name: stream.request.name, peer: stream.peer)
        }
        if tellsClient, stream.description?.hasVideo == true {
            emit(.videoRate(mediaSessionId: id, published: stream.published, bitsPerSecond: rate.video))
        }
    }
}

/// The stream events that a publisher may send.
enum PublisherEvent: String, CaseIterable, Sendable {
    case audioMuted, audioUnmuted, videoMuted, videoUnmuted, data

    func apply(to state: inout StreamRegistry.MuteState) {
        switch self {
        case .audioMuted: state.audio = true
        case .audioUnmuted: state.audio = false
        case .videoMuted: state.video = true
        case .videoUnmuted: state.video = false
        case .data: break
        }
    }
}

extension MediaEvent {
    var journalText: String {
        switch self {
        case .iceConnected: "ICE is up"
        case .connected: "ICE and DTLS are up"
        case .failed(_, let failure): "media failed: \(failure.rawValue)"
        case .videoSize(_, let width, let height): "picture is \(width)x\(height)"
        case .firstMedia: "first media"
        case .reordered(_, let evidence): "pictures are out of order: \(evidence)"
        }
    }
}
