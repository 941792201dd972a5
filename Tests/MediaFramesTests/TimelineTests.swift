import MediaFrames
import RTP
import Testing
import Wire

/// A publisher in virtual time: a clock that may be fast or slow, tracks with timestamps and capture delays of their own,
/// a network with delay and jitter. Every frame's true capture time, on our clock, is known.
private struct Publisher {
    struct Track {
        var rate: Int
        var isAudio: Bool
        /// Between frames, of the publisher's clock.
        var interval: Interval
        /// From capture to sending: encoder.
        var latency: Interval
        var firstTimestamp: UInt32
    }

    var tracks: [Track]
    /// Millionths by which the publisher's clock is fast.
    var fast: Int64 = 0
    var network: ClosedRange<Int64> = 20_000_000...30_000_000
    /// Sender reports of each track are so far apart; `nil`: none.
    var reportEvery: Interval? = .seconds(1)
    var reportFrom = Interval.milliseconds(500)
    /// How much later those of sound begin.
    var soundReportsLater = Interval.zero
    /// Error of the pairs of NTP time and timestamp in reports.
    var reportError: ClosedRange<Int64> = -500_000...500_000
    var random = SeededRandom(seed: 7)
    /// Any moment will do: 32.32 seconds.
    var ntpStart: UInt64 = 0xe5b0_1234_8000_0000

    static let audio = Track(
        rate: 48_000, isAudio: true, interval: .milliseconds(20), latency: .milliseconds(25),
        firstTimestamp: .max - 100_000)
    static let video = Track(
        rate: 90_000, isAudio: false, interval: .microseconds(33_333), latency: .milliseconds(70),
        firstTimestamp: 0x7fff_0000)

    struct Placed {
        var track: Int
        /// Of our clock, since the first arrival.
        var captured: Interval
        var time: Interval
        var isDiscontinuity: Bool
    }

    /// - Parameters:
    ///   - wanted: whether the frame of the track at this time is sent at all.
    ///   - looked: frames that are given back; all are sent.
    mutating func run(
        seconds: Int64, sent wanted: (Int, Interval) -> Bool = { _, _ in true },
        looked: (Interval) -> Bool = { _ in true }
    ) -> [Placed] {
        var timeline = Timeline(tracks: tracks.map { ($0.rate, $0.isAudio) })
        var placed: [Placed] = []
        var next = [Interval](repeating: .zero, count: tracks.count)
        var nextReport = tracks.map { reportFrom + ($0.isAudio ? soundReportsLater : .zero) }
        // Our clock at the publisher's time zero: not zero, as it never is.
        let origin = Instant.zero + .seconds(12_345)
        var zero: Instant?
        while let track = next.indices.min(by: { next[$0] + tracks[$0].latency < next[$1] + tracks[$1].latency }),
            next[track] < .seconds(seconds)
        {
            let local = next[track]
            next[track] = local + tracks[track].interval
            if let every = reportEvery, local >= nextReport[track] {
                nextReport[track] = nextReport[track] + every
                let error = Int64.random(in: reportError, using: &random)
                timeline.handleReport(
                    track: track, ntp: ntp(local + .nanoseconds(error)), timestamp: timestamp(track, local),
                    arrival: origin + ours(local) + tracks[track].latency + .milliseconds(20))
            }
            guard wanted(track, local) else { continue }
            let delay = Interval.nanoseconds(Int64.random(in: network, using: &random))
            let arrival = origin + ours(local) + tracks[track].latency + delay
            let first = zero ?? arrival
            zero = first
            let place = timeline.place(track: track, timestamp: timestamp(track, local), arrival: arrival)
            guard looked(local) else { continue }
            placed.append(
                Placed(
                    track: track, captured: origin + ours(local) - first, time: place.time,
                    isDiscontinuity: place.isDiscontinuity))
        }
        return placed
    }

    /// The publisher's time on our clock.
    private func ours(_ local: Interval) -> Interval {
        .nanoseconds(local.nanoseconds - local.nanoseconds / 1_000_000 * fast)
    }

