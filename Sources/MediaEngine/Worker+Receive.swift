import DTLS
import ICE
import LinuxNet
import MediaFormats
import RTP
import SDP
import SRTP
import Synchronization
import Wire

/// From a datagram to a packet in a ring: demultiplexing (RFC 7983), ICE, DTLS, SRTP, RTP.
extension Worker {
    /// - Returns: `true` when the slot has been kept (a packet went into a ring).
    func handle(_ slot: UnsafeMutableRawPointer, length: Int, path: ICEPath, socket: Int32, arrival: Instant) -> Bool {
        let first = slot.load(as: UInt8.self)
        let transport = path.connection == 0 ? byAddress[path.remote] : byConnection[path.connection]
        if first < 4 {
            handleSTUN(slot, length: length, path: path, socket: socket, arrival: arrival)
            return false
        }
        guard let transport, transport.agent.isValid(path) else {
            if transport == nil, let worker = routes[path.remote], path.connection == 0 {
                forward(slot, length: length, path: path, socket: socket, arrival: arrival, to: worker)
            } else {
                // Nothing but a hash look-up is spent on an address that ICE has not validated.
                counters.unknownSource.bump()
            }
            return false
        }
        if first >= 128 && first < 192 {
            return handleMedia(slot, length: length, transport: transport, arrival: arrival)
        }
        if first >= 20 && first < 64 {
            handleDTLS(UnsafeRawBufferPointer(start: slot, count: length), transport: transport)
            return false
        }
        counters.malformed.bump()
        return false
    }

    private func forward(
        _ slot: UnsafeMutableRawPointer, length: Int, path: ICEPath, socket: Int32, arrival: Instant, to worker: Int
    ) {
        guard !isForwarded else {
            counters.unknownSource.bump()
            return
        }
        mailboxes[worker].post(
            .datagram(
                bytes: [UInt8](UnsafeRawBufferPointer(start: slot, count: length)), remote: path.remote,
                local: path.local, socket: socket, arrival: arrival, from: index), waking: false)
        signalled.insert(worker)
    }

    // MARK: - ICE

    private func handleSTUN(
        _ slot: UnsafeMutableRawPointer, length: Int, path: ICEPath, socket: Int32, arrival: Instant
    ) {
        let bytes = UnsafeRawBufferPointer(start: slot, count: length).bytes
        guard STUN.isSTUN(bytes), let fragment = STUN.localUsernameFragment(of: bytes) else {
            counters.malformed.bump()
            refuse(bytes, path: path, socket: socket)
            return
        }
        guard let (registration, transportIndex) = directory.find(fragment: fragment) else {
            counters.unknownUser.bump()
            refuse(bytes, path: path, socket: socket)
            return
        }
        let owner = registration.owner.load(ordering: .acquiring)
        if owner == index, let peer = peers[registration.id], transportIndex < peer.transports.count {
            check(bytes, transport: peer.transports[transportIndex], path: path, socket: socket)
        } else if owner >= 0, owner != index {
            pass(slot, length: length, path: path, socket: socket, arrival: arrival, to: owner)
        } else if owner == -1 {
            adopt(
                registration, transport: transportIndex, check: bytes, slot: slot, path: path, socket: socket,
                arrival: arrival)
        }
    }

    private func refuse(_ check: RawSpan, path: ICEPath, socket: Int32) {
        guard takeReplyToken(), let reply = ICELiteAgent.refusal(ofUnknown: check) else { return }
        send(reply, path: path, socket: socket)
    }

    private func pass(
        _ slot: UnsafeMutableRawPointer, length: Int, path: ICEPath, socket: Int32, arrival: Instant, to worker: Int
    ) {
        if path.connection != 0, let connection = connections[path.connection] {
            hand(connection, to: worker)
        } else {
            forward(slot, length: length, path: path, socket: socket, arrival: arrival, to: worker)
        }
    }

