import ControlPlane
import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import NIOWebSocket
import ServiceLifecycle
import Synchronization
import WeirMetrics

package enum WCSServerError: Error, CustomStringConvertible {
    case noTLSContext(WCSListener)
    case bind(WCSListener, String)

    package var description: String {
        switch self {
        case .noTLSContext(let listener): "\(listener): a secure listener needs a certificate"
        case .bind(let listener, let cause):
            "\(listener): cannot listen (\(cause)); choose another address or port, or stop the program that uses it"
        }
    }
}

/// The WCS WebSocket (`wcs-signalling.md`) on `ws` and `wss` addresses.
///
/// Any path, no subprotocol. Each accepted connection becomes one session of the control plane.
package final class WCSServer: Service {
    /// Closes an accepted connection that is over a limit.
    private struct Refused: Error {}

    private enum Listening {
        case notYet([CheckedContinuation<[Int], Never>])
        case ports([Int])
    }

    private let configuration: WCSConfiguration
    private let control: ControlPlane
    private let tlsContext: (@Sendable () throws -> NIOSSLContext)?
    private let group: any EventLoopGroup
    private let logger: Logger
    private let metrics: WCSMetrics
    private let registry: ConnectionRegistry
    private let limiter = LogLimiter()
    private let listening = Mutex(Listening.notYet([]))

    /// - Parameters:
    ///   - tlsContext: Asked at every accepted `wss` connection, so a new certificate is used from the next one on.
    ///     It must be cheap: return a context that is kept.
    ///   - group: The event loops; they are not shut down here.
    package init(
        configuration: WCSConfiguration, control: ControlPlane,
        tlsContext: (@Sendable () throws -> NIOSSLContext)? = nil, metrics: MetricsRegistry, logger: Logger,
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton
    ) {
        self.configuration = configuration
        self.control = control
        self.tlsContext = tlsContext
        self.group = group
        self.logger = logger
        self.metrics = WCSMetrics(metrics)
        registry = ConnectionRegistry(budget: configuration.connections)
    }

    /// Listens until graceful shutdown (clients are told, see `shutDown`) or cancellation (sockets are closed).
    package func run() async throws {
        let servers = try await listen()
        // Throws at cancellation, which means that nobody wants to wait.
        let isGraceful: Bool
        do {
            try await gracefulShutdown()
            isGraceful = true
        } catch {
            isGraceful = false
        }
        for server in servers { try? await server.close() }
        await shutDown(timeout: isGraceful ? configuration.shutdownTimeout : .zero)
    }

    /// The ports bound, in the order of the configuration, once all are.
    package var ports: [Int] {
        get async {
            await withCheckedContinuation { continuation in
                let ports: [Int]? = listening.withLock { state in
                    switch state {
                    case .ports(let ports): return ports
                    case .notYet(let waiting):
                        state = .notYet(waiting + [continuation])
                        return nil
                    }
                }
                if let ports { continuation.resume(returning: ports) }
            }
        }
    }

    /// Ends every session with its events and a close frame 1001; whoever is left after `timeout` is cut off.
    package func shutDown(timeout: Duration) async {
        if timeout > .zero {
            let deadline = ContinuousClock.now + timeout
            // Not waited for: the media side may take its time, this method has a limit.
            for connection in registry.drain() { Task { await connection.shutDown() } }
            while !registry.isEmpty, ContinuousClock.now < deadline {
                // A cancelled sleep returns at once; then there is no more time to give.
                guard (try? await Task.sleep(for: Self.shutdownPoll)) != nil else { break }
            }
        }
        for channel in registry.channels { channel.close(promise: nil) }
        // Sessions end by themselves now, through the control plane, which bounds the time of each step.
        let deadline = ContinuousClock.now + Self.lastGrace
        while !registry.isEmpty, ContinuousClock.now < deadline {
            guard (try? await Task.sleep(for: Self.shutdownPoll)) != nil else { break }
        }
    }

    // MARK: Listening

    private func listen() async throws -> [any Channel] {
        var servers: [any Channel] = []
        do {
            for listener in configuration.listeners {
                guard !listener.secure || tlsContext != nil else { throw WCSServerError.noTLSContext(listener) }
                do {
                    servers.append(try await bootstrap(listener).bind(host: listener.host, port: listener.port).get())
                } catch {
                    throw WCSServerError.bind(listener, "\(error)")
                }
            }
        } catch {
            for server in servers { try? await server.close() }
            throw error
        }
        let ports = servers.map { $0.localAddress?.port ?? 0 }
        for (listener, port) in zip(configuration.listeners, ports) {
            logger.info("listening for WCS clients", metadata: ["url": "\(listener)", "port": "\(port)"])
        }
        let waiting: [CheckedContinuation<[Int], Never>] = listening.withLock { state in
            defer { state = .ports(ports) }
            if case .notYet(let waiting) = state { return waiting }
            return []
        }
        for continuation in waiting { continuation.resume(returning: ports) }
        return servers
    }

    private func bootstrap(_ listener: WCSListener) -> ServerBootstrap {
        ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: Self.backlog)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try self.prepare(channel, secure: listener.secure) }
            }
    }

    /// Sets up an accepted connection. Throwing closes it.
    private func prepare(_ channel: any Channel, secure: Bool) throws {
        let address = configuration.connections.key(of: channel.remoteAddress?.ipAddress)
        if let reason = registry.add(channel, from: address) {
            reject(reason)
            throw Refused()
        }
        metrics.accepted.increment()
        metrics.connections.add(1)
        channel.closeFuture.whenComplete { _ in
            self.metrics.connections.add(-1)
            self.registry.remove(channel, from: address)
        }
        let pipeline = channel.pipeline.syncOperations
        if secure, let tlsContext {
            try pipeline.addHandler(NIOSSLServerHandler(context: tlsContext()))
        }
        let upgradeHandler = UpgradeHandler(timeout: configuration.handshakeTimeout) { self.reject($0) }
        let bound = NIOLoopBound(upgradeHandler, eventLoop: channel.eventLoop)
        try pipeline.configureHTTPServerPipeline(
            withPipeliningAssistance: false,
            withServerUpgrade: (
                upgraders: [webSocketUpgrader()],
                completionHandler: { context in
                    context.pipeline.syncOperations.removeHandler(bound.value, promise: nil)
                }
            ),
            withErrorHandling: true)
        try pipeline.addHandler(upgradeHandler)
    }

    private func webSocketUpgrader() -> NIOWebSocketServerUpgrader {
        NIOWebSocketServerUpgrader(
            maxFrameSize: configuration.maxMessageBytes, automaticErrorHandling: false,
            // Any path; no header of ours, so no subprotocol and no extension is chosen.
            shouldUpgrade: { channel, _ in channel.eventLoop.makeSucceededFuture([:]) },
            upgradePipelineHandler: { channel, head in
                channel.eventLoop.makeCompletedFuture { try self.begin(channel, head) }
            })
    }

    private func begin(_ channel: any Channel, _ head: HTTPRequestHead) throws {
        let connection = WCSConnection(
            configuration: configuration, control: control, metrics: metrics, logger: logger, limiter: limiter,
            remoteAddress: configuration.trustedProxies.client(
                peer: AddressKey.text(host: channel.remoteAddress?.ipAddress, port: channel.remoteAddress?.port),
                forwardedFor: head.headers["X-Forwarded-For"]),
            localAddress: AddressKey.text(host: channel.localAddress?.ipAddress, port: channel.localAddress?.port),
            query: Self.query(of: head.uri),
            bearerToken: Self.bearerToken(of: head.headers), eventLoop: channel.eventLoop)
        // Unbounded by itself: the handler stops reading while too much waits.
        let (requests, continuation) = AsyncStream.makeStream(of: WCSIncoming.self, bufferingPolicy: .unbounded)
        let handler = WCSChannelHandler(
            configuration: configuration, connection: connection, metrics: metrics, requests: continuation)
        connection.attach(handler)
        try channel.pipeline.syncOperations.addHandler(handler)
        let isDraining = registry.begin(connection)
        Task {
            if isDraining { await connection.shutDown() }
            await connection.run(requests)
            self.registry.end(connection)
        }
    }

    private func reject(_ reason: RejectReason) {
        metrics.count(reason)
        guard let suppressed = limiter.admit() else { return }
        logger.info("refused: \(reason.rawValue)", metadata: suppressed > 0 ? ["suppressed": "\(suppressed)"] : nil)
    }

    // MARK: Texts

    static func query(of uri: String) -> String? {
        guard let mark = uri.firstIndex(of: "?") else { return nil }
        return String(uri[uri.index(after: mark)...])
    }

    static func bearerToken(of headers: HTTPHeaders) -> String? {
        guard let value = headers.first(name: "Authorization") else { return nil }
        let parts = value.split(separator: " ", maxSplits: 1)
        guard parts.count == 2, parts[0].lowercased() == "bearer" else { return nil }
        return String(parts[1])
    }

    /// Connections the kernel may hold for us.
    private static let backlog: Int32 = 1_024
    private static let shutdownPoll = Duration.milliseconds(20)
    /// For sessions whose sockets have been closed.
    private static let lastGrace = Duration.seconds(1)
}
