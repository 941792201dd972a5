import ControlPlane
import Foundation
import HTTPTypes
import Hummingbird
import Logging
import NIOCore

/// WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep): `/whip/NAME` publishes, `/whep/NAME` plays, both create a session
/// at `/whip/NAME/ID` or `/whep/NAME/ID`.
struct WebRTCRoutes: Sendable {
    static let sdpType = "application/sdp"

    let control: ControlPlane
    let sessions: WebRTCSessions
    let configuration: HTTPConfiguration
    let logger: Logger

    func add(to router: Router<HTTPContext>) {
        for kind in [SessionKind.whip, .whep] {
            // The resources have no representation, so GET succeeds with nothing (RFC 9725 §4.1).
            router.serve(
                "/\(kind.rawValue)/{name}",
                [
                    .post: { try await create(kind, $0, $1) },
                    .options: { request, _ in optionsOfEndpoint(request) },
                    .get: { _, _ in Response(status: .noContent) },
                    .head: { _, _ in Response(status: .noContent) },
                ])
            router.serve(
                "/\(kind.rawValue)/{name}/{id}",
                [
                    .patch: { try await patch(kind, $0, $1) },
                    .delete: { try await delete(kind, $0, $1) },
                    .options: { _, _ in optionsOfSession() },
                    .get: { request, context in
                        _ = try session(kind, request, context)
                        return Response(status: .noContent)
                    },
                    .head: { request, context in
                        _ = try session(kind, request, context)
                        return Response(status: .noContent)
                    },
                ])
        }
    }

    // MARK: Creating a session

    private enum Outcome: Sendable {
        case answer(String)
        case failed(StreamStatusEvent)
        case ended(SessionCloseReason?)
    }

    private func create(_ kind: SessionKind, _ request: Request, _ context: HTTPContext) async throws -> Response {
        let name = try streamName(context)
        try expect(Self.sdpType, in: request, acceptedBy: .acceptPost)
        let token = try BearerToken.read(request.headers)
        let offer = try await text(of: request, limit: configuration.bodyLimit)
        guard offer.hasPrefix("v=0") else {
            throw Problem(.badRequest, "The body is no SDP", remedy: "Send an SDP offer; it begins with v=0.")
        }
        let address = configuration.trustedProxies.client(
            peer: context.remoteText, forwardedFor: request.headers[values: .xForwardedFor])
        let client: ClientSession
        do {
            client = try await control.openSession(
                WebRTCConnect.request(request, kind: kind, address: address, local: context.localText, token: token))
        } catch {
            throw Problem(error)
        }
        let stream = StreamRequest(
            mediaSessionId: UUID().uuidString.lowercased(), name: name, sdp: offer,
            hasAudio: offer.contains("m=audio"), hasVideo: offer.contains("m=video"))
        do {
            let answer = try await answered(client, kind, stream, token)
            // Unguessable: whoever knows the URL may end the session (RFC 9725 §5).
            let session = WebRTCSession(
                id: Token.make(), kind: kind, streamName: name, mediaSessionId: stream.mediaSessionId,
                client: client, offer: offer, answer: answer)
            let tag = await session.entityTag
            sessions.insert(session)
            logger.info(
                "\(kind.rawValue) session created",
                metadata: ["session": "\(client.id)", "stream": "\(StreamName.shown(name))", "address": "\(address)"])
            return created(session, tag, answer)
        } catch {
            await client.close(.clientClosed)
            throw error
        }
    }

    /// A request whose token is not good is told so for programs (RFC 6750 §3.1).
    private func answered(
        _ client: ClientSession, _ kind: SessionKind, _ stream: StreamRequest, _ token: String?
    ) async throws -> String {
        do {
            return try await answer(client, kind, stream)
        } catch var problem as Problem where token != nil && problem.status == .unauthorized {
            problem.headers[.wwwAuthenticate] = BearerToken.invalidChallenge
            throw problem
        }
    }

