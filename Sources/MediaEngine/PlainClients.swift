import SRTP
import Synchronization
import Wire

/// One track on its way to or from a plain RTP client.
package struct PlainTrack: Sendable, Hashable {
    /// Place among the publisher's tracks.
    package var track: Int
    /// Ports of the client.
    package var rtpPort: UInt16
    package var rtcpPort: UInt16
    /// Of the packets that we send; of no meaning for publishers.
    package var ssrc: UInt32
    package var payloadType: UInt8
    /// Of SRTP; nil: RTP goes as it is.
    package var keys: SRTPTrackKeys?

    package init(
        track: Int, rtpPort: UInt16, rtcpPort: UInt16, ssrc: UInt32 = 0, payloadType: UInt8 = 0,
        keys: SRTPTrackKeys? = nil
    ) {
        self.track = track
        self.rtpPort = rtpPort
        self.rtcpPort = rtcpPort
        self.ssrc = ssrc
        self.payloadType = payloadType
        self.keys = keys
    }
}

/// Why a plain RTP client cannot be served.
package enum PlainError: Error, Equatable, CustomStringConvertible {
    /// There is no such publisher, or it sends nothing yet.
    case noStream
    /// Another session receives at that address already.
    case addressInUse(SocketAddress)
    /// No socket of ours can send there.
    case unreachable(SocketAddress)
    case badTracks
    /// The engine has no ports for it, or was stopped.
    case unavailable

    package var description: String {
        switch self {
        case .noStream: "no such stream"
        case .addressInUse(let address): "another session receives at \(address): name other client ports"
        case .unreachable(let address):
            "no UDP socket of the server reaches \(address): add its address family to media.listen, or use TCP"
        case .badTracks: "tracks that the stream does not have, or the same one or the same port twice"
        case .unavailable: "no RTP over UDP: set rtsp.udp_port, or use TCP"
        }
    }
}

/// What a plain RTP player tells who made it; on worker threads, must not block.
package enum PlainNews: Sendable, Equatable {
    /// Media begins. First packet of each track, in the order in which the tracks were given. Comes once, at the latest
    /// `PlainPlayer.beginLimit` after it was added, and unless it ends before.
    case began([PlainFirstPacket])
    /// It has sent a report; at most once a second.
    case alive
    /// Nothing is sent any more, whoever ended it. Comes once.
    case ended
}

/// What `RTP-Info` says of a track (RFC 2326 §12.33).
package struct PlainFirstPacket: Sendable, Equatable {
    package var sequence: UInt16
    /// RTP time at the first picture; nil: not known.
    package var timestamp: UInt32?

    package init(sequence: UInt16, timestamp: UInt32?) {
        self.sequence = sequence
        self.timestamp = timestamp
    }
}

/// A player that takes plain RTP at ports it has named: to its worker a peer without ICE, DTLS and keys. It ends by
/// `MediaEngine.close(peer:)` or with its stream; that its client is still there is for others to find out.
package final class PlainPlayer: Sendable {
    /// How long the answer to PLAY may wait for a key frame; then the pictures since the last one have to do.
    package static let beginLimit = Interval.milliseconds(300)
    private static let signInterval = Interval.seconds(1)

    package let id: UInt64
    let tracks: [PlainTrack]
    /// Its address; the port has no meaning.
    let client: SocketAddress
    /// Ours, likewise: where its signalling goes.
    let local: SocketAddress
    private let clients: PlainDirectory
    private let ended = Atomic<Bool>(false)
    private let lastSign = Atomic<Int64>(.min)
    private let listener: Mutex<(@Sendable (PlainNews) -> Void)?>

    init(
        id: UInt64, tracks: [PlainTrack], client: SocketAddress, local: SocketAddress, clients: PlainDirectory,
        listener: @escaping @Sendable (PlainNews) -> Void
    ) {
        self.id = id
        self.tracks = tracks
        self.client = client
        self.local = local
        self.clients = clients
        self.listener = Mutex(listener)
    }

    package var isEnded: Bool { ended.load(ordering: .acquiring) }

    func tell(_ news: PlainNews) { listener.withLock { $0 }?(news) }

    /// It has sent something that only a living client sends.
    func noteSign(now: Instant) {
        let last = lastSign.load(ordering: .relaxed)
        guard last == .min || now.nanoseconds &- last >= Self.signInterval.nanoseconds,
            lastSign.compareExchange(expected: last, desired: now.nanoseconds, ordering: .relaxed).exchanged
        else { return }
        tell(.alive)
    }

    /// Its addresses are free again. Idempotent.
    func end() {
        guard !ended.exchange(true, ordering: .acquiringAndReleasing) else { return }
        clients.remove(.player(self))
        let last = listener.withLock { listener in
            defer { listener = nil }
            return listener
        }
        last?(.ended)
    }
}

