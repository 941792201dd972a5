import Foundation
import HLS
import HTTPTypes
import Synchronization
import WeirMetrics

/// What HLS answers, whichever way a request came: sessions, caching, ranges, compression, other origins.
///
/// Only the playlists ask for a session. Segments and parts have names that cannot be guessed and are the same for all
/// viewers, so that a cache in front needs each of them once.
final class HLSDesk: Sendable {
    static let playlistType = "application/vnd.apple.mpegurl"
    static let sessionCookie = "weir_hls"
    static let sessionParameter: StaticString = "s"
    static let methods = "GET, HEAD, OPTIONS"
    private static let maxCookies = 64
    /// Names are used once, so what has one never changes. Caches may keep it longer than any window lasts for.
    private static let immutable = "public, max-age=3600, immutable"
    /// Kinds of playlists whose header fields are kept: target durations and flags, some eight for each.
    private static let maxPlaylistKinds = 256

    enum MediaKind: Hashable, CaseIterable {
        case map, segment, transportStream

        init(_ resource: HLSPath.Resource, isTransportStream: Bool) {
            if case .map = resource { self = .map } else { self = isTransportStream ? .transportStream : .segment }
        }

        var type: String {
            switch self {
            case .map: "video/mp4"
            case .segment: "video/iso.segment"
            case .transportStream: "video/mp2t"
            }
        }
    }

    private struct PlaylistKind: Hashable {
        var caching: String
        var isCompressed: Bool
    }

    /// What can be said to a request now.
    enum Step {
        case answer(HLSAnswer)
        /// Ask again when that is over, unless the outcome says that it is not: then `notReady`.
        case wait(HLSStream.Wait)
    }

    let service: HLSService
    let sessions: HLSSessions
    let counters: HLSCounters
    private let media: [MediaKind: HLSFields]
    /// Of answers without content.
    private let unchanged: HLSFields
    private let outside: HLSFields
    /// Of answers that say what is wrong.
    private let plain: HLSFields
    private let playlists = Mutex<[PlaylistKind: HLSFields]>([:])
    private let allowsAll: Bool

    init(service: HLSService, metrics: MetricsRegistry) {
        self.service = service
        sessions = HLSSessions(lifetime: service.sessionLifetime)
        counters = HLSCounters(metrics)
        let allowsAll = service.corsOrigins.contains("*")
        self.allowsAll = allowsAll
        func fields(_ fields: HTTPFields) -> HLSFields { HLSFields(Self.withOrigins(fields, allowsAll: allowsAll)) }
        media = Dictionary(
            uniqueKeysWithValues: MediaKind.allCases.map { kind in
                let all: HTTPFields = [
                    .contentType: kind.type, .cacheControl: Self.immutable, .acceptRanges: "bytes",
                    .xContentTypeOptions: "nosniff",
                ]
                return (kind, fields(all))
            })
        unchanged = fields([
            .cacheControl: Self.immutable, .acceptRanges: "bytes", .xContentTypeOptions: "nosniff",
        ])
        outside = fields([.cacheControl: "no-store", .acceptRanges: "bytes", .xContentTypeOptions: "nosniff"])
        plain = fields([:])
    }

    // MARK: Which stream, and who asks

    /// The stream, if nobody has to be asked about it or about the viewer.
    ///
    /// - Parameter known: of the connection.
    func streamNow(_ request: HLSRequest, known: inout HLSSessions.Known?) -> HLSStream? {
        switch request.path.resource {
        case .multivariant: return nil
        case .playlist:
            let viewer = session(of: request, known: &known)
            guard viewer != nil || !needsSession(request.path),
                let stream = service.backend.running(named: request.path.stream), !stream.isEnded
            else { return nil }
            stream.touch(viewer: viewer?.id)
            return stream
        case .map, .segment, .part:
            let stream = service.backend.running(named: request.path.stream)
            stream?.touch(viewer: nil)
            return stream
        }
    }

    /// Whether media playlists, too, are only for viewers who were let in. Those of URLs always are: the server would
    /// connect to wherever they say for anybody.
    func needsSession(_ path: HLSPath) -> Bool { service.needsSession() || path.isOfURL }

    func session(of request: HLSRequest) -> HLSSessions.Session? {
        var known: HLSSessions.Known?
        return session(of: request, known: &known)
    }

