import Wire

/// Gives out the units of one stream when they are due, with their RTP times. Pure: time comes from outside.
///
/// The stream's clock begins with `start`. Pauses, and waits for a disk that does not keep up, shift everything behind
/// them: what follows comes at its own pace instead of all at once. RTP times run with real time through all of that, so
/// one relation to the wall clock holds from beginning to end.
package struct Playout: Sendable {
    package struct Settings: Sendable {
        /// So much is read ahead.
        package var ahead = Interval.seconds(1)
        /// No track is read further ahead for the sake of another one.
        package var mostAhead = Interval.seconds(5)
        package var mostBytes = 8 << 20
        /// What is later than this shifts the stream instead of being caught up with.
        package var tolerance = Interval.milliseconds(200)
        package var reportInterval = Interval.seconds(2)
        /// From the end of the last unit to the end of the stream: players hold back some of what they have.
        package var tail = Interval.milliseconds(400)
        package init() {}
    }

    package struct Clock: Sendable {
        var rate: Int
        var first: UInt32
        /// - Parameter first: RTP time of the stream's zero.
        package init(rate: Int, first: UInt32) {
            self.rate = rate
            self.first = first
        }
    }

    private struct Lane {
        var units: [MediaUnit] = []
        var head = 0
        /// Of the last one that came.
        var lastDue: Interval?

        var next: MediaUnit? { head < units.count ? units[head] : nil }

        mutating func popFirst() {
            head += 1
            guard head == units.count || head >= 256 else { return }
            units.removeFirst(head)
            head = 0
        }
    }

    private let settings: Settings
    private let clocks: [Clock]
    private var lanes: [Lane]
    private var bytes = 0
    /// When the stream's zero would have been, had nothing been shifted.
    private var origin: Instant?
    private var shift = Interval.zero
    private var pausedAt: Instant?
    private var nextReport = Instant.zero
    private var end = Interval.zero
    /// No more units come.
    private var isComplete = false
    /// How often the units came too late.
    package private(set) var stalls = 0

    package init(clocks: [Clock], settings: Settings = Settings()) {
        self.clocks = clocks
        self.settings = settings
        lanes = clocks.map { _ in Lane() }
    }

    // MARK: What comes in

    package mutating func add(_ unit: MediaUnit) {
        guard lanes.indices.contains(unit.track) else { return }
        lanes[unit.track].units.append(unit)
        lanes[unit.track].lastDue = unit.due
        bytes += unit.byteCount
        end = max(end, unit.time + unit.duration)
    }

    /// No more units come.
    package mutating func complete() { isComplete = true }

    /// Whether the file is to be read on.
    package func wantsMore(now: Instant) -> Bool {
        guard !isComplete, bytes < settings.mostBytes else { return false }
        let position = position(now) ?? .zero
        let known = lanes.compactMap(\.lastDue)
        if let most = known.max(), most >= position + settings.mostAhead { return false }
        return known.count < lanes.count || known.contains { $0 < position + settings.ahead }
    }

    // MARK: Its course

    package var hasStarted: Bool { origin != nil }

    package mutating func start(now: Instant) {
        guard origin == nil else { return }
        origin = now
        nextReport = now
        if pausedAt != nil { pausedAt = now }
    }

    package mutating func setPaused(_ paused: Bool, now: Instant) {
        if paused {
            pausedAt = pausedAt ?? now
        } else if let since = pausedAt {
            pausedAt = nil
            if origin != nil { shift = shift + (now - since) }
            nextReport = now
        }
    }

    /// Where in the stream it is.
    private func position(_ now: Instant) -> Interval? { origin.map { (pausedAt ?? now) - $0 - shift } }

    // MARK: What goes out

    /// The next unit that is due, with its RTP time.
    package mutating func next(now: Instant) -> (unit: MediaUnit, timestamp: UInt32)? {
        guard pausedAt == nil, let position = position(now), let track = nextTrack, let unit = lanes[track].next,
            unit.due <= position
        else { return nil }
        lanes[track].popFirst()
        bytes -= unit.byteCount
        let lateness = position - unit.due
        if lateness > settings.tolerance {
            shift = shift + lateness
            stalls += 1
        }
        return (unit, timestamp(track, unit.time + shift))
    }

    private var nextTrack: Int? {
        var best: (track: Int, due: Interval)?
        for track in lanes.indices {
            guard let due = lanes[track].next?.due else { continue }
            if let best, best.due <= due { continue }
            best = (track, due)
        }
        return best?.track
    }

    /// RTP times of this moment by track and the time since `start`, if it is time to tell them.
    package mutating func report(now: Instant) -> (timestamps: [UInt32], elapsed: Interval)? {
        guard pausedAt == nil, let origin, now >= nextReport else { return nil }
        nextReport = now + settings.reportInterval
        return (clocks.indices.map { timestamp($0, now - origin) }, now - origin)
    }

    private func timestamp(_ track: Int, _ time: Interval) -> UInt32 {
        let (seconds, rest) = time.nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
        let rate = Int64(clocks[track].rate)
        let ticks = seconds &* rate &+ (rest * rate + (rest < 0 ? -500_000_000 : 500_000_000)) / 1_000_000_000
        return clocks[track].first &+ UInt32(truncatingIfNeeded: ticks)
    }

    /// When to look again; `distantFuture` while it waits for a start, a unit or the end of a pause.
    package var nextDeadline: Instant {
        guard pausedAt == nil, let origin else { return .distantFuture }
        if let track = nextTrack, let unit = lanes[track].next { return origin + shift + unit.due }
        return isComplete ? origin + shift + end + settings.tail : .distantFuture
    }

    /// Everything has been given out, and players have had the time to show it.
    package func isOver(now: Instant) -> Bool {
        guard isComplete, nextTrack == nil, pausedAt == nil, let position = position(now) else { return false }
        return position >= end + settings.tail
    }
}
