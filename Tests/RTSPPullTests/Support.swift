import MediaFormats
import NIOCore
import NIOPosix
import RTSP
import RTSPPull
import Synchronization
import TestSupport
import Wire

/// A camera by script on 127.0.0.1.
final class Camera: Sendable {
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

    /// Waits until so many clients want to see something.
    func isAsked(_ count: Int = 1) async throws {
        try await state.wait { $0.requests.count { $0.method == .play } == count }
    }

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

final class Sink: RTSPPullSink {
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
