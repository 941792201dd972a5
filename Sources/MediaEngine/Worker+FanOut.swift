import CLinuxNet
import ICE
import LinuxNet
import MediaFormats
import RTP
import SRTP
import Synchronization
import Wire

/// Player-major fan-out: for each player, all gathered packets of its stream into one contiguous run of memory.
extension Worker {
    /// Fans out every stream whose packets need not wait any longer.
    /// - Returns: whether there was one.
    func fanOutDue() -> Bool {
        guard !dirty.isEmpty else { return false }
        var waiting: [StreamState] = []
        var fannedOut = false
        for stream in dirty {
            if now >= stream.due {
                fanOut(stream)
                fannedOut = true
            }
            if stream.pendingCount > 0 { waiting.append(stream) }
        }
        dirty = waiting
        return fannedOut
    }

    /// 24-bit fixed point seconds, 6.18 (abs-send-time).
    var absSendTime: UInt32 {
        let ns = UInt64(bitPattern: now.nanoseconds)
        let seconds = ns / 1_000_000_000
        let fraction = (ns % 1_000_000_000) << 18 / 1_000_000_000
        return UInt32(truncatingIfNeeded: seconds << 18 | fraction) & 0xff_ffff
    }

    /// One gathered packet, found once per stream instead of once per player.
    struct Gathered: BitwiseCopyable {
        var entry: UnsafeMutablePointer<StoredPacket>
        var track: Int
        var packet: UnsafePointer<StoredPacket> { UnsafePointer(entry) }
    }

    /// Gives all players what has been gathered.
    /// - Parameter whole: all of it, however much: bursts are not spread.
    func fanOut(_ stream: StreamState, whole: Bool = false) {
        guard stream.pendingCount > 0 else { return }
        withUnsafeTemporaryAllocation(of: Gathered.self, capacity: stream.pendingCount) { room in
            let count = takePending(of: stream, whole: whole, into: room)
            guard count > 0 else { return }
            let gathered = UnsafeBufferPointer(rebasing: room[..<count])
            fanOut(gathered, of: stream)
            if !stream.sinks.isEmpty { feedSinks(gathered, of: stream) }
        }
        if anyStalled {
            stream.hasStalledTakers = true
            anyStalled = false
        }
        if stream.keyFrameWanted || stream.hasStalledTakers { updateWaiting(stream) }
    }

    /// Moves what may leave now out of the stream's pending packets; with a bound on bursts the rest of the video waits
    /// for the next slice, sound never does.
    private func takePending(
        of stream: StreamState, whole: Bool, into room: UnsafeMutableBufferPointer<Gathered>
    ) -> Int {
        let bound = configuration.burstPackets
        if bound > 0, now >= stream.nextSlice {
            stream.nextSlice = now + configuration.burstInterval
            stream.sliceUsed = 0
        }
        let most = whole || bound == 0 ? Int.max : max(0, bound - stream.sliceUsed)
        var count = 0
        var left = 0
        func take(_ pending: PendingPacket) {
            guard let entry = stream.tracks[Int(pending.track)].ring.entry(pending.number) else { return }
            room[count] = Gathered(entry: entry, track: Int(pending.track))
            count += 1
        }
        func isVideo(_ pending: PendingPacket) -> Bool { stream.tracks[Int(pending.track)].kind == .video }
        var rest = stream.pendingCount
        for i in 0..<stream.pendingCount where isVideo(stream.pending[i]) {
            guard count < most else {
                rest = i
                break
            }
            take(stream.pending[i])
        }
        let pictures = count
        // Behind the pictures, so that it does not part them: it may be the shorter end of their last run.
        for i in 0..<stream.pendingCount where !isVideo(stream.pending[i]) { take(stream.pending[i]) }
        for i in rest..<stream.pendingCount where isVideo(stream.pending[i]) {
            stream.pending[left] = stream.pending[i]
            left += 1
        }
        stream.pendingCount = left
        stream.sliceUsed += pictures
        stream.due = left > 0 ? stream.nextSlice : .distantFuture
        if egress.joinsMessages, !stream.players.isEmpty { RunEqualiser.equalise(count) { room[$0].entry } }
        return count
    }

    /// Players between asking the memory for keys, and for lanes, and using them.
    private static let keysAhead = 2
    private static let lanesAhead = 6

