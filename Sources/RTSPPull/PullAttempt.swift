import NIOCore
import NIOPosix
import NIOSSL
import RTSP
import Synchronization
import Wire

/// The connection of a puller as the rest of the program may touch it, from any thread.
package final class RTSPPullLink: Sendable {
    private let attempt: PullAttempt

    init(_ attempt: PullAttempt) { self.attempt = attempt }

    /// RTCP for the camera, of a track of `begin`: receiver reports, requests for a key frame.
    package func send(rtcp: [UInt8], track: Int) { attempt.onLoop { $0.send(rtcp: rtcp, track: track) } }
}

/// One attempt, with the connections that its redirects take: carries out what the client session wants.
final class PullAttempt: Sendable {
    private let settings: RTSPPullSettings
    private let sink: any RTSPPullSink
    private let tlsContext: NIOSSLContext?
    private let resolve: RTSPPuller.Resolver
    private let eventLoop: any EventLoop
    private let driver: NIOLoopBoundBox<PullDriver?>
    /// It may be stopped before it has begun.
    private let isStopped = Atomic<Bool>(false)

    init(
        settings: RTSPPullSettings, sink: any RTSPPullSink, tlsContext: NIOSSLContext?,
        resolve: @escaping RTSPPuller.Resolver, eventLoop: any EventLoop
    ) {
        self.settings = settings
        self.sink = sink
        self.tlsContext = tlsContext
        self.resolve = resolve
        self.eventLoop = eventLoop
        driver = .makeBoxSendingValue(nil, eventLoop: eventLoop)
    }

