import ControlPlane
import Logging
import NIOCore
import NIOPosix
import NIOSSL
import ServiceLifecycle
import Synchronization
import Testing
import WCS
import WeirMetrics

/// The server as a service: certificates, several addresses, graceful shutdown.
@Suite(.serialized, .timeLimit(.minutes(4))) struct ServiceTests {
    private func server(
        _ listeners: [WCSListener], tls: (@Sendable () throws -> NIOSSLContext)? = nil,
        _ metrics: MetricsRegistry = MetricsRegistry()
    ) -> WCSServer {
        var configuration = WCSConfiguration()
        configuration.listeners = listeners
        configuration.shutdownTimeout = .seconds(3)
        // A thousand tests at once starve each other: nobody is thrown out for that.
        configuration.handshakeTimeout = .seconds(300)
        configuration.firstMessageTimeout = .seconds(300)
        configuration.keepAliveInterval = .seconds(300)
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let control = ControlPlane(
            media: FakeMedia(), hooks: AllowAllBackend(), configuration: ControlConfiguration(), metrics: metrics,
            logger: logger)
        return WCSServer(
            configuration: configuration, control: control, tlsContext: tls, metrics: metrics, logger: logger)
    }

    private func context(_ certificate: String, _ key: String) throws -> NIOSSLContext {
        let chain = try NIOSSLCertificate.fromPEMBytes(Array(certificate.utf8))
        return try NIOSSLContext(
            configuration: .makeServerConfiguration(
                certificateChain: chain.map { .certificate($0) },
                privateKey: .privateKey(NIOSSLPrivateKey(bytes: Array(key.utf8), format: .pem))))
    }

    /// The DER bytes of the certificate a new connection is shown.
    private func certificate(_ port: Int) async throws -> [UInt8] {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.certificateVerification = .noHostnameVerification
        let context = try NIOSSLContext(configuration: configuration)
        let (shown, continuation) = AsyncStream.makeStream(of: [UInt8].self)
        let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        NIOSSLClientHandler(
                            context: context, serverHostname: nil,
                            customVerificationCallback: { certificates, promise in
                                continuation.yield((try? certificates[0].toDERBytes()) ?? [])
                                promise.succeed(.certificateVerified)
                            }))
                }
            }
            .connect(host: "127.0.0.1", port: port).get()
        defer { channel.close(promise: nil) }
        for await bytes in shown { return bytes }
        return []
    }

    @Test func certificateIsTakenAnewForEveryConnection() async throws {
        let first = try context(Pems.firstCertificate, Pems.firstKey)
        let second = try context(Pems.secondCertificate, Pems.secondKey)
        let current = Mutex(first)
        let metrics = MetricsRegistry()
        let listeners = [
            WCSListener(host: "127.0.0.1", port: 0), WCSListener(host: "127.0.0.1", port: 0, secure: true),
        ]
        let server = server(listeners, tls: { current.withLock { $0 } }, metrics)
        let running = Task { try await server.run() }
        let ports = await server.ports
        #expect(ports.count == 2)
        // The plain listener is there too, and plain text on the secure one is counted.
        _ = try await TestClient.session(ports[0])
        _ = try? await TestClient.open(ports[1])
        let refused = metrics.counter("weir_wcs_rejected_total", help: "", labels: [("reason", "tls_handshake")])
        for _ in 0..<6_000 where refused.value == 0 { try await Task.sleep(for: .milliseconds(10)) }
        #expect(refused.value == 1)
        let before = try await certificate(ports[1])
        #expect(try before == NIOSSLCertificate.fromPEMBytes(Array(Pems.firstCertificate.utf8))[0].toDERBytes())
        current.withLock { $0 = second }
        let after = try await certificate(ports[1])
        #expect(try after == NIOSSLCertificate.fromPEMBytes(Array(Pems.secondCertificate.utf8))[0].toDERBytes())
        running.cancel()
        _ = await running.result
    }

    @Test func gracefulShutdownOfTheServiceGroupClosesWith1001() async throws {
        let server = server([WCSListener(host: "127.0.0.1", port: 0)])
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let group = ServiceGroup(configuration: .init(services: [.init(service: server)], logger: logger))
        let running = Task { try await group.run() }
        let port = await server.ports[0]
        let client = try await TestClient.session(port)
        await group.triggerGracefulShutdown()
        #expect(await client.closeCode() == 1001)
        try await running.value
        await #expect(throws: (any Error).self) { try await TestClient.open(port) }
    }

    @Test func anAddressInUseIsNamed() async throws {
        let first = server([WCSListener(host: "127.0.0.1", port: 0)])
        let running = Task { try await first.run() }
        let port = await first.ports[0]
        let second = server([WCSListener(host: "127.0.0.1", port: port)])
        do {
            try await second.run()
            Issue.record("bound twice")
        } catch {
            #expect("\(error)".contains("ws://127.0.0.1:\(port)"))
        }
        await #expect(throws: WCSServerError.self) {
            try await server([WCSListener(host: "127.0.0.1", port: 0, secure: true)]).run()
        }
        running.cancel()
        _ = await running.result
    }
}

