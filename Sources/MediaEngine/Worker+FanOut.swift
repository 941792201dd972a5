import ICE
import LinuxNet
import RTP
import SRTP
import Synchronization
import Wire

/// Player-major fan-out: for each player, all gathered packets of its stream into one contiguous run of memory.
extension Worker {
    /// Fans out every stream whose packets need not wait any longer.
    func fanOutDue() {
        guard !dirty.isEmpty else { return }
        var waiting: [StreamState] = []
        for stream in dirty {
            if stream.pictureIsOpen, now < stream.gatherDeadline {
                waiting.append(stream)
            } else {
                fanOut(stream)
            }
        }
        dirty = waiting
    }

    /// 24-bit fixed point seconds, 6.18 (abs-send-time).
    var absSendTime: UInt32 {
        let ns = UInt64(bitPattern: now.nanoseconds)
        let seconds = ns / 1_000_000_000
        let fraction = (ns % 1_000_000_000) << 18 / 1_000_000_000
        return UInt32(truncatingIfNeeded: seconds << 18 | fraction) & 0xff_ffff
    }

    func fanOut(_ stream: StreamState) {
        let count = stream.pendingCount
        stream.pendingCount = 0
        stream.pictureIsOpen = false
        stream.gatherDeadline = .distantFuture
        let trackCount = stream.tracks.count
        guard count > 0, trackCount > 0 else { return }
        // Resolve once per stream what every player would have to look up.
        withUnsafeTemporaryAllocation(of: UnsafePointer<StoredPacket>?.self, capacity: count) { packets in
            for i in 0..<count {
                let pending = stream.pending[i]
                packets[i] = stream.tracks[Int(pending.track)].ring.find(pending.number)
            }
            let time = absSendTime
            for player in 0..<stream.players.count {
                let lanes = stream.lanes + player * trackCount
                for i in 0..<count {
                    guard let packet = packets[i] else { continue }
                    let lane = lanes + Int(stream.pending[i].track)
                    guard lane.pointee.isActive else { continue }
                    if !lane.pointee.isStarted {
                        guard !lane.pointee.needsKeyFrame || packet.pointee.isKeyFrameStart else { continue }
                        lane.pointee.start(at: packet.pointee.number)
                    }
                    send(packet, on: lane, time: time)
                }
            }
        }
        if stream.keyFrameWanted, let video = stream.videoIndex {
            // Somebody still waits for a key frame unless every active lane has begun.
            stream.keyFrameWanted = (0..<stream.players.count).contains {
                let lane = stream.lanes + $0 * trackCount + video
                return lane.pointee.isActive && !lane.pointee.isStarted
            }
        }
    }

    @inline(__always)
    private func send(_ packet: UnsafePointer<StoredPacket>, on lane: UnsafeMutablePointer<Lane>, time: UInt32) {
        guard packet.pointee.number >= lane.pointee.firstNumber, let slot = packet.pointee.slot else { return }
        let index = packet.pointee.number &+ lane.pointee.indexOffset
        if lane.pointee.connection != 0 {
            sendOverTCP(packet, on: lane, index: index, time: time)
            return
        }
        let room = egress.reserve()
        let headerLength = LaneHeader.write(
            room, lane: lane, packet: packet, ssrc: lane.pointee.ssrc, payloadType: lane.pointee.payloadType,
            sequence: UInt16(truncatingIfNeeded: index), absSendTime: time)
        let length = machine.protectRTP(
            lane.pointee.outbound, packet: room, headerLength: headerLength,
            payload: slot + Int(packet.pointee.payloadOffset), payloadLength: Int(packet.pointee.payloadLength),
            ssrc: lane.pointee.ssrc, packetIndex: UInt64(bitPattern: index))
        egress.commit(
            length: length, socket: lane.pointee.socket, remote: lane.pointee.remote, local: lane.pointee.local)
        account(lane, packet: packet, index: index, length: Int(packet.pointee.payloadLength))
    }

