import CLinuxNet
import DTLS
import Glibc
import ICE
import LinuxNet
import RTP
import SDP
import SRTP
import Synchronization
import Wire

/// One media thread: the only owner of its sockets, peers, stream state, timers and buffers. Commands come in through
/// the mailbox, packets of other workers' streams through crossing queues, events leave through a closure.
///
/// One turn: wait → mailbox → datagrams until dry (bounded) → crossing queues → fan out → send → due timers.
package final class Worker {
    /// Datagrams of one socket in one turn: bounds the delay of the first.
    private static let maxBatchesPerTurn = 4
    static let maxRoutes = 65_536

    let index: Int
    let configuration: EngineConfiguration
    let directory: Directory
    package let counters: EngineCounters
    let mailbox: Mailbox
    let post: @Sendable (EngineEvent) -> Void
    let dtlsContext: DTLSContext
    let machine: SRTPMachine
    package let slab: PacketSlab
    package let egress: Egress
    let io: OpaquePointer
    let sockets: [CInt]
    let senders: SendSockets
    let listeners: [CInt]
    /// On the ports of plain RTP; nil: there are none.
    let plainSockets: PlainSockets?
    let plainClients: PlainDirectory
    /// Shared by all workers.
    private let tcpBudget: TCPBudget
    private let epoll: CInt
    private var ready = [weir_ready](repeating: weir_ready(), count: 64)
    private var readyCount = 0
    /// All workers' mailboxes, this one's included.
    let mailboxes: [Mailbox]
    /// Queues to and from other workers, by worker; nil for itself.
    let outgoing: [CrossingQueue?]
    let incoming: [CrossingQueue?]
    var signalled: Set<Int> = []

    package private(set) var peers: [UInt64: Peer] = [:]
    /// The same, in an order that ticks can take a part of.
    private(set) var roster: ContiguousArray<Peer> = []
    /// Whose turn it is at the next slow tick.
    var nextReviewed = 0
    /// Peers that need a look every fast tick: in their DTLS handshake, publishing, or fed from stored packets.
    var connecting: [Peer] = []
    /// Handshake datagrams, oldest first.
    var handshakes: [(transport: Transport, bytes: [UInt8])] = []
    /// Handled in this turn.
    var handshakesDone = 0
    var publishers: [Peer] = []
    var catchingUp: [Peer] = []
    /// Plain players that have not been given anything yet.
    var beginning: [Peer] = []
    /// Plain players whose keys another player of their session has still to give back.
    var awaitingKeys: [(registration: PeerRegistration, deadline: Instant)] = []
    /// Plain RTP clients that this worker has heard, by address.
    var plainSources: [SocketAddress: PlainSource] = [:]
    var plainSourcesLimit = Worker.minPlainSources
    /// Plain publishers that were heard in this turn.
    var plainReceived: [PlainPublisher] = []
    /// Stands for the counter of transport-wide numbers in lanes that have none.
    let idleSequence = UnsafeMutablePointer<UInt16>.allocate(capacity: 1)
    /// Sinks that are given stored packets as they have room.
    var sinksCatchingUp: [(stream: StreamState, feed: SinkFeed)] = []
    /// Streams whose sinks were written to in this turn.
    var fed: [StreamState] = []
    /// An ICE-TCP player was stalled during this fan-out, or a sink waits for a key frame.
    var anyStalled = false
    /// Whether the sockets are watched for room to send.
    private var awaitsRoom = false
    var byAddress: [SocketAddress: Transport] = [:]
    var byConnection: [UInt32: Transport] = [:]
    var routes: [SocketAddress: Int] = [:]
    /// The datagram in hand came from another worker: it goes no further, or two workers could play ball with it.
    var isForwarded = false
    package internal(set) var streams: [UInt64: StreamState] = [:]
    var connections: [UInt32: TCPConnection] = [:]
    /// Connections with bytes of this turn to send.
    private var unflushed: [TCPConnection] = []
    /// Listeners that found no descriptor to spare; heard again at the next slow tick.
    private var deafListeners: [Int] = []
    var nextConnection: UInt32 = 1
    /// Streams with packets to fan out.
    var dirty: [StreamState] = []
    package var random = SeededRandom(seed: .random(in: 0 ... .max))
    package internal(set) var now: Instant
    var running = true
    var nextFastTick = Instant.zero
    var nextSlowTick = Instant.zero
    private var slots: UnsafeMutablePointer<UnsafeMutablePointer<UInt8>?>
    private let datagrams: UnsafeMutablePointer<weir_datagram>
    /// Error replies to unauthenticated checks, refilled over time: no reflection, no flood.
    var replyTokens = 50.0
    var replyRefill: Instant
    var overload: OverloadGuard
    var overloadEpisode = OverloadEpisode()
    /// Longest time since the last slow tick that a packet waited for this worker.
    var longestWait = Interval.zero
    var thinnedPlayers = 0
    var lastSelection = Instant.zero
    // What has been added to the shared counters so far.
    var reportedPackets: UInt64 = 0
    var reportedDrops: UInt64 = 0
    var reportedMessages: UInt64 = 0
    var reportedRuns: (messages: UInt64, packets: UInt64) = (0, 0)

    /// - Parameter transmit: where datagrams go instead of the sockets.
    package init(
        index: Int, configuration: EngineConfiguration, directory: Directory, counters: EngineCounters,
        mailboxes: [Mailbox], outgoing: [CrossingQueue?], incoming: [CrossingQueue?], sockets: [CInt],
        listeners: [CInt], plainSockets: PlainSockets? = nil, plainClients: PlainDirectory = PlainDirectory(),
        dtlsContext: DTLSContext, tcpBudget: TCPBudget? = nil, now: Instant = .now, transmit: Egress.Transmit? = nil,
        post: @escaping @Sendable (EngineEvent) -> Void
    ) throws {
        self.index = index
        self.configuration = configuration
        self.directory = directory
        self.counters = counters
        self.mailboxes = mailboxes
        mailbox = mailboxes[index]
        self.outgoing = outgoing
        self.incoming = incoming
        self.sockets = sockets
        self.listeners = listeners
        self.plainSockets = plainSockets
        self.plainClients = plainClients
        idleSequence.initialize(to: 0)
        self.tcpBudget = tcpBudget ?? TCPBudget(configuration)
        self.dtlsContext = dtlsContext
        self.post = post
        overload = OverloadGuard(limit: configuration.overloadDelay)
        machine = try SRTPMachine(backend: configuration.backend)
        slab = PacketSlab(maxSlots: configuration.maxSlots)
        guard let io = weir_io_new() else { throw NetworkError("allocate I/O batch", code: ENOMEM) }
        self.io = io
        let senders = SendSockets(
            receiving: sockets, port: configuration.port, bufferSize: configuration.sendBuffer)
        self.senders = senders
        egress = Egress(
            machine: machine, gso: configuration.gso,
            transmit: transmit ?? { socket, messages, count in
                guard socket >= PlainSockets.rtpBase else { return senders.send(io, socket, messages, count) }
                return plainSockets?.send(io, socket, messages, count) ?? -EBADF
            })
        self.now = now
        replyRefill = now
        epoll = weir_epoll_create()
        guard epoll >= 0 else { throw NetworkError("epoll_create", code: -epoll) }
        let batch = Int(WEIR_RECEIVE_BATCH)
        slots = .allocate(capacity: batch)
        slots.initialize(repeating: nil, count: batch)
        datagrams = .allocate(capacity: batch)
        _ = weir_epoll_set(epoll, mailbox.eventDescriptor, WEIR_READABLE, Token.mailbox, 1)
        for (i, socket) in sockets.enumerated() {
            _ = weir_epoll_set(epoll, socket, WEIR_READABLE, Token.socket | UInt64(i), 1)
        }
        for (i, listener) in listeners.enumerated() {
            _ = weir_epoll_set(epoll, listener, WEIR_READABLE, Token.listener | UInt64(i), 1)
        }
        for (i, pair) in (plainSockets?.pairs ?? []).enumerated() {
            _ = weir_epoll_set(epoll, pair.rtp, WEIR_READABLE, Token.plainRTP | UInt64(i), 1)
            _ = weir_epoll_set(epoll, pair.rtcp, WEIR_READABLE, Token.plainRTCP | UInt64(i), 1)
        }
    }

    deinit {
        slots.deallocate()
        datagrams.deallocate()
        idleSequence.deallocate()
        weir_io_free(io)
        Glibc.close(epoll)
    }

    private enum Token {
        static let mailbox: UInt64 = 1 << 32
        static let socket: UInt64 = 2 << 32
        static let listener: UInt64 = 3 << 32
        static let connection: UInt64 = 4 << 32
        static let sender: UInt64 = 5 << 32
        static let plainRTP: UInt64 = 6 << 32
        static let plainRTCP: UInt64 = 7 << 32
        static let kind: UInt64 = 0xffff_ffff_0000_0000
    }

    // MARK: - The loop

    func run() {
        weir_name_thread("weir-media-\(index)")
        if configuration.pinWorkers { weir_pin_thread(CInt(index)) }
        while running {
            wait(waitTime())
            turn(now: .now) { dispatchReady() }
        }
        for peer in Array(peers.values) {
            sayGoodbye(peer)
            end(peer)
        }
        refuseInspections()
        // The goodbyes of `end`.
        egress.flush()
        for connection in connections.values { Glibc.close(connection.descriptor) }
        connections.removeAll()
        for descriptor in sockets + listeners { Glibc.close(descriptor) }
        plainSockets?.close()
    }

    private func wait(_ nanoseconds: Int64) {
        readyCount = ready.withUnsafeMutableBufferPointer {
            max(0, Int(weir_epoll_wait(epoll, $0.baseAddress, CInt($0.count), nanoseconds)))
        }
    }

    private func dispatchReady() {
        for i in 0..<readyCount { dispatch(ready[i]) }
        readyCount = 0
    }

    /// Takes in what the kernel holds for this worker now, without waiting; for use as a turn's input.
    package func takeReady() {
        wait(0)
        dispatchReady()
    }

    /// One turn; `input` takes commands and datagrams in.
    package func turn(now: Instant, _ input: () -> Void) {
        self.now = now
        handshakesDone = 0
        input()
        continueHandshakes()
        drainCrossings()
        flushPlain()
        // Other workers need not wait for our own players.
        if !signalled.isEmpty { wakeOthers() }
        let fansOut = fanOutDue()
        if now >= nextFastTick { fastTick() }
        if now >= nextSlowTick { slowTick() }
        if !beginning.isEmpty { tellBeginnings() }
        egress.flush()
        if fansOut { counters.fanOutTurns.observe(.now - now) }
        if egress.hasBacklog != awaitsRoom { watchForRoom(egress.hasBacklog) }
        flushConnections()
        if !fed.isEmpty { wakeConsumers() }
        if !signalled.isEmpty { wakeOthers() }
    }

    func enrol(_ peer: Peer) {
        peers[peer.id] = peer
        peer.rosterIndex = roster.count
        roster.append(peer)
        mailbox.load.wrappingAdd(1, ordering: .relaxed)
    }

    /// - Returns: whether it was one of ours.
    func strike(_ peer: Peer) -> Bool {
        guard peers.removeValue(forKey: peer.id) != nil else { return false }
        mailbox.load.wrappingSubtract(1, ordering: .relaxed)
        let last = roster.removeLast()
        if last !== peer {
            roster[peer.rosterIndex] = last
            last.rosterIndex = peer.rosterIndex
        }
        return true
    }

    private func wakeOthers() {
        for worker in signalled { mailboxes[worker].wake() }
        signalled.removeAll(keepingCapacity: true)
    }

    package func takeCommands() {
        for command in mailbox.drain() { perform(command) }
    }

    private func waitTime() -> Int64 {
        var next = nextSlowTick
        if !handshakes.isEmpty { return 0 }
        if peers.isEmpty && connections.isEmpty { return 1_000_000_000 }
        if nextFastTick < next { next = nextFastTick }
        for stream in dirty where stream.due < next { next = stream.due }
        return max(0, (next - .now).nanoseconds)
    }

    private func dispatch(_ ready: weir_ready) {
        let low = UInt32(truncatingIfNeeded: ready.token)
        switch ready.token & Token.kind {
        case Token.mailbox:
            weir_eventfd_drain(mailbox.eventDescriptor)
            takeCommands()
        // Room to send needs no call here: the turn ends with a flush.
        case Token.socket: if ready.events != WEIR_WRITABLE { receive(socket: Int32(low)) }
        case Token.sender: break
        case Token.plainRTP:
            guard ready.events != WEIR_WRITABLE else { return }
            // Reports first: a publisher sends its clocks before the packets that they are about.
            receivePlain(pair: Int(low), isRTCP: true)
            receivePlain(pair: Int(low), isRTCP: false)
        case Token.plainRTCP: if ready.events != WEIR_WRITABLE { receivePlain(pair: Int(low), isRTCP: true) }
        case Token.listener: accept(listener: Int(low))
        default:
            guard let connection = connections[low] else { return }
            if ready.events & WEIR_WRITABLE != 0 { flush(connection) }
            if ready.events & (WEIR_READABLE | WEIR_HANGUP) != 0 { read(connection) }
        }
    }

    /// A full socket buffer: the kernel tells when it has drained.
    private func watchForRoom(_ watch: Bool) {
        awaitsRoom = watch
        for (i, socket) in sockets.enumerated() {
            _ = weir_epoll_set(
                epoll, socket, watch ? WEIR_READABLE | WEIR_WRITABLE : WEIR_READABLE, Token.socket | UInt64(i), 0)
        }
        let events = watch ? WEIR_READABLE | WEIR_WRITABLE : WEIR_READABLE
        for (i, pair) in (plainSockets?.pairs ?? []).enumerated() {
            _ = weir_epoll_set(epoll, pair.rtp, events, Token.plainRTP | UInt64(i), 0)
            _ = weir_epoll_set(epoll, pair.rtcp, events, Token.plainRTCP | UInt64(i), 0)
        }
        for sender in senders.descriptors + (plainSockets?.senderDescriptors ?? []) {
            if watch {
                _ = weir_epoll_set(epoll, sender, WEIR_WRITABLE, Token.sender, 1)
            } else {
                _ = weir_epoll_remove(epoll, sender)
            }
        }
    }

    private func receive(socket: Int32) {
        receive(from: sockets[Int(socket)]) { slot, length, path, arrival in
            handle(slot, length: length, path: path, socket: socket, arrival: arrival)
        }
    }

    private func receivePlain(pair: Int, isRTCP: Bool) {
        guard let plainSockets, plainSockets.pairs.indices.contains(pair) else { return }
        let pair = plainSockets.pairs[pair]
        receive(from: isRTCP ? pair.rtcp : pair.rtp) { slot, length, path, arrival in
            handlePlain(
                UnsafeRawBufferPointer(start: slot, count: length), remote: path.remote, isRTCP: isRTCP,
                arrival: arrival)
            return false
        }
    }

    /// Datagrams of one socket until it is dry, bounded.
    /// - Parameter take: answers whether the slot has been kept.
    private func receive(
        from descriptor: CInt,
        _ take: (_ slot: UnsafeMutableRawPointer, _ length: Int, _ path: ICEPath, _ arrival: Instant) -> Bool
    ) {
        let batch = Int(WEIR_RECEIVE_BATCH)
        for _ in 0..<Self.maxBatchesPerTurn {
            var have = 0
            while have < batch {
                if slots[have] == nil {
                    guard let slot = slab.take() else { break }
                    slots[have] = slot.assumingMemoryBound(to: UInt8.self)
                }
                have += 1
            }
            guard have > 0 else {
                counters.noMemory.bump()
                return
            }
            let count = slots.withMemoryRebound(to: UnsafeMutablePointer<UInt8>?.self, capacity: batch) {
                weir_receive(io, descriptor, $0, CInt(have), PacketSlab.slotSize, datagrams)
            }
            guard count > 0 else { return }
            counters.datagramsReceived.bump(UInt64(count))
            // Kernel time is wall-clock time: bring it to our monotonic clock.
            let offset = Instant.now.nanoseconds &- weir_realtime_ns()
            for i in 0..<Int(count) {
                let d = datagrams[i]
                guard d.truncated == 0, d.length > 0, let slot = slots[i] else { continue }
                var arrival = d.kernel_time_ns != 0 ? Instant(nanoseconds: d.kernel_time_ns &+ offset) : now
                // The wall clock was set between the packet and now.
                if arrival - now > .seconds(1) || now - arrival > .seconds(10) { arrival = now }
                let path = ICEPath(remote: SocketAddress(d.remote), local: SocketAddress(d.local), connection: 0)
                if take(UnsafeMutableRawPointer(slot), Int(d.length), path, arrival) { slots[i] = nil }
            }
            if Int(count) < have { return }
        }
    }

    // MARK: - ICE-TCP

    private func accept(listener: Int) {
        for _ in 0..<64 {
            var remote = weir_address()
            var local = weir_address()
            let descriptor = weir_tcp_accept(listeners[listener], &remote, &local)
            guard descriptor >= 0 else {
                if descriptor == -EMFILE || descriptor == -ENFILE {
                    // The connection stays in the kernel's queue: without this it would wake us again at once.
                    counters.tcpRefused.bump()
                    deafListeners.append(listener)
                    _ = weir_epoll_set(epoll, listeners[listener], 0, Token.listener | UInt64(listener), 0)
                }
                return
            }
            guard tcpBudget.take(SocketAddress(remote)) else {
                counters.tcpRefused.bump()
                Glibc.close(descriptor)
                continue
            }
            _ = adopt(descriptor: descriptor, remote: SocketAddress(remote), local: SocketAddress(local))
        }
    }

    func listenAgain() {
        for listener in deafListeners {
            _ = weir_epoll_set(epoll, listeners[listener], WEIR_READABLE, Token.listener | UInt64(listener), 0)
        }
        deafListeners.removeAll(keepingCapacity: true)
    }

    func adopt(descriptor: CInt, remote: SocketAddress, local: SocketAddress) -> TCPConnection {
        let id = nextConnection
        nextConnection = nextConnection == .max ? 1 : nextConnection + 1
        var from = local
        from.port = 0
        let connection = TCPConnection(
            id: id, descriptor: descriptor, remote: remote, local: from, maxQueue: configuration.maxTCPQueue, now: now)
        connections[id] = connection
        _ = weir_epoll_set(epoll, descriptor, WEIR_READABLE, Token.connection | UInt64(id), 1)
        return connection
    }

    private func read(_ connection: TCPConnection) {
        guard let slot = slab.take() else { return }
        defer { slab.give(slot) }
        for _ in 0..<16 {
            let n = recv(connection.descriptor, slot, PacketSlab.slotSize, 0)
            if n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR) {
                close(connection)
                return
            }
            guard n > 0 else { return }
            feed(connection, bytes: UnsafeRawBufferPointer(start: slot, count: n))
            guard connections[connection.id] != nil else { return }
        }
    }

    func feed(_ connection: TCPConnection, bytes: UnsafeRawBufferPointer) {
        if !connection.isIdentified {
            guard connection.early.count + bytes.count <= TCPConnection.maxEarly else {
                refuse(connection)
                return
            }
            connection.early.append(contentsOf: bytes)
        }
        do {
            try connection.framing.append(bytes.bytes)
            while let frame = connection.framing.next() {
                if frame.isEmpty { continue }
                // No peer of ours makes packets of this size: the stream is out of step, or means harm.
                guard frame.count <= PacketSlab.slotSize else {
                    counters.malformed.bump()
                    refuse(connection)
                    return
                }
                guard let slot = slab.take() else {
                    counters.noMemory.bump()
                    return
                }
                frame.withUnsafeBytes { slot.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
                let path = ICEPath(remote: connection.remote, local: connection.local, connection: connection.id)
                if !handle(slot, length: frame.count, path: path, socket: -1, arrival: now) { slab.give(slot) }
                guard connections[connection.id] != nil else { return }
            }
        } catch {
            counters.malformed.bump()
            refuse(connection)
        }
    }

    func refuse(_ connection: TCPConnection) {
        counters.tcpRefused.bump()
        close(connection)
    }

    /// Gives the connection to the worker that owns its peer, with all that has been read from it.
    func hand(_ connection: TCPConnection, to worker: Int) {
        connections[connection.id] = nil
        byConnection[connection.id] = nil
        _ = weir_epoll_remove(epoll, connection.descriptor)
        mailboxes[worker].post(
            .connection(
                descriptor: connection.descriptor, received: connection.early, remote: connection.remote,
                local: connection.local))
    }

    func close(_ connection: TCPConnection) {
        guard connections.removeValue(forKey: connection.id) != nil else { return }
        tcpBudget.give(connection.remote)
        _ = weir_epoll_remove(epoll, connection.descriptor)
        Glibc.close(connection.descriptor)
        guard let transport = byConnection.removeValue(forKey: connection.id) else { return }
        transport.agent.removePath(
            ICEPath(remote: connection.remote, local: connection.local, connection: connection.id))
        updatePath(of: transport)
    }

    func send(_ bytes: UnsafeRawBufferPointer, connection id: UInt32) -> Bool {
        guard let connection = connections[id] else { return false }
        return send(bytes, on: connection)
    }

    /// - Returns: `false` when the frame was dropped because the connection's queue is full.
    func send(_ bytes: UnsafeRawBufferPointer, on connection: TCPConnection) -> Bool {
        if !connection.isListed {
            connection.isListed = true
            unflushed.append(connection)
        }
        return connection.send(bytes)
    }

    private func flushConnections() {
        guard !unflushed.isEmpty else { return }
        for connection in unflushed {
            connection.isListed = false
            if !connection.wantsWrite, connections[connection.id] === connection { flush(connection) }
        }
        unflushed.removeAll(keepingCapacity: true)
    }

    func flush(_ connection: TCPConnection) {
        let result = connection.flush()
        if result == .failed {
            close(connection)
            return
        }
        let wants = result == .blocked
        if wants != connection.wantsWrite {
            connection.wantsWrite = wants
            _ = weir_epoll_set(
                epoll, connection.descriptor, wants ? WEIR_READABLE | WEIR_WRITABLE : WEIR_READABLE,
                Token.connection | UInt64(connection.id), 0)
        }
    }

    // MARK: - Sending on a transport

    func send(_ bytes: [UInt8], path: ICEPath, socket: Int32) {
        if path.connection != 0 {
            _ = bytes.withUnsafeBytes { send($0, connection: path.connection) }
        } else {
            egress.send(bytes, socket: socket, remote: path.remote.c, local: path.local.c)
        }
    }

    /// Protects one RTCP compound and queues it.
    func sendRTCP(_ bytes: [UInt8], on transport: Transport) {
        guard let outbound = transport.outbound, let path = transport.path,
            bytes.count + 64 < Egress.packetRoom, !bytes.isEmpty
        else { return }
        let room = egress.reserve()
        bytes.withUnsafeBytes { room.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
        let length = machine.protectRTCP(outbound, packet: room, length: bytes.count, capacity: Egress.packetRoom)
        guard length > 0 else { return }
        if path.connection != 0 {
            _ = send(UnsafeRawBufferPointer(start: room, count: length), connection: path.connection)
        } else {
            egress.commit(length: length, socket: transport.socket, remote: path.remote.c, local: path.local.c)
        }
    }
}
