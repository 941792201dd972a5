import ControlPlane
import NIOCore
import NIOWebSocket

/// The WebSocket end of one connection, on its event loop: frames, control frames, keep-alive, the bounded queue
/// outwards. Requests go to `WCSConnection`, which takes its time; pings are answered here and never wait for it.
final class WCSChannelHandler: ChannelDuplexHandler {
    typealias InboundIn = WebSocketFrame
    typealias OutboundIn = WebSocketFrame
    typealias OutboundOut = WebSocketFrame

    private enum State {
        case open
        /// We have sent a close frame and wait for the client's.
        case closing
        case closed
    }

    private let configuration: WCSConfiguration
    private let connection: WCSConnection
    private let metrics: WCSMetrics
    private let requests: AsyncStream<WCSIncoming>.Continuation

    private var state = State.open
    private var context: ChannelHandlerContext?
    private var assembler: MessageAssembler

    private var keepAliveTask: RepeatedTask?
    private var firstMessageTask: Scheduled<Void>?
    private var fragmentTask: Scheduled<Void>?
    private var closeTask: Scheduled<Void>?
    private var unansweredPings = 0
    private var rejectedLeft: Int

    private var queuedMessages = 0
    private var queuedBytes = 0
    private var pendingRequests = 0
    private var pendingBytes = 0
    /// A read that the channel asked for while too many requests waited.
    private var heldRead = false

    init(
        configuration: WCSConfiguration, connection: WCSConnection, metrics: WCSMetrics,
        requests: AsyncStream<WCSIncoming>.Continuation
    ) {
        self.configuration = configuration
        self.connection = connection
        self.metrics = metrics
        self.requests = requests
        assembler = MessageAssembler(
            maxBytes: configuration.maxMessageBytes, maxFragments: configuration.maxFragments)
        rejectedLeft = configuration.maxRejectedMessages
    }

