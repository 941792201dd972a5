import HLS
import NIOCore
import NIOHTTP1

/// Answers what it can of HLS right where the bytes of an HTTP/1.1 connection come in, without a task, a router or a copy; all
/// other requests go on to NIO's parser and the router, one at a time. Answers keep the order of the requests.
///
/// From the first request with a body, or that is odd in another way, everything goes on to the router for as long as
/// the connection lasts. Closes the connection when it has been idle for too long, since what is behind it does not see all
/// requests.
final class HLSConnection: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer
    typealias OutboundIn = IOData
    typealias OutboundOut = IOData

    private static let usualHead = 2_048

    /// A request that is ours.
    private final class Taken {
        let request: HLSRequest
        let stream: HLSStream
        let began: NIODeadline
        /// As it came.
        let bytes: ByteBuffer

        init(request: HLSRequest, stream: HLSStream, began: NIODeadline, bytes: ByteBuffer) {
            (self.request, self.stream, self.began, self.bytes) = (request, stream, began, bytes)
        }
    }

    private enum Phase {
        case free
        case waiting(Taken, UInt64)
        /// The router has a request.
        case routed
        /// Nothing is looked at any more.
        case passing
    }

    let port: HLSPort
    private let loop: HLSLoop
    private let watch: RequestWatch
    let isPlain: Bool
    private let reserved: Set<String>
    private var phase = Phase.free
    private var ticket: HLSStream.Ticket?
    /// Tells waiting requests of this connection apart.
    private var number: UInt64 = 0
    /// Our answers that the kernel has not taken yet.
    private var unsent = 0
    /// Bytes that have not been looked at, or begin a head: at most that and what one read brings.
    private var input = ByteBuffer()
    private var isLooking = false
    /// Since the last complete read something has gone on to what is behind us.
    private var hasPassed = false
    /// What it knows of the connection.
    private var toldWritable = true
    private var heldEvents: [Any] = []
    private var holdsRead = false
    private var known: HLSSessions.Known?
    /// When a request was whole, or answered.
    private(set) var lastActive = NIODeadline.now()
    private var idleCheck: Scheduled<Void>?

    /// - Parameters:
    ///   - loop: of this connection.
    ///   - watch: of this connection.
    ///   - reserved: first components of paths that are the router's.
    ///   - isPlain: nothing between this and the socket needs to see bytes.
    init(_ port: HLSPort, loop: HLSLoop, watch: RequestWatch, reserved: Set<String>, isPlain: Bool) {
        self.port = port
        self.loop = loop
        self.watch = watch
        self.reserved = reserved
        self.isPlain = isPlain
    }

    // MARK: Life

    func handlerAdded(context: ChannelHandlerContext) {
        watch.onAnswered = { [weak self] in self?.routerAnswered(context) }
        checkIdle(context, in: port.idleTimeout)
    }

    func handlerRemoved(context: ChannelHandlerContext) { end() }

    func channelInactive(context: ChannelHandlerContext) {
        end()
        context.fireChannelInactive()
    }

    private func end() {
        if let ticket, case .waiting(let taken, _) = phase { taken.stream.cancel(ticket) }
        phase = .passing
        ticket = nil
        input = ByteBuffer()
        heldEvents = []
        idleCheck?.cancel()
        idleCheck = nil
        watch.onAnswered = nil
    }

    private func checkIdle(_ context: ChannelHandlerContext, in time: TimeAmount) {
        idleCheck = context.eventLoop.assumeIsolated().scheduleTask(in: time) { [weak self] in
            guard let self else { return }
            // A request that is whole takes as long as it takes.
            let isBusy = isAnswering || watch.isBusy
            let limit = max(lastActive, watch.lastPart) + port.idleTimeout
            if isBusy || limit > .now() {
                checkIdle(context, in: isBusy ? port.idleTimeout : limit - .now())
            } else {
                context.close(promise: nil)
            }
        }
    }

    private var isAnswering: Bool {
        if case .waiting = phase { true } else { unsent > 0 }
    }

    /// Requests have come that nobody has looked at.
    private var hasMore: Bool {
        switch phase {
        case .free, .passing: !isReady && input.readableBytes > 0
        case .waiting, .routed: input.readableBytes > 0
        }
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        // Both end the connection once what is behind us has nothing to do, and it does not know of our requests.
        let isEnd = event is ChannelShouldQuiesceEvent || event as? ChannelEvent == .inputClosed
        if isEnd, isAnswering || hasMore {
            heldEvents.append(event)
        } else {
            context.fireUserInboundEventTriggered(event)
        }
    }

    // MARK: Requests

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if case .passing = phase {
            hasPassed = true
            context.fireChannelRead(data)
            return
        }
        var bytes = unwrapInboundIn(data)
        if input.readableBytes == 0 { input = bytes } else { input.writeBuffer(&bytes) }
        goOn(context)
    }

    /// Whether another request can be answered. A viewer that does not read gets no more answers.
    private var isReady: Bool {
        guard case .free = phase else { return false }
        return unsent < port.maxUnsent
    }

    private func look(_ context: ChannelHandlerContext) {
        isLooking = true
        defer { isLooking = false }
        while isReady, input.readableBytes > 0 {
            if let known = loop.requests.find(input) {
                answer(known.request, known.length, context)
                continue
            }
            switch parseInput() {
            case .incomplete: return
            case .other: return pass(context)
            case .head(let head): answer(request(head), head.count, context)
            }
        }
    }

    /// - Parameters:
    ///   - request: nil: it is the router's.
    ///   - length: of its head.
    private func answer(_ request: HLSRequest?, _ length: Int, _ context: ChannelHandlerContext) {
        guard let bytes = input.readSlice(length: length) else { return }
        lastActive = .now()
        // What has been read is another's buffer again.
        if input.readableBytes == 0 { input = ByteBuffer() }
        if let request, let taken = taken(request, bytes) { step(taken, context) } else { route(bytes, context) }
    }

    private func request(_ head: RequestHead) -> HLSRequest? {
        guard head.isGet || head.isHead, let path = HLSPath(bytes: head.path) else { return nil }
        let request = HLSRequest(path: path, query: head.query, isHead: head.isHead, fields: head.fields)
        if let bytes = input.getSlice(at: input.readerIndex, length: head.count) {
            loop.requests.keep(request, head: bytes)
        }
        return request
    }

    /// Nearly all heads are short, and what is behind the first one need not be looked at.
    private func parseInput() -> RequestHead.Parsed {
        let short = RequestHead.parse(Array(input.readableBytesView.prefix(Self.usualHead)))
        guard case .incomplete = short, input.readableBytes > Self.usualHead else { return short }
        return RequestHead.parse(Array(input.readableBytesView.prefix(RequestHead.maxBytes)))
    }

    private func pass(_ context: ChannelHandlerContext) {
        phase = .passing
        let bytes = input
        input = ByteBuffer()
        forward(bytes, context)
    }

    private func route(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) {
        phase = .routed
        forward(bytes, context)
    }

    private func forward(_ bytes: ByteBuffer, _ context: ChannelHandlerContext) {
        tellWritable(context)
        context.fireChannelRead(wrapInboundOut(bytes))
        // Perhaps not from within a read.
        context.fireChannelReadComplete()
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        guard hasPassed else { return }
        hasPassed = false
        context.fireChannelReadComplete()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        switch phase {
        case .routed, .passing: tellWritable(context)
        // Each part that we send would be told of twice.
        case .free, .waiting: if !toldWritable { tellWritable(context) }
        }
    }

    private func tellWritable(_ context: ChannelHandlerContext) {
        guard toldWritable != context.channel.isWritable else { return }
        toldWritable.toggle()
        context.fireChannelWritabilityChanged()
    }

    private func routerAnswered(_ context: ChannelHandlerContext) {
        guard case .routed = phase else { return }
        phase = .free
        guard input.readableBytes > 0 || !heldEvents.isEmpty else { return }
        // Not from within what writes the answer.
        let bound = NIOLoopBound((handler: self, context: context), eventLoop: context.eventLoop)
        context.eventLoop.execute { bound.value.handler.goOn(bound.value.context) }
    }

    private func taken(_ request: HLSRequest, _ bytes: ByteBuffer) -> Taken? {
        guard !reserved.contains(request.path.stream), let stream = port.desk.streamNow(request, known: &known) else {
            return nil
        }
        watch.noteRequest()
        return Taken(request: request, stream: stream, began: lastActive, bytes: bytes)
    }

    private func step(_ taken: Taken, _ context: ChannelHandlerContext) {
        switch port.desk.step(taken.request, taken.stream) {
        case .answer(let answer):
            // The router knows how to read from disk.
            if case .file = answer.body { route(taken.bytes, context) } else { send(answer, taken, context) }
        case .wait(let wait): self.wait(wait, taken, context)
        }
    }

    private func wait(_ wait: HLSStream.Wait, _ taken: Taken, _ context: ChannelHandlerContext) {
        number += 1
        phase = .waiting(taken, number)
        let loop = context.eventLoop
        let bound = NIOLoopBound((handler: self, context: context, number: number), eventLoop: loop)
        ticket = taken.stream.wait(wait) { outcome in
            loop.execute {
                let (handler, context, number) = bound.value
                handler.goOn(outcome, number, context)
            }
        }
    }

    private func goOn(_ outcome: HLSStream.WaitOutcome, _ number: UInt64, _ context: ChannelHandlerContext) {
        guard case .waiting(let taken, number) = phase else { return }
        ticket = nil
        phase = .free
        if outcome == .go {
            step(taken, context)
        } else {
            send(port.desk.answer(HLSDesk.notReady, taken.request), taken, context)
        }
        goOn(context)
    }

    /// What has come, as far as it can be looked at now.
    private func goOn(_ context: ChannelHandlerContext) {
        // An answer that is sent at once is told of while the next request is to be looked at anyway.
        guard !isLooking else { return }
        look(context)
        guard !hasMore else { return }
        if !isAnswering, !heldEvents.isEmpty {
            let events = heldEvents
            heldEvents = []
            for event in events { context.fireUserInboundEventTriggered(event) }
        }
        if holdsRead {
            holdsRead = false
            context.read()
        }
    }

    func read(context: ChannelHandlerContext) {
        if hasMore { holdsRead = true } else { context.read() }
    }

    // MARK: Answers

    private func send(_ answer: HLSAnswer, _ taken: Taken, _ context: ChannelHandlerContext) {
        phase = .free
        lastActive = .now()
        port.count(taken.request, answer.status, lastActive - taken.began)
        let promise = context.eventLoop.makePromise(of: Void.self)
        unsent += 1
        let files = write(answer, taken.request, context, promise)
        let bound = NIOLoopBound((handler: self, context: context), eventLoop: context.eventLoop)
        promise.futureResult.whenComplete { _ in
            // Until now the kernel needed them.
            withExtendedLifetime(files) {}
            let (handler, context) = bound.value
            handler.unsent -= 1
            if handler.holdsRead || !handler.heldEvents.isEmpty || handler.input.readableBytes > 0 {
                handler.goOn(context)
            }
        }
        context.flush()
        loop.turn.mayEnd()
    }
}

@available(*, unavailable)
extension HLSConnection: Sendable {}