/// What becomes of a plain RTP publisher's datagrams. Called on worker threads, by one at a time; must not block.
package protocol PlainReceiver: Sendable {
    /// Not checked in any way; `track` is the `PlainTrack.track` whose port it came from.
    func receive(track: Int, isRTCP: Bool, _ packet: RawSpan)
    /// No more datagrams wait at the moment.
    func flush()
}

/// A client that sends plain RTP from ports it has named. It is no peer: what it sends goes to its receiver, in practice
/// a `PacketSource`.
package final class PlainPublisher: Sendable {
    let tracks: [PlainTrack]
    let client: SocketAddress
    let local: SocketAddress
    private let mailbox: Mailbox
    private let clients: PlainDirectory
    private let ended = Atomic<Bool>(false)
    private let receiver: Mutex<(any PlainReceiver)?>
    /// Nil: RTP comes as it is.
    private let cipher: PlainCipher?

    /// - Throws: `.unavailable` for keys that are in use, or when the cipher library is out of memory.
    init(
        tracks: [PlainTrack], client: SocketAddress, local: SocketAddress, clients: PlainDirectory, mailbox: Mailbox,
        receiver: any PlainReceiver
    ) throws(PlainError) {
        self.tracks = tracks
        self.client = client
        self.local = local
        self.clients = clients
        self.mailbox = mailbox
        self.receiver = Mutex(receiver)
        cipher = tracks.contains { $0.keys != nil } ? try PlainCipher(tracks) : nil
    }

    package var isEnded: Bool { ended.load(ordering: .acquiring) }

    /// Two ports of one client may be heard by two workers: the lock lets one of them in at a time.
    /// - Returns: what keeps an SRTP packet from being its publisher's; nil: nothing.
    func receive(track: Int, isRTCP: Bool, _ packet: UnsafeRawBufferPointer) -> SRTPResult? {
        receiver.withLock { receiver in
            guard let receiver else { return nil }
            guard let cipher else {
                receiver.receive(track: track, isRTCP: isRTCP, packet.bytes)
                return nil
            }
            return cipher.open(packet, track: track, isRTCP: isRTCP) {
                receiver.receive(track: track, isRTCP: isRTCP, $0)
            }
        }
    }

    func flush() { receiver.withLock { $0?.flush() } }

    /// A compound RTCP packet for the client: reports, requests for key frames. Without effect for a track that it has
    /// not. Any thread.
    package func send(rtcp: [UInt8], track: Int) {
        guard !isEnded, let own = tracks.first(where: { $0.track == track }) else { return }
        var remote = client
        remote.port = own.rtcpPort
        let bytes = cipher?.protect(rtcp: rtcp, track: track) ?? rtcp
        guard !bytes.isEmpty else { return }
        mailbox.post(.sendPlainRTCP(bytes: bytes, remote: remote, local: local))
    }

    /// Nothing is given to the receiver any more once this has returned; not to be called by the receiver. Idempotent.
    package func end() {
        guard !ended.exchange(true, ordering: .acquiringAndReleasing) else { return }
        clients.remove(.publisher(self))
        receiver.withLock { $0 = nil }
        cipher?.end()
    }
}
