import Wire

/// Arrival of packets by their transport-wide numbers, as a receiver tells the sender
/// (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).
package struct TransportFeedback: Sendable {
    /// Nanoseconds per unit of arrival times: 250 us.
    package static let tick: Int64 = 250_000
    /// Nanoseconds per unit of the reference time: 64 ms.
    package static let referenceUnit: Int64 = 64_000_000
    static let ticksPerReference = referenceUnit / tick
    /// Header, SSRCs, base, count, reference time and number of the feedback.
    static let fixedLength = 20
    /// Packets that one run-length chunk can tell of (13 bits).
    static let maxRun = 0x1fff

    /// A packet that arrived.
    package struct Arrival: Hashable, Sendable, BitwiseCopyable {
        package var sequence: UInt16
        /// On the receiver's clock, in ticks of 250 us, modulo 2^24 times 64 ms.
        package var ticks: Int64
    }

    package var sender: UInt32
    package var media: UInt32
    package var base: UInt16
    /// Packets told of, from `base` on.
    package var statusCount: Int
    /// Units of 64 ms, signed 24 bits.
    package var reference: Int32
    /// Counts the feedbacks of this receiver, modulo 256.
    package var feedbackCount: UInt8
    /// In order of sequence. Those between that are not here were lost or are late: a hundred bytes can tell of
    /// thousands of losses, so losses are not listed.
    package var received: [Arrival]

    package var lostCount: Int { statusCount - received.count }

    /// Numbers told of as not received.
    package var lost: [UInt16] {
        var out: [UInt16] = []
        var i = 0
        for offset in 0..<statusCount {
            let sequence = base &+ UInt16(truncatingIfNeeded: offset)
            if i < received.count, received[i].sequence == sequence { i += 1 } else { out.append(sequence) }
        }
        return out
    }

    /// `packet` is a whole RTCP packet without its padding; type and format have been checked.
    package init(parsing packet: RawSpan) throws(WireError) {
        guard packet.byteCount >= Self.fixedLength else {
            throw .truncated(needed: Self.fixedLength, have: packet.byteCount)
        }
        sender = packet.loadBigEndian(at: 4)
        media = packet.loadBigEndian(at: 8)
        base = packet.loadBigEndian(at: 12)
        statusCount = Int(packet.loadBigEndian(at: 14, as: UInt16.self))
        reference = Int32(bitPattern: packet.loadUInt24(at: 16) << 8) >> 8
        feedbackCount = packet[19]
        received = []
        guard statusCount > 0 else { throw .malformed("transport feedback on no packets") }

        // The deltas begin after the last chunk, so the chunks are walked twice: once for their end.
        var deltas = Self.fixedLength
        var covered = 0
        while covered < statusCount {
            guard deltas + 2 <= packet.byteCount else { throw .truncated(needed: deltas + 2, have: packet.byteCount) }
            covered += Self.span(of: packet.loadBigEndian(at: deltas))
            deltas += 2
        }
        var ticks = Int64(reference) * Self.ticksPerReference
        var at = Self.fixedLength
        var index = 0
        while index < statusCount {
            let chunk: UInt16 = packet.loadBigEndian(at: at)
            at += 2
            let count = min(Self.span(of: chunk), statusCount - index)
            if chunk & 0xe000 == 0 {
                index += count
                continue
            }
            for i in 0..<count {
                let symbol = Self.symbol(of: chunk, at: i)
                if symbol != Symbol.lost {
                    let size = symbol == Symbol.small ? 1 : 2
                    guard symbol <= Symbol.large else { throw .malformed("reserved transport feedback symbol") }
                    guard deltas + size <= packet.byteCount else {
                        throw .truncated(needed: deltas + size, have: packet.byteCount)
                    }
                    let large: Int16 = size == 1 ? 0 : packet.loadBigEndian(at: deltas)
                    ticks += size == 1 ? Int64(packet[deltas]) : Int64(large)
                    deltas += size
                    received.append(Arrival(sequence: base &+ UInt16(truncatingIfNeeded: index + i), ticks: ticks))
                }
            }
            index += count
        }
    }

    /// What a chunk says of one packet; two bits.
    enum Symbol {
        static let lost: UInt8 = 0
        static let small: UInt8 = 1
        static let large: UInt8 = 2
    }

    /// Packets that a chunk tells of.
    private static func span(of chunk: UInt16) -> Int {
        if chunk & 0x8000 == 0 { return Int(chunk) & maxRun }
        return chunk & 0x4000 == 0 ? 14 : 7
    }

    private static func symbol(of chunk: UInt16, at i: Int) -> UInt8 {
        if chunk & 0x8000 == 0 { return UInt8(chunk >> 13 & 3) }
        if chunk & 0x4000 == 0 { return UInt8(chunk >> (13 - i) & 1) }
        return UInt8(chunk >> (12 - 2 * i) & 3)
    }

    /// Appends the chunks for a list of symbols: at each place the kind that covers most (§3.1.3, §3.1.4).
    static func appendChunks(_ symbols: [UInt8], into bytes: inout [UInt8]) {
        var at = 0
        while at < symbols.count {
            let left = symbols.count - at
            let first = symbols[at]
            var run = 1
            while run < min(left, maxRun), symbols[at + run] == first { run += 1 }
            let oneBit = !symbols[at..<(at + min(14, left))].contains(Symbol.large)
            var chunk: UInt16
            let count: Int
            if run >= (oneBit ? min(14, left) : 7) {
                chunk = UInt16(first) << 13 | UInt16(run)
                count = run
            } else if oneBit {
                chunk = 0x8000
                count = min(14, left)
                for i in 0..<count { chunk |= UInt16(symbols[at + i]) << UInt16(13 - i) }
            } else {
                chunk = 0xc000
                count = min(7, left)
                for i in 0..<count { chunk |= UInt16(symbols[at + i]) << UInt16(12 - 2 * i) }
            }
            bytes.appendBigEndian(chunk)
            at += count
        }
    }
}
