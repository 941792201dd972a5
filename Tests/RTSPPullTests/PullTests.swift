import MediaFormats
import NIOCore
import NIOPosix
import RTSP
import RTSPPull
import Synchronization
import TestSupport
import Testing
import Wire

/// A camera by script on 127.0.0.1.
private final class Camera: Sendable {
    struct State {
        var requests: [RTSPRequest] = []
        var connections = 0
        var open: [any Channel] = []
    }

    let state = Watched(State())
    private let respond: @Sendable (RTSPRequest, Int) -> RTSPResponse?
    private let server = Mutex<(any Channel)?>(nil)

    static let sdp = "v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\na=control:track1\r\n"

    /// - Parameter respond: A request, and which connection it comes from; nil: closes.
    init(
        _ respond: @escaping @Sendable (RTSPRequest, Int) -> RTSPResponse? = { request, _ in Camera.agreeable(request) }
    ) {
        self.respond = respond
    }

    static func agreeable(_ request: RTSPRequest) -> RTSPResponse {
        switch request.method {
        case .describe: RTSPResponse(.ok, body: Array(sdp.utf8))
        case .setup:
            RTSPResponse(.ok, headers: ["Transport": request.headers["Transport"] ?? "", "Session": "s"])
        default: RTSPResponse(.ok)
        }
    }

    func start() async throws -> Int {
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                let number = self.state.update { state in
                    state.connections += 1
                    state.open.append(channel)
                    return state.connections
                }
                return channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Handler(self, number))
                }
            }.bind(host: "127.0.0.1", port: 0).get()
        server.withLock { $0 = channel }
        return channel.localAddress?.port ?? 0
    }

    func stop() async { try? await server.withLock { $0 }?.close() }

    /// To whoever is connected.
    func send(_ packet: [UInt8], channel number: UInt8 = 0) {
        var frame: [UInt8] = []
        InterleavedFrame.append(packet, channel: number, into: &frame)
        for channel in state.value.open { channel.writeAndFlush(ByteBuffer(bytes: frame), promise: nil) }
    }

    func cut() {
        for channel in state.update({ state in
            defer { state.open = [] }
            return state.open
        }) { channel.close(promise: nil) }
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        private let camera: Camera
        private let number: Int
        private var parser = RTSPParser()

        init(_ camera: Camera, _ number: Int) {
            self.camera = camera
            self.number = number
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            parser.append(Array(Self.unwrapInboundIn(data).readableBytesView))
            do {
                while case .request(let request)? = try parser.next({ _, _ in }) {
                    camera.state.update { $0.requests.append(request) }
                    guard var response = camera.respond(request, number) else { return context.close(promise: nil) }
                    response.headers["CSeq"] = request.headers["CSeq"]
                    context.channel.writeAndFlush(ByteBuffer(bytes: response.bytes), promise: nil)
                }
            } catch {
                context.close(promise: nil)
            }
        }
    }
}

private final class Sink: RTSPPullSink {
    enum Event: Equatable {
        case begin([Codec])
        case packet(Int, [UInt8])
        case interrupted(RTSPPullFailure, retry: Bool)
    }

    let events = Watched<[Event]>([])
    let link = Mutex<RTSPPullLink?>(nil)

    func begin(_ tracks: [RTSPPulledTrack], link: RTSPPullLink) {
        self.link.withLock { $0 = link }
        events.update { $0.append(.begin(tracks.map(\.description.codec))) }
    }

    func receive(track: Int, isRTCP: Bool, _ packet: RawSpan) {
        let bytes = packet.copied()
        events.update { $0.append(.packet(track, bytes)) }
    }

    func flush() {}

    func interrupted(_ failure: RTSPPullFailure, retryIn: Interval?) {
        events.update { $0.append(.interrupted(failure, retry: retryIn != nil)) }
    }
}