    /// - Parameter known: the session that was last seen where the request came from.
    private func session(of request: HLSRequest, known: inout HLSSessions.Known?) -> HLSSessions.Session? {
        let (name, now) = (request.path.stream, Self.now)
        if let text = request.parameter(Self.sessionParameter),
            let session = sessions.read(text, stream: name, now: now, known: &known)
        {
            return session
        }
        for line in request.fields.cookies {
            for pair in line.split(separator: ";").prefix(Self.maxCookies) {
                let parts = pair.split(separator: "=", maxSplits: 1)
                guard parts.count == 2, parts[0].drop(while: { $0 == " " }) == Self.sessionCookie else { continue }
                if let session = sessions.read(String(parts[1]), stream: name, now: now, known: &known) {
                    return session
                }
            }
        }
        return nil
    }

    /// Seconds since 1970.
    static var now: Int64 { Int64(Date().timeIntervalSince1970) }

    // MARK: Answers

    /// A media playlist, or what it names.
    func step(_ request: HLSRequest, _ stream: HLSStream) -> Step {
        switch request.path.resource {
        case .multivariant: return .answer(answer(Self.noResource, request))
        case .playlist(let rendition): return playlist(request, stream, rendition)
        case .map, .segment, .part:
            switch stream.mediaNow(request.path.resource) {
            case .wait(let wait): return .wait(wait)
            case .reply(.media(let media)): return .answer(answer(media, request, stream))
            case .reply(.unavailable): return .answer(answer(Self.notReady, request))
            case .reply(.notFound): return .answer(answer(Self.noResource, request))
            }
        }
    }

    private func playlist(_ request: HLSRequest, _ stream: HLSStream, _ rendition: String) -> Step {
        let directives: DeliveryDirectives
        switch request.directives {
        case .success(let found): directives = found
        case .failure(let failure):
            let problem = Problem(
                .badRequest, "The delivery directives cannot be read: \(failure)",
                remedy: "Send _HLS_msn and _HLS_part as decimal numbers, each once, and _HLS_part never alone.")
            return .answer(answer(problem, request))
        }
        switch stream.playlistNow(rendition: rendition, directives) {
        case .wait(let wait): return .wait(wait)
        case .reply(.text(let text, let isBlocking, let isEnded)):
            let caching = Self.playlistCaching(
                target: stream.settings.window.targetDuration, isBlocking: isBlocking, isEnded: isEnded,
                isOpen: !needsSession(request.path))
            return .answer(self.text(text, caching: caching, request))
        case .reply(.tooFar): return .answer(answer(Self.tooFar, request))
        case .reply(.unavailable): return .answer(answer(Self.notReady, request))
        case .reply(.refused(let reason)):
            return .answer(answer(Self.refused(reason, remedy: "Play another rendition."), request))
        case .reply(.notFound): return .answer(answer(Self.noResource, request))
        }
    }

    /// How long a playlist may be kept (RFC 8216bis appendix B.1): one that was asked for by number has its final
    /// answer; another one is old after half a target duration.
    ///
    /// - Parameter isOpen: everybody may have it; else each viewer asks for its own, and no shared cache gives it to others.
    static func playlistCaching(target: Int, isBlocking: Bool, isEnded: Bool, isOpen: Bool) -> String {
        let age = isEnded || isBlocking ? 6 * target : max(1, target / 2)
        return "\(isOpen ? "public" : "private"), max-age=\(age)"
    }

    /// A playlist, compressed if the client takes that.
    func text(_ text: any StoredBytes, caching: String, _ request: HLSRequest) -> HLSAnswer {
        let text = HLSBytes.of(text)
        let gzip = AcceptEncoding.takesGzip(request.fields.acceptEncoding) ? text.gzip : nil
        let fields = playlistFields(PlaylistKind(caching: caching, isCompressed: gzip != nil))
        return answer(.ok, fields, body: .buffer(gzip ?? text.buffer), request)
    }

    private func playlistFields(_ kind: PlaylistKind) -> HLSFields {
        playlists.withLock { playlists in
            if let known = playlists[kind] { return known }
            var all: HTTPFields = [
                .contentType: Self.playlistType, .cacheControl: kind.caching, .vary: "Accept-Encoding",
                .xContentTypeOptions: "nosniff",
            ]
            if kind.isCompressed { all[.contentEncoding] = "gzip" }
            let fields = HLSFields(Self.withOrigins(all, allowsAll: allowsAll))
            if playlists.count < Self.maxPlaylistKinds { playlists[kind] = fields }
            return fields
        }
    }

