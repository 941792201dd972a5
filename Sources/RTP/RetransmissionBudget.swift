import Wire

/// A token bucket in bytes: how much of the link a peer's NACKs may claim.
package struct RetransmissionBudget: Sendable, BitwiseCopyable {
    private static let second: Int64 = 1_000_000_000
    /// Upper bounds that keep the arithmetic far from overflow: 1 GiB/s, 1 GiB.
    private static let maxRate = 1 << 30
    private static let maxBurst = 1 << 30

    private let rate: Int64
    /// Byte-nanoseconds: bytes times 10^9, so that refilling loses nothing to rounding.
    private let capacity: Int64
    private var tokens: Int64
    private var filled: Instant

    /// The bucket starts full.
    package init(bytesPerSecond: Int, burst: Int, now: Instant) {
        rate = Int64(min(max(bytesPerSecond, 1), Self.maxRate))
        capacity = Int64(min(max(burst, 1), Self.maxBurst)) * Self.second
        tokens = capacity
        filled = now
    }

    /// Takes `bytes` out of the bucket; `false`, and nothing taken, if it does not hold that many.
    package mutating func take(bytes: Int, now: Instant) -> Bool {
        refill(now: now)
        guard bytes >= 0, bytes <= Self.maxBurst else { return false }
        let cost = Int64(bytes) * Self.second
        guard cost <= tokens else { return false }
        tokens -= cost
        return true
    }

    /// Bytes that could be taken at once.
    package mutating func available(now: Instant) -> Int {
        refill(now: now)
        return Int(tokens / Self.second)
    }

    private mutating func refill(now: Instant) {
        let elapsed = (now - filled).nanoseconds
        guard elapsed > 0 else { return }
        filled = now
        let needed = capacity - tokens
        tokens = elapsed > needed / rate ? capacity : min(capacity, tokens + elapsed * rate)
    }
}