    private func fanOut(_ gathered: UnsafeBufferPointer<Gathered>, of stream: StreamState) {
        let trackCount = stream.tracks.count
        let time = absSendTime
        let count = stream.players.count
        let lines = Int32(clamping: (trackCount * MemoryLayout<Lane>.stride + 63) / 64)
        for player in 0..<count {
            let lanes = stream.lanes + player * trackCount
            // Keys lie all over the heap: with many players the processor waits longer for them than it works.
            if player + Self.lanesAhead < count { weir_prefetch(lanes + Self.lanesAhead * trackCount, lines) }
            if player + Self.keysAhead < count {
                let outbound = (lanes + Self.keysAhead * trackCount).pointee.outbound
                weir_prefetch(outbound.state, outbound.lines)
            }
            // Last packet of the video track that this player got out of turn.
            var ahead: Int64 = -1
            for item in gathered {
                let lane = lanes + item.track
                if lane.pointee.isFlowing {
                    guard ahead < 0 || !lane.pointee.needsKeyFrame || item.packet.pointee.number > ahead else {
                        continue
                    }
                    send(item.packet, on: lane, time: time)
                } else {
                    ahead = max(ahead, begin(item, on: lane, stream: stream, time: time))
                }
            }
        }
    }

    /// A packet for a lane that not every packet goes to: it may begin with this one.
    /// - Returns: the last number sent out of turn; -1: none.
    private func begin(
        _ item: Gathered, on lane: UnsafeMutablePointer<Lane>, stream: StreamState, time: UInt32
    ) -> Int64 {
        let packet = item.packet
        guard lane.pointee.isActive else { return -1 }
        if lane.pointee.isThinned { skipUntilKeyFrame(packet, on: lane) }
        guard !lane.pointee.isStarted else {
            send(packet, on: lane, time: time)
            return -1
        }
        guard !lane.pointee.needsKeyFrame || packet.pointee.isKeyFrameStart else { return -1 }
        // Catching up over ICE-TCP gets there in order when its queue is as full as it may be.
        if lane.pointee.isCatchingUp, lane.pointee.connection != 0,
            connections[lane.pointee.connection]?.isCongested ?? true
        {
            return -1
        }
        let track = stream.tracks[item.track]
        lane.pointee.start(at: start(of: packet, track: track))
        lane.pointee.keyNumber = packet.pointee.number
        lane.pointee.keyTimestamp = packet.pointee.timestamp
        if lane.pointee.needsKeyFrame {
            let ahead = sendHeld(from: packet, on: lane, track: item.track, of: stream, time: time)
            if ahead >= packet.pointee.number { return ahead }
        }
        send(packet, on: lane, time: time)
        return -1
    }

    /// Overload: once the key frame that the player was given is over, and the picture that has begun, nothing goes out
    /// until the next key frame.
    private func skipUntilKeyFrame(_ packet: UnsafePointer<StoredPacket>, on lane: UnsafeMutablePointer<Lane>) {
        guard lane.pointee.isStarted, packet.pointee.timestamp != lane.pointee.keyTimestamp,
            packet.pointee.number > lane.pointee.keyNumber, packet.pointee.timestamp != lane.pointee.lastTimestamp
        else { return }
        lane.pointee.isStarted = false
    }

    /// Somebody still waits for a key frame unless every active lane has begun. A congested ICE-TCP player waits for
    /// room first, and so does a full sink: the others must not pay for key frames that they could not take.
    private func updateWaiting(_ stream: StreamState) {
        guard let video = stream.videoIndex else { return }
        stream.keyFrameWanted = false
        stream.hasStalledTakers = false
        for player in 0..<stream.players.count {
            let lane = stream.lanes + player * stream.tracks.count + video
            guard lane.pointee.isActive, !lane.pointee.isStarted, !lane.pointee.isCatchingUp, !lane.pointee.isThinned
            else { continue }
            if lane.pointee.connection != 0, connections[lane.pointee.connection]?.isCongested ?? true {
                stream.hasStalledTakers = true
            } else {
                stream.keyFrameWanted = true
            }
        }
        for feed in stream.sinks {
            let (isWaiting, needsRoom) = feed.waiting(at: video)
            if isWaiting, needsRoom { stream.hasStalledTakers = true }
            if isWaiting, !needsRoom { stream.keyFrameWanted = true }
        }
    }

