import NIOCore
import RTSP

/// First in the pipeline of an accepted connection: finds out whether it is one of the two that carry RTSP through HTTP. If
/// not, it is gone after the first bytes.
///
/// In the connection of GET it stays, and passes on what comes by POST as if it had come here. The connection of POST has no
/// RTSP session of its own.
final class HTTPTunnelHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private enum Phase {
        case looking
        case down(HTTPTunnels.Key)
        case up(HTTPTunnel, Base64Stream)
        case refused
    }

    /// Bytes of POST that the session has not taken.
    private static let maxWaiting = 1 << 20

    private let tunnels: HTTPTunnels
    private let address: String
    private let rtsp: RTSPChannelHandler
    private let metrics: RTSPServerMetrics
    private var phase = Phase.looking
    private var context: ChannelHandlerContext?
    /// Of the head that is not whole.
    private var held = ByteBuffer()
    /// Of POST, for the session, which does not read at the moment.
    private var waiting: (bytes: ByteBuffer, taken: @Sendable () -> Void)?
    private var tunnel: HTTPTunnel?

    /// - Parameters:
    ///   - address: of the client, without the port.
    ///   - rtsp: the handler behind this one.
    init(_ tunnels: HTTPTunnels, address: String, rtsp: RTSPChannelHandler, metrics: RTSPServerMetrics) {
        self.tunnels = tunnels
        self.address = address
        self.rtsp = rtsp
        self.metrics = metrics
    }

    func handlerAdded(context: ChannelHandlerContext) { self.context = context }

    func handlerRemoved(context: ChannelHandlerContext) {
        end()
        self.context = nil
    }

    func channelInactive(context: ChannelHandlerContext) {
        end()
        context.fireChannelInactive()
    }

    private func end() {
        if case .down(let key) = phase { tunnels.remove(key) }
        phase = .refused
        rtsp.onReading = nil
        tunnel?.close()
        tunnel = nil
        waiting = nil
        held = ByteBuffer()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        var bytes = Self.unwrapInboundIn(data)
        switch phase {
        case .looking:
            held.writeBuffer(&bytes)
            look(context)
        case .up(let tunnel, let decoder): take(bytes, tunnel, decoder, context)
        // Nothing more is asked by GET.
        case .down, .refused: break
        }
    }

    // MARK: The first bytes

    private func look(_ context: ChannelHandlerContext) {
        switch HTTPTunnelHead.parse(Array(held.readableBytesView.prefix(HTTPTunnelHead.maxBytes))) {
        case .incomplete: break
        case .other:
            let bytes = held
            held = ByteBuffer()
            context.fireChannelRead(Self.wrapInboundOut(bytes))
            context.pipeline.syncOperations.removeHandler(self, promise: nil)
        case .head(let head, let length):
            held.moveReaderIndex(forwardBy: length)
            let rest = held
            held = ByteBuffer()
            let key = HTTPTunnels.Key(cookie: head.cookie, address: address)
            switch head.way {
            case .down: openDown(key, context)
            case .up: openUp(key, rest, context)
            }
        }
    }

    private func openDown(_ key: HTTPTunnels.Key, _ context: ChannelHandlerContext) {
        let tunnel = HTTPTunnel(self, eventLoop: context.eventLoop)
        guard tunnels.add(tunnel, key) else {
            return refuse("409 Conflict", "There is a tunnel with this x-sessioncookie; choose another.", context)
        }
        metrics.tunnels.increment()
        self.tunnel = tunnel
        phase = .down(key)
        rtsp.onReading = { [weak self] in self?.drain() }
        write(
            "HTTP/1.0 200 OK\r\nConnection: close\r\nCache-Control: no-store\r\nPragma: no-cache\r\n"
                + "Content-Type: application/x-rtsp-tunnelled\r\n\r\n", context)
    }

    private func openUp(_ key: HTTPTunnels.Key, _ rest: ByteBuffer, _ context: ChannelHandlerContext) {
        guard let tunnel = tunnels.find(key) else {
            return refuse("404 Not Found", "No GET with this x-sessioncookie has come from this address.", context)
        }
        // One read at a time, when the session has taken what came before.
        context.channel.setOption(.autoRead, value: false).whenFailure { _ in
            // The channel is closed.
        }
        context.pipeline.syncOperations.removeHandler(rtsp, promise: nil)
        tunnel.attach(context.channel)
        take(rest, tunnel, Base64Stream(), context)
    }

    private func refuse(_ status: String, _ reason: String, _ context: ChannelHandlerContext) {
        metrics.tunnelsRefused.increment()
        phase = .refused
        let text = reason + "\n"
        write(
            "HTTP/1.0 \(status)\r\nConnection: close\r\nContent-Type: text/plain\r\n"
                + "Content-Length: \(text.utf8.count)\r\n\r\n\(text)", context, thenClose: true)
    }

    private func write(_ text: String, _ context: ChannelHandlerContext, thenClose: Bool = false) {
        let written = context.writeAndFlush(Self.wrapOutboundOut(ByteBuffer(string: text)))
        guard thenClose else { return }
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        written.whenComplete { _ in bound.value.close(promise: nil) }
    }

    // MARK: POST

    private func take(
        _ bytes: ByteBuffer, _ tunnel: HTTPTunnel, _ decoder: Base64Stream, _ context: ChannelHandlerContext
    ) {
        var decoder = decoder
        guard let decoded = decoder.decode(bytes.readableBytesView) else {
            return refuse("400 Bad Request", "The body of POST must be Base64.", context)
        }
        phase = .up(tunnel, decoder)
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        let eventLoop = context.eventLoop
        tunnel.deliver(ByteBuffer(bytes: decoded)) { eventLoop.execute { bound.value.read() } }
    }

    // MARK: GET

    /// What has come by POST.
    func deliver(_ bytes: ByteBuffer, taken: @escaping @Sendable () -> Void) {
        guard case .down = phase else { return }
        var all = waiting?.bytes ?? ByteBuffer()
        all.writeImmutableBuffer(bytes)
        // One POST sends nothing more before its last bytes are taken; who opens ever new ones is cut off.
        guard all.readableBytes <= Self.maxWaiting else {
            metrics.tunnelsRefused.increment()
            context?.close(promise: nil)
            return
        }
        waiting = (all, taken)
        drain()
    }

    private func drain() {
        guard let context, rtsp.isReading, let (bytes, taken) = waiting else { return }
        waiting = nil
        if bytes.readableBytes > 0 {
            context.fireChannelRead(Self.wrapInboundOut(bytes))
            context.fireChannelReadComplete()
        }
        taken()
    }
}

@available(*, unavailable)
extension HTTPTunnelHandler: Sendable {}
