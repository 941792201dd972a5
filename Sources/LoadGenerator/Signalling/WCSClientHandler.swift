import FoundationEssentials
import NIOCore
import NIOHTTP1
import NIOWebSocket

/// One client of the WCS protocol with one stream: connects, asks, hands the answer over, and answers pings until the
/// end. Lives on the event loop of its channel.
final class WCSClientHandler: ChannelInboundHandler {
    typealias InboundIn = WebSocketFrame
    typealias OutboundOut = WebSocketFrame

    /// The stream that the client wants.
    struct Stream: Sendable {
        let id: String
        let name: String
        let published: Bool
        let offer: String
    }

    private enum State {
        /// `connection` is sent.
        case connecting
        /// `publishStream` or `playStream` is sent.
        case asking
        case live
        /// Ended by us, or reported as lost.
        case over
    }

    private let url: ServiceURL
    private let stream: Stream
    private let greeting: String
    private let answer: EventLoopPromise<String>
    private let lost: @Sendable (String) -> Void
    private var state = State.connecting

    /// - Parameters:
    ///   - greeting: the `connection` message.
    ///   - answer: gets the SDP, or the failure.
    ///   - lost: called once if the stream ends after its answer without having been stopped.
    init(
        url: ServiceURL, stream: Stream, greeting: String, answer: EventLoopPromise<String>,
        lost: @escaping @Sendable (String) -> Void
    ) {
        self.url = url
        self.stream = stream
        self.greeting = greeting
        self.answer = answer
        self.lost = lost
    }

    // MARK: Events

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let frame = Self.unwrapInboundIn(data)
        switch frame.opcode {
        case .text: read(Array(frame.unmaskedData.readableBytesView), context)
        case .ping: send(.pong, frame.unmaskedData, context)
        case .connectionClose:
            send(.connectionClose, frame.unmaskedData, context)
            end("the server closed the WebSocket\(Self.reason(frame.unmaskedData))", .disconnected)
            context.close(promise: nil)
        // The SDK drops binary frames (wcs-signalling.md §1.3).
        default: break
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        end("the connection ended", .disconnected)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        end("\(error)", .disconnected)
        context.close(promise: nil)
    }

    /// Says who the client is. The connection must be upgraded wholly: NIO drops what is sent before.
    func begin(_ channel: any Channel) {
        channel.writeAndFlush(frame(.text, channel.allocator.buffer(string: greeting)), promise: nil)
    }

    /// Stops the stream and closes the connection.
    func stop(_ channel: any Channel) {
        if case .live = state {
            state = .over
            let text = WCSRequestText.stop(
                id: stream.id, name: stream.name, published: stream.published, offer: stream.offer)
            channel.write(frame(.text, channel.allocator.buffer(string: text)), promise: nil)
        } else {
            end("the load is over", .closed)
        }
        var code = channel.allocator.buffer(capacity: 2)
        code.write(webSocketErrorCode: .normalClosure)
        channel.writeAndFlush(frame(.connectionClose, code)).whenComplete { _ in channel.close(promise: nil) }
    }

    // MARK: Protocol

    private func read(_ bytes: [UInt8], _ context: ChannelHandlerContext) {
        guard let message = try? JSONDecoder().decode(WCSServerMessage.self, from: Data(bytes)) else {
            end("a message is no WCS: \(String(decoding: bytes.prefix(200), as: UTF8.self))", .protocolViolation)
            context.close(promise: nil)
            return
        }
        switch (message, state) {
        case (.ping, _): send(WCSRequestText.pong, context)
        case (.userData, .connecting):
            state = .asking
            send(
                WCSRequestText.start(
                    id: stream.id, name: stream.name, published: stream.published, offer: stream.offer), context)
        case (.remoteSDP(let id, let sdp), .asking) where id == stream.id:
            state = .live
            answer.succeed(sdp)
        case (.status(let id, let status, let info), _) where id == stream.id && Self.terminal.contains(status):
            end("\(status)\(info.map { ": \($0)" } ?? "")", .refused)
        case (.fail(let status, let info), .connecting), (.fail(let status, let info), .asking):
            end("\(status ?? "FAILED")\(info.map { ": \($0)" } ?? "")", .refused)
        default: break
        }
    }

    /// wcs-signalling.md §3.5.
    private static let terminal: Set = ["FAILED", "STOPPED", "UNPUBLISHED"]

    /// Before the answer this is the failure, afterwards the loss.
    private func end(_ reason: String, _ code: SignallingFailure.Code) {
        switch state {
        case .connecting, .asking:
            let request = stream.published ? "publishStream" : "playStream"
            answer.fail(SignallingFailure(code, "\(url) \(request) \(stream.name): \(reason)"))
        case .live: lost("\(stream.name): \(reason)")
        case .over: break
        }
        state = .over
    }

    /// Close code and reason (RFC 6455 §5.5.1).
    private static func reason(_ payload: ByteBuffer) -> String {
        var payload = payload
        guard let code = payload.readInteger(as: UInt16.self) else { return "" }
        let text = String(buffer: payload)
        return text.isEmpty ? " (\(code))" : " (\(code) \(text))"
    }

    // MARK: Frames

    private func send(_ text: String, _ context: ChannelHandlerContext) {
        send(.text, context.channel.allocator.buffer(string: text), context)
    }

    private func send(_ opcode: WebSocketOpcode, _ payload: ByteBuffer, _ context: ChannelHandlerContext) {
        context.writeAndFlush(Self.wrapOutboundOut(frame(opcode, payload)), promise: nil)
    }

    /// Clients mask (RFC 6455 §5.3).
    private func frame(_ opcode: WebSocketOpcode, _ payload: ByteBuffer) -> WebSocketFrame {
        WebSocketFrame(fin: true, opcode: opcode, maskKey: .random(), data: payload)
    }
}

@available(*, unavailable)
extension WCSClientHandler: Sendable {}

/// Sees what a server answers that does not upgrade.
final class UpgradeRefusalHandler: ChannelInboundHandler {
    typealias InboundIn = HTTPClientResponsePart

    private let url: ServiceURL
    private let answer: EventLoopPromise<String>

    init(url: ServiceURL, answer: EventLoopPromise<String>) {
        self.url = url
        self.answer = answer
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard case .head(let head) = Self.unwrapInboundIn(data) else { return }
        answer.fail(
            SignallingFailure(
                .refused, "\(url): the server does not speak WebSocket there: \(head.status)",
                status: Int(head.status.code)))
        context.close(promise: nil)
    }

    func channelInactive(context: ChannelHandlerContext) {
        answer.fail(SignallingFailure(.disconnected, "\(url): the connection ended during the WebSocket handshake"))
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        answer.fail(SignallingFailure(.disconnected, "\(url): \(error)"))
        context.close(promise: nil)
    }
}

@available(*, unavailable)
extension UpgradeRefusalHandler: Sendable {}
