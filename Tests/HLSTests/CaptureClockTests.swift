import HLS
import MediaFormats
import Testing
import Wire

/// A publisher with a wall clock of its own, in virtual time: pictures are captured, encoded for a while, and sent.
private struct Camera {
    /// Nanoseconds since 1970, of our clock, when the first picture is captured.
    static let began: Int64 = 1_700_000_000_000_000_000

    /// How far the publisher's clock is ahead of ours.
    var ahead = Interval.zero
    var encoder = Interval.milliseconds(80)
    var network: ClosedRange<Int64> = 20_000_000...45_000_000
    var dice = Dice(11)

    /// The stream's clock is zero when the first packet arrives, by the shortest way.
    var zero: Int64 { Self.began + encoder.nanoseconds + network.lowerBound }
    /// When what is at stream time zero was captured, in truth: its packet came by the shortest way.
    var capturedAtZero: Int64 { Self.began }

    /// Gives a report that is sent so long after the beginning.
    mutating func report(at time: Interval, to clock: inout CaptureClock, error: Interval = .zero) {
        let way = Int64.random(in: network, using: &dice)
        let sent = Self.began + time.nanoseconds
        clock.take(ntp: sent + ahead.nanoseconds, at: time + error, arrival: sent + way)
    }
}

@Suite struct CaptureClockTests {
    private func zero(_ camera: inout Camera, error: Interval = .zero) -> Int64 {
        var clock = CaptureClock()
        for second in 1...20 { camera.report(at: .seconds(Int64(second)), to: &clock, error: error) }
        return clock.unixTimeAtZero(arrival: camera.zero)
    }

    @Test func withoutReportsArrivalCounts() {
        #expect(CaptureClock().unixTimeAtZero(arrival: 42) == 42)
    }

    @Test func publisherWithTheRightTimeIsBelieved() {
        var camera = Camera()
        #expect(zero(&camera) == camera.capturedAtZero)
        // Nobody's clock is right to the millisecond.
        camera.ahead = .milliseconds(-60)
        #expect(zero(&camera) == camera.capturedAtZero - 60_000_000)
    }

    @Test func nothingComesBeforeItWasSent() {
        var camera = Camera()
        camera.ahead = .milliseconds(70)
        let found = zero(&camera)
        // The clock is ahead by more than the way takes: what is left of it is taken for none.
        #expect(found > camera.capturedAtZero && found <= camera.capturedAtZero + 30_000_000)
    }

    @Test func clockThatIsWrongStillTellsHowLongTheEncoderTakes() {
        for ahead in [Interval.seconds(3_600), .seconds(-5), .seconds(-1_700_000_000), .seconds(1)] {
            var camera = Camera()
            camera.ahead = ahead
            let found = zero(&camera)
            // All but the way of the fastest report.
            #expect(found - camera.capturedAtZero >= 20_000_000 && found - camera.capturedAtZero < 30_000_000)
            #expect(found < camera.zero - 70_000_000)
        }
    }

    @Test func reportsThatCannotBeTrueAreNotBelieved() {
        for error in [Interval.seconds(-2), .seconds(9), .seconds(-3_600)] {
            var camera = Camera()
            #expect(zero(&camera, error: error) == camera.zero)
        }
        var hostile = CaptureClock()
        hostile.take(ntp: .max, at: .nanoseconds(.min), arrival: .min)
        hostile.take(ntp: .min, at: .nanoseconds(.max), arrival: .max)
        hostile.take(ntp: 0, at: .zero, arrival: .max)
        _ = hostile.unixTimeAtZero(arrival: .min)
    }

    @Test func clockThatIsSetIsComparedWithItselfAnew() {
        var camera = Camera()
        var clock = CaptureClock()
        for second in 1...10 { camera.report(at: .seconds(Int64(second)), to: &clock) }
        #expect(clock.unixTimeAtZero(arrival: camera.zero) == camera.capturedAtZero)
        camera.ahead = .seconds(-86_400)
        for second in 11...20 { camera.report(at: .seconds(Int64(second)), to: &clock) }
        let found = clock.unixTimeAtZero(arrival: camera.zero)
        #expect(abs(found - camera.capturedAtZero - 20_000_000) < 10_000_000)
    }

    /// Reports begin when dates have been told already.
    @Test func datesMoveToTheCaptureWithoutLeavingTheDurations() {
        let late: Int64 = 180_000_000
        var segmenter = Segmenter(tracks: [Clip.h264], unixTimeAtZero: Camera.began + late)
        var starts: [Segmenter.SegmentStart] = []
        for index in 0..<3_000 {
            let time = Interval.milliseconds(40 * Int64(index))
            if index == 60 { segmenter.unixTimeAtZero = Camera.began }
            let frame = Clip.picture(index, at: time, isKey: index % 50 == 0)
            for event in segmenter.append(frame, now: .at(time)) {
                if case .beginSegment(let start) = event { starts.append(start) }
            }
        }
        #expect(starts.count > 50 && starts[0].programDate == Camera.began + late)
        for (before, next) in zip(starts, starts.dropFirst()) {
            let step = next.programDate - before.programDate
            let duration = (next.time - before.time).nanoseconds
            #expect(step > 0 && (step - duration).magnitude <= UInt64(duration / 100))
        }
        let errors = starts.map { $0.programDate - Camera.began - $0.time.nanoseconds }
        #expect(zip(errors, errors.dropFirst()).allSatisfy { $0 >= $1 })
        #expect(errors.last == 0 && errors[20] < late)
    }

    @Test func datesJumpOnlyWithADiscontinuity() {
        var segmenter = Segmenter(tracks: [Clip.h264], unixTimeAtZero: Camera.began)
        var starts: [Segmenter.SegmentStart] = []
        for index in 0..<500 {
            let time = Interval.milliseconds(40 * Int64(index))
            if index == 250 { segmenter.unixTimeAtZero = Camera.began - 400_000_000 }
            let frame = Clip.picture(
                index, at: time, isKey: index % 50 == 0, flags: index == 250 ? .discontinuity : [])
            for event in segmenter.append(frame, now: .at(time)) {
                if case .beginSegment(let start) = event { starts.append(start) }
            }
        }
        let errors = starts.map { ($0.isDiscontinuity, $0.programDate - Camera.began - $0.time.nanoseconds) }
        #expect(errors.dropFirst().filter(\.0).map(\.1) == [-400_000_000])
        #expect(Set(errors.map(\.1)) == [0, -400_000_000])
    }
}
