import ControlPlane
import Foundation
import HLS
import HTTPTypes
import Hummingbird
import Logging
import NIOCore

/// HLS: `GET /NAME/NAME.m3u8` and what its playlists name. A middleware and not routes, since a stream may be called
/// like a path of ours: what is no path of HLS goes on to the routes.
///
/// Requests come here for what needs time: viewers who have no session yet, streams whose output begins with them, media
/// on disk, HTTP/2. `HLSConnection` answers the others.
struct HLSRoutes: RouterMiddleware {
    private let desk: HLSDesk
    private let logger: Logger
    /// First components of paths that go on to the routes.
    private let reserved: Set<String>

    private var service: HLSService { desk.service }
    private var sessions: HLSSessions { desk.sessions }

    init(desk: HLSDesk, reserved: Set<String> = [], logger: Logger) {
        self.desk = desk
        self.reserved = reserved
        self.logger = logger
    }

    func handle(
        _ request: Request, context: HTTPContext, next: (Request, HTTPContext) async throws -> Response
    ) async throws -> Response {
        guard let path = HLSPath(request.uri.path), !reserved.contains(path.stream) else {
            return try await next(request, context)
        }
        switch request.method {
        case .get, .head:
            let wanted = HLSRequest(request, path: path)
            do {
                return try await answer(request, wanted, context).response(isHead: wanted.isHead)
            } catch {
                logger.error("HLS request failed", metadata: ["peer": "\(context.remoteText)", "error": "\(error)"])
                let problem = Problem(
                    .internalServerError, "The request failed inside of the server", remedy: "Tell the operator.")
                return try await desk.answer(problem, wanted).response(isHead: wanted.isHead)
            }
        case .options:
            return besides(Response(status: .noContent, headers: [.allow: HLSDesk.methods]), request)
        default:
            let problem = Problem(
                .methodNotAllowed, "\(request.method.rawValue) is not served here",
                remedy: "Use one of: \(HLSDesk.methods).",
                headers: [.allow: HLSDesk.methods])
            return besides(problem.response(), request)
        }
    }

    private func besides(_ response: Response, _ request: Request) -> Response {
        var response = response
        response.headers = desk.originFields(beside: response.headers, origin: request.headers[.origin])
        guard CORSPolicy.isPreflight(request), response.headers[.accessControlAllowOrigin] != nil else {
            return response
        }
        response.headers[.accessControlAllowMethods] = HLSDesk.methods
        response.headers[.accessControlAllowHeaders] = "Range, If-None-Match, If-Range"
        response.headers[.accessControlMaxAge] = CORSPolicy.preflightSeconds
        return response
    }

    private func answer(_ request: Request, _ wanted: HLSRequest, _ context: HTTPContext) async throws -> HLSAnswer {
        desk.counters.requests(wanted.path.resource).increment()
        do {
            switch wanted.path.resource {
            case .multivariant: return try await multivariant(request, wanted, context)
            case .playlist: return try await playlist(request, wanted, context)
            case .map, .segment, .part:
                guard let stream = service.backend.running(named: wanted.path.stream) else {
                    throw HLSDesk.noResource
                }
                stream.touch(viewer: nil)
                return await finish(wanted, stream)
            }
        } catch let problem as Problem {
            return desk.answer(problem, wanted)
        }
    }

    private func finish(_ wanted: HLSRequest, _ stream: HLSStream) async -> HLSAnswer {
        while true {
            switch desk.step(wanted, stream) {
            case .answer(let answer): return answer
            case .wait(let wait):
                guard await stream.wait(wait) == .go else { return desk.answer(HLSDesk.notReady, wanted) }
            }
        }
    }

    // MARK: Playlists