    func timestamp(_ track: Int, _ local: Interval) -> UInt32 {
        let rate = Int64(tracks[track].rate)
        let ticks = local.nanoseconds / 1_000_000_000 * rate + local.nanoseconds % 1_000_000_000 * rate / 1_000_000_000
        return tracks[track].firstTimestamp &+ UInt32(truncatingIfNeeded: ticks)
    }

    private func ntp(_ local: Interval) -> NTPTime {
        let seconds = local.nanoseconds / 1_000_000_000
        let fraction = local.nanoseconds % 1_000_000_000
        return NTPTime(rawValue: ntpStart &+ UInt64(bitPattern: seconds << 32 + (fraction << 32) / 1_000_000_000))
    }
}

/// Error of a frame's time against its capture, apart from what is the same for all tracks.
private func skew(_ frames: [Publisher.Placed]) -> Interval {
    // Of neighbouring frames of different tracks: how much the distance between times differs from the true one.
    var worst = Interval.zero
    for (a, b) in zip(frames, frames.dropFirst()) where a.track != b.track {
        let error = (b.time - a.time) - (b.captured - a.captured)
        worst = max(worst, Interval(nanoseconds: abs(error.nanoseconds)))
    }
    return worst
}

private func rises(_ frames: [Publisher.Placed]) -> Bool {
    Set(frames.map(\.track)).allSatisfy { track in
        let times = frames.filter { $0.track == track }.map(\.time)
        return zip(times, times.dropFirst()).allSatisfy { $0 < $1 }
    }
}

@Suite struct TimelineTests {
    /// What dates of frames are made of.
    @Test func reportsAreAtTheTimeOfFramesWithTheirTimestamp() throws {
        var timeline = Timeline(tracks: [(48_000, true), (90_000, false)])
        let origin = Instant.zero + .seconds(77)
        // Before the first packet nothing can be told.
        let early = timeline.handleReport(
            track: 0, ntp: NTPTime(rawValue: 5 << 32), timestamp: 1_000, arrival: origin)
        #expect(early == nil)
        var placed: [Timeline.Place] = []
        for index in 0..<500 {
            let time = Interval.milliseconds(20 * Int64(index))
            // Pictures take 60 ms longer than sound.
            _ = timeline.place(
                track: 0, timestamp: 1_000 &+ UInt32(index) &* 960, arrival: origin + time + .milliseconds(30))
            placed.append(
                timeline.place(
                    track: 1, timestamp: 7_000 &+ UInt32(index) &* 1_800, arrival: origin + time + .milliseconds(90)))
            guard index % 50 == 10 else { continue }
            let ntp = NTPTime(unixNanoseconds: UInt64(1_700_000_000_000_000_000 + time.nanoseconds))
            for (track, timestamp) in [(0, 1_000 &+ UInt32(index) &* 960), (1, 7_000 &+ UInt32(index) &* 1_800)] {
                let found = timeline.handleReport(
                    track: track, ntp: ntp, timestamp: timestamp, arrival: origin + time + .milliseconds(95))
                let report = try #require(found)
                #expect(report.ntp == ntp)
                guard index > 200, track == 1 else { continue }
                #expect(abs((report.time - placed[index].time).nanoseconds) < 5_000_000)
            }
        }
    }

    @Test(arguments: [0, 200, -200] as [Int64])
    func soundAndPicturesAreAlignedByReports(_ fast: Int64) {
        var publisher = Publisher(tracks: [Publisher.audio, Publisher.video], fast: fast)
        let frames = publisher.run(seconds: 120)
        #expect(rises(frames) && frames.allSatisfy { !$0.isDiscontinuity })
        let settled = frames.filter { $0.captured > .seconds(5) }
        #expect(skew(settled) < .milliseconds(5), "skew \(skew(settled))")
        // And the reference is sound, which does not move for it.
        let sound = frames.filter { $0.track == 0 }
        let steps = zip(sound, sound.dropFirst()).map { ($1.time - $0.time).microseconds }
        #expect(steps.allSatisfy { abs($0 - 20_000) < 1_100 })
        #expect(steps.dropFirst(250).allSatisfy { abs($0 - 20_000) < 60 })
    }

