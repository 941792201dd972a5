import ControlPlane
import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOSSL
import ServiceLifecycle
import Synchronization
import WeirMetrics

/// A listener could not be opened.
package enum HTTPServiceError: Error, Hashable, Sendable, CustomStringConvertible {
    case cannotListen(HTTPListenAddress, reason: String)

    package var description: String {
        switch self {
        case .cannotListen(let address, let reason):
            "cannot listen on \(address): \(reason). Is another server running there? Change http.port."
        }
    }
}

/// WHIP, WHEP, the page and the operator's paths over HTTP and HTTPS.
package final class HTTPService: Service {
    /// Bytes of all header fields of a request.
    private static let maxHeaderBytes = 32_768
    private static let maxHeaderFields = 100

    private let configuration: HTTPConfiguration
    private let metrics: MetricsRegistry
    private let logger: Logger
    private let state = ServiceState()
    private let admin: AdminBox
    private let connections: ConnectionGuard
    private let certified = CertifiedConnections()
    private let watch: RequestWatch.Counters
    private let responder: RouterResponder<HTTPContext>
    private let onListening: @Sendable (HTTPListenAddress, _ tls: Bool) -> Void

    /// - Parameter onListening: called once per listener with the port it got.
    package init(
        configuration: HTTPConfiguration, control: ControlPlane, services: RESTServices, metrics: MetricsRegistry,
        logLevel: LogLevelControl, logger: Logger,
        onListening: @escaping @Sendable (HTTPListenAddress, _ tls: Bool) -> Void = { _, _ in }
    ) {
        self.configuration = configuration
        self.metrics = metrics
        self.logger = logger
        self.onListening = onListening
        connections = ConnectionGuard(budget: configuration.connections, metrics: metrics)
        watch = RequestWatch.Counters(metrics: metrics)
        let admin = AdminBox(configuration.admin)
        self.admin = admin
        let access = AdminAccess(proxies: configuration.trustedProxies, certified: certified) { admin.settings }
        let router = Router(context: HTTPContext.self)
        router.add(middleware: RequestMetricsMiddleware(metrics: metrics))
        router.add(middleware: CORSMiddleware(policy: CORSPolicy(origins: configuration.corsOrigins)))
        router.add(middleware: ProblemMiddleware(logger: logger))
        router.add(
            middleware: StatisticsMiddleware(
                statistics: Statistics(control: control, services: services), access: access))
        WebRTCRoutes(
            control: control, sessions: WebRTCSessions(metrics: metrics), configuration: configuration,
            logger: logger
        ).add(to: router)
        OperatorRoutes(
            control: control, metrics: metrics, access: access, publicStreamList: configuration.publicStreamList,
            logLevel: logLevel, state: state, logger: logger
        ).add(to: router)
        RESTRoutes(
            operations: Self.operations(control, services), access: access, bodyTimeout: configuration.bodyTimeout,
            logger: logger
        ).add(to: router)
        if let recordings = services.recordings {
            RecordRoutes(library: recordings, access: access).add(to: router)
        }
        let directory = configuration.webDirectory.map { URL(fileURLWithPath: $0) } ?? StaticFiles.defaultDirectory()
        StaticFiles(directory: directory, logger: logger).add(to: router)
        responder = router.buildResponder()
    }

    private static func operations(_ control: ControlPlane, _ services: RESTServices) -> [RESTOperation] {
        StreamOperations(control: control, services: services).all
            + ConnectionOperations(control: control, services: services).all
            + ApplicationOperations(applications: services.applications).all + ServerOperations(control: control).all
            + RecordingOperations(control: control, library: services.recordings).all
            + MultipleRecorderOperations(control: control).all
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
        let plain = configuration.listeners.map { listener($0, tls: nil) }
        let secure = configuration.tlsContext.map { context in
            configuration.tlsListeners.map { listener($0, tls: context) }
        }
        let services = plain + (secure ?? [])
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
        application(HTTPListenAddress(host: "127.0.0.1", port: 0), tls: nil)
    }

    private func application(
        _ address: HTTPListenAddress, tls: (@Sendable () throws -> NIOSSLContext)?
    ) -> Application<RouterResponder<HTTPContext>> {
        let nanoseconds = configuration.idleTimeout / .nanoseconds(1)
        let watch = self.watch
        let http = HTTP1Channel.Configuration(
            additionalChannelHandlers: [RequestWatch(counters: watch)],
            idleTimeout: .nanoseconds(Int64(nanoseconds.rounded())),
            httpDecoderConfiguration: .init(
                maxHeaderFieldSize: Self.maxHeaderBytes, maxHeaderListSize: Self.maxHeaderBytes,
                maxHeaderFieldCount: Self.maxHeaderFields))
        let certified = configuration.asksForClientCertificates ? certified : nil
        let server = HTTPServerBuilder { [connections] responder in
            GuardedHTTPChannel(
                base: HTTP1Channel(responder: responder, configuration: http), connections: connections,
                tlsContext: tls, certified: certified)
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
        _ address: HTTPListenAddress, tls: (@Sendable () throws -> NIOSSLContext)?
    ) -> any Service {
        Listener(address: address, application: application(address, tls: tls))
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
        let application: Application<RouterResponder<HTTPContext>>

        func run() async throws {
            do {
                try await application.run()
            } catch let error as IOError {
                throw HTTPServiceError.cannotListen(address, reason: "\(error)")
            } catch let error as SocketAddressError {
                throw HTTPServiceError.cannotListen(address, reason: "\(error)")
            }
        }
    }
}
