import SourceProcess
import Testing
import Wire

/// Times of sources that jump, round and begin anew.
struct SourceTimelineTests {
    /// Where a timeline puts times, in milliseconds.
    private func placed(_ times: [(Int64, Int)], tracks: Int = 2) -> [Int64] {
        var timeline = SourceTimeline(tracks: tracks)
        return times.map { milliseconds, track in
            let time = Interval.milliseconds(milliseconds)
            return (time + timeline.offset(of: time, track: track)).milliseconds
        }
    }

    @Test func itBeginsAtZeroWhereverTheSourceDoes() {
        #expect(placed([(90_000, 0), (89_990, 1), (90_040, 0)]) == [0, -10, 40])
    }

    /// An encoder that begins anew: sound is still of the old times when pictures are of the new ones.
    @Test func aJumpOfAllTracksIsOneJump() {
        let line = placed([(50_000, 0), (50_000, 1), (50_040, 0), (100, 0), (50_050, 1), (110, 1), (140, 0)])
        #expect(line == [0, 0, 40, 80, 50, 90, 120])
    }

    @Test func theEndOfAClockOf33BitsIsNone() {
        let wrap: Int64 = 95_443_717
        #expect(placed([(wrap - 20, 0), (20, 0), (60, 0)], tracks: 1) == [0, 40, 80])
    }

    @Test func aPauseStaysAPause() {
        #expect(placed([(0, 0), (4_000, 0), (8_000, 0), (8_000, 1)]) == [0, 4_000, 8_000, 8_000])
    }

    /// One track is silent for longer than a jump is: it is where the other one is.
    @Test func aTrackThatWasSilentIsWhereTheOtherIs() {
        var times: [(Int64, Int)] = [(0, 1)]
        times += (0..<20).map { (Int64($0) * 1_000, 0) }
        times.append((19_100, 1))
        #expect(placed(times).last == 19_100)
    }

    @Test func roundedTimesOfSoundAreEven() {
        var clock = SoundClock()
        let duration = Interval.nanoseconds(21_333_333)
        var worst = Interval.zero
        for index in 0..<500 {
            let exact = Interval.nanoseconds(21_333_333 * Int64(index))
            let placed = clock.place(.milliseconds(exact.milliseconds), duration: duration)
            let error = placed - exact
            if index > 100 { worst = max(worst, max(error, Interval.zero - error)) }
        }
        // Rounding down alone makes half a millisecond; what is left is even.
        #expect(worst < .milliseconds(1))
        var previous: Interval?
        var unevenness = Interval.zero
        for index in 500..<600 {
            let exact = Interval.nanoseconds(21_333_333 * Int64(index))
            let placed = clock.place(.milliseconds(exact.milliseconds), duration: duration)
            if let previous {
                let step = placed - previous - duration
                unevenness = max(unevenness, max(step, Interval.zero - step))
            }
            previous = placed
        }
        #expect(unevenness < .microseconds(100))
    }

    @Test func aHoleInSoundStaysAHole() {
        var clock = SoundClock()
        _ = clock.place(.zero, duration: .milliseconds(20))
        #expect(clock.place(.milliseconds(500), duration: .milliseconds(20)) == .milliseconds(500))
    }
}
