import MediaFormats
import NIOCore
import RTP
import RTSP
import Wire

/// One RTSP connection on its event loop: bytes go into the session, its outputs are carried out. It decides nothing about
/// the protocol, but for how much may wait to be sent.
final class RTSPChannelHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let configuration: RTSPServerConfiguration
    let backend: any RTSPBackend
    let facts: RTSPConnectionFacts
    let metrics: RTSPServerMetrics
    var session: RTSPServerSession
    private var parser: RTSPParser

    var context: ChannelHandlerContext?
    var link: RTSPLink?
    private var timer: (at: Instant, task: Scheduled<Void>)?
    private var stallTimer: Scheduled<Void>?
    private var rightsTimer: Scheduled<Void>?
    var isClosing = false
    /// A read that the channel asked for while too many requests waited.
    private var heldRead = false

    // What the session holds of the outside.
    var stream: RTSPStream?
    var layout = ChannelLayout([], of: 0)
    var joinTicket: Int?
    var playback: (any RTSPPlayback)?
    var publication: (any RTSPPublication)?
    var setUpTracks: [RTSPSetUpTrack] = []
    /// Grows with each end: answers to what was asked before are given back.
    var generation = 0

    init(
        configuration: RTSPServerConfiguration, session: RTSPServerSession, backend: any RTSPBackend,
        facts: RTSPConnectionFacts, metrics: RTSPServerMetrics
    ) {
        self.configuration = configuration
        self.session = session
        self.backend = backend
        self.facts = facts
        self.metrics = metrics
        parser = RTSPParser(limits: configuration.limits)
    }

    static var now: Instant { Instant(nanoseconds: Int64(NIODeadline.now().uptimeNanoseconds)) }

    // MARK: Channel

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        link = RTSPLink(self, eventLoop: context.eventLoop)
        schedule()
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        finish()
        self.context = nil
    }

    func channelInactive(context: ChannelHandlerContext) {
        finish()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        // Resets, TLS alerts: the transport is gone or unusable.
        finish()
        context.close(promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isClosing else { return }
        let buffer = Self.unwrapInboundIn(data)
        buffer.withUnsafeReadableBytes { bytes in parser.append(RawSpan(_unsafeBytes: bytes)) }
        parse()
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        publication?.flush()
        context.fireChannelReadComplete()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable {
            stallTimer?.cancel()
            stallTimer = nil
            parse()
        } else if stallTimer == nil, !isClosing {
            let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
            stallTimer = context.eventLoop.scheduleTask(in: TimeAmount(configuration.slowReaderTimeout)) {
                bound.value.cutSlowReader()
            }
        }
        setReading()
        context.fireChannelWritabilityChanged()
    }

    private func cutSlowReader() {
        guard !isClosing else { return }
        metrics.slowReaders.increment()
        finish()
        context?.close(promise: nil)
    }

    // MARK: In

    func parse() {
        do {
            while mayTakeRequests {
                let now = Self.now
                guard let message = try parser.next({ take($0, $1, now: now) }) else { break }
                metrics.requests.increment()
                session.receive(message, now: now)
                carryOut()
            }
        } catch {
            session.receive(error)
            carryOut()
        }
        schedule()
        setReading()
    }

    private func take(_ channel: UInt8, _ packet: RawSpan, now: Instant) {
        metrics.packetsReceived.increment()
        guard let (track, isRTCP) = session.route(channel: channel, now: now) else { return }
        if let publication {
            publication.receive(track: track, isRTCP: isRTCP, packet)
        } else if isRTCP {
            receiveFromPlayer(packet)
        }
    }

    /// A player that has lost the picture asks for a new one.
    private func receiveFromPlayer(_ packet: RawSpan) {
        guard let stream, RTCP.isRTCP(packet) else { return }
        var wantsKeyFrame = false
        try? RTCP.parse(packet) { part in
            switch part {
            case .pli, .fir: wantsKeyFrame = true
            default: break
            }
        }
        if wantsKeyFrame { stream.requestKeyFrame() }
    }

    /// Who sends requests faster than they are decided, or does not read the responses, has to wait.
    private var mayTakeRequests: Bool { !isClosing && !session.isFull && context?.channel.isWritable == true }

    /// Nothing more is read than what is here while it could not be dealt with.
    private func setReading() {
        let mayRead = mayTakeRequests || isClosing
        guard heldRead == mayRead, let context else { return }
        heldRead = !mayRead
        context.channel.setOption(.autoRead, value: mayRead).whenFailure { _ in
            // The channel is closed.
        }
    }

    // MARK: Out

    func carryOut() {
        while let output = session.poll() {
            switch output {
            case .send(let bytes): write(ByteBuffer(bytes: bytes))
            case .ask(let ticket, let question): ask(question, ticket)
            case .pause: pause()
            case .end: release()
            case .close(let reason): close(reason)
            }
        }
    }

    private func close(_ reason: RTSPCloseReason) {
        guard !isClosing, let context else { return }
        metrics.count(reason)
        isClosing = true
        stopTimers()
        let bound = NIOLoopBound(context, eventLoop: context.eventLoop)
        // What was written goes first, for a bounded time.
        context.writeAndFlush(Self.wrapOutboundOut(ByteBuffer())).whenComplete { _ in bound.value.close(promise: nil) }
        context.eventLoop.scheduleTask(in: TimeAmount(configuration.closeTimeout)) { bound.value.close(promise: nil) }
    }

    /// Idempotent.
    private func finish() {
        session.connectionLost()
        carryOut()
        release()
        isClosing = true
        stopTimers()
        link?.cut()
    }

    private func stopTimers() {
        timer?.task.cancel()
        timer = nil
        stallTimer?.cancel()
        stallTimer = nil
        rightsTimer?.cancel()
        rightsTimer = nil
    }

    /// What has been allowed last holds for so long; nil: for ever.
    func limitRights(_ time: Duration?) {
        rightsTimer?.cancel()
        rightsTimer = nil
        guard let time, let context, !isClosing else { return }
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        rightsTimer = context.eventLoop.scheduleTask(in: TimeAmount(time)) {
            bound.value.session.rightsEnded()
            bound.value.carryOut()
        }
    }

    /// One timer for what the session waits for; it may come early, then it is set anew.
    private func schedule() {
        guard let context, !isClosing else { return }
        let at = session.deadline
        if let timer, timer.at <= at { return }
        timer?.task.cancel()
        timer = nil
        guard at != .distantFuture else { return }
        let bound = NIOLoopBound(self, eventLoop: context.eventLoop)
        let deadline = NIODeadline.uptimeNanoseconds(UInt64(max(0, at.nanoseconds)))
        let task = context.eventLoop.scheduleTask(deadline: deadline) {
            bound.value.timer = nil
            bound.value.session.tick(now: Self.now)
            bound.value.carryOut()
            bound.value.schedule()
        }
        timer = (at, task)
    }
}

@available(*, unavailable)
extension RTSPChannelHandler: Sendable {}
