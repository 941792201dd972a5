import LoadGenerator
import Testing

/// What a player of the load counts: numbers that are missing, numbers that come twice, packets of measured frames.
@Suite struct PlayerTrackTests {
    private static let ticks: UInt32 = 3_000

    private func track(of sequences: [UInt16]) -> PlayerTrack {
        var track = PlayerTrack()
        for sequence in sequences { _ = track.accept(sequence) }
        return track
    }

    private func run(from first: UInt16, count: Int) -> [UInt16] { (0..<count).map { first &+ UInt16($0) } }

    // MARK: Numbers

    @Test func nothingHasNoGaps() {
        #expect(PlayerTrack().gaps == 0 && PlayerTrack().duplicates == 0)
    }

    @Test(arguments: [0, 1, 500, 65_000, 65_535] as [UInt16])
    func anUnbrokenRunHasNeitherGapsNorDuplicates(first: UInt16) {
        let track = track(of: run(from: first, count: 3_000))
        #expect(track.received == 3_000 && track.gaps == 0 && track.duplicates == 0)
    }

    @Test func numbersGrowThroughEveryWrap() {
        var track = PlayerTrack()
        var last: Int64?
        for index in 0..<200_000 {
            let number = track.accept(UInt16(truncatingIfNeeded: 40_000 + index))
            if let last, number != last + 1 {
                Issue.record("\(String(describing: number)) after \(last)")
                return
            }
            last = number
        }
        #expect(track.received == 200_000 && track.gaps == 0 && track.duplicates == 0)
    }