    /// First check of a peer that nobody owns. Only an authenticated one claims it.
    private func adopt(
        _ registration: PeerRegistration, transport index: Int, check: RawSpan, slot: UnsafeMutableRawPointer,
        path: ICEPath, socket: Int32, arrival: Instant
    ) {
        var agent = makeAgent(registration, transport: index)
        var reply: [UInt8] = []
        let outcome = agent.handle(check, path: path, now: now, reply: &reply)
        guard case .validated = outcome else {
            counters.stunRejected.bump()
            if !reply.isEmpty, takeReplyToken() { send(reply, path: path, socket: socket) }
            return
        }
        guard registration.claim(worker: self.index) else {
            let owner = registration.owner.load(ordering: .acquiring)
            if owner >= 0, owner != self.index {
                pass(slot, length: check.byteCount, path: path, socket: socket, arrival: arrival, to: owner)
            }
            return
        }
        let peer = Peer(registration: registration, now: now, localSSRC: UInt32.random(in: 1 ... .max, using: &random))
        enrol(peer)
        connecting.append(peer)
        nextFastTick = min(nextFastTick, now)
        counters.peers.wrappingAdd(1, ordering: .relaxed)
        for (i, negotiated) in registration.negotiation.transports.enumerated() {
            let each = i == index ? agent : makeAgent(registration, transport: i)
            peer.transports.append(Transport(peer: peer, index: i, negotiated: negotiated, agent: each))
        }
        post(.iceConnected(peer.id))
        attach(peer)
        if !reply.isEmpty { send(reply, path: path, socket: socket) }
        validated(peer.transports[index], path: path, socket: socket)
    }

    private func makeAgent(_ registration: PeerRegistration, transport index: Int) -> ICELiteAgent {
        let negotiated = registration.negotiation.transports[index]
        return ICELiteAgent(
            local: ICECredentials(ufrag: negotiated.localUfrag, password: negotiated.localPassword),
            remote: ICECredentials(ufrag: negotiated.remoteUfrag, password: negotiated.remotePassword),
            timeout: configuration.iceTimeout, now: now)
    }

    private func check(_ bytes: RawSpan, transport: Transport, path: ICEPath, socket: Int32) {
        var reply: [UInt8] = []
        let outcome = transport.agent.handle(bytes, path: path, now: now, reply: &reply)
        if !reply.isEmpty { send(reply, path: path, socket: socket) }
        switch outcome {
        case .validated: validated(transport, path: path, socket: socket)
        case .rejected: counters.stunRejected.bump()
        case .ignored: counters.malformed.bump()
        }
    }

    private func takeReplyToken() -> Bool {
        replyTokens = min(50, replyTokens + (now - replyRefill).seconds * 50)
        replyRefill = now
        guard replyTokens >= 1 else { return false }
        replyTokens -= 1
        return true
    }

    private func validated(_ transport: Transport, path: ICEPath, socket: Int32) {
        if path.connection != 0 {
            byConnection[path.connection] = transport
            connections[path.connection]?.isIdentified = true
            connections[path.connection]?.early = []
        } else if let other = byAddress[path.remote], other !== transport {
            // A check with a forged source address must not take the address from a peer that is there.
            if now - other.lastHeard > Self.addressHold || !other.agent.isValid(path) {
                byAddress[path.remote] = transport
            }
        } else {
            byAddress[path.remote] = transport
        }
        transport.lastHeard = now
        if path.connection == 0 { routes[path.remote] = nil }
        transport.socketOfPath[path] = socket
        if transport.socketOfPath.count > ICELiteAgent.maxPaths { forgetInvalidPaths(of: transport) }
        updatePath(of: transport)
        guard transport.dtls == nil, !transport.isSecure else { return }
        startDTLS(transport)
    }

    /// One peer may check from any number of addresses. The agent keeps a few, and so must all that hangs on them.
    private func forgetInvalidPaths(of transport: Transport) {
        for path in transport.socketOfPath.keys where !transport.agent.isValid(path) {
            transport.socketOfPath[path] = nil
            if let connection = connections[path.connection] {
                close(connection)
            } else if byAddress[path.remote] === transport,
                !transport.socketOfPath.keys.contains(where: { $0.connection == 0 && $0.remote == path.remote })
            {
                byAddress[path.remote] = nil
            }
        }
    }
    private static let addressHold = Interval.seconds(5)

