import ControlPlane
import Logging
import TestSupport
import Testing
import WeirMetrics

/// The media side by hand: answers as scripted, events as sent by the test.
final class FakeMedia: MediaBackend {
    enum Behaviour: Sendable {
        case answer(MediaDescription)
        case fail(MediaError)
        /// Answers when the latch opens, whatever became of the asking task.
        case hold(Latch)
    }

    struct Call: Sendable {
        let peer: PeerID
        let stream: String
        /// nil: publish.
        let publisher: PeerID?
        let options: MediaOptions
    }

    struct State: Sendable {
        var behaviours: [String: Behaviour] = [:]
        var calls: [Call] = []
        var taken = 0
        var open: Set<PeerID> = []
        var closed: Set<PeerID> = []
        var paused: [PeerID: Bool] = [:]
        var statistics: [PeerID: PeerStatistics] = [:]
        var captures: [PeerID: MediaCapture] = [:]
        var holdsClose: Latch?
    }

    static let both = MediaDescription(
        sdp: "ANSWER", hasAudio: true, hasVideo: true, audioCodec: "opus", videoCodec: "VP8", ufrag: "u")

    let state = Watched(State())
    let events: AsyncStream<MediaEvent>
    private let continuation: AsyncStream<MediaEvent>.Continuation

    init() { (events, continuation) = AsyncStream.makeStream() }

    func send(_ event: MediaEvent) { continuation.yield(event) }

    func script(_ stream: String, _ behaviour: Behaviour) { state.update { $0.behaviours[stream] = behaviour } }

    /// The next publish or play that reached us, in order.
    func nextCall() async throws -> Call {
        try await state.wait { $0.calls.count > $0.taken }
        return state.update { state in
            state.taken += 1
            return state.calls[state.taken - 1]
        }
    }

    func waitUntilClosed(_ peer: PeerID) async throws {
        try await state.wait { $0.closed.contains(peer) && !$0.open.contains(peer) }
    }

    private func begin(_ call: Call) async throws(MediaError) -> MediaDescription {
        let behaviour = state.update { state in
            state.calls.append(call)
            return state.behaviours[call.stream] ?? .answer(Self.both)
        }
        switch behaviour {
        case .answer(let description):
            state.update { _ = $0.open.insert(call.peer) }
            return description
        case .fail(let error): throw error
        case .hold(let latch):
            await latch.wait()
            state.update { _ = $0.open.insert(call.peer) }
            return Self.both
        }
    }

    func publish(
        peer: PeerID, stream: String, offer: String, options: MediaOptions
    ) async throws(MediaError) -> MediaDescription {
        try await begin(Call(peer: peer, stream: stream, publisher: nil, options: options))
    }

    func play(
        peer: PeerID, stream: String, publisher: PeerID, offer: String, options: MediaOptions
    ) async throws(MediaError) -> MediaDescription {
        try await begin(Call(peer: peer, stream: stream, publisher: publisher, options: options))
    }

    func setPaused(_ paused: Bool, peer: PeerID) async { state.update { $0.paused[peer] = paused } }

    func restartICE(
        peer: PeerID, ufrag: String, password: String
    ) async throws(MediaError) -> (ufrag: String, password: String) { ("new-" + ufrag, "new-" + password) }

    func close(peer: PeerID) async {
        await state.value.holdsClose?.wait()
        state.update { state in
            state.open.remove(peer)
            state.closed.insert(peer)
        }
    }

    func statistics(peer: PeerID) async -> PeerStatistics? { state.value.statistics[peer] }

    func capture(peer: PeerID, packets: Int) async -> MediaCapture? { state.value.captures[peer] }
}

/// A backend that decides as told and keeps what it hears.
final class FakeHooks: BackendHooks {
    /// What a session told.
    struct Told: Sendable {
        let session: String
        let text: String
        /// Of stream events.
        let payload: JSONText?
        let after: Gate?
        /// Given back for it; the test opens it, or nobody.
        let gate: Gate
    }

