import ControlPlane
import Foundation
import HLS
import HTTPTypes
import Hummingbird
import HummingbirdCore
import HummingbirdHTTP2
import Logging
import NIOCore
import NIOSSL
import ServiceLifecycle
import Synchronization
import WeirMetrics

/// A listener could not be opened.
package enum HTTPServiceError: Error, Hashable, Sendable, CustomStringConvertible {
    /// `key`: of the configuration, that of the port.
    case cannotListen(HTTPListenAddress, reason: String, key: String)

    package var description: String {
        switch self {
        case .cannotListen(let address, let reason, let key):
            "cannot listen on \(address): \(reason). Is another server running there? Change \(key)."
        }
    }
}

/// WHIP, WHEP, the page and the operator's paths over HTTP and HTTPS.
package final class HTTPService: Service {
    /// Bytes of all header fields of a request.
    private static let maxHeaderBytes = RequestHead.maxBytes
    private static let maxHeaderFields = RequestHead.maxFields
    /// For requests of HTTP/2 that are on their way when the server ends.
    private static let gracefulCloseTimeout = Duration.seconds(1)

    private let configuration: HTTPConfiguration
    private let metrics: MetricsRegistry
    private let logger: Logger
    private let state = ServiceState()
    private let admin: AdminBox
    private let connections: ConnectionGuard
    private let certified = CertifiedConnections()
    private let watch: RequestWatch.Counters
    private let responder: RouterResponder<HTTPContext>
    /// Of the ports that serve nothing but HLS.
    private let hlsResponder: RouterResponder<HTTPContext>?
    private let hls: HLSService?
    /// For the connections of all ports.
    private let hlsPort: HLSPort?
    private let onListening: @Sendable (HTTPListenAddress, _ tls: Bool) -> Void

    /// - Parameters:
    ///   - hls: nil: no HLS.
    ///   - onListening: called once per listener with the port it got.
    package init(
        configuration: HTTPConfiguration, control: ControlPlane, services: RESTServices, metrics: MetricsRegistry,
        logLevel: LogLevelControl, logger: Logger, hls: HLSService? = nil,
        onListening: @escaping @Sendable (HTTPListenAddress, _ tls: Bool) -> Void = { _, _ in }
    ) {
        self.configuration = configuration
        self.metrics = metrics
        self.logger = logger
        self.onListening = onListening
        connections = ConnectionGuard(budget: configuration.connections, metrics: metrics)
        watch = RequestWatch.Counters(metrics: metrics)
        self.hls = hls
        let admin = AdminBox(configuration.admin)
        self.admin = admin
        let access = AdminAccess(proxies: configuration.trustedProxies, certified: certified) { admin.settings }
        let router = Router(context: HTTPContext.self)
        router.add(middleware: RequestMetricsMiddleware(metrics: metrics))
        router.add(middleware: CORSMiddleware(policy: CORSPolicy(origins: configuration.corsOrigins)))
        router.add(middleware: ProblemMiddleware(logger: logger))
        router.add(
            middleware: StatisticsMiddleware(
                statistics: Statistics(control: control, services: services, hls: hls?.backend), access: access))
        if let hls {
            // One set of sessions, whichever port a viewer comes to.
            let desk = HLSDesk(service: hls, metrics: metrics)
            hlsPort = HLSPort(desk: desk, metrics: metrics, idleTimeout: configuration.idleTimeout)
            router.add(middleware: HLSRoutes(desk: desk, reserved: HLSService.reserved, logger: logger))
            let only = Router(context: HTTPContext.self)
            only.add(middleware: RequestMetricsMiddleware(metrics: metrics))
            only.add(middleware: ProblemMiddleware(logger: logger))
            only.add(middleware: HLSRoutes(desk: desk, logger: logger))
            hlsResponder = only.buildResponder()
        } else {
            hlsResponder = nil
            hlsPort = nil
        }
        WebRTCRoutes(
            control: control, sessions: WebRTCSessions(metrics: metrics), configuration: configuration,
            logger: logger
        ).add(to: router)
        OperatorRoutes(
            control: control, hls: hls?.backend, metrics: metrics, access: access,
            publicStreamList: configuration.publicStreamList, addresses: configuration.addresses,
            logLevel: logLevel, state: state, logger: logger
        ).add(to: router)
        RESTRoutes(
            operations: Self.operations(control, services, hls), access: access, bodyTimeout: configuration.bodyTimeout,
            logger: logger
        ).add(to: router)
        if let recordings = services.recordings {
            RecordRoutes(library: recordings, access: access).add(to: router)
        }
        let directory = configuration.webDirectory.map { URL(fileURLWithPath: $0) } ?? StaticFiles.defaultDirectory()
        StaticFiles(directory: directory, logger: logger).add(to: router)
        responder = router.buildResponder()
    }

    private static func operations(
        _ control: ControlPlane, _ services: RESTServices, _ hls: HLSService?
    ) -> [RESTOperation] {
        let families: [[RESTOperation]] = [
            StreamOperations(control: control, services: services).all,
            ConnectionOperations(control: control, services: services).all,
            ApplicationOperations(applications: services.applications).all, ServerOperations(control: control).all,
            RecordingOperations(control: control, library: services.recordings).all,
            MultipleRecorderOperations(control: control).all,
            HLSOperations(backend: hls?.backend).all,
        ]
        return families.flatMap(\.self)
    }

    /// From the next request on the operator is who has this token; nil: nobody needs one on this machine, and nobody
    /// elsewhere is the operator.
    package func setAdminToken(_ token: String?) { admin.settings.token = token }

    /// From now on `/health` answers 503. Call it before the control plane ends the sessions, so that a load balancer
    /// looks elsewhere in the meantime; `run` does it itself when it is asked to end.
    package func beginShutdown() { state.beginShutdown() }

    /// Serves until graceful shutdown.
    /// - Throws: `HTTPServiceError` when a listener cannot be opened.
    package func run() async throws {
        var services = configuration.listeners.map { listener($0, responder, key: "http.port", tls: nil) }
        if let context = configuration.tlsContext {
            services += configuration.tlsListeners.map {
                listener($0, responder, key: "http.tls_port", tls: context)
            }
        }
        if let hls, let hlsResponder {
            services += hls.listeners.map { listener($0, hlsResponder, key: "hls.port", tls: nil, isForHLS: true) }
            if let context = hls.tlsContext {
                services += hls.tlsListeners.map {
                    Listener(
                        address: $0, key: "hls.tls_port",
                        application: application($0, hlsResponder, tls: context, isForHLS: true, speaksHTTP2: true))
                }
            }
        }
        guard !services.isEmpty else {
            try await gracefulShutdown()
            return
        }
        try await withGracefulShutdownHandler {
            let group = ServiceGroup(configuration: .init(services: services, logger: logger))
            try await group.run()
        } onGracefulShutdown: {
            self.state.beginShutdown()
        }
    }

    /// The application of a plain listener on any port, for tests that drive it without the service.
    package func testApplication() -> some ApplicationProtocol {
        application(HTTPListenAddress(host: "127.0.0.1", port: 0), responder, tls: nil)
    }

    private func application(
        _ address: HTTPListenAddress, _ responder: RouterResponder<HTTPContext>,
        tls: (@Sendable () throws -> NIOSSLContext)?, isForHLS: Bool = false, speaksHTTP2: Bool = false
    ) -> Application<RouterResponder<HTTPContext>> {
        let nanoseconds = configuration.idleTimeout / .nanoseconds(1)
        let idleTimeout = configuration.idleTimeout
        let http = HTTP1Channel.Configuration(
            // Where HLS is answered, its handler looks after idle connections.
            idleTimeout: hlsPort == nil ? .nanoseconds(Int64(nanoseconds.rounded())) : nil,
            httpDecoderConfiguration: .init(
                maxHeaderFieldSize: Self.maxHeaderBytes, maxHeaderListSize: Self.maxHeaderBytes,
                maxHeaderFieldCount: Self.maxHeaderFields))
        let certified = configuration.asksForClientCertificates ? certified : nil
        let server = HTTPServerBuilder { [connections, watch, hlsPort] responder in
            let http1 = WatchedHTTP1Channel(
                base: HTTP1Channel(responder: responder, configuration: http), watch: watch, hls: hlsPort,
                reserved: isForHLS ? [] : HLSService.reserved, isPlain: tls == nil)
            if speaksHTTP2, let tls {
                return NegotiatedHTTPChannel(
                    http1: http1,
                    http2: HTTP2Channel(
                        responder: responder,
                        configuration: HTTP2ChannelConfiguration(
                            idleTimeout: idleTimeout, gracefulCloseTimeout: Self.gracefulCloseTimeout)),
                    connections: connections, tlsContext: tls)
            }
            return GuardedHTTPChannel(
                base: http1, connections: connections, tlsContext: tls, certified: certified)
        }
        return Application(
            responder: responder, server: server,
            configuration: ApplicationConfiguration(address: .hostname(address.host, port: address.port)),
            onServerRunning: { [onListening] channel in
                let port = channel.localAddress?.port ?? address.port
                onListening(HTTPListenAddress(host: address.host, port: port), tls != nil)
            }, logger: logger)
    }

    private func listener(
        _ address: HTTPListenAddress, _ responder: RouterResponder<HTTPContext>, key: String,
        tls: (@Sendable () throws -> NIOSSLContext)?, isForHLS: Bool = false
    ) -> any Service {
        Listener(
            address: address, key: key,
            application: application(address, responder, tls: tls, isForHLS: isForHLS))
    }

    /// Who the operator is, changeable.
    private final class AdminBox: Sendable {
        private let box: Mutex<AdminSettings>

        init(_ settings: AdminSettings) { box = Mutex(settings) }

        var settings: AdminSettings {
            get { box.withLock { $0 } }
            set { box.withLock { $0 = newValue } }
        }
    }

    /// Says which address could not be had.
    private struct Listener: Service {
        let address: HTTPListenAddress
        let key: String
        let application: Application<RouterResponder<HTTPContext>>

        func run() async throws {
            do {
                try await application.run()
            } catch let error as IOError {
                throw HTTPServiceError.cannotListen(address, reason: "\(error)", key: key)
            } catch let error as SocketAddressError {
                throw HTTPServiceError.cannotListen(address, reason: "\(error)", key: key)
            }
        }
    }
}