    // MARK: Channel events

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        firstMessageTask = schedule(configuration.firstMessageTimeout, on: context) { handler in
            handler.reject(.firstMessageTimeout)
            handler.beginClose(.policyViolation, because: .protocolError("no connection message in time"))
        }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        finish()
        self.context = nil
    }

    func channelInactive(context: ChannelHandlerContext) {
        finish()
        context.fireChannelInactive()
    }

    func read(context: ChannelHandlerContext) {
        if isOverloaded, state == .open {
            heldRead = true
        } else {
            context.read()
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard let error = error as? NIOWebSocketError else {
            // Resets, TLS alerts: the transport is gone or unusable.
            connection.noteClose(.connectionLost)
            context.close(promise: nil)
            return
        }
        if error == .invalidFrameLength {
            protocolFailure(.messageTooLong, .messageTooLarge, "frame too long")
        } else {
            protocolFailure(.frameProtocol, .protocolError, "bad frame")
        }
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard state != .closed else { return }
        let frame = Self.unwrapInboundIn(data)
        guard state == .open || frame.opcode == .connectionClose else { return }
        // RFC 6455 §5.1 and §5.2: a client masks every frame; reserved bits belong to extensions, and there are none.
        guard frame.maskKey != nil, !frame.rsv1, !frame.rsv2, !frame.rsv3 else {
            return protocolFailure(.frameProtocol, .protocolError, "unmasked frame or reserved bit")
        }
        unansweredPings = 0
        switch frame.opcode {
        case .text: receive(.text, frame)
        case .binary: receive(.binary, frame)
        case .continuation: receive(.continuation, frame)
        case .ping: write(.pong, frame.unmaskedData)
        case .pong: break
        case .connectionClose: receiveClose(frame.unmaskedData)
        default: protocolFailure(.frameProtocol, .protocolError, "unknown opcode")
        }
    }

    // MARK: Messages of the client

    private func receive(_ kind: MessageAssembler.Kind, _ frame: WebSocketFrame) {
        let output: MessageAssembler.Output
        do {
            output = try assembler.append(kind, isFinal: frame.fin, frame.unmaskedData.readableBytesView)
        } catch {
            switch error {
            case .outOfOrder: protocolFailure(.frameProtocol, .protocolError, "fragments out of order")
            case .tooLong: protocolFailure(.messageTooLong, .messageTooLarge, "message too long")
            case .tooManyFragments: protocolFailure(.tooManyFragments, .policyViolation, "too many fragments")
            }
            return
        }
        guard output != .incomplete else {
            if fragmentTask == nil, let context {
                fragmentTask = schedule(configuration.fragmentTimeout, on: context) { handler in
                    handler.protocolFailure(.fragmentTimeout, .policyViolation, "message not finished in time")
                }
            }
            return
        }
        fragmentTask?.cancel()
        fragmentTask = nil
        if case .text(let bytes) = output {
            receive(bytes)
        } else {
            rejectMessage(.binaryMessage)
        }
    }

    private func receive(_ bytes: [UInt8]) {
        metrics.messagesReceived.increment()
        metrics.bytesReceived.increment(by: UInt64(bytes.count))
        guard String(validating: bytes, as: UTF8.self) != nil else {
            return protocolFailure(.badText, .dataInconsistentWithMessage, "text is not UTF-8")
        }
        let request: WCSRequest
        do {
            request = try WCSCodec.decode(bytes, limits: configuration.jsonLimits)
        } catch {
            rejectMessage(RejectReason(error))
            return
        }
        switch request {
        case .pong, .ignored: break
        case .ping: send(.pong)
        case .unknown: reject(.unknownMessage)
        case .connection:
            firstMessageTask?.cancel()
            enqueue(request, bytes.count)
        default: enqueue(request, bytes.count)
        }
    }

    private func enqueue(_ request: WCSRequest, _ count: Int) {
        pendingRequests += 1
        pendingBytes += count
        requests.yield(WCSIncoming(request: request, bytes: count))
    }

    private var isOverloaded: Bool {
        pendingRequests >= configuration.maxPendingRequests || pendingBytes >= configuration.maxPendingBytes
    }

    /// The connection has dealt with a request: there is room for another.
    func requestDone(bytes: Int) {
        pendingRequests -= 1
        pendingBytes -= bytes
        resumeReading()
    }

    private func resumeReading() {
        guard heldRead, state != .open || !isOverloaded else { return }
        heldRead = false
        context?.read()
    }

    /// Refuses one message and goes on, unless the client sends nothing else.
    func rejectMessage(_ reason: RejectReason) {
        reject(reason)
        guard state == .open else { return }
        rejectedLeft -= 1
        guard rejectedLeft <= 0 else { return }
        protocolFailure(.tooManyRejected, .policyViolation, "too many bad messages")
    }

    private func reject(_ reason: RejectReason) {
        connection.reject(reason)
    }

    private func protocolFailure(_ reason: RejectReason, _ code: WebSocketErrorCode, _ text: String) {
        guard state == .open else { return }
        reject(reason)
        beginClose(code, because: .protocolError(text), text: text)
    }

    // MARK: Messages to the client

    /// False if the connection is closing, or has just been cut because the client does not read.
    @discardableResult
    func send(_ message: WCSMessage) -> Bool {
        guard state == .open, let context else { return false }
        let bytes = message.bytes
        metrics.messagesSent.increment()
        metrics.bytesSent.increment(by: UInt64(bytes.count))
        return write(.text, context.channel.allocator.buffer(bytes: bytes))
    }

    @discardableResult
    private func write(_ opcode: WebSocketOpcode, _ data: ByteBuffer) -> Bool {
        guard state == .open, let context else { return false }
        let count = data.readableBytes
        // One message may go beyond: a picture is longer than all that may wait.
        guard queuedMessages < configuration.maxQueuedMessages, queuedBytes <= configuration.maxQueuedBytes else {
            cutSlowReader()
            return false
        }
        queuedMessages += 1
        queuedBytes += count
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        let written = context.eventLoop.makePromise(of: Void.self)
        written.futureResult.whenComplete { _ in
            bound.value.queuedMessages -= 1
            bound.value.queuedBytes -= count
        }
        context.writeAndFlush(
            Self.wrapOutboundOut(WebSocketFrame(fin: true, opcode: opcode, data: data)), promise: written)
        return state == .open
    }

    /// No close frame: it would wait behind everything that is not read.
    func cutSlowReader() {
        guard state != .closed else { return }
        reject(.slowReader)
        connection.noteClose(.slowReader)
        finish()
        context?.close(promise: nil)
    }

    /// The session exists: pings begin, the first at once (clients are written to start work at it).
    func startKeepAlive() {
        guard let context, state == .open, configuration.keepAlive != .none, keepAliveTask == nil else { return }
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        keepAliveTask = context.eventLoop.scheduleRepeatedTask(
            initialDelay: .zero, delay: TimeAmount(configuration.keepAliveInterval)
        ) { _ in bound.value.sendPing() }
    }

    private func sendPing() {
        guard state == .open, let context else { return }
        guard unansweredPings < configuration.keepAliveProbes else {
            reject(.keepAlive)
            beginClose(.policyViolation, because: .keepAliveTimeout, text: "no answer to pings")
            return
        }
        // While we do not read, the client cannot show that it lives.
        if !heldRead { unansweredPings += 1 }
        if configuration.keepAlive == .text {
            send(.ping)
        } else {
            write(.ping, context.channel.allocator.buffer(capacity: 0))
        }
    }

    // MARK: Closing

    /// Starts the closing handshake (RFC 6455 §7.1.2); what was queued goes first.
    func beginClose(_ code: WebSocketErrorCode, because reason: SessionCloseReason, text: String = "") {
        guard state == .open, let context else { return }
        connection.noteClose(reason)
        var data = context.channel.allocator.buffer(capacity: 2 + text.utf8.count)
        data.write(webSocketErrorCode: code)
        data.writeString(text)
        stopTimers()
        state = .closing
        context.writeAndFlush(
            Self.wrapOutboundOut(WebSocketFrame(fin: true, opcode: .connectionClose, data: data)), promise: nil)
        requests.finish()
        closeTask = schedule(configuration.closeTimeout, on: context) { handler in
            handler.context?.close(promise: nil)
        }
        resumeReading()
    }

    private func receiveClose(_ payload: ByteBuffer) {
        guard let context else { return }
        guard state == .open else {
            // The answer to ours.
            finish()
            context.close(promise: nil)
            return
        }
        guard let answer = Self.closeAnswer(to: payload) else {
            return protocolFailure(.frameProtocol, .protocolError, "bad close frame")
        }
        connection.noteClose(.clientClosed)
        finish()
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        context.writeAndFlush(
            Self.wrapOutboundOut(WebSocketFrame(fin: true, opcode: .connectionClose, data: answer))
        ).whenComplete { _ in bound.value.close(promise: nil) }
    }

    /// The payload of the answering close frame: the client's code, or nothing if it gave none (RFC 6455 §5.5.1 and
    /// §7.4.1). Nil if the payload is not allowed.
    static func closeAnswer(to payload: ByteBuffer) -> ByteBuffer? {
        guard payload.readableBytes > 0 else { return payload }
        var rest = payload
        guard let code = rest.readInteger(as: UInt16.self),
            String(validating: rest.readableBytesView, as: UTF8.self) != nil
        else { return nil }
        switch code {
        case 1000...1003, 1007...1014, 3000...4999: return payload.getSlice(at: payload.readerIndex, length: 2)
        default: return nil
        }
    }

    private func finish() {
        connection.noteClose(.connectionLost)
        state = .closed
        stopTimers()
        closeTask?.cancel()
        closeTask = nil
        requests.finish()
    }

    private func stopTimers() {
        keepAliveTask?.cancel()
        keepAliveTask = nil
        firstMessageTask?.cancel()
        firstMessageTask = nil
        fragmentTask?.cancel()
        fragmentTask = nil
    }

    private func schedule(
        _ delay: Duration, on context: ChannelHandlerContext, _ work: @escaping @Sendable (WCSChannelHandler) -> Void
    ) -> Scheduled<Void> {
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        return context.eventLoop.scheduleTask(in: TimeAmount(delay)) { work(bound.value) }
    }
}

@available(*, unavailable)
extension WCSChannelHandler: Sendable {}

extension RejectReason {
    init(_ failure: WCSCodec.Failure) {
        switch failure {
        case .json(.tooDeep): self = .jsonTooDeep
        case .json(.tooManyValues): self = .jsonTooManyValues
        case .json(.tooLong): self = .messageTooLong
        case .json(.malformed): self = .jsonMalformed
        case .notAnEnvelope: self = .notAnEnvelope
        }
    }
}
