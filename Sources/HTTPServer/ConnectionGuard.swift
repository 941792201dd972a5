import ControlPlane
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOSSL
import WeirMetrics

/// Lets connections in as far as the budget goes, and counts.
final class ConnectionGuard: Sendable {
    private let budget: ConnectionBudget
    private let gauge: Gauge
    private let refused: [ConnectionBudget.Refusal: Counter]

    init(budget: ConnectionBudget, metrics: MetricsRegistry) {
        self.budget = budget
        gauge = metrics.gauge("weir_http_connections", help: "Open HTTP connections.")
        refused = Dictionary(
            uniqueKeysWithValues: ConnectionBudget.Refusal.allCases.map { reason in
                let counter = metrics.counter(
                    "weir_http_connections_refused_total", help: "HTTP connections closed for a limit.",
                    labels: [("reason", reason.rawValue)])
                return (reason, counter)
            })
    }

    /// Why the connection is one too many; nil: it was let in, and counts until it closes.
    func admit(_ channel: any Channel) -> ConnectionBudget.Refusal? {
        let key = budget.key(of: channel.remoteAddress?.ipAddress)
        if let refusal = budget.take(key) {
            refused[refusal]?.increment()
            return refusal
        }
        gauge.add(1)
        channel.closeFuture.whenComplete { _ in
            self.gauge.add(-1)
            self.budget.giveBack(key)
        }
        return nil
    }
}

/// HTTP/1.1 on a connection, under TLS if asked, after the guard has let it in.
struct GuardedHTTPChannel: ServerChildChannel {
    typealias Value = HTTP1Channel.Value

    struct Refused: Error {}

    let base: WatchedHTTP1Channel
    let connections: ConnectionGuard
    let tlsContext: (@Sendable () throws -> NIOSSLContext)?
    /// nil: clients are not asked for certificates.
    let certified: CertifiedConnections?

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        if let refusal = connections.admit(channel) {
            logger.info(
                "HTTP connection refused",
                metadata: [
                    "reason": "\(refusal.rawValue)", "address": "\(channel.remoteAddress?.ipAddress ?? "unknown")",
                ])
            channel.close(promise: nil)
            return channel.eventLoop.makeFailedFuture(Refused())
        }
        guard let tlsContext else { return base.setup(channel: channel, logger: logger) }
        do {
            try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: tlsContext()))
            if let certified {
                try channel.pipeline.syncOperations.addHandler(CertifiedConnections.Watch(certified))
            }
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
