import HTTPTypes
import Hummingbird
import Logging
import WeirMetrics

typealias Handler = @Sendable (Request, HTTPContext) async throws -> Response

extension Router where Context == HTTPContext {
    /// Methods that a route answers, be it with 405; others are 501 (RFC 9110 §9.1).
    static var knownMethods: [HTTPRequest.Method] {
        [.get, .head, .post, .put, .patch, .delete, .options, .trace, .connect, .query]
    }

    /// Serves `path` by `handlers`, every other method of HTTP by 405 with `Allow` (RFC 9110 §15.5.6).
    func serve(_ path: RouterPath, _ handlers: [HTTPRequest.Method: Handler]) {
        let allow = Self.knownMethods.filter { handlers[$0] != nil }.map(\.rawValue).joined(separator: ", ")
        for method in Self.knownMethods {
            let handler: Handler =
                handlers[method] ?? { request, _ in
                    throw Problem(
                        .methodNotAllowed, "\(request.method.rawValue) is not served here",
                        remedy: "Use one of: \(allow).", headers: [.allow: allow])
                }
            on(path, method: method, use: handler)
        }
    }
}

/// Turns every error into problem details, so that no handler has to.
struct ProblemMiddleware: RouterMiddleware {
    let logger: Logger

    func handle(
        _ request: Request, context: HTTPContext, next: (Request, HTTPContext) async throws -> Response
    ) async throws -> Response {
        do {
            return try await answer(request, context, next)
        } catch {
            let response = problem(of: error, context).response()
            // A body would be taken for the next response (RFC 9110 §9.3.2).
            return request.method == .head ? response.createHeadResponse() : response
        }
    }

    private func answer(
        _ request: Request, _ context: HTTPContext, _ next: (Request, HTTPContext) async throws -> Response
    ) async throws -> Response {
        guard Router<HTTPContext>.knownMethods.contains(request.method) else {
            throw Problem(.notImplemented, "This method is not known here", remedy: "Use a method of RFC 9110.")
        }
        return try await next(request, context)
    }

    private func problem(of error: any Error, _ context: HTTPContext) -> Problem {
        switch error {
        case let problem as Problem: return problem
        case let error as HTTPError where error.status == .notFound:
            return Problem(
                .notFound, "There is nothing at this path",
                remedy: "The page is at /, WHIP at /whip/NAME, WHEP at /whep/NAME.")
        case let error as any HTTPResponseError:
            return Problem(error.status, "The request cannot be served", remedy: "Check the request.")
        case is CancellationError:
            return Problem(
                .serviceUnavailable, "The server is shutting down", remedy: "Try again later.",
                headers: [.retryAfter: Problem.retryLater])
        default:
            logger.error("request failed", metadata: ["peer": "\(context.remoteText)", "error": "\(error)"])
            return Problem(
                .internalServerError, "The request failed inside of the server", remedy: "Tell the operator.")
        }
    }
}

/// Counts requests and their time. Labels are route templates, never paths: names in them have no bound.
struct RequestMetrics: Sendable {
    static let buckets = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10]

    private let metrics: MetricsRegistry
    let seconds: Histogram

    init(_ metrics: MetricsRegistry) {
        self.metrics = metrics
        seconds = metrics.histogram(
            "weir_http_request_seconds", help: "Time from the head of a request to its response.",
            buckets: Self.buckets)
    }

    /// - Parameter route: nil: none of ours.
    func counter(route: String?, method: HTTPRequest.Method, status: Int) -> Counter {
        let isKnown = Router<HTTPContext>.knownMethods.contains(method)
        return metrics.counter(
            "weir_http_requests_total", help: "Requests answered.",
            labels: [
                ("route", route ?? "none"), ("method", isKnown ? method.rawValue : "other"), ("status", "\(status)"),
            ])
    }
}

struct RequestMetricsMiddleware: RouterMiddleware {
    private let metrics: RequestMetrics

    init(metrics: MetricsRegistry) { self.metrics = RequestMetrics(metrics) }

    func handle(
        _ request: Request, context: HTTPContext, next: (Request, HTTPContext) async throws -> Response
    ) async throws -> Response {
        let start = ContinuousClock.now
        let response = try await next(request, context)
        metrics.seconds.observe(start.duration(to: .now) / .seconds(1))
        metrics.counter(route: context.endpointPath, method: request.method, status: response.status.code).increment()
        return response
    }
}

/// Lets pages of other origins use WHIP and WHEP (FETCH, CORS protocol). Only for these paths: the operator's paths
/// answer no other origin.
struct CORSPolicy: Sendable {
    static let methods = "POST, PATCH, DELETE, GET, HEAD, OPTIONS"
    static let requestHeaders = "Authorization, Content-Type, If-Match, Link"
    static let exposed = "Location, ETag, Link, Accept-Post, Accept-Patch, Retry-After, WWW-Authenticate"
    static let preflightSeconds = "7200"

    let origins: [String]

    /// Adds to every answer, also to errors, else the page cannot read why it failed.
    func decorate(_ response: inout Response, for request: Request) {
        if origins.contains("*") {
            response.headers[.accessControlAllowOrigin] = "*"
        } else {
            response.headers[.vary] = "Origin"
            guard let origin = request.headers[.origin], origins.contains(origin) else { return }
            response.headers[.accessControlAllowOrigin] = origin
        }
        response.headers[.accessControlExposeHeaders] = Self.exposed
        guard Self.isPreflight(request) else { return }
        response.headers[.accessControlAllowMethods] = Self.methods
        response.headers[.accessControlAllowHeaders] = Self.requestHeaders
        response.headers[.accessControlMaxAge] = Self.preflightSeconds
    }

    static func isPreflight(_ request: Request) -> Bool {
        request.method == .options && request.headers[.accessControlRequestMethod] != nil
    }
}

struct CORSMiddleware: RouterMiddleware {
    let policy: CORSPolicy

    func handle(
        _ request: Request, context: HTTPContext, next: (Request, HTTPContext) async throws -> Response
    ) async throws -> Response {
        var response = try await next(request, context)
        let path = request.uri.path
        if path.hasPrefix("/whip/") || path.hasPrefix("/whep/") { policy.decorate(&response, for: request) }
        return response
    }
}

extension HTTPRequest.Method {
    /// A GET with a body (draft-ietf-httpbis-safe-method-w-body). Nothing is served by it.
    fileprivate static let query = HTTPRequest.Method("QUERY")!
}
