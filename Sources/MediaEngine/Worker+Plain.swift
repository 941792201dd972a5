import ICE
import LinuxNet
import RTP
import SDP
import SRTP
import Wire

/// Plain RTP players (RTSP over UDP): peers without ICE, DTLS and keys, in the same fan-out as all others.
extension Worker {
    // MARK: - Beginning

    /// A plain player begins: it is connected from the start.
    func adopt(plain registration: PeerRegistration) {
        mailbox.load.wrappingSubtract(1, ordering: .relaxed)
        begin(plain: registration, deadline: now + PlainPlayer.beginLimit)
    }

    func begin(plain registration: PeerRegistration, deadline: Instant) {
        guard let plain = registration.plain else { return }
        // Closed before it came here.
        guard directory.find(peer: registration.id) === registration else {
            plain.end()
            return
        }
        let protections: [PlainProtection?]
        switch takeKeys(of: plain) {
        case .taken(let all): protections = all
        case .inUse where now < deadline:
            awaitingKeys.append((registration, deadline))
            hurry()
            return
        case .inUse, .failed:
            directory.remove(peer: registration.id)
            plain.end()
            return
        }
        let peer = Peer(registration: registration, now: now, localSSRC: UInt32.random(in: 1 ... .max, using: &random))
        peer.plain = PlainState(
            player: plain, sockets: numbers(from: plain.local), protections: protections,
            deadline: now + PlainPlayer.beginLimit)
        peer.isConnected = true
        enrol(peer)
        counters.peers.wrappingAdd(1, ordering: .relaxed)
        attach(peer)
        guard let stream = peer.stream, plain.tracks.allSatisfy({ stream.tracks.indices.contains($0.track) }) else {
            end(peer)
            return
        }
        stream.add(peer, lanes: makePlainLanes(peer, plain: plain, stream: stream))
        beginning.append(peer)
        refreshLanes(of: peer)
        // Clients that play before they know how the clocks are related start anew when they are told.
        reportToPlain(peer)
        if !startFromCache(stream, player: peer) { requestKeyFrame(stream) }
        hurry()
    }

    private func numbers(from local: SocketAddress) -> PlainState.Sockets {
        // Without sockets of our own whoever takes the datagrams tells them apart by these.
        plainSockets?.numbers(from: local) ?? (PlainSockets.rtpBase, PlainSockets.rtcpBase)
    }

    private func makePlainLanes(_ peer: Peer, plain: PlainPlayer, stream: StreamState) -> [Lane] {
        stream.tracks.enumerated().map { i, track in
            let own = plain.tracks.first { $0.track == i }
            if let own { peer.trackOfSSRC.append((own.ssrc, i, 0)) }
            let protection = peer.plain?.protection(ofTrack: i)
            var remote = plain.client
            remote.port = own?.rtpPort ?? 0
            var lane = Lane(
                outbound: protection?.outbound ?? machine.clear, remote: remote.c, local: plain.local.c,
                ssrc: own?.ssrc ?? 0, rtxSSRC: 0,
                payloadType: own?.payloadType ?? 0, rtxPayloadType: 0, absSendTimeID: 0, transportCCID: 0,
                orientationID: 0, needsKeyFrame: track.kind == .video, rtxIndex: 0,
                initialIndex: protection?.progress.nextRTP ?? Int64.random(in: 1..<0x8000, using: &random),
                transportSequence: idleSequence)
            lane.socket = peer.plain?.sockets.rtp ?? PlainSockets.rtpBase
            lane.isPlain = true
            return lane
        }
    }

    /// Which of its lanes are open: all that it has set up, but sound only with the first picture, so that a client has
    /// both of one moment.
    func refreshPlainLanes(of peer: Peer, _ plain: PlainState, stream: StreamState) {
        let waits = !plain.hasBegun && firstVideo(of: plain.player, stream) != nil
        for own in plain.player.tracks {
            guard let lane = stream.lane(of: peer, track: own.track) else { continue }
            lane.pointee.isActive = !peer.isPaused && (!waits || lane.pointee.needsKeyFrame)
        }
    }

    private func firstVideo(of player: PlainPlayer, _ stream: StreamState) -> Int? {
        player.tracks.lazy.map(\.track).filter { stream.tracks[$0].kind == .video }.min()
    }

