import Glibc
import NIOCore
import NIOPosix
import RTSP
import Wire

/// One attempt to pull a source that is not RTSP's: a process that reads it, and what comes from there.
final class ProcessAttempt: SourceAttempt {
    let url: SourceURL
    let settings: RTSPPullSettings
    let sink: any RTSPPullSink
    private let slot: DriverSlot<ProcessDriver>

    init(_ url: SourceURL, settings: RTSPPullSettings, sink: any RTSPPullSink, eventLoop: any EventLoop) {
        self.url = url
        self.settings = settings
        self.sink = sink
        slot = DriverSlot(eventLoop)
    }

    func start(_ completion: @escaping Completion) {
        slot.start(completion) { ProcessDriver(self, self.slot.eventLoop, completion: $0) }
    }

    func stop() { slot.stop() }

    /// On the loop.
    fileprivate var current: ProcessDriver? { slot.current }

    // MARK: The process

    /// Begins it on a thread that may wait and goes on for life, and tells the driver.
    func startProcess(_ process: SourceProcessSettings) {
        let order = order(process)
        NIOThreadPool.singleton.submit { state in
            guard state == .active else { return self.slot.onLoop { $0.end(.shutdown) } }
            do throws(ProcessError) {
                let child = try ChildProcess.start(process)
                self.slot.eventLoop.execute { self.connect(child, order) }
            } catch {
                let text = "\(error)"
                self.slot.onLoop { $0.end(.connect(text)) }
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
        guard let driver = current else {
            child.end(on: slot.eventLoop)
            close(child.link)
            return
        }
        driver.began(child)
        ClientBootstrap(group: slot.eventLoop)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        SourceConnectionHandler(ProcessConnection(attempt: self), limits: self.settings.limits))
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
final class ProcessDriver: SourceDriver {
    /// Behind the process's own limits, which tell more.
    private static let grace = Interval.seconds(4)
    /// How long a process that has gone silent may take to end, so that it is known how.
    private static let lastWordsLimit = TimeAmount.seconds(1)
    private static let lastWordsPoll = TimeAmount.milliseconds(10)

    private let attempt: ProcessAttempt
    private let eventLoop: any EventLoop
    private let completion: SourceAttempt.Completion
    private var process: ChildProcess?
    private var channel: (any Channel)?
    private var tracks: [RTSPPulledTrack] = []
    private var playingSince: Instant?
    /// The last sign of life.
    private var heard = ProcessDriver.now
    private var watch: RepeatedTask?
    private var isOver = false

    init(_ attempt: ProcessAttempt, _ eventLoop: any EventLoop, completion: @escaping SourceAttempt.Completion) {
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

    func stop() { end(.shutdown) }

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
private struct ProcessConnection: SourceConnectionOwner {
    let attempt: ProcessAttempt

    var isOver: Bool { attempt.current == nil }

    func receive(_ parser: inout RTSPParser) { attempt.current?.receive(&parser) }

    func readComplete() { attempt.current?.readComplete() }

    func closed() { attempt.current?.closed() }

    /// It is closed for that, and then its process tells why.
    func failed(_ error: any Error) {}
}
