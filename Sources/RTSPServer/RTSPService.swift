import ControlPlane
import Glibc
import Logging
import NIOCore
import NIOPosix
import NIOSSL
import RTP
import RTSP
import ServiceLifecycle
import Synchronization
import WeirMetrics
import Wire

package enum RTSPServiceError: Error, CustomStringConvertible {
    case noTLSContext(RTSPListener)
    case bind(RTSPListener, String)

    package var description: String {
        switch self {
        case .noTLSContext(let listener): "\(listener): a secure listener needs a certificate"
        case .bind(let listener, let cause):
            "\(listener): cannot listen (\(cause)); choose another address or port by \(listener.key), or stop the program "
                + "that uses it"
        }
    }
}

/// RTSP on `rtsp` and `rtsps` addresses.
package final class RTSPService: Service {
    /// Closes an accepted connection that is over a limit.
    private struct Refused: Error {}

    private let configuration: RTSPServerConfiguration
    private let backend: any RTSPBackend
    private let tlsContext: (@Sendable () throws -> NIOSSLContext)?
    private let group: any EventLoopGroup
    private let logger: Logger
    private let metrics: RTSPServerMetrics
    private let links = Mutex<[ObjectIdentifier: (channel: any Channel, handler: NIOLoopBound<RTSPChannelHandler>)]>([:]
    )
    private let tunnels = HTTPTunnels()
    private let lastConnection = Atomic<UInt64>(0)
    private let onListening: @Sendable ([Int]) -> Void

    /// - Parameters:
    ///   - tlsContext: Asked at every accepted `rtsps` connection, so a new certificate is used from the next one on.
    ///   - group: The event loops; they are not shut down here.
    ///   - onListening: Called once with the ports, in the order of the configuration.
    package init(
        configuration: RTSPServerConfiguration, backend: any RTSPBackend,
        tlsContext: (@Sendable () throws -> NIOSSLContext)? = nil, metrics: MetricsRegistry, logger: Logger,
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton,
        onListening: @escaping @Sendable ([Int]) -> Void = { _ in }
    ) {
        self.configuration = configuration
        self.backend = backend
        self.tlsContext = tlsContext
        self.group = group
        self.logger = logger
        self.metrics = RTSPServerMetrics(metrics)
        self.onListening = onListening
    }

    /// Listens until graceful shutdown (sessions are ended, then connections closed) or cancellation.
    package func run() async throws {
        let servers = try await listen()
        try? await gracefulShutdown()
        for server in servers { try? await server.close() }
        await shutDown()
    }

    // MARK: Listening

    private func listen() async throws -> [any Channel] {
        var servers: [any Channel] = []
        do {
            for listener in configuration.listeners {
                guard !listener.secure || tlsContext != nil else { throw RTSPServiceError.noTLSContext(listener) }
                do {
                    servers.append(try await bootstrap(listener).bind(host: listener.host, port: listener.port).get())
                } catch {
                    throw RTSPServiceError.bind(listener, "\(error)")
                }
            }
        } catch {
            for server in servers { try? await server.close() }
            throw error
        }
        let ports = servers.map { $0.localAddress?.port ?? 0 }
        for (listener, port) in zip(configuration.listeners, ports) {
            logger.info("listening for RTSP clients", metadata: ["url": "\(listener)", "port": "\(port)"])
        }
        onListening(ports)
        return servers
    }

    private func bootstrap(_ listener: RTSPListener) -> ServerBootstrap {
        // The kernel would take megabytes for a slow player, who then sees what is long over.
        let unsent = min(configuration.maxQueuedBytes / 2, Self.maxUnsentBytes)
        let mark = ChannelOptions.Types.WriteBufferWaterMark(
            low: configuration.maxQueuedBytes / 2, high: configuration.maxQueuedBytes)
        return ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: Self.backlog)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelOption(.tcpOption(.init(rawValue: Self.notSentLimit)), value: .init(unsent))
            .childChannelOption(.writeBufferWaterMark, value: mark)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try self.prepare(channel, secure: listener.secure) }
            }
    }

    /// Sets up an accepted connection. Throwing closes it.
    private func prepare(_ channel: any Channel, secure: Bool) throws {
        guard let remote = Self.address(channel.remoteAddress), let local = Self.address(channel.localAddress) else {
            throw Refused()
        }
        let key = configuration.connections.key(of: channel.remoteAddress?.ipAddress)
        if let refusal = configuration.connections.take(key) {
            metrics.count(refusal)
            throw Refused()
        }
        metrics.accepted.increment()
        metrics.connections.add(1)
        let id = ObjectIdentifier(channel)
        channel.closeFuture.whenComplete { _ in
            self.metrics.connections.add(-1)
            self.configuration.connections.giveBack(key)
            self.links.withLock { $0[id] = nil }
        }
        let number = lastConnection.add(1, ordering: .relaxed).newValue
        let session = RTSPServerSession(
            settings: configuration.session, peer: RTSPPeer(remote: remote, local: local, isSecure: secure),
            now: Instant(nanoseconds: Int64(NIODeadline.now().uptimeNanoseconds)), makeSecret: Self.makeSecret,
            makeSSRC: configuration.sources.ssrc, keyMaker: Self.keyMaker)
        let facts = RTSPConnectionFacts(
            id: "rtsp-\(number)", remoteAddress: "\(remote)", localAddress: "\(local)", isSecure: secure)
        let handler = RTSPChannelHandler(
            configuration: configuration, session: session, backend: backend, facts: facts, metrics: metrics)
        let pipeline = channel.pipeline.syncOperations
        if secure, let tlsContext { try pipeline.addHandler(NIOSSLServerHandler(context: tlsContext())) }
        let address = channel.remoteAddress?.ipAddress ?? ""
        try pipeline.addHandler(HTTPTunnelHandler(tunnels, address: address, rtsp: handler, metrics: metrics))
        try pipeline.addHandler(handler)
        let bound = NIOLoopBound(handler, eventLoop: channel.eventLoop)
        links.withLock { $0[id] = (channel, bound) }
    }

    /// 128 random bits, in hexadecimal.
    private static let keyMaker = RTSPKeyMaker(
        random: { count in
            var random = SystemRandomNumberGenerator()
            return (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &random) }
        },
        time: {
            var now = timespec()
            clock_gettime(CLOCK_REALTIME, &now)
            let nanoseconds = UInt64(clamping: now.tv_sec) &* 1_000_000_000 &+ UInt64(clamping: now.tv_nsec)
            return NTPTime(unixNanoseconds: nanoseconds).rawValue
        })

    private static func makeSecret() -> String {
        var random = SystemRandomNumberGenerator()
        return (0..<2).map { _ in
            let digits = String(random.next(), radix: 16)
            return String(repeating: "0", count: 16 - digits.utf8.count) + digits
        }.joined()
    }

    /// An IPv4 client of a dual-stack listener is what it is: its UDP address is compared with this one.
    private static func address(_ address: NIOCore.SocketAddress?) -> Wire.SocketAddress? {
        guard let address, let host = address.ipAddress, let port = address.port.flatMap({ UInt16(exactly: $0) }) else {
            return nil
        }
        let mapped = "::ffff:"
        let plain = host.lowercased().hasPrefix(mapped) ? String(host.dropFirst(mapped.utf8.count)) : host
        // A zone (`%eth0`) tells nothing that the connection does not.
        let name = plain.prefix { $0 != "%" }
        return Wire.SocketAddress(ip: name, port: port) ?? Wire.SocketAddress(ip: host.prefix { $0 != "%" }, port: port)
    }

    // MARK: Shutdown

    private func shutDown() async {
        let open = links.withLock { Array($0.values) }
        for (channel, handler) in open { channel.eventLoop.execute { handler.value.shutDown() } }
        let deadline = ContinuousClock.now + configuration.shutdownTimeout
        while !links.withLock({ $0.isEmpty }), ContinuousClock.now < deadline {
            // A cancelled sleep returns at once; then there is no more time to give.
            guard (try? await Task.sleep(for: Self.shutdownPoll)) != nil else { break }
        }
        for (channel, _) in links.withLock({ Array($0.values) }) { channel.close(promise: nil) }
    }

    /// TCP_NOTSENT_LOWAT of tcp(7): what the kernel takes beyond what the peer's window admits.
    private static let notSentLimit: CInt = 25
    private static let maxUnsentBytes = 256 << 10
    /// Connections the kernel may hold for us.
    private static let backlog: Int32 = 1_024
    private static let shutdownPoll = Duration.milliseconds(20)
}