@Suite(.timeLimit(.minutes(2))) struct PullerTests {
    /// Loopback is allowed, and so are the ports of tests.
    private static func settings(_ change: (inout RTSPPullSettings) -> Void = { _ in }) -> RTSPPullSettings {
        var settings = RTSPPullSettings()
        settings.hostGuard.networks = ["127.0.0.1"].compactMap { AddressRange($0) }
        change(&settings)
        return settings
    }

    private static func puller(_ url: String, _ sink: Sink, _ settings: RTSPPullSettings = settings()) -> RTSPPuller {
        RTSPPuller(url: url, settings: settings, sink: sink, seed: 1, sleep: { _ in try Task.checkCancellation() })
    }

    @Test func aCameraThatIsCutIsPulledAgain() async throws {
        let camera = Camera()
        let port = try await camera.start()
        let sink = Sink()
        let puller = Self.puller("rtsp://127.0.0.1:\(port)/live", sink)
        let run = Task { await puller.run() }
        try await sink.events.wait { $0 == [.begin([.vp8])] }
        camera.send([0x80, 96, 0, 1])
        try await sink.events.wait { $0.last == .packet(0, [0x80, 96, 0, 1]) }
        camera.cut()
        try await sink.events.wait { $0.suffix(2) == [.interrupted(.connectionLost, retry: true), .begin([.vp8])] }
        camera.send([0x80, 96, 0, 2])
        try await sink.events.wait { $0.last == .packet(0, [0x80, 96, 0, 2]) }
        run.cancel()
        #expect(await run.value == .shutdown)
        #expect(sink.events.value.last == .interrupted(.shutdown, retry: false))
        try await camera.state.wait { $0.requests.last?.method == .teardown }
        #expect(camera.state.value.connections == 2)
        await camera.stop()
    }

    @Test func attemptsAreBounded() async throws {
        let camera = Camera { request, _ in
            request.method == .describe ? RTSPResponse(.notFound) : Camera.agreeable(request)
        }
        let port = try await camera.start()
        let sink = Sink()
        let puller = Self.puller("rtsp://127.0.0.1:\(port)/live", sink, Self.settings { $0.policy.attempts = 3 })
        #expect(await puller.run() == .notFound)
        #expect(camera.state.value.connections == 4)
        #expect(sink.events.value.count == 4 && sink.events.value.last == .interrupted(.notFound, retry: false))
        await camera.stop()
    }

    @Test func nobodyListens() async throws {
        let camera = Camera()
        let port = try await camera.start()
        await camera.stop()
        let puller = Self.puller("rtsp://127.0.0.1:\(port)/live", Sink(), Self.settings { $0.policy.attempts = 0 })
        guard case .connect = await puller.run() else {
            Issue.record("connected")
            return
        }
    }

    @Test func addressesInsideAreNotReached() async throws {
        let camera = Camera()
        let port = try await camera.start()
        var settings = RTSPPullSettings()
        settings.policy.attempts = 0
        #expect(await Self.puller("rtsp://127.0.0.1:\(port)/", Sink(), settings).run() == .refusedHost(.address))
        #expect(
            await Self.puller("rtsp://[::ffff:127.0.0.1]:\(port)/", Sink(), settings).run() == .refusedHost(.address))
        #expect(await Self.puller("rtsp://127.0.0.1:25/", Sink(), settings).run() == .refusedHost(.port))
        #expect(await Self.puller("http://127.0.0.1/", Sink(), settings).run() == .badURL)
        // A name that points inside, alone or among others.
        for addresses in [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["169.254.169.254"]] {
            let found = addresses.compactMap { SocketAddress(ip: $0, port: UInt16(port)) }
            let puller = RTSPPuller(
                url: "rtsp://camera.example.com:\(port)/", settings: settings, sink: Sink(), resolve: { _, _ in found })
            #expect(await puller.run() == .refusedHost(.address))
        }
        #expect(camera.state.value.connections == 0)
        await camera.stop()
    }

    /// What is checked is what is connected to: a second look-up could say something else.
    @Test func aHostIsResolvedOnce() async throws {
        let camera = Camera()
        let port = try await camera.start()
        let lookUps = Mutex(0)
        let sink = Sink()
        let puller = RTSPPuller(
            url: "rtsp://camera.example.com:\(port)/live", settings: Self.settings(), sink: sink,
            resolve: { _, port in
                lookUps.withLock { $0 += 1 }
                return [SocketAddress(ipv4: 0x7f00_0001, port: port)]
            })
        let run = Task { await puller.run() }
        try await sink.events.wait { $0 == [.begin([.vp8])] }
        #expect(lookUps.withLock { $0 } == 1)
        #expect(camera.state.value.requests.first?.uri == "rtsp://camera.example.com:\(port)/live")
        run.cancel()
        _ = await run.value
        await camera.stop()
    }

    @Test func redirectsAreCheckedToo() async throws {
        let inside = Camera()
        let insidePort = try await inside.start()
        let camera = Camera { _, _ in
            RTSPResponse(RTSPStatus(302, "Moved"), headers: ["Location": "rtsp://127.0.0.2:\(insidePort)/live"])
        }
        let port = try await camera.start()
        #expect(await Self.puller("rtsp://127.0.0.1:\(port)/live", Sink()).run() == .refusedHost(.address))
        #expect(inside.state.value.connections == 0)
        let allowed = Camera { request, _ in
            RTSPResponse(RTSPStatus(302, "Moved"), headers: ["Location": "rtsp://127.0.0.1:\(insidePort)/live"])
        }
        let other = try await allowed.start()
        let sink = Sink()
        let puller = Self.puller("rtsp://127.0.0.1:\(other)/live", sink)
        let run = Task { await puller.run() }
        try await sink.events.wait { $0 == [.begin([.vp8])] }
        #expect(inside.state.value.connections == 1)
        // From the program to the camera
        sink.link.withLock { $0 }?.send(rtcp: [0x80, 201, 0, 0], track: 0)
        run.cancel()
        _ = await run.value
        for camera in [inside, camera, allowed] { await camera.stop() }
    }

    @Test func noiseEndsTheAttempt() async throws {
        let camera = Camera { _, _ in nil }
        let port = try await camera.start()
        let puller = Self.puller("rtsp://127.0.0.1:\(port)/live", Sink(), Self.settings { $0.policy.attempts = 0 })
        #expect(await puller.run() == .connectionLost)
        let silent = Self.puller(
            "rtsp://127.0.0.1:\(port)/live", Sink(),
            Self.settings {
                $0.policy.attempts = 0
                $0.client.responseTimeout = .nanoseconds(1)
            })
        #expect(
            [.noResponse(.options), .connect("no connection in time"), .connectionLost].contains(await silent.run()))
        await camera.stop()
    }

    @Test func theSystemResolves() async throws {
        let addresses = try await RTSPPuller.systemResolver("localhost", 554)
        #expect(!addresses.isEmpty && addresses.allSatisfy { $0.isLoopback && $0.port == 554 })
        await #expect(throws: (any Error).self) { try await RTSPPuller.systemResolver("does-not-exist.invalid", 554) }
    }
}