    struct State: Sendable {
        var connect = HookDecision.allow
        var publish = HookDecision.allow
        var play = HookDecision.allow
        var other = HookDecision.allow
        var knowsApplication = true
        /// Changes what sessions say of themselves.
        var custom: JSONText?
        /// Questions wait for it.
        var hold: Latch?
        var asked = 0
        var calls: [String] = []
        var told: [Told] = []
        var finished = 0

        var heard: [String] { told.map(\.text) }
    }

    let state = Watched(State())

    func connect(_ session: SessionFacts, _ request: ConnectRequest) async -> ConnectDecision {
        state.update { $0.asked += 1 }
        await state.value.hold?.wait()
        let now = state.value
        guard now.knowsApplication else { return .unknownApplication }
        if case .refuse(let code, let reason) = now.connect { return .refuse(code: code, reason: reason) }
        return .allow(
            Admission(
                hooks: FakeSession(self, session.id), profile: request.profile, custom: now.custom ?? request.custom))
    }

    func play(_ viewer: ViewerRequest) async -> HookDecision { .allow }
    func drain() async {}
}

/// The hooks of one session of `FakeHooks`.
final class FakeSession: SessionHooks {
    private let hooks: FakeHooks
    private let session: String

    init(_ hooks: FakeHooks, _ session: String) {
        self.hooks = hooks
        self.session = session
    }

    func attach(_ client: any HookedClient) {}

    func ask(_ call: DirectCall) -> HookAnswer {
        let (state, answer) = (hooks.state, HookAnswer())
        let decide: @Sendable () -> HookDecision = {
            switch call.method {
            case .publishStream: state.value.publish
            case .playStream: state.value.play
            default: state.value.other
            }
        }
        let hold = state.update { state in
            state.asked += 1
            state.calls.append(call.method.rawValue)
            return state.hold
        }
        if let hold {
            Task {
                await hold.wait()
                answer.settle(decide())
            }
        } else {
            answer.settle(decide())
        }
        return answer
    }

    func tell(_ event: HookEvent, after: Gate?) -> Gate? {
        let gate = Gate()
        let session = session
        hooks.state.update { state in
            state.told.append(
                .init(
                    session: session, text: Self.text(event), payload: Self.payload(event), after: after, gate: gate))
        }
        return gate
    }

    private static func payload(_ event: HookEvent) -> JSONText? {
        switch event {
        case .sentStreamEvent(_, _, let payload), .streamEvent(_, _, let payload),
            .recording(_, _, let payload):
            payload
        default: nil
        }
    }

    private static func text(_ event: HookEvent) -> String {
        switch event {
        case .established: "connected"
        case .connectionFailed(let info): "failed: \(info)"
        case .disconnected(let reason): "ended: \(reason)"
        case .streamStatus(let stream): "\(stream.mediaSessionId) \(stream.status.rawValue)"
        case .stop(let stream), .pause(let stream): "\(stream.mediaSessionId) \(event.method.rawValue)"
        case .sentStreamEvent(let id, let type, _), .streamEvent(let id, let type, _), .recording(let id, let type, _):
            "\(id) \(event.method.rawValue) \(type)"
        case .dataStatus(let id, let accepted, _): "\(id) \(accepted ? "ACCEPTED" : "FAILED")"
        case .bugReportStatus, .logs, .sessionDebug, .sessionDebugStatus: event.method.rawValue
        }
    }

    func clientExclude(_ method: HookMethod) -> Set<String> { [] }
    func finish() { hooks.state.update { $0.finished += 1 } }
}

/// A control plane with everything around it.
struct Plant: Sendable {
    let media = FakeMedia()
    let hooks = FakeHooks()
    let clock = ManualClock()
    let metrics = MetricsRegistry()
    let store = FakeStore()
    let pictures = FakePictures()
    let recorder = FakeRecorder()
    let sources = FakeSources()
    let plane: ControlPlane

    init(_ configuration: ControlConfiguration, rights: (any StreamRights)? = nil) {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        plane = ControlPlane(
            media: media, hooks: hooks, rights: rights, configuration: configuration, metrics: metrics, logger: logger,
            clock: clock,
            diagnostics: store, snapshots: pictures, recorder: recorder, sources: sources)
    }

