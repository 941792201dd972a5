import NIOCore
import NIOPosix
import NIOSSL
import RTSP
import Synchronization
import Wire

/// The connection of a puller as the rest of the program may touch it, from any thread.
package final class RTSPPullLink: Sendable {
    private let attempt: PullAttempt?

    /// - Parameter attempt: nil: whoever sends takes no RTCP.
    init(_ attempt: PullAttempt?) { self.attempt = attempt }

    /// RTCP for the camera, of a track of `begin`: receiver reports, requests for a key frame.
    package func send(rtcp: [UInt8], track: Int) { attempt?.onLoop { $0.send(rtcp: rtcp, track: track) } }
}

/// One attempt, with the connections that its redirects take: carries out what the client session wants.
final class PullAttempt: SourceAttempt {
    private let url: RTSPURL
    let settings: RTSPPullSettings
    private let sink: any RTSPPullSink
    private let tlsContext: NIOSSLContext?
    private let resolve: RTSPPuller.Resolver
    private let eventLoop: any EventLoop
    private let driver: NIOLoopBoundBox<PullDriver?>
    /// It may be stopped before it has begun.
    private let isStopped = Atomic<Bool>(false)

    init(
        _ url: RTSPURL, settings: RTSPPullSettings, sink: any RTSPPullSink, tlsContext: NIOSSLContext?,
        resolve: @escaping RTSPPuller.Resolver, eventLoop: any EventLoop
    ) {
        self.url = url
        self.settings = settings
        self.sink = sink
        self.tlsContext = tlsContext
        self.resolve = resolve
        self.eventLoop = eventLoop
        driver = .makeBoxSendingValue(nil, eventLoop: eventLoop)
    }

    func start(_ completion: @escaping PullDriver.Completion) {
        eventLoop.execute {
            guard !self.isStopped.load(ordering: .acquiring) else { return completion(.shutdown, nil) }
            let driver = PullDriver(
                url: self.url, settings: self.settings, sink: self.sink, eventLoop: self.eventLoop, attempt: self
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

    func onLoop(_ work: @escaping @Sendable (PullDriver) -> Void) {
        eventLoop.execute {
            guard let driver = self.driver.value else { return }
            work(driver)
        }
    }

    /// On the loop.
    fileprivate var current: PullDriver? { driver.value }

    // MARK: Connections

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
    private func open(_ url: RTSPURL, _ generation: Int) async throws -> any Channel {
        do { try settings.hostGuard.check(url) } catch { throw RTSPPullFailure.refusedHost(error) }
        let tlsContext = url.scheme == .rtsps ? tlsContext : nil
        if url.scheme == .rtsps, tlsContext == nil { throw RTSPPullFailure.connect("no TLS") }
        let addresses: [Wire.SocketAddress]
        do { addresses = try await resolve(url.host, url.port) } catch { throw RTSPPullFailure.connect("\(error)") }
        for address in addresses {
            // One that is not allowed spoils the name: it is how a name is made to point inside.
            do { try settings.hostGuard.check(address) } catch { throw RTSPPullFailure.refusedHost(error) }
        }
        var last: any Error = ResolutionError(description: "no address")
        for address in addresses.prefix(settings.maxAddresses) {
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

    /// Binds the ports of a track, and tells the driver. On the loop.
    func bind(track: Int, beside channel: any Channel, _ generation: Int) {
        guard let local = channel.localAddress, let camera = channel.remoteAddress else {
            return onLoop { $0.failed(.connectionLost, generation) }
        }
        let bound = DatagramPair.bind(
            at: local, camera: camera, on: eventLoop, strangers: settings.counters
        ) { isRTCP, datagram in
            guard let driver = self.current else { return }
            guard let datagram else { return driver.readComplete(generation) }
            datagram.withUnsafeReadableBytes {
                driver.receive(track: track, isRTCP: isRTCP, RawSpan(_unsafeBytes: $0), generation)
            }
        }
        bound.whenComplete { result in
            switch result {
            case .success(let pair):
                if self.current?.bound(pair.value, generation) != true { pair.value.close() }
            case .failure(let error): self.current?.failed(.connect("\(error)"), generation)
            }
        }
    }
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
        var parser = self.parser ?? RTSPParser(limits: attempt.settings.limits)
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
        attempt.current?.failed(.connectionLost, generation)
        context.fireChannelInactive()
    }

    /// Before there are tracks it is the connection that could not be made: TLS, a reset.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if let driver = attempt.current {
            driver.failed(driver.isPlaying ? .connectionLost : .connect("\(error)"), generation)
        }
        context.close(promise: nil)
    }
}
