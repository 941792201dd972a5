import ControlPlane
import Logging
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization
import Testing
import WCS
import WeirJSON
import WeirMetrics

/// A media side that answers at once and connects a peer when told to.
final class FakeMedia: MediaBackend {
    let events: AsyncStream<MediaEvent>
    private let continuation: AsyncStream<MediaEvent>.Continuation
    private let connectsAtOnce: Bool
    private let seen = Mutex<[(peer: PeerID, options: MediaOptions)]>([])

    init(connectsAtOnce: Bool = true) {
        (events, continuation) = AsyncStream.makeStream()
        self.connectsAtOnce = connectsAtOnce
    }

    var lastOptions: MediaOptions? { seen.withLock { $0.last?.options } }

    func post(_ event: (PeerID) -> MediaEvent) {
        if let peer = seen.withLock({ $0.first?.peer }) { continuation.yield(event(peer)) }
    }

    private func answer(_ peer: PeerID, _ options: MediaOptions) -> MediaDescription {
        seen.withLock { $0.append((peer, options)) }
        if connectsAtOnce { continuation.yield(.connected(peer)) }
        return MediaDescription(
            sdp: "ANSWER\r\n", hasAudio: true, hasVideo: true, audioCodec: "opus", videoCodec: "VP8")
    }

    func publish(
        peer: PeerID, stream: String, offer: String, options: MediaOptions
    ) async throws(MediaError) -> MediaDescription {
        if offer.isEmpty { throw .malformedSDP("empty") }
        return answer(peer, options)
    }

    func play(
        peer: PeerID, stream: String, publisher: PeerID, offer: String, options: MediaOptions
    ) async throws(MediaError) -> MediaDescription {
        answer(peer, options)
    }

    func setPaused(_ paused: Bool, peer: PeerID) async {}

    func restartICE(
        peer: PeerID, ufrag: String, password: String
    ) async throws(MediaError) -> (ufrag: String, password: String) {
        ("abcd", "0123456789012345678901")
    }

    func close(peer: PeerID) async {}
    func statistics(peer: PeerID) async -> PeerStatistics? { nil }
}

/// Refuses who names himself `bad`.
struct RefusingBackend: BackendHooks {
    func connect(_ session: SessionFacts, _ request: ConnectRequest) async -> ConnectDecision {
        session.custom?.text == #""bad""#
            ? .refuse(code: 403, reason: "Forbidden")
            : .allow(Admission(hooks: OpenHooks(), profile: request.profile, custom: request.custom))
    }
    func play(_ viewer: ViewerRequest) async -> HookDecision { .allow }
    func drain() async {}
}

/// Names reports and forgets them; has no logs.
struct LostReports: DiagnosticStore {
    func keepReport(_ text: String, session: String) async throws(DiagnosticError) -> String { "bug-report-1.txt" }
    func openLog(
        _ kind: DiagnosticLogKind, session: String
    ) async throws(DiagnosticError) -> any SessionLog { throw .tooManyLogs }
}

/// A server of this module over a real control plane, on a port of its own.
struct TestServer: Sendable {
    let control: ControlPlane
    let media: FakeMedia
    let server: WCSServer
    let metrics: MetricsRegistry
    let port: Int

    func rejected(_ reason: String) -> UInt64 {
        metrics.counter("weir_wcs_rejected_total", help: "", labels: [("reason", reason)]).value
    }