    private func multivariant(
        _ request: Request, _ wanted: HLSRequest, _ context: HTTPContext
    ) async throws -> HLSAnswer {
        let name = wanted.path.stream
        let session = try await admit(request, wanted, context)
        let stream = try await find(name)
        stream.touch(viewer: session.id)
        guard let list = await stream.multivariant(), !list.variants.isEmpty else { throw HLSDesk.notReady }
        let text = HLSBytes(list.text(query: "\(HLSDesk.sessionParameter)=\(session.text)"))
        // It names the viewer: nobody else may be given it.
        var answer = desk.text(text, caching: "private, no-store", wanted)
        // For the delay that a player shows, against EXT-X-PROGRAM-DATE-TIME.
        answer.own[.xServerTime] = String(Int64(Date().timeIntervalSince1970 * 1_000))
        let cookiePath = "/\(HLSPath.encode(name))/"
        answer.own[.setCookie] =
            "\(HLSDesk.sessionCookie)=\(session.text); Path=\(cookiePath); Max-Age=\(session.seconds); "
            + "HttpOnly; SameSite=Lax"
        return answer
    }

    private func playlist(
        _ request: Request, _ wanted: HLSRequest, _ context: HTTPContext
    ) async throws -> HLSAnswer {
        var viewer = desk.session(of: wanted)
        if viewer == nil, desk.needsSession(wanted.path) { viewer = try await admit(request, wanted, context) }
        let stream = try await find(wanted.path.stream)
        stream.touch(viewer: viewer?.id)
        return await finish(wanted, stream)
    }

    private func find(_ name: String) async throws(Problem) -> HLSStream {
        switch await service.backend.stream(named: name) {
        case .stream(let stream): return stream
        case .notFound:
            throw Problem(.notFound, "Stream not found", remedy: "Check the name, or start the publisher first.")
        case .refused(let reason):
            throw HLSDesk.refused(reason, remedy: "Play it by WebRTC, or ask the operator.")
        }
    }

    // MARK: Who it is

    /// The viewer's session, from the query or the cookie, or a new one if the backend agrees.
    private func admit(
        _ request: Request, _ wanted: HLSRequest, _ context: HTTPContext
    ) async throws(Problem) -> HLSSessions.Session {
        if let session = desk.session(of: wanted) { return session }
        let name = wanted.path.stream
        let id = HLSSessions.makeID()
        let parameters = request.uri.queryParameters
        // Credentials of another kind are some proxy's affair.
        let bearer = try? BearerToken.read(request.headers)
        let custom = Dictionary(
            parameters.filter { !$0.key.hasPrefix("_HLS_") && $0.key != "\(HLSDesk.sessionParameter)" }
                .map { (String($0.key), String($0.value)) }, uniquingKeysWith: { first, _ in first })
        var viewer = ViewerRequest(
            method: .playHLS, sessionId: id.text, name: name, mediaSessionId: "\(id.text)-\(name)-HLS",
            token: parameters["token"].map { String($0) } ?? bearer, custom: Self.json(custom),
            userAgent: request.headers[.userAgent])
        if let key = parameters["appKey"] { viewer.appKey = String(key) }
        let admission = await service.backend.play(viewer)
        switch admission.decision {
        case .allow, .change:
            let lifetime = min(sessions.lifetime, admission.endsIn ?? sessions.lifetime)
            return sessions.open(id, stream: name, now: HLSDesk.now, lifetime: lifetime)
        case .refuse(let code, let reason):
            logger.info(
                "HLS viewer refused",
                metadata: ["stream": "\(StreamName.shown(name))", "peer": "\(context.remoteText)", "code": "\(code)"])
            // 401 whatever the backend's code is, as WCS answers; a backend that is down is told apart.
            guard code < 500 else { throw Problem(refusal: code, reason: reason) }
            throw Problem(refusal: 401, reason: reason)
        }
    }

    /// An object of strings; nil for none.
    private static func json(_ members: [String: String]) -> JSONText? {
        guard !members.isEmpty else { return nil }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return (try? encoder.encode(members)).map { JSONText(String(decoding: $0, as: UTF8.self)) }
    }
}
