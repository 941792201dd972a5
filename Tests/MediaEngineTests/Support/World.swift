import CLinuxNet
import DTLS
import ICE
import LinuxNet
import MediaEngine
import RTP
import SDP
import Synchronization
import Wire

/// Virtual time: the engine's workers, the test peers and the links between them. Nothing sleeps, and with the same
/// seed everything happens again.
final class World {
    private static let step = Interval.milliseconds(1)
    static let server = SocketAddress(ipv4: 0xc000_0201, port: 0)
    private static let connectLimit = Interval.seconds(5)

    private enum Event {
        case toWorker([UInt8], peer: UInt64)
        case toPeer([UInt8], peer: UInt64)
    }

    private(set) var now = Instant(nanoseconds: 1_000_000_000_000)
    let configuration: EngineConfiguration
    let directory = Directory()
    let counters = EngineCounters()
    private(set) var workers: [Worker] = []
    let mailboxes: [Mailbox]
    let queues: [[CrossingQueue?]]
    let sinks: SinkControl
    let sources: SourceControl
    let plain: PlainControl
    /// Plain RTP clients by each of their addresses.
    var plainClients: [SocketAddress: PlainCore] = [:]
    private let security: TestSecurity
    private let seed: UInt64
    private var random: SeededRandom
    private var events = EventQueue<Event>()
    private var peers: [UInt64: PeerCore] = [:]
    private var order: [UInt64] = []
    private var idOfAddress: [SocketAddress: UInt64] = [:]
    private var workerOf: [UInt64: Int] = [:]
    /// By peer: what it sends, and what it is sent.
    private(set) var uplinks: [UInt64: VirtualLink] = [:]
    private(set) var downlinks: [UInt64: VirtualLink] = [:]
    private var streams: [UInt64: StreamPipe] = [:]
    /// How long each datagram has waited for its worker when that gets to it: an overloaded machine.
    var lag = Interval.zero
    /// Sees every message of a worker as the kernel would be given it.
    var onMessage: ((_ peer: UInt64, _ bytes: [UInt8], _ segment: Int) -> Void)?
    private(set) var registrations: [UInt64: PeerRegistration] = [:]
    private var nextID: UInt64 = 1

    private final class Log: Sendable { let events = Mutex<[EngineEvent]>([]) }
    private let log = Log()
    var posted: [EngineEvent] { log.events.withLock { $0 } }

    init(seed: UInt64, workers count: Int = 1, configure: (inout EngineConfiguration) -> Void = { _ in }) throws {
        security = try TestSecurity.shared()
        self.seed = seed
        random = SeededRandom(seed: seed)
        var configuration = EngineConfiguration(certificate: security.server)
        configuration.workers = count
        // Late joiners ask for a key frame unless a test is about the cache.
        configuration.groupCache = .zero
        configure(&configuration)
        self.configuration = configuration
        let boxes = (0..<count).map { _ in Mailbox() }
        mailboxes = boxes
        let queues = (0..<count).map { from in (0..<count).map { to in from == to ? nil : CrossingQueue() } }
        self.queues = queues
        sinks = SinkControl(directory: directory, mailboxes: boxes, counters: counters)
        sources = SourceControl(directory: directory, mailboxes: boxes, counters: counters)
        let clients = PlainDirectory()
        plain = PlainControl(
            directory: directory, clients: clients, mailboxes: boxes, counters: counters, families: [.ipv4])
        for i in 0..<count {
            let worker = try Worker(
                index: i, configuration: configuration, directory: directory, counters: counters, mailboxes: boxes,
                outgoing: queues[i], incoming: queues.map { $0[i] }, sockets: [], listeners: [],
                plainClients: clients, dtlsContext: security.serverContext, now: now,
                transmit: { [unowned self] socket, messages, count in
                    for k in 0..<Int(count) { self.transmit(messages[k], socket: socket) }
                    return count
                },
                post: { [log] event in log.events.withLock { $0.append(event) } })
            worker.random = SeededRandom(seed: seed ^ UInt64(i) << 32)
            workers.append(worker)
        }
    }

