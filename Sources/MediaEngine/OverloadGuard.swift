import Wire

/// Decides what a worker gives up when it cannot keep pace, from how long packets wait for it. A plain value: times in,
/// decisions out.
///
/// First key-frame requests become rare, since each key frame costs every player of a stream a burst; then the video
/// of the slowest players is thinned to key frames, a share more at each step, and nobody is admitted; sound goes on.
/// What was given up comes back slower than it went.
package struct OverloadGuard: Sendable {
    /// Parts that the players are divided into for thinning.
    package static let parts = 16
    /// Looks in a row that make a delay more than an accident.
    static let looksBeforePressure = 3
    /// Looks between two steps of thinning: the one before needs time to show.
    static let looksPerStep = 2
    static let partsPerStep = 2
    /// Looks in a row under half of the limit before one part comes back.
    static let looksBeforeRelief = 10

    /// Longest time that packets may wait.
    private let limit: Interval
    private var high = 0
    private var low = 0
    /// Key-frame requests are bounded.
    package private(set) var isPressed = false
    /// Parts of the players whose video is thinned to key frames.
    package private(set) var thinnedParts = 0

    package init(limit: Interval) { self.limit = limit }

    /// Whether new peers may come.
    package var admits: Bool { thinnedParts == 0 }

    /// Takes one look, to be called at equal distances (100 ms).
    /// - Parameter wait: the longest time that a packet waited since the last look.
    /// - Returns: whether anything has changed.
    package mutating func look(longestWait wait: Interval) -> Bool {
        let before = (isPressed, thinnedParts)
        if wait > limit {
            high += 1
            low = 0
        } else if wait.nanoseconds < limit.nanoseconds / 2 {
            low += 1
            high = 0
        } else {
            high = 0
            low = 0
        }
        if !isPressed {
            if high >= Self.looksBeforePressure {
                isPressed = true
                high = 0
            }
        } else if high >= Self.looksPerStep {
            thinnedParts = min(thinnedParts + Self.partsPerStep, Self.parts)
            high = 0
        } else if low >= Self.looksBeforeRelief {
            low = 0
            if thinnedParts > 0 { thinnedParts -= 1 } else { isPressed = false }
        }
        return before != (isPressed, thinnedParts)
    }
}
