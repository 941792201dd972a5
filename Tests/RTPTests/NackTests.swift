import RTP
import Testing
import Wire

@Suite struct NackTests {
    private let roundTrip = Interval.milliseconds(50)

    @Test func packetsInOrderNeedNothing() {
        var nack = NackGenerator()
        for i in 0..<1000 as Range<Int64> { nack.receive(0x1_0000 + i, now: .ms(i)) }
        #expect(nack.due(now: .ms(1000), roundTrip: roundTrip).isEmpty)
        #expect(nack.missingCount == 0 && !nack.takeNeedsKeyFrame())
    }

    @Test func gapsAreAskedForAtOnceAndWrap() {
        var nack = NackGenerator()
        nack.receive(0x1_fffd, now: .ms(0))
        nack.receive(0x2_0002, now: .ms(1))
        #expect(nack.due(now: .ms(1), roundTrip: roundTrip) == [0xfffe, 0xffff, 0, 1])
    }

    @Test func whatIsOnlyOvertakenIsNotAskedForWithinTheWait() {
        var nack = NackGenerator(reorderWait: .milliseconds(5))
        nack.receive(10, now: .ms(0))
        nack.receive(13, now: .ms(0))
        #expect(nack.due(now: .ms(4), roundTrip: roundTrip).isEmpty)
        nack.receive(11, now: .ms(4))
        #expect(nack.due(now: .ms(5), roundTrip: roundTrip) == [12])
        #expect(nack.due(now: .ms(54), roundTrip: roundTrip).isEmpty)
        #expect(nack.due(now: .ms(55), roundTrip: roundTrip) == [12])
    }

    @Test func aPacketThatCameLateIsNotAskedFor() {
        var nack = NackGenerator()
        nack.receive(10, now: .ms(0))
        nack.receive(13, now: .ms(0))
        nack.receive(11, now: .ms(1))
        nack.receive(11, now: .ms(1))
        nack.receive(3, now: .ms(1))
        #expect(nack.due(now: .ms(2), roundTrip: roundTrip) == [12])
        #expect(nack.recovered == 1)
        nack.receive(12, now: .ms(3))
        #expect(nack.due(now: .ms(500), roundTrip: roundTrip).isEmpty)
        #expect(nack.missingCount == 0 && nack.abandoned == 0)
    }

    @Test(arguments: [(0, 10), (3, 10), (10, 10), (50, 50), (120, 120)] as [(Int64, Int64)])
    func requestsAreRepeatedAfterARoundTripButNotSooner(trip: Int64, wait: Int64) {
        var nack = NackGenerator()
        nack.receive(1, now: .ms(0))
        nack.receive(3, now: .ms(0))
        #expect(nack.due(now: .ms(0), roundTrip: .milliseconds(trip)) == [2])
        #expect(nack.due(now: .ms(wait - 1), roundTrip: .milliseconds(trip)).isEmpty)
        #expect(nack.due(now: .ms(wait), roundTrip: .milliseconds(trip)) == [2])
    }

    @Test func aPacketIsGivenUpAfterTenTries() {
        var nack = NackGenerator()
        nack.receive(1, now: .ms(0))
        nack.receive(3, now: .ms(0))
        var tries = 0
        for t in 0..<900 as Range<Int64> { tries += nack.due(now: .ms(t), roundTrip: .milliseconds(10)).count }
        #expect(tries == 10 && nack.missingCount == 0 && nack.abandoned == 1 && nack.requested == 10)
        #expect(nack.takeNeedsKeyFrame() == true)
        #expect(nack.takeNeedsKeyFrame() == false)
    }

    @Test func aShortOutageOfAShortPathIsOutlasted() {
        var nack = NackGenerator()
        nack.receive(1, now: .ms(0))
        nack.receive(3, now: .ms(0))
        var asked: [Int64] = []
        for t in 0..<900 as Range<Int64> where !nack.due(now: .ms(t), roundTrip: .milliseconds(1)).isEmpty {
            asked.append(t)
        }
        // Each wait is half as long again as the one before, and never longer than 100 ms.
        #expect(asked == [0, 10, 25, 48, 82, 133, 209, 309, 409, 509])
    }

    @Test func aPacketIsGivenUpAfterASecond() {
        var nack = NackGenerator()
        nack.receive(1, now: .ms(0))
        nack.receive(3, now: .ms(0))
        var tries = 0
        for t in 0..<1000 as Range<Int64> { tries += nack.due(now: .ms(t), roundTrip: .milliseconds(300)).count }
        #expect(tries == 4 && nack.missingCount == 1 && !nack.takeNeedsKeyFrame())
        #expect(nack.due(now: .ms(1000), roundTrip: .milliseconds(300)).isEmpty)
        #expect(nack.missingCount == 0 && nack.takeNeedsKeyFrame())
    }

    @Test func aGapAboveTheLimitAsksForAKeyFrameInstead() {
        let limit = Int64(NackGenerator.maxMissing)
        var nack = NackGenerator()
        nack.receive(0, now: .ms(0))
        nack.receive(limit + 1, now: .ms(0))
        #expect(nack.missingCount == NackGenerator.maxMissing && !nack.takeNeedsKeyFrame())
        nack.receive(2 * limit + 3, now: .ms(0))
        #expect(nack.missingCount == 0 && nack.takeNeedsKeyFrame())
        nack.receive(2 * limit + 5, now: .ms(0))
        #expect(nack.due(now: .ms(0), roundTrip: roundTrip) == [UInt16(2 * limit + 4)])
    }

