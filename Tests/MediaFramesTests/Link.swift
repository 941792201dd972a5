import MediaFrames
import Wire

/// A network in virtual time: packets are delayed, lost, doubled and sent again, by a seed.
struct Link {
    var loss = 0.05
    /// Probability that a lost packet is sent again, after `retransmissionDelay`; the second try is never lost.
    var retransmission = 1.0
    var retransmissionDelay: ClosedRange<Int64> = 20_000_000...300_000_000
    var duplicates = 0.02
    /// Nanoseconds on top of each packet's own arrival: reorders.
    var jitter: ClosedRange<Int64> = 0...4_000_000
    private var random: SeededRandom
    private(set) var lost: [MediaPacket] = []

    init(seed: UInt64) { random = SeededRandom(seed: seed) }

    /// The packets in the order of their new arrival.
    mutating func carry(
        _ packets: [(packet: MediaPacket, payload: [UInt8])], sparing spared: Int = 1
    ) -> [(packet: MediaPacket, payload: [UInt8])] {
        var arrived: [(packet: MediaPacket, payload: [UInt8])] = []
        for (index, sent) in packets.enumerated() {
            var delay = Int64.random(in: jitter, using: &random)
            // The first one is not overtaken: what comes before the first packet is not missed.
            if index < spared { delay = 0 }
            if index >= spared, Double.random(in: 0..<1, using: &random) < loss {
                guard Double.random(in: 0..<1, using: &random) < retransmission else {
                    lost.append(sent.packet)
                    continue
                }
                delay += Int64.random(in: retransmissionDelay, using: &random)
            }
            for copy in 0..<(Double.random(in: 0..<1, using: &random) < duplicates ? 2 : 1) {
                var late = sent
                late.packet.arrival = sent.packet.arrival + .nanoseconds(delay) + .milliseconds(Int64(copy) * 3)
                arrived.append(late)
            }
        }
        return arrived.enumerated().sorted {
            ($0.element.packet.arrival, $0.offset) < ($1.element.packet.arrival, $1.offset)
        }.map(\.element)
    }
}
