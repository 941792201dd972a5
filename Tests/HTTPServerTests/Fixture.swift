import ControlPlane
import HTTPServer
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import Logging
import NIOCore
import RESTHooks
import Synchronization
import WeirMetrics

import struct RESTHooks.Application

/// A media side that answers as it is told and remembers what it was asked.
final class FakeMedia: MediaBackend {
    struct State: Sendable {
        var failure: MediaError?
        var delay: Duration = .zero
        var peers: [String: PeerID] = [:]
        var closed: Set<PeerID> = []
        var restarts = 0
        var restartFailure: MediaError?
        var answer = FakeMedia.answer
    }

    static let answer = """
        v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=ice-lite\r\na=group:BUNDLE 0\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:ours0\r\n\
        a=ice-pwd:ourpassword0123456789ab\r\na=candidate:1 1 udp 2130706431 127.0.0.1 31001 typ host\r\n
        """

    let state = Mutex(State())
    let events: AsyncStream<MediaEvent>
    private let continuation: AsyncStream<MediaEvent>.Continuation

    init() {
        (events, continuation) = AsyncStream.makeStream()
    }

    func send(_ event: MediaEvent) { continuation.yield(event) }

    func publish(
        peer: PeerID, stream: String, offer: String, options: MediaOptions
    ) async throws(MediaError) -> MediaDescription {
        try await describe(peer, stream)
    }

    func play(
        peer: PeerID, stream: String, publisher: PeerID, offer: String, options: MediaOptions
    ) async throws(MediaError) -> MediaDescription {
        try await describe(peer, "player of \(stream)")
    }

    private func describe(_ peer: PeerID, _ key: String) async throws(MediaError) -> MediaDescription {
        let state = state.withLock { $0 }
        try? await Task.sleep(for: state.delay)
        if let failure = state.failure { throw failure }
        self.state.withLock { $0.peers[key] = peer }
        return MediaDescription(
            sdp: state.answer, hasAudio: true, hasVideo: true, audioCodec: "opus", videoCodec: "VP8", ufrag: "ours0")
    }

    func setPaused(_ paused: Bool, peer: PeerID) async {}

    func restartICE(
        peer: PeerID, ufrag: String, password: String
    ) async throws(MediaError) -> (ufrag: String, password: String) {
        if let failure = state.withLock({ $0.restartFailure }) { throw failure }
        let count = state.withLock {
            $0.restarts += 1
            return $0.restarts
        }
        return ("ours\(count)", "ournewpassword0123456789\(count)")
    }

    func close(peer: PeerID) async {
        state.withLock { _ = $0.closed.insert(peer) }
    }

    func statistics(peer: PeerID) async -> PeerStatistics? { PeerStatistics() }
}

/// A backend that refuses what it is told to, and remembers what sessions looked like.
final class FakeHooks: BackendHooks {
    struct State: Sendable {
        var connect = HookDecision.allow
        var publish = HookDecision.allow
        var sessions: [SessionFacts] = []
        var requests: [ConnectRequest] = []
    }

    let state = Mutex(State())

    func connect(_ session: SessionFacts, _ request: ConnectRequest) async -> ConnectDecision {
        let (connect, publish) = state.withLock {
            $0.sessions.append(session)
            $0.requests.append(request)
            return ($0.connect, $0.publish)
        }
        if case .refuse(let code, let reason) = connect { return .refuse(code: code, reason: reason) }
        return .allow(Admission(hooks: Session(publish: publish), profile: request.profile, custom: request.custom))
    }

    func play(_ viewer: ViewerRequest) async -> HookDecision { .allow }
    func drain() async {}

    /// Plays are allowed, publishing is decided as it was when the client connected.
    struct Session: SessionHooks {
        let publish: HookDecision

        func attach(_ client: any HookedClient) {}
        func ask(_ call: DirectCall) -> HookAnswer {
            if case .publish = call { HookAnswer(publish) } else { HookAnswer(.allow) }
        }
        func tell(_ event: HookEvent, after: Gate?) -> Gate? { nil }
        func clientExclude(_ method: HookMethod) -> Set<String> { [] }
        func finish() {}
    }
}

/// A server over a fake media side, and a client with one connection to it.
struct Fixture: Sendable {
    let media: FakeMedia
    let hooks: FakeHooks
    let control: ControlPlane
    let service: HTTPService
    let metrics: MetricsRegistry
    let level: LevelBox
    let applications: Applications
    let client: any TestClientProtocol

    static let offer = """
        v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n\
        a=mid:0\r\na=ice-ufrag:aYnR\r\na=ice-pwd:/+qgkVHjSThH4iPYGK2Sbrot\r\na=sendonly\r\n
        """
    static let fragment = """
        a=ice-ufrag:aYnR\r\na=ice-pwd:/+qgkVHjSThH4iPYGK2Sbrot\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n\
        a=candidate:1 1 udp 2130706431 192.0.2.1 50000 typ host\r\na=end-of-candidates\r\n
        """
    static let restart = """
        a=ice-ufrag:bXmS\r\na=ice-pwd:0123456789abcdefghijklmn\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n
        """

