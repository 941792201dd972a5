import Synchronization
import Wire

/// How long turns of media threads took, in fixed ranges. Written once per turn by every worker, read at any time.
package final class TurnTimes: Sendable {
    /// Upper bounds in microseconds: from a turn with a handful of players to one in which packets wait for half a frame.
    package static let bounds: [Int64] = [
        50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000,
    ]

    private final class Count: Sendable {
        let value = Atomic<UInt64>(0)
    }

    /// One per bound, and one for what is longer.
    private let counts: [Count]
    private let nanoseconds = Atomic<UInt64>(0)

    package init() { counts = (0...Self.bounds.count).map { _ in Count() } }

    package func observe(_ time: Interval) {
        let index = Self.bounds.firstIndex { time.microseconds <= $0 } ?? Self.bounds.count
        counts[index].value.bump()
        nanoseconds.bump(UInt64(max(0, time.nanoseconds)))
    }

    /// Turns up to and including each bound, then all of them.
    package var cumulativeCounts: [UInt64] {
        var total: UInt64 = 0
        return counts.map { count in
            total &+= count.value.value
            return total
        }
    }

    /// Seconds of all turns together.
    package var sum: Double { Double(nanoseconds.value) / 1e9 }
}