    @Test(arguments: [200, -200] as [Int64])
    func aFastOrSlowPublisherIsFollowedWithoutJumps(_ fast: Int64) {
        var publisher = Publisher(tracks: [Publisher.audio, Publisher.video], fast: fast)
        let frames = publisher.run(seconds: 300)
        let late = frames.filter { $0.captured > .seconds(290) }
        let early = frames.filter { $0.captured > .seconds(5) && $0.captured < .seconds(15) }
        // 300 s at 200 millionths are 60 ms.
        let mean = { (some: [Publisher.Placed]) in
            some.map { ($0.time - $0.captured).microseconds }.reduce(0, +) / Int64(some.count)
        }
        #expect(abs(mean(late) - mean(early)) < 6_000, "drifted by \(mean(late) - mean(early)) µs")
        for track in 0...1 {
            let times = frames.filter { $0.track == track && $0.captured > .seconds(5) }
            for (a, b) in zip(times, times.dropFirst()) {
                let error = (b.time - a.time) - (b.captured - a.captured)
                #expect(abs(error.nanoseconds) < 1_100_000)
            }
        }
    }

    @Test func withoutReportsArrivalDecides() {
        var publisher = Publisher(tracks: [Publisher.audio, Publisher.video], fast: 200, reportEvery: nil)
        let frames = publisher.run(seconds: 120)
        #expect(rises(frames) && frames.allSatisfy { !$0.isDiscontinuity })
        // Nothing better than the encoders' difference, 45 ms, and the jitter of the way can be known.
        let settled = frames.filter { $0.captured > .seconds(12) }
        #expect(skew(settled) < .milliseconds(50))
        #expect(skew(settled) > .milliseconds(40))
    }

    @Test func reportsBeforeTheFirstPacketHoldFromTheFirstFrameOn() {
        var publisher = Publisher(tracks: [Publisher.audio, Publisher.video])
        publisher.reportFrom = .zero
        publisher.reportError = 0...0
        let frames = publisher.run(seconds: 3)
        #expect(skew(frames) < .milliseconds(2), "skew \(skew(frames))")
    }

    @Test func soundDoesNotMoveForReportsOfVideoThatCameFirst() {
        var publisher = Publisher(tracks: [Publisher.audio, Publisher.video])
        publisher.soundReportsLater = .milliseconds(700)
        publisher.network = 20_000_000...20_000_000
        let frames = publisher.run(seconds: 20)
        let sound = frames.filter { $0.track == 0 }
        #expect(zip(sound, sound.dropFirst()).allSatisfy { abs(($1.time - $0.time).microseconds - 20_000) < 30 })
        #expect(skew(frames.filter { $0.captured > .seconds(6) }) < .milliseconds(5))
    }

