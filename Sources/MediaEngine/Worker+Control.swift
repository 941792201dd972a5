import DTLS
import Glibc
import ICE
import LinuxNet
import RTP
import SDP
import SRTP
import Synchronization
import Wire

/// Lifetimes of peers and streams on a worker, and what other threads ask of it.
extension Worker {
    func perform(_ command: WorkerCommand) {
        switch command {
        case .close(let id):
            if let peer = peers[id] { end(peer) }
        case .setPaused(let id, let paused):
            guard let peer = peers[id], peer.isPaused != paused else { return }
            peer.isPaused = paused
            pauseChanged(peer)
        case .restartICE(let id, let local, let remote):
            for transport in peers[id]?.transports ?? [] {
                transport.agent.restart(local: local, remote: remote, now: now)
            }
        case .datagram(let bytes, let remote, let local, let socket, let arrival, let from):
            isForwarded = true
            take(bytes, remote: remote, local: local, socket: socket, arrival: arrival)
            isForwarded = false
            // Checks alone: what follows them finds its way by the route, which may have been forgotten meanwhile.
            if (bytes.first ?? .max) < 4, byAddress[remote] != nil {
                mailboxes[from].post(.route(remote, worker: index))
            }
        case .connection(let descriptor, let received, let remote, let local):
            let connection = adopt(descriptor: descriptor, remote: remote, local: local)
            received.withUnsafeBytes { feed(connection, bytes: $0) }
        case .route(let address, let worker):
            if routes.count >= Self.maxRoutes, routes[address] == nil { routes.remove(at: routes.startIndex) }
            routes[address] = worker
        case .subscribe(let id, let worker):
            guard let stream = streams[id], stream.isOrigin else {
                mailboxes[worker].post(.ended(stream: id))
                return
            }
            stream.subscribers.insert(worker)
            for (i, track) in stream.tracks.enumerated() {
                guard let report = track.report else { continue }
                mailboxes[worker].post(
                    .senderReport(
                        stream: id, track: i, ntp: report.ntp, timestamp: report.timestamp, arrival: report.arrival))
            }
            if let group = storedGroup(of: stream) {
                mailboxes[worker].post(.group(group))
            } else {
                requestKeyFrame(stream)
            }
        case .group(let group): take(group)
        case .unsubscribe(let id, let worker): streams[id]?.subscribers.remove(worker)
        case .ended(let id): if let stream = streams[id], !stream.isOrigin { release(stream) }
        case .requestKeyFrame(let id):
            if let stream = streams[id] { requestKeyFrame(stream) }
        case .senderReport(let id, let track, let ntp, let timestamp, let arrival):
            guard let stream = streams[id], track < stream.tracks.count else { return }
            let isFirst = stream.tracks[track].report == nil
            stream.tracks[track].report = (ntp, timestamp, arrival)
            if isFirst { reportFirst(stream) }
        case .sinks(let publisher, let list): sinksChanged(list, publisher: publisher)
        case .source(let registration): adopt(source: registration)
        case .sourceNews(let id): takeNews(of: id)
        case .plainPlayer(let registration): adopt(plain: registration)
        case .plainRTCP(let id, let track, let bytes, let arrival):
            if let peer = peers[id] { takePlainRTCP(bytes.span.bytes, track: track, peer: peer, arrival: arrival) }
        case .sendPlainRTCP(let bytes, let remote, let local): sendPlainRTCP(bytes, remote: remote, local: local)
        case .inspect(let id, let packets, let reply): reply(inspect(peer: id, packets: packets))
        case .stop: running = false
        }
    }