    /// Publishes or plays and waits for our SDP.
    private func answer(_ client: ClientSession, _ kind: SessionKind, _ stream: StreamRequest) async throws -> String {
        let outcome: Outcome? = try await withTimeout(configuration.answerTimeout) {
            kind == .whip ? await client.publish(stream) : await client.play(stream)
            for await event in client.events {
                switch event {
                case .remoteSDP(_, let sdp): return .answer(sdp)
                case .status(let status) where status.status.isTerminal: return .failed(status)
                case .closing(let reason): return .ended(reason)
                default: continue
                }
            }
            return .ended(nil)
        }
        switch outcome {
        case .answer(let sdp): return sdp
        case .failed(let event): throw Problem(failed: event)
        case .ended(.shutdown): throw Problem(SignallingError.shuttingDown)
        case .ended:
            throw Problem(
                .serviceUnavailable, "The session ended before it was answered", remedy: "Try again.",
                headers: [.retryAfter: Problem.retrySoon])
        case nil:
            throw Problem(
                .serviceUnavailable, "The offer was not answered in time",
                remedy: "Try again; if it lasts, tell the operator.",
                headers: [.retryAfter: Problem.retryLater])
        }
    }

    private func created(_ session: WebRTCSession, _ tag: String, _ answer: String) -> Response {
        var headers: HTTPFields = [.contentType: Self.sdpType]
        headers[.location] = "/\(session.kind.rawValue)/\(PathSegment.encode(session.streamName))/\(session.id)"
        headers[.eTag] = tag
        headers[.acceptPatch] = ICEFragment.contentType
        headers[.cacheControl] = "no-store"
        addLinks(to: &headers)
        return Response(
            status: .created, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(string: answer)))
    }

    // MARK: A session's life

    private func patch(_ kind: SessionKind, _ request: Request, _ context: HTTPContext) async throws -> Response {
        let session = try session(kind, request, context)
        try expect(ICEFragment.contentType, in: request, acceptedBy: .acceptPatch)
        guard let header = request.headers[.ifMatch] else {
            throw Problem(
                .preconditionRequired, "If-Match is missing",
                remedy: "Send If-Match with the ETag of the last answer, or If-Match: * to restart ICE.")
        }
        guard let condition = EntityTag.parse(header) else {
            throw Problem(
                .badRequest, "If-Match is no list of entity tags", remedy: "Quote the tag: If-Match: \"TAG\".")
        }
        let body = try await text(of: request, limit: min(configuration.bodyLimit, ICEFragment.maxBytes))
        let fragment: ICEFragment
        do {
            fragment = try ICEFragment(parsing: body)
        } catch {
            throw Problem(fragment: error)
        }
        switch try await session.patch(fragment, ifMatch: condition) {
        case .trickled:
            return Response(status: .noContent)
        case .restarted(let fragment, let tag):
            return Response(
                status: .ok, headers: [.contentType: ICEFragment.contentType, .eTag: tag],
                body: ResponseBody(byteBuffer: ByteBuffer(string: fragment)))
        }
    }

    /// Ends the stream before it answers, so that a name is free when the client knows of it.
    private func delete(_ kind: SessionKind, _ request: Request, _ context: HTTPContext) async throws -> Response {
        let session = try session(kind, request, context)
        guard sessions.remove(session) else { throw Self.noSession }
        await session.client.stop(mediaSessionId: session.mediaSessionId)
        await session.client.close(.clientClosed)
        return Response(status: .ok)
    }

    private func session(
        _ kind: SessionKind, _ request: Request, _ context: HTTPContext
    ) throws(Problem) -> WebRTCSession {
        let name = try streamName(context)
        guard let id = context.parameters.get("id"),
            let session = sessions.find(id, kind: kind, streamName: name)
        else { throw Self.noSession }
        return session
    }

    private static var noSession: Problem {
        Problem(.notFound, "There is no such session", remedy: "It has ended; create a new one by POST.")
    }

    // MARK: OPTIONS

    /// RFC 9725 §4.2: 200 with `Accept-Post`. ICE servers are told only to those who ask before they POST, not to the
    /// preflights of browsers (§4.6).
    private func optionsOfEndpoint(_ request: Request) -> Response {
        var headers: HTTPFields = [.acceptPost: Self.sdpType, .allow: "POST, GET, HEAD, OPTIONS"]
        if !CORSPolicy.isPreflight(request) { addLinks(to: &headers) }
        return Response(status: .ok, headers: headers)
    }

    private func optionsOfSession() -> Response {
        Response(
            status: .ok,
            headers: [.acceptPatch: ICEFragment.contentType, .allow: "PATCH, DELETE, GET, HEAD, OPTIONS"])
    }

    private func addLinks(to headers: inout HTTPFields) {
        for server in configuration.iceServers {
            headers.append(HTTPField(name: .link, value: server.link))
        }
    }

    // MARK: Reading requests

    private func streamName(_ context: HTTPContext) throws(Problem) -> String {
        guard let name = context.parameters.get("name").flatMap(PathSegment.decode) else {
            throw Problem(.badRequest, "The stream name is not readable", remedy: "Percent-encode it as UTF-8.")
        }
        switch StreamName.check(name) {
        case .valid, .url: return name
        case .bad(let why): throw Problem(.badRequest, why, remedy: "Choose another name.")
        }
    }

    private func expect(
        _ type: String, in request: Request, acceptedBy field: HTTPField.Name
    ) throws(Problem) {
        let sent = request.headers[.contentType] ?? ""
        let essence = sent.prefix { $0 != ";" }.filter { $0 != " " && $0 != "\t" }.lowercased()
        guard essence == type else {
            throw Problem(
                .unsupportedMediaType, "Content-Type is \(sent.isEmpty ? "missing" : "\"\(essence.prefix(100))\"")",
                remedy: "Send Content-Type: \(type).", headers: [field: type])
        }
    }

    private func text(of request: Request, limit: Int) async throws -> String {
        let tooLarge = Problem(
            .contentTooLarge, "The body is larger than \(limit) bytes",
            remedy: "Offer fewer codecs and candidates.")
        if let length = request.headers[.contentLength].flatMap({ Int($0) }), length > limit { throw tooLarge }
        let buffer: ByteBuffer?
        do {
            buffer = try await withTimeout(configuration.bodyTimeout) { try await request.body.collect(upTo: limit) }
        } catch is NIOTooManyBytesError {
            throw tooLarge
        }
        guard let buffer else {
            throw Problem(.requestTimeout, "The body did not arrive in time", remedy: "Send the request again.")
        }
        guard buffer.readableBytes > 0 else {
            throw Problem(.badRequest, "The body is empty", remedy: "Send the description as the body.")
        }
        guard let text = String(validating: buffer.readableBytesView, as: UTF8.self) else {
            throw Problem(.badRequest, "The body is not UTF-8", remedy: "Send text in UTF-8.")
        }
        return text
    }
}

extension Problem {
    /// RFC 9725 §4.3.1: a malformed fragment is 400, one that cannot be served 422.
    fileprivate init(fragment error: ICEFragment.ParseError) {
        switch error {
        case .malformed(let line, let why):
            self.init(.badRequest, "Line \(line): \(why)", remedy: "Send an SDP fragment as in RFC 8840 §9.")
        case .tooMany(let what):
            self.init(.contentTooLarge, "There are too many \(what)", remedy: "Send fewer at a time.")
        case .severalSessions:
            self.init(
                .unprocessableContent, "The fragment names several ICE sessions",
                remedy: "Offer all media in one BUNDLE group, as WHIP asks.")
        }
    }
}

/// Stream names in paths.
enum PathSegment {
    private static let unreserved = CharacterSet(
        charactersIn: "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")

    static func encode(_ text: String) -> String {
        text.addingPercentEncoding(withAllowedCharacters: unreserved) ?? text
    }

    /// nil when the escapes are broken or are no UTF-8.
    static func decode(_ text: String) -> String? { text.removingPercentEncoding }
}
