import ControlPlane
import HTTPServer
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import Logging
import NIOSSL
import RESTHooks
import ServiceLifecycle
import Synchronization
import Testing
import WeirMetrics

/// The service as a whole, on real listeners.
@Suite struct ServiceTests {
    private final class Ports: Sendable {
        let open = Mutex<[Bool: Int]>([:])
        func find(tls: Bool) -> Int? { open.withLock { $0[tls] } }
    }

    private func withService(
        _ configuration: HTTPConfiguration, _ body: (Ports) async throws -> Void
    ) async throws {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let (metrics, ports) = (MetricsRegistry(), Ports())
        let control = ControlPlane(
            media: FakeMedia(), hooks: FakeHooks(), configuration: .init(), metrics: metrics, logger: logger)
        let service = HTTPService(
            configuration: configuration, control: control,
            services: RESTServices(nodeId: "node", applications: try Applications(configured: [], store: nil)),
            metrics: metrics,
            logLevel: LogLevelControl(get: { .info }, set: { _ in }), logger: logger,
            onListening: { address, tls in ports.open.withLock { $0[tls] = address.port } })
        let group = ServiceGroup(configuration: .init(services: [service], logger: logger))
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            do {
                try await body(ports)
            } catch {
                await group.triggerGracefulShutdown()
                throw error
            }
            await group.triggerGracefulShutdown()
            try await tasks.waitForAll()
        }
    }

    @Test func plainAndSecureListenersServeAndEndAtShutdown() async throws {
        let context = try NIOSSLContext(configuration: TestCertificate.server())
        let configuration = HTTPConfiguration(
            listeners: [HTTPListenAddress(host: "127.0.0.1", port: 0)],
            tlsListeners: [HTTPListenAddress(host: "127.0.0.1", port: 0)], tlsContext: { context })
        try await withService(configuration) { ports in
            try await eventually { ports.find(tls: false) != nil && ports.find(tls: true) != nil }
            let plain = TestClient(host: "127.0.0.1", port: ports.find(tls: false) ?? 0)
            plain.connect()
            #expect(try await plain.fetch("/health").status == .ok)
            var trust = TLSConfiguration.makeClientConfiguration()
            trust.trustRoots = .certificates([try TestCertificate.certificate()])
            let secure = TestClient(
                host: "127.0.0.1", port: ports.find(tls: true) ?? 0,
                configuration: .init(tlsConfiguration: trust, serverName: "localhost"))
            secure.connect()
            #expect(try await secure.fetch("/health").status == .ok)
            // Both connections stay open: they must not hold up the shutdown.
        }
    }

    @Test func aPortInUseIsAnErrorThatSaysSo() async throws {
        let first = HTTPConfiguration(listeners: [HTTPListenAddress(host: "127.0.0.1", port: 0)])
        try await withService(first) { ports in
            try await eventually { ports.find(tls: false) != nil }
            let port = ports.find(tls: false) ?? 0
            let second = HTTPConfiguration(listeners: [HTTPListenAddress(host: "127.0.0.1", port: port)])
            let error = await #expect(throws: HTTPServiceError.self) {
                try await withService(second) { _ in try await Task.sleep(for: .seconds(2)) }
            }
            #expect(error?.description.contains("127.0.0.1:\(port)") == true)
            #expect(error?.description.contains("http.port") == true)
        }
    }

    @Test func connectionsOfOneAddressAreLimited() async throws {
        let configuration = HTTPConfiguration(
            listeners: [HTTPListenAddress(host: "127.0.0.1", port: 0)],
            connections: ConnectionBudget(limit: 100, limitPerAddress: 1))
        try await withService(configuration) { ports in
            try await eventually { ports.find(tls: false) != nil }
            let port = ports.find(tls: false) ?? 0
            let first = TestClient(host: "127.0.0.1", port: port)
            first.connect()
            #expect(try await first.fetch("/health").status == .ok)
            let second = TestClient(host: "127.0.0.1", port: port)
            second.connect()
            await #expect(throws: (any Error).self) { try await second.fetch("/health") }
            let metrics = try await first.fetch("/metrics", authority: "127.0.0.1")
            let refused = #"weir_http_connections_refused_total{reason="too_many_from_address"} 1"#
            #expect(metrics.body.map { String(buffer: $0) }?.contains(refused) == true)
            try await first.shutdown()
            try await eventually {
                let third = TestClient(host: "127.0.0.1", port: port)
                third.connect()
                defer { third.syncClose() }
                return (try? await third.fetch("/health").status) == .ok
            }
        }
    }
}

extension TestClient {
    fileprivate func fetch(_ path: String, authority: String = "localhost") async throws -> TestClient.Response {
        try await execute(TestClient.Request(path, method: .get, authority: authority))
    }

    fileprivate func syncClose() { Task { try? await shutdown() } }
}

/// For these tests only; it protects nothing.
enum TestCertificate {
    static func certificate() throws -> NIOSSLCertificate {
        try NIOSSLCertificate(bytes: Array(pem.utf8), format: .pem)
    }

    static func server() throws -> TLSConfiguration {
        var configuration = TLSConfiguration.makeServerConfiguration(
            certificateChain: [.certificate(try certificate())],
            privateKey: .privateKey(try NIOSSLPrivateKey(bytes: Array(key.utf8), format: .pem)))
        // Else a client that does not answer close_notify holds up the shutdown for 5 s.
        configuration.shutdownTimeout = .milliseconds(200)
        return configuration
    }

    private static let pem = """
        -----BEGIN CERTIFICATE-----
        MIIBljCCATugAwIBAgIUOYg1DF2pOxm28CL1KeW+vH0/9nAwCgYIKoZIzj0EAwIw
        FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMTA3MzgwNFoYDzIxMjYxMDI4
        MDczODA0WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
        PQMBBwNCAATnN/MR0rmmTUggLn6j/8QrXkMWvUF723kmGhPL/PcH1joyB1CDCo+I
        RTWknVNcdTKyx8Imm6qAMO38CXOH7z1eo2kwZzAdBgNVHQ4EFgQUwSTFmNLwn/cV
        yMPJc1IS2FPYCIgwHwYDVR0jBBgwFoAUwSTFmNLwn/cVyMPJc1IS2FPYCIgwDwYD
        VR0TAQH/BAUwAwEB/zAUBgNVHREEDTALgglsb2NhbGhvc3QwCgYIKoZIzj0EAwID
        SQAwRgIhALSjfWEiDmHQbD0IN0aJyktwWswcffLwFNx/MHHCXTegAiEAina0VQh7
        za3qOgGv/wLwiebtM/X7gurOKQkpZOBresg=
        -----END CERTIFICATE-----
        """

    private static let key = """
        -----BEGIN PRIVATE KEY-----
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgxrlBNPiEPt/umcx1
        aA/4u0xnDVzilrPy187ws+wm7kWhRANCAATnN/MR0rmmTUggLn6j/8QrXkMWvUF7
        23kmGhPL/PcH1joyB1CDCo+IRTWknVNcdTKyx8Imm6qAMO38CXOH7z1e
        -----END PRIVATE KEY-----
        """
}
