import NIOCore
import NIOHTTP1
import NIOSSL

/// The HTTP side of a connection until it is upgraded: bounds the time this may take, and tells whoever does not ask
/// for a WebSocket what this port is.
final class UpgradeHandler: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias OutboundOut = HTTPServerResponsePart

    private let timeout: Duration
    private let reject: @Sendable (RejectReason) -> Void
    private var timer: Scheduled<Void>?
    private var isRefused = false

    init(timeout: Duration, reject: @escaping @Sendable (RejectReason) -> Void) {
        self.timeout = timeout
        self.reject = reject
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        let channel = context.channel
        timer = context.eventLoop.scheduleTask(in: TimeAmount(timeout)) {
            let handler = bound.value
            if !handler.isRefused { handler.reject(.handshakeTimeout) }
            channel.close(promise: nil)
        }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        timer?.cancel()
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard case .head(let head) = Self.unwrapInboundIn(data), !isRefused else { return }
        isRefused = true
        reject(.notWebSocket)
        let text = "This port speaks the WCS WebSocket protocol only.\n"
        var response = HTTPResponseHead(version: head.version, status: .upgradeRequired)
        response.headers.add(name: "Upgrade", value: "websocket")
        response.headers.add(name: "Sec-WebSocket-Version", value: "13")
        response.headers.add(name: "Connection", value: "close")
        response.headers.add(name: "Content-Type", value: "text/plain; charset=utf-8")
        response.headers.add(name: "Content-Length", value: String(text.utf8.count))
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        context.write(Self.wrapOutboundOut(.head(response)), promise: nil)
        context.write(
            Self.wrapOutboundOut(.body(.byteBuffer(context.channel.allocator.buffer(string: text)))), promise: nil)
        context.writeAndFlush(Self.wrapOutboundOut(.end(nil))).whenComplete { _ in bound.value.close(promise: nil) }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // Anything else is a connection that broke.
        if !isRefused {
            if error is HTTPParserError {
                isRefused = true
                reject(.notWebSocket)
            } else if case .handshakeFailed? = error as? NIOSSLError {
                isRefused = true
                reject(.tlsHandshake)
            }
        }
        context.close(promise: nil)
    }
}

@available(*, unavailable)
extension UpgradeHandler: Sendable {}