    /// Waits until the counter has moved, at most a minute.
    func expectRejected(_ reason: String, atLeast count: UInt64 = 1, _ location: SourceLocation = #_sourceLocation)
        async
    {
        for _ in 0..<6_000 where rejected(reason) < count { try? await Task.sleep(for: .milliseconds(10)) }
        #expect(rejected(reason) >= count, "\(reason)", sourceLocation: location)
    }

    static func run(
        _ change: (inout WCSConfiguration) -> Void = { _ in }, media: FakeMedia = FakeMedia(),
        control controlConfiguration: ControlConfiguration = ControlConfiguration(
            iceTimeout: .seconds(300), dtlsTimeout: .seconds(300), hookTimeout: .seconds(300),
            mediaTimeout: .seconds(300)),
        snapshots: (any SnapshotMaker)? = nil,
        _ body: (TestServer) async throws -> Void
    ) async throws {
        var configuration = WCSConfiguration()
        configuration.listeners = [WCSListener(host: "127.0.0.1", port: 0)]
        // A thousand tests at once starve each other: nobody is thrown out for that.
        configuration.handshakeTimeout = .seconds(300)
        configuration.firstMessageTimeout = .seconds(300)
        configuration.keepAliveInterval = .seconds(300)
        configuration.closeTimeout = .milliseconds(500)
        configuration.shutdownTimeout = .seconds(2)
        change(&configuration)
        let metrics = MetricsRegistry()
        var logger = Logger(label: "test")
        logger.logLevel = .error
        let control = ControlPlane(
            media: media, hooks: RefusingBackend(), configuration: controlConfiguration, metrics: metrics,
            logger: logger, diagnostics: LostReports(), snapshots: snapshots)
        let server = WCSServer(configuration: configuration, control: control, metrics: metrics, logger: logger)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await control.run() }
            group.addTask { try await server.run() }
            let port = await server.ports[0]
            try await body(
                TestServer(control: control, media: media, server: server, metrics: metrics, port: port))
            group.cancelAll()
            while let result = await group.nextResult() {
                if case .failure(let error) = result, !(error is CancellationError) { throw error }
            }
        }
    }
}

/// A frame of the server.
struct Frame: Equatable, Sendable {
    var opcode: UInt8
    var payload: [UInt8]

    var text: String { String(decoding: payload, as: UTF8.self) }
    var closeCode: Int? { opcode == 8 && payload.count >= 2 ? Int(payload[0]) << 8 | Int(payload[1]) : nil }
}

struct TestFailure: Error, CustomStringConvertible {
    var description: String
}

/// A WebSocket client with full control over the bytes it sends. One task uses it.
final class TestClient {
    let channel: any Channel
    private var frames: AsyncStream<Frame>.AsyncIterator
    /// Head of the HTTP response.
    let response: String

    private init(channel: any Channel, frames: AsyncStream<Frame>, response: String) {
        self.channel = channel
        self.frames = frames.makeAsyncIterator()
        self.response = response
    }

