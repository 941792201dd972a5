import LinuxNet
import SDP
import Wire

/// What a worker knows of a peer at one moment, for people who look for a fault. Of packets only what is outside the
/// payload; nothing of keys.
///
/// The packets are those that a track's ring holds anyway: nothing on their path knows of this.
package struct PeerInspection: Sendable {
    package struct Transport: Sendable {
        package var isSecure: Bool
        package var path: ICEAddresses?
        /// nil: never.
        package var silence: Interval?
    }

    package struct ICEAddresses: Sendable {
        package var local: SocketAddress
        package var remote: SocketAddress
        package var isTCP: Bool
    }

    package struct Track: Sendable {
        package var kind: MediaKind
        package var codec: String
        package var ssrc: UInt32?
        package var payloadType: UInt8
        /// Of a player: false while nothing is sent (paused, not connected, or it waits for a key frame).
        package var isFlowing: Bool
        package var packets: [Packet]
    }

    package struct Packet: Sendable {
        /// Since it came from the publisher.
        package var age: Interval
        /// As the peer sent it or was sent it.
        package var sequence: UInt16
        package var timestamp: UInt32
        package var marker: Bool
        package var isKeyFrameStart: Bool
        package var payloadLength: Int
        /// Of a publisher: what came before the payload.
        package var header: [UInt8]
    }

    package var transports: [Transport]
    package var tracks: [Track]
}

extension Worker {
    /// - Parameter count: packets of each track at most, the latest.
    package func inspect(peer id: UInt64, packets count: Int) -> PeerInspection? {
        guard let peer = peers[id] else { return nil }
        let transports = peer.transports.map { transport in
            PeerInspection.Transport(
                isSecure: transport.isSecure,
                path: transport.path.map { .init(local: $0.local, remote: $0.remote, isTCP: $0.connection != 0) },
                silence: transport.lastHeard == .zero ? nil : now - transport.lastHeard)
        }
        guard let stream = peer.stream else { return PeerInspection(transports: transports, tracks: []) }
        let tracks = stream.tracks.indices.map { index in
            peer.isPublisher
                ? received(stream.tracks[index], count: count)
                : sent(stream.tracks[index], stream.lane(of: peer, track: index), count: count)
        }
        return PeerInspection(transports: transports, tracks: tracks)
    }

    /// The worker ends: whoever asked is not left waiting.
    func refuseInspections() {
        for command in mailbox.drain() {
            if case .inspect(_, _, let reply) = command { reply(nil) }
        }
    }

    private func received(_ track: Track, count: Int) -> PeerInspection.Track {
        let packets = latest(of: track, from: 0, through: track.ring.highest, count: count) { packet in
            let length = packet.slot == nil ? 0 : Int(packet.payloadOffset)
            let header = [UInt8](UnsafeRawBufferPointer(start: packet.slot, count: length))
            let sequence = header.count >= 4 ? UInt16(header[2]) << 8 | UInt16(header[3]) : 0
            return (sequence, header)
        }
        return PeerInspection.Track(
            kind: track.kind, codec: track.codec?.name ?? "unknown", ssrc: track.ssrc,
            payloadType: track.payloadType, isFlowing: track.ring.highest >= 0, packets: packets)
    }

    private func sent(_ track: Track, _ lane: UnsafeMutablePointer<Lane>?, count: Int) -> PeerInspection.Track {
        var out = PeerInspection.Track(
            kind: track.kind, codec: track.codec?.name ?? "unknown", ssrc: nil, payloadType: 0, isFlowing: false,
            packets: [])
        guard let lane = lane?.pointee else { return out }
        out.ssrc = lane.ssrc
        out.payloadType = lane.payloadType
        out.isFlowing = lane.isFlowing
        guard lane.lastIndex >= 0 else { return out }
        out.packets = latest(
            of: track, from: lane.firstNumber, through: lane.lastIndex - lane.indexOffset, count: count
        ) { packet in (UInt16(truncatingIfNeeded: packet.number &+ lane.indexOffset), []) }
        return out
    }

    private func latest(
        of track: Track, from first: Int64, through last: Int64, count: Int,
        _ facts: (StoredPacket) -> (sequence: UInt16, header: [UInt8])
    ) -> [PeerInspection.Packet] {
        guard last >= first, count > 0 else { return [] }
        var out: [PeerInspection.Packet] = []
        out.reserveCapacity(min(count, track.ring.capacity))
        // From the latest back, so that the worker makes no more than is asked for.
        for number in (max(first, last - Int64(track.ring.capacity))...last).reversed() where out.count < count {
            guard let packet = track.ring.find(number)?.pointee else { continue }
            let (sequence, header) = facts(packet)
            out.append(
                PeerInspection.Packet(
                    age: now - packet.arrival, sequence: sequence, timestamp: packet.timestamp, marker: packet.marker,
                    isKeyFrameStart: packet.isKeyFrameStart, payloadLength: Int(packet.payloadLength), header: header))
        }
        return out.reversed()
    }
}

extension MediaEngine {
    /// Asks the worker of a peer what it knows. `reply` is called once, on the worker's thread unless there is no such
    /// peer, and must not block; never if the engine stops before.
    package func inspect(
        peer: UInt64, packets: Int, reply: @escaping @Sendable (PeerInspection?) -> Void
    ) {
        guard let owner = registration(of: peer)?.owner.load(ordering: .acquiring), owner >= 0 else {
            reply(nil)
            return
        }
        post(.inspect(peer: peer, packets: packets, reply: reply), to: owner)
    }
}
