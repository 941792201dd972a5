import Glibc
import NIOCore
import NIOPosix
import RTSP
import Synchronization
import Wire

/// One attempt to pull a source that is not RTSP's: a process that reads it, and what comes from there.
final class ProcessAttempt: SourceAttempt {
    let url: SourceURL
    let settings: RTSPPullSettings
    let sink: any RTSPPullSink
    private let eventLoop: any EventLoop
    private let driver: NIOLoopBoundBox<ProcessDriver?>
    /// It may be stopped before it has begun.
    private let isStopped = Atomic<Bool>(false)

    init(_ url: SourceURL, settings: RTSPPullSettings, sink: any RTSPPullSink, eventLoop: any EventLoop) {
        self.url = url
        self.settings = settings
        self.sink = sink
        self.eventLoop = eventLoop
        driver = .makeBoxSendingValue(nil, eventLoop: eventLoop)
    }

    func start(_ completion: @escaping PullDriver.Completion) {
        eventLoop.execute {
            guard !self.isStopped.load(ordering: .acquiring) else { return completion(.shutdown, nil) }
            let driver = ProcessDriver(self, self.eventLoop) { failure, playedFor in
                self.driver.value = nil
                completion(failure, playedFor)
            }
            self.driver.value = driver
            driver.run()
        }
    }

    func stop() {
        isStopped.store(true, ordering: .releasing)
        onLoop { $0.end(.shutdown) }
    }

    func onLoop(_ work: @escaping @Sendable (ProcessDriver) -> Void) {
        eventLoop.execute {
            guard let driver = self.driver.value else { return }
            work(driver)
        }
    }

    /// On the loop.
    var current: ProcessDriver? { driver.value }

    // MARK: The process

    /// Begins it on a thread that may wait and goes on for life, and tells the driver.
    func startProcess(_ process: SourceProcessSettings) {
        let order = order(process)
        NIOThreadPool.singleton.submit { state in
            guard state == .active else { return self.onLoop { $0.end(.shutdown) } }
            do throws(ProcessError) {
                let child = try ChildProcess.start(process)
                self.eventLoop.execute { self.connect(child, order) }
            } catch {
                let text = "\(error)"
                self.onLoop { $0.end(.connect(text)) }
            }
        }
    }

    private func order(_ process: SourceProcessSettings) -> [UInt8] {
        var order = SourceOrder(url: url.text)
        order.hosts = settings.hostGuard.hosts
        order.networks = process.networks
        // No other source has business with files.
        order.folder = url.scheme == .file ? process.folder : ""
        order.verifiesTLS = process.verifiesTLS
        order.openingLimit = process.openingLimit
        order.mediaLimit = process.mediaLimit
        return order.bytes
    }

    /// On the loop.
    private func connect(_ child: ChildProcess, _ order: [UInt8]) {
        guard let driver = driver.value else {
            child.end(on: eventLoop)
            close(child.link)
            return
        }
        driver.began(child)
        ClientBootstrap(group: eventLoop)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(ProcessHandler(self))
                }
            }
            .withConnectedSocket(child.link)
            .whenComplete { result in
                switch result {
                case .success(let channel):
                    guard let driver = self.current else { return channel.close(promise: nil) }
                    driver.connected(channel)
                    channel.writeAndFlush(ByteBuffer(bytes: order), promise: nil)
                case .failure(let error): self.current?.end(.connect("\(error)"))
                }
            }
    }
}

/// The state of such an attempt, on its event loop.
final class ProcessDriver {
    /// Behind the process's own limits, which tell more.
    private static let grace = Interval.seconds(4)
    /// How long a process that has gone silent may take to end, so that it is known how.
    private static let lastWordsLimit = TimeAmount.seconds(1)
    private static let lastWordsPoll = TimeAmount.milliseconds(10)

    private unowned let attempt: ProcessAttempt
    private let eventLoop: any EventLoop
    private let completion: PullDriver.Completion
    private var process: ChildProcess?
    private var channel: (any Channel)?
    private var tracks: [RTSPPulledTrack] = []
    private var playingSince: Instant?
    /// The last sign of life.
    private var heard = ProcessDriver.now
    private var watch: RepeatedTask?
    private var isOver = false

    init(_ attempt: ProcessAttempt, _ eventLoop: any EventLoop, completion: @escaping PullDriver.Completion) {
        self.attempt = attempt
        self.eventLoop = eventLoop
        self.completion = completion
    }

