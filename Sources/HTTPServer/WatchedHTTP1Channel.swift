import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1

/// HTTP/1.1 whose requests are watched as they come in, and where there is HLS, answered there if they can be.
struct WatchedHTTP1Channel: ServerChildChannel {
    typealias Value = HTTP1Channel.Value

    /// With `hls`, without an idle timeout of its own.
    let base: HTTP1Channel
    let watch: RequestWatch.Counters
    let hls: HLSPort?
    /// First components of paths that are the router's alone.
    let reserved: Set<String>
    let isPlain: Bool

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        base.setup(channel: channel, logger: logger).flatMapThrowing { value in
            let pipeline = channel.pipeline.syncOperations
            let decoder = try pipeline.handler(type: ByteToMessageHandler<HTTPRequestDecoder>.self)
            let requests = RequestWatch(counters: watch)
            try pipeline.addHandler(requests, position: .after(decoder))
            if let hls {
                let connection = HLSConnection(
                    hls, loop: hls.shared(on: channel.eventLoop), watch: requests, reserved: reserved, isPlain: isPlain)
                let encoder = try pipeline.handler(type: HTTPResponseEncoder.self)
                try pipeline.addHandler(connection, position: .before(encoder))
                // Another read would only find that there is no more.
                try channel.syncOptions?.setOption(.maxMessagesPerRead, value: 1)
            }
            return value
        }
    }

    func handle(value: Value, logger: Logger) async { await base.handle(value: value, logger: logger) }
}
