import Hummingbird
import HummingbirdCore
import HummingbirdHTTP2
import Logging
import NIOCore
import NIOHTTP2
import NIOSSL

/// HTTP/2 or HTTP/1.1 on a TLS connection, as the client chooses (ALPN), after the guard has let it in: for viewers of HLS,
/// who have a playlist and a part on the way at the same time. Not for listeners with a WebSocket upgrade.
struct NegotiatedHTTPChannel: ServerChildChannel {
    struct Value: ServerChildChannelValue {
        let negotiated: EventLoopFuture<NIONegotiatedHTTPVersion<HTTP1Channel.Value, HTTP2Channel.Value>>
        let channel: any Channel
    }

    let http1: WatchedHTTP1Channel
    let http2: HTTP2Channel
    let connections: ConnectionGuard
    /// Offers `h2` and `http/1.1`.
    let tlsContext: @Sendable () throws -> NIOSSLContext

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        if let refusal = connections.admit(channel) {
            logger.info(
                "HTTP connection refused",
                metadata: [
                    "reason": "\(refusal.rawValue)", "address": "\(channel.remoteAddress?.ipAddress ?? "unknown")",
                ])
            channel.close(promise: nil)
            return channel.eventLoop.makeFailedFuture(GuardedHTTPChannel.Refused())
        }
        do {
            try channel.pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: tlsContext()))
        } catch {
            logger.error("TLS is not possible", metadata: ["error": "\(error)"])
            channel.close(promise: nil)
            return channel.eventLoop.makeFailedFuture(error)
        }
        return channel.configureHTTP2AsyncSecureUpgrade { channel in
            http1.setup(channel: channel, logger: logger)
        } http2ConnectionInitializer: { channel in
            http2.setup(channel: channel, logger: logger)
        }
        .map { Value(negotiated: $0, channel: channel) }
    }

    func handle(value: Value, logger: Logger) async {
        do {
            switch try await value.negotiated.get() {
            case .http1_1(let connection): await http1.handle(value: connection, logger: logger)
            case .http2(let connection): await http2.handle(value: connection, logger: logger)
            }
        } catch {
            logger.debug("TLS connection ended early", metadata: ["error": "\(error)"])
        }
    }
}
