import MediaFormats
import RTP
import Synchronization
import Wire

/// Publishers inside the process: see `PacketSource`.
extension Worker {
    /// Records of one source in one turn: bounds the delay of the others.
    private static let maxSourceRecords = 512
    /// Steps of a source's numbers that are no loss but a new start (RFC 3550 §A.1 calls it a dropout).
    private static let maxSourceStep: Int64 = 3000
    /// Older packets would be thrown away unseen.
    private static let maxSourceAge = Interval.seconds(1)

    /// A source begins: it is a peer that is connected already.
    func adopt(source registration: PeerRegistration) {
        mailbox.load.wrappingSubtract(1, ordering: .relaxed)
        guard let source = registration.source else { return }
        // Closed before it came here.
        guard directory.find(peer: registration.id) === registration else {
            registration.sinks?.close()
            source.end()
            return
        }
        let peer = Peer(registration: registration, now: now, localSSRC: 0)
        peer.source = source
        peer.isConnected = true
        enrol(peer)
        counters.peers.wrappingAdd(1, ordering: .relaxed)
        attach(peer)
        publishers.append(peer)
    }

    /// A source has sent something.
    func takeNews(of id: UInt64) {
        guard let peer = peers[id], let source = peer.source, let stream = peer.stream else { return }
        source.read(limit: Self.maxSourceRecords) { header, payload in
            let index = Int(header.track)
            guard index < stream.tracks.count else { return }
            let arrival = min(now, max(header.arrival, now - Self.maxSourceAge))
            switch header.kind {
            case .packet: take(header, payload, track: index, arrival: arrival, peer: peer, stream: stream)
            case .report:
                tookReport(
                    track: index, ntp: UInt64(bitPattern: header.number), timestamp: header.timestamp,
                    arrival: arrival, stream: stream)
            case .restart: stream.tracks[index].restarted = arrival
            case .lost: break
            }
        }
    }

    private func take(
        _ header: RecordHeader, _ payload: UnsafeRawBufferPointer, track index: Int, arrival: Instant, peer: Peer,
        stream: StreamState
    ) {
        let track = stream.tracks[index]
        peer.lastRTP = now
        peer.counters.packetsReceived.bump()
        let size = UInt64(payload.count + RTPHeader.fixedLength)
        peer.counters.bytesReceived.bump(size)
        if track.kind == .video { peer.counters.videoBytesReceived.bump(size) }
        if !peer.gotMedia {
            peer.gotMedia = true
            post(.firstMedia(peer.id))
        }
        let number = header.isNumbered ? header.number : track.lastSource + 1
        restartIfNeeded(track, number: number, timestamp: header.timestamp, arrival: arrival)
        track.lastSource = max(track.lastSource, number)
        track.lastArrival = arrival
        track.statistics.receive(
            sequence: UInt16(truncatingIfNeeded: number), timestamp: header.timestamp, arrival: arrival,
            clockRate: track.clockRate)
        track.numbering.rebaseIfNeeded(first: number)
        if payload.isEmpty, track.numbering.skip(number) { return }
        guard let slot = slab.take() else {
            counters.noMemory.bump()
            return
        }
        if let base = payload.baseAddress { slot.copyMemory(from: base, byteCount: payload.count) }
        var packet = StoredPacket()
        packet.slot = slot
        packet.timestamp = header.timestamp &+ track.timestampOffset
        packet.payloadLength = UInt16(truncatingIfNeeded: payload.count)
        packet.marker = header.marker
        packet.orientation = header.orientation
        packet.arrival = arrival
        if !accept(packet, payload: payload.bytes, source: number, track: index, stream: stream, peer: peer) {
            slab.give(slot)
        }
    }

    private func restartIfNeeded(_ track: Track, number: Int64, timestamp: UInt32, arrival: Instant) {
        guard track.lastSource >= 0 else { return }
        if track.restarted != nil {
            track.restarted = nil
            restart(track, firstTimestamp: timestamp, pause: arrival - track.lastArrival)
        } else if abs(number - track.lastSource) >= Self.maxSourceStep {
            // Times are the source's own affair, and the statistics know steps.
            track.numbering.restart()
        } else {
            return
        }
        track.lastSource = number - 1
    }

    /// What would be reported to a publisher that could be reported to.
    func reviewSource(_ peer: Peer) {
        guard let stream = peer.stream else { return }
        var lost: UInt64 = 0
        for track in stream.tracks where track.statistics.hasReceived {
            lost += UInt64(max(0, track.statistics.cumulativeLost))
            peer.counters.jitterMicroseconds.set(
                UInt64(track.statistics.jitter) * 1_000_000 / UInt64(track.clockRate))
        }
        peer.counters.packetsLost.set(lost)
    }
}