    // MARK: - Peers

    /// - Parameter worker: which worker's socket hears the peer.
    /// - Parameter fingerprint: what the engine expects of its certificate; `nil`: the truth.
    func addPublisher(
        worker: Int = 0, settings: PublisherCore.Settings = .init(), fingerprint: String? = nil
    ) throws -> PublisherCore {
        let (id, local, remote, address) = identity()
        let publisher = try PublisherCore(id: id, address: address, local: local, remote: remote, security: security)
        publisher.settings = settings
        var tracks = [track(.video, mid: "1", extensions: publisherExtensions)]
        tracks[0].ssrc = TestIDs.publisherVideo
        tracks[0].rtxSSRC = TestIDs.publisherRTX
        tracks[0].codec.feedback = settings.feedback
        if !settings.feedback.contains("transport-cc") {
            tracks[0].extensions[RTPExtensionURI.transportCC] = nil
        }
        if let sets = settings.parameterSets {
            tracks[0].codec.name = "H264"
            tracks[0].parameterSets = sets
        }
        if settings.hasAudio {
            tracks.insert(track(.audio, mid: "0", extensions: tracks[0].extensions), at: 0)
            tracks[0].ssrc = TestIDs.publisherAudio
        }
        add(
            publisher, worker: worker, publisher: nil, tracks: tracks, local: local, remote: remote,
            fingerprint: fingerprint)
        return publisher
    }

    func addPlayer(
        of publisher: PublisherCore, worker: Int = 0, takesRTX: Bool = true, wrongPassword: Bool = false
    ) throws -> PlayerCore {
        try addPlayer(
            of: registrations[publisher.id], isH264: publisher.settings.parameterSets != nil, worker: worker,
            takesRTX: takesRTX, wrongPassword: wrongPassword)
    }

    func addPlayer(
        of publisher: PeerRegistration?, isH264: Bool = false, worker: Int = 0, takesRTX: Bool = true,
        wrongPassword: Bool = false
    ) throws -> PlayerCore {
        let (id, local, remote, address) = identity()
        let ssrc = 0x2000_0000 + UInt32(id) * 16
        let known = wrongPassword ? ICECredentials(ufrag: remote.ufrag, password: "not the password of it") : remote
        let player = try PlayerCore(
            id: id, address: address, local: local, remote: known, security: security, ssrc: ssrc, takesRTX: takesRTX)
        let stamps = [
            RTPExtensionURI.absSendTime: TestIDs.timeExtension, RTPExtensionURI.transportCC: TestIDs.transportExtension,
        ]
        var video = track(.video, mid: "1", extensions: stamps)
        if isH264 { video.codec.name = "H264" }
        video.sendSSRC = ssrc
        video.sendRTXSSRC = ssrc + 1
        if !takesRTX { video.codec.rtxPayloadType = nil }
        var audio = track(.audio, mid: "0", extensions: stamps)
        audio.sendSSRC = ssrc + 2
        add(
            player, worker: worker, publisher: publisher, tracks: [audio, video], local: local, remote: remote)
        return player
    }

    private var publisherExtensions: [String: UInt8] {
        [RTPExtensionURI.mid: TestIDs.midExtension, RTPExtensionURI.transportCC: TestIDs.transportExtension]
    }

    private func identity() -> (UInt64, ICECredentials, ICECredentials, SocketAddress) {
        defer { nextID += 1 }
        let address = SocketAddress(ipv4: 0x0a00_0000 + UInt32(nextID), port: UInt16(5000 + nextID))
        return (nextID, .random(using: &random), .random(using: &random), address)
    }

    func track(_ kind: MediaKind, mid: String, extensions: [String: UInt8]) -> NegotiatedTrack {
        let isVideo = kind == .video
        let codec = RTPCodec(
            payloadType: isVideo ? TestIDs.videoType : TestIDs.audioType, name: isVideo ? "VP8" : "opus",
            clockRate: isVideo ? TestIDs.videoClock : TestIDs.audioClock, channels: isVideo ? 1 : 2,
            feedback: isVideo ? ["nack", "nack pli", "transport-cc"] : ["transport-cc"],
            rtxPayloadType: isVideo ? TestIDs.rtxType : nil)
        return NegotiatedTrack(kind: kind, mLineIndex: 0, mid: mid, codec: codec, extensions: extensions)
    }

