import SDP
import Wire

/// Clients of plain RTP over UDP (RTSP): players in the workers' fan-out, publishers whose datagrams are handed on. All
/// use the same two ports of ours. Any thread may call; nothing waits for a worker.
extension MediaEngine {
    /// Adds a player of a publisher's stream: it begins at once, with a key frame, and sound with that. Its counters are
    /// those of its registration; it ends by `close(peer:)`, silently, or with its stream, with an RTCP BYE.
    /// - Parameters:
    ///   - publisher: one that has connected.
    ///   - client: where its signalling comes from: packets go there and nowhere else. The port has no meaning.
    ///   - local: our address of its signalling, from which packets are sent.
    ///   - tracks: those that it takes, with the ports, sources and payload types that it was told.
    ///   - listener: called on worker threads; must not block.
    package func addPlainPlayer(
        id: UInt64, publisher: UInt64, client: SocketAddress, local: SocketAddress, tracks: [PlainTrack],
        listener: @escaping @Sendable (PlainNews) -> Void
    ) throws(PlainError) -> PlainPlayer {
        try plain.addPlayer(
            id: id, publisher: publisher, client: client, local: local, tracks: tracks, listener: listener)
    }

    /// Hands on what a client sends from these ports, until `end` of what is returned.
    package func addPlainPublisher(
        client: SocketAddress, local: SocketAddress, tracks: [PlainTrack], receiver: any PlainReceiver
    ) throws(PlainError) -> PlainPublisher {
        try plain.addPublisher(client: client, local: local, tracks: tracks, receiver: receiver)
    }
}

/// How plain RTP clients come to workers.
package struct PlainControl: Sendable {
    let directory: Directory
    let clients: PlainDirectory
    let mailboxes: [Mailbox]
    let counters: EngineCounters
    /// Those that there are sockets of; none: no ports are open.
    let families: Set<SocketAddress.Family>

    package init(
        directory: Directory, clients: PlainDirectory, mailboxes: [Mailbox], counters: EngineCounters,
        families: Set<SocketAddress.Family>
    ) {
        self.directory = directory
        self.clients = clients
        self.mailboxes = mailboxes
        self.counters = counters
        self.families = families
    }

    /// See `MediaEngine.addPlainPlayer`.
    package func addPlayer(
        id: UInt64, publisher: UInt64, client: SocketAddress, local: SocketAddress, tracks: [PlainTrack],
        listener: @escaping @Sendable (PlainNews) -> Void
    ) throws(PlainError) -> PlainPlayer {
        guard let source = directory.find(peer: publisher), source.publisher == nil,
            source.owner.load(ordering: .acquiring) >= 0
        else { throw .noStream }
        try check(tracks, client: client, local: local, trackCount: source.negotiation.tracks.count)
        guard let worker = mailboxes.leastLoaded(counters) else { throw .unavailable }
        let player = PlainPlayer(
            id: id, tracks: tracks, client: client.withoutPort, local: local.withoutPort, clients: clients,
            listener: listener)
        let registration = PeerRegistration(
            id: id, publisher: source, negotiation: Negotiation(answer: "", transports: [], tracks: []), sinks: nil,
            plain: player)
        try clients.add(.player(player))
        guard directory.insertNew(registration), registration.claim(worker: worker) else {
            player.end()
            throw .unavailable
        }
        mailboxes[worker].load.wrappingAdd(1, ordering: .relaxed)
        mailboxes[worker].post(.plainPlayer(registration))
        return player
    }

    /// See `MediaEngine.addPlainPublisher`.
    package func addPublisher(
        client: SocketAddress, local: SocketAddress, tracks: [PlainTrack], receiver: any PlainReceiver
    ) throws(PlainError) -> PlainPublisher {
        try check(tracks, client: client, local: local, trackCount: .max)
        guard let worker = mailboxes.leastLoaded(counters) else { throw .unavailable }
        let publisher = try PlainPublisher(
            tracks: tracks, client: client.withoutPort, local: local.withoutPort, clients: clients,
            mailbox: mailboxes[worker], receiver: receiver)
        do throws(PlainError) {
            try clients.add(.publisher(publisher))
        } catch {
            publisher.end()
            throw error
        }
        return publisher
    }

    private func check(
        _ tracks: [PlainTrack], client: SocketAddress, local: SocketAddress, trackCount: Int
    ) throws(PlainError) {
        guard !families.isEmpty else { throw .unavailable }
        // A link-local address of IPv6 is one of its link only, which signalling does not tell.
        guard families.contains(client.family), local.family == client.family,
            client.family == .ipv4 || !client.isLinkLocal
        else { throw .unreachable(client) }
        let ports = tracks.flatMap { [$0.rtpPort, $0.rtcpPort] }
        guard !tracks.isEmpty, Set(tracks.map(\.track)).count == tracks.count, Set(ports).count == ports.count,
            !ports.contains(0), tracks.allSatisfy({ (0..<trackCount).contains($0.track) })
        else { throw .badTracks }
    }
}

extension SocketAddress {
    fileprivate var withoutPort: SocketAddress {
        var address = self
        address.port = 0
        return address
    }
}
