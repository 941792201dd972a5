import Playback
import Wire

/// Gives out the units of one source when they are to be sent. A value; time comes from outside.
package protocol UnitPacer: Sendable {
    mutating func add(_ unit: MediaUnit)
    /// No more units come.
    mutating func complete()
    func wantsMore(now: Instant) -> Bool
    mutating func next(now: Instant) -> (unit: MediaUnit, timestamp: UInt32)?
    /// RTP times of one moment by track and the time since the beginning, if it is time to tell them.
    mutating func report(now: Instant) -> (timestamps: [UInt32], elapsed: Interval)?
    var nextDeadline: Instant { get }
    func isOver(now: Instant) -> Bool
}

extension Playout: UnitPacer {}

/// Units of a live source, sent as they come: what comes in a burst (the pictures that a server keeps for who joins, those
/// that were looked at before the first was sent) leaves at twice its pace, so that nothing is late for ever and nobody
/// is sent seconds at once.
package struct LivePlayout: UnitPacer {
    private static let speed: Int64 = 2
    private static let mostUnits = 8_192
    private static let mostBytes = 8 << 20
    private static let lateness = Interval.milliseconds(20)
    private static let firstReports = Interval.seconds(1)
    private static let laterReports = Interval.seconds(5)

    private let clocks: [(rate: Int, first: UInt32)]
    private var waiting: [MediaUnit] = []
    private var head = 0
    private var bytes = 0
    private var isComplete = false
    /// When the last unit was sent, and its time.
    private var last: (sent: Instant, due: Interval)?
    private var nextReport: Instant?
    private var reports = 0

    package init(clocks: [(rate: Int, first: UInt32)]) { self.clocks = clocks }

    package mutating func add(_ unit: MediaUnit) {
        waiting.append(unit)
        bytes += unit.byteCount
    }

    package mutating func complete() { isComplete = true }

    package func wantsMore(now: Instant) -> Bool {
        !isComplete && bytes < Self.mostBytes && waiting.count - head < Self.mostUnits
    }

    private func ready(_ unit: MediaUnit) -> Instant {
        guard let last else { return .zero }
        return last.sent + .nanoseconds(max(0, (unit.due - last.due).nanoseconds) / Self.speed)
    }

    package mutating func next(now: Instant) -> (unit: MediaUnit, timestamp: UInt32)? {
        guard head < waiting.count, case let unit = waiting[head], ready(unit) <= now else { return nil }
        head += 1
        if head == waiting.count || head >= 256 {
            waiting.removeFirst(head)
            head = 0
        }
        bytes -= unit.byteCount
        // A pace is kept although the process is woken late.
        let sent = last == nil ? now : max(ready(unit), now - Self.lateness)
        last = (sent, max(last?.due ?? unit.due, unit.due))
        return (unit, timestamp(unit.track, unit.time))
    }

    /// The source's own clock: its tracks are in step by it, whatever the way does to their packets.
    package mutating func report(now: Instant) -> (timestamps: [UInt32], elapsed: Interval)? {
        guard let last, now >= nextReport ?? now else { return nil }
        reports += 1
        nextReport = now + (reports < 10 ? Self.firstReports : Self.laterReports)
        return (clocks.indices.map { timestamp($0, last.due) }, last.due)
    }

    private func timestamp(_ track: Int, _ time: Interval) -> UInt32 {
        let (seconds, rest) = time.nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
        let rate = Int64(clocks[track].rate)
        let ticks = seconds &* rate &+ (rest * rate + (rest < 0 ? -500_000_000 : 500_000_000)) / 1_000_000_000
        return clocks[track].first &+ UInt32(truncatingIfNeeded: ticks)
    }

    package var nextDeadline: Instant { head < waiting.count ? ready(waiting[head]) : .distantFuture }

    package func isOver(now: Instant) -> Bool { isComplete && head == waiting.count }
}
