import Wire

/// When a stream's pictures were taken, from what the publisher's sender reports say (RFC 3550 §6.4.1): each tells the
/// publisher's wall clock and where that moment is in the stream, so that the time in camera, encoder and pacer is known.
///
/// The publisher's clock is believed as it is while that is plausible: its reports come after they were sent, by no more
/// than a network takes. Then the way of the packets is known, too. Any other clock is only compared with itself: its
/// reports are dated by ours, by those with the shortest way. A value without clock; nothing in it grows.
package struct CaptureClock: Sendable {
    /// What a report may take from a publisher with a right clock, in nanoseconds, and what ends the belief in it: clocks
    /// wander, and dates should not go to and fro.
    private static let believable: ClosedRange<Int64> = 0...500_000_000
    private static let unbelievable: ClosedRange<Int64> = -100_000_000...800_000_000
    /// Capture to arrival: more is a mistake of the publisher's.
    private static let longestWay: Int64 = 3_000_000_000
    /// Arrival is known to some milliseconds only.
    private static let tolerance: Int64 = 50_000_000
    /// Reports further from the former ones are of another clock, or another time line.
    private static let jump: Int64 = 500_000_000
    /// Of which the shortest way is taken.
    private static let reports = 16

    /// Distances from the publisher's time of a report to our time of its arrival, the newest last.
    private var ways: [Int64] = []
    /// The publisher's time at stream time zero.
    private var zero: Int64?
    private var isBelieved: Bool?

    package init() {}

    /// Takes a report.
    ///
    /// - Parameters:
    ///   - ntp: the publisher's time, nanoseconds since 1970.
    ///   - time: of the stream's clock, at which frames of that moment are.
    ///   - arrival: by our wall clock, nanoseconds since 1970.
    package mutating func take(ntp: Int64, at time: Interval, arrival: Int64) {
        let way = arrival &- ntp
        let found = ntp &- time.nanoseconds
        if let zero, (found &- zero).magnitude > UInt64(Self.jump) { self = CaptureClock() }
        ways.append(way)
        if ways.count > Self.reports { ways.removeFirst() }
        // Reports have an error of a millisecond or so.
        zero = zero.map { $0 &+ (found &- $0) / 4 } ?? found
        let shortest = ways.min() ?? way
        let range = isBelieved == true ? Self.unbelievable : Self.believable
        isBelieved = range.contains(shortest)
    }

    /// When stream time zero was, in nanoseconds since 1970.
    ///
    /// - Parameter arrival: the same by arrival: capture was before, and not long before. What says otherwise is not
    ///   believed, and arrival stands.
    package func unixTimeAtZero(arrival: Int64) -> Int64 {
        guard let zero, let shortest = ways.min(), let isBelieved else { return arrival }
        let captured = isBelieved ? zero &+ min(0, shortest) : zero &+ shortest
        let way = arrival &- captured
        guard way > -Self.tolerance, way < Self.longestWay else { return arrival }
        return min(captured, arrival)
    }
}
