import Wire

/// What the operator of a server hears of an overloaded worker.
package enum OverloadNews: Sendable, Equatable {
    /// Video of so many of the worker's players is thinned to key frames from now on, and nobody is admitted.
    case began(thinned: Int, players: Int)
    /// The worker has thinned nothing for a while; before that it did, with pauses, for so long.
    case ended(lasted: Interval, mostThinned: Int)
}

/// One overload from its first step of thinning to its end, pauses included. A plain value: times in, news out.
package struct OverloadEpisode: Sendable {
    /// An overload that comes back sooner is still the same one: so news are rare, however the load goes up and down.
    package static let calm = Interval.seconds(30)

    private var began: Instant?
    private var lastThinning = Instant.zero
    private var mostThinned = 0

    package init() {}

    /// Takes one look.
    /// - Parameters:
    ///   - thinned: players of whom video is thinned now.
    ///   - players: of the worker; asked for at the begin only.
    package mutating func look(
        isThinning: Bool, thinned: Int, now: Instant, players: () -> Int
    ) -> OverloadNews? {
        if isThinning {
            lastThinning = now
            mostThinned = max(mostThinned, thinned)
            guard began == nil else { return nil }
            began = now
            return .began(thinned: thinned, players: players())
        }
        guard let began, now - lastThinning >= Self.calm else { return nil }
        defer { self = Self() }
        return .ended(lasted: lastThinning - began, mostThinned: mostThinned)
    }
}
