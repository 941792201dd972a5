import Benchmark
import RTP
import Wire

private let packets = 10_000
/// One packet in so many is lost and comes again later.
private let lossEvery: Int64 = 100
/// Packets after which a lost one has come again.
private let recovery: Int64 = 30
/// Packets between two transport feedbacks: 100 ms at 500 packets a second.
private let perFeedback = 50
/// Time between two packets.
private let gap = Interval.milliseconds(2)

func registerFeedback() {
    // Per packet received: loss found, asked for, written as a NACK, recovered.
    micro("NACK-loss-of-1-percent", operations: packets) {
        var generator = NackGenerator()
        var number: Int64 = 0
        var now = Instant.zero
        var message: [UInt8] = []
        return {
            for _ in 0..<packets {
                number += 1
                now = now + gap
                if number % lossEvery != 0 { generator.receive(number, now: now) }
                if number % lossEvery == recovery, number > lossEvery {
                    generator.receive(number - recovery, isRetransmission: true, now: now)
                }
                // Asked every 10 ms, as the engine's tick does.
                guard number % 5 == 0 else { continue }
                let lost = generator.due(now: now, roundTrip: .milliseconds(40))
                guard !lost.isEmpty else { continue }
                message.removeAll(keepingCapacity: true)
                RTCPWriter.nack(sender: 1, media: 2, lost: lost, into: &message)
            }
            blackHole(message.count)
            precondition(generator.requested > 0 && generator.recovered > 0, "nothing was asked for")
        }
    }
    micro("NACK-in-order", operations: packets) {
        var kept = NackGenerator()
        var last: Int64 = 0
        return {
            // Variables of the stretch's own: those that a closure holds lie in boxes, whose cost is not the engine's.
            var generator = NackGenerator()
            swap(&generator, &kept)
            for number in (last + 1)...(last + Int64(packets)) { generator.receive(number, now: .zero) }
            last += Int64(packets)
            swap(&generator, &kept)
            blackHole(kept.missingCount)
        }
    }
    // Per packet received, with a feedback written for every 50.
    micro("transport-feedback-write", operations: packets) {
        var recorder = TransportFeedbackRecorder()
        var sequence: UInt16 = 0
        var now = Instant.zero
        var message: [UInt8] = []
        return {
            for i in 1...packets {
                sequence &+= 1
                now = now + gap
                if Int64(i) % lossEvery != 0 { recorder.receive(sequence: sequence, arrival: now) }
                guard i % perFeedback == 0 else { continue }
                message.removeAll(keepingCapacity: true)
                precondition(recorder.makeFeedback(senderSSRC: 1, mediaSSRC: 2, into: &message), "no feedback")
            }
            blackHole(message.count)
        }
    }
    // Per feedback on 50 packets.
    micro("transport-feedback-parse", operations: 200) {
        var recorder = TransportFeedbackRecorder()
        var message: [UInt8] = []
        for i in 1...perFeedback where i != 20 {
            recorder.receive(sequence: UInt16(i), arrival: .zero + gap * Int64(i))
        }
        guard recorder.makeFeedback(senderSSRC: 1, mediaSSRC: 2, into: &message) else {
            throw MicroError("no feedback")
        }
        // The parser takes the packet without its padding.
        if message[0] & 0x20 != 0 { message.removeLast(Int(message[message.count - 1])) }
        guard try TransportFeedback(parsing: message.span.bytes).lost == [20] else {
            throw MicroError("wrong feedback")
        }
        return {
            for _ in 0..<200 { blackHole(try? TransportFeedback(parsing: message.span.bytes).received.count) }
        }
    }
}
