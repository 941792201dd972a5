import MediaEngine
import Wire

/// Packets of one track in the order of their numbers: what is behind a missing one waits for its retransmission, for a
/// bounded time. What comes in order is passed on without a copy.
struct PacketSequence {
    /// A retransmission takes a round trip and a try or two; who plays live does not want to wait for more.
    static let wait = Interval.milliseconds(400)
    /// Packets and bytes that wait behind a missing one; then it is taken for lost.
    static let maxPackets = 1_024
    static let maxBytes = 2 << 20

    private struct Held {
        var packet: SinkPacket
        var payload: [UInt8]
    }

    /// Number that comes next; nil: any.
    private var expected: Int64?
    /// Ascending by number.
    private var held: [Held] = []
    private var heldBytes = 0
    /// Gaps that were given up.
    private(set) var gaps = 0

    /// When the missing packet is given up.
    var deadline: Instant { held.map(\.packet.arrival).min().map { $0 + Self.wait } ?? .distantFuture }

    mutating func add(_ packet: SinkPacket, _ payload: RawSpan, _ body: (SinkPacket, RawSpan) -> Void) {
        if let expected {
            // It came after it had been given up.
            guard packet.number >= expected else { return }
            guard packet.number == expected else {
                hold(packet, payload)
                if held.count > Self.maxPackets || heldBytes > Self.maxBytes { giveUp(body) }
                return
            }
        }
        expected = packet.number &+ 1
        body(packet, payload)
        if !held.isEmpty { passOn(body) }
    }

    /// Gives up what has been waited for long enough.
    mutating func advance(now: Instant, _ body: (SinkPacket, RawSpan) -> Void) {
        while !held.isEmpty, deadline <= now { giveUp(body) }
    }

    /// Nothing that is missing will come: passes on what waits, and begins anew with any number.
    mutating func finish(_ body: (SinkPacket, RawSpan) -> Void) {
        while !held.isEmpty { giveUp(body) }
        expected = nil
    }

    private mutating func hold(_ packet: SinkPacket, _ payload: RawSpan) {
        let at = held.lastIndex { $0.packet.number <= packet.number }
        if let at, held[at].packet.number == packet.number { return }
        held.insert(Held(packet: packet, payload: payload.copied()), at: at.map { $0 + 1 } ?? 0)
        heldBytes += payload.byteCount
    }

    private mutating func giveUp(_ body: (SinkPacket, RawSpan) -> Void) {
        expected = held.first?.packet.number
        gaps += 1
        passOn(body)
    }

    private mutating func passOn(_ body: (SinkPacket, RawSpan) -> Void) {
        var count = 0
        while count < held.count, held[count].packet.number == expected {
            let next = held[count]
            expected = next.packet.number &+ 1
            heldBytes -= next.payload.count
            body(next.packet, next.payload.span.bytes)
            count += 1
        }
        held.removeFirst(count)
    }
}
