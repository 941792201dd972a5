import NIOCore
import NIOHTTP1

/// An HTTP/1.1 client for signalling: connections are kept and used again, never more than a fixed number at once,
/// and every wait has an end.
actor HTTPClient {
    /// Servers close idle connections; one that lay here longer than this is not worth the race.
    static let idleLimit = Duration.seconds(2)

    private struct Idle {
        let url: ServiceURL
        let channel: any Channel
        /// When it was given back, since the client was made.
        let since: Duration
    }

    private let dialer: Dialer
    private let limit: Int
    private let timeout: Duration
    private let clock: any Clock<Duration>
    /// The time since this client was made.
    private let age: @Sendable () -> Duration
    private var idle: [Idle] = []
    /// Connections that carry a request now.
    private var busy: [ObjectIdentifier: any Channel] = [:]
    private var inUse = 0
    private var waiting: [(id: Int, continuation: CheckedContinuation<Void, any Error>)] = []
    private var nextWaiter = 0
    private var isClosed = false

    /// - Parameters:
    ///   - connections: how many may be open at once.
    ///   - timeout: for one exchange, from the wish for a connection to the last byte of the reply.
    init<Time: Clock>(dialer: Dialer, connections: Int, timeout: Duration, clock: Time)
    where Time.Duration == Duration {
        self.dialer = dialer
        limit = connections
        self.timeout = timeout
        self.clock = clock
        let start = clock.now
        age = { start.duration(to: clock.now) }
    }

    /// - Throws: `SignallingFailure`; `CancellationError`.
    nonisolated func exchange(_ request: HTTPRequest) async throws -> HTTPReply {
        let timeout = timeout
        return try await within(
            timeout, on: clock,
            else: {
                SignallingFailure(.timeout, "\(request.method) \(request.url): no answer within \(timeout)")
            },
            { try await self.run(request) })
    }

    /// Closes what is open; exchanges under way fail.
    func close() {
        isClosed = true
        for entry in idle { entry.channel.close(promise: nil) }
        for channel in busy.values { channel.close(promise: nil) }
        idle = []
        for waiter in waiting { waiter.continuation.resume(throwing: Self.closed) }
        waiting = []
    }

    private static let closed = SignallingFailure(.closed, "The load is over")

    private func run(_ request: HTTPRequest) async throws -> HTTPReply {
        try await takeSlot()
        defer { giveSlotBack() }
        let channel = try await connection(for: request.url)
        // What was cancelled or closed meanwhile must not begin: nobody would close the channel any more.
        guard !isClosed, !Task.isCancelled else {
            channel.close(promise: nil)
            throw isClosed ? Self.closed : CancellationError()
        }
        busy[ObjectIdentifier(channel)] = channel
        defer { busy[ObjectIdentifier(channel)] = nil }
        do {
            let reply = try await withTaskCancellationHandler {
                let promise = channel.eventLoop.makePromise(of: HTTPReply.self)
                channel.writeAndFlush(HTTPExchange(request: request, reply: promise)).whenFailure { error in
                    promise.fail(
                        SignallingFailure(.disconnected, "\(request.method) \(request.url): \(error)"))
                }
                return try await promise.futureResult.get()
            } onCancel: {
                channel.close(promise: nil)
            }
            if reply.keepsAlive, channel.isActive, !isClosed {
                idle.append(Idle(url: request.url, channel: channel, since: age()))
            } else {
                channel.close(promise: nil)
            }
            return reply
        } catch {
            channel.close(promise: nil)
            throw error
        }
    }

    /// An idle connection, the one used last, or a new one.
    private func connection(for url: ServiceURL) async throws -> any Channel {
        let now = age()
        idle.removeAll { entry in
            guard entry.channel.isActive, now - entry.since < Self.idleLimit else {
                entry.channel.close(promise: nil)
                return true
            }
            return false
        }
        if let index = idle.lastIndex(where: { $0.url.hasOrigin(of: url) }) {
            return idle.remove(at: index).channel
        }
        // Another origin's idle connection makes room.
        if idle.count + inUse > limit, !idle.isEmpty { idle.removeFirst().channel.close(promise: nil) }
        return try await dialer.connect(to: url) { channel in
            try channel.pipeline.syncOperations.addHTTPClientHandlers()
            try channel.pipeline.syncOperations.addHandler(HTTPExchangeHandler())
        }
    }

    // MARK: The bound

    private func takeSlot() async throws {
        guard !isClosed else { throw Self.closed }
        guard inUse >= limit else {
            inUse += 1
            return
        }
        let id = nextWaiter
        nextWaiter += 1
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                if Task.isCancelled {
                    continuation.resume(throwing: CancellationError())
                } else {
                    waiting.append((id, continuation))
                }
            }
        } onCancel: {
            Task { await self.cancelWaiter(id) }
        }
    }

    private func cancelWaiter(_ id: Int) {
        guard let index = waiting.firstIndex(where: { $0.id == id }) else { return }
        waiting.remove(at: index).continuation.resume(throwing: CancellationError())
    }

    /// The slot goes to whoever waits longest.
    private func giveSlotBack() {
        if waiting.isEmpty {
            inUse -= 1
        } else {
            waiting.removeFirst().continuation.resume()
        }
    }
}
