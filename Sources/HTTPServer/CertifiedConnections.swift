import NIOCore
import NIOSSL
import NIOTLS
import Synchronization

/// The TLS connections whose clients have shown a certificate that was verified.
final class CertifiedConnections: Sendable {
    private let channels = Mutex<Set<ObjectIdentifier>>([])

    func contains(_ channel: ObjectIdentifier) -> Bool { channels.withLock { $0.contains(channel) } }

    /// Until the channel closes.
    fileprivate func insert(_ channel: any Channel) {
        let id = ObjectIdentifier(channel)
        channels.withLock { _ = $0.insert(id) }
        channel.closeFuture.whenComplete { _ in self.channels.withLock { _ = $0.remove(id) } }
    }

    /// Behind the TLS handler: notes the connection when the handshake is done. A wrong certificate fails the handshake, so
    /// one that is there is good.
    final class Watch: ChannelInboundHandler {
        typealias InboundIn = Any

        private let connections: CertifiedConnections

        init(_ connections: CertifiedConnections) { self.connections = connections }

        func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
            if case .handshakeCompleted? = event as? TLSUserEvent,
                (try? context.pipeline.syncOperations.nioSSL_peerCertificate()) != nil
            {
                connections.insert(context.channel)
            }
            context.fireUserInboundEventTriggered(event)
        }
    }
}

@available(*, unavailable)
extension CertifiedConnections.Watch: Sendable {}
