import NIOCore
import NIOPosix
import NIOSSL
import RTSP
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
    private let slot: DriverSlot<PullDriver>

    init(
        _ url: RTSPURL, settings: RTSPPullSettings, sink: any RTSPPullSink, tlsContext: NIOSSLContext?,
        resolve: @escaping RTSPPuller.Resolver, eventLoop: any EventLoop
    ) {
        self.url = url
        self.settings = settings
        self.sink = sink
        self.tlsContext = tlsContext
        self.resolve = resolve
        slot = DriverSlot(eventLoop)
    }

    func start(_ completion: @escaping Completion) {
        slot.start(completion) {
            PullDriver(
                url: self.url, settings: self.settings, sink: self.sink, eventLoop: self.slot.eventLoop, attempt: self,
                completion: $0)
        }
    }

    func stop() { slot.stop() }

    func onLoop(_ work: @escaping @Sendable (PullDriver) -> Void) { slot.onLoop(work) }

    /// On the loop.
    fileprivate var current: PullDriver? { slot.current }

    // MARK: Connections

    /// Connects, and tells the driver.
    func connect(_ url: RTSPURL, _ generation: Int) {
        Task {
            do {
                let channel = try await open(url, generation)
                slot.eventLoop.execute {
                    guard self.current?.connected(channel, generation) == true else {
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
                return try await ClientBootstrap(group: slot.eventLoop)
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
                            try pipeline.addHandler(
                                SourceConnectionHandler(
                                    PullConnection(attempt: self, generation: generation), limits: self.settings.limits)
                            )
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
            at: local, camera: camera, on: slot.eventLoop, strangers: settings.counters
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

/// One of its connections, which may not be the last.
private struct PullConnection: SourceConnectionOwner {
    let attempt: PullAttempt
    let generation: Int

    private var driver: PullDriver? { attempt.current }

    var isOver: Bool { driver == nil }

    func receive(_ parser: inout RTSPParser) { driver?.receive(&parser, generation) }

    func readComplete() { driver?.readComplete(generation) }

    func closed() { driver?.failed(.connectionLost, generation) }

    /// Before there are tracks it is the connection that could not be made: TLS, a reset.
    func failed(_ error: any Error) {
        guard let driver else { return }
        driver.failed(driver.isPlaying ? .connectionLost : .connect("\(error)"), generation)
    }
}
