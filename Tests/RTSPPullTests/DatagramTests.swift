import Glibc
import NIOCore
import NIOPosix
import RTSP
import RTSPPull
import Synchronization
import TestSupport
import Testing
import Wire

/// Media by UDP.
@Suite(.timeLimit(.minutes(2))) struct DatagramTests {
    private static let transportHeader = "Transport"

    private static func settings(_ transports: [RTSPTransport.Lower]) -> RTSPPullSettings {
        var settings = RTSPPullSettings()
        settings.hostGuard.allow(networks: ["127.0.0.0/8"])
        settings.client.transports = transports
        settings.policy.attempts = 0
        return settings
    }

    private static func puller(_ port: Int, _ sink: Sink, _ settings: RTSPPullSettings) -> RTSPPuller {
        RTSPPuller(
            url: "rtsp://127.0.0.1:\(port)/live", settings: settings, sink: sink, seed: 1,
            sleep: { _ in try Task.checkCancellation() })
    }

    /// A camera with a pair of UDP ports that agrees to what it is asked.
    private static func camera(_ ports: RTSPTransport.Pair<UInt16>) -> Camera {
        Camera { request, _ in
            guard request.method == .setup else { return Camera.agreeable(request) }
            let asked = request.headers[transportHeader] ?? ""
            return RTSPResponse(
                .ok, headers: [transportHeader: "\(asked);server_port=\(ports.rtp)-\(ports.rtcp)", "Session": "s"])
        }
    }

    private static func clientPorts(_ camera: Camera) throws -> RTSPTransport.Pair<UInt16> {
        let setUp = camera.state.value.requests.last { $0.method == .setup }
        return try #require(RTSPTransport.parse(setUp?.headers[transportHeader] ?? "").first?.clientPort)
    }

    @Test func onlyTheCameraIsHeard() async throws {
        let (rtp, rtcp) = (try await Datagrams("127.0.0.1"), try await Datagrams("127.0.0.1"))
        let stranger = try await Datagrams("127.0.0.2")
        let camera = Self.camera(.init(rtp.port, rtcp.port))
        let port = try await camera.start()
        let sink = Sink()
        let settings = Self.settings([.udp])
        let puller = Self.puller(port, sink, settings)
        let run = Task { await puller.run() }
        try await camera.isAsked()
        let ports = try Self.clientPorts(camera)
        #expect(ports.rtp.isMultiple(of: 2) && ports.rtcp == ports.rtp + 1)
        // An address translation on our side is opened.
        try await rtp.received.wait { !$0.isEmpty }
        try await rtcp.received.wait { $0.contains { $0.count == 8 && $0[1] == 201 } }
        stranger.send([0x80, 96, 6, 6], to: ports.rtp)
        stranger.send([0x80, 200, 6, 6], to: ports.rtcp)
        while settings.counters.strangers < 2 { await Task.yield() }
        rtcp.send([0x80, 200, 0, 0], to: ports.rtcp)
        rtp.send([0x80, 96, 0, 1], to: ports.rtp)
        try await sink.events.wait { $0.contains(.packet(0, [0x80, 96, 0, 1])) }
        #expect(sink.events.value.first == .begin([.vp8]))
        #expect(!sink.events.value.contains { if case .packet(_, let bytes) = $0 { bytes[2] == 6 } else { false } })
        // From the program to the camera
        sink.link.withLock { $0 }?.send(rtcp: [0x81, 206, 0, 0], track: 0)
        try await rtcp.received.wait { $0.contains([0x81, 206, 0, 0]) }
        run.cancel()
        _ = await run.value
        for socket in [rtp, rtcp, stranger] { await socket.close() }
        await camera.stop()
    }

    /// The camera agrees to datagrams that a firewall eats.
    @Test func aConnectionReplacesDatagramsThatDoNotCome() async throws {
        let camera = Self.camera(.init(9, 10))
        let port = try await camera.start()
        let sink = Sink()
        var settings = Self.settings([.udp, .tcp])
        settings.client.mediaTimeout = .milliseconds(200)
        #expect(await Self.puller(port, sink, settings).run() == .silent)
        let asked = camera.state.value.requests.filter { $0.method == .setup }.map {
            RTSPTransport.parse($0.headers[Self.transportHeader] ?? "").first?.lower
        }
        #expect(asked == [.udp, .tcp])
        #expect(sink.events.value == [.interrupted(.silent, retry: false)])
        await camera.stop()
    }
}

/// A UDP socket at an address of loopback.
private final class Datagrams: Sendable {
    let received = Watched<[[UInt8]]>([])
    let port: UInt16
    private let channel: any Channel

    init(_ address: String) async throws {
        let received = received
        channel = try await DatagramBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(Handler(received))
                }
            }.bind(host: address, port: 0).get()
        port = UInt16(channel.localAddress?.port ?? 0)
    }

    func send(_ bytes: [UInt8], to port: UInt16) {
        guard let address = try? NIOCore.SocketAddress(ipAddress: "127.0.0.1", port: Int(port)) else { return }
        let envelope = AddressedEnvelope(remoteAddress: address, data: ByteBuffer(bytes: bytes))
        channel.writeAndFlush(envelope, promise: nil)
    }

    func close() async { try? await channel.close() }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = AddressedEnvelope<ByteBuffer>
        private let received: Watched<[[UInt8]]>

        init(_ received: Watched<[[UInt8]]>) { self.received = received }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            let bytes = Array(Self.unwrapInboundIn(data).data.readableBytesView)
            received.update { $0.append(bytes) }
        }
    }
}