    /// Takes in a datagram that another thread has read.
    package func take(
        _ bytes: [UInt8], remote: SocketAddress, local: SocketAddress, socket: Int32, arrival: Instant
    ) {
        guard bytes.count <= PacketSlab.slotSize, !bytes.isEmpty else { return }
        guard let slot = slab.take() else {
            counters.noMemory.bump()
            return
        }
        bytes.withUnsafeBytes { slot.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
        let path = ICEPath(remote: remote, local: local, connection: 0)
        if !handle(slot, length: bytes.count, path: path, socket: socket, arrival: arrival) { slab.give(slot) }
    }

    /// Connects a new peer with its stream.
    func attach(_ peer: Peer) {
        if peer.isPublisher {
            let stream = StreamState(
                id: peer.id, tracks: peer.negotiation.tracks, originWorker: index, isOrigin: true, slab: slab)
            stream.publisher = peer
            streams[stream.id] = stream
            peer.stream = stream
            for track in peer.negotiation.tracks where track.transportIndex < peer.transports.count {
                let transport = peer.transports[track.transportIndex]
                transport.transportCCID = track.extensions[RTPExtensionURI.transportCC] ?? transport.transportCCID
                transport.midID = track.extensions[RTPExtensionURI.mid] ?? transport.midID
            }
            if let sinks = peer.registration.sinks {
                sinks.adopt(worker: index)
                sinksChanged(sinks, publisher: peer.id)
            }
        } else if let publisher = peer.registration.publisher {
            let origin = publisher.owner.load(ordering: .acquiring)
            if let stream = streams[publisher.id] {
                peer.stream = stream
            } else if origin >= 0, origin != index {
                let stream = StreamState(
                    id: publisher.id, tracks: publisher.negotiation.tracks, originWorker: origin, isOrigin: false,
                    slab: slab)
                streams[stream.id] = stream
                peer.stream = stream
                mailboxes[origin].post(.subscribe(stream: stream.id, worker: index))
            }
        }
    }

    /// All transports up: lanes open, the control side is told.
    func connectedIfAll(_ peer: Peer) {
        guard !peer.isConnected, peer.transports.allSatisfy(\.isSecure) else { return }
        peer.isConnected = true
        connecting.removeAll { $0 === peer }
        peer.lastRTP = now
        if peer.isPublisher {
            publishers.append(peer)
            nextFastTick = min(nextFastTick, now)
        } else {
            // The publisher may have found its worker while this peer shook hands.
            if peer.stream == nil, peer.orphaned == nil { attach(peer) }
            guard let stream = peer.stream else {
                if peer.orphaned == nil { fail(peer, .error("the stream ended")) }
                return
            }
            stream.add(peer, lanes: makeLanes(peer, stream: stream))
            refreshLanes(of: peer)
            if !startFromCache(stream, player: peer) { requestKeyFrame(stream) }
        }
        post(.connected(peer.id))
        if peer.isPublisher, let stream = peer.stream, stream.keyFrameWanted { requestKeyFrame(stream) }
    }

    private func makeLanes(_ peer: Peer, stream: StreamState) -> [Lane] {
        var used = [Bool](repeating: false, count: peer.negotiation.tracks.count)
        return stream.tracks.enumerated().map { i, track in
            let match = peer.negotiation.tracks.indices.first {
                !used[$0] && peer.negotiation.tracks[$0].kind == track.kind
            }
            let negotiated = match.map { peer.negotiation.tracks[$0] }
            if let match { used[match] = true }
            let transport = peer.transports[min(negotiated?.transportIndex ?? 0, peer.transports.count - 1)]
            if let negotiated { peer.trackOfSSRC.append((negotiated.sendSSRC, i, 0)) }
            let extensions = negotiated?.extensions ?? [:]
            return Lane(
                outbound: transport.outbound ?? peer.transports[0].outbound!,
                remote: SocketAddress(ipv4: 0, port: 0).c, local: SocketAddress(ipv4: 0, port: 0).c,
                ssrc: negotiated?.sendSSRC ?? 0, rtxSSRC: negotiated?.sendRTXSSRC ?? 0,
                payloadType: negotiated?.codec.payloadType ?? 0,
                rtxPayloadType: negotiated?.codec.rtxPayloadType ?? 0,
                absSendTimeID: extensions[RTPExtensionURI.absSendTime] ?? 0,
                transportCCID: extensions[RTPExtensionURI.transportCC] ?? 0,
                orientationID: extensions[RTPExtensionURI.videoOrientation] ?? 0,
                needsKeyFrame: track.kind == .video,
                rtxIndex: Int64.random(in: 1..<0x8000, using: &random),
                // Below 32,768, so that a lost first packet cannot make the player guess the roll-over wrong.
                initialIndex: Int64.random(in: 1..<0x8000, using: &random),
                transportSequence: transport.transportSequence)
        }
    }

    /// Brings path and activity of a player's lanes up to date.
    func refreshLanes(of peer: Peer) {
        guard !peer.isPublisher, peer.isConnected, let stream = peer.stream, peer.position != nil else { return }
        if let plain = peer.plain { return refreshPlainLanes(of: peer, plain, stream: stream) }
        for i in stream.tracks.indices {
            guard let lane = stream.lane(of: peer, track: i) else { continue }
            guard let negotiated = peer.negotiation.tracks.first(where: { $0.sendSSRC == lane.pointee.ssrc }),
                negotiated.transportIndex < peer.transports.count,
                let path = peer.transports[negotiated.transportIndex].path
            else {
                lane.pointee.isActive = false
                continue
            }
            lane.pointee.remote = path.remote.c
            lane.pointee.local = path.local.c
            lane.pointee.connection = path.connection
            lane.pointee.socket = peer.transports[negotiated.transportIndex].socket
            lane.pointee.isActive = !peer.isPaused
        }
    }

    private func pauseChanged(_ peer: Peer) {
        guard let stream = peer.stream, !peer.isPublisher else { return }
        refreshLanes(of: peer)
        for i in stream.tracks.indices {
            stream.lane(of: peer, track: i)?.pointee.isStarted = false
            stream.lane(of: peer, track: i)?.pointee.isCatchingUp = false
        }
        if !peer.isPaused, !startFromCache(stream, player: peer) { requestKeyFrame(stream) }
    }

    /// The peer ended by itself: the control side learns why.
    func fail(_ peer: Peer, _ reason: EngineFailure) {
        guard peers[peer.id] === peer else { return }
        end(peer)
        post(.failed(peer.id, reason))
    }

    /// The one way a peer ends.
    func end(_ peer: Peer) {
        guard strike(peer) else { return }
        counters.peers.wrappingSubtract(1, ordering: .relaxed)
        directory.remove(peer: peer.id)
        connecting.removeAll { $0 === peer }
        if peer.isPublisher { publishers.removeAll { $0 === peer } }
        catchingUp.removeAll { $0 === peer }
        beginning.removeAll { $0 === peer }
        publishCounters(of: peer)
        noteProgress(of: peer)
        if let stream = peer.stream {
            if peer.isPublisher {
                endSinks(of: stream)
                stream.publisher = nil
                release(stream)
                peer.registration.closeMedia()
                for worker in stream.subscribers { mailboxes[worker].post(.ended(stream: stream.id)) }
            } else {
                stream.remove(peer)
                releaseIfUnused(stream)
            }
            peer.stream = nil
        }
        egress.flush()
        for transport in peer.transports {
            if let dtls = transport.dtls, let path = transport.path {
                dtls.close()
                while let datagram = dtls.nextDatagram() { send(datagram, path: path, socket: transport.socket) }
            }
            for path in transport.socketOfPath.keys {
                if path.connection != 0 {
                    byConnection[path.connection] = nil
                    if let connection = connections[path.connection] {
                        _ = connection.flush()
                        close(connection)
                    }
                } else if byAddress[path.remote] === transport {
                    byAddress[path.remote] = nil
                }
            }
            if let outbound = transport.outbound { machine.destroy(outbound) }
            transport.outbound = nil
            transport.inbound = nil
            transport.dtls = nil
        }
        if let plain = peer.plain {
            giveBackKeys(of: plain)
            plain.player.end()
        }
    }

    /// The stream is no more: its players, and who was about to become one, find out at the next slow tick. Plain players
    /// end with it.
    private func release(_ stream: StreamState) {
        streams[stream.id] = nil
        dirty.removeAll { $0 === stream }
        for peer in Array(peers.values) where peer.stream === stream {
            publishCounters(of: peer)
            noteProgress(of: peer)
            stream.remove(peer)
            peer.stream = nil
            peer.orphaned = now
            if peer.plain != nil {
                sayGoodbye(peer)
                end(peer)
            }
        }
        stream.pendingCount = 0
    }

    /// A replica without players gives its memory back.
    private func releaseIfUnused(_ stream: StreamState) {
        guard !stream.isOrigin, !streamIsAwaited(stream) else { return }
        streams[stream.id] = nil
        dirty.removeAll { $0 === stream }
        mailboxes[stream.originWorker].post(.unsubscribe(stream: stream.id, worker: index))
    }

    private func streamIsAwaited(_ stream: StreamState) -> Bool {
        !stream.players.isEmpty || peers.values.contains { $0.stream === stream }
    }
}
