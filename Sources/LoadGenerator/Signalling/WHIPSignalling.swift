import FoundationEssentials
import NIOCore
import NIOHTTP1
import NIOPosix

/// WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep): a POST creates a stream, a DELETE of its `Location` ends it.
package final class WHIPSignalling: Signalling {
    package struct Settings: Sendable {
        /// Where publishers POST to; `{name}` stands for the stream's name.
        package var publishURL: String
        /// Where players POST to; `{name}` stands for the stream's name.
        package var playURL: String
        /// For `Authorization: Bearer`.
        package var token: String?
        /// Certificates are not verified.
        package var insecure = false
        package var connections = 64
        /// For each request, connecting included.
        package var timeout = Duration.seconds(10)
        /// Of waits; only the system knows when connecting takes too long.
        package var clock: any Clock<Duration> = ContinuousClock()

        /// Weir's paths under an address like `http://HOST:8080`.
        package init(base: String) {
            let trimmed = base.hasSuffix("/") ? String(base.dropLast()) : base
            self.init(publishURL: trimmed + "/whip/{name}", playURL: trimmed + "/whep/{name}")
        }

        package init(publishURL: String, playURL: String) {
            self.publishURL = publishURL
            self.playURL = playURL
        }
    }

    private let settings: Settings
    private let client: HTTPClient

    /// - Throws: `SignallingFailure` for addresses that cannot be used.
    package init(
        _ settings: Settings, group: any EventLoopGroup = MultiThreadedEventLoopGroup.singleton
    ) throws(SignallingFailure) {
        self.settings = settings
        for template in [settings.publishURL, settings.playURL] {
            guard template.contains(Self.placeholder) else {
                throw SignallingFailure(
                    .badAddress, "\"\(template)\": write {name} where the stream's name belongs")
            }
            guard try !Self.url(template, name: "x").scheme.isWebSocket else {
                throw SignallingFailure(.badAddress, "\"\(template)\": WHIP and WHEP need http:// or https://")
            }
        }
        let dialer = try Dialer(group: group, insecure: settings.insecure, connectTimeout: settings.timeout)
        client = HTTPClient(
            dialer: dialer, connections: settings.connections, timeout: settings.timeout, clock: settings.clock)
    }

    package func publish(name: String, offer: String) async throws -> SignalledSession {
        try await create(Self.url(settings.publishURL, name: name), offer)
    }

    package func play(name: String, offer: String) async throws -> SignalledSession {
        try await create(Self.url(settings.playURL, name: name), offer)
    }

    package func close() async { await client.close() }

    /// HTTP does not tell.
    package var lostSessions: LostSessions { LostSessions() }

    /// The `Server` header of `GET /health`, with `version` of its body where there is one.
    package func serverVersion() async -> String? {
        guard let origin = try? Self.url(settings.playURL, name: "x") else { return nil }
        let request = HTTPRequest(method: .GET, url: origin.replacing(target: "/health"))
        guard let reply = try? await client.exchange(request) else { return nil }
        let body = try? JSONDecoder().decode(HealthBody.self, from: Data(reply.body.utf8))
        let parts = [reply.headers.first(name: "Server"), body?.version].compactMap(\.self)
        return parts.isEmpty ? nil : parts.joined(separator: " ")
    }

    private struct HealthBody: Decodable {
        var version: String?
    }

    // MARK: Requests

    private static let placeholder = "{name}"
    private static let sdpType = "application/sdp"

    private static func url(_ template: String, name: String) throws(SignallingFailure) -> ServiceURL {
        try ServiceURL(template.replacing(placeholder, with: ServiceURL.encode(name)))
    }

    private func create(_ url: ServiceURL, _ offer: String) async throws -> SignalledSession {
        let headers: HTTPHeaders = ["Content-Type": Self.sdpType, "Accept": Self.sdpType]
        let reply = try await client.exchange(
            HTTPRequest(method: .POST, url: url, headers: authorised(headers), body: offer))
        // RFC 9725 §4.2 asks for 201; servers that say 200 can be measured, too.
        guard (200..<300).contains(reply.status.code) else {
            throw SignallingFailure(
                .refused, "POST \(url): \(reply.status)\(Self.detail(reply))", status: Int(reply.status.code))
        }
        guard reply.body.hasPrefix("v=0") else {
            throw SignallingFailure(
                .protocolViolation, "POST \(url): \(reply.status), but the body is no SDP",
                status: Int(reply.status.code))
        }
        // Without a place to DELETE the server finds out by itself: from the DTLS close_notify or from silence.
        guard let location = reply.headers.first(name: "Location"), let session = try? url.resolving(location) else {
            return SignalledSession(answer: reply.body) {}
        }
        let request = HTTPRequest(method: .DELETE, url: session, headers: authorised([:]))
        return SignalledSession(answer: reply.body) { [client] in
            _ = try? await client.exchange(request)
        }
    }

    private func authorised(_ headers: HTTPHeaders) -> HTTPHeaders {
        guard let token = settings.token else { return headers }
        var headers = headers
        headers.add(name: "Authorization", value: "Bearer \(token)")
        return headers
    }

    // MARK: What went wrong

    /// Longest text of a server that goes into an error.
    private static let detailLimit = 300

    private struct ProblemBody: Decodable {
        var title: String?
        var detail: String?
        var remedy: String?
    }

    /// Problem details (RFC 9457), or the beginning of whatever came.
    private static func detail(_ reply: HTTPReply) -> String {
        let isJSON = reply.headers.first(name: "Content-Type")?.lowercased().contains("json") ?? false
        if isJSON, let problem = try? JSONDecoder().decode(ProblemBody.self, from: Data(reply.body.utf8)) {
            let texts = [problem.detail ?? problem.title, problem.remedy].compactMap(\.self)
            if !texts.isEmpty { return ": " + texts.joined(separator: " ") }
        }
        let text = reply.body.split(whereSeparator: \.isNewline).joined(separator: " ")
        return text.isEmpty ? "" : ": \(text.prefix(detailLimit))"
    }
}
