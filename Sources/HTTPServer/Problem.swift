import ControlPlane
import FoundationEssentials
import HTTPTypes
import Hummingbird

/// An error as problem details (RFC 9457): what went wrong, and what the reader can do about it.
struct Problem: Error, Sendable {
    static let contentType = "application/problem+json"
    /// Seconds after which it makes sense to try again when the server is full or a stream is just starting.
    static let retryLater = "5"
    static let retrySoon = "1"

    var status: HTTPResponse.Status
    var detail: String
    var remedy: String
    var headers: HTTPFields = [:]

    init(_ status: HTTPResponse.Status, _ detail: String, remedy: String, headers: HTTPFields = [:]) {
        self.status = status
        self.detail = detail
        self.remedy = remedy
        self.headers = headers
    }

    private struct Body: Encodable {
        /// `about:blank`: the status says which kind of problem it is (RFC 9457 §4.2.1).
        let type = "about:blank"
        let title: String
        let status: Int
        let detail: String
        let remedy: String
    }

    /// As JSON.
    var body: ByteBuffer {
        let title = status.reasonPhrase.isEmpty ? "Refused" : status.reasonPhrase
        return JSONResponse.encode(Body(title: title, status: status.code, detail: detail, remedy: remedy))
    }

    var fields: HTTPFields {
        var fields = headers
        fields[.contentType] = Self.contentType
        if !fields.contains(.cacheControl) { fields[.cacheControl] = "no-store" }
        return fields
    }

    func response() -> Response {
        Response(status: status, headers: fields, body: ResponseBody(byteBuffer: body))
    }
}

/// Answers with JSON.
enum JSONResponse {
    static func make(_ value: some Encodable, status: HTTPResponse.Status = .ok) -> Response {
        let headers: HTTPFields = [.contentType: "application/json", .cacheControl: "no-store"]
        return Response(status: status, headers: headers, body: ResponseBody(byteBuffer: encode(value)))
    }

    static func encode(_ value: some Encodable) -> ByteBuffer {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        // Our bodies are made of strings and numbers which can always be encoded.
        return ByteBuffer(bytes: (try? encoder.encode(value)) ?? Data("{}".utf8))
    }
}

extension Problem {
    /// Why no session was opened.
    init(_ error: SignallingError) {
        switch error {
        case .shuttingDown:
            self.init(
                .serviceUnavailable, error.info, remedy: "Try again when the server has started anew.",
                headers: [.retryAfter: Self.retryLater])
        case .draining:
            self.init(
                .serviceUnavailable, error.info, remedy: "Use another server.",
                headers: [.retryAfter: Self.retryLater])
        case .tooManySessions:
            self.init(
                .serviceUnavailable, error.info,
                remedy: "Try again later, or ask the operator to raise limits.sessions.",
                headers: [.retryAfter: Self.retryLater])
        case .tooManySessionsFromAddress:
            self.init(
                .tooManyRequests, error.info, remedy: "End other sessions from this address, or try again later.",
                headers: [.retryAfter: Self.retryLater])
        case .unknownApplication(let key):
            self.init(.forbidden, "\(error.info): \(key)", remedy: "Ask the operator which applications may connect.")
        case .sessionDoesNotExist: self.init(.notFound, error.info, remedy: "Open a new session.")
        case .refused(let code, let reason):
            self.init(refusal: code, reason: reason)
        case .backendTimeout:
            self.init(
                .serviceUnavailable, error.info, remedy: "Try again; if it lasts, tell the operator.",
                headers: [.retryAfter: Self.retryLater])
        }
    }

    /// The backend refused with an HTTP status of its choice.
    init(refusal code: Int, reason: String) {
        let status = Self.refusalStatus(code)
        let detail = reason.isEmpty ? "The request was refused" : reason
        switch status {
        case .unauthorized:
            self.init(
                status, detail, remedy: "Send a valid token: Authorization: Bearer TOKEN.",
                headers: [.wwwAuthenticate: BearerToken.challenge])
        case .serviceUnavailable, .tooManyRequests:
            self.init(status, detail, remedy: "Try again later.", headers: [.retryAfter: Self.retryLater])
        default:
            self.init(status, detail, remedy: "Ask the operator for the right to use this stream.")
        }
    }

    /// With its phrase, which `Status(code:)` leaves out. A backend which refuses with a success or a redirect has still
    /// refused.
    private static func refusalStatus(_ code: Int) -> HTTPResponse.Status {
        let known: [HTTPResponse.Status] = [
            .badRequest, .unauthorized, .forbidden, .notFound, .notAcceptable, .conflict, .gone, .unsupportedMediaType,
            .tooManyRequests,
            .internalServerError, .badGateway, .serviceUnavailable, .gatewayTimeout,
        ]
        guard (400...599).contains(code) else { return .forbidden }
        return known.first { $0.code == code } ?? HTTPResponse.Status(code: code)
    }

    /// A stream that failed before it was answered.
    init(failed event: StreamStatusEvent) {
        let info = event.info ?? StatusInfo.failedByError.rawValue
        switch StatusInfo(rawValue: info) {
        case .noCommonCodecs:
            // RFC 9725 §4.4.3: an offer that cannot be served whole is 422 (or 400).
            self.init(
                .unprocessableContent, info,
                remedy: event.published
                    ? "Offer VP8, VP9, H264, H265 or AV1, and Opus, PCMU, PCMA or G722."
                    : "Offer the codecs in which the stream is published; /api/streams shows them.")
        case .nameInUse:
            self.init(.conflict, info, remedy: "Choose another name, or end the stream of this name first.")
        case .streamNotFound:
            self.init(.notFound, info, remedy: "Check the name, or start the publisher first.")
        case .publishStreamNotReady:
            self.init(
                .conflict, info, remedy: "The publisher is still connecting; try again.",
                headers: [.retryAfter: Self.retrySoon])
        case .noAgentStorage:
            self.init(
                .unprocessableContent, info,
                remedy: "Streams named by a URL of this kind are not served; use a plain name, or vod:// with a file's."
            )
        case .fileNotFound:
            self.init(.notFound, info, remedy: "Check the name: it is that of a file in the server's media folder.")
        case .fileWrongFormat:
            self.init(
                .unsupportedMediaType, info,
                remedy: "Use MP4, MKV, WebM or TS with H264, H265, VP8, VP9 or AV1, and with Opus, AAC, PCMU or PCMA.")
        case .failedToReadFile, .fileStreamingException:
            self.init(.internalServerError, info, remedy: "Try again; if it lasts, the operator's log says why.")
        case .transcodingDisabled:
            self.init(
                .notAcceptable, info,
                remedy: "Use a file without B frames, or ask the operator to allow vod.transcodings.")
        case .noTranscoders:
            self.init(
                .serviceUnavailable, info, remedy: "Others are being transcoded; try again later.",
                headers: [.retryAfter: Self.retryLater])
        default:
            self.init(code: event.code, info: info)
        }
    }

    private init(code: StatusCode?, info: String) {
        switch code?.rawValue ?? 500 {
        case 400:
            self.init(.badRequest, info, remedy: "Send a valid SDP offer and a valid stream name.")
        case 408, 503:
            self.init(
                .serviceUnavailable, info, remedy: "The server is full or busy; try again later.",
                headers: [.retryAfter: Self.retryLater])
        case 500:
            self.init(.internalServerError, info, remedy: "Try again; if it lasts, tell the operator.")
        case let code:
            self.init(refusal: code, reason: info)
        }
    }
}