/// Self-signed certificates of no value, good for a hundred years.
private enum Pems {
    static let firstCertificate = """
        -----BEGIN CERTIFICATE-----
        MIIBdzCCAR2gAwIBAgIUQUqgXQyqr4TPQwGbi9sKn/mvryowCgYIKoZIzj0EAwIw
        EDEOMAwGA1UEAwwFZmlyc3QwIBcNMjYxMTIxMDc0NTMxWhgPMjEyNjEwMjgwNzQ1
        MzFaMBAxDjAMBgNVBAMMBWZpcnN0MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
        tc1FNoZ4E5yZyklWwRmhJG+pRM74B2UL5KfeqlmwuDKb8C4nO5j4nrEsbWysZnMM
        EqgNP2ygfSByHs8SMg8uAKNTMFEwHQYDVR0OBBYEFKG9NzztRWrfQwBEwvTVKXgb
        rWdgMB8GA1UdIwQYMBaAFKG9NzztRWrfQwBEwvTVKXgbrWdgMA8GA1UdEwEB/wQF
        MAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIhAKdbeY/yK62QwNti/gqBPSngZADc9I5h
        Mlxw8vK1vkbpAiAd5RjcdCSvhsoxQKtNby49ShB4vVa7gwvyt7rAyLI4ig==
        -----END CERTIFICATE-----
        """
    static let firstKey = """
        -----BEGIN PRIVATE KEY-----
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgcYe1fwdR0yi/ccSG
        hJjW29viCrLoBBKukR05IwP6ynahRANCAAS1zUU2hngTnJnKSVbBGaEkb6lEzvgH
        ZQvkp96qWbC4MpvwLic7mPiesSxtbKxmcwwSqA0/bKB9IHIezxIyDy4A
        -----END PRIVATE KEY-----
        """
    static let secondCertificate = """
        -----BEGIN CERTIFICATE-----
        MIIBeTCCAR+gAwIBAgIUQa4Tj4cK87s+RuAbBXzChC8nJ08wCgYIKoZIzj0EAwIw
        ETEPMA0GA1UEAwwGc2Vjb25kMCAXDTI2MTEyMTA3NDUzMVoYDzIxMjYxMDI4MDc0
        NTMxWjARMQ8wDQYDVQQDDAZzZWNvbmQwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
        AAR5nupgf0MwfhgL+uJwu0OWO8/TomdyWQQMAuc2ZWhlcr7Ziapec7Z3I8Fy9oHr
        CU5muifbTUb9+5E1OL6Ee9tto1MwUTAdBgNVHQ4EFgQUqj6Rs/MBrM2NSPteg0ox
        NAY6NuMwHwYDVR0jBBgwFoAUqj6Rs/MBrM2NSPteg0oxNAY6NuMwDwYDVR0TAQH/
        BAUwAwEB/zAKBggqhkjOPQQDAgNIADBFAiEAyCiKzpuh6DjJQdkwZU6pj/J7o/gR
        /Z9kNa5osWFokbYCIDLAldP1G+AIyTL+diZvuElXSNUHmIGiF48mTxehRUqO
        -----END CERTIFICATE-----
        """
    static let secondKey = """
        -----BEGIN PRIVATE KEY-----
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgOWqqBe0m4T24uBCd
        Lyc0I24vP8+48OJpSVH0qeKWgz2hRANCAAR5nupgf0MwfhgL+uJwu0OWO8/Tomdy
        WQQMAuc2ZWhlcr7Ziapec7Z3I8Fy9oHrCU5muifbTUb9+5E1OL6Ee9tt
        -----END PRIVATE KEY-----
        """
}
