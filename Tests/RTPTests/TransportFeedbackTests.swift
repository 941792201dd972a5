import RTP
import Testing
import Wire

@Suite struct TransportFeedbackTests {
    private func feedback(_ bytes: [UInt8]) throws -> TransportFeedback {
        guard case .transportFeedback(let feedback) = try parse(bytes).first else {
            throw WireError.malformed("not transport feedback")
        }
        return feedback
    }

    @Test func oneSmallDeltaIsRead() throws {
        let f = try feedback(hex("afcd0005 fa17fa17 43032fa0 00990001 3de80217 2001 94 01"))
        #expect(f.sender == 0xfa17_fa17 && f.media == 0x4303_2fa0 && f.base == 153 && f.statusCount == 1)
        #expect(f.reference == 4_057_090 && f.feedbackCount == 23)
        #expect(f.received.map(\.sequence) == [153] && f.received.map(\.ticks) == [4_057_090 * 256 + 148])
    }

    @Test func runsAndBothKindsOfVectorsAreRead() throws {
        // Run of 3 lost; one-bit vector 10000000000001; two-bit vector: small, large (then the count ends)
        let f = try feedback(hex("afcd0007 00000001 00000002 fffe0013 00000a00 0003 a001 d800 01 02 ff fff6 01"))
        #expect(f.statusCount == 19 && f.feedbackCount == 0 && f.reference == 10)
        #expect(f.received.map(\.sequence) == [1, 14, 15, 16])
        #expect(f.received.map(\.ticks) == [2561, 2563, 2818, 2808])
        #expect(f.lost == [0xfffe, 0xffff, 0] + Array(2...13))
        #expect(f.lostCount == 15)
    }

    @Test func referenceTimeIsSigned() throws {
        let f = try feedback(hex("afcd0005 00000001 00000002 00000001 ffffff00 2001 00 01"))
        #expect(f.reference == -1 && f.received.first?.ticks == -256)
    }

    @Test func feedbackThatContradictsItselfIsRefused() {
        // No packets; chunks missing; deltas missing; reserved symbol in a run and in a vector
        for text in [
            "8fcd0004 00000001 00000002 00000000 00000000",
            "8fcd0004 00000001 00000002 00000001 00000000",
            "8fcd0005 00000001 00000002 00000003 00000000 2003 0101",
            "8fcd0005 00000001 00000002 00000001 00000000 6001 0101",
            "8fcd0005 00000001 00000002 00000001 00000000 f000 0101",
            "8fcd0005 00000001 00000002 00000001 00000000 0000 0000",
        ] {
            #expect(throws: WireError.self, "\(text)") { try feedback(hex(text)) }
        }
    }

    @Test func aFewBytesThatTellOfManyLossesTakeNoMemory() throws {
        let f = try feedback(
            hex("afcd0009 00000001 00000002 0000ffff 00000000") + hex("1fff1fff1fff1fff1fff1fff1fff1fff 0007 0002"))
        #expect(f.statusCount == 65_535 && f.received.isEmpty && f.lost.count == 65_535)
    }

    @Test func nothingReceivedGivesNoFeedback() {
        var recorder = TransportFeedbackRecorder()
        var bytes: [UInt8] = []
        #expect(recorder.makeFeedback(senderSSRC: 1, mediaSSRC: 2, into: &bytes) == false)
        #expect(bytes.isEmpty)
        recorder.receive(sequence: 5, arrival: .ms(1))
        #expect(recorder.makeFeedback(senderSSRC: 1, mediaSSRC: 2, into: &bytes) == true)
        #expect(recorder.makeFeedback(senderSSRC: 1, mediaSSRC: 2, into: &bytes) == false)
    }

    @Test func bytesAreAsTheDraftHasThem() {
        var recorder = TransportFeedbackRecorder()
        // 65 ms: reference 1, delta 4 ticks; then one lost, one 10 ms later, one 1 ms before that
        recorder.receive(sequence: 7, arrival: .ms(65))
        recorder.receive(sequence: 9, arrival: .ms(75))
        recorder.receive(sequence: 10, arrival: .ms(74))
        var bytes: [UInt8] = []
        #expect(recorder.makeFeedback(senderSSRC: 0x0a, mediaSSRC: 0x0b, into: &bytes) == true)
        // two-bit vector: small, lost, small, large
        #expect(bytes == hex("afcd0006 0000000a 0000000b 00070004 00000100 d180 04 28 fffc 0002"))
    }

    @Test func longRunsOfOneKindTakeOneChunk() throws {
        var recorder = TransportFeedbackRecorder()
        for i in 0..<400 as Range<UInt16> { recorder.receive(sequence: i, arrival: .ms(Int64(i))) }
        var bytes: [UInt8] = []
        #expect(recorder.makeFeedback(senderSSRC: 1, mediaSSRC: 2, into: &bytes) == true)
        #expect(bytes.count == 20 + 2 + 400 + 2)
        #expect(try feedback(bytes).received.count == 400)
    }

    @Test func lossesAtTheBeginningOfAnIntervalAreToldOf() throws {
        var recorder = TransportFeedbackRecorder()
        recorder.receive(sequence: 65_534, arrival: .ms(0))
        #expect(try recorder.drain().map(\.base) == [65_534])
        recorder.receive(sequence: 2, arrival: .ms(5))
        let second = try recorder.drain()
        #expect(second.count == 1 && second[0].base == 65_535 && second[0].lost == [65_535, 0, 1])
        #expect(second[0].received.map(\.sequence) == [2] && second[0].feedbackCount == 1)
    }

