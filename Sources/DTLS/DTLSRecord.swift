import Wire

/// One record of a datagram (RFC 6347 §4.1): its header, and where its fragment lies.
package struct DTLSRecord: Equatable, Sendable {
    package enum ContentType {
        package static let changeCipherSpec: UInt8 = 20
        package static let alert: UInt8 = 21
        package static let handshake: UInt8 = 22
    }

    package static let headerLength = 13
    /// DTLS 1.2 as records write it.
    package static let version: UInt16 = 0xfefd
    /// Epoch of the records that a first handshake protects.
    package static let protectedEpoch: UInt16 = 1

    package let type: UInt8
    package let version: UInt16
    package let epoch: UInt16
    /// 48 bits.
    package let sequence: UInt64
    package let fragment: Range<Int>

    /// `nil`: nothing is left at `offset`, or the record claims to be longer than the datagram.
    package init?(parsing datagram: RawSpan, at offset: Int) {
        guard offset >= 0, datagram.byteCount - offset >= Self.headerLength else { return nil }
        let length = Int(datagram.loadBigEndian(at: offset + 11, as: UInt16.self))
        let start = offset + Self.headerLength
        guard length <= datagram.byteCount - start else { return nil }
        type = datagram[offset]
        version = datagram.loadBigEndian(at: offset + 1)
        let number = datagram.loadBigEndian(at: offset + 3, as: UInt64.self)
        epoch = UInt16(truncatingIfNeeded: number >> 48)
        sequence = number & 0xffff_ffff_ffff
        fragment = start..<(start + length)
    }
}

/// Which record sequence numbers have been seen, up to 64 behind the highest (RFC 6347 §4.1.2.6).
package struct RecordWindow: Sendable {
    private static let size: UInt64 = 64
    /// One above the highest number accepted.
    private var next: UInt64 = 0
    /// Bit `n`: the number that is `n` below the highest.
    private var seen: UInt64 = 0

    package init() {}

    package func isFresh(_ sequence: UInt64) -> Bool {
        guard sequence < next else { return true }
        let age = next - 1 - sequence
        return age < Self.size && seen & (1 << age) == 0
    }

    /// Call only for authenticated records.
    package mutating func accept(_ sequence: UInt64) {
        if sequence >= next {
            seen = seen << (sequence - next + 1) | 1
            next = sequence + 1
        } else {
            seen |= 1 << (next - 1 - sequence)
        }
    }
}
