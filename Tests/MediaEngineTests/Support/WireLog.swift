import Wire

/// What the engine puts on the wire, as its kernel would see it: messages, the datagrams that they are cut into, and
/// whether two different packets ever left under one SRTP index (RFC 3711 §9.1).
final class WireLog {
    struct Message {
        var peer: UInt64
        var at: Instant
        var datagrams: [[UInt8]]

        /// Payload types of the media in it.
        var types: [UInt8] { datagrams.filter(WireLog.isRTP).map { $0[1] & 0x7f } }
        var isMedia: Bool { !types.isEmpty }
    }

    private struct Index: Hashable {
        var peer: UInt64
        /// Type without marker, sequence number, SSRC. A source of a test sends less than 65,536 packets.
        var ssrc: UInt32
        var sequence: UInt16
    }

    private(set) var messages: [Message] = []
    /// Packets that left more than once, byte for byte the same.
    private(set) var repeats = 0
    /// Different packets under one index: never allowed.
    private(set) var conflicts: [String] = []
    private var known: [Index: [UInt8]] = [:]

    init(_ world: World) {
        world.onMessage = { [unowned self, unowned world] peer, bytes, segment in
            let datagrams = stride(from: 0, to: bytes.count, by: segment).map {
                Array(bytes[$0..<min($0 + segment, bytes.count)])
            }
            take(Message(peer: peer, at: world.now, datagrams: datagrams))
        }
    }

    static func isRTP(_ datagram: [UInt8]) -> Bool {
        datagram.count >= 12 && (128..<192).contains(datagram[0]) && !(192...223).contains(datagram[1])
    }

    private func take(_ message: Message) {
        messages.append(message)
        for datagram in message.datagrams where Self.isRTP(datagram) {
            let span = datagram.span.bytes
            let index = Index(
                peer: message.peer, ssrc: span.loadBigEndian(at: 8), sequence: span.loadBigEndian(at: 2))
            guard let before = known.updateValue(datagram, forKey: index) else { continue }
            if before == datagram { repeats += 1 } else { conflicts.append("\(index)") }
        }
    }

    func forgetMessages() { messages = [] }

    /// Messages with media to that peer, in order.
    func media(to peer: PeerCore) -> [Message] { messages.filter { $0.peer == peer.id && $0.isMedia } }
}
