import Wire

/// Times of a source on one line that begins at zero and goes on where the source's own times jump: a clock of 33 bits
/// that has come to its end, an encoder that begins anew, a playlist with a discontinuity.
package struct SourceTimeline {
    /// Frames that are further apart are no pause but a jump.
    private static let longestGap = Interval.seconds(10)
    /// From the last frame before a jump to the first behind it.
    private static let step = Interval.milliseconds(40)

    /// What is added to times of the newest line.
    private var newest: Interval?
    /// By track: not all jump at the same frame.
    private var offsets: [Interval?]
    private var latest = Interval.zero

    package init(tracks: Int) { offsets = Array(repeating: nil, count: tracks) }

    /// - Parameter time: when a decoder wants a frame, as the source says.
    /// - Returns: what is to be added to the frame's times.
    package mutating func offset(of time: Interval, track: Int) -> Interval {
        for known in [offsets[track], newest].compactMap(\.self) where isNear(time + known) {
            return take(known, time, track)
        }
        let made = newest == nil ? Interval.zero - time : latest + Self.step - time
        newest = made
        return take(made, time, track)
    }

    private func isNear(_ time: Interval) -> Bool {
        time < latest + Self.longestGap && time + Self.longestGap > latest
    }

    private mutating func take(_ offset: Interval, _ time: Interval, _ track: Int) -> Interval {
        offsets[track] = offset
        latest = max(latest, time + offset)
        return offset
    }
}

/// Times of sound frames, whose containers round them (to milliseconds in FLV), as even as the sound is.
package struct SoundClock {
    /// Beyond this it is no rounding.
    private static let tolerance = Interval.milliseconds(20)
    /// Part of a difference that is taken over with each frame.
    private static let damping: Int64 = 16

    private var next: Interval?

    package init() {}

    /// - Parameter duration: of the frame; nil if it is not known.
    package mutating func place(_ time: Interval, duration: Interval?) -> Interval {
        guard let duration else {
            next = nil
            return time
        }
        var placed = time
        if let next {
            let error = time - next
            if error < Self.tolerance, Interval.zero - error < Self.tolerance {
                placed = next + .nanoseconds(error.nanoseconds / Self.damping)
            }
        }
        next = placed + duration
        return placed
    }
}
