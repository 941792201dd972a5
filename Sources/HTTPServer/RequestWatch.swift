import NIOCore
import NIOHTTP1
import WeirMetrics

/// Counts what never becomes a request, which no middleware sees: bytes that are no HTTP, heads beyond the limits, and
/// connections that end before their first head is complete.
final class RequestWatch: ChannelInboundHandler, RemovableChannelHandler {
    /// Parts of requests, passed on as they are.
    typealias InboundIn = NIOAny

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

    init(counters: Counters) { self.counters = counters }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        hasRequest = true
        context.fireChannelRead(data)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if error is HTTPParserError { counters.malformed.increment() }
        context.fireErrorCaught(error)
    }

    func channelInactive(context: ChannelHandlerContext) {
        if !hasRequest { counters.withoutRequest.increment() }
        context.fireChannelInactive()
    }
}

@available(*, unavailable)
extension RequestWatch: Sendable {}
