import Synchronization

/// A number that only grows. Increments are one relaxed atomic addition; any thread may call.
package final class Counter: Sendable {
    private let storage = Atomic<UInt64>(0)

    package init() {}

    /// Adds `amount`. Wraps at 2^64, which no counter of ours reaches.
    package func increment(by amount: UInt64 = 1) {
        storage.wrappingAdd(amount, ordering: .relaxed)
    }

    package var value: UInt64 { storage.load(ordering: .relaxed) }
}

/// A number that goes up and down. Setting is one atomic store; any thread may call.
package final class Gauge: Sendable {
    /// The bit pattern of a `Double`, since there are no atomic floating-point additions.
    private let bits = Atomic<UInt64>(0)

    package init() {}

    package func set(_ value: Double) {
        bits.store(value.bitPattern, ordering: .relaxed)
    }

    package func add(_ amount: Double) {
        bits.addDouble(amount)
    }

    package var value: Double { Double(bitPattern: bits.load(ordering: .relaxed)) }
}

/// Counts of observations in fixed ranges, with their sum. Any thread may call; a scrape may see an observation in its
/// bucket before it sees it in the sum, which Prometheus allows.
package final class Histogram: Sendable {
    /// Upper bounds, inclusive, ascending; the range up to infinity is implied.
    package let bounds: [Double]
    private let counts: [Counter]
    private let sumBits = Atomic<UInt64>(0)

    /// Sorts `buckets` and drops duplicates and values which are no bounds (NaN, infinity).
    package init(buckets: [Double]) {
        bounds = Set(buckets.filter(\.isFinite)).sorted()
        counts = (0...bounds.count).map { _ in Counter() }
    }

    /// Counts one value. NaN is ignored: it belongs to no range and would spoil the sum for ever.
    package func observe(_ value: Double) {
        guard !value.isNaN else { return }
        let index = bounds.firstIndex { value <= $0 } ?? bounds.count
        counts[index].increment()
        sumBits.addDouble(value)
    }

    package var sum: Double { Double(bitPattern: sumBits.load(ordering: .relaxed)) }

    /// Observations up to and including each bound, then of all.
    package var cumulativeCounts: [UInt64] {
        var total: UInt64 = 0
        return counts.map {
            total &+= $0.value
            return total
        }
    }
}

extension Atomic<UInt64> {
    /// Treats the bits as a `Double` and adds to it.
    fileprivate borrowing func addDouble(_ amount: Double) {
        var current = load(ordering: .relaxed)
        while true {
            let next = (Double(bitPattern: current) + amount).bitPattern
            let (exchanged, original) = weakCompareExchange(expected: current, desired: next, ordering: .relaxed)
            if exchanged { return }
            current = original
        }
    }
}