    @Test func aLatePacketCorrectsTheLoss() throws {
        var recorder = TransportFeedbackRecorder()
        for i in [1, 2, 4, 5] as [UInt16] { recorder.receive(sequence: i, arrival: .ms(Int64(i))) }
        #expect(try recorder.drain().first?.lost == [3])
        recorder.receive(sequence: 3, arrival: .ms(60))
        let again = try recorder.drain()
        #expect(again.first?.base == 3 && again.first?.received.map(\.sequence) == [3, 4, 5])
        // A duplicate of what was told is no news.
        recorder.receive(sequence: 4, arrival: .ms(70))
        #expect(try recorder.drain().isEmpty)
        // Nor is a packet from long ago.
        for i in 6...1000 as ClosedRange<UInt16> where i != 20 { recorder.receive(sequence: i, arrival: .ms(Int64(i))) }
        _ = try recorder.drain()
        recorder.receive(sequence: 20, arrival: .ms(1001))
        #expect(try recorder.drain().isEmpty)
    }

    @Test func arrivalsTooFarApartAreSplit() throws {
        var recorder = TransportFeedbackRecorder()
        recorder.receive(sequence: 1, arrival: .ms(0))
        recorder.receive(sequence: 2, arrival: .ms(8191))
        recorder.receive(sequence: 3, arrival: .ms(8191 + 8193))
        recorder.receive(sequence: 4, arrival: .ms(0))
        let all = try recorder.drain()
        #expect(all.map { $0.received.map(\.sequence) } == [[1, 2], [3], [4]])
        #expect(all.map(\.feedbackCount) == [0, 1, 2])
        let milliseconds = all.flatMap { $0.received.map { $0.ticks / 4 } }
        #expect(milliseconds == [0, 8191, 16_384, 0])
    }

    @Test func oneCallFitsADatagramAndTheRestFollows() throws {
        var recorder = TransportFeedbackRecorder()
        for i in 0..<4000 as Range<UInt16> { recorder.receive(sequence: i, arrival: .us(Int64(i) * 70_000)) }
        let all = try recorder.drain()
        #expect(all.count > 4)
        #expect(all.flatMap { $0.received.map(\.sequence) } == Array(0..<4000))
    }

    @Test func aHugeJumpForgetsWhatDoesNotFit() throws {
        var recorder = TransportFeedbackRecorder()
        recorder.receive(sequence: 0, arrival: .ms(0))
        recorder.receive(sequence: 30_000, arrival: .ms(1))
        let all = try recorder.drain()
        #expect(all.count == 1 && all[0].received.map(\.sequence) == [30_000])
        #expect(all[0].statusCount == TransportFeedbackRecorder.capacity)
    }

    @Test func feedbackCountAndReferenceWrap() throws {
        var recorder = TransportFeedbackRecorder()
        var counts: [UInt8] = []
        // 2^24 * 64 ms is 12.4 days
        let begin: Int64 = 0x100_0000 * 64 - 64 * 100
        for i in 0..<300 as Range<Int64> {
            recorder.receive(sequence: UInt16(i), arrival: .ms(begin + i * 64))
            let f = try #require(try recorder.drain().first)
            counts.append(f.feedbackCount)
            #expect(Int64(f.reference) == i - 100)
        }
        #expect(counts == (0..<300).map { UInt8(truncatingIfNeeded: $0) })
    }

    @Test(arguments: 1...12 as ClosedRange<UInt64>)
    func anyPatternOfArrivalIsToldExactly(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var recorder = TransportFeedbackRecorder()
        var unwrapper = SequenceUnwrapper()
        var arrived: [Int64: Int64] = [:]
        var told: [Int64: Int64] = [:]
        var toldLost: Set<Int64> = []
        var number: Int64 = 60_000
        var clock: Int64 = 1_000_000_000
        let lossPercent = Int.random(in: 0...60, using: &random)
        let jitter = Int64.random(in: 0...3, using: &random) * 40_000_000
        for _ in 0..<200 {
            for _ in 0..<Int.random(in: 0...120, using: &random) {
                number += 1
                if Int.random(in: 0..<200, using: &random) == 0 { number += .random(in: 0...300, using: &random) }
                if Int.random(in: 0..<100, using: &random) < lossPercent { continue }
                clock += .random(in: 0...2_000_000, using: &random)
                let arrival = clock + .random(in: 0...jitter, using: &random)
                if arrived[number] == nil { arrived[number] = arrival }
                recorder.receive(
                    sequence: UInt16(truncatingIfNeeded: number), arrival: Instant(nanoseconds: arrival))
            }
            for feedback in try recorder.drain() {
                var lastSequence = feedback.base &- 1
                for packet in feedback.received {
                    #expect(SequenceNumber.isBefore(lastSequence, packet.sequence))
                    lastSequence = packet.sequence
                    let n = unwrapper.unwrap(packet.sequence) - 0x1_0000
                    #expect(told[n] == nil)
                    told[n] = packet.ticks
                }
                for sequence in feedback.lost { toldLost.insert(unwrapper.peek(sequence) - 0x1_0000) }
            }
        }
        #expect(told.count == arrived.count)
        for (n, nanoseconds) in arrived {
            let ticks = try #require(told[n])
            #expect(abs(ticks * TransportFeedback.tick - nanoseconds) <= TransportFeedback.tick / 2)
        }
        #expect(toldLost.isDisjoint(with: arrived.keys))
        let first = try #require(arrived.keys.min())
        let last = try #require(arrived.keys.max())
        #expect(toldLost.count + told.count == Int(last - first + 1))
    }
}
