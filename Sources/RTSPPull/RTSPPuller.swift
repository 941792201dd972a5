import NIOCore
import NIOPosix
import NIOSSL
import RTSP
import Synchronization
import Wire

/// Where the media of a pulled source goes. Called on one event loop; must return at once.
package protocol RTSPPullSink: Sendable {
    /// The first RTP packet has come, at the first attempt or anew: what was before and what follows are not one. `link` is
    /// good until the next call or `interrupted`.
    func begin(_ tracks: [RTSPPulledTrack], link: RTSPPullLink)
    /// An RTP or RTCP packet; `track` counts those of `begin`. Not checked in any way.
    func receive(track: Int, isRTCP: Bool, _ packet: RawSpan)
    /// No more packets wait at the moment.
    func flush()
    /// There is no media for now, or no longer. - Parameter retryIn: nil: it is over.
    func interrupted(_ failure: RTSPPullFailure, retryIn: Interval?)
}

/// Settings of one puller.
package struct RTSPPullSettings: Sendable {
    package var client = RTSPClientSettings()
    package var policy = PullPolicy.Settings()
    package var hostGuard = HostGuard()
    package var limits = RTSPLimits()
    /// For what is not RTSP; nil: such sources are refused.
    package var process: SourceProcessSettings?
    /// Addresses of a host that are tried.
    package var maxAddresses = 4
    package var counters = RTSPPullCounters()
    package init() {}
}

/// Of all pullers that have the same; read from any thread.
package final class RTSPPullCounters: Sendable {
    private let strangersSeen = Atomic<UInt64>(0)
    private let attemptsMade = Atomic<UInt64>(0)

    package init() {}

    /// Datagrams from other addresses than the camera's, which were thrown away.
    package var strangers: UInt64 { strangersSeen.load(ordering: .relaxed) }
    package var attempts: UInt64 { attemptsMade.load(ordering: .relaxed) }

    func noteStranger() { strangersSeen.wrappingAdd(1, ordering: .relaxed) }
    func noteAttempt() { attemptsMade.wrappingAdd(1, ordering: .relaxed) }
}

/// Pulls one source until it is stopped: attempt by attempt, with waits between them.
package final class RTSPPuller: Sendable {
    package typealias Resolver = @Sendable (_ host: String, _ port: UInt16) async throws -> [Wire.SocketAddress]

    private let url: String
    private let settings: RTSPPullSettings
    private let sink: any RTSPPullSink
    private let tlsContext: NIOSSLContext?
    private let resolve: Resolver
    private let eventLoop: any EventLoop
    private let sleep: @Sendable (Interval) async throws -> Void
    private let seed: UInt64

    /// - Parameters:
    ///   - tlsContext: For `rtsps`; nil: such sources cannot be connected.
    ///   - resolve: Addresses of a host; the system's by default.
    ///   - sleep: Waits between attempts; a clock of its own in tests.
    package init(
        url: String, settings: RTSPPullSettings, sink: any RTSPPullSink, tlsContext: NIOSSLContext? = nil,
        resolve: @escaping Resolver = RTSPPuller.systemResolver,
        group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton, seed: UInt64 = .random(in: .min ... .max),
        sleep: @escaping @Sendable (Interval) async throws -> Void = {
            try await Task.sleep(for: .nanoseconds($0.nanoseconds))
        }
    ) {
        self.url = url
        self.settings = settings
        self.sink = sink
        self.tlsContext = tlsContext
        self.resolve = resolve
        eventLoop = group.next()
        self.seed = seed
        self.sleep = sleep
    }

    /// Pulls until nothing can come of it, or until cancelled: then the server is told, and `RtspAgent shutdown` is the
    /// last thing the sink hears. - Returns: why it is over.
    @discardableResult
    package func run() async -> RTSPPullFailure {
        guard let target = PullTarget(url) else { return await over(.badURL) }
        var policy = PullPolicy(settings: settings.policy, seed: seed)
        var settings = settings
        while true {
            let (failure, playedFor) = await attempt(target, settings)
            guard !Task.isCancelled, failure != .shutdown else { return await over(.shutdown) }
            if case .rtsp = target, failure == .silent, playedFor == nil, settings.client.transports == [.udp, .tcp] {
                // The camera has agreed to datagrams, and none gets through: for good, and without a wait.
                settings.client.transports = [.tcp]
                continue
            }
            guard let wait = policy.wait(after: failure, playedFor: playedFor) else { return await over(failure) }
            await onLoop { self.sink.interrupted(failure, retryIn: wait) }
            do { try await sleep(wait) } catch { return await over(.shutdown) }
        }
    }

    private func over(_ failure: RTSPPullFailure) async -> RTSPPullFailure {
        await onLoop { self.sink.interrupted(failure, retryIn: nil) }
        return failure
    }

    private func onLoop(_ work: @escaping @Sendable () -> Void) async {
        // The loops run as long as the process.
        try? await eventLoop.submit(work).get()
    }

    private func attempt(
        _ target: PullTarget, _ settings: RTSPPullSettings
    ) async -> (RTSPPullFailure, playedFor: Interval?) {
        settings.counters.noteAttempt()
        let attempt: any SourceAttempt =
            switch target {
            case .rtsp(let url):
                PullAttempt(
                    url, settings: settings, sink: sink, tlsContext: tlsContext, resolve: resolve, eventLoop: eventLoop)
            case .process(let url):
                ProcessAttempt(url, settings: settings, sink: sink, eventLoop: eventLoop)
            }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                attempt.start { continuation.resume(returning: ($0, $1)) }
            }
        } onCancel: {
            attempt.stop()
        }
    }

    /// The system's resolver, on a thread that may wait.
    package static let systemResolver: Resolver = { host, port in
        if let address = Wire.SocketAddress(ip: host, port: port) { return [address] }
        return try await NIOThreadPool.singleton.runIfActive {
            try NIOCore.SocketAddress.makeAddressesResolvingHost(host, port: Int(port))
        }
    }
}