    @Test(arguments: [100, 65_530] as [UInt16]) func whatIsMissingIsAGapUntilItComes(first: UInt16) {
        var track = track(of: run(from: first, count: 20).enumerated().filter { ![5, 6, 11].contains($0.0) }.map(\.1))
        #expect(track.gaps == 3 && track.received == 17)
        for late in [11, 5, 6] as [UInt16] { #expect(track.accept(first &+ late) != nil) }
        #expect(track.gaps == 0 && track.received == 20 && track.duplicates == 0)
    }

    @Test(arguments: [100, 65_530] as [UInt16]) func everyOrderCountsTheSame(first: UInt16) {
        let numbers = run(from: first, count: 12)
        for order in [Array(numbers.reversed()), numbers.filter { $0 % 2 == 0 } + numbers.filter { $0 % 2 == 1 }] {
            let track = track(of: order)
            #expect(track.received == 12 && track.gaps == 0 && track.duplicates == 0)
        }
    }

    @Test(arguments: [100, 65_530] as [UInt16]) func whatComesAgainIsADuplicateAndNothingElse(first: UInt16) {
        var track = track(of: run(from: first, count: 20).filter { $0 != first &+ 4 })
        for again in [19, 0, 10, 10] as [UInt16] { #expect(track.accept(first &+ again) == nil) }
        #expect(track.duplicates == 4 && track.received == 19 && track.gaps == 1)
        track.countDuplicate()
        #expect(track.duplicates == 5)
    }

    @Test func aLongHoleIsCountedWhole() {
        // Longer than what is told apart one by one.
        var track = track(of: [10, 11, 2_011, 2_012])
        #expect(track.gaps == 1_999 && track.received == 4)
        #expect(track.accept(2_010) != nil && track.accept(2_010) == nil)
        #expect(track.gaps == 1_998 && track.duplicates == 1)
    }

    @Test func whatIsTooOldToBeToldApartIsNotTakenForNews() {
        var track = track(of: run(from: 0, count: 2_000).filter { $0 != 500 && $0 != 1_500 })
        #expect(track.gaps == 2)
        #expect(track.accept(500) == nil, "1,499 numbers ago")
        #expect(track.accept(1_500) != nil)
        #expect(track.gaps == 1 && track.duplicates == 1)
    }

    // MARK: Measured frames

    /// As of a server that re-encodes. Nothing at all is another matter: that is lost.
    @Test func onlyWhatCameWithoutAnyMarkIsUnmarked() {
        #expect(!PlayerTrack().isUnmarked)
        var track = track(of: [1, 2, 3])
        #expect(track.isUnmarked)
        track.learn(timestamp: 9_000, frame: 1, ticks: Self.ticks)
        #expect(!track.isUnmarked)
    }

    /// Frames of three packets each, as the publisher sent them at 100 ms times their number.
    private func clock(measured: Range<Int64>, sent: Range<Int64>) -> TrackClock {
        let clock = TrackClock()
        clock.windowStart.store(measured.lowerBound, ordering: .relaxed)
        clock.windowEnd.store(measured.upperBound, ordering: .relaxed)
        for frame in sent { clock.sent(frame: frame, at: frame * 100_000_000) }
        return clock
    }

    /// - Parameter base: timestamp of frame 0.
    private func receive(
        frames: Range<Int64>, except lost: Set<UInt16> = [], base: UInt32 = 0, knowing: Bool = true, _ clock: TrackClock
    ) -> (track: PlayerTrack, delays: [Int64?]) {
        var track = PlayerTrack()
        if knowing { track.learn(timestamp: base &+ 7 &* Self.ticks, frame: 7, ticks: Self.ticks) }
        var delays: [Int64?] = []
        for frame in frames {
            for part in 0..<3 {
                let sequence = UInt16(truncatingIfNeeded: frame * 3 + Int64(part))
                guard !lost.contains(sequence), track.accept(sequence) != nil else { continue }
                delays.append(
                    track.deliver(
                        timestamp: base &+ UInt32(frame) &* Self.ticks, ticks: Self.ticks,
                        arrival: frame * 100_000_000 + Int64(part) * 1_000_000, clock: clock))
            }
        }
        return (track, delays)
    }

    /// The timestamps wrap in the middle of the second one.
    @Test(arguments: [0, UInt32.max - 20 * 3_000]) func onlyFramesOfTheWindowCount(base: UInt32) {
        let (track, delays) = receive(frames: 0..<40, base: base, clock(measured: 10..<30, sent: 0..<40))
        #expect(track.delivered == 60)
        #expect(delays.map { $0 != nil } == (0..<120).map { (30..<90).contains($0) })
        #expect(delays.compactMap(\.self) == (0..<60).map { Int64($0 % 3) * 1_000_000 })
    }

    @Test func lossCountsInsideTheWindowUpToItsBorders() {
        let clock = clock(measured: 10..<30, sent: 0..<40)
        let outside = receive(frames: 0..<40, except: [29, 90], clock).track
        #expect(outside.delivered == 60 && outside.gaps == 2, "the packets before and behind the window")
        let inside = receive(frames: 0..<40, except: [30, 89], clock).track
        #expect(inside.delivered == 58 && inside.gaps == 2, "the first and the last packet of the window")
    }

    @Test func windowThatHasNotBegunCountsNothing() {
        let (track, delays) = receive(frames: 0..<10, TrackClock())
        #expect(track.delivered == 0 && delays.allSatisfy { $0 == nil })
    }

    @Test func framesAreUnknownWithoutAMark() {
        let (track, delays) = receive(frames: 10..<20, knowing: false, clock(measured: 0..<30, sent: 0..<40))
        #expect(track.delivered == 0 && delays.allSatisfy { $0 == nil } && track.received == 30)
    }

    @Test func delayIsZeroWhileTheFrameIsBeingSentAndLongWhenItIsForgotten() {
        let capacity = Int64(TrackClock.capacity)
        let clock = clock(measured: 0..<(.max), sent: 0..<(capacity + 1))
        let (track, delays) = receive(frames: (capacity + 1)..<(capacity + 2), clock)
        #expect(track.delivered == 3 && delays == [0, 0, 0], "not sent yet")
        let (old, late) = receive(frames: 0..<1, clock)
        #expect(old.delivered == 3 && late == Array(repeating: PlayerTrack.tooLate, count: 3))
    }
}
