import Wire

/// Packets of one track that have come before one that is still missing. Packets in order never get here, so what
/// comes in order costs no copy.
struct ReorderBuffer: Sendable {
    struct Waiting: Sendable {
        var packet: MediaPacket
        var payload: [UInt8]
    }

    /// Ascending by number; the first `head` ones are taken already.
    private var packets: [Waiting] = []
    private var head = 0
    private(set) var bytes = 0

    var isEmpty: Bool { head == packets.count }
    var count: Int { packets.count - head }
    var first: MediaPacket? { isEmpty ? nil : packets[head].packet }

    /// - Returns: false, if a packet with this number waits already.
    mutating func insert(_ packet: MediaPacket, _ payload: RawSpan) -> Bool {
        compact()
        var low = 0
        var high = packets.count
        while low < high {
            let middle = (low + high) / 2
            if packets[middle].packet.number < packet.number { low = middle + 1 } else { high = middle }
        }
        if low < packets.count, packets[low].packet.number == packet.number { return false }
        packets.insert(Waiting(packet: packet, payload: payload.copied()), at: low)
        bytes += payload.byteCount
        return true
    }

    /// The first one, if it has this number.
    mutating func take(_ number: Int64) -> Waiting? {
        guard !isEmpty, packets[head].packet.number == number else { return nil }
        let taken = packets[head]
        packets[head].payload = []
        head += 1
        bytes -= taken.payload.count
        if isEmpty { compact() }
        return taken
    }

    private mutating func compact() {
        guard head > 0 else { return }
        packets.removeFirst(head)
        head = 0
    }
}