    @inline(__always)
    private func account(
        _ lane: UnsafeMutablePointer<Lane>, packet: UnsafePointer<StoredPacket>, index: Int64, length: Int
    ) {
        if index > lane.pointee.lastIndex {
            lane.pointee.lastIndex = index
            lane.pointee.lastTimestamp = packet.pointee.timestamp
        }
        lane.pointee.packetsSent &+= 1
        lane.pointee.bytesSent &+= UInt64(length)
    }

    /// A slow ICE-TCP player loses whole pictures: once its queue is congested, nothing goes out until a key frame
    /// finds room again.
    private func sendOverTCP(
        _ packet: UnsafePointer<StoredPacket>, on lane: UnsafeMutablePointer<Lane>, index: Int64, time: UInt32
    ) {
        guard let connection = connections[lane.pointee.connection], let slot = packet.pointee.slot else { return }
        if lane.pointee.needsKeyFrame {
            if lane.pointee.isSkippingFrame {
                guard packet.pointee.isKeyFrameStart, !connection.isCongested else {
                    // The numbers of what is left out are left out too.
                    lane.pointee.indexOffset -= index > lane.pointee.lastIndex ? 1 : 0
                    return
                }
                lane.pointee.isSkippingFrame = false
            } else if connection.isCongested, packet.pointee.isFrameStart {
                lane.pointee.isSkippingFrame = true
                lane.pointee.indexOffset -= 1
                counters.tcpPicturesDropped.bump()
                return
            }
        }
        let room = egress.reserve()
        let index = packet.pointee.number &+ lane.pointee.indexOffset
        let headerLength = LaneHeader.write(
            room, lane: lane, packet: packet, ssrc: lane.pointee.ssrc, payloadType: lane.pointee.payloadType,
            sequence: UInt16(truncatingIfNeeded: index), absSendTime: time)
        let length = machine.protectRTP(
            lane.pointee.outbound, packet: room, headerLength: headerLength,
            payload: slot + Int(packet.pointee.payloadOffset), payloadLength: Int(packet.pointee.payloadLength),
            ssrc: lane.pointee.ssrc, packetIndex: UInt64(bitPattern: index))
        machine.flush()
        guard connection.send(UnsafeRawBufferPointer(start: room, count: length)) else {
            lane.pointee.isSkippingFrame = lane.pointee.needsKeyFrame
            return
        }
        account(lane, packet: packet, index: index, length: Int(packet.pointee.payloadLength))
    }

    // MARK: - Retransmission

    /// Sends the packet again, by RTX (RFC 4588) where the player takes it, else as it was.
    func retransmit(_ sequence: UInt16, lane: UnsafeMutablePointer<Lane>, track: Track, peer: Peer) {
        guard lane.pointee.isActive, lane.pointee.isStarted, lane.pointee.lastIndex >= 0 else { return }
        let last = lane.pointee.lastIndex
        let index = last &+ Int64(Int16(bitPattern: sequence &- UInt16(truncatingIfNeeded: last)))
        let number = index &- lane.pointee.indexOffset
        guard index <= last, number >= lane.pointee.firstNumber, let packet = track.ring.find(number),
            let slot = packet.pointee.slot
        else { return }
        let payload = Int(packet.pointee.payloadLength)
        guard peer.retransmission.take(bytes: payload + 40, now: now) else {
            counters.retransmissionsRefused.bump()
            return
        }
        let room = egress.reserve()
        let time = absSendTime
        let length: Int
        if lane.pointee.rtxPayloadType != 0 {
            lane.pointee.rtxIndex += 1
            let rtx = lane.pointee.rtxIndex
            let headerLength = LaneHeader.write(
                room, lane: lane, packet: packet, ssrc: lane.pointee.rtxSSRC, payloadType: lane.pointee.rtxPayloadType,
                sequence: UInt16(truncatingIfNeeded: rtx), absSendTime: time)
            let body = room + headerLength
            body.storeBytes(of: sequence.bigEndian, as: UInt16.self)
            (body + 2).copyMemory(from: slot + Int(packet.pointee.payloadOffset), byteCount: payload)
            length = machine.protectRTP(
                lane.pointee.outbound, packet: room, headerLength: headerLength, payload: UnsafeRawPointer(body),
                payloadLength: payload + 2, ssrc: lane.pointee.rtxSSRC, packetIndex: UInt64(bitPattern: rtx))
        } else {
            let headerLength = LaneHeader.write(
                room, lane: lane, packet: packet, ssrc: lane.pointee.ssrc, payloadType: lane.pointee.payloadType,
                sequence: sequence, absSendTime: time)
            length = machine.protectRTP(
                lane.pointee.outbound, packet: room, headerLength: headerLength,
                payload: slot + Int(packet.pointee.payloadOffset), payloadLength: payload, ssrc: lane.pointee.ssrc,
                packetIndex: UInt64(bitPattern: index))
        }
        lane.pointee.retransmitted &+= 1
        if lane.pointee.connection != 0 {
            machine.flush()
            _ = send(UnsafeRawBufferPointer(start: room, count: length), connection: lane.pointee.connection)
        } else {
            egress.commit(
                length: length, socket: lane.pointee.socket, remote: lane.pointee.remote, local: lane.pointee.local)
        }
    }

