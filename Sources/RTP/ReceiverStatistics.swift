import Wire

/// Reception of one source for receiver reports: sequence numbers (RFC 3550 §A.1), losses (§A.3), interarrival
/// jitter (§A.8). A plain value; counting a packet allocates nothing.
///
/// Packets have been authenticated, so a source is valid from its first packet on: there is no probation.
package struct ReceiverStatistics: Sendable, BitwiseCopyable {
    /// A step forward of this many numbers or more is taken for a restart of the source (RFC 3550 §A.1).
    package static let maxDropout: UInt16 = 3000
    /// A step back of up to this many numbers is reordering or duplication.
    package static let maxMisorder: UInt16 = 100
    /// Transit times that differ by more seconds come from a jump of the source's clock: no jitter.
    private static let maxTransitStep: Int64 = 5
    /// Hz; bounds the arithmetic.
    private static let maxClockRate = 1 << 24
    private static let second: Int64 = 1_000_000_000
    private static let lostRange: ClosedRange<Int64> = -0x80_0000...0x7f_ffff

    /// Packets counted since the start of the source, duplicates included.
    package private(set) var packets: UInt64 = 0
    /// How often the numbers jumped and were taken up anew.
    package private(set) var restarts: UInt32 = 0
    private var isStarted = false
    private var hasTransit = false
    private var maxSequence: UInt16 = 0
    private var badSequence: UInt16 = 0
    private var hasBadSequence = false
    private var cycles: UInt32 = 0
    private var baseSequence: UInt32 = 0
    private var received: Int64 = 0
    private var expectedPrior: Int64 = 0
    private var receivedPrior: Int64 = 0
    private var transit: UInt32 = 0
    /// Sixteenths of RTP clock units.
    private var jitter16: Int64 = 0
    private var lastSR: UInt32 = 0
    private var lastSRArrival = Instant.zero

    package init() {}

    /// Whether any packet came; a source without one has no place in a report.
    package var hasReceived: Bool { isStarted }
    /// Roll-overs in the upper, highest sequence number in the lower 16 bits.
    package var highestSequence: UInt32 { cycles &+ UInt32(maxSequence) }
    /// Units of the RTP clock.
    package var jitter: UInt32 { UInt32(clamping: jitter16 >> 4) }
    /// Packets that should have come since the base; the numbers wrap after 2^32 packets, and so does this.
    private var expected: Int64 { isStarted ? Int64(highestSequence &- baseSequence) + 1 : 0 }
    /// Packets lost so far; negative when duplicates outweigh losses.
    package var cumulativeLost: Int32 {
        Int32(min(max(expected - received, Self.lostRange.lowerBound), Self.lostRange.upperBound))
    }

    /// Counts a packet. `arrival` on any steady clock, `clockRate` in Hz.
    package mutating func receive(sequence: UInt16, timestamp: UInt32, arrival: Instant, clockRate: Int) {
        guard count(sequence) else { return }
        let rate = Int64(min(max(clockRate, 1), Self.maxClockRate))
        let nanoseconds = arrival.nanoseconds
        // In two parts, because nanoseconds times the clock rate pass 64 bits.
        let units = nanoseconds / Self.second &* rate &+ nanoseconds % Self.second &* rate / Self.second
        let now = UInt32(truncatingIfNeeded: units) &- timestamp
        if hasTransit {
            let step = abs(Int64(Int32(bitPattern: now &- transit)))
            if step <= Self.maxTransitStep * rate { jitter16 += step - (jitter16 + 8) >> 4 }
        }
        transit = now
        hasTransit = true
    }

    /// RFC 3550 §A.1 `update_seq`. `false`: the packet does not fit and is not counted.
    private mutating func count(_ sequence: UInt16) -> Bool {
        guard isStarted else {
            start(sequence)
            return true
        }
        let step = sequence &- maxSequence
        if step < Self.maxDropout {
            if sequence < maxSequence { cycles &+= 0x1_0000 }
            maxSequence = sequence
        } else if step <= 0 &- Self.maxMisorder {
            guard hasBadSequence, sequence == badSequence else {
                badSequence = sequence &+ 1
                hasBadSequence = true
                return false
            }
            // Two packets in a row at the new place: the source was restarted without telling.
            restarts &+= 1
            start(sequence)
            return true
        }
        received += 1
        packets &+= 1
        return true
    }

    private mutating func start(_ sequence: UInt16) {
        isStarted = true
        hasTransit = false
        baseSequence = UInt32(sequence)
        maxSequence = sequence
        hasBadSequence = false
        cycles = 0
        received = 1
        expectedPrior = 0
        receivedPrior = 0
        packets &+= 1
    }

    /// Takes note of a sender report, for the round-trip time at the sender (RFC 3550 §6.4.1, LSR and DLSR).
    package mutating func receiveSenderReport(ntp: NTPTime, arrival: Instant) {
        lastSR = ntp.middle32
        lastSRArrival = arrival
    }

    /// The block for the next report; begins a new interval for the fraction lost.
    package mutating func reportBlock(ssrc: UInt32, now: Instant) -> ReportBlock {
        let expectedInterval = expected - expectedPrior
        let lostInterval = expectedInterval - (received - receivedPrior)
        expectedPrior = expected
        receivedPrior = received
        var fraction: UInt8 = 0
        if expectedInterval > 0, lostInterval > 0 { fraction = UInt8(clamping: lostInterval << 8 / expectedInterval) }
        return ReportBlock(
            ssrc: ssrc, fractionLost: fraction, cumulativeLost: cumulativeLost, highestSequence: highestSequence,
            jitter: jitter, lastSR: lastSR, delaySinceLastSR: lastSR == 0 ? 0 : Self.units(now - lastSRArrival))
    }

    /// 1/65536 s.
    private static func units(_ interval: Interval) -> UInt32 {
        let nanoseconds = max(0, interval.nanoseconds)
        let seconds = nanoseconds / second
        guard seconds < 0x1_0000 else { return .max }
        return UInt32(clamping: seconds << 16 + (nanoseconds % second) << 16 / second)
    }
}
