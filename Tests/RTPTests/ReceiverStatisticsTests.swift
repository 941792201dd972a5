import RTP
import Testing
import Wire

@Suite struct ReceiverStatisticsTests {
    /// Packets of 20 ms at 8 kHz, on time.
    private func feed(_ statistics: inout ReceiverStatistics, _ numbers: [UInt16]) {
        for n in numbers {
            statistics.receive(
                sequence: n, timestamp: UInt32(n) &* 160, arrival: .ms(Int64(n) * 20), clockRate: 8000)
        }
    }

    @Test func nothingReceivedReportsNothing() {
        var s = ReceiverStatistics()
        #expect(!s.hasReceived)
        #expect(s.reportBlock(ssrc: 5, now: .ms(1)) == ReportBlock(ssrc: 5))
    }

    @Test func lossesAreCountedInTotalAndPerInterval() {
        var s = ReceiverStatistics()
        feed(&s, [10, 11, 13, 14, 15, 17, 18, 19])
        let first = s.reportBlock(ssrc: 1, now: .zero)
        // 2 of 10
        #expect(first.cumulativeLost == 2 && first.fractionLost == 51 && first.highestSequence == 19)
        feed(&s, Array(20..<30))
        let second = s.reportBlock(ssrc: 1, now: .zero)
        #expect(second.cumulativeLost == 2 && second.fractionLost == 0)
        feed(&s, [39])
        let third = s.reportBlock(ssrc: 1, now: .zero)
        #expect(third.cumulativeLost == 11 && third.fractionLost == 230)
    }

    @Test func latePacketsLowerTheLossAndDuplicatesCanMakeItNegative() {
        var s = ReceiverStatistics()
        feed(&s, [1, 2, 4, 3])
        #expect(s.cumulativeLost == 0 && s.highestSequence == 4)
        feed(&s, [4, 4, 4])
        let block = s.reportBlock(ssrc: 1, now: .zero)
        #expect(block.cumulativeLost == -3 && block.fractionLost == 0)
    }

    @Test func sequenceNumbersRollOver() {
        var s = ReceiverStatistics()
        feed(&s, [65_533, 65_534, 0, 65_535, 1])
        #expect(s.highestSequence == 0x1_0001 && s.cumulativeLost == 0)
        for i in 2..<200_000 {
            s.receive(sequence: UInt16(truncatingIfNeeded: i), timestamp: 0, arrival: .zero, clockRate: 8000)
        }
        #expect(s.highestSequence == 0x1_0000 + 199_999 && s.cumulativeLost == 0 && s.packets == 200_003)
    }

    @Test func aSingleStrayNumberIsNotCounted() {
        var s = ReceiverStatistics()
        feed(&s, [1, 2, 30_000, 3, 4])
        #expect(s.highestSequence == 4 && s.packets == 4 && s.restarts == 0)
    }

    @Test func twoInARowAtANewPlaceStartAnew() {
        var s = ReceiverStatistics()
        feed(&s, [1, 2, 30_000, 30_001, 30_002])
        #expect(s.highestSequence == 30_002 && s.restarts == 1 && s.cumulativeLost == 0)
    }

    @Test func stepsAtTheLimitsAreDropoutAndReordering() {
        var s = ReceiverStatistics()
        feed(&s, [1000, 1000 + ReceiverStatistics.maxDropout - 1])
        #expect(s.highestSequence == 3999 && s.cumulativeLost == 2998)
        feed(&s, [3999 - ReceiverStatistics.maxMisorder + 1])
        #expect(s.packets == 3)
        feed(&s, [3999 + ReceiverStatistics.maxDropout, 3999 - ReceiverStatistics.maxMisorder])
        #expect(s.packets == 3)
    }

    @Test func steadyArrivalHasNoJitter() {
        var s = ReceiverStatistics()
        feed(&s, Array(0..<500))
        #expect(s.jitter == 0)
    }

    @Test(arguments: [8000, 48_000, 90_000])
    func jitterFollowsTheEstimatorOfTheRFC(rate: Int) {
        var s = ReceiverStatistics()
        var random = SeededRandom(seed: UInt64(rate))
        var expected = 0.0
        var last: Double?
        // Wraps of the timestamp and a clock that has run for a year are of no account.
        let begin: Int64 = 31_536_000_000
        for i in 0..<2000 {
            let timestamp = UInt32(truncatingIfNeeded: 0xffff_0000 + i * rate / 50)
            let arrival = begin + Int64(i) * 20 + Int64.random(in: 0...30, using: &random)
            s.receive(
                sequence: UInt16(truncatingIfNeeded: i), timestamp: timestamp, arrival: .ms(arrival), clockRate: rate)
            let transit = Double(arrival - begin) * Double(rate) / 1000 - Double(i * rate / 50)
            if let last { expected += (abs(transit - last) - expected) / 16 }
            last = transit
        }
        #expect(abs(Double(s.jitter) - expected) < 3)
        #expect(expected > Double(rate) / 1000 * 5)
    }

    @Test func aJumpOfTheSourceClockIsNotJitter() {
        var s = ReceiverStatistics()
        s.receive(sequence: 1, timestamp: 0, arrival: .ms(0), clockRate: 90_000)
        s.receive(sequence: 2, timestamp: 0x7000_0000, arrival: .ms(20), clockRate: 90_000)
        s.receive(sequence: 3, timestamp: 0x7000_0000 + 1800, arrival: .ms(40), clockRate: 90_000)
        #expect(s.jitter == 0)
    }

    @Test func clockRatesThatCannotBeAreHarmless() {
        for rate in [0, -1, .min, .max] {
            var s = ReceiverStatistics()
            s.receive(sequence: 1, timestamp: 0, arrival: Instant(nanoseconds: .max), clockRate: rate)
            s.receive(sequence: 2, timestamp: .max, arrival: Instant(nanoseconds: .min), clockRate: rate)
            #expect(s.packets == 2)
        }
    }

    @Test func senderReportsAreAnsweredWithTheirAge() {
        // The example of RFC 3550 §6.4.1 (figure 2)
        var s = ReceiverStatistics()
        let ntp = NTPTime(rawValue: 0xb44d_b705_2000_0000)
        s.receiveSenderReport(ntp: ntp, arrival: .ms(1_000_000))
        let block = s.reportBlock(ssrc: 1, now: .ms(1_005_250))
        #expect(block.lastSR == 0xb705_2000 && block.delaySinceLastSR == 0x0005_4000)
        #expect(s.reportBlock(ssrc: 1, now: .ms(2_000_000_000)).delaySinceLastSR == .max)
        #expect(s.reportBlock(ssrc: 1, now: .ms(0)).delaySinceLastSR == 0)
    }

    @Test func wallClockBecomesNTPAndBack() {
        // 1995-11-10 11:33:25.125 UTC, RFC 3550 §6.4.1
        let time = NTPTime(unixNanoseconds: 816_003_205_125_000_000)
        #expect(time.rawValue == 0xb44d_b705_2000_0000 && time.middle32 == 0xb705_2000)
        #expect(time.unixNanoseconds == 816_003_205_125_000_000)
        for ns in [0, 1, 999_999_999, 1_763_700_000_123_456_789] as [UInt64] {
            #expect(NTPTime(unixNanoseconds: ns).unixNanoseconds == ns)
        }
    }
}
