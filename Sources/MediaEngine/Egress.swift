import CLinuxNet
import Glibc
import SRTP
import Wire

/// What a worker is about to send: packets in one contiguous arena, neighbours of equal size to one destination
/// joined into UDP GSO messages, many messages to one `sendmmsg`. One thread only.
package final class Egress {
    /// Sends messages from one of the worker's sockets, at most `WEIR_SEND_BATCH`; as `weir_send` gives how many
    /// went out, or -errno for the first. Called once per batch.
    package typealias Transmit = (_ socket: Int32, _ messages: UnsafePointer<weir_message>, _ count: CInt) -> CInt

    /// Most bytes of one GSO message (the UDP length field) and most segments the kernel takes.
    private static let maxMessage = 65_000
    private static let maxSegments = 64
    private static let maxMessages = 512
    private static let arenaSize = 1 << 18
    /// Room for one packet: header, payload, tag.
    package static let packetRoom = PacketSlab.slotSize + LaneHeader.maxLength + 32
    /// Messages that wait for a full socket buffer; beyond it the oldest are dropped, video first.
    private static let maxBacklog = 512
    /// Destinations that are remembered as unable to take GSO.
    private static let maxPlainDestinations = 256

    private let arena: UnsafeMutableRawPointer
    private var used = 0
    private let messages: UnsafeMutablePointer<weir_message>
    private let sockets: UnsafeMutablePointer<Int32>
    private var count = 0
    private let transmit: Transmit
    private let machine: SRTPMachine
    private let gso: Bool
    /// Destinations behind a route that does not take segmented messages.
    private var plainDestinations: Set<SocketAddress> = []

    private struct Waiting {
        var socket: Int32
        var bytes: [UInt8]
        var segment: UInt32
        var remote: weir_address
        var local: weir_address
        var packets: UInt64 { (UInt64(bytes.count) + UInt64(segment) - 1) / UInt64(max(segment, 1)) }
        /// Several packets of near full size: media rather than STUN, DTLS, RTCP or audio.
        var isVideo: Bool { segment > Egress.largestNonVideo }
    }
    private static let largestNonVideo: UInt32 = 600
    private var backlog: [Waiting] = []

    package private(set) var packetsSent: UInt64 = 0
    package private(set) var messagesSent: UInt64 = 0
    /// Messages of several packets, and the packets in them.
    package private(set) var runsSent: (messages: UInt64, packets: UInt64) = (0, 0)
    package private(set) var sendCalls: UInt64 = 0
    package private(set) var packetsDropped: UInt64 = 0
    package var hasBacklog: Bool { !backlog.isEmpty }
    /// Whether packets of one size leave together.
    package var joinsMessages: Bool { gso }

    package init(machine: SRTPMachine, gso: Bool, transmit: @escaping Transmit) {
        self.machine = machine
        self.gso = gso
        self.transmit = transmit
        arena = .allocate(byteCount: Self.arenaSize, alignment: 64)
        messages = .allocate(capacity: Self.maxMessages)
        sockets = .allocate(capacity: Self.maxMessages)
    }

    deinit {
        arena.deallocate()
        messages.deallocate()
        sockets.deallocate()
    }

    /// Memory for the next packet, `packetRoom` bytes; flushes first when the arena is full.
    @inline(__always) package func reserve() -> UnsafeMutableRawPointer {
        if used + Self.packetRoom > Self.arenaSize || count == Self.maxMessages { flush() }
        return arena + used
    }

    /// Takes the packet written at the place `reserve` gave. Joins it to the message before when the kernel can cut
    /// them apart again: same destination, neighbours in memory, and all but the last of one size.
    @inline(__always)
    package func commit(length: Int, socket: Int32, remote: weir_address, local: weir_address) {
        // Nothing was written: the cipher refused the packet.
        guard length > 0 else { return }
        let data = arena + used
        used += length
        if count > 0, gso, plainDestinations.isEmpty || !plainDestinations.contains(SocketAddress(remote)) {
            let last = messages + (count - 1)
            let segment = Int(last.pointee.segment)
            let previous = Int(last.pointee.length)
            if length <= segment, previous % segment == 0, previous + length <= Self.maxMessage,
                previous / segment < Self.maxSegments, sockets[count - 1] == socket,
                UnsafeRawPointer(last.pointee.data) + previous == UnsafeRawPointer(data),
                last.pointee.remote.low == remote.low, last.pointee.remote.port == remote.port,
                last.pointee.remote.high == remote.high, last.pointee.remote.family == remote.family
            {
                last.pointee.length += UInt32(length)
                return
            }
        }
        messages[count] = weir_message(
            data: UnsafePointer(data.assumingMemoryBound(to: UInt8.self)), length: UInt32(length),
            segment: UInt32(length), remote: remote, local: local)
        sockets[count] = socket
        count += 1
    }

    /// Sends a copy of bytes that are not in the arena (STUN, DTLS, RTCP).
    package func send(_ bytes: [UInt8], socket: Int32, remote: weir_address, local: weir_address) {
        guard bytes.count <= Self.packetRoom else { return }
        let room = reserve()
        bytes.withUnsafeBytes { room.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
        commit(length: bytes.count, socket: socket, remote: remote, local: local)
    }

    /// Completes outstanding encryption and hands everything to the kernel.
    package func flush() {
        machine.flush()
        // Sockets whose buffer is full: what waits for one goes before what comes.
        var full = drainBacklog()
        var start = 0
        while start < count {
            let socket = sockets[start]
            var end = start + 1
            while end < count, sockets[end] == socket, end - start < Int(WEIR_SEND_BATCH) { end += 1 }
            var at = start
            if full & Self.bit(socket) != 0 {
                for i in at..<end { keep(messages + i, socket: socket) }
                at = end
            }
            while at < end {
                sendCalls += 1
                let sent = transmit(socket, messages + at, CInt(end - at))
                if sent > 0 {
                    for i in at..<(at + Int(sent)) { account(messages + i) }
                    at += Int(sent)
                } else if sent == -EAGAIN || sent == -ENOBUFS {
                    for i in at..<end { keep(messages + i, socket: socket) }
                    full |= Self.bit(socket)
                    at = end
                } else {
                    fail(messages + at, socket: socket, code: -sent)
                    at += 1
                }
            }
            start = end
        }
        count = 0
        used = 0
    }

    private func account(_ message: UnsafeMutablePointer<weir_message>) {
        messagesSent &+= 1
        let packets = Self.packets(length: message.pointee.length, segment: message.pointee.segment)
        packetsSent &+= packets
        if packets > 1 {
            runsSent.messages &+= 1
            runsSent.packets &+= packets
        }
    }

    private static func packets(length: UInt32, segment: UInt32) -> UInt64 {
        let segment = max(segment, 1)
        return UInt64((length + segment - 1) / segment)
    }

    /// A message the kernel refused for its own sake: without segmentation it may pass (RFC 768 sizes, device without
    /// checksum offload); a vanished destination is the business of ICE.
    private func fail(_ message: UnsafeMutablePointer<weir_message>, socket: Int32, code: CInt) {
        let whole = message.pointee
        guard whole.segment < whole.length, code == EMSGSIZE || code == EINVAL || code == EIO else {
            packetsDropped &+= 1
            return
        }
        // No checksum offload, IPsec, or a smaller path MTU: it would fail again and again.
        if plainDestinations.count >= Self.maxPlainDestinations { plainDestinations.removeAll() }
        plainDestinations.insert(SocketAddress(whole.remote))
        var offset: UInt32 = 0
        while offset < whole.length {
            var part = whole
            part.data = whole.data + Int(offset)
            part.length = min(whole.segment, whole.length - offset)
            part.segment = part.length
            if transmit(socket, &part, 1) == 1 {
                packetsSent &+= 1
            } else {
                packetsDropped &+= 1
            }
            offset += part.length
        }
    }

    private func keep(_ message: UnsafeMutablePointer<weir_message>, socket: Int32) {
        if backlog.count >= Self.maxBacklog { thinBacklog() }
        let m = message.pointee
        backlog.append(
            Waiting(
                socket: socket, bytes: Array(UnsafeBufferPointer(start: m.data, count: Int(m.length))),
                segment: m.segment, remote: m.remote, local: m.local))
    }

    /// Drops a quarter: the oldest video, and of the rest the oldest when that is not enough.
    private func thinBacklog() {
        var excess = Self.maxBacklog / 4
        backlog.removeAll { waiting in
            guard excess > 0, waiting.isVideo else { return false }
            excess -= 1
            packetsDropped &+= waiting.packets
            return true
        }
        for waiting in backlog.prefix(excess) { packetsDropped &+= waiting.packets }
        backlog.removeFirst(min(excess, backlog.count))
    }

    private static func bit(_ socket: Int32) -> UInt64 { 1 << UInt64(socket & 63) }

    /// - Returns: the sockets that are still full, a bit each.
    private func drainBacklog() -> UInt64 {
        guard !backlog.isEmpty else { return 0 }
        var full: UInt64 = 0
        backlog.removeAll { entry in
            guard full & Self.bit(entry.socket) == 0 else { return false }
            let isFull = entry.bytes.withUnsafeBufferPointer { bytes in
                var m = weir_message(
                    data: bytes.baseAddress, length: UInt32(bytes.count), segment: entry.segment, remote: entry.remote,
                    local: entry.local)
                let sent = transmit(entry.socket, &m, 1)
                if sent == -EAGAIN || sent == -ENOBUFS { return true }
                if sent == 1 { account(&m) } else { fail(&m, socket: entry.socket, code: -sent) }
                return false
            }
            if isFull { full |= Self.bit(entry.socket) }
            return !isFull
        }
        return full
    }
}