    /// Follows the agent's choice of path, and tells the lanes.
    func updatePath(of transport: Transport) {
        guard transport.agent.selectedPath != transport.path else { return }
        transport.path = transport.agent.selectedPath
        if let path = transport.path {
            let socket = transport.socketOfPath[path] ?? 0
            transport.socket = path.connection == 0 ? senders.index(for: path.local, receivedAt: socket) : socket
        }
        refreshLanes(of: transport.peer)
    }

    // MARK: - DTLS

    private func startDTLS(_ transport: Transport) {
        let negotiated = transport.negotiated
        let fingerprints = negotiated.fingerprints.compactMap { DTLSFingerprint(algorithm: $0.algorithm, hex: $0.hex) }
        do {
            let session = try DTLSSession(
                context: dtlsContext, role: negotiated.dtlsRole == .client ? .client : .server,
                fingerprints: fingerprints, now: now)
            transport.dtls = session
            session.start(now: now)
            drainDTLS(transport)
        } catch {
            fail(transport.peer, .dtlsError("\(error)"))
        }
    }

    private func handleDTLS(_ bytes: UnsafeRawBufferPointer, transport: Transport) {
        guard transport.isSecure else {
            // Handshakes cost some hundred µs of arithmetic each: many at once must not hold up media.
            if handshakes.isEmpty, handshakesDone < Self.handshakesPerTurn {
                handshakesDone += 1
                continueHandshake(transport, bytes.bytes)
            } else if handshakes.count < Self.maxHandshakes {
                handshakes.append((transport, Array(bytes)))
            }
            return
        }
        transport.dtls?.handle(bytes.bytes, now: now)
        drainDTLS(transport)
    }

    /// Datagrams of handshakes that wait for their turn; what finds no place is repeated by its sender.
    private static let maxHandshakes = 2048
    private static let handshakesPerTurn = 8

    func continueHandshakes() {
        while handshakesDone < Self.handshakesPerTurn, !handshakes.isEmpty {
            let (transport, bytes) = handshakes.removeFirst()
            // Each counts, so that the datagrams of ended peers do not hold up the turn either.
            handshakesDone += 1
            continueHandshake(transport, bytes.span.bytes)
        }
    }

    private func continueHandshake(_ transport: Transport, _ bytes: RawSpan) {
        guard let session = transport.dtls else { return }
        if let sent = transport.flightSent {
            // Until there is feedback, the time that the peer took to answer our flight.
            transport.peer.took(roundTrip: now - sent)
            transport.flightSent = nil
        }
        session.handle(bytes, now: now)
        drainDTLS(transport)
    }

    func drainDTLS(_ transport: Transport) {
        guard let session = transport.dtls else { return }
        while let datagram = session.nextDatagram() {
            if !transport.isSecure { transport.flightSent = now }
            if let path = transport.path { send(datagram, path: path, socket: transport.socket) }
        }
        switch session.state {
        case .handshaking: break
        case .connected(let keys):
            guard !transport.isSecure else { return }
            do {
                transport.outbound = try machine.makeOutbound(keys)
                transport.inbound = try SRTPInbound(machine: machine, keys: keys)
            } catch {
                fail(transport.peer, .error("SRTP: \(error)"))
                return
            }
            connectedIfAll(transport.peer)
        case .closed: fail(transport.peer, .transportClosed)
        case .failed(let error):
            if error == .fingerprintMismatch {
                fail(transport.peer, .dtlsFingerprint)
            } else {
                fail(transport.peer, .dtlsError("\(error)"))
            }
        }
    }

    // MARK: - SRTP

    private func handleMedia(
        _ slot: UnsafeMutableRawPointer, length: Int, transport: Transport, arrival: Instant
    ) -> Bool {
        guard let inbound = transport.inbound, length >= 8 else { return false }
        let isRTCP = RTCP.isRTCP(UnsafeRawBufferPointer(start: slot, count: length).bytes)
        let result = isRTCP ? inbound.unprotectRTCP(slot, length: length) : inbound.unprotectRTP(slot, length: length)
        guard case .ok(let plain) = result else {
            counters.count(result)
            return false
        }
        transport.lastHeard = now
        let packet = UnsafeRawBufferPointer(start: slot, count: plain).bytes
        if isRTCP {
            handleRTCP(packet, peer: transport.peer, arrival: arrival)
            return false
        }
        guard transport.peer.isPublisher, let stream = transport.peer.stream else {
            // A player has no source that we know.
            counters.unknownSSRC.bump()
            return false
        }
        longestWait = max(longestWait, now - arrival)
        return handleRTP(packet, slot: slot, transport: transport, stream: stream, arrival: arrival)
    }