    static func open(
        _ port: Int, path: String = "/", request: String? = nil, receiveBuffer: Int? = nil
    ) async throws -> TestClient {
        let (frames, continuation) = AsyncStream.makeStream(of: Frame.self)
        let (heads, headContinuation) = AsyncStream.makeStream(of: String.self)
        var bootstrap = ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton).channelInitializer { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(
                    FrameReader(frames: continuation, head: headContinuation))
            }
        }
        if let receiveBuffer {
            bootstrap = bootstrap.channelOption(.socketOption(.so_rcvbuf), value: .init(receiveBuffer))
        }
        let channel = try await bootstrap.connect(host: "127.0.0.1", port: port).get()
        let text =
            request ?? "GET \(path) HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        try await channel.writeAndFlush(ByteBuffer(string: text)).get()
        var response = ""
        for await head in heads {
            response = head
            break
        }
        return TestClient(channel: channel, frames: frames, response: response)
    }

    /// Opens and connects a session, and takes the greeting away.
    static func session(_ port: Int, custom: String = "null") async throws -> TestClient {
        let client = try await open(port)
        try await client.send(#"{"message":"connection","data":[{"appKey":"defaultApp","custom":\#(custom)}]}"#)
        _ = try await client.message("getUserData")
        return client
    }

    // MARK: Sending

    func send(_ text: String) async throws {
        try await frame(1, Array(text.utf8))
    }

    func frame(
        _ opcode: UInt8, _ payload: [UInt8], isFinal: Bool = true, masked: Bool = true, reserved: UInt8 = 0
    ) async throws {
        try await raw(Self.bytes(opcode, payload, isFinal: isFinal, masked: masked, reserved: reserved))
    }

    func raw(_ bytes: [UInt8]) async throws {
        try await channel.writeAndFlush(ByteBuffer(bytes: bytes)).get()
    }

    static func bytes(
        _ opcode: UInt8, _ payload: [UInt8], isFinal: Bool = true, masked: Bool = true, reserved: UInt8 = 0
    ) -> [UInt8] {
        var bytes: [UInt8] = [(isFinal ? 0x80 : 0) | reserved << 4 | opcode]
        let maskBit: UInt8 = masked ? 0x80 : 0
        switch payload.count {
        case ..<126: bytes.append(maskBit | UInt8(payload.count))
        case ..<65_536: bytes += [maskBit | 126, UInt8(payload.count >> 8), UInt8(payload.count & 255)]
        default: bytes += [maskBit | 127] + (0..<8).map { UInt8(truncatingIfNeeded: payload.count >> (56 - 8 * $0)) }
        }
        guard masked else { return bytes + payload }
        let key: [UInt8] = [0x12, 0x34, 0x56, 0x78]
        bytes += key
        return bytes + payload.enumerated().map { $1 ^ key[$0 & 3] }
    }

    // MARK: Receiving

    /// The next frame; nil if the connection is closed.
    func next() async -> Frame? {
        var iterator = frames
        let frame = await iterator.next()
        frames = iterator
        return frame
    }

    /// `data` of the next message of that name, as text. Pings are answered and left out; others are skipped.
    func message(_ name: String) async throws -> JSONValue {
        while let frame = await next() {
            if let code = frame.closeCode { throw TestFailure(description: "closed with \(code) before \(name)") }
            guard frame.opcode == 1 else { continue }
            let envelope = try JSONParser.parse(frame.payload)
            guard case .array(let data)? = envelope["data"] else {
                throw TestFailure(description: "data must be an array: \(frame.text)")
            }
            if envelope["message"]?.text == name { return .array(data) }
            if envelope["message"]?.text == "ping" { try? await send(#"{"message":"pong","data":[null]}"#) }
        }
        throw TestFailure(description: "closed before \(name)")
    }

    /// First argument of the next `notifyStreamStatusEvent` that is not PENDING.
    func status() async throws -> JSONValue {
        while true {
            let object = try await message("notifyStreamStatusEvent").first
            if object["status"]?.text != "PENDING" { return object }
        }
    }

    /// The code of the close frame that must come; 1006 if the connection just ends.
    func closeCode() async -> Int {
        while let frame = await next() {
            if let code = frame.closeCode { return code }
        }
        return 1006
    }
}

extension JSONValue {
    var first: JSONValue { element(0) }

    func element(_ index: Int) -> JSONValue {
        guard case .array(let elements) = self, elements.indices.contains(index) else { return .null }
        return elements[index]
    }
}

/// Splits what the server sends into the HTTP head and frames.
private final class FrameReader: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let frames: AsyncStream<Frame>.Continuation
    private let head: AsyncStream<String>.Continuation
    private var buffer: [UInt8] = []
    private var hasHead = false

    init(frames: AsyncStream<Frame>.Continuation, head: AsyncStream<String>.Continuation) {
        self.frames = frames
        self.head = head
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        buffer += Self.unwrapInboundIn(data).readableBytesView
        if !hasHead {
            let end = Array("\r\n\r\n".utf8)
            guard let index = (0..<max(0, buffer.count - 3)).first(where: { Array(buffer[$0..<$0 + 4]) == end })
            else { return }
            hasHead = true
            head.yield(String(decoding: buffer[..<index], as: UTF8.self))
            buffer.removeSubrange(..<(index + 4))
        }
        while let frame = takeFrame() { frames.yield(frame) }
    }

    func channelInactive(context: ChannelHandlerContext) {
        frames.finish()
        head.finish()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }

    private func takeFrame() -> Frame? {
        guard buffer.count >= 2 else { return nil }
        var length = Int(buffer[1] & 0x7f)
        var offset = 2
        let extra = length == 126 ? 2 : length == 127 ? 8 : 0
        if extra > 0 {
            guard buffer.count >= 2 + extra else { return nil }
            length = buffer[2..<2 + extra].reduce(0) { $0 << 8 | Int($1) }
            offset += extra
        }
        guard buffer.count >= offset + length else { return nil }
        let frame = Frame(opcode: buffer[0] & 15, payload: Array(buffer[offset..<offset + length]))
        buffer.removeSubrange(..<(offset + length))
        return frame
    }
}
