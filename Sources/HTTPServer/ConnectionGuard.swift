import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOSSL
import Synchronization
import WeirMetrics

/// Counts open connections per client and refuses those beyond the limit.
final class ConnectionGuard: Sendable {
    private let limit: Int
    private let open = Mutex<[String: Int]>([:])
    private let gauge: Gauge
    private let refused: Counter

    init(limitPerAddress: Int, metrics: MetricsRegistry) {
        limit = limitPerAddress
        gauge = metrics.gauge("weir_http_connections", help: "Open HTTP connections.")
        refused = metrics.counter(
            "weir_http_connections_refused_total", help: "HTTP connections closed for the limit per address.")
    }

    /// False when the connection is one too many.
    func admit(_ channel: any Channel) -> Bool {
        let key = Self.key(channel.remoteAddress)
        let admitted = open.withLock { open in
            let count = open[key, default: 0]
            guard count < limit else { return false }
            open[key] = count + 1
            return true
        }
        guard admitted else {
            refused.increment()
            return false
        }
        gauge.add(1)
        channel.closeFuture.whenComplete { _ in self.release(key) }
        return true
    }

    private func release(_ key: String) {
        gauge.add(-1)
        open.withLock { open in
            let count = open[key, default: 0]
            open[key] = count > 1 ? count - 1 : nil
        }
    }

    /// The IPv4 address, or the IPv6 /64: one subscriber has all addresses of a /64.
    static func key(_ address: SocketAddress?) -> String {
        guard let address, let text = address.ipAddress else { return "none" }
        guard case .v6(let v6) = address else { return text }
        if text.hasPrefix("::ffff:"), text.contains(".") { return String(text.dropFirst(7)) }
        var raw = v6.address.sin6_addr
        return withUnsafeBytes(of: &raw) { bytes in
            bytes.prefix(8).map { byte in
                let digits = String(byte, radix: 16)
                return digits.count == 1 ? "0\(digits)" : digits
            }.joined() + "/64"
        }
    }
}

/// HTTP/1.1 on a connection, under TLS if asked, after the guard has let it in.
struct GuardedHTTPChannel: ServerChildChannel {
    typealias Value = HTTP1Channel.Value

    struct Refused: Error {}

    let base: HTTP1Channel
    let connections: ConnectionGuard
    let tlsContext: (@Sendable () throws -> NIOSSLContext)?

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        guard connections.admit(channel) else {
            channel.close(promise: nil)
            return channel.eventLoop.makeFailedFuture(Refused())
        }
        guard let tlsContext else { return base.setup(channel: channel, logger: logger) }
        do {
            try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: tlsContext()))
        } catch {
            logger.error("TLS is not possible", metadata: ["error": "\(error)"])
            channel.close(promise: nil)
            return channel.eventLoop.makeFailedFuture(error)
        }
        return base.setup(channel: channel, logger: logger)
    }

    func handle(value: Value, logger: Logger) async {
        await base.handle(value: value, logger: logger)
    }
}
