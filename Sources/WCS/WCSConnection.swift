import ControlPlane
import Logging
import NIOCore
import NIOWebSocket
import Synchronization
import WeirJSON

/// A request on its way from the socket to the session.
struct WCSIncoming: Sendable {
    var request: WCSRequest
    /// Length of its text, for the bound on what waits.
    var bytes: Int
}

/// One WebSocket connection as the control plane sees it: requests become calls of its `ClientSession`, in order; the
/// session's events become messages.
final class WCSConnection: Sendable {
    private struct State {
        var session: ClientSession?
        var closeReason: SessionCloseReason?
        var isShuttingDown = false
        var handler: NIOLoopBound<WCSChannelHandler>?
    }

    private let configuration: WCSConfiguration
    private let control: ControlPlane
    private let metrics: WCSMetrics
    private let logger: Logger
    private let limiter: LogLimiter
    private let remoteAddress: String
    private let localAddress: String?
    /// Query and bearer token of the upgrade request.
    private let query: String?
    private let bearerToken: String?
    private let eventLoop: any EventLoop
    private let state = Mutex(State())

    init(
        configuration: WCSConfiguration, control: ControlPlane, metrics: WCSMetrics, logger: Logger,
        limiter: LogLimiter, remoteAddress: String, localAddress: String?, query: String?, bearerToken: String?,
        eventLoop: any EventLoop
    ) {
        self.configuration = configuration
        self.control = control
        self.metrics = metrics
        var logger = logger
        logger[metadataKey: "address"] = "\(remoteAddress)"
        self.logger = logger
        self.limiter = limiter
        self.remoteAddress = remoteAddress
        self.localAddress = localAddress
        self.query = query
        self.bearerToken = bearerToken
        self.eventLoop = eventLoop
    }

    /// To be called on the event loop, before `run`.
    func attach(_ handler: WCSChannelHandler) {
        let bound = NIOLoopBound(handler, eventLoop: eventLoop)
        state.withLock { $0.handler = bound }
    }

    // MARK: Notes of the socket side

    /// Why the connection ends; the first reason counts.
    func noteClose(_ reason: SessionCloseReason) {
        state.withLock { $0.closeReason = $0.closeReason ?? reason }
    }

    /// Counts refused input and logs some of it.
    func reject(_ reason: RejectReason) {
        metrics.count(reason)
        guard let suppressed = limiter.admit() else { return }
        logger.info(
            "refused: \(reason.rawValue)",
            metadata: suppressed > 0 ? ["suppressed": "\(suppressed)"] : nil)
    }

    // MARK: Life

    /// Serves the connection until its requests end, which they do when the socket closes.
    func run(_ requests: AsyncStream<WCSIncoming>) async {
        var forwarding: Task<Void, Never>?
        for await incoming in requests {
            // What still waits when the connection is lost concerns nobody; a client that said goodbye is heard out.
            if let reason = state.withLock({ $0.closeReason }), reason != .clientClosed { break }
            if let session = state.withLock({ $0.session }) {
                await perform(incoming.request, session)
            } else if case .connection(let request) = incoming.request {
                if let session = await connect(request) {
                    forwarding = Task { await self.forward(session) }
                }
            } else {
                await onLoop { $0.rejectMessage(.beforeConnection) }
            }
            await onLoop { $0.requestDone(bytes: incoming.bytes) }
        }
        let (session, reason) = state.withLock { ($0.session, $0.closeReason ?? .connectionLost) }
        await session?.close(reason)
        await forwarding?.value
        state.withLock { $0.handler = nil }  // each holds the other
    }

    /// Ends all streams of the session, lets the client know, and closes with 1001.
    func shutDown() async {
        let session = state.withLock { state in
            state.isShuttingDown = true
            return state.session
        }
        // The session's last event closes the socket, after those that tell how its streams ended.
        if let session { await session.close(.shutdown) } else { await close(.shutdown) }
    }

    // MARK: Session

