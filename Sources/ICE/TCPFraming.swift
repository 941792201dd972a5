import Wire

/// Packets over a TCP stream: two bytes of length, then the packet (RFC 4571 §2).
package struct TCPFraming: Sendable {
    /// Bytes that may wait for the rest of their frame and for being taken.
    package static let maxBuffered = 1 << 17
    private var buffer: [UInt8] = []
    private var start = 0

    package init() {}

    package mutating func append(_ bytes: RawSpan) throws(WireError) {
        guard buffer.count - start + bytes.byteCount <= Self.maxBuffered else {
            throw .malformed("framed packets were not taken in time")
        }
        if start > 0 {
            buffer.removeFirst(start)
            start = 0
        }
        buffer += bytes.copied()
    }

    /// The next whole packet; empty packets are legal and come as `[]`.
    package mutating func next() -> [UInt8]? {
        guard buffer.count - start >= 2 else { return nil }
        let length = Int(buffer[start]) << 8 | Int(buffer[start + 1])
        guard buffer.count - start >= 2 + length else { return nil }
        let frame = Array(buffer[(start + 2)..<(start + 2 + length)])
        start += 2 + length
        return frame
    }
}