    /// Tells of players that have been given their first packets, or have waited for a key frame for long enough.
    func tellBeginnings() {
        beginning.removeAll { peer in
            guard let plain = peer.plain, let stream = peer.stream, !plain.player.isEnded else { return true }
            let video = firstVideo(of: plain.player, stream)
            let tracks = video.map { [$0] } ?? plain.player.tracks.map(\.track)
            func isFlowing() -> Bool {
                tracks.contains { (stream.lane(of: peer, track: $0)?.pointee.lastIndex ?? -1) >= 0 }
            }
            guard isFlowing() || now >= plain.deadline else { return false }
            if !isFlowing() { _ = startFromCache(stream, player: peer, mayBeOld: true) }
            plain.hasBegun = true
            refreshLanes(of: peer)
            plain.player.tell(.began(firstPackets(of: peer, plain.player, stream, video: isFlowing() ? video : nil)))
            return true
        }
    }

    /// - Parameter video: the track whose first picture the others' times belong to; nil: there is none.
    private func firstPackets(
        of peer: Peer, _ player: PlainPlayer, _ stream: StreamState, video: Int?
    ) -> [PlainFirstPacket] {
        let key = video.flatMap { firstPacket(of: peer, track: $0, stream) }
        return player.tracks.map { own in
            guard let lane = stream.lane(of: peer, track: own.track) else {
                return PlainFirstPacket(sequence: 0, timestamp: nil)
            }
            let first = firstPacket(of: peer, track: own.track, stream)
            let next = lane.pointee.lastIndex < 0 ? lane.pointee.initialIndex : lane.pointee.lastIndex &+ 1
            let index = first.map { $0.number &+ lane.pointee.indexOffset } ?? next
            var timestamp = first?.timestamp
            if let video, let key, own.track != video {
                timestamp = rtpTime(of: stream.tracks[own.track], at: key, of: stream.tracks[video])
            }
            return PlainFirstPacket(sequence: UInt16(truncatingIfNeeded: index), timestamp: timestamp)
        }
    }

    private func firstPacket(of peer: Peer, track: Int, _ stream: StreamState) -> StoredPacket? {
        guard let lane = stream.lane(of: peer, track: track), lane.pointee.lastIndex >= 0 else { return nil }
        return stream.tracks[track].ring.find(lane.pointee.keyNumber)?.pointee
    }

    /// RTP time of one track at a packet of another: by the reports of both, else by when their packets came.
    private func rtpTime(of track: Track, at key: StoredPacket, of other: Track) -> UInt32? {
        if let own = track.report, let theirs = other.report {
            let sinceReport = Double(Int32(bitPattern: key.timestamp &- theirs.timestamp)) / Double(other.clockRate)
            let between = Double(Int64(bitPattern: theirs.ntp &- own.ntp)) / 4_294_967_296
            let ticks = ((sinceReport + between) * Double(track.clockRate)).rounded()
            guard ticks.magnitude < 4e9 else { return nil }
            return own.timestamp &+ UInt32(truncatingIfNeeded: Int64(ticks))
        }
        guard let latest = track.ring.find(track.ring.highest)?.pointee else { return nil }
        let ticks = (latest.arrival - key.arrival).microseconds * Int64(track.clockRate) / 1_000_000
        return latest.timestamp &- UInt32(truncatingIfNeeded: ticks)
    }

    // MARK: - Reports

    /// Sender reports of all its tracks, each to its own port.
    func reportToPlain(_ peer: Peer) {
        guard let plain = peer.plain, let stream = peer.stream, !peer.isPaused else { return }
        for own in plain.player.tracks {
            guard let lane = stream.lane(of: peer, track: own.track),
                let report = senderReport(of: stream.tracks[own.track], lane: lane)
            else { continue }
            var bytes: [UInt8] = []
            RTCPWriter.senderReport(report, into: &bytes)
            RTCPWriter.sdesCNAME(ssrc: own.ssrc, cname: Self.cname, into: &bytes)
            send(bytes, to: plain, own)
        }
    }

    /// The stream is over: nothing follows (RFC 3550 §6.6).
    func sayGoodbye(_ peer: Peer) {
        guard let plain = peer.plain, peers[peer.id] === peer else { return }
        for own in plain.player.tracks {
            var bytes: [UInt8] = []
            RTCPWriter.receiverReport(ssrc: own.ssrc, blocks: [], into: &bytes)
            RTCPWriter.sdesCNAME(ssrc: own.ssrc, cname: Self.cname, into: &bytes)
            RTCPWriter.bye(ssrcs: [own.ssrc], into: &bytes)
            send(bytes, to: plain, own)
        }
    }

