import ControlPlane
import Logging
import MediaFormats
import NIOCore
import NIOPosix
import NIOSSL
import RTP
import RTSP
import RTSPServer
import ServiceLifecycle
import Synchronization
import TestSupport
import Testing
import WeirMetrics
import Wire

struct TestFailure: Error, CustomStringConvertible {
    var description: String
    init(_ description: String) { self.description = description }
}

/// A server on a port of the system's choice, while `body` runs.
func withServer(
    _ loop: Loop = Loop(), configure: (inout RTSPServerConfiguration) -> Void = { _ in }, tls: NIOSSLContext? = nil,
    _ body: (Int, Loop, MetricsRegistry) async throws -> Void
) async throws {
    var configuration = RTSPServerConfiguration()
    configuration.listeners = [RTSPListener(host: "127.0.0.1", port: 0, secure: tls != nil)]
    configure(&configuration)
    let ports = Watched<[Int]>([])
    let metrics = MetricsRegistry()
    let logger = Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
    let service = RTSPService(
        configuration: configuration, backend: loop, tlsContext: tls.map { context in { @Sendable in context } },
        metrics: metrics,
        logger: logger, onListening: { all in ports.update { $0 = all } })
    loop.ssrc.withLock { $0 = configuration.sources.ssrc }
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await service.run() }
        try await ports.wait { !$0.isEmpty }
        try await body(ports.value[0], loop, metrics)
        group.cancelAll()
        try? await group.waitForAll()
    }
}

/// A client by hand.
actor Client {
    enum Item: Sendable, Equatable {
        case response(RTSPResponse)
        case packet(UInt8, [UInt8])
        case closed
    }

    private let channel: any Channel
    private var items: AsyncStream<Item>.Iterator
    private(set) var packets: [(channel: UInt8, bytes: [UInt8])] = []
    private(set) var isClosed = false
    private var cSeq: UInt32 = 0

    init(port: Int, tls: Bool = false, reads: Bool = true) async throws {
        let (stream, continuation) = AsyncStream.makeStream(of: Item.self)
        let context = try tls ? NIOSSLContext(configuration: Self.trusting) : nil
        channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelOption(.autoRead, value: reads)
            .channelOption(.socketOption(.so_rcvbuf), value: reads ? 1 << 20 : 8 << 10)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    if let context {
                        try channel.pipeline.syncOperations.addHandler(
                            NIOSSLClientHandler(context: context, serverHostname: nil))
                    }
                    try channel.pipeline.syncOperations.addHandler(ClientHandler(continuation))
                }
            }.connect(host: "127.0.0.1", port: port).get()
        items = stream.makeAsyncIterator()
    }

    private static var trusting: TLSConfiguration {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.certificateVerification = .none
        return configuration
    }

    func send(_ bytes: [UInt8]) async throws { try await channel.writeAndFlush(ByteBuffer(bytes: bytes)) }

    func ask(_ method: RTSPMethod, _ uri: String, _ headers: RTSPHeaders = [:], body: [UInt8] = []) async throws
        -> RTSPResponse
    {
        cSeq += 1
        var request = RTSPRequest(method, uri, headers: headers, body: body)
        request.headers["CSeq"] = String(cSeq)
        try await send(request.bytes)
        return try await response()
    }

    func response() async throws -> RTSPResponse {
        while let item = await next() {
            if case .response(let response) = item { return response }
        }
        throw TestFailure("closed")
    }

    func packet() async throws -> (channel: UInt8, bytes: [UInt8]) {
        while packets.isEmpty {
            guard let item = await next() else { throw TestFailure("closed") }
            if case .response(let response) = item { throw TestFailure("a response \(response.status.code)") }
        }
        return packets.removeFirst()
    }

    /// Until the server closes.
    func end() async { while await next() != nil {} }

    private func next() async -> Item? {
        guard !isClosed, let item = await advance() else { return nil }
        switch item {
        case .closed:
            isClosed = true
            return nil
        case .packet(let channel, let bytes): packets.append((channel, bytes))
        case .response: break
        }
        return item
    }

    private func advance() async -> Item? {
        var iterator = items
        let item = await iterator.next(isolation: #isolation)
        items = iterator
        return item
    }

    func close() async { try? await channel.close() }
    func setReading(_ reads: Bool) async throws { try await channel.setOption(.autoRead, value: reads).get() }
}

private final class ClientHandler: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private var parser = RTSPParser()
    private let items: AsyncStream<Client.Item>.Continuation

    init(_ items: AsyncStream<Client.Item>.Continuation) { self.items = items }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        parser.append(Array(Self.unwrapInboundIn(data).readableBytesView))
        do {
            while case .response(let response)? = try parser.next({ items.yield(.packet($0, $1.copied())) }) {
                items.yield(.response(response))
            }
        } catch {
            context.close(promise: nil)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        items.yield(.closed)
        items.finish()
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}

/// A key frame of VP8 of one packet (RFC 7741 §4.2, RFC 6386 §9.1), and a picture that needs it.
enum Picture {
    static let key: [UInt8] = [0x10, 0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xf0, 0x00]
    static let delta: [UInt8] = [0x10, 0x11, 0x02, 0x00]
}