    private func handleRTP(
        _ packet: RawSpan, slot: UnsafeMutableRawPointer, transport: Transport, stream: StreamState, arrival: Instant
    ) -> Bool {
        guard let header = try? RTPHeader(parsing: packet) else {
            counters.malformed.bump()
            return false
        }
        let peer = transport.peer
        peer.lastRTP = now
        peer.counters.packetsReceived.bump()
        peer.counters.bytesReceived.bump(UInt64(packet.byteCount))
        if transport.transportCCID != 0,
            let (offset, size) = RTPExtensions.find(id: transport.transportCCID, in: packet, header: header), size >= 2
        {
            transport.feedback.receive(sequence: packet.loadBigEndian(at: offset), arrival: arrival)
        }
        guard let (trackIndex, isRTX) = route(header, packet: packet, transport: transport, stream: stream) else {
            counters.unknownSSRC.bump()
            return false
        }
        let track = stream.tracks[trackIndex]
        if track.kind == .video { peer.counters.videoBytesReceived.bump(UInt64(packet.byteCount)) }
        var sequence = header.sequence
        var payloadOffset = header.headerLength
        var payloadLength = header.payloadLength
        if isRTX {
            // RFC 4588 §4: the original sequence number comes first. Empty ones are bandwidth probes.
            guard payloadLength >= 2 else { return false }
            sequence = packet.loadBigEndian(at: payloadOffset)
            payloadOffset += 2
            payloadLength -= 2
        } else {
            track.statistics.receive(
                sequence: header.sequence, timestamp: header.timestamp, arrival: arrival, clockRate: track.clockRate)
        }
        if !peer.gotMedia {
            peer.gotMedia = true
            post(.firstMedia(peer.id))
        }
        let source = track.numbering.unwrap(sequence)
        track.numbering.rebaseIfNeeded(first: source)
        if track.canNACK, let sample = track.nack.receive(source, isRetransmission: isRTX, now: now) {
            peer.took(roundTrip: sample)
        }
        if track.canNACK, track.nack.missingCount > 0 { hurry() }
        if payloadLength == 0, track.numbering.skip(source) { return false }
        var stored = StoredPacket()
        stored.slot = slot
        stored.timestamp = header.timestamp &+ track.timestampOffset
        stored.payloadOffset = UInt16(payloadOffset)
        stored.payloadLength = UInt16(payloadLength)
        stored.marker = header.marker
        stored.arrival = arrival
        if track.orientationID != 0,
            let (offset, size) = RTPExtensions.find(id: track.orientationID, in: packet, header: header), size >= 1
        {
            stored.orientation = (packet[offset] & 0x7f) + 1
        }
        return accept(
            stored, payload: packet.extracting(payloadOffset..<(payloadOffset + payloadLength)), source: source,
            track: trackIndex, stream: stream, peer: peer)
    }

    /// Looks into a publisher's packet, numbers and stores it. `true`: the slot was kept.
    /// - Parameter source: its number as the publisher counts.
    func accept(
        _ packet: StoredPacket, payload: RawSpan, source: Int64, track index: Int, stream: StreamState, peer: Peer
    ) -> Bool {
        let track = stream.tracks[index]
        var packet = packet
        if let codec = track.codec, codec.isVideo, payload.byteCount > 0 {
            let facts = PayloadInspector.inspect(codec, payload)
            take(facts, of: &packet, track: track, peer: peer)
            if facts.hasParameterSets {
                track.parameterSetTimestamp = packet.timestamp
            } else if packet.isKeyFrameStart, track.parameterSetTimestamp != packet.timestamp {
                insertParameterSets(before: source, timestamp: packet.timestamp, track: index, stream: stream)
            }
        }
        packet.number = track.numbering.number(source)
        return append(packet, track: index, stream: stream)
    }

