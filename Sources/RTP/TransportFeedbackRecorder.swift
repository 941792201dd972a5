import Wire

/// Remembers when packets of one transport arrived and writes transport-wide feedback from that
/// (draft-holmer-rmcat-transport-wide-cc-extensions-01). Memory is fixed and taken with the first packet.
package struct TransportFeedbackRecorder: Sendable {
    /// Packets remembered, a power of two; older ones that no feedback told of are left out.
    package static let capacity = 4096
    /// A packet this far behind the newest is no longer worth a correction.
    package static let maxLateness: Int64 = 512
    /// Bytes that one call of `makeFeedback` may append, so that they fit a datagram with other RTCP.
    package static let maxLength = 1000
    private static let mask = Int64(capacity - 1)
    private static let notReceived: Int64 = .min

    private var unwrapper = SequenceUnwrapper()
    /// Arrival in nanoseconds by number modulo capacity.
    private var arrivals: [Int64] = []
    /// First number that the next feedback tells of.
    private var start: Int64 = -1
    private var feedbackCount: UInt8 = 0

    package init() {}

    /// Takes note of a packet. The first arrival counts; a late packet makes the next feedback begin with it.
    package mutating func receive(sequence: UInt16, arrival: Instant) {
        let before = unwrapper.highest
        let number = unwrapper.unwrap(sequence)
        if before < 0 {
            arrivals = [Int64](repeating: Self.notReceived, count: Self.capacity)
            start = number
        } else if number > before {
            var fresh = max(before + 1, number - Self.mask)
            while fresh < number {
                arrivals[Int(fresh & Self.mask)] = Self.notReceived
                fresh += 1
            }
            start = max(start, number - Self.mask)
        } else {
            guard before - number <= Self.maxLateness, arrivals[Int(number & Self.mask)] == Self.notReceived else {
                return
            }
            start = min(start, number)
        }
        arrivals[Int(number & Self.mask)] = max(arrival.nanoseconds, Self.notReceived + 1)
    }

    /// Appends feedback on what arrived since the last call: one packet, or several when arrival times lie too far
    /// apart for one. `false`, and nothing appended, if nothing arrived. What exceeds `maxLength` is left for the
    /// next call, so a caller may repeat until `false`, a datagram each.
    package mutating func makeFeedback(senderSSRC: UInt32, mediaSSRC: UInt32, into bytes: inout [UInt8]) -> Bool {
        let limit = bytes.count + Self.maxLength
        var any = false
        while start >= 0, start <= unwrapper.highest,
            append(senderSSRC: senderSSRC, mediaSSRC: mediaSSRC, limit: limit, into: &bytes)
        {
            any = true
        }
        return any
    }

    /// One feedback packet, which ends with a packet that arrived.
    private mutating func append(
        senderSSRC: UInt32, mediaSSRC: UInt32, limit: Int, into bytes: inout [UInt8]
    ) -> Bool {
        var symbols: [UInt8] = []
        var deltas: [UInt8] = []
        var reference: Int64 = 0
        /// Arrival of the packet before, as the sender will compute it: rounding errors do not add up.
        var ticks: Int64 = 0
        /// Upper bound of the chunks needed: vectors of seven, and a run for every 14 or more losses in a row.
        var chunks = 1
        var inVector = 0
        var number = start
        while number <= unwrapper.highest {
            let arrival = arrivals[Int(number & Self.mask)]
            guard arrival != Self.notReceived else {
                number += 1
                continue
            }
            let gap = Int(number - start) - symbols.count
            var nextChunks = chunks
            var nextInVector = inVector + 1
            if gap >= 14 {
                nextChunks += 2
                nextInVector = 1
            } else {
                nextInVector += gap
                while nextInVector > 7 {
                    nextChunks += 1
                    nextInVector -= 7
                }
            }
            let rounded = Self.floorDivide(arrival &+ TransportFeedback.tick / 2, TransportFeedback.tick)
            if symbols.isEmpty {
                reference = Self.floorDivide(rounded, TransportFeedback.ticksPerReference)
                ticks = reference * TransportFeedback.ticksPerReference
            }
            guard let delta = Int16(exactly: rounded - ticks) else { break }
            let isSmall = delta >= 0 && delta <= 255
            let length = TransportFeedback.fixedLength + 2 * nextChunks + deltas.count + (isSmall ? 1 : 2)
            guard bytes.count + (length + 3) & ~3 <= limit else { break }
            for _ in 0..<gap { symbols.append(TransportFeedback.Symbol.lost) }
            symbols.append(isSmall ? TransportFeedback.Symbol.small : TransportFeedback.Symbol.large)
            if isSmall { deltas.append(UInt8(delta)) } else { deltas.appendBigEndian(delta) }
            chunks = nextChunks
            inVector = nextInVector
            ticks = rounded
            number += 1
        }
        guard !symbols.isEmpty else { return false }
        write(
            symbols: symbols, deltas: deltas, reference: reference, senderSSRC: senderSSRC, mediaSSRC: mediaSSRC,
            into: &bytes)
        start += Int64(symbols.count)
        feedbackCount &+= 1
        return true
    }

    private func write(
        symbols: [UInt8], deltas: [UInt8], reference: Int64, senderSSRC: UInt32, mediaSSRC: UInt32,
        into bytes: inout [UInt8]
    ) {
        let begin = bytes.count
        bytes.append(RTCP.version << 6 | RTCPFormat.transportWide)
        bytes.append(RTCPType.transportLayerFeedback)
        bytes.appendBigEndian(UInt16(0))
        bytes.appendBigEndian(senderSSRC)
        bytes.appendBigEndian(mediaSSRC)
        bytes.appendBigEndian(UInt16(truncatingIfNeeded: start))
        bytes.appendBigEndian(UInt16(symbols.count))
        bytes.appendBigEndian(UInt32(truncatingIfNeeded: reference) << 8 | UInt32(feedbackCount))
        TransportFeedback.appendChunks(symbols, into: &bytes)
        bytes.append(contentsOf: deltas)
        let padding = -(bytes.count - begin) & 3
        if padding > 0 {
            // As senders in browsers do: padding of one to three bytes, announced by the P bit.
            bytes[begin] |= 0x20
            for _ in 1..<padding { bytes.append(0) }
            bytes.append(UInt8(padding))
        }
        bytes.storeBigEndian(UInt16((bytes.count - begin) / 4 - 1), at: begin + 2)
    }

    private static func floorDivide(_ a: Int64, _ b: Int64) -> Int64 { a % b < 0 ? a / b - 1 : a / b }
}