    private func send(_ bytes: [UInt8], to plain: PlainState, _ track: PlainTrack) {
        guard bytes.count + 64 < Egress.packetRoom, !bytes.isEmpty else { return }
        var remote = plain.player.client
        remote.port = track.rtcpPort
        let room = egress.reserve()
        bytes.withUnsafeBytes { room.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
        let length = machine.protectRTCP(
            plain.protection(ofTrack: track.track)?.outbound ?? machine.clear, packet: room, length: bytes.count,
            capacity: Egress.packetRoom)
        egress.commit(
            length: length, socket: plain.sockets.rtcp, remote: remote.c, local: plain.player.local.c)
    }

    /// The first report of a track came: players that began without are told at once.
    func reportFirst(_ stream: StreamState) {
        for peer in stream.players where peer.plain != nil { reportToPlain(peer) }
    }

    func sendPlainRTCP(_ bytes: [UInt8], remote: SocketAddress, local: SocketAddress) {
        egress.send(bytes, socket: numbers(from: local).rtcp, remote: remote.c, local: local.c)
    }

    // MARK: - Receiving

    /// A datagram on one of the two ports: RTCP of players, everything of publishers.
    package func handlePlain(
        _ datagram: UnsafeRawBufferPointer, remote: SocketAddress, isRTCP: Bool, arrival: Instant
    ) {
        guard let source = plainSource(of: remote), source.isRTCP == isRTCP else {
            counters.unknownClient.bump()
            return
        }
        switch source.client {
        case .publisher(let publisher):
            if let refusal = publisher.receive(track: source.track, isRTCP: isRTCP, datagram) {
                counters.count(refusal)
                return
            }
            if !plainReceived.contains(where: { $0 === publisher }) { plainReceived.append(publisher) }
        case .player(let player):
            // What comes at the media port shall open a way through a firewall; it says nothing.
            guard isRTCP else { return }
            guard RTCP.isRTCP(datagram.bytes) else {
                counters.malformed.bump()
                return
            }
            if let peer = peers[player.id] {
                takePlainRTCP(datagram.bytes, track: source.track, peer: peer, arrival: arrival)
            } else if let owner = directory.find(peer: player.id)?.owner.load(ordering: .acquiring), owner >= 0,
                owner != index
            {
                mailboxes[owner].post(
                    .plainRTCP(peer: player.id, track: source.track, bytes: [UInt8](datagram), arrival: arrival),
                    waking: false)
                signalled.insert(owner)
            }
        }
    }

    private func plainSource(of address: SocketAddress) -> PlainSource? {
        if let known = plainSources[address] {
            if !known.client.isEnded { return known }
            plainSources[address] = nil
        }
        guard let found = plainClients.find(address), !found.client.isEnded else { return nil }
        if plainSources.count >= plainSourcesLimit {
            plainSources = plainSources.filter { !$0.value.client.isEnded }
            plainSourcesLimit = max(Self.minPlainSources, 2 * plainSources.count)
        }
        plainSources[address] = found
        return found
    }
    static let minPlainSources = 1024
    /// For tests: what it remembers.
    package var knownPlainSources: Int { plainSources.count }

    /// No more datagrams wait at the moment.
    func flushPlain() {
        guard !plainReceived.isEmpty else { return }
        for publisher in plainReceived { publisher.flush() }
        plainReceived.removeAll(keepingCapacity: true)
    }
}

/// What a worker knows of a plain player besides its lanes.
final class PlainState {
    typealias Sockets = (rtp: Int32, rtcp: Int32)
    let player: PlainPlayer
    let sockets: Sockets
    /// Of each of its tracks; nil: RTP goes as it is.
    var protections: [PlainProtection?]
    /// Of the wait for the first key frame.
    let deadline: Instant
    /// PLAY has been answered; sound goes.
    var hasBegun = false

    init(player: PlainPlayer, sockets: Sockets, protections: [PlainProtection?], deadline: Instant) {
        self.player = player
        self.sockets = sockets
        self.protections = protections
        self.deadline = deadline
    }
}
