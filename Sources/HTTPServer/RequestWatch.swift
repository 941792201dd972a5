import NIOCore
import NIOHTTP1
import WeirMetrics

/// Counts what never becomes a request, which no middleware sees: bytes that are no HTTP, heads beyond the limits, and
/// connections that end before their first head is complete. Knows whether the router has requests of the connection.
final class RequestWatch: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    struct Counters: Sendable {
        let malformed: Counter
        let withoutRequest: Counter

        init(metrics: MetricsRegistry) {
            malformed = metrics.counter(
                "weir_http_malformed_total", help: "HTTP connections closed for a head that is malformed or too long.")
            withoutRequest = metrics.counter(
                "weir_http_connections_without_request_total",
                help: "HTTP connections that ended before their first request was complete.")
        }
    }

    private let counters: Counters
    private var hasRequest = false
    private var isReading = false
    /// Requests whose answers have not been written.
    private var count = 0
    /// When a part of a request or the end of an answer came by.
    private(set) var lastPart = NIODeadline.now()
    /// An answer has been written.
    var onAnswered: (() -> Void)?

    init(counters: Counters) { self.counters = counters }

    /// There was one that does not come here.
    func noteRequest() { hasRequest = true }

    /// The router has a whole request to answer.
    var isBusy: Bool { count > (isReading ? 1 : 0) }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        lastPart = .now()
        switch unwrapInboundIn(data) {
        case .head:
            (hasRequest, isReading) = (true, true)
            count += 1
        case .body: break
        case .end: isReading = false
        }
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let part = unwrapOutboundIn(data)
        context.write(data, promise: promise)
        guard case .end = part else { return }
        count = max(0, count - 1)
        lastPart = .now()
        onAnswered?()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if error is HTTPParserError { counters.malformed.increment() }
        context.fireErrorCaught(error)
    }

    func channelInactive(context: ChannelHandlerContext) {
        if !hasRequest { counters.withoutRequest.increment() }
        onAnswered = nil
        context.fireChannelInactive()
    }
}

@available(*, unavailable)
extension RequestWatch: Sendable {}