    /// A part, a segment or an initialisation section, or the range of it that is asked for (RFC 9110 §14).
    private func answer(_ bytes: MediaBytes, _ request: HLSRequest, _ stream: HLSStream) -> HLSAnswer {
        let count = bytes.count
        if !request.isHead { counters.bytes.increment(by: UInt64(count)) }
        // A name is used once, so it tells versions apart.
        let name = request.path.resource.fileName()
        let tag = "\"\(name)\""
        if let condition = request.fields.ifNoneMatch.flatMap(EntityTag.parse), EntityTag.matchesWeakly(condition, tag)
        {
            return answer(.notModified, unchanged, own: [.eTag: tag], request)
        }
        let kind = MediaKind(request.path.resource, isTransportStream: stream.isTransportStream)
        let fields = media[kind] ?? plain
        guard let wanted = request.fields.range, request.fields.ifRange.map({ $0 == tag }) ?? true else {
            var whole = answer(.ok, fields, own: [.eTag: tag], body: Self.body(bytes, 0..<count), request)
            if whole.own.count == 1 { whole.commonName = name }
            return whole
        }
        switch ByteRange.parse(wanted, size: Int64(count)) {
        case .whole: return answer(.ok, fields, own: [.eTag: tag], body: Self.body(bytes, 0..<count), request)
        case .part(let part):
            let own: HTTPFields = [
                .eTag: tag, .contentRange: "bytes \(part.lowerBound)-\(part.upperBound)/\(count)",
            ]
            let range = Int(part.lowerBound)..<Int(part.upperBound) + 1
            return answer(.partialContent, fields, own: own, body: Self.body(bytes, range), request)
        case .outside:
            return answer(
                .rangeNotSatisfiable, outside, own: [.eTag: tag, .contentRange: "bytes */\(count)"], request)
        }
    }

    private static func body(_ bytes: MediaBytes, _ range: Range<Int>) -> HLSAnswer.Body {
        switch bytes {
        case .file(let stretch): return .file(stretch, range)
        case .memory(let pieces):
            var found: [HLSAnswer.Piece] = []
            var start = 0
            for piece in pieces {
                // What of the range is in this piece.
                let first = max(range.lowerBound, start)
                let end = min(range.upperBound, start + piece.count)
                if first < end { found.append(.init(bytes: .of(piece), range: first - start..<end - start)) }
                start += piece.count
            }
            return .pieces(found)
        }
    }

    func answer(_ problem: Problem, _ request: HLSRequest) -> HLSAnswer {
        answer(problem.status, plain, own: problem.fields, body: .buffer(problem.body), request)
    }

    private func answer(
        _ status: HTTPResponse.Status, _ shared: HLSFields, own: HTTPFields = [:], body: HLSAnswer.Body = .none,
        _ request: HLSRequest
    ) -> HLSAnswer {
        var own = own
        if !allowsAll, let origin = request.fields.origin { own.append(contentsOf: originFields(origin)) }
        return HLSAnswer(status: status, shared: shared, own: own, body: body)
    }

    // MARK: Other origins

    /// Pages of other origins may read what they could load anyway; with a session of their own only, so no credentials.
    private static func withOrigins(_ fields: HTTPFields, allowsAll: Bool) -> HTTPFields {
        var fields = fields
        if allowsAll {
            fields[.accessControlAllowOrigin] = "*"
            fields[.accessControlExposeHeaders] = exposed
        } else {
            fields[.vary] = fields[.vary].map { "\($0), Origin" } ?? "Origin"
        }
        return fields
    }

    private func originFields(_ origin: String) -> HTTPFields {
        guard service.corsOrigins.contains(origin) else { return [:] }
        return [.accessControlAllowOrigin: origin, .accessControlExposeHeaders: Self.exposed]
    }

    /// What pages of that origin are told beside an answer that is not of this desk.
    func originFields(beside fields: HTTPFields, origin: String?) -> HTTPFields {
        var fields = Self.withOrigins(fields, allowsAll: allowsAll)
        if !allowsAll, let origin { fields.append(contentsOf: originFields(origin)) }
        return fields
    }

    private static let exposed = "Content-Length, Content-Range, ETag, Retry-After, Date, Age, X-Server-Time"

    // MARK: What is wrong

    static let notReady = Problem(
        .serviceUnavailable, "The stream is not ready yet", remedy: "Try again.",
        headers: [.retryAfter: Problem.retrySoon])
    static let noResource = Problem(
        .notFound, "There is no such part of the stream, or no longer", remedy: "Load the playlist again.")
    static func refused(_ reason: String, remedy: String) -> Problem {
        Problem(.serviceUnavailable, reason, remedy: remedy, headers: [.retryAfter: Problem.retryLater])
    }

    private static let tooFar = Problem(
        .badRequest, "There is no such segment for long", remedy: "Load the playlist without _HLS_msn first.")
}
