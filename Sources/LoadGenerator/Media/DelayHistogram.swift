/// Counts of delays: 10 µs apart up to 10 ms, 100 µs up to 100 ms, 1 ms up to 10 s; longer ones count as 10 s.
struct DelayHistogram: Sendable {
    private static let fine = 1000
    private static let middle = 900
    private static let coarse = 9900
    private static let size = fine + middle + coarse + 1

    private var counts = [UInt32](repeating: 0, count: size)
    private(set) var count = 0
    private var largest: Int64 = 0

    /// - Parameter nanoseconds: negative ones count as 0.
    mutating func record(nanoseconds: Int64) {
        let value = max(nanoseconds, 0)
        counts[Self.bucket(value / 1000)] += 1
        count += 1
        if value > largest { largest = value }
    }

    private static func bucket(_ microseconds: Int64) -> Int {
        if microseconds < 10_000 { return Int(microseconds / 10) }
        if microseconds < 100_000 { return fine + Int((microseconds - 10_000) / 100) }
        if microseconds < 10_000_000 { return fine + middle + Int((microseconds - 100_000) / 1000) }
        return size - 1
    }

    /// Upper edge of the bucket in milliseconds.
    private static func edge(_ bucket: Int) -> Double {
        if bucket < fine { return Double(bucket + 1) / 100 }
        if bucket < fine + middle { return 10 + Double(bucket - fine + 1) / 10 }
        return 100 + Double(bucket - fine - middle + 1)
    }

    mutating func add(_ other: DelayHistogram) {
        for i in counts.indices { counts[i] += other.counts[i] }
        count += other.count
        largest = max(largest, other.largest)
    }

    mutating func clear() {
        for i in counts.indices { counts[i] = 0 }
        count = 0
        largest = 0
    }

    /// Delay in milliseconds that the share `quantile` (0…1) of all does not exceed; 0 without any.
    func percentile(_ quantile: Double) -> Double {
        guard count > 0 else { return 0 }
        let rank = max(1, Int((quantile * Double(count)).rounded(.up)))
        var seen = 0
        for (i, n) in counts.enumerated() {
            seen += Int(n)
            if seen >= rank { return min(Self.edge(i), Double(largest) / 1e6) }
        }
        return Double(largest) / 1e6
    }

    var summary: DelaySummary {
        DelaySummary(
            count: count, p50: percentile(0.5), p90: percentile(0.9), p99: percentile(0.99), p999: percentile(0.999),
            max: Double(largest) / 1e6)
    }
}
