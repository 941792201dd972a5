import NIOCore
import RTSP
import Synchronization
import Wire

/// One try to pull a source, over in the end for a reason. From any thread.
protocol SourceAttempt: Sendable {
    typealias Completion = @Sendable (RTSPPullFailure, _ playedFor: Interval?) -> Void

    /// Once. The completion is called on the event loop, with how long there was media.
    func start(_ completion: @escaping Completion)
    /// Also before it has begun.
    func stop()
}

/// The state of an attempt, on its event loop. It calls the completion once, and is dropped then.
protocol SourceDriver: AnyObject, SendableMetatype {
    func run()
    /// Whoever wanted the source wants it no more.
    func stop()
}

/// Where the driver of an attempt is, from its start to its end.
final class DriverSlot<Driver: SourceDriver>: Sendable {
    let eventLoop: any EventLoop
    private let driver: NIOLoopBoundBox<Driver?>
    /// It may be stopped before it has begun.
    private let isStopped = Atomic<Bool>(false)

    init(_ eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
        driver = .makeBoxSendingValue(nil, eventLoop: eventLoop)
    }

    /// On the loop.
    var current: Driver? { driver.value }

    /// Runs a driver of the attempt.
    func start(
        _ completion: @escaping SourceAttempt.Completion,
        _ makeDriver: @escaping @Sendable (@escaping SourceAttempt.Completion) -> Driver
    ) {
        eventLoop.execute {
            guard !self.isStopped.load(ordering: .acquiring) else { return completion(.shutdown, nil) }
            let driver = makeDriver { failure, playedFor in
                self.driver.value = nil
                completion(failure, playedFor)
            }
            self.driver.value = driver
            driver.run()
        }
    }

    func stop() {
        isStopped.store(true, ordering: .releasing)
        onLoop { $0.stop() }
    }

    /// Nothing if the driver has ended, or has not begun.
    func onLoop(_ work: @escaping @Sendable (Driver) -> Void) {
        eventLoop.execute {
            guard let driver = self.driver.value else { return }
            work(driver)
        }
    }
}

/// Whom a connection of an attempt tells what comes. On the loop.
protocol SourceConnectionOwner {
    /// Nobody hears it any more.
    var isOver: Bool { get }
    func receive(_ parser: inout RTSPParser)
    func readComplete()
    func closed()
    func failed(_ error: any Error)
}

/// One connection of an attempt, to a camera or to a process.
final class SourceConnectionHandler<Owner: SourceConnectionOwner>: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let owner: Owner
    private let limits: RTSPLimits
    private var parser: RTSPParser?

    init(_ owner: Owner, limits: RTSPLimits) {
        self.owner = owner
        self.limits = limits
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !owner.isOver else { return context.close(promise: nil) }
        let buffer = Self.unwrapInboundIn(data)
        var parser = self.parser ?? RTSPParser(limits: limits)
        self.parser = nil
        buffer.withUnsafeReadableBytes { parser.append(RawSpan(_unsafeBytes: $0)) }
        owner.receive(&parser)
        self.parser = parser
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        owner.readComplete()
        context.fireChannelReadComplete()
    }

    func channelInactive(context: ChannelHandlerContext) {
        owner.closed()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        owner.failed(error)
        context.close(promise: nil)
    }
}