    @Test func timestampsMayWrapAsOftenAsTheyLike() {
        // 10 h past the wrap of the 90 kHz clock after 13.3 h, and one of the 48 kHz clock on the way; in steps of 200 ms.
        var sound = Publisher.audio
        var pictures = Publisher.video
        (sound.interval, pictures.interval) = (.milliseconds(200), .milliseconds(210))
        (sound.firstTimestamp, pictures.firstTimestamp) = (.max - 1_000, .max - 90_000 * 60)
        var publisher = Publisher(tracks: [sound, pictures], fast: 200, reportEvery: .seconds(5))
        let frames = publisher.run(seconds: 36_060 + 47_722, looked: { $0 < .seconds(120) || $0 > .seconds(83_700) })
        #expect(frames.allSatisfy { !$0.isDiscontinuity } && rises(frames))
        let end = frames.suffix(100)
        #expect(skew(Array(end)) < .milliseconds(5))
        for frame in end { #expect(abs((frame.time - frame.captured).milliseconds) < 60) }
    }

    @Test func mutedTracksKeepTheirGapsAndLaterWraps() {
        var publisher = Publisher(tracks: [Publisher.audio, Publisher.video])
        let frames = publisher.run(seconds: 60) { track, time in
            track == 1 || time < .seconds(20) || time > .seconds(50)
        }
        #expect(rises(frames) && frames.allSatisfy { !$0.isDiscontinuity })
        let sound = frames.filter { $0.track == 0 }
        let gap = zip(sound, sound.dropFirst()).map { $1.time - $0.time }.max()!
        // From the last packet at 19.98 s to the first at 50.02 s.
        #expect(abs((gap - .milliseconds(30_040)).milliseconds) < 5)
        #expect(skew(frames.filter { $0.captured > .seconds(5) }) < .milliseconds(5))
    }

    @Test func aLongGapMayHideAWrap() {
        var timeline = Timeline(tracks: [(90_000, false)])
        _ = timeline.place(track: 0, timestamp: 1_000, arrival: .zero)
        // 20 h: more than the 13.3 h of a wrap.
        let hours = Interval.seconds(72_000)
        let ticks = UInt32(truncatingIfNeeded: 1_000 + 72_000 * 90_000)
        let place = timeline.place(track: 0, timestamp: ticks, arrival: .zero + hours)
        #expect(!place.isDiscontinuity)
        #expect(abs((place.time - hours).milliseconds) < 5)
    }

    // The last one is three seconds back.
    @Test(arguments: [0, 0x1234_5678, 0x8000_0000, 0xffff_0000, 0x3ffb_e150] as [UInt32])
    func aSourceThatBeginsAnewGoesOnByArrival(_ other: UInt32) {
        var timeline = Timeline(tracks: [(90_000, false), (48_000, true)])
        var last = Interval.zero
        for index in 0..<300 {
            let now = Instant.zero + .milliseconds(Int64(index) * 33)
            let base: UInt32 = index < 150 ? 0x4000_0000 : other
            let timestamp = base &+ UInt32(index) * 2_970
            let place = timeline.place(track: 0, timestamp: timestamp, arrival: now)
            #expect(place.isDiscontinuity == (index == 150))
            if index > 0 { #expect(abs((place.time - last).milliseconds - 33) <= 2) }
            last = place.time
        }
    }

    @Test func reportsOfAnotherTimeAreIgnored() {
        var timeline = Timeline(tracks: [(48_000, true), (90_000, false)])
        for index in 0..<200 {
            let milliseconds = Int64(index) * 40
            let now = Instant.zero + .milliseconds(milliseconds)
            let ntp = NTPTime(rawValue: 0xe000_0000 << 32 + UInt64(milliseconds) << 32 / 1_000)
            if index % 10 == 5 {
                timeline.handleReport(track: 0, ntp: ntp, timestamp: UInt32(milliseconds * 48), arrival: now)
                // From before the source began anew: 100 s away. Without a wall clock; of no track.
                let stale = UInt32(milliseconds * 90) &- 9_000_000
                timeline.handleReport(track: 1, ntp: ntp, timestamp: stale, arrival: now)
                timeline.handleReport(track: 1, ntp: NTPTime(rawValue: 0), timestamp: 0, arrival: now)
                timeline.handleReport(track: 7, ntp: ntp, timestamp: 0, arrival: now)
            }
            for (track, rate) in [(0, Int64(48)), (1, 90)] {
                let place = timeline.place(track: track, timestamp: UInt32(milliseconds * rate), arrival: now)
                #expect(abs((place.time - .milliseconds(milliseconds)).microseconds) < 100)
            }
        }
    }

    @Test func aClockThatStopsWhileMutedJumpsBehindTheGap() {
        var timeline = Timeline(tracks: [(48_000, true)])
        var jumps = 0
        var last = Interval.zero
        for index in 0..<2_000 {
            // 60 s without packets or ticks after 20 s.
            let now = Instant.zero + .milliseconds(Int64(index) * 20 + (index >= 1_000 ? 60_000 : 0))
            let place = timeline.place(track: 0, timestamp: UInt32(index) * 960, arrival: now)
            if place.isDiscontinuity {
                jumps += 1
                #expect(index == 1_000 && (place.time - last).milliseconds > 59_000)
            }
            #expect(index == 0 || place.time > last)
            last = place.time
        }
        #expect(jumps == 1)
    }

    @Test func aStallOfTheNetworkIsNoJump() {
        var timeline = Timeline(tracks: [(48_000, true)])
        for index in 0..<1_000 {
            // Everything of the seconds 5 to 8 comes at 8 s, in a burst.
            let sent = Int64(index) * 20
            let arrival = sent >= 5_000 && sent < 8_000 ? 8_000 : sent
            let place = timeline.place(
                track: 0, timestamp: UInt32(index) * 960, arrival: .zero + .milliseconds(arrival))
            #expect(!place.isDiscontinuity)
            #expect(abs(place.time.milliseconds - sent) <= 5)
        }
    }

    @Test func picturesOutOfOrderKeepTheirTimes() {
        var timeline = Timeline(tracks: [(90_000, false)])
        // I P B B, as a camera sends them.
        let order = [0, 3, 1, 2]
        for index in 0..<400 {
            let shown = Int64(index / 4 * 4 + order[index % 4])
            let place = timeline.place(
                track: 0, timestamp: UInt32(shown) * 3_600, arrival: .zero + .milliseconds(Int64(index) * 40))
            #expect(!place.isDiscontinuity)
            #expect(abs(place.time.milliseconds - shown * 40) <= 81)
        }
    }

    @Test func theWallClockOfThePublisherMayBeSet() {
        var timeline = Timeline(tracks: [(48_000, true), (90_000, false)])
        var times: [[Interval]] = [[], []]
        for step in 0..<3_000 {
            let milliseconds = Int64(step) * 20
            // After 30 s the wall clock is set an hour ahead; the report of video comes before that of sound.
            let ntp = { (at: Int64) -> NTPTime in
                let wall = at + (at >= 30_000 ? 3_600_000 : 0)
                return NTPTime(
                    rawValue: 0xe000_0000 << 32 + UInt64(wall / 1_000) << 32 + UInt64(wall % 1_000) << 32 / 1_000)
            }
            let now = Instant.zero + .milliseconds(milliseconds + 50)
            if step % 100 == 30 {
                timeline.handleReport(
                    track: 1, ntp: ntp(milliseconds), timestamp: UInt32(milliseconds * 90), arrival: now)
            }
            if step % 100 == 60 {
                timeline.handleReport(
                    track: 0, ntp: ntp(milliseconds), timestamp: UInt32(milliseconds * 48), arrival: now)
            }
            times[0].append(timeline.place(track: 0, timestamp: UInt32(milliseconds * 48), arrival: now).time)
            times[1].append(timeline.place(track: 1, timestamp: UInt32(milliseconds * 90), arrival: now).time)
        }
        for track in times {
            for (a, b) in zip(track, track.dropFirst()) { #expect(abs((b - a).microseconds - 20_000) < 1_100) }
        }
        #expect(abs((times[0].last! - times[1].last!).milliseconds) < 2)
    }

    @Test func hostileClocksNeverTrap() {
        var random = SeededRandom(seed: 3)
        var timeline = Timeline(tracks: [(Int.max, true), (0, false), (-5, false), (90_000, false)])
        var last = Int64(0)
        for _ in 0..<20_000 {
            last =
                Bool.random(using: &random)
                ? last &+ Int64.random(in: 0...1 << 40, using: &random)
                : Int64.random(in: .min ... .max, using: &random)
            let track = Int.random(in: 0...4, using: &random)
            let timestamp = UInt32.random(in: 0 ... .max, using: &random)
            if Bool.random(using: &random) {
                let ntp = NTPTime(rawValue: UInt64.random(in: 0 ... .max, using: &random))
                timeline.handleReport(track: track, ntp: ntp, timestamp: timestamp, arrival: Instant(nanoseconds: last))
            } else {
                _ = timeline.place(track: track, timestamp: timestamp, arrival: Instant(nanoseconds: last))
            }
        }
    }
}