    @Test func theOldestMakeRoomForTheNewest() {
        var nack = NackGenerator()
        nack.receive(0, now: .ms(0))
        nack.receive(401, now: .ms(0))
        nack.receive(602, now: .ms(0))
        #expect(nack.missingCount == NackGenerator.maxMissing && nack.abandoned == 100 && nack.takeNeedsKeyFrame())
        let due = nack.due(now: .ms(0), roundTrip: roundTrip)
        #expect(due.first == 101 && due.last == 601)
    }

    @Test func oneRequestFitsADatagramAndTheRestFollows() {
        var nack = NackGenerator()
        for i in 0..<300 as Range<Int64> { nack.receive(1000 + i * 20, now: .ms(0)) }
        // Fill the gaps but for one number each: 299 entries of a NACK.
        for i in 0..<299 as Range<Int64> {
            for j in 2..<20 as Range<Int64> { nack.receive(1000 + i * 20 + j, now: .ms(0)) }
        }
        #expect(nack.missingCount < NackGenerator.maxMissing)
        let count = nack.missingCount
        var all: [UInt16] = []
        for _ in 0..<3 {
            let due = nack.due(now: .ms(1), roundTrip: roundTrip)
            var bytes: [UInt8] = []
            RTCPWriter.nack(sender: 1, media: 2, lost: due, into: &bytes)
            #expect(bytes.count <= 12 + 4 * NackGenerator.maxEntries)
            all += due
        }
        #expect(all.count == count && Set(all).count == count)
    }

    @Test(arguments: 1...6 as ClosedRange<UInt64>)
    func lossyLinkIsRepairedWithinTheLimits(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var nack = NackGenerator()
        var tries: [UInt16: Int] = [:]
        /// Packets on their way: (arrival in ms, number).
        var coming: [(at: Int64, number: Int64)] = []
        var lost: Set<Int64> = []
        let base: Int64 = 0x1_ff00
        for t in 0..<5000 as Range<Int64> {
            if t < 4000 {
                let number = base + t
                if Int.random(in: 0..<10, using: &random) == 0, t > 0, t < 3999 {
                    lost.insert(number)
                } else {
                    coming.append((t + 20 + .random(in: 0...3, using: &random), number))
                }
            }
            for packet in coming where packet.at == t {
                nack.receive(packet.number, now: .ms(t))
                lost.remove(packet.number)
            }
            coming.removeAll { $0.at <= t }
            #expect(nack.missingCount <= NackGenerator.maxMissing)
            guard t % 10 == 0 else { continue }
            for sequence in nack.due(now: .ms(t), roundTrip: .milliseconds(45)) {
                tries[sequence, default: 0] += 1
                let offset = Int64(Int16(bitPattern: sequence &- UInt16(truncatingIfNeeded: base + t)))
                #expect(base + t + offset <= base + 3999)
                if Int.random(in: 0..<5, using: &random) > 0 { coming.append((t + 40, base + t + offset)) }
            }
        }
        #expect(lost.isEmpty && nack.missingCount == 0)
        #expect((tries.values.max() ?? 0) <= Int(NackGenerator.maxTries))
        #expect(tries.count >= 300)
    }

    @Test(arguments: 1...4 as ClosedRange<UInt64>)
    func anyNumbersKeepTheBounds(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var nack = NackGenerator()
        var unwrapper = SequenceUnwrapper()
        for t in 0..<5000 as Range<Int64> {
            nack.receive(unwrapper.unwrap(.random(in: 0...0xffff, using: &random)), now: .ms(t))
            if Bool.random(using: &random) {
                nack.receive(unwrapper.highest + .random(in: 1...500, using: &random), now: .ms(t))
            }
            let due = nack.due(now: .ms(t), roundTrip: .milliseconds(.random(in: -5...2000, using: &random)))
            #expect(nack.missingCount <= NackGenerator.maxMissing && due.count <= NackGenerator.maxMissing)
        }
    }

    @Test func budgetRefillsWithTimeUpToItsSize() {
        var budget = RetransmissionBudget(bytesPerSecond: 1000, burst: 500, now: .ms(0))
        #expect(budget.take(bytes: 500, now: .ms(0)) == true)
        #expect(budget.take(bytes: 1, now: .ms(0)) == false)
        #expect(budget.take(bytes: 101, now: .ms(100)) == false)
        #expect(budget.take(bytes: 100, now: .ms(100)) == true)
        #expect(budget.available(now: .ms(1_000_000_000)) == 500)
        #expect(budget.take(bytes: 501, now: .ms(2_000_000_000)) == false)
        #expect(budget.take(bytes: -1, now: .ms(2_000_000_000)) == false)
        #expect(budget.available(now: .ms(0)) == 500)
        #expect(budget.take(bytes: .max, now: Instant(nanoseconds: .max)) == false)
    }

    @Test func budgetLosesNothingToRounding() {
        var budget = RetransmissionBudget(bytesPerSecond: 7, burst: 100, now: .us(0))
        #expect(budget.take(bytes: 100, now: .us(0)) == true)
        for t in 1...10_000 as ClosedRange<Int64> { #expect(budget.take(bytes: 100, now: .us(t * 1000)) == false) }
        #expect(budget.available(now: .ms(10_000)) == 70)
    }
}
