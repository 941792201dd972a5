import Glibc
import NIOCore
import NIOPosix
import NIOSSL

/// Opens TCP connections, with TLS where the address asks for it.
struct Dialer: Sendable {
    let group: any EventLoopGroup
    let connectTimeout: Duration
    private let tls: NIOSSLContext

    /// - Parameter insecure: certificates are not verified, as for a server under test with a self-made one.
    init(group: any EventLoopGroup, insecure: Bool, connectTimeout: Duration) throws(SignallingFailure) {
        self.group = group
        self.connectTimeout = connectTimeout
        var configuration = TLSConfiguration.makeClientConfiguration()
        if insecure { configuration.certificateVerification = .none }
        configuration.applicationProtocols = ["http/1.1"]
        do {
            tls = try NIOSSLContext(configuration: configuration)
        } catch {
            throw SignallingFailure(.connect, "TLS cannot be set up: \(error)")
        }
    }

    /// - Parameter configure: adds the handlers above TLS.
    func connect(
        to url: ServiceURL, configure: @escaping @Sendable (any Channel) throws -> Void
    ) async throws(SignallingFailure) -> any Channel {
        let tls = tls
        let bootstrap = ClientBootstrap(group: group)
            .connectTimeout(TimeAmount(connectTimeout))
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if url.scheme.isSecure {
                        // RFC 6066 §3: an address is no server name.
                        let isAddress = (try? SocketAddress(ipAddress: url.host, port: url.port)) != nil
                        let handler = try NIOSSLClientHandler(context: tls, serverHostname: isAddress ? nil : url.host)
                        try channel.pipeline.syncOperations.addHandler(handler)
                    }
                    try configure(channel)
                }
            }
        do {
            return try await bootstrap.connect(host: url.host, port: url.port).get()
        } catch {
            throw SignallingFailure(
                .connect, "\(url): cannot connect (\(Self.cause(error))); is the server running there?")
        }
    }

    /// NIO's error lists every address that was tried; the last one's cause is enough.
    private static func cause(_ error: any Error) -> String {
        guard let attempts = error as? NIOConnectionError else { return "\(error)" }
        if let failed = attempts.connectionErrors.last {
            guard let code = (failed.error as? IOError)?.errnoCode else { return "\(failed.error)" }
            return String(cString: strerror(code))
        }
        return "the name \(attempts.host) is not known"
    }
}

/// Runs `body`, which must end soon after it is cancelled, for at most `limit`.
/// - Throws: what `body` throws; `late()` when the time is up.
func within<Value: Sendable>(
    _ limit: Duration, on clock: some Clock<Duration> = .continuous, else late: @escaping @Sendable () -> any Error,
    _ body: @escaping @Sendable () async throws -> Value
) async throws -> Value {
    try await withThrowingTaskGroup(of: Value?.self) { group in
        group.addTask { try await body() }
        group.addTask {
            try await Task.sleep(for: limit, clock: clock)
            return nil
        }
        defer { group.cancelAll() }
        guard let first = try await group.next(), let value = first else { throw late() }
        return value
    }
}
