import NIOCore
import NIOPosix
import RESTHooks
import Synchronization
import TestSupport
import Testing

/// A backend on a port of its own that answers every request with the same bytes, right or wrong.
final class RawBackend: Sendable {
    enum Answer: Sendable {
        case bytes([UInt8])
        case reset
        case nothing
    }

    let requests = Watched<[String]>([])
    private let channel: any Channel

    var url: String { "http://127.0.0.1:\(channel.localAddress?.port ?? 0)/base" }

    private init(_ channel: any Channel) { self.channel = channel }

    static func run(_ answer: Answer, _ body: (RawBackend) async throws -> Void) async throws {
        let box = Mutex<RawBackend?>(nil)
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { child in
                child.eventLoop.makeCompletedFuture {
                    try child.pipeline.syncOperations.addHandler(
                        Handler(answer) { text in
                            box.withLock { $0 }?.requests.update { $0.append(text) }
                        })
                }
            }.bind(host: "127.0.0.1", port: 0).get()
        let backend = RawBackend(channel)
        box.withLock { $0 = backend }
        defer { channel.close(promise: nil) }
        try await body(backend)
    }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = ByteBuffer
        typealias OutboundOut = ByteBuffer

        private let answer: Answer
        private let onRequest: @Sendable (String) -> Void
        private var received = ""

        init(_ answer: Answer, onRequest: @escaping @Sendable (String) -> Void) {
            self.answer = answer
            self.onRequest = onRequest
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            received += String(buffer: unwrapInboundIn(data))
            // The bodies of these tests end their objects at the very end.
            guard received.hasSuffix("}") else { return }
            onRequest(received)
            received = ""
            switch answer {
            case .bytes(let bytes):
                context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: bytes)), promise: nil)
            case .reset:
                context.close(promise: nil)
            case .nothing: break
            }
        }
    }
}

@Suite("Hooks over HTTP", .timeLimit(.minutes(4)))
struct TransportTests {
    private static let longEnough = Duration.seconds(30)

    private func post(
        _ answer: RawBackend.Answer, timeout: Duration = longEnough
    ) async throws -> (Result<HookReply, HookFailure>, [String]) {
        let transport = HTTPHookTransport(timeout: timeout)
        let out = Mutex<(Result<HookReply, HookFailure>, [String])?>(nil)
        try await RawBackend.run(answer) { backend in
            let result: Result<HookReply, HookFailure>
            do throws(HookFailure) {
                result = .success(
                    try await transport.post(
                        HookPost(url: "\(backend.url)/connect", authorization: "WCS abc", body: Array(#"{"a":1}"#.utf8))
                    ))
            } catch {
                result = .failure(error)
            }
            out.withLock { $0 = (result, backend.requests.value) }
        }
        await transport.shutdown()
        return try #require(out.withLock { $0 })
    }

    private func http(_ status: String, _ headers: String = "", _ body: String = "") -> RawBackend.Answer {
        .bytes(Array("HTTP/1.1 \(status)\r\nContent-Length: \(body.utf8.count)\r\n\(headers)\r\n\(body)".utf8))
    }

    /// The HTTP library knows the standard's phrases only; backends have `reason` in the body for words of their own.
    @Test func aPostIsWhatTheBackendExpects() async throws {
        let (result, requests) = try await post(http("200 Sure", "Content-Type: text/plain\r\n", #"{"b":2}"#))
        let reply = try result.get()
        #expect(reply.status == 200 && reply.reason == "OK" && reply.body == Array(#"{"b":2}"#.utf8))
        let request = try #require(requests.first).lowercased()
        #expect(request.hasPrefix("post /base/connect http/1.1\r\n") && request.hasSuffix("\r\n\r\n{\"a\":1}"))
        for header in ["content-type: application/json", "authorization: wcs abc", "content-length: 7"] {
            #expect(request.contains("\r\n\(header)\r\n"), "\(header)")
        }
    }

    @Test func aRedirectIsNotFollowed() async throws {
        let (result, requests) = try await post(http("307 Temporary Redirect", "Location: /elsewhere\r\n"))
        #expect(try result.get().status == 307)
        #expect(requests.count == 1)
    }

    @Test func aBrokenConnectionIsNotTriedAgain() async throws {
        let (result, requests) = try await post(.reset)
        guard case .failure(.unreachable) = result else {
            Issue.record("\(result)")
            return
        }
        #expect(requests.count == 1)
    }

    @Test func anAnswerBeyondTheLimitIsCutOff() async throws {
        let body = String(repeating: "x", count: 10 << 20)
        let (result, _) = try await post(http("200 OK", "", body))
        guard case .failure(.tooLarge) = result else {
            Issue.record("an answer of 10 MB was read")
            return
        }
    }

    @Test func whatIsNoHTTPIsAnError() async throws {
        let (result, _) = try await post(.bytes(Array("SSH-2.0-OpenSSH\r\n\r\n".utf8)))
        guard case .failure(.unreachable) = result else {
            Issue.record("\(result)")
            return
        }
    }

    @Test func aRefusedConnectionIsToldAtOnce() async throws {
        let transport = HTTPHookTransport(timeout: Self.longEnough)
        // Port 1 of loopback: nobody listens there.
        await #expect {
            _ = try await transport.post(HookPost(url: "http://127.0.0.1:1/x", body: Array("{}".utf8)))
        } throws: { error in
            if case .unreachable? = error as? HookFailure { true } else { false }
        }
        await transport.shutdown()
    }

    @Test func aCancelledPostEnds() async throws {
        let transport = HTTPHookTransport(timeout: .seconds(600))
        try await RawBackend.run(.nothing) { backend in
            let url = backend.url
            let posting = Task { () -> Bool in
                do throws(HookFailure) {
                    _ = try await transport.post(HookPost(url: url, body: Array("{}".utf8)))
                    return false
                } catch {
                    return true
                }
            }
            try await backend.requests.wait { $0.count == 1 }
            posting.cancel()
            #expect(await posting.value)
        }
        await transport.shutdown()
    }
}
