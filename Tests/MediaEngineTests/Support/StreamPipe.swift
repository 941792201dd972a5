import Glibc
import ICE
import Wire

/// The client's end of an ICE-TCP connection: a socket pair instead of a network, read as fast or as slowly as a test
/// wants.
final class StreamPipe {
    private let descriptor: CInt
    private var framing = TCPFraming()
    /// Bytes taken per millisecond of virtual time.
    var readBudget = Int.max
    private(set) var bytesRead = 0
    private(set) var isClosed = false

    private init(descriptor: CInt) { self.descriptor = descriptor }
    deinit { close(descriptor) }

    /// - Returns: the client's end, and the engine's descriptor, which the engine will close.
    static func make(kernelBuffer: Int) throws -> (StreamPipe, CInt) {
        var pair: [CInt] = [0, 0]
        guard socketpair(AF_UNIX, CInt(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue), 0, &pair) == 0 else {
            throw TestFailure.system(errno)
        }
        var size = CInt(kernelBuffer)
        setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, socklen_t(MemoryLayout<CInt>.size))
        return (StreamPipe(descriptor: pair[0]), pair[1])
    }

    /// RFC 4571: two bytes of length, then the packet.
    func write(_ packet: [UInt8]) {
        let frame = [UInt8(packet.count >> 8), UInt8(packet.count & 0xff)] + packet
        let sent = frame.withUnsafeBytes { send(descriptor, $0.baseAddress, $0.count, CInt(MSG_NOSIGNAL)) }
        if sent < 0, errno == EPIPE { isClosed = true }
    }

    /// Whole packets that have come, within this millisecond's budget.
    func read() throws -> [[UInt8]] {
        var packets: [[UInt8]] = []
        var left = readBudget
        var room = [UInt8](repeating: 0, count: 16_384)
        while left > 0 {
            let wanted = min(left, room.count)
            let count = room.withUnsafeMutableBytes { recv(descriptor, $0.baseAddress, wanted, 0) }
            if count == 0 { isClosed = true }
            guard count > 0 else { break }
            left -= count
            bytesRead += count
            try framing.append(room.span.bytes.extracting(0..<count))
            while let packet = framing.next() { packets.append(packet) }
        }
        return packets
    }
}
