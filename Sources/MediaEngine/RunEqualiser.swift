/// Makes the packets of a picture equal in size by RTP padding (RFC 3550 §5.1, the P bit).
///
/// The kernel cuts a message into segments of one size of which only the last may be shorter (`UDP_SEGMENT`), while
/// senders split a picture into parts that differ by a byte or so. One byte of padding for all players of a stream
/// costs less than one more message to each of them.
package enum RunEqualiser {
    /// Bytes that are worth one message less.
    package static let maxPadding: UInt16 = 16

    /// Pads neighbours of nearly one size to that of the largest among them. The last of them needs none, unless what
    /// follows is smaller and may be the run's shorter end. To be called once for a packet, before anybody is sent it:
    /// under one SRTP index there must never be two different packets (RFC 3711 §9.1).
    ///
    /// - Parameter packet: the packets in the order of sending, by place.
    @inline(__always)
    package static func equalise(_ count: Int, _ packet: (Int) -> UnsafeMutablePointer<StoredPacket>) {
        var start = 0
        while start < count {
            var least = packet(start).pointee.payloadLength
            var most = least
            var end = start + 1
            while end < count {
                let length = packet(end).pointee.payloadLength
                guard max(most, length) - min(least, length) <= maxPadding else { break }
                least = min(least, length)
                most = max(most, length)
                end += 1
            }
            if least < most {
                let isFollowed = end < count && packet(end).pointee.payloadLength < least
                for i in start..<(isFollowed ? end : end - 1) { packet(i).pointee.pad(to: most) }
            }
            start = end
        }
    }
}

extension StoredPacket {
    /// Adds padding so that payload and padding have `length` bytes, if that may still be done.
    fileprivate mutating func pad(to length: UInt16) {
        guard padding == 0, length > payloadLength, let slot,
            Int(payloadOffset) + Int(length) <= PacketSlab.slotSize
        else { return }
        let count = length - payloadLength
        let end = slot + Int(payloadOffset) + Int(payloadLength)
        for i in 0..<(Int(count) - 1) { end.storeBytes(of: 0, toByteOffset: i, as: UInt8.self) }
        end.storeBytes(of: UInt8(truncatingIfNeeded: count), toByteOffset: Int(count) - 1, as: UInt8.self)
        padding = UInt8(truncatingIfNeeded: count)
        payloadLength = length
    }
}