    func start(_ url: RTSPURL, _ completion: @escaping PullDriver.Completion) {
        eventLoop.execute {
            guard !self.isStopped.load(ordering: .acquiring) else { return completion(.shutdown, nil) }
            let driver = PullDriver(
                url: url, settings: self.settings, sink: self.sink, eventLoop: self.eventLoop, attempt: self
            ) { failure, playedFor in
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

    /// Connects, and tells the driver.
    func connect(_ url: RTSPURL, _ generation: Int) {
        Task {
            do {
                let channel = try await open(url, generation)
                eventLoop.execute {
                    guard self.driver.value?.connected(channel, generation) == true else {
                        return channel.close(promise: nil)
                    }
                }
            } catch {
                let failure = error as? RTSPPullFailure ?? .connect("\(error)")
                onLoop { $0.failed(failure, generation) }
            }
        }
    }

    /// Connects to the first address that is allowed and answers.
    fileprivate func open(_ url: RTSPURL, _ generation: Int) async throws -> any Channel {
        do { try settings.hostGuard.check(url) } catch { throw RTSPPullFailure.refusedHost(error) }
        let tlsContext = url.scheme == .rtsps ? tlsContext : nil
        if url.scheme == .rtsps, tlsContext == nil { throw RTSPPullFailure.connect("no TLS") }
        let addresses: [Wire.SocketAddress]
        do { addresses = try await resolve(url.host, url.port) } catch { throw RTSPPullFailure.connect("\(error)") }
        var allowed: [Wire.SocketAddress] = []
        for address in addresses {
            do { try settings.hostGuard.check(address) } catch {
                // One that is not allowed spoils the name: it is how a name is made to point inside.
                throw RTSPPullFailure.refusedHost(error)
            }
            allowed.append(address)
        }
        var last: any Error = ResolutionError(description: "no address")
        for address in allowed.prefix(settings.maxAddresses) {
            do {
                return try await ClientBootstrap(group: eventLoop)
                    .connectTimeout(.nanoseconds(settings.client.responseTimeout.nanoseconds))
                    .channelOption(.tcpOption(.tcp_nodelay), value: 1)
                    .channelInitializer { channel in
                        channel.eventLoop.makeCompletedFuture {
                            let pipeline = channel.pipeline.syncOperations
                            if let tlsContext {
                                // Names only: an address is no server name (RFC 6066 §3).
                                let name = Wire.SocketAddress(ip: url.host, port: 0) == nil ? url.host : nil
                                try pipeline.addHandler(NIOSSLClientHandler(context: tlsContext, serverHostname: name))
                            }
                            try pipeline.addHandler(PullHandler(self, generation))
                        }
                    }
                    .connect(to: NIOCore.SocketAddress(ipAddress: address.ip, port: Int(url.port))).get()
            } catch {
                last = error
            }
        }
        throw RTSPPullFailure.connect("\(last)")
    }

    func onLoop(_ work: @escaping @Sendable (PullDriver) -> Void) {
        eventLoop.execute {
            guard let driver = self.driver.value else { return }
            work(driver)
        }
    }
}

/// The state of an attempt, on its event loop.
final class PullDriver {
    typealias Completion = @Sendable (RTSPPullFailure, _ playedFor: Interval?) -> Void

    private let settings: RTSPPullSettings
    private let sink: any RTSPPullSink
    private let eventLoop: any EventLoop
    private unowned let attempt: PullAttempt
    private let completion: Completion
    private var session: RTSPClientSession
    private var tracks: [RTSPPulledTrack] = []
    private var channel: (any Channel)?
    /// Of connections: what an earlier one says is not heard.
    private var generation = 0
    private var timer: Scheduled<Void>?
    private var isOver = false

    init(
        url: RTSPURL, settings: RTSPPullSettings, sink: any RTSPPullSink, eventLoop: any EventLoop,
        attempt: PullAttempt, completion: @escaping Completion
    ) {
        self.settings = settings
        self.sink = sink
        self.eventLoop = eventLoop
        self.attempt = attempt
        self.completion = completion
        session = RTSPClientSession(url: url, settings: settings.client, now: Self.now, makeNonce: Self.makeNonce)
    }

    private static var now: Instant { Instant(nanoseconds: Int64(NIODeadline.now().uptimeNanoseconds)) }

    private static let makeNonce: @Sendable () -> String = {
        var random = SystemRandomNumberGenerator()
        return String(random.next(), radix: 16) + String(random.next(), radix: 16)
    }

    // MARK: Session

    func run() {
        while !isOver, let output = session.poll() {
            switch output {
            case .connect(let url): connect(url)
            case .send(let bytes): channel?.writeAndFlush(ByteBuffer(bytes: bytes), promise: nil)
            // Datagrams are not asked for (`RTSPPullSettings.client.transports`).
            case .bind: session.failed(.connect("no datagrams"))
            case .playing(let tracks):
                self.tracks = tracks
                sink.begin(tracks, link: RTSPPullLink(attempt))
            case .disconnect:
                generation += 1
                channel?.close(promise: nil)
                channel = nil
                tracks = []
            case .failed(let failure): end(failure)
            }
        }
        schedule()
    }

    private func end(_ failure: RTSPPullFailure) {
        isOver = true
        timer?.cancel()
        timer = nil
        completion(failure, session.playingSince.map { Self.now - $0 })
    }

    private func schedule() {
        timer?.cancel()
        timer = nil
        guard !isOver, session.deadline != .distantFuture else { return }
        let at = NIODeadline.uptimeNanoseconds(UInt64(max(0, session.deadline.nanoseconds)))
        let attempt = attempt
        timer = eventLoop.scheduleTask(deadline: at) { attempt.onLoop { $0.tick() } }
    }

    private func tick() {
        session.tick(now: Self.now)
        run()
    }

    func stop() {
        session.stop(now: Self.now)
        run()
    }

    func send(rtcp: [UInt8], track: Int) {
        guard tracks.indices.contains(track), rtcp.count <= InterleavedFrame.maxPayload,
            case .interleaved(let channels) = tracks[track].path
        else { return }
        var bytes: [UInt8] = []
        InterleavedFrame.append(rtcp, channel: channels.rtcp, into: &bytes)
        channel?.writeAndFlush(ByteBuffer(bytes: bytes), promise: nil)
    }

    // MARK: Connection

    private func connect(_ url: RTSPURL) {
        generation += 1
        attempt.connect(url, generation)
    }

    /// - Returns: False if nobody waits for it any more: the attempt goes elsewhere.
    func connected(_ channel: any Channel, _ generation: Int) -> Bool {
        guard !isOver, generation == self.generation else { return false }
        self.channel = channel
        session.connected(now: Self.now)
        run()
        return true
    }

    func failed(_ failure: RTSPPullFailure, _ generation: Int) {
        guard generation == self.generation else { return }
        session.failed(failure)
        run()
    }

    func lost(_ generation: Int) { failed(.connectionLost, generation) }

    func receive(_ parser: inout RTSPParser, _ generation: Int) {
        guard generation == self.generation else { return }
        let now = Self.now
        do {
            while !isOver, generation == self.generation {
                let message = try parser.next { channel, packet in
                    guard let (track, isRTCP) = session.route(channel: channel, now: now) else { return }
                    // Before PLAY is answered there is nobody to take it.
                    if !tracks.isEmpty { sink.receive(track: track, isRTCP: isRTCP, packet) }
                }
                guard let message else { break }
                session.receive(message, now: now)
                run()
            }
        } catch {
            session.receive(error)
            run()
        }
    }

    func readComplete(_ generation: Int) {
        guard generation == self.generation, !tracks.isEmpty else { return }
        sink.flush()
    }
}

extension PullAttempt {
    /// On the loop.
    fileprivate var current: PullDriver? { driver.value }
}

/// One connection of an attempt.
private final class PullHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let attempt: PullAttempt
    private let generation: Int
    private var parser: RTSPParser?

    init(_ attempt: PullAttempt, _ generation: Int) {
        self.attempt = attempt
        self.generation = generation
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard let driver = attempt.current else { return context.close(promise: nil) }
        let buffer = Self.unwrapInboundIn(data)
        var parser = self.parser ?? driver.makeParser()
        self.parser = nil
        buffer.withUnsafeReadableBytes { parser.append(RawSpan(_unsafeBytes: $0)) }
        driver.receive(&parser, generation)
        self.parser = parser
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        attempt.current?.readComplete(generation)
        context.fireChannelReadComplete()
    }

    func channelInactive(context: ChannelHandlerContext) {
        attempt.current?.lost(generation)
        context.fireChannelInactive()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        attempt.current?.lost(generation)
        context.close(promise: nil)
    }
}

extension PullDriver {
    fileprivate func makeParser() -> RTSPParser { RTSPParser(limits: settings.limits) }
}
