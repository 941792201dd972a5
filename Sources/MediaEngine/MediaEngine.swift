import CLinuxNet
import DTLS
import Glibc
import ICE
import LinuxNet
import SDP
import Synchronization
import Wire

/// The media side as the control side sees it: peers are announced, closed and paused; workers do the rest.
/// Every method is safe from any thread and none of them waits for a worker.
package final class MediaEngine: Sendable {
    package let port: UInt16
    /// RTP port of plain RTP clients, RTCP has the next; nil: there is none.
    package let plainPort: UInt16?
    package let counters = EngineCounters()
    private let mailboxes: [Mailbox]
    private let directory = Directory()
    let sinks: SinkControl
    let sources: SourceControl
    let plain: PlainControl
    private let threads: Mutex<[pthread_t]>
    private let lock: PortLockBox
    private let plainLock: PortLockBox?

    private final class PortLockBox: Sendable {
        let lock: PortLock
        init(_ lock: consuming PortLock) { self.lock = lock }
    }

    /// Binds all sockets of all workers, then starts the workers.
    /// - Parameter events: called on worker threads; must not block.
    package init(configuration: EngineConfiguration, events: @escaping @Sendable (EngineEvent) -> Void) throws {
        var configuration = configuration
        let count = max(1, configuration.workers)
        configuration.workers = count
        let udp: [[CInt]]
        let tcp: [[CInt]]
        var opened: [CInt] = []
        var plainPairs: [[PlainSockets.Pair]] = []
        do {
            let ports = try WorkerPorts(configuration)
            (port, udp, tcp) = (ports.port, ports.udp, ports.tcp)
            opened = Array(udp.joined()) + Array(tcp.joined())
            lock = PortLockBox(ports.takeLock())
            configuration.port = port
            var families: Set<SocketAddress.Family> = []
            if let wanted = configuration.plainPort {
                let ports = try PlainPorts(wanted, configuration: configuration)
                (plainPort, families, plainPairs) = (ports.port, ports.families, ports.sockets)
                plainLock = PortLockBox(ports.takeLock())
            } else {
                (plainPort, plainLock) = (nil, nil)
            }
            let boxes = (0..<count).map { _ in Mailbox() }
            mailboxes = boxes
            sinks = SinkControl(directory: directory, mailboxes: boxes, counters: counters)
            sources = SourceControl(directory: directory, mailboxes: boxes, counters: counters)
            let clients = PlainDirectory()
            plain = PlainControl(
                directory: directory, clients: clients, mailboxes: boxes, counters: counters, families: families)
            let queues = (0..<count).map { from in
                (0..<count).map { to in
                    from == to ? nil : CrossingQueue(capacity: CrossingQueue.capacity(workers: count))
                }
            }
            let context = try DTLSContext(certificate: configuration.certificate, profiles: configuration.profiles)
            let budget = TCPBudget(configuration)
            var started: [pthread_t] = []
            var workers: [Worker] = []
            for i in 0..<count {
                workers.append(
                    try Worker(
                        index: i, configuration: configuration, directory: directory, counters: counters,
                        mailboxes: boxes, outgoing: queues[i], incoming: queues.map { $0[i] }, sockets: udp[i],
                        listeners: tcp[i],
                        plainSockets: plainPort.map {
                            PlainSockets(plainPairs[i], port: $0, bufferSize: configuration.sendBuffer)
                        }, plainClients: clients, dtlsContext: context, tcpBudget: budget, post: events))
            }
            for worker in workers {
                guard let thread = Self.start(worker) else {
                    for i in started.indices { boxes[i].post(.stop) }
                    for thread in started { pthread_join(thread, nil) }
                    // Workers that ran have closed theirs.
                    let closed = Set(udp.prefix(started.count).joined()).union(tcp.prefix(started.count).joined())
                    opened.removeAll { closed.contains($0) }
                    plainPairs.removeFirst(min(started.count, plainPairs.count))
                    throw NetworkError("start media thread \(started.count + 1) of \(count)", code: EAGAIN)
                }
                started.append(thread)
            }
            threads = Mutex(started)
        } catch {
            for descriptor in opened { Glibc.close(descriptor) }
            PlainPorts.close(plainPairs)
            throw error
        }
    }

    private static func start(_ worker: Worker) -> pthread_t? {
        var thread = pthread_t()
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        pthread_attr_setstacksize(&attributes, 4 << 20)
        let context = Unmanaged.passRetained(worker).toOpaque()
        let result = pthread_create(
            &thread, &attributes,
            { context in
                Unmanaged<Worker>.fromOpaque(context!).takeRetainedValue().run()
                return nil
            }, context)
        pthread_attr_destroy(&attributes)
        guard result == 0 else {
            Unmanaged<Worker>.fromOpaque(context).release()
            return nil
        }
        return thread
    }

    /// Makes a peer known to the workers: its first authenticated check will be answered from now on.
    @discardableResult
    package func register(id: UInt64, publisher: UInt64?, negotiation: Negotiation) -> PeerRegistration? {
        var source: PeerRegistration?
        if let publisher {
            guard let found = directory.find(peer: publisher) else { return nil }
            source = found
        }
        let registration = PeerRegistration(id: id, publisher: source, negotiation: negotiation)
        directory.insert(registration)
        return registration
    }

    package func registration(of peer: UInt64) -> PeerRegistration? { directory.find(peer: peer) }

    /// Ends a peer without an event. Idempotent.
    package func close(peer: UInt64) {
        guard let registration = directory.remove(peer: peer) else { return }
        // Its addresses are free at once.
        registration.plain?.end()
        let (claimed, owner) = registration.owner.compareExchange(
            expected: -1, desired: -2, ordering: .acquiringAndReleasing)
        if claimed {
            registration.closeMedia()
        } else if owner >= 0 {
            mailboxes[owner].post(.close(peer: peer))
        }
    }

    package func setPaused(_ paused: Bool, peer: UInt64) {
        guard let owner = directory.find(peer: peer)?.owner.load(ordering: .acquiring), owner >= 0 else { return }
        mailboxes[owner].post(.setPaused(peer: peer, paused))
    }

    /// New credentials for all transports of a peer (RFC 8839 §4.4); the old path serves until the first new check.
    package func restartICE(peer: UInt64, local: ICECredentials, remote: ICECredentials) -> Bool {
        // Without BUNDLE there is one pair of credentials per transport, which one new pair cannot replace.
        guard let registration = directory.find(peer: peer), registration.negotiation.transports.count == 1 else {
            return false
        }
        let (unclaimed, owner) = registration.owner.compareExchange(
            expected: -1, desired: -2, ordering: .acquiringAndReleasing)
        if unclaimed {
            // No worker has seen the peer yet: it is announced anew.
            var negotiation = registration.negotiation
            for i in negotiation.transports.indices {
                negotiation.transports[i].localUfrag = local.ufrag
                negotiation.transports[i].localPassword = local.password
                negotiation.transports[i].remoteUfrag = remote.ufrag
                negotiation.transports[i].remotePassword = remote.password
            }
            return directory.replace(
                registration,
                by: PeerRegistration(
                    id: peer, publisher: registration.publisher, negotiation: negotiation, sinks: registration.sinks))
        }
        guard owner >= 0 else { return false }
        directory.addFragment(local.ufrag, peer: peer, transport: 0)
        mailboxes[owner].post(.restartICE(peer: peer, local: local, remote: remote))
        return true
    }

    func post(_ command: WorkerCommand, to worker: Int) { mailboxes[worker].post(command) }

    package var peerCount: Int { directory.count }

    /// Stops the workers and waits for them. Idempotent.
    package func stop() {
        let running = threads.withLock { t in
            let all = t
            t = []
            return all
        }
        guard !running.isEmpty else { return }
        for mailbox in mailboxes { mailbox.post(.stop) }
        for thread in running { pthread_join(thread, nil) }
        // The workers have ended their peers, with their sinks and sources; nobody will adopt the others.
        for registration in directory.close() { registration.closeMedia() }
    }
}
