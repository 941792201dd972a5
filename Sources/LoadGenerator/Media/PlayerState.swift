import Wire

/// Reception of one track by one player, as plain memory.
package struct PlayerTrack: BitwiseCopyable {
    /// Numbers behind the highest that are told apart.
    private static let windowSize = 1024
    private typealias Window = InlineArray<16, UInt64>

    /// Extended number: highest seen and first of all; -1: nothing came yet.
    package private(set) var highest: Int64 = -1
    private(set) var first: Int64 = -1
    /// Different numbers received.
    package private(set) var received: Int64 = 0
    package private(set) var duplicates = 0
    var ssrc: UInt32 = 0
    /// Received timestamp less frame × ticks; known from the first mark on.
    private var timestampOffset: UInt32 = 0
    private(set) var knowsFrames = false
    /// Packets came, but in none was a mark: which frames they belong to cannot be told.
    package var isUnmarked: Bool { received > 0 && !knowsFrames }
    /// Packets of measured frames.
    package var delivered = 0
    // What the last receiver report said.
    var reportedExpected: Int64 = 0
    var reportedReceived: Int64 = 0
    /// Latest sender report: middle of its NTP time, and when it came (nanoseconds, monotonic).
    var lastReport: UInt32 = 0
    var lastReportArrival: Int64 = 0
    private var window = Window(repeating: 0)
    /// Delay of a packet whose frame was sent so long ago that nobody knows when, nanoseconds.
    package static let tooLate: Int64 = 10_000_000_000

    package init() {}

    /// - Returns: the extended number; nil for one that came before.
    @inline(__always) package mutating func accept(_ sequence: UInt16) -> Int64? {
        guard highest >= 0 else {
            highest = 0x1_0000 + Int64(sequence)
            first = highest
            received = 1
            window[Self.word(highest)] = Self.bit(highest)
            return highest
        }
        let number = highest + Int64(Int16(bitPattern: sequence &- UInt16(truncatingIfNeeded: highest)))
        if number > highest {
            if number - highest >= Self.windowSize {
                window = Window(repeating: 0)
            } else {
                var next = highest + 1
                while next <= number {
                    window[Self.word(next)] &= ~Self.bit(next)
                    next += 1
                }
            }
            highest = number
        } else if number <= highest - Int64(Self.windowSize) || window[Self.word(number)] & Self.bit(number) != 0 {
            duplicates += 1
            return nil
        }
        window[Self.word(number)] |= Self.bit(number)
        received += 1
        if number < first { first = number }
        return number
    }

    package mutating func countDuplicate() { duplicates += 1 }

    private static func word(_ number: Int64) -> Int { Int(number >> 6) & 15 }
    private static func bit(_ number: Int64) -> UInt64 { 1 << UInt64(number & 63) }

    /// Numbers between first and highest that have not come.
    package var gaps: Int { highest < 0 ? 0 : Int(max(0, highest - first + 1 - received)) }

    /// A packet of this timestamp bore the mark of this frame.
    package mutating func learn(timestamp: UInt32, frame: UInt32, ticks: UInt32) {
        timestampOffset = timestamp &- frame &* ticks
        knowsFrames = true
    }

    /// Counts a packet that came for the first time, if its frame is one of the measured.
    /// - Parameter arrival: nanoseconds of the wall clock.
    /// - Returns: its delay, nanoseconds: since the last packet of its frame was sent; 0 or less for those before it.
    ///   nil if it is not measured.
    @inline(__always) package mutating func deliver(
        timestamp: UInt32, ticks: UInt32, arrival: Int64, clock: TrackClock
    ) -> Int64? {
        guard knowsFrames else { return nil }
        let frame = Int64((timestamp &- timestampOffset) / ticks)
        guard clock.isMeasured(frame) else { return nil }
        delivered += 1
        return switch clock.sending(of: frame) {
        case .at(let sent): arrival - sent
        case .notYet: 0
        case .forgotten: Self.tooLate
        }
    }
}

/// What the packet path needs of one player, as plain memory: no reference is counted there.
struct PlayerState: BitwiseCopyable {
    var videoType: UInt8 = 0
    var rtxType: UInt8 = 0
    var audioType: UInt8 = 0
    var isMeasured = false
    var isReady = false
    /// Timestamp of the key frame that is coming in; the player is ready when its last packet is there.
    var keyTimestamp: UInt32?
    var authenticationFailures = 0
    /// Retransmissions that were needed.
    var recovered = 0
    /// Missing numbers may be there: the NACK generator has something to say.
    var mayMiss = false
    /// What the socket has dropped since it was made.
    var dropped: UInt32 = 0
}