    private func take(_ facts: RTPPayloadFacts, of packet: inout StoredPacket, track: Track, peer: Peer) {
        packet.isKeyFrameStart = facts.isKeyFrameStart
        packet.isFrameStart = facts.isFrameStart
        packet.flexibleStart = facts.flexibleStart
        packet.flexibleLength = facts.flexibleLength
        guard let size = facts.size, size != track.size, size.width > 0, size.height > 0 else { return }
        track.size = size
        // Later changes are told by the slow tick: a hostile publisher must not flood the control side.
        if track.reportedSize == nil { reportSize(of: track, peer: peer) }
    }

    /// Gives a key frame that came without parameter sets those of the publisher's SDP, as packets of their own
    /// before it: a player knows nothing of the publisher's SDP.
    private func insertParameterSets(before source: Int64, timestamp: UInt32, track index: Int, stream: StreamState) {
        let track = stream.tracks[index]
        let sets = track.parameterSets
        guard !sets.isEmpty, let codec = track.codec, let publisher = stream.publisher,
            track.numbering.insert(sets.count, before: source)
        else { return }
        track.parameterSetTimestamp = timestamp
        let first = track.numbering.number(source) - Int64(sets.count)
        for (i, set) in sets.enumerated() {
            guard let slot = slab.take() else { return }
            set.withUnsafeBytes { slot.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
            var packet = StoredPacket()
            packet.number = first + Int64(i)
            packet.slot = slot
            packet.timestamp = timestamp
            packet.payloadLength = UInt16(set.count)
            packet.arrival = now
            take(PayloadInspector.inspect(codec, set.span.bytes), of: &packet, track: track, peer: publisher)
            packet.isKeyFrameStart = i == 0
            packet.isFrameStart = i == 0
            if !append(packet, track: index, stream: stream) { slab.give(slot) }
        }
    }

    /// Track of a packet: by its mid if it carries one, else by its SSRC if that is known (`a=ssrc` and FID, or learnt),
    /// else by payload type (RFC 8843 §9.2).
    private func route(
        _ header: RTPHeader, packet: RawSpan, transport: Transport, stream: StreamState
    ) -> (track: Int, isRTX: Bool)? {
        let named = trackNamed(by: header, packet: packet, transport: transport, stream: stream)
        for (i, track) in stream.tracks.enumerated() where track.transportIndex == transport.index {
            if let named, named != i { continue }
            if header.ssrc == track.ssrc { return (i, false) }
            if header.ssrc == track.rtxSSRC { return (i, true) }
            if header.ssrc == track.formerSSRC { return nil }
        }
        // Further layers that the offer announced: one per track is forwarded.
        if transport.peer.negotiation.tracks.contains(where: { $0.allSSRCs.contains(header.ssrc) }) { return nil }
        for (i, track) in stream.tracks.enumerated() where track.transportIndex == transport.index {
            if let named, named != i { continue }
            if header.payloadType == track.payloadType {
                // A new SSRC for a known payload type: the sender was restarted. Numbers and time go on.
                if track.ssrc != nil, track.ring.highest >= 0 {
                    track.formerSSRC = track.ssrc
                    restart(track, firstTimestamp: header.timestamp)
                }
                track.ssrc = header.ssrc
                return (i, false)
            }
            if header.payloadType == track.rtxPayloadType {
                track.rtxSSRC = header.ssrc
                return (i, true)
            }
        }
        return nil
    }

    private func trackNamed(
        by header: RTPHeader, packet: RawSpan, transport: Transport, stream: StreamState
    ) -> Int? {
        guard transport.midID != 0,
            let (offset, size) = RTPExtensions.find(id: transport.midID, in: packet, header: header), size > 0
        else { return nil }
        return stream.tracks.firstIndex { track in
            guard track.transportIndex == transport.index, track.mid.count == size else { return false }
            for i in 0..<size where packet[offset + i] != track.mid[i] { return false }
            return true
        }
    }

    /// - Parameter pause: time between the last packet of the old source and the first of the new one, if that is known.
    func restart(_ track: Track, firstTimestamp: UInt32, pause: Interval = .zero) {
        track.numbering.restart()
        track.nack = NackGenerator(reorderWait: Track.reorderWait)
        track.statistics = ReceiverStatistics()
        track.report = nil
        let ticks = max(0, pause.microseconds) * Int64(track.clockRate) / 1_000_000
        let gap = UInt32(truncatingIfNeeded: max(Int64(track.clockRate / 30), ticks))
        track.timestampOffset = track.lastTimestamp &+ gap &- firstTimestamp
    }

    /// Stores a packet of a stream and queues it for fan-out and for replicas. `true`: the slot was kept.
    func append(_ packet: StoredPacket, track index: Int, stream: StreamState) -> Bool {
        let track = stream.tracks[index]
        var packet = packet
        let isNewKeyFrame =
            packet.isKeyFrameStart
            && (track.lastKeyFrame < 0
                || packet.number > track.lastKeyFrame && packet.timestamp != track.lastKeyFrameTimestamp)
        if packet.isKeyFrameStart, packet.timestamp == track.lastKeyFrameTimestamp, track.lastKeyFrame >= 0 {
            // Several packets of one picture look like its start (slices); the first is where players begin.
            packet.isKeyFrameStart = packet.number < track.lastKeyFrame
        }
        guard track.ring.store(packet) else { return false }
        // Only now: bandwidth probes repeat packets of old key frames.
        if isNewKeyFrame { keyFrameBegan(stream, track: track) }
        track.lastTimestamp = packet.timestamp
        if packet.isKeyFrameStart, packet.number > track.lastKeyFrame || packet.timestamp == track.lastKeyFrameTimestamp
        {
            track.lastKeyFrame = packet.number
            track.lastKeyFrameTimestamp = packet.timestamp
        }
        for worker in stream.subscribers {
            if outgoing[worker]?.push(stream: stream.id, track: index, packet: packet) == true {
                signalled.insert(worker)
            } else {
                // The players over there miss a packet that no retransmission brings.
                counters.crossingDropped.bump()
                if track.kind == .video { requestKeyFrame(stream) }
            }
        }
        guard stream.hasTakers else { return true }
        if stream.pendingCount == StreamState.maxPending { fanOut(stream, whole: true) }
        if stream.pendingCount == 0 { dirty.append(stream) }
        stream.enqueue(track: index, number: packet.number)
        stream.due = min(stream.due, due(of: packet, kind: track.kind, stream: stream))
        return true
    }

    /// When a packet has to leave. Frame-end gathering: the packets of an unfinished picture wait for its last one,
    /// bounded in time. Sound that comes in the midst of a picture closes the run of what is there; only where so many
    /// players would be visited twice, it waits for the picture's end, for less than any jitter buffer notices.
    private func due(of packet: StoredPacket, kind: MediaKind, stream: StreamState) -> Instant {
        let players = stream.players.count
        if kind == .video {
            return !packet.marker && players >= configuration.gatherMinPlayers ? now + configuration.gatherLimit : now
        }
        let isAlone = stream.pendingCount == 1
        let isHeld = !isAlone && players * configuration.workers >= configuration.soundGatherMinPlayers
        return isHeld ? now + configuration.soundGatherLimit : now
    }

    /// Packets that other workers received.
    func drainCrossings() {
        for queue in incoming {
            guard let queue, !queue.isEmpty else { continue }
            let limit = queue.capacity
            let taken = queue.drain(limit: limit) { header, bytes in
                guard let stream = self.streams[header.stream], !stream.isOrigin,
                    Int(header.track) < stream.tracks.count, let slot = self.slab.take()
                else { return }
                slot.copyMemory(from: bytes, byteCount: Int(header.length))
                var packet = header.packet
                packet.slot = slot
                packet.payloadOffset = 0
                self.longestWait = max(self.longestWait, self.now - packet.arrival)
                if !self.append(packet, track: Int(header.track), stream: stream) { self.slab.give(slot) }
            }
            if taken == limit { mailbox.wake() }
        }
    }
}