    // MARK: - Key frames

    /// Shortest time between two key-frame requests to one publisher, whoever asks.
    static let keyFrameInterval = Interval.milliseconds(300)

    /// Merged request of all players; goes to the publisher, here or on its worker.
    func requestKeyFrame(_ stream: StreamState) {
        stream.keyFrameWanted = true
        guard now - stream.lastKeyFrameRequest >= Self.keyFrameInterval else { return }
        stream.lastKeyFrameRequest = now
        guard stream.isOrigin else {
            mailboxes[stream.originWorker].post(.requestKeyFrame(stream: stream.id))
            return
        }
        guard let publisher = stream.publisher, let index = stream.videoIndex, publisher.isConnected else { return }
        let track = stream.tracks[index]
        guard let ssrc = track.ssrc else { return }
        var bytes: [UInt8] = []
        RTCPWriter.receiverReport(ssrc: publisher.localSSRC, blocks: [], into: &bytes)
        if track.canPLI || !track.canFIR {
            RTCPWriter.pli(sender: publisher.localSSRC, media: ssrc, into: &bytes)
        } else {
            track.firSequence &+= 1
            RTCPWriter.fir(sender: publisher.localSSRC, entries: [(ssrc, track.firSequence)], into: &bytes)
        }
        publisher.counters.plis.bump()
        sendRTCP(bytes, on: transport(of: publisher, track: index))
    }

    func transport(of peer: Peer, track: Int) -> Transport {
        let tracks = peer.negotiation.tracks
        let index = track < tracks.count ? tracks[track].transportIndex : 0
        return peer.transports[min(index, peer.transports.count - 1)]
    }

    /// Starts a player from the stored group of pictures when that is young and whole: no wait for a new key frame.
    func startFromCache(_ stream: StreamState, player: Peer) -> Bool {
        guard let video = stream.videoIndex, let lane = stream.lane(of: player, track: video) else { return true }
        guard lane.pointee.isActive, !lane.pointee.isStarted else { return true }
        let track = stream.tracks[video]
        guard configuration.groupCache > .zero, track.lastKeyFrame >= 0,
            let first = track.ring.find(track.lastKeyFrame), now - first.pointee.arrival <= configuration.groupCache
        else { return false }
        var number = track.lastKeyFrame
        while number <= track.ring.highest {
            guard track.ring.contains(number) else { return false }
            number += 1
        }
        // Packets still pending would reach the player twice: let them go out first.
        if stream.pendingCount > 0 { fanOut(stream) }
        guard !lane.pointee.isStarted else { return true }
        lane.pointee.start(at: track.lastKeyFrame)
        let time = absSendTime
        for number in track.lastKeyFrame...track.ring.highest {
            if let packet = track.ring.find(number) { send(packet, on: lane, time: time) }
        }
        return true
    }
}