    private func connect(_ request: WCSConnectionRequest) async -> ClientSession? {
        let session: ClientSession
        do {
            let wanted = ConnectRequest(
                appKey: request.appKey, remoteAddress: remoteAddress, localAddress: localAddress,
                custom: request.custom.map { JSONText($0.serialized) }, kind: .webSocket, bearerToken: bearerToken,
                query: query, keepAlive: request.keepAlive,
                profile: JSONText(JSONValue.object(request.object).serialized))
            session =
                request.authToken.isEmpty
                ? try await control.openSession(wanted)
                : try await control.reattach(token: request.authToken, wanted)
        } catch {
            reject(.sessionRefused)
            await send(.fail(info: error.info, apiMethod: "ConnectionStatusEvent", id: nil))
            // The page waits for ever if the socket stays open (section 2.3).
            await onLoop { $0.beginClose(.policyViolation, because: .terminated) }
            return nil
        }
        let isShuttingDown = state.withLock { state in
            state.session = session
            return state.isShuttingDown
        }
        if isShuttingDown { await session.close(.shutdown) }
        let known = WCSConnectionRequest(of: session) ?? request
        let excluded = session.clientExclude(.connect).union(session.clientExclude(.connectionStatusEvent))
        var members = known.userData(
            authToken: session.authToken, appKey: session.facts.appKey, excluding: excluded)
        if let description = configuration.metricsDescription {
            members.append(JSONMember("webRTCMetricsServerDescription", .verbatim(description.text)))
        }
        await send(.getUserData(members: members))
        await send(.getVersion(configuration.version))
        await onLoop { $0.startKeepAlive() }
        return session
    }

    private func perform(_ request: WCSRequest, _ session: ClientSession) async {
        switch request {
        case .publishStream(let stream): await session.publish(StreamRequest(stream))
        case .playStream(let stream): await session.play(StreamRequest(stream))
        case .unPublishStream(let id), .stopStream(let id): await session.stop(mediaSessionId: id)
        case .pauseStream(let id): await session.pause(mediaSessionId: id)
        case .availableStream(let id, let name): await session.available(mediaSessionId: id, name: name)
        case .sendStreamEvent(let event):
            await session.sendStreamEvent(
                mediaSessionId: event.mediaSessionId, type: event.type,
                payload: event.payload.map { JSONText($0.serialized) })
        case .connection: await onLoop { $0.rejectMessage(.secondConnection) }
        case .snapshot(let id, let name): await session.snapshot(mediaSessionId: id, name: name)
        case .sendData(let operationId, let payload):
            await session.sendData(operationId: operationId, payload: JSONText(payload.serialized))
        case .submitBugReport(let text, let type): await session.submitBugReport(text: text, type: type)
        case .pushLogs(let text): await session.pushLogs(text)
        case .sessionDebug(let command): await session.debug(command: command)
        case .metricsDescription(let id, let headers):
            await session.describeMetrics(mediaSessionId: id, headers: headers)
        case .metricsBatch(let id, let samples): await session.takeMetrics(mediaSessionId: id, samples: samples)
        default:
            for message in WCSRefusal.messages(for: request) { await send(message) }
        }
    }

    private func forward(_ session: ClientSession) async {
        for await event in session.events {
            if case .closing(let reason) = event {
                await close(reason)
            } else if let message = WCSMessage(event) {
                let excluded = event.method.map(session.clientExclude) ?? []
                await send(excluded.isEmpty ? message : .excluding(excluded, message))
                if case .data(let operationId, _) = event { await session.dataDelivered(operationId: operationId) }
            }
        }
    }

    private func close(_ reason: SessionCloseReason) async {
        await onLoop { handler in
            switch reason {
            case .slowReader: handler.cutSlowReader()
            case .shutdown: handler.beginClose(.goingAway, because: reason, text: "server shutdown")
            case .protocolError, .keepAliveTimeout, .terminated:
                handler.beginClose(.policyViolation, because: reason)
            case .clientClosed, .connectionLost, .replaced: handler.beginClose(.normalClosure, because: reason)
            }
        }
    }

    // MARK: Event loop

    private func send(_ message: WCSMessage) async {
        await onLoop { $0.send(message) }
    }

    /// Waits until the loop has done it: no more than one message of this connection is ever on its way to the loop,
    /// and everything beyond is counted in the handler's queue.
    private func onLoop(_ work: @escaping @Sendable (WCSChannelHandler) -> Void) async {
        guard let handler = state.withLock({ $0.handler }) else { return }
        // The loops run as long as the process; a failure could only mean that they are gone, and the client with them.
        try? await eventLoop.submit { work(handler.value) }.get()
    }
}
