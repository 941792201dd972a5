import NIOCore
import NIOHTTP1
import NIOPosix
import NIOWebSocket
import Synchronization
import Testing

/// A WebSocket server in this process that answers messages as the test says.
final class FakeWCSServer: Sendable {
    enum Action: Sendable {
        case text(String)
        case ping(String)
        case close(UInt16, String)
        case hangUp
    }

    let port: Int
    private let channel: any Channel
    private let log = Log()
    /// Text messages and, as "pong X" and "close N", control frames, of all clients in order.
    var received: [String] { log.texts.withLock(\.self) }
    var openConnections: Int { log.open.withLock(\.self) }

    private final class Log: Sendable {
        let texts = Mutex<[String]>([])
        let open = Mutex(0)
    }

    /// - Parameters:
    ///   - upgrades: whether it speaks WebSocket at all.
    ///   - greeting: sent as soon as a client is connected.
    init(
        upgrades: Bool = true, greeting: [Action] = [], _ answer: @escaping @Sendable (String) -> [Action]
    ) async throws {
        let log = log
        let upgrader = NIOWebSocketServerUpgrader(
            shouldUpgrade: { channel, _ in channel.eventLoop.makeSucceededFuture(upgrades ? [:] : nil) },
            upgradePipelineHandler: { channel, _ in
                channel.eventLoop.makeCompletedFuture {
                    log.open.withLock { $0 += 1 }
                    channel.closeFuture.whenComplete { _ in log.open.withLock { $0 -= 1 } }
                    try channel.pipeline.syncOperations.addHandler(
                        Handler(greeting: greeting) { text in
                            log.texts.withLock { $0.append(text) }
                            return answer(text)
                        })
                }
            })
        channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let refusal = RefusalHandler()
                    let bound = NIOLoopBound(refusal, eventLoop: channel.eventLoop)
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline(
                        withServerUpgrade: (
                            upgraders: [upgrader],
                            completionHandler: { context in
                                context.pipeline.syncOperations.removeHandler(bound.value, promise: nil)
                            }
                        ))
                    try channel.pipeline.syncOperations.addHandler(refusal)
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        port = channel.localAddress?.port ?? 0
    }

    func stop() async { try? await channel.close() }

    /// Waits for a message.
    func expect(_ part: String) async throws {
        try await eventually("a message with \(part)") { received.contains { $0.contains(part) } }
    }

    private final class RefusalHandler: ChannelInboundHandler, RemovableChannelHandler {
        typealias InboundIn = HTTPServerRequestPart
        typealias OutboundOut = HTTPServerResponsePart

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            guard case .end = Self.unwrapInboundIn(data) else { return }
            let head = HTTPResponseHead(version: .http1_1, status: .upgradeRequired, headers: ["Content-Length": "0"])
            context.write(Self.wrapOutboundOut(.head(head)), promise: nil)
            context.writeAndFlush(Self.wrapOutboundOut(.end(nil)), promise: nil)
        }
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = WebSocketFrame
        typealias OutboundOut = WebSocketFrame

        private let greeting: [Action]
        private let answer: (String) -> [Action]

        init(greeting: [Action], _ answer: @escaping (String) -> [Action]) {
            self.greeting = greeting
            self.answer = answer
        }

        func handlerAdded(context: ChannelHandlerContext) { perform(greeting, context) }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let frame = Self.unwrapInboundIn(data)
            // RFC 6455 §5.1: a client that does not mask is thrown out.
            guard frame.maskKey != nil else { return context.close(promise: nil) }
            var payload = frame.unmaskedData
            switch frame.opcode {
            case .text: perform(answer(String(buffer: payload)), context)
            case .pong: perform(answer("pong \(String(buffer: payload))"), context)
            case .connectionClose:
                perform(answer("close \(payload.readInteger(as: UInt16.self) ?? 0)") + [.hangUp], context)
            default: break
            }
        }

        private func perform(_ actions: [Action], _ context: ChannelHandlerContext) {
            for action in actions {
                var payload = context.channel.allocator.buffer(capacity: 64)
                switch action {
                case .text(let text):
                    payload.writeString(text)
                    send(.text, payload, context)
                case .ping(let text):
                    payload.writeString(text)
                    send(.ping, payload, context)
                case .close(let code, let reason):
                    payload.writeInteger(code)
                    payload.writeString(reason)
                    send(.connectionClose, payload, context)
                case .hangUp: context.close(promise: nil)
                }
            }
        }

        private func send(_ opcode: WebSocketOpcode, _ payload: ByteBuffer, _ context: ChannelHandlerContext) {
            context.writeAndFlush(
                Self.wrapOutboundOut(WebSocketFrame(fin: true, opcode: opcode, data: payload)), promise: nil)
        }
    }
}
