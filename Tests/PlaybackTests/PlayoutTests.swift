import Playback
import Testing
import Wire

/// The course of a stream in virtual time.
@Suite struct PlayoutTests {
    private static let start = Instant(nanoseconds: 1_000_000_000_000)
    private static let clocks = [Playout.Clock(rate: 90_000, first: 4_294_900_000), .init(rate: 48_000, first: 7)]

    private static func picture(_ ms: Int64, bytes: Int = 10) -> MediaUnit {
        MediaUnit(
            track: 0, time: .milliseconds(ms), due: .milliseconds(ms), duration: .milliseconds(40), isVideo: true,
            payloads: [Array(repeating: 1, count: bytes)])
    }

    private static func sound(_ ms: Int64) -> MediaUnit {
        MediaUnit(
            track: 1, time: .milliseconds(ms), due: .milliseconds(ms), duration: .milliseconds(20), isVideo: false,
            payloads: [[2]])
    }

    /// Pictures each 40 ms and sound each 20 ms.
    private static func filled(upTo ms: Int64, from first: Int64 = 0) -> Playout {
        var playout = Playout(clocks: clocks)
        for at in stride(from: first, to: ms, by: 40) { playout.add(picture(at)) }
        for at in stride(from: first, to: ms, by: 20) { playout.add(sound(at)) }
        return playout
    }

    private static func at(_ ms: Int64) -> Instant { start + .milliseconds(ms) }

    /// Everything that goes out until then, looked at each millisecond: when, and with which time.
    private static func run(
        _ playout: inout Playout, _ range: Range<Int64>
    ) -> [(ms: Int64, unit: MediaUnit, timestamp: UInt32)] {
        var out: [(Int64, MediaUnit, UInt32)] = []
        for ms in range {
            while let (unit, timestamp) = playout.next(now: at(ms)) { out.append((ms, unit, timestamp)) }
        }
        return out
    }

    @Test func `nothing goes out before the start, and then each unit when it is due`() {
        var playout = Self.filled(upTo: 1_000)
        #expect(playout.next(now: Self.at(0)) == nil && playout.nextDeadline == .distantFuture)
        playout.start(now: Self.at(0))
        #expect(playout.nextDeadline == Self.at(0))
        let out = Self.run(&playout, 0..<1_000)
        #expect(out.count == 75)
        #expect(out.allSatisfy { $0.ms == $0.unit.due.milliseconds }, "each in its millisecond")
        #expect(playout.stalls == 0)
    }

    @Test func `RTP times follow the stream and wrap`() {
        var playout = Self.filled(upTo: 2_000)
        playout.start(now: Self.at(0))
        let out = Self.run(&playout, 0..<2_000)
        let pictures = out.filter { $0.unit.track == 0 }.map(\.timestamp)
        #expect(zip(pictures, pictures.dropFirst()).allSatisfy { $1 &- $0 == 3_600 })
        #expect(pictures.first == 4_294_900_000 && pictures.last! < pictures.first!, "past the wrap")
        let sounds = out.filter { $0.unit.track == 1 }.map(\.timestamp)
        #expect(zip(sounds, sounds.dropFirst()).allSatisfy { $1 &- $0 == 960 } && sounds.first == 7)
    }

    @Test func `ten hours later times are still exact`() {
        var playout = Playout(clocks: [.init(rate: 90_000, first: 0)])
        let hours: Int64 = 36_000_000
        playout.start(now: Self.at(0))
        playout.add(Self.picture(hours))
        let out = playout.next(now: Self.at(hours))
        #expect(out?.timestamp == UInt32(truncatingIfNeeded: hours * 90))
    }

    @Test func `a pause holds everything and shifts what follows by its length`() {
        var playout = Self.filled(upTo: 1_000)
        playout.start(now: Self.at(0))
        let before = Self.run(&playout, 0..<500)
        playout.setPaused(true, now: Self.at(500))
        #expect(playout.nextDeadline == .distantFuture)
        #expect(Self.run(&playout, 500..<3_500).isEmpty)
        #expect(playout.report(now: Self.at(3_000)) == nil)
        playout.setPaused(false, now: Self.at(3_500))
        let after = Self.run(&playout, 3_500..<4_200)
        #expect(after.allSatisfy { $0.ms == $0.unit.due.milliseconds + 3_000 })
        // RTP time ran on with the wall clock.
        let last = before.last { $0.unit.track == 1 }!
        let next = after.first { $0.unit.track == 1 }!
        #expect(next.timestamp &- last.timestamp == UInt32((next.ms - last.ms) * 48))
        #expect(playout.stalls == 0, "a pause is no stall")
    }