    @discardableResult
    func send(
        _ method: HTTPRequest.Method, _ uri: String, _ body: String? = nil, type: String? = nil,
        _ more: HTTPFields = [:]
    ) async throws -> TestResponse {
        var headers = more
        if let type { headers[.contentType] = type }
        return try await client.execute(
            uri: uri, method: method, headers: headers, body: body.map { ByteBuffer(string: $0) })
    }

    func post(_ uri: String, _ body: String = Fixture.offer, _ headers: HTTPFields = [:]) async throws -> TestResponse {
        try await send(.post, uri, body, type: "application/sdp", headers)
    }

    func patch(_ uri: String, _ body: String, ifMatch: String?) async throws -> TestResponse {
        var headers: HTTPFields = [:]
        headers[.ifMatch] = ifMatch
        return try await send(.patch, uri, body, type: "application/trickle-ice-sdpfrag", headers)
    }

    /// Publishes and tells the control plane that the media is there.
    func goLive(_ name: String) async throws -> TestResponse {
        let response = try await post("/whip/\(name)")
        if let peer = media.state.withLock({ $0.peers[name] }) { media.send(.connected(peer)) }
        try await eventually { await control.isAvailable(name) }
        return response
    }
}

final class LevelBox: Sendable {
    let level = Mutex(Logger.Level.info)
    /// Of sessions, as they were set last.
    let sessions = Mutex<[String: Logger.Level?]>([:])
}

func withServer(
    _ configuration: HTTPConfiguration = HTTPConfiguration(), control limits: ControlConfiguration = .patient(),
    rights: (any StreamRights)? = nil, snapshots: (any SnapshotMaker)? = nil,
    recordings: (any RecordLibrary)? = nil, hls: HLSService? = nil,
    _ body: @escaping @Sendable (Fixture) async throws -> Void
) async throws {
    let (media, hooks, metrics, level) = (FakeMedia(), FakeHooks(), MetricsRegistry(), LevelBox())
    var logger = Logger(label: "test")
    logger.logLevel = .critical
    let control = ControlPlane(
        media: media, hooks: hooks, rights: rights, configuration: limits, metrics: metrics, logger: logger,
        snapshots: snapshots)
    let configured = try Application(key: "configured", backend: .url("http://192.0.2.1/hooks"), methods: ["connect"])
    let applications = try Applications(configured: [configured], store: nil)
    let service = HTTPService(
        configuration: configuration, control: control,
        services: RESTServices(
            nodeId: "node", applications: applications,
            setSessionLogLevel: { session, new in level.sessions.withLock { $0[session] = .some(new) } },
            process: { ProcessFigures(threads: 7, residentMemory: 1 << 20, uptime: .seconds(90)) },
            recordings: recordings),
        metrics: metrics,
        logLevel: LogLevelControl(
            get: { level.level.withLock { $0 } }, set: { new in level.level.withLock { $0 = new } }),
        logger: logger, hls: hls)
    let running = Task { await control.run() }
    try await service.testApplication().test(.live) { client in
        try await body(
            Fixture(
                media: media, hooks: hooks, control: control, service: service, metrics: metrics, level: level,
                applications: applications, client: client))
    }
    await control.shutdown(timeout: .seconds(2))
    await running.value
}

extension ControlConfiguration {
    /// A thousand tests at once starve each other: nobody is thrown out for that.
    static func patient(limits: Limits = Limits()) -> ControlConfiguration {
        ControlConfiguration(
            limits: limits, iceTimeout: .seconds(300), dtlsTimeout: .seconds(300), hookTimeout: .seconds(300),
            mediaTimeout: .seconds(300))
    }
}

/// Numbers that are the same in every run (SplitMix64).
struct Noise {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next(below limit: Int) -> Int {
        state &+= 0x9e37_79b9_7f4a_7c15
        var value = state
        value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
        return Int((value ^ (value >> 31)) % UInt64(max(1, limit)))
    }
}

struct NotInTime: Error {}

func eventually(_ condition: @Sendable () async throws -> Bool) async throws {
    for _ in 0..<6_000 {
        if try await condition() { return }
        try await Task.sleep(for: .milliseconds(10))
    }
    throw NotInTime()
}

extension TestResponse {
    var text: String { String(buffer: body) }

    /// Whether this is a complete problem (RFC 9457) of that status.
    func isProblem(_ code: Int, _ part: String = "") -> Bool {
        status.code == code && headers[.contentType] == "application/problem+json"
            && text.contains("\"status\":\(code)") && !text.contains("\"title\":\"\"")
            && text.contains("\"remedy\":\"") && (part.isEmpty || text.contains(part))
    }
}

extension HTTPField.Name {
    static let acceptPost = Self("Accept-Post")!
    static let acceptPatch = Self("Accept-Patch")!
    static let link = Self("Link")!
    static let xForwardedFor = Self("X-Forwarded-For")!
}