    func client(_ kind: SessionKind = .webSocket, from address: String = "192.0.2.1:5000") async throws -> Client {
        Client(try await plane.openSession(ConnectRequest(remoteAddress: address, kind: kind)), self)
    }

    func count(_ name: String, _ labels: [(String, String)] = []) -> UInt64 {
        metrics.counter(name, help: "", labels: labels).value
    }

    func gauge(_ name: String) -> Double { metrics.gauge(name, help: "").value }

    func rejections(_ reason: String) -> UInt64 { count("weir_control_rejections_total", [("reason", reason)]) }
}

/// Runs `body` with a running control plane, then checks that nothing is left behind.
func withPlant(
    _ configuration: ControlConfiguration = ControlConfiguration(), rights: (any StreamRights)? = nil,
    _ body: (Plant) async throws -> Void
) async throws {
    let plant = Plant(configuration, rights: rights)
    let running = Task { await plant.plane.run() }
    try await body(plant)
    await plant.plane.shutdown(timeout: .seconds(10))
    await running.value
    // Peers are freed in the background; one that is left open ends the test by its time limit.
    try await plant.media.state.wait { $0.open.isEmpty }
    for name in ["sessions", "streams", "players"] {
        #expect(plant.gauge("weir_control_\(name)") == 0, "gauge \(name) does not return to zero")
    }
    #expect(await plant.plane.streams().isEmpty)
}

/// A client as its adapter sees it. Used by one task.
final class Client {
    let session: ClientSession
    let plant: Plant
    private var iterator: AsyncStream<SessionEvent>.Iterator

    init(_ session: ClientSession, _ plant: Plant) {
        self.session = session
        self.plant = plant
        iterator = session.events.makeAsyncIterator()
    }

    func next() async -> SessionEvent? { await iterator.next(isolation: nil) }

    /// The next event, which must be a status.
    func status(_ here: SourceLocation = #_sourceLocation) async throws -> StreamStatusEvent {
        let event = await next()
        guard case .status(let status) = event else {
            Issue.record("no status but \(String(describing: event))", sourceLocation: here)
            throw Unexpected()
        }
        return status
    }

    /// Expects the next event to be that status.
    func expect(
        _ id: String, _ status: StreamStatus, _ info: String? = nil, here: SourceLocation = #_sourceLocation
    ) async throws {
        let got = try await self.status(here)
        #expect(got.mediaSessionId == id, sourceLocation: here)
        #expect(got.status == status, sourceLocation: here)
        #expect(got.info == info, sourceLocation: here)
    }

    func expectAnswer(_ id: String, here: SourceLocation = #_sourceLocation) async throws {
        #expect(await next() == .remoteSDP(mediaSessionId: id, sdp: "ANSWER"), sourceLocation: here)
        try await expect(id, .pending, here: here)
    }

    /// Everything up to the end.
    func rest() async -> [SessionEvent] {
        var events: [SessionEvent] = []
        while let event = await next() { events.append(event) }
        return events
    }

    func request(_ id: String, _ name: String = "cam") -> StreamRequest {
        StreamRequest(mediaSessionId: id, name: name, sdp: "OFFER")
    }

    /// Up to PENDING.
    func beginPublish(_ id: String, _ name: String = "cam") async throws -> PeerID {
        await session.publish(request(id, name))
        let peer = try await plant.media.nextCall().peer
        try await expectAnswer(id)
        return peer
    }

    func beginPlay(_ id: String, _ name: String = "cam") async throws -> PeerID {
        await session.play(request(id, name))
        let peer = try await plant.media.nextCall().peer
        try await expectAnswer(id)
        return peer
    }

    @discardableResult
    func publish(_ id: String, _ name: String = "cam") async throws -> PeerID {
        let peer = try await beginPublish(id, name)
        plant.media.send(.connected(peer))
        try await expect(id, .publishing)
        return peer
    }

    @discardableResult
    func play(_ id: String, _ name: String = "cam") async throws -> PeerID {
        let peer = try await beginPlay(id, name)
        plant.media.send(.connected(peer))
        try await expect(id, .playing)
        return peer
    }

    struct Unexpected: Error {}
}