    /// Number that a player begins with when `packet` is the first it is given. Packets missing right before a key
    /// frame may be its parameter sets on their way by retransmission: they keep their place.
    private func start(of packet: UnsafePointer<StoredPacket>, track: Track) -> Int64 {
        var first = packet.pointee.number
        guard track.kind == .video else { return first }
        let least = max(first - Self.maxLateStart, 0)
        while first > least, !track.ring.contains(first - 1) { first -= 1 }
        // Nothing stored before: the stream begins here.
        return first == least ? packet.pointee.number : first
    }
    private static let maxLateStart: Int64 = 8

    /// A key frame whose first packet came late, by retransmission: the packets behind it have been here for a while,
    /// and no player that waited for the first was given them. What still waits for its slice of a burst comes with
    /// that: it must not go out twice under one SRTP index, and may yet be padded.
    /// - Returns: the last number that needs no sending any more.
    private func sendHeld(
        from first: UnsafePointer<StoredPacket>, on lane: UnsafeMutablePointer<Lane>, track index: Int,
        of stream: StreamState, time: UInt32
    ) -> Int64 {
        forEachHeld(from: first, track: index, of: stream) { packet in
            send(packet, on: lane, time: time)
            return lane.pointee.isStarted
        }
    }

    /// Calls `body` with `first` and all packets behind it that have come and do not wait for their fan-out, until it
    /// answers `false`.
    /// - Returns: the last number; -1: it lies so far back that nothing was called.
    func forEachHeld(
        from first: UnsafePointer<StoredPacket>, track index: Int, of stream: StreamState,
        _ body: (UnsafePointer<StoredPacket>) -> Bool
    ) -> Int64 {
        let track = stream.tracks[index]
        let end = track.ring.highest
        guard end - first.pointee.number <= Self.maxHeld else { return -1 }
        // Pending packets lie in the order of their track's numbers.
        var waiting = 0
        for number in first.pointee.number...end {
            while waiting < stream.pendingCount,
                Int(stream.pending[waiting].track) != index || stream.pending[waiting].number < number
            {
                waiting += 1
            }
            if waiting < stream.pendingCount, stream.pending[waiting].number == number { continue }
            if let packet = track.ring.find(number), !body(packet) { break }
        }
        return end
    }
    /// Packets sent out of turn; a key frame this late is old, and the player asks for what it wants.
    private static let maxHeld: Int64 = 512

    @inline(__always)
    func send(_ packet: UnsafePointer<StoredPacket>, on lane: UnsafeMutablePointer<Lane>, time: UInt32) {
        guard packet.pointee.number >= lane.pointee.firstNumber, let slot = packet.pointee.slot,
            packet.pointee.number >= lane.pointee.keyNumber || packet.pointee.timestamp == lane.pointee.keyTimestamp
        else { return }
        let index = packet.pointee.number &+ lane.pointee.indexOffset
        if lane.pointee.connection != 0 {
            sendOverTCP(packet, on: lane, index: index, time: time)
            return
        }
        let room = egress.reserve()
        let length = protect(packet, slot: slot, on: lane, index: index, time: time, into: room)
        egress.commit(
            length: length, socket: lane.pointee.socket, remote: lane.pointee.remote, local: lane.pointee.local)
        account(lane, packet: packet, index: index, length: Int(packet.pointee.payloadLength))
    }

    /// Header and cipher of one packet for one player.
    /// - Returns: the length with tag; 0 when the cipher refused.
    @inline(__always)
    private func protect(
        _ packet: UnsafePointer<StoredPacket>, slot: UnsafeMutableRawPointer, on lane: UnsafeMutablePointer<Lane>,
        index: Int64, time: UInt32, into room: UnsafeMutableRawPointer
    ) -> Int {
        let headerLength = LaneHeader.write(
            room, lane: lane, packet: packet, ssrc: lane.pointee.ssrc, payloadType: lane.pointee.payloadType,
            sequence: UInt16(truncatingIfNeeded: index), absSendTime: time)
        if packet.pointee.flexibleStart > 0, lane.pointee.isPlain {
            return protectSimpler(packet, slot: slot, on: lane, index: index, into: room, headerLength: headerLength)
        }
        return machine.protectRTP(
            lane.pointee.outbound, packet: room, headerLength: headerLength,
            payload: slot + Int(packet.pointee.payloadOffset), payloadLength: Int(packet.pointee.payloadLength),
            ssrc: lane.pointee.ssrc, packetIndex: UInt64(bitPattern: index))
    }

