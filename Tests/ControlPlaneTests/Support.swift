import ControlPlane
import Logging
import Synchronization
import Testing
import WeirMetrics

/// State that tests can wait for.
final class Watched<Value: Sendable>: Sendable {
    private struct State {
        var value: Value
        var waiters: [(isMet: @Sendable (Value) -> Bool, continuation: CheckedContinuation<Value, Never>)] = []
    }

    private let state: Mutex<State>

    init(_ value: Value) { state = Mutex(State(value: value)) }

    var value: Value { state.withLock { $0.value } }

    @discardableResult
    func update<Result: Sendable>(_ body: @Sendable (inout Value) -> Result) -> Result {
        let (result, met, value) = state.withLock { state in
            let result = body(&state.value)
            let value = state.value
            let met = state.waiters.filter { $0.isMet(value) }.map(\.continuation)
            state.waiters.removeAll { $0.isMet(value) }
            return (result, met, value)
        }
        for continuation in met { continuation.resume(returning: value) }
        return result
    }

    @discardableResult
    func wait(_ isMet: @escaping @Sendable (Value) -> Bool) async -> Value {
        await withCheckedContinuation { continuation in
            let value = state.withLock { state -> Value? in
                if isMet(state.value) { return state.value }
                state.waiters.append((isMet, continuation))
                return nil
            }
            if let value { continuation.resume(returning: value) }
        }
    }
}

/// Opened once.
struct Latch: Sendable {
    private let isOpen = Watched(false)
    func open() { isOpen.update { $0 = true } }
    func wait() async { await isOpen.wait { $0 } }
}

/// A clock that only moves when told.
final class ManualClock: Clock, Sendable {
    struct Instant: InstantProtocol {
        var offset: Duration
        func advanced(by duration: Duration) -> Self { Self(offset: offset + duration) }
        func duration(to other: Self) -> Duration { other.offset - offset }
        static func < (lhs: Self, rhs: Self) -> Bool { lhs.offset < rhs.offset }
    }

    private struct Sleeper: Sendable {
        let until: Duration
        let continuation: CheckedContinuation<Void, any Error>
    }

    private struct State: Sendable {
        var now = Duration.zero
        var lastTicket = 0
        var sleepers: [Int: Sleeper] = [:]
        var cancelled: Set<Int> = []
    }

    private let state = Watched(State())

    var now: Instant { Instant(offset: state.value.now) }
    var minimumResolution: Duration { .nanoseconds(1) }

    func sleep(until deadline: Instant, tolerance: Duration?) async throws {
        let ticket = state.update { state in
            state.lastTicket += 1
            return state.lastTicket
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let outcome = state.update { state -> Result<Void, any Error>? in
                    if state.cancelled.remove(ticket) != nil { return .failure(CancellationError()) }
                    if deadline.offset <= state.now { return .success(()) }
                    state.sleepers[ticket] = Sleeper(until: deadline.offset, continuation: continuation)
                    return nil
                }
                if let outcome { continuation.resume(with: outcome) }
            }
        } onCancel: {
            let sleeper = state.update { state -> Sleeper? in
                if let sleeper = state.sleepers.removeValue(forKey: ticket) { return sleeper }
                state.cancelled.insert(ticket)
                return nil
            }
            sleeper?.continuation.resume(throwing: CancellationError())
        }
    }

    func advance(by duration: Duration) {
        let due = state.update { state in
            state.now += duration
            let due = state.sleepers.filter { $0.value.until <= state.now }
            for ticket in due.keys { state.sleepers[ticket] = nil }
            return due.values.sorted { $0.until < $1.until }
        }
        for sleeper in due { sleeper.continuation.resume() }
    }

    /// Returns when someone sleeps until that time since the start.
    func sleeper(until time: Duration) async {
        await state.wait { $0.sleepers.values.contains { $0.until == time } }
    }
}

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
    func nextCall() async -> Call {
        await state.wait { $0.calls.count > $0.taken }
        return state.update { state in
            state.taken += 1
            return state.calls[state.taken - 1]
        }
    }

    func waitUntilClosed(_ peer: PeerID) async {
        await state.wait { $0.closed.contains(peer) && !$0.open.contains(peer) }
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
}

/// A backend that decides as told and keeps what it hears.
final class FakeHooks: BackendHooks {
    /// What a session told.
    struct Told: Sendable {
        let session: String
        let text: String
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
            state.told.append(.init(session: session, text: Self.text(event), after: after, gate: gate))
        }
        return gate
    }

    private static func text(_ event: HookEvent) -> String {
        switch event {
        case .established: "connected"
        case .connectionFailed(let info): "failed: \(info)"
        case .disconnected(let reason): "ended: \(reason)"
        case .streamStatus(let stream): "\(stream.mediaSessionId) \(stream.status.rawValue)"
        case .stop(let stream), .pause(let stream): "\(stream.mediaSessionId) \(event.method.rawValue)"
        case .sentStreamEvent(let id, let type, _), .streamEvent(let id, let type, _):
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
    let plane: ControlPlane

    init(_ configuration: ControlConfiguration) {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        plane = ControlPlane(
            media: media, hooks: hooks, configuration: configuration, metrics: metrics, logger: logger, clock: clock)
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
    _ configuration: ControlConfiguration = ControlConfiguration(), _ body: (Plant) async throws -> Void
) async throws {
    let plant = Plant(configuration)
    let running = Task { await plant.plane.run() }
    try await body(plant)
    await plant.plane.shutdown(timeout: .seconds(10))
    await running.value
    let left = plant.media.state.value.open
    #expect(left.isEmpty, "peers are left open")
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
        let peer = await plant.media.nextCall().peer
        try await expectAnswer(id)
        return peer
    }

    func beginPlay(_ id: String, _ name: String = "cam") async throws -> PeerID {
        await session.play(request(id, name))
        let peer = await plant.media.nextCall().peer
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
