import FoundationEssentials
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOWebSocket
import Synchronization

/// The WCS protocol of the Web SDK: one WebSocket per client, open as long as its stream.
package final class WCSSignalling: Signalling {
    package struct Settings: Sendable {
        /// `ws://HOST:8080` or `wss://HOST:8443`.
        package var url: String
        package var appKey = "defaultApp"
        /// The application's object in `connection`, e.g. for a token that hooks check.
        package var custom: [String: String]?
        /// Certificates are not verified.
        package var insecure = false
        /// From connecting to the answer.
        package var timeout = Duration.seconds(10)
        /// Of waits; only the system knows when connecting takes too long.
        package var clock: any Clock<Duration> = ContinuousClock()

        package init(url: String) {
            self.url = url
        }
    }

    private struct State {
        var open: [ObjectIdentifier: any Channel] = [:]
        var lost = LostSessions()
        var isClosed = false
    }

    private let settings: Settings
    private let url: ServiceURL
    private let dialer: Dialer
    private let greeting: String
    private let state = Mutex(State())

    /// - Throws: `SignallingFailure` for an address that cannot be used.
    package init(
        _ settings: Settings, group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton
    ) throws(SignallingFailure) {
        self.settings = settings
        url = try ServiceURL(settings.url)
        guard url.scheme.isWebSocket else {
            throw SignallingFailure(.badAddress, "\"\(settings.url)\": WCS needs ws:// or wss://")
        }
        dialer = try Dialer(group: group, insecure: settings.insecure, connectTimeout: settings.timeout)
        greeting = WCSRequestText.connection(appKey: settings.appKey, custom: settings.custom)
    }

    package func publish(name: String, offer: String) async throws -> SignalledSession {
        try await start(name: name, published: true, offer: offer)
    }

    package func play(name: String, offer: String) async throws -> SignalledSession {
        try await start(name: name, published: false, offer: offer)
    }

    package func close() async {
        let open = state.withLock { state in
            state.isClosed = true
            defer { state.open = [:] }
            return Array(state.open.values)
        }
        for channel in open { try? await channel.close() }
    }

    package var lostSessions: LostSessions { state.withLock(\.lost) }

    /// The Web SDK ignores the message that would tell.
    package func serverVersion() async -> String? { nil }

    // MARK: One client

    /// Largest message that is taken; answers have some thousand bytes.
    private static let messageLimit = 1 << 20
    /// For the close frame to leave.
    private static let farewellLimit = Duration.seconds(2)

    private func start(name: String, published: Bool, offer: String) async throws -> SignalledSession {
        let stream = WCSClientHandler.Stream(
            id: UUID().uuidString.lowercased(), name: name, published: published, offer: offer)
        let (url, timeout) = (url, settings.timeout)
        return try await within(
            timeout, on: settings.clock,
            else: { SignallingFailure(.timeout, "\(url): no answer for \(name) within \(timeout)") },
            { try await self.run(stream) })
    }

    private func run(_ stream: WCSClientHandler.Stream) async throws -> SignalledSession {
        guard !state.withLock(\.isClosed) else { throw Self.closed }
        let answer = dialer.group.any().makePromise(of: String.self)
        let handlers = HandlerBox()
        let channel: any Channel
        do {
            channel = try await dialer.connect(to: url) { [self] channel in
                try configure(channel, stream, answer, handlers)
            }
        } catch {
            answer.fail(error)
            throw error
        }
        let isRefused = state.withLock { state in
            if !state.isClosed { state.open[ObjectIdentifier(channel)] = channel }
            return state.isClosed
        }
        channel.closeFuture.whenComplete { [self] _ in
            // Also what ends before a handler was there to say why.
            answer.fail(SignallingFailure(.disconnected, "\(url): the connection ended during the WebSocket handshake"))
            state.withLock { _ = $0.open.removeValue(forKey: ObjectIdentifier(channel)) }
        }
        guard !isRefused else {
            channel.close(promise: nil)
            throw Self.closed
        }
        do {
            let sdp = try await withTaskCancellationHandler {
                try await answer.futureResult.get()
            } onCancel: {
                channel.close(promise: nil)
            }
            return SignalledSession(answer: sdp) { [clock = settings.clock] in
                await Self.end(channel, handlers, on: clock)
            }
        } catch {
            channel.close(promise: nil)
            throw error
        }
    }

    private static let closed = SignallingFailure(.closed, "The load is over")

    private static func end(_ channel: any Channel, _ handlers: HandlerBox, on clock: any Clock<Duration>) async {
        guard channel.isActive else { return }
        channel.eventLoop.execute { handlers.handler?.value.stop(channel) }
        try? await within(farewellLimit, on: clock, else: { CancellationError() }) {
            try await withTaskCancellationHandler {
                try await channel.closeFuture.get()
            } onCancel: {
                channel.close(promise: nil)
            }
        }
    }

    /// The handler of an upgraded connection; only its event loop touches what is inside.
    private final class HandlerBox: Sendable {
        private let stored = Mutex<NIOLoopBound<WCSClientHandler>?>(nil)
        var handler: NIOLoopBound<WCSClientHandler>? { stored.withLock(\.self) }
        func set(_ handler: NIOLoopBound<WCSClientHandler>) { stored.withLock { $0 = handler } }
    }

    private func configure(
        _ channel: any Channel, _ stream: WCSClientHandler.Stream, _ answer: EventLoopPromise<String>,
        _ handlers: HandlerBox
    ) throws {
        let (url, greeting) = (url, greeting)
        let upgrader = NIOTypedWebSocketClientUpgrader<Void>(maxFrameSize: Self.messageLimit) { [self] channel, _ in
            channel.eventLoop.makeCompletedFuture {
                let handler = WCSClientHandler(url: url, stream: stream, greeting: greeting, answer: answer) { reason in
                    self.state.withLock { $0.lost.add(reason) }
                }
                let pipeline = channel.pipeline.syncOperations
                try pipeline.addHandler(
                    NIOWebSocketFrameAggregator(
                        minNonFinalFragmentSize: 0, maxAccumulatedFrameCount: Self.fragmentLimit,
                        maxAccumulatedFrameSize: Self.messageLimit))
                try pipeline.addHandler(handler)
                handlers.set(NIOLoopBound(handler, eventLoop: channel.eventLoop))
            }
        }
        let head = HTTPRequestHead(
            version: .http1_1, method: .GET, uri: url.target, headers: ["Host": url.authority])
        let upgrade = NIOTypedHTTPClientUpgradeConfiguration<Void>(upgradeRequestHead: head, upgraders: [upgrader]) {
            channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(UpgradeRefusalHandler(url: url, answer: answer))
            }
        }
        var pipeline = NIOUpgradableHTTPClientPipelineConfiguration(upgradeConfiguration: upgrade)
        // The server's first message may come with its handshake.
        pipeline.leftOverBytesStrategy = .forwardBytes
        let done = try channel.pipeline.syncOperations.configureUpgradableHTTPClientPipeline(configuration: pipeline)
        done.whenSuccess { handlers.handler?.value.begin(channel) }
        done.whenFailure { error in
            answer.fail(
                (error as? SignallingFailure)
                    ?? SignallingFailure(.disconnected, "\(url): the WebSocket handshake failed (\(error))"))
            channel.close(promise: nil)
        }
    }

    private static let fragmentLimit = 64
}
