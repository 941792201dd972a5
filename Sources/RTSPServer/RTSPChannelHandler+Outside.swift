import NIOCore
import RTSP

/// What the session asks the rest of the program, and what that does to the connection.
extension RTSPChannelHandler {
    // MARK: The outside

    func ask(_ question: RTSPQuestion, _ ticket: Int) {
        guard let context, let link else { return }
        let (backend, facts, publication) = (backend, facts, publication)
        let asked = generation
        switch question {
        case .play(_, _, let tracks), .record(_, let tracks):
            setUpTracks = tracks
            metrics.protectedTracks.increment(by: UInt64(tracks.count { $0.keys != nil }))
        case .mayPlay, .describe, .announce: break
        }
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        let eventLoop = context.eventLoop
        Task {
            let reply: Reply
            switch question {
            case .mayPlay(let access):
                switch await backend.mayPlay(access, on: facts) {
                case .allow(let endsIn): reply = .allowed(endsIn: endsIn)
                case .refuse(let status): reply = .answer(.refused(status))
                }
            case .describe(let name, let query):
                switch await backend.describe(name, query: query, on: facts) {
                case .success(let tracks): reply = .answer(.tracks(tracks))
                case .failure(let refusal): reply = .answer(.refused(refusal.status))
                }
            case .play(let name, let query, let tracks):
                switch await backend.play(name, query: query, tracks: tracks, link: link, on: facts) {
                case .success(let playing): reply = .playing(playing)
                case .failure(let refusal): reply = .answer(.refused(refusal.status))
                }
            case .announce(let access, let tracks):
                switch await backend.announce(access, tracks: tracks, link: link, on: facts) {
                case .success(let publication): reply = .publication(publication)
                case .failure(let refusal): reply = .answer(.refused(refusal.status))
                }
            case .record(_, let tracks):
                let status = await publication?.start(tracks)
                reply = .answer(status.map { .refused($0) } ?? .allowed)
            }
            eventLoop.execute { bound.value.take(reply, ticket, asked: asked) }
        }
    }

    private enum Reply: Sendable {
        case answer(RTSPAnswer)
        case allowed(endsIn: Duration?)
        case playing(RTSPPlaying)
        case publication(any RTSPPublication)
    }

    private func take(_ reply: Reply, _ ticket: Int, asked: Int) {
        guard asked == generation, !isClosing else {
            // The session ended in the meantime.
            switch reply {
            case .answer, .allowed: break
            case .playing(.interleaved(_, let playback)), .playing(.datagrams(let playback, _)): playback.stop()
            case .publication(let publication): publication.stop()
            }
            return
        }
        switch reply {
        case .answer(let answer): self.answer(answer, ticket)
        case .allowed(let endsIn):
            limitRights(endsIn)
            answer(.allowed, ticket)
        case .publication(let new):
            publication = new
            answer(.allowed, ticket)
        case .playing(.datagrams(let new, let first)):
            playback = new
            answer(.playing(first), ticket)
        case .playing(.interleaved(let stream, let new)):
            playback = new
            join(stream, ticket)
        }
    }

    private func answer(_ answer: RTSPAnswer, _ ticket: Int) {
        session.answer(answer, ticket: ticket, now: Self.now)
        carryOut()
        // Requests that were not parsed while too many waited.
        parse()
    }

    private func join(_ stream: RTSPStream, _ ticket: Int) {
        guard let context else { return }
        layout = ChannelLayout(setUpTracks, of: stream.tracks.count)
        joinTicket = ticket
        self.stream = stream
        if !stream.join(self, eventLoop: context.eventLoop) {
            (self.stream, joinTicket) = (nil, nil)
            playback?.stop()
            playback = nil
            answer(.refused(.notFound), ticket)
        }
    }

    /// Ends what is sent; a publication goes on to hold its name.
    func pause() {
        if let stream, let context { stream.leave(self, eventLoop: context.eventLoop) }
        (stream, joinTicket) = (nil, nil)
        playback?.stop()
        playback = nil
    }

    /// Gives everything back.
    func release() {
        generation += 1
        pause()
        publication?.stop()
        publication = nil
    }

    // MARK: For the link

    func send(rtcp: [UInt8], track: Int) {
        guard !isClosing, rtcp.count <= InterleavedFrame.maxPayload, session.isStreaming else { return }
        for case let setUp in setUpTracks where setUp.index == track {
            guard case .interleaved(let channels) = setUp.path else {
                publication?.send(rtcp: rtcp, track: track)
                return
            }
            var bytes: [UInt8] = []
            InterleavedFrame.append(rtcp, channel: channels.rtcp, into: &bytes)
            write(ByteBuffer(bytes: bytes))
        }
    }

    func noteSignOfLife() { session.noteSignOfLife(now: Self.now) }

    func streamEnded() {
        session.streamEnded()
        carryOut()
    }

    func shutDown() {
        session.shutDown()
        carryOut()
    }
}

extension RTSPChannelHandler: FanOutPlayer {
    var isWritable: Bool { !isClosing && context?.channel.isWritable == true }

    func begin(_ first: [RTSPAnswer.FirstPacket?]) {
        guard let ticket = joinTicket else { return }
        joinTicket = nil
        answer(
            .playing(setUpTracks.map { first.indices.contains($0.index) ? first[$0.index] ?? .init() : .init() }),
            ticket)
    }

    func write(_ bytes: ByteBuffer) {
        guard !isClosing, let context else { return }
        metrics.bytesSent.increment(by: UInt64(bytes.readableBytes))
        context.writeAndFlush(Self.wrapOutboundOut(bytes), promise: nil)
    }

    func noteDropped() { metrics.batchesDropped.increment() }

    func needsKeyFrame() { stream?.requestKeyFrame() }
}
