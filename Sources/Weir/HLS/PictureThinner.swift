import Wire

/// Which pictures a lower rendition has: fewer where its frame rate is limited, and fewer still while the encoders do not
/// keep up. A value; times are given.
///
/// The first picture of a part is always made, so that there is no hole between parts: a picture lasts until the next one
/// that is made, and cannot do so beyond its part.
package struct PictureThinner: Sendable {
    /// Shares of the time at which fewer pictures are made, and more again.
    private static let tooMuch = 0.9
    private static let little = 0.35
    /// Every eighth picture, at worst.
    private static let maxStride = 8
    /// What a part of 300 ms changes the average by: a single slow one is no reason.
    private static let weight = 0.15

    /// One of so many pictures is made.
    private var stride = 1
    /// Time that the work takes, per time of media.
    private var load = 0.0
    private var count = 0
    private var nextDue = Interval.zero
    /// Pictures that were left out for want of time.
    package private(set) var dropped = 0

    package init() {}

    /// - Parameters:
    ///   - isFirst: of a part.
    ///   - framesPerSecond: nil: as published.
    package mutating func takes(at time: Interval, isFirst: Bool, framesPerSecond: Int?) -> Bool {
        let interval = framesPerSecond.map { Interval.nanoseconds(1_000_000_000 / Int64(max(1, $0))) }
        if isFirst {
            count = 1
            nextDue = time + (interval ?? .zero)
            return true
        }
        count += 1
        if let interval {
            // A tenth early is on time.
            guard time + .nanoseconds(interval.nanoseconds / 10) >= nextDue else { return false }
            nextDue = max(nextDue, time - interval) + interval
        }
        guard (count - 1) % stride == 0 else {
            dropped += 1
            return false
        }
        return true
    }

    /// A part has been made.
    ///
    /// - Parameters:
    ///   - work: how long that took.
    ///   - media: how long the part is.
    package mutating func note(work: Interval, media: Interval) {
        guard media > .zero else { return }
        load += (work.seconds / media.seconds - load) * Self.weight
        if load > Self.tooMuch, stride < Self.maxStride {
            stride *= 2
            // What it will be now, as far as encoding is most of it.
            load /= 2
        } else if load < Self.little, stride > 1 {
            stride /= 2
            load *= 2
        }
    }
}
