import NIOCore
import NIOHTTP1

/// A request with its whole body.
struct HTTPRequest: Sendable {
    var method: HTTPMethod
    var url: ServiceURL
    var headers: HTTPHeaders = [:]
    var body = ""
}

/// A response with its whole body, as text.
struct HTTPReply: Sendable {
    let status: HTTPResponseStatus
    let headers: HTTPHeaders
    let body: String
    /// The connection may carry another request.
    let keepsAlive: Bool
}

/// One request and where its reply goes.
struct HTTPExchange: Sendable {
    let request: HTTPRequest
    let reply: EventLoopPromise<HTTPReply>
}

/// Carries one exchange at a time over a client connection.
final class HTTPExchangeHandler: ChannelDuplexHandler {
    typealias InboundIn = HTTPClientResponsePart
    typealias OutboundIn = HTTPExchange
    typealias OutboundOut = HTTPClientRequestPart

    /// Bytes of a body that are kept; an SDP answer has some thousands.
    static let bodyLimit = 1 << 20

    private var current: HTTPExchange?
    private var head: HTTPResponseHead?
    private var body = ByteBuffer()

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let exchange = Self.unwrapOutboundIn(data)
        precondition(current == nil, "the pool gives a connection to one exchange at a time")
        current = exchange
        head = nil
        body.clear()
        let request = exchange.request
        var headers = request.headers
        headers.replaceOrAdd(name: "Host", value: request.url.authority)
        if !request.body.isEmpty || request.method == .POST {
            headers.replaceOrAdd(name: "Content-Length", value: String(request.body.utf8.count))
        }
        let line = HTTPRequestHead(
            version: .http1_1, method: request.method, uri: request.url.target, headers: headers)
        context.write(Self.wrapOutboundOut(.head(line)), promise: nil)
        if !request.body.isEmpty {
            let buffer = context.channel.allocator.buffer(string: request.body)
            context.write(Self.wrapOutboundOut(.body(.byteBuffer(buffer))), promise: nil)
        }
        context.write(Self.wrapOutboundOut(.end(nil)), promise: promise)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch Self.unwrapInboundIn(data) {
        case .head(let head):
            // Interim responses say nothing yet (RFC 9110 §15.2).
            if head.status.code >= 200 { self.head = head }
        case .body(var part):
            guard body.readableBytes + part.readableBytes <= Self.bodyLimit else {
                fail(.protocolViolation, "the body has more than \(Self.bodyLimit) bytes")
                context.close(promise: nil)
                return
            }
            body.writeBuffer(&part)
        case .end:
            guard let head, let current else { return }
            self.current = nil
            current.reply.succeed(
                HTTPReply(
                    status: head.status, headers: head.headers, body: String(buffer: body),
                    keepsAlive: head.isKeepAlive))
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        fail(.disconnected, "the server closed the connection before it answered")
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        fail(error is HTTPParserError ? .protocolViolation : .disconnected, "\(error)")
        context.close(promise: nil)
    }

    private func fail(_ code: SignallingFailure.Code, _ text: String) {
        guard let current else { return }
        self.current = nil
        current.reply.fail(
            SignallingFailure(code, "\(current.request.method) \(current.request.url): \(text)"))
    }
}

@available(*, unavailable)
extension HTTPExchangeHandler: Sendable {}