    private func add(
        _ peer: PeerCore, worker: Int, publisher: PeerRegistration?, tracks: [NegotiatedTrack], local: ICECredentials,
        remote: ICECredentials, fingerprint: String? = nil
    ) {
        let transport = NegotiatedTransport(
            localUfrag: remote.ufrag, localPassword: remote.password, remoteUfrag: local.ufrag,
            remotePassword: local.password,
            fingerprints: [.init(algorithm: "sha-256", hex: fingerprint ?? security.client.fingerprintSHA256)],
            dtlsRole: .server)
        let registration = PeerRegistration(
            id: peer.id, publisher: publisher,
            negotiation: Negotiation(answer: "", transports: [transport], tracks: tracks))
        directory.insert(registration)
        registrations[peer.id] = registration
        peers[peer.id] = peer
        order.append(peer.id)
        idOfAddress[peer.address] = peer.id
        workerOf[peer.id] = worker
        uplinks[peer.id] = VirtualLink(seed: seed &* 1000 &+ peer.id * 2)
        downlinks[peer.id] = VirtualLink(seed: seed &* 1000 &+ peer.id * 2 + 1)
    }

    /// Makes both directions of a peer's link as bad as that; `nil` leaves a direction as it is.
    func impair(_ peer: PeerCore, up: LinkConditions? = nil, down: LinkConditions? = nil) {
        if let up { uplinks[peer.id]?.conditions = up }
        if let down { downlinks[peer.id]?.conditions = down }
    }

    /// From now on another worker's socket hears the peer.
    func move(_ peer: PeerCore, to worker: Int) { workerOf[peer.id] = worker }

    func dropUp(_ peer: PeerCore, _ drop: (([UInt8]) -> Bool)?) { uplinks[peer.id]?.drop = drop }
    func dropDown(_ peer: PeerCore, _ drop: (([UInt8]) -> Bool)?) { downlinks[peer.id]?.drop = drop }

    // MARK: - Time

    func run(for duration: Interval) throws { try run(until: now + duration) }

    func run(until end: Instant) throws {
        while now < end {
            let tick = min(now + Self.step, end)
            while let at = events.next, at <= tick, let event = events.pop() {
                now = max(now, at)
                try deliver(event.element)
            }
            now = tick
            for id in order {
                guard let peer = peers[id] else { continue }
                try peer.poll(now: now)
                collect(peer)
            }
            for worker in workers {
                worker.turn(now: now) {
                    if streams.isEmpty { worker.takeCommands() } else { worker.takeReady() }
                }
            }
            for (id, stream) in streams {
                guard let peer = peers[id] else { continue }
                for frame in try stream.read() { try peer.receive(frame, now: now) }
                collect(peer)
            }
        }
    }

    /// Runs with sources that send in every millisecond, before the workers' turns.
    func run(for duration: Interval, sending sources: SourceFeeder..., reading readers: [SinkReader] = []) throws {
        let end = now + duration
        while now < end {
            for source in sources { source.tick(now: now) }
            try run(for: .milliseconds(1))
            for reader in readers { reader.read() }
        }
    }

    /// Runs until all of them have their keys, and a little more so that the engine knows it.
    func connect(_ waited: PeerCore...) throws {
        let end = now + Self.connectLimit
        while now < end, !waited.allSatisfy(\.isConnected) { try run(for: Self.step) }
        guard waited.allSatisfy(\.isConnected) else { throw TestFailure.notConnected }
    }

