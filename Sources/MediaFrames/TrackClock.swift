import Wire

/// One track's part of a `Timeline`: its timestamps without wraps, and where they lie.
struct TrackClock: Sendable {
    let rate: Int64
    let isAudio: Bool

    private(set) var hasBegun = false
    /// The timestamp that media time zero has.
    private var base: UInt32 = 0
    /// The last frame: timestamp since `base` (ticks), arrival (ns since the stream's zero).
    private var lastTicks: Int64 = 0
    private var lastLocal: Int64 = 0
    private var highestTicks: Int64 = 0
    private var beganAt: Int64 = 0
    /// Since when frames have come later than a network explains.
    private var lateSince: Int64?

    /// From media time to the stream's time without drift, ns; and where it is moving to, if reports say.
    private(set) var offset: Int64 = 0
    private(set) var target: Int64 = 0
    private(set) var hasReport = false
    private var reportEpoch = 0
    /// A report that was far from the others; believed when the next one agrees.
    private var doubted: Int64?
    var pendingReport: ClockReport?

    private var ways = MinimumWindow()

    init(rate: Int64, isAudio: Bool) {
        self.rate = rate
        self.isAudio = isAudio
    }

    /// Of the last seconds' packets: the smallest distance from media time to arrival.
    var shortestWay: Int64? { ways.minimum }

    /// The last frame's time without drift.
    var time: Int64 { nanoseconds(lastTicks) &+ offset }

    // Jumps of timestamps. A network delays packets and delivers them in bursts, but never before their time.

    /// A frame further ahead of its arrival than this, compared with the one before, is from another time.
    private static let maxAhead: Int64 = 1_500_000_000
    /// Frames that are out of order (B frames) go back less.
    private static let maxBack: Int64 = 1_000_000_000
    /// So late is only what was stopped.
    private static let maxLate: Int64 = 10_000_000_000
    /// Late frames that a burst does not explain when they go on for so long.
    private static let suspiciouslyLate: Int64 = 2_000_000_000
    private static let lateTolerance: Int64 = 1_500_000_000
    /// How long a track's place is found by arrival fast.
    private static let settlingTime: Int64 = 3_000_000_000
    private static let shortestFrame: Int64 = 1_000_000

    mutating func begin(timestamp: UInt32, local: Int64, drift: Int64) {
        hasBegun = true
        anchor(timestamp, local, at: local &- drift)
    }

    private mutating func anchor(_ timestamp: UInt32, _ local: Int64, at time: Int64) {
        base = timestamp
        (lastTicks, highestTicks, lastLocal, beganAt) = (0, 0, local, local)
        lateSince = nil
        offset = time
        target = time
        hasReport = false
        doubted = nil
        ways = MinimumWindow()
        ways.add(local, at: local)
    }

    /// Takes the next frame.
    ///
    /// - Returns: whether the timestamps jumped.
    mutating func take(timestamp: UInt32, local: Int64, drift: Int64) -> Bool {
        let ticks = ticks(of: timestamp, at: local)
        let media = nanoseconds(ticks)
        let step = media &- nanoseconds(lastTicks)
        let elapsed = local &- lastLocal
        let lateness = local &- (media &+ offset &+ drift)
        if jumps(ticks: ticks, step: step, elapsed: elapsed, lateness: lateness, local: local) {
            anchor(timestamp, local, at: max(local &- drift, time &+ Self.shortestFrame))
            return true
        }
        ways.add(local &- media, at: local)
        move(over: step, local: local, drift: drift)
        lastTicks = ticks
        lastLocal = max(lastLocal, local)
        highestTicks = max(highestTicks, ticks)
        return false
    }

    private mutating func jumps(
        ticks: Int64, step: Int64, elapsed: Int64, lateness: Int64, local: Int64
    ) -> Bool {
        if nanoseconds(highestTicks &- ticks) > Self.maxBack { return true }
        if step &- elapsed > Self.maxAhead && lateness < -Self.maxAhead { return true }
        if elapsed &- step > Self.maxLate && lateness > Self.maxLate { return true }
        guard lateness > Self.suspiciouslyLate else {
            lateSince = nil
            return false
        }
        let since = lateSince ?? local
        lateSince = since
        return local &- since > Self.lateTolerance
    }

