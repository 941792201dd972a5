import HLS
import MediaFormats
import Testing
import Wire

@Suite struct SegmenterTests {
    /// The rules of RFC 8216bis for parts and segments (§4.4.3.1, §4.4.4.9, §6.2.1), and that the line has no holes.
    private func checkRules(_ result: Segmented, _ settings: Segmenter.Settings = .init()) {
        let target = settings.partTarget
        var end = Interval.zero
        for (index, segment) in result.segments.enumerated() {
            #expect(segment.start.time == end, "segment \(index) begins where the one before ends")
            #expect(segment.duration.seconds.rounded() <= Double(settings.targetDuration), "segment \(index)")
            #expect(!segment.parts.isEmpty)
            for (place, part) in segment.parts.enumerated() {
                #expect(part.start == end)
                end = part.start + part.duration
                #expect(part.duration > .zero && part.duration <= target, "part \(place) of \(index)")
                let isLast = place == segment.parts.count - 1
                #expect(
                    isLast || part.duration.nanoseconds * 100 >= target.nanoseconds * 85, "part \(place) of \(index)")
                for samples in part.samples {
                    // The first may be late by what the part before has been guessed.
                    #expect(samples.dropFirst().allSatisfy { $0.decodeTime >= part.start && $0.decodeTime < end })
                }
            }
        }
    }

    /// One picture after the other; each reaches exactly to the next.
    private func checkLine(_ samples: [Sample], mayOverlap: Bool = false) {
        for (sample, next) in zip(samples, samples.dropFirst()) {
            #expect(sample.decodeTime < next.decodeTime)
            if !mayOverlap { #expect(sample.end == next.decodeTime) }
        }
    }

    @Test func steadyStreamGivesEachFrameOnceInSegmentsOfTheWantedLength() {
        let result = segment(Publisher(), for: .seconds(60))
        checkRules(result)
        let pictures = result.samples(0)
        checkLine(pictures)
        #expect(pictures.map(number) == Array(0..<pictures.count))
        #expect(pictures.count >= 1_800)
        // The first three are short, then two seconds and a picture or two.
        #expect(result.segments.prefix(3).allSatisfy { $0.duration < .milliseconds(800) })
        #expect(
            result.segments.dropFirst(3).dropLast().allSatisfy {
                $0.duration > .milliseconds(1_900) && $0.duration < .milliseconds(2_300)
            })
        #expect(
            result.segments.allSatisfy { $0.parts[0].samples[0].first?.isKeyFrame == true && $0.start.isIndependent })
        #expect(result.counts.forcedCuts == 0 && result.counts.silence <= 1 && result.longGroups == [])
        let sounds = result.samples(1)
        // What was before the first picture is left out.
        #expect(sounds.count >= 2_998 && sounds.allSatisfy { $0.data[0] == 0x7c || $0.data[0] == 0xfc })
    }

    @Test func partsComeAsSoonAsTheNextPictureIsThere() {
        let result = segment(Publisher(), for: .seconds(20))
        // A part is given out when the picture arrives that begins the next one; sound is 20 ms behind at most.
        #expect(result.delays.dropLast().allSatisfy { $0 >= .zero && $0 <= .milliseconds(35) })
    }

    @Test(arguments: [60, 50, 30, 25, 24, 20, 15, 12, 10, 8, 5, 3, 1]) func anyFrameRateKeepsTheRules(rate: Int) {
        var publisher = Publisher()
        publisher.interval = .nanoseconds(1_000_000_000 / Int64(rate))
        let result = segment(publisher, for: .seconds(40))
        checkRules(result)
        let pictures = result.samples(0)
        #expect(pictures.map(number) == Array(0..<pictures.count))
        #expect(pictures.count >= 40 * rate)
    }

    @Test(arguments: [1, 2, 3, 4, 5, 6, 7, 8] as [UInt64]) func unevenPicturesAndLostOnesKeepTheRules(seed: UInt64) {
        var publisher = Publisher()
        var dice = Dice(seed)
        publisher.interval = .milliseconds(Int64.random(in: 16...120, using: &dice))
        publisher.jitter = .nanoseconds(publisher.interval.nanoseconds * Int64.random(in: 10...90, using: &dice) / 100)
        publisher.drops = Int.random(in: 0...40, using: &dice)
        publisher.soundDelay = .milliseconds(Int64.random(in: 0...150, using: &dice))
        let frames = publisher.frames(.seconds(60), seed: seed)
        let result = segment(publisher, for: .seconds(60), seed: seed)
        checkRules(result)
        // Everything that was sent, in order, once.
        let sent = frames.filter { $0.frame.track == 0 }.count
        #expect(result.samples(0).count == sent)
        checkLine(result.samples(0), mayOverlap: true)
        #expect(result.counts.late == 0)
        #expect(result.counts.silence <= 1)
    }

    @Test func partsBeginWithAPictureWhereOneBeginsInTime() {
        var publisher = Publisher()
        // Seven pictures are sometimes just too few for what a part aims at, and eight are always too many.
        publisher.interval = .milliseconds(40)
        publisher.jitter = .milliseconds(5)
        let result = segment(publisher, for: .seconds(30))
        checkRules(result)
        for segment in result.segments {
            #expect(segment.parts.allSatisfy { $0.samples[0].first?.decodeTime == $0.start })
        }
    }

    @Test func partsMayBeOfAnyLengthThatIsAskedFor() {
        for milliseconds in [200, 250, 333, 500, 1_000] as [Int64] {
            var settings = Segmenter.Settings()
            settings.partDuration = .milliseconds(milliseconds)
            settings.segmentDuration = .seconds(milliseconds > 500 ? 4 : 2)
            let result = segment(Publisher(), for: .seconds(30), settings: settings)
            checkRules(result, settings)
        }
    }

    @Test func publisherThatIgnoresRequestsIsNamedAndSegmentsStayShortEnough() {
        var publisher = Publisher()
        publisher.answer = nil
        publisher.group = 300
        let result = segment(publisher, for: .seconds(61))
        checkRules(result)
        #expect(result.longGroups == [true])
        #expect(result.counts.forcedCuts >= 10)
        // Where a key frame comes, a segment begins with it.
        let keys = result.segments.filter { $0.parts[0].samples[0].first?.isKeyFrame == true }
        #expect(keys.count == 7)
        #expect(
            result.segments.allSatisfy {
                $0.start.isIndependent == ($0.parts[0].samples[0].first?.isKeyFrame == true)
            })
    }

    @Test func publisherWithShortGroupsOfItsOwnIsCutAtThem() {
        for group in [15, 30, 45, 60] {
            var publisher = Publisher()
            publisher.answer = nil
            publisher.group = group
            let result = segment(publisher, for: .seconds(60))
            checkRules(result)
            #expect(result.longGroups == [], "groups of \(group)")
            #expect(result.counts.forcedCuts <= 1, "groups of \(group)")
        }
    }

    @Test func longGroupsThatBecomeShortAreNamedNoMore() {
        var publisher = Publisher()
        publisher.answer = nil
        publisher.group = 300
        var isShort = false
        let result = segment(publisher, for: .seconds(60)) { frame in
            guard frame.track == 0 else { return }
            if frame.time > .seconds(30) { isShort = true }
            if isShort, !frame.isKeyFrame, frame.time.nanoseconds / 1_000_000_000 % 2 == 0,
                frame.time.nanoseconds % 1_000_000_000 < 33_000_000
            {
                frame = keyFrame(frame)
            }
        }
        #expect(result.longGroups == [true, false])
    }

    @Test func soundAloneIsCutLikePictures() {
        var publisher = Publisher()
        publisher.hasVideo = false
        let result = segment(publisher, for: .seconds(30))
        checkRules(result)
        #expect(result.samples(0).count == 1_500)
        checkLine(result.samples(0))
        #expect(result.segments.allSatisfy { $0.start.isIndependent })
        #expect(result.requests == 0)
    }

    @Test func picturesAloneNeedNoSound() {
        var publisher = Publisher()
        publisher.hasAudio = false
        let result = segment(publisher, for: .seconds(30))
        checkRules(result)
        #expect(result.samples(0).count >= 900)
        checkLine(result.samples(0))
    }

    @Test func pausedPictureHoldsNothingUpAndSoundGoesOn() {
        var publisher = Publisher()
        publisher.videoPause = .seconds(5)..<Interval.seconds(15)
        let result = segment(publisher, for: .seconds(25))
        checkRules(result)
        #expect(result.samples(1).count >= 1_247)
        #expect(result.counts.silence <= 1 && result.counts.late == 0)
        // Late by the wait for pictures at most, and one tick.
        #expect(result.delays.dropLast().allSatisfy { $0 <= .milliseconds(600) })
        #expect(result.counts.discontinuities == 0)
    }

    @Test func mutedSoundBecomesSilenceAndComesBackInTime() {
        var publisher = Publisher()
        publisher.audioPause = .seconds(5)..<Interval.seconds(15)
        let result = segment(publisher, for: .seconds(25))
        checkRules(result)
        let sounds = result.samples(1)
        let silent = sounds.count { $0.data[0] == 0xfc }
        #expect((499...502).contains(silent))
        for (sample, next) in zip(sounds, sounds.dropFirst()) {
            // No hole of a frame, no overlap of half a one.
            #expect(next.time - sample.end < .milliseconds(16) && sample.end - next.time < .milliseconds(11))
        }
        // After the first wait, parts do not wait for sound that does not come.
        let slow = result.delays.dropLast().filter { $0 > .milliseconds(100) }
        #expect(slow.count <= 2)
    }

    @Test func soundOfAnnouncedButAbsentPictureBeginsAloneAndPictureJoins() {
        var publisher = Publisher()
        publisher.videoPause = .zero..<Interval.seconds(8)
        publisher.group = 1
        let result = segment(publisher, for: .seconds(20))
        checkRules(result)
        let joined = result.segments.firstIndex { !$0.parts[0].samples[0].isEmpty }
        #expect(joined != nil && joined != 0)
        let join = result.segments[joined ?? 0].start
        #expect(join.isDiscontinuity && join.tracks?.compactMap { $0 }.count == 2)
        #expect(result.segments[0].start.tracks?.compactMap { $0 }.count == 1)
    }

    @Test func newParameterSetsBeginASegmentWithADiscontinuity() {
        var larger = Clip.sps
        larger[3] = 0x1e
        let result = segment(Publisher(), for: .seconds(20)) { frame in
            guard frame.track == 0, frame.time >= .milliseconds(9_500), frame.isKeyFrame else { return }
            frame.parameterSets = [larger, Clip.pps]
            frame.size = VideoSize(width: 640, height: 360)
        }
        checkRules(result)
        let cuts = result.segments.filter { $0.start.isDiscontinuity }
        #expect(cuts.count == 1)
        #expect(cuts.first?.start.tracks?[0]?.size == VideoSize(width: 640, height: 360))
        // The line itself goes on.
        checkLine(result.samples(0))
    }

    @Test func clockThatJumpsBecomesADiscontinuityWithoutAHole() {
        let result = segment(Publisher(), for: .seconds(20)) { frame in
            if frame.time >= .seconds(9) { frame.time = frame.time + .seconds(3_600) }
        }
        #expect(result.segments.filter { $0.start.isDiscontinuity }.count == 1)
        #expect(result.counts.discontinuities == 1)
        checkRules(result)
        #expect(result.segments.last.map { $0.start.time < .seconds(20) } == true)
        // The date does not jump back.
        for (segment, next) in zip(result.segments, result.segments.dropFirst()) {
            #expect(next.start.programDate > segment.start.programDate)
        }
    }

    @Test func picturesOutOfOrderAreDecodedInTheirOrderAndShownInTime() {
        // I P B B P B B …: shown at 0 3 1 2 6 4 5
        let shown = [0, 3, 1, 2].map(Int64.init)
        var segmenter = Segmenter(tracks: [Clip.h264], unixTimeAtZero: 0)
        var result = Segmented()
        for index in 0..<300 {
            let place = index == 0 ? 0 : Int64((index - 1) / 3 * 3) + shown[(index - 1) % 3 + 1]
            let frame = Clip.picture(index, at: .milliseconds(40 * place), isKey: index == 0)
            let now = Interval.milliseconds(40 * Int64(index) + 80)
            result.take(segmenter.append(frame, now: .at(now)), now: now, streamStart: .zero)
        }
        result.take(segmenter.finish(), now: .zero, streamStart: .zero)
        let samples = result.samples(0)
        #expect(samples.map(number) == Array(0..<300))
        checkLine(samples)
        for sample in samples {
            let index = number(sample)
            let place = index == 0 ? 0 : Int64((index - 1) / 3 * 3) + shown[(index - 1) % 3 + 1]
            #expect(sample.time == .milliseconds(40 * place))
        }
    }

    @Test func twoHoursStayInTimeAndInMemory() {
        var publisher = Publisher()
        publisher.interval = .nanoseconds(1_000_000_000_000 / 29_970)
        let result = segment(publisher, for: .seconds(7_200))
        #expect(result.segments.allSatisfy { $0.duration.seconds.rounded() <= 2 })
        let end = result.segments.last.map { $0.start.time + $0.duration } ?? .zero
        #expect(end > .seconds(7_199) && end < .seconds(7_201))
        // Program dates keep step with the line.
        let drift = result.segments.map { $0.start.programDate - 1_700_000_000_000_000_000 - $0.start.time.nanoseconds }
        #expect(Set(drift).count == 1)
        let sounds = result.samples(1)
        #expect(sounds.count > 359_900 && result.counts.silence <= 1)
    }

    @Test func everythingThatHasComeGoesOutAtTheEnd() {
        var segmenter = Segmenter(tracks: [Clip.h264, Clip.opus], unixTimeAtZero: 0)
        var result = Segmented()
        for index in 0..<5 {
            let time = Interval.milliseconds(Int64(40 * index))
            result.take(
                segmenter.append(Clip.picture(index, at: time, isKey: index == 0), now: .at(time)), now: time,
                streamStart: .zero)
        }
        result.take(segmenter.finish(), now: .zero, streamStart: .zero)
        #expect(result.samples(0).map(number) == [0, 1, 2, 3, 4])
        #expect(!result.open && result.segments.count == 1)
        #expect(result.segments[0].duration == .milliseconds(200))
    }

    @Test func nothingComesOutBeforeAKeyFrameHasCome() {
        var segmenter = Segmenter(tracks: [Clip.h264], unixTimeAtZero: 0)
        var events: [Segmenter.Event] = []
        for index in 0..<50 {
            let time = Interval.milliseconds(Int64(40 * index))
            events += segmenter.append(Clip.picture(index, at: time, isKey: false), now: .at(time))
        }
        // Asked for at once, and every half second again.
        #expect(events == [.needKeyFrame, .needKeyFrame, .needKeyFrame, .needKeyFrame])
        #expect(segmenter.counts.beforeKeyFrame == 50)
        #expect(segmenter.finish() == [])
    }
}
