import CLinuxNet
import Glibc
import ICE
import Wire

/// One ICE-TCP connection (RFC 6544 passive side, RFC 4571 framing) of a worker. Writes that the kernel does not take
/// wait in a bounded queue; whole frames only, so that a slow peer loses packets and never half of one.
final class TCPConnection {
    let id: UInt32
    let descriptor: CInt
    let remote: SocketAddress
    let local: SocketAddress
    var framing = TCPFraming()
    /// Everything received before the connection's peer was known: handed on when another worker owns the peer.
    var early: [UInt8] = []
    /// A few checks and their repetitions.
    static let maxEarly = 16_384
    /// Time for the first valid check.
    static let checkTimeout = Interval.seconds(10)
    var isIdentified = false
    let opened: Instant
    private var queue: [UInt8] = []
    private var queueStart = 0
    private let maxQueue: Int
    var wantsWrite = false
    /// In the worker's list of connections with new bytes to send.
    var isListed = false

    init(id: UInt32, descriptor: CInt, remote: SocketAddress, local: SocketAddress, maxQueue: Int, now: Instant) {
        self.id = id
        self.descriptor = descriptor
        self.remote = remote
        self.local = local
        self.maxQueue = maxQueue
        opened = now
    }

    var queued: Int { queue.count - queueStart }
    /// More than half of the bound waits: begin to leave pictures out.
    var isCongested: Bool { queued > maxQueue / 2 }

    /// - Returns: `false` when the frame was dropped because the queue is full.
    func send(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard bytes.count <= 0xffff, queued + bytes.count + 2 <= maxQueue else { return false }
        if queueStart > 1 << 16, queueStart * 2 > queue.count {
            queue.removeFirst(queueStart)
            queueStart = 0
        }
        queue.append(UInt8(truncatingIfNeeded: bytes.count >> 8))
        queue.append(UInt8(truncatingIfNeeded: bytes.count))
        queue.append(contentsOf: bytes)
        return true
    }

    enum Flush { case done, blocked, failed }

    func flush() -> Flush {
        while queueStart < queue.count {
            let n = queue.withUnsafeBytes { raw in
                Glibc.send(descriptor, raw.baseAddress! + queueStart, raw.count - queueStart, CInt(MSG_NOSIGNAL))
            }
            if n < 0 { return errno == EAGAIN || errno == EINTR ? .blocked : .failed }
            queueStart += n
        }
        queue.removeAll(keepingCapacity: true)
        queueStart = 0
        return .done
    }
}