    private static var now: Instant { Instant(nanoseconds: Int64(NIODeadline.now().uptimeNanoseconds)) }

    func run() {
        guard let process = attempt.settings.process else { return end(.badURL) }
        do throws(HostGuard.Refusal) {
            try attempt.settings.hostGuard.check(attempt.url)
            // The process asks for whatever its libraries connect to; this one needs no process.
            if !attempt.url.isListening, let address = SocketAddress(ip: attempt.url.host, port: attempt.url.port) {
                try attempt.settings.hostGuard.check(address)
            }
        } catch {
            return end(.refusedHost(error))
        }
        let attempt = attempt
        watch = eventLoop.scheduleRepeatedTask(initialDelay: .seconds(1), delay: .seconds(1)) { _ in
            attempt.current?.look(process)
        }
        attempt.startProcess(process)
    }

    /// A process that hangs is not waited for.
    private func look(_ process: SourceProcessSettings) {
        let limit = playingSince == nil ? process.openingLimit : process.mediaLimit
        guard Self.now - heard > limit + Self.grace else { return }
        end(playingSince == nil ? .connect("the process has not answered in time") : .silent)
    }

    func began(_ process: ChildProcess) { self.process = process }

    func connected(_ channel: any Channel) { self.channel = channel }

    func end(_ failure: RTSPPullFailure) {
        guard !isOver else { return }
        isOver = true
        watch?.cancel()
        channel?.close(promise: nil)
        process?.end(on: eventLoop)
        completion(failure, playingSince.map { Self.now - $0 })
    }

    // MARK: What it says

    func receive(_ parser: inout RTSPParser) {
        do {
            while !isOver {
                let message = try parser.next { channel, packet in take(channel, packet) }
                guard let message else { break }
                try receive(message)
            }
        } catch {
            end(.malformed)
        }
    }

    private func receive(_ message: RTSPMessage) throws {
        guard case .response(let response) = message else { return end(.malformed) }
        guard response.status.isSuccess, tracks.isEmpty else { return end(SourceReport.failure(response)) }
        let description = try RTSPDescription(parsing: response.body)
        tracks = description.tracks.enumerated().map { index, track in
            let channel = UInt8(truncatingIfNeeded: 2 * index)
            return RTSPPulledTrack(
                description: track.description, path: .interleaved(.init(channel, channel + 1)))
        }
        if tracks.isEmpty { end(.badDescription) }
    }

    private func take(_ channel: UInt8, _ packet: RawSpan) {
        let track = Int(channel / 2)
        let isRTCP = channel % 2 == 1
        // Nothing that media begins with.
        guard !isOver, tracks.indices.contains(track), playingSince != nil || !isRTCP else { return }
        if !isRTCP { heard = Self.now }
        if playingSince == nil {
            playingSince = heard
            attempt.sink.begin(tracks, link: RTSPPullLink(nil))
        }
        attempt.sink.receive(track: track, isRTCP: isRTCP, packet)
    }

    func readComplete() {
        if playingSince != nil, !isOver { attempt.sink.flush() }
    }

    /// It has ended without a word, or is about to: how, is worth a moment.
    func closed() {
        guard !isOver else { return }
        let deadline = NIODeadline.now() + Self.lastWordsLimit
        let attempt = attempt
        watch?.cancel()
        watch = eventLoop.scheduleRepeatedTask(initialDelay: .zero, delay: Self.lastWordsPoll) { task in
            guard let driver = attempt.current else { return task.cancel() }
            guard driver.process?.poll() != nil || NIODeadline.now() >= deadline else { return }
            task.cancel()
            driver.end(.processEnded(driver.process?.lastWords ?? ""))
        }
    }
}

/// The connection to a process.
private final class ProcessHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let attempt: ProcessAttempt
    private var parser: RTSPParser?

    init(_ attempt: ProcessAttempt) { self.attempt = attempt }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard let driver = attempt.current else { return context.close(promise: nil) }
        let buffer = Self.unwrapInboundIn(data)
        var parser = self.parser ?? RTSPParser(limits: attempt.settings.limits)
        self.parser = nil
        buffer.withUnsafeReadableBytes { parser.append(RawSpan(_unsafeBytes: $0)) }
        driver.receive(&parser)
        self.parser = parser
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        attempt.current?.readComplete()
        context.fireChannelReadComplete()
    }

    func channelInactive(context: ChannelHandlerContext) {
        attempt.current?.closed()
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