    @Test func `a disk that lags shifts the stream instead of a burst`() {
        var playout = Self.filled(upTo: 400)
        playout.start(now: Self.at(0))
        _ = Self.run(&playout, 0..<2_400)
        // The rest comes two seconds late.
        for ms in stride(from: Int64(400), to: 800, by: 40) { playout.add(Self.picture(ms)) }
        for ms in stride(from: Int64(400), to: 800, by: 20) { playout.add(Self.sound(ms)) }
        let late = Self.run(&playout, 2_400..<3_000)
        #expect(late.count == 30 && playout.stalls == 1)
        #expect(late.allSatisfy { $0.ms == $0.unit.due.milliseconds + 2_000 }, "at its own pace")
    }

    @Test func `a small delay is caught up with`() {
        var playout = Self.filled(upTo: 400)
        playout.start(now: Self.at(0))
        _ = Self.run(&playout, 0..<100)
        let late = Self.run(&playout, 250..<400)
        #expect(late.filter { $0.ms > 250 }.allSatisfy { $0.ms == $0.unit.due.milliseconds } && playout.stalls == 0)
    }

    @Test func `reports tell one relation to the clock, through pauses and stalls`() throws {
        var playout = Self.filled(upTo: 4_000)
        playout.start(now: Self.at(0))
        var reports: [([UInt32], Interval)] = []
        for ms in Int64(0)..<6_000 {
            if ms == 1_000 { playout.setPaused(true, now: Self.at(ms)) }
            if ms == 2_500 { playout.setPaused(false, now: Self.at(ms)) }
            if let report = playout.report(now: Self.at(ms)) { reports.append((report.timestamps, report.elapsed)) }
            while playout.next(now: Self.at(ms)) != nil {}
        }
        #expect(reports.map(\.1.milliseconds) == [0, 2_500, 4_500], "at the start, after a pause, each two seconds")
        for (timestamps, elapsed) in reports {
            #expect(timestamps[0] &- 4_294_900_000 == UInt32(elapsed.milliseconds * 90))
            #expect(timestamps[1] &- 7 == UInt32(elapsed.milliseconds * 48))
        }
    }

    @Test func `units before zero go out at once and in order`() {
        var playout = Self.filled(upTo: 100, from: -20)
        playout.start(now: Self.at(0))
        let first = playout.next(now: Self.at(0))
        #expect(first?.unit.time == .milliseconds(-20))
        #expect(playout.stalls == 0)
    }

    @Test func `it is read a second ahead and no further`() {
        var playout = Playout(clocks: Self.clocks)
        #expect(playout.wantsMore(now: Self.start))
        playout.add(Self.picture(1_000))
        #expect(playout.wantsMore(now: Self.start), "of the sound nothing has come")
        playout.add(Self.sound(1_000))
        #expect(!playout.wantsMore(now: Self.start))
        playout.start(now: Self.start)
        #expect(playout.wantsMore(now: Self.at(1)))
        playout.complete()
        #expect(!playout.wantsMore(now: Self.at(1)))
    }

    @Test func `a track that has ended does not make the other be read to its end`() {
        var playout = Playout(clocks: Self.clocks)
        for ms in stride(from: Int64(0), through: 5_000, by: 40) { playout.add(Self.picture(ms)) }
        #expect(!playout.wantsMore(now: Self.start))
    }

    @Test func `bytes are bounded whatever the times`() {
        var playout = Playout(clocks: Self.clocks)
        for ms in Int64(0)..<9 { playout.add(Self.picture(ms, bytes: 1 << 20)) }
        #expect(!playout.wantsMore(now: Self.start))
        playout.start(now: Self.start)
        _ = Self.run(&playout, 0..<4)
        #expect(playout.wantsMore(now: Self.at(4)))
    }

    @Test func `the end comes when players have had time for the last unit`() {
        var playout = Self.filled(upTo: 100)
        playout.complete()
        playout.start(now: Self.at(0))
        _ = Self.run(&playout, 0..<100)
        let end: Int64 = 120 + Playout.Settings().tail.milliseconds
        #expect(playout.nextDeadline == Self.at(end))
        #expect(!playout.isOver(now: Self.at(end - 1)) && playout.isOver(now: Self.at(end)))
    }

    @Test func `it does not end while it is paused or more may come`() {
        var playout = Self.filled(upTo: 100)
        playout.start(now: Self.at(0))
        _ = Self.run(&playout, 0..<100)
        #expect(!playout.isOver(now: Self.at(5_000)))
        playout.complete()
        playout.setPaused(true, now: Self.at(5_000))
        #expect(!playout.isOver(now: Self.at(9_000)))
    }
}
