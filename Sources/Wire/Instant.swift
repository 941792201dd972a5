/// A span of time in nanoseconds. Signed; arithmetic wraps instead of trapping, since operands may come from peers.
package struct Interval: Hashable, Comparable, Sendable, BitwiseCopyable {
    package var nanoseconds: Int64
    @inlinable package init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    @inlinable package static func nanoseconds(_ n: Int64) -> Interval { Interval(nanoseconds: n) }
    @inlinable package static func microseconds(_ n: Int64) -> Interval { Interval(nanoseconds: n &* 1_000) }
    @inlinable package static func milliseconds(_ n: Int64) -> Interval { Interval(nanoseconds: n &* 1_000_000) }
    @inlinable package static func seconds(_ n: Int64) -> Interval { Interval(nanoseconds: n &* 1_000_000_000) }
    package static let zero = Interval(nanoseconds: 0)

    @inlinable package var milliseconds: Int64 { nanoseconds / 1_000_000 }
    @inlinable package var microseconds: Int64 { nanoseconds / 1_000 }
    @inlinable package var seconds: Double { Double(nanoseconds) / 1e9 }

    @inlinable package static func < (a: Interval, b: Interval) -> Bool { a.nanoseconds < b.nanoseconds }
    @inlinable package static func + (a: Interval, b: Interval) -> Interval {
        .init(nanoseconds: a.nanoseconds &+ b.nanoseconds)
    }
    @inlinable package static func - (a: Interval, b: Interval) -> Interval {
        .init(nanoseconds: a.nanoseconds &- b.nanoseconds)
    }
    @inlinable package static func * (a: Interval, b: Int64) -> Interval { .init(nanoseconds: a.nanoseconds &* b) }
}

/// A point on a monotonic clock, in nanoseconds since an arbitrary start. Cores never read a clock: shells pass one in.
package struct Instant: Hashable, Comparable, Sendable, BitwiseCopyable {
    package var nanoseconds: Int64
    @inlinable package init(nanoseconds: Int64) { self.nanoseconds = nanoseconds }

    package static let zero = Instant(nanoseconds: 0)
    /// Later than every real instant: "no deadline".
    package static let distantFuture = Instant(nanoseconds: .max)

    @inlinable package static func < (a: Instant, b: Instant) -> Bool { a.nanoseconds < b.nanoseconds }
    @inlinable package static func + (a: Instant, b: Interval) -> Instant {
        .init(nanoseconds: a.nanoseconds &+ b.nanoseconds)
    }
    @inlinable package static func - (a: Instant, b: Interval) -> Instant {
        .init(nanoseconds: a.nanoseconds &- b.nanoseconds)
    }
    @inlinable package static func - (a: Instant, b: Instant) -> Interval {
        .init(nanoseconds: a.nanoseconds &- b.nanoseconds)
    }
}