    private func deliver(_ event: Event) throws {
        switch event {
        case .toWorker(let bytes, let id):
            guard let peer = peers[id], let worker = workerOf[id] else { return }
            let time = now - lag
            workers[worker].turn(now: now) {
                workers[worker].takeCommands()
                workers[worker].take(bytes, remote: peer.address, local: Self.server, socket: 0, arrival: time)
            }
        case .toPeer(let bytes, let id):
            guard let peer = peers[id] else { return }
            try peer.receive(bytes, now: now)
            collect(peer)
        }
    }

    private func collect(_ peer: PeerCore) {
        if let stream = streams[peer.id] {
            for datagram in peer.outgoing { stream.write(datagram) }
            peer.outgoing.removeAll()
        }
        for datagram in peer.outgoing {
            for at in uplinks[peer.id]?.deliveries(of: datagram, at: now) ?? [] {
                events.insert(.toWorker(datagram, peer: peer.id), at: at)
            }
        }
        peer.outgoing.removeAll()
    }

    /// Cuts a message as the kernel would (UDP_SEGMENT) and puts the datagrams on the peer's link.
    private func transmit(_ message: weir_message, socket: Int32) {
        if let client = plainClients[SocketAddress(message.remote)] {
            client.take(message, socket: socket, now: now)
            return
        }
        guard let id = idOfAddress[SocketAddress(message.remote)] else { return }
        let bytes = Array(UnsafeBufferPointer(start: message.data, count: Int(message.length)))
        let segment = max(1, Int(message.segment))
        onMessage?(id, bytes, segment)
        for start in stride(from: 0, to: bytes.count, by: segment) {
            let datagram = Array(bytes[start..<min(start + segment, bytes.count)])
            for at in downlinks[id]?.deliveries(of: datagram, at: now) ?? [] {
                events.insert(.toPeer(datagram, peer: id), at: at)
            }
        }
    }

    // MARK: - ICE-TCP

    /// Gives the peer a connection to a worker; everything it sends from now on goes over it.
    /// - Parameter kernelBuffer: bytes that the kernel takes before the engine has to queue.
    func connectTCP(_ peer: PeerCore, worker: Int = 0, kernelBuffer: Int) throws -> StreamPipe {
        let (pipe, descriptor) = try StreamPipe.make(kernelBuffer: kernelBuffer)
        streams[peer.id] = pipe
        mailboxes[worker].post(
            .connection(descriptor: descriptor, received: [], remote: peer.address, local: Self.server))
        return pipe
    }

    // MARK: - Commands

    func close(_ peer: PeerCore) { command(.close(peer: peer.id), peer) }
    func setPaused(_ paused: Bool, _ peer: PeerCore) { command(.setPaused(peer: peer.id, paused), peer) }

    private func command(_ command: WorkerCommand, _ peer: PeerCore) {
        guard let owner = registrations[peer.id]?.owner.load(ordering: .acquiring), owner >= 0 else { return }
        mailboxes[owner].post(command)
    }

    /// A datagram from somewhere to worker 0.
    func inject(_ bytes: [UInt8], from address: SocketAddress) {
        let time = now
        workers[0].turn(now: now) {
            workers[0].take(bytes, remote: address, local: Self.server, socket: 0, arrival: time)
        }
    }

    /// Several datagrams of one peer in one turn of its worker, as a batch of the socket.
    func deliverTogether(_ datagrams: [[UInt8]], from peer: PeerCore) {
        deliverTogether(datagrams.map { ($0, peer) })
    }

    /// Datagrams of several peers in one turn of the worker that hears the first of them.
    func deliverTogether(_ datagrams: [(bytes: [UInt8], peer: PeerCore)]) {
        guard let first = datagrams.first, let worker = workerOf[first.peer.id] else { return }
        let time = now
        workers[worker].turn(now: now) {
            for (bytes, peer) in datagrams {
                workers[worker].take(bytes, remote: peer.address, local: Self.server, socket: 0, arrival: time)
            }
        }
    }
}

extension EngineEvent {
    /// Failure of that peer, if this is one.
    func failure(of peer: PeerCore) -> EngineFailure? {
        if case .failed(let id, let reason) = self, id == peer.id { return reason }
        return nil
    }
}