    /// Moves the offset by what may be moved while so much of the track passes.
    private mutating func move(over step: Int64, local: Int64, drift: Int64) {
        if hasReport {
            offset &+= Slew.aligning.step(from: offset, to: target, elapsed: step)
        } else if let shortest = ways.minimum {
            let slew = local &- beganAt < Self.settlingTime ? Slew.aligning : Slew.arrival
            offset &+= slew.step(from: offset, to: shortest &- drift, elapsed: step)
        }
    }

    // MARK: - Reports

    /// Media time of a report's timestamp; `nil` if it is of another time than the track's packets.
    mutating func mediaTime(ofReport report: ClockReport, local: Int64) -> Int64? {
        let expected = expectedTicks(at: local)
        let ticks = ticks(of: report.timestamp, at: local)
        guard (ticks &- expected).magnitude < UInt64(Self.maxReportDistance * rate) else { return nil }
        return nanoseconds(ticks)
    }

    /// Seconds between a report's timestamp and the one that its arrival lets expect.
    private static let maxReportDistance: Int64 = 30

    mutating func aim(at target: Int64, epoch: Int) {
        // Reports have an error of a millisecond or so: half of it is left out. Across an epoch nothing can be compared.
        let isComparable = hasReport && reportEpoch == epoch
        self.target = isComparable ? self.target &+ (target &- self.target) / 2 : target
        hasReport = true
        reportEpoch = epoch
        doubted = nil
    }

    /// A target that is far from the former one.
    mutating func consider(_ target: Int64, epoch: Int) {
        if reportEpoch != epoch || doubted.map({ (target &- $0).magnitude < 100_000_000 }) ?? false {
            hasReport = false
            aim(at: target, epoch: epoch)
        } else {
            doubted = target
        }
    }

    mutating func shiftTarget(by change: Int64) { target &+= change }

    /// Goes to the target at once.
    mutating func settle() { if hasReport { offset = target } }

    // MARK: - Ticks

    private func expectedTicks(at local: Int64) -> Int64 {
        // 35 days of gap: further away the timestamp's wraps cannot be told anyway.
        let elapsed = min(max(0, local &- lastLocal), 3_000_000 * 1_000_000_000)
        return lastTicks &+ elapsed / 1_000_000 &* rate / 1_000
    }

    /// The timestamp without wraps: of those it may stand for, the nearest to what the arrival lets expect.
    private func ticks(of timestamp: UInt32, at local: Int64) -> Int64 {
        let expected = expectedTicks(at: local)
        let distance = Int32(bitPattern: timestamp &- base &- UInt32(truncatingIfNeeded: expected))
        return expected &+ Int64(distance)
    }

    private func nanoseconds(_ ticks: Int64) -> Int64 {
        ticks / rate &* 1_000_000_000 &+ ticks % rate &* 1_000_000_000 / rate
    }
}

/// Minimum over the last ten seconds or so.
struct MinimumWindow: Sendable {
    private static let count = 10
    private static let span: Int64 = 1_000_000_000
    private var minima: [Int64] = Array(repeating: .max, count: count)
    private var bucket: Int64 = -1

    var minimum: Int64? { minima.min().flatMap { $0 == .max ? nil : $0 } }

    /// - Parameter time: when the value came, ns; does not go back.
    mutating func add(_ value: Int64, at time: Int64) {
        let now = max(bucket, max(0, time) / Self.span)
        if now > bucket {
            let passed = min(now - bucket, Int64(Self.count))
            for i in 0..<passed { minima[Int((now - i) % Int64(Self.count))] = .max }
            bucket = now
        }
        let place = Int(bucket % Int64(Self.count))
        minima[place] = min(minima[place], value)
    }
}
