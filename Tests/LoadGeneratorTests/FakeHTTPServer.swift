import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

/// An HTTP/1.1 server in this process. What it does with a request is the test's business.
final class FakeHTTPServer: Sendable {
    struct Request: Sendable, Equatable {
        let method: String
        let uri: String
        let headers: [String: String]
        let body: String
        /// The how-manieth connection it came over, from 0.
        let connection: Int
    }

    enum Response: Sendable {
        case reply(Int, headers: [String: String] = [:], body: String = "")
        /// No answer, ever.
        case silence
        /// The connection is closed without an answer.
        case hangUp
        /// An answer that is no HTTP/1.
        case garbage
    }

    let port: Int
    private let channel: any Channel
    private let log = Log()
    var requests: [Request] { log.state.withLock(\.requests) }
    /// That were ever opened.
    var connections: Int { log.state.withLock(\.connections) }

    private final class Log: Sendable {
        let state = Mutex<(requests: [Request], connections: Int)>(([], 0))
    }

    init(_ answer: @escaping @Sendable (Request) -> Response) async throws {
        let log = log
        channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    let number = log.state.withLock { log in
                        log.connections += 1
                        return log.connections - 1
                    }
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                    try channel.pipeline.syncOperations.addHandler(
                        Handler(connection: number) { request in
                            log.state.withLock { $0.requests.append(request) }
                            return answer(request)
                        })
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        port = channel.localAddress?.port ?? 0
    }

    func stop() async { try? await channel.close() }

    static func run<Value>(
        _ answer: @escaping @Sendable (Request) -> Response, _ body: (FakeHTTPServer) async throws -> Value
    ) async throws -> Value {
        let server = try await FakeHTTPServer(answer)
        do {
            let value = try await body(server)
            await server.stop()
            return value
        } catch {
            await server.stop()
            throw error
        }
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = HTTPServerRequestPart
        typealias OutboundOut = HTTPServerResponsePart

        private let connection: Int
        private let answer: (Request) -> Response
        private var head: HTTPRequestHead?
        private var body = ""

        init(connection: Int, _ answer: @escaping (Request) -> Response) {
            self.connection = connection
            self.answer = answer
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch Self.unwrapInboundIn(data) {
            case .head(let head):
                self.head = head
                body = ""
            case .body(let part): body += String(buffer: part)
            case .end:
                guard let head else { return }
                let headers = Dictionary(head.headers.map { ($0.name.lowercased(), $0.value) }) { $1 }
                let request = Request(
                    method: head.method.rawValue, uri: head.uri, headers: headers, body: body, connection: connection)
                respond(answer(request), context)
            }
        }

        private func respond(_ response: Response, _ context: ChannelHandlerContext) {
            switch response {
            case .silence: break
            case .hangUp: context.close(promise: nil)
            case .garbage:
                let head = HTTPResponseHead(version: .init(major: 9, minor: 9), status: .ok)
                context.writeAndFlush(Self.wrapOutboundOut(.head(head)), promise: nil)
            case .reply(let status, let headers, let body):
                var head = HTTPResponseHead(version: .http1_1, status: .init(statusCode: status))
                for (name, value) in headers { head.headers.add(name: name, value: value) }
                head.headers.replaceOrAdd(name: "Content-Length", value: String(body.utf8.count))
                context.write(Self.wrapOutboundOut(.head(head)), promise: nil)
                let buffer = context.channel.allocator.buffer(string: body)
                context.write(Self.wrapOutboundOut(.body(.byteBuffer(buffer))), promise: nil)
                context.writeAndFlush(Self.wrapOutboundOut(.end(nil)), promise: nil)
            }
        }
    }
}