    /// VP9 without flexible mode (`VP9.withoutFlexibleMode`), put together in its place.
    @inline(never)
    private func protectSimpler(
        _ packet: UnsafePointer<StoredPacket>, slot: UnsafeMutableRawPointer, on lane: UnsafeMutablePointer<Lane>,
        index: Int64, into room: UnsafeMutableRawPointer, headerLength: Int
    ) -> Int {
        let payload = slot + Int(packet.pointee.payloadOffset)
        let start = Int(packet.pointee.flexibleStart)
        let end = start + Int(packet.pointee.flexibleLength)
        let rest = Int(packet.pointee.payloadLength) - end
        let simpler = room + headerLength
        simpler.copyMemory(from: payload, byteCount: start)
        (simpler + start).copyMemory(from: payload + end, byteCount: rest)
        let first = simpler.assumingMemoryBound(to: UInt8.self)
        first.pointee = VP9.withoutFlexibleMode(firstByte: first.pointee)
        return machine.protectRTP(
            lane.pointee.outbound, packet: room, headerLength: headerLength, payload: simpler,
            payloadLength: start + rest, ssrc: lane.pointee.ssrc, packetIndex: UInt64(bitPattern: index))
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
        if lane.pointee.needsKeyFrame, packet.pointee.isFrameStart, isCongested(connection) {
            stall(lane)
            return
        }
        let room = egress.reserve()
        let length = protect(packet, slot: slot, on: lane, index: index, time: time, into: room)
        machine.flush()
        let bytes = UnsafeRawBufferPointer(start: room, count: length)
        guard length > 0, send(bytes, on: connection) || makeRoom(connection) && send(bytes, on: connection) else {
            if lane.pointee.needsKeyFrame { stall(lane) }
            return
        }
        account(lane, packet: packet, index: index, length: Int(packet.pointee.payloadLength))
    }

    /// Whether much waits even after the kernel has been given what it takes.
    func isCongested(_ connection: TCPConnection) -> Bool {
        guard connection.isCongested else { return false }
        _ = makeRoom(connection)
        return connection.isCongested
    }

    /// Gives the kernel what it takes now. `false`: it has said before that it takes nothing.
    private func makeRoom(_ connection: TCPConnection) -> Bool {
        guard !connection.wantsWrite else { return false }
        flush(connection)
        return true
    }

    /// The player starts anew at a later key frame; the numbers of what is left out are left out too.
    private func stall(_ lane: UnsafeMutablePointer<Lane>) {
        lane.pointee.isStarted = false
        lane.pointee.isCatchingUp = false
        anyStalled = true
        counters.tcpPicturesDropped.bump()
    }

    // MARK: - Retransmission

    /// Sends the packet again, by RTX (RFC 4588) where the player takes it, else as it was.
    func retransmit(_ sequence: UInt16, lane: UnsafeMutablePointer<Lane>, track: Track, peer: Peer) {
        // What went over ICE-TCP is not lost; what was left out has no number.
        guard lane.pointee.isActive, lane.pointee.connection == 0, lane.pointee.lastIndex >= 0 else { return }
        let last = lane.pointee.lastIndex
        let index = last &+ Int64(Int16(bitPattern: sequence &- UInt16(truncatingIfNeeded: last)))
        let number = index &- lane.pointee.indexOffset
        guard index <= last, number >= lane.pointee.firstNumber, let packet = track.ring.find(number),
            let slot = packet.pointee.slot
        else { return }
        // It is about to leave anyway, and may be padded before: not two packets under one index (RFC 3711 §9.1).
        guard peer.stream?.isPending(number, of: track) != true else { return }
        let payload = Int(packet.pointee.payloadLength)
        let kind = track.kind == .video ? 1 : 0
        guard peer.mayResend(index, track: kind, now: now), peer.retransmission.take(bytes: payload + 40, now: now)
        else {
            counters.retransmissionsRefused.bump()
            return
        }
        peer.resends(index, track: kind, now: now)
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
            length = protect(packet, slot: slot, on: lane, index: index, time: time, into: room)
        }
        lane.pointee.retransmitted &+= 1
        egress.commit(
            length: length, socket: lane.pointee.socket, remote: lane.pointee.remote, local: lane.pointee.local)
    }
}
