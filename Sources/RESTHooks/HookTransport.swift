import AsyncHTTPClient
import Logging
import NIOCore
import NIOHTTP1

/// One POST.
package struct HookPost: Sendable {
    package var url: String
    /// Value of `Authorization`.
    package var authorization: String?
    /// Sent as it is: a signature covers these bytes.
    package var body: [UInt8]

    package init(url: String, authorization: String? = nil, body: [UInt8]) {
        self.url = url
        self.authorization = authorization
        self.body = body
    }
}

/// How hooks reach their backend.
package protocol HookTransport: Sendable {
    /// Gives up when its task is cancelled.
    /// - Throws: `.unreachable` or `.tooLarge`.
    func post(_ post: HookPost) async throws(HookFailure) -> HookReply

    func shutdown() async
}

/// Hooks over HTTP/1.1. Redirects are not followed, failed connections not tried again: a hook is sent once or not at
/// all.
package struct HTTPHookTransport: HookTransport {
    /// Backends close idle connections after 2 s (gunicorn) to 75 s; one that we keep longer breaks under a request.
    private static let idleTime = TimeAmount.milliseconds(1_500)
    /// Concurrency is bounded per application. A bound per host would make applications on one host wait for another.
    private static let connectionsPerHost = 100_000

    private let client: HTTPClient
    private let limit: TimeAmount

    /// - Parameter timeout: a bound of last resort for one POST; callers cancel earlier.
    package init(timeout: Duration) {
        let nanoseconds = Int64((timeout / .nanoseconds(1)).rounded())
        limit = .nanoseconds(nanoseconds) + .seconds(1)
        var configuration = HTTPClient.Configuration(redirectConfiguration: .disallow)
        configuration.timeout.connect = .nanoseconds(nanoseconds)
        configuration.connectionPool.idleTimeout = Self.idleTime
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit = Self.connectionsPerHost
        // Else a refused connection looks like one that takes too long.
        configuration.connectionPool.retryConnectionEstablishment = false
        configuration.httpVersion = .http1Only
        configuration.decompression = .disabled
        client = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
    }

    package func post(_ post: HookPost) async throws(HookFailure) -> HookReply {
        do {
            var request = HTTPClientRequest(url: post.url)
            request.method = .POST
            request.headers.add(name: "Content-Type", value: "application/json")
            request.headers.add(name: "Accept", value: "application/json")
            request.headers.add(name: "User-Agent", value: "weir")
            if let authorization = post.authorization {
                request.headers.add(name: "Authorization", value: authorization)
            }
            request.body = .bytes(post.body)
            let response = try await client.execute(request, timeout: limit)
            let body = try await response.body.collect(upTo: HookLimits.answerBytes)
            return HookReply(
                status: Int(response.status.code), reason: response.status.reasonPhrase,
                body: Array(body.readableBytesView))
        } catch is NIOTooManyBytesError {
            throw .tooLarge
        } catch let error as HTTPClientError where error == .deadlineExceeded || error == .connectTimeout {
            throw .timeout
        } catch {
            throw .unreachable("\(error)")
        }
    }

    package func shutdown() async { try? await client.shutdown() }
}
