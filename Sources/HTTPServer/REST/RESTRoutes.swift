import HTTPTypes
import Hummingbird
import Logging
import NIOCore

/// `/rest-api`: the operator's calls (reference part 4), and their description at `/rest-api/openapi.json`.
struct RESTRoutes: Sendable {
    static let descriptionPath = "\(RESTOperation.root)openapi.json"

    let operations: [RESTOperation]
    let access: AdminAccess
    let bodyTimeout: Duration
    let logger: Logger

    func add(to router: Router<HTTPContext>) {
        for operation in operations {
            var handlers: [HTTPRequest.Method: Handler] = [
                .post: { try await post(operation, $0, $1) }
            ]
            if operation.isAlsoGET {
                handlers[.get] = { try await get(operation, $0, $1) }
                handlers[.head] = { try await get(operation, $0, $1).createHeadResponse() }
            }
            router.serve(RouterPath(operation.fullPath), handlers)
        }
        let description = JSONResponse.make(json: OpenAPI.document(operations))
        router.serve(
            RouterPath(Self.descriptionPath),
            [
                .get: { request, context in
                    try access.check(request, context)
                    return description
                },
                .head: { request, context in
                    try access.check(request, context)
                    return description.createHeadResponse()
                },
            ])
    }

    private func post(
        _ operation: RESTOperation, _ request: Request, _ context: HTTPContext
    ) async throws -> Response {
        try access.check(request, context)
        let body = try await RequestBody.read(request, limit: RESTParameters.maxBytes, timeout: bodyTimeout)
        return try await run(operation, context) { () throws(RESTParameterError) in
            try RESTParameters(body: body, fields: operation.fields, isOpen: operation.isOpen)
        }
    }

    private func get(
        _ operation: RESTOperation, _ request: Request, _ context: HTTPContext
    ) async throws -> Response {
        try access.check(request, context)
        let query = WebRTCConnect.parameters(of: request.uri.query)
        return try await run(operation, context) { () throws(RESTParameterError) in
            try RESTParameters(query: query, fields: operation.queryFields)
        }
    }

    private func run(
        _ operation: RESTOperation, _ context: HTTPContext,
        _ read: () throws(RESTParameterError) -> RESTParameters
    ) async throws -> Response {
        do {
            let response = try await operation.run(try read())
            logger.debug("REST call", metadata: ["path": "\(operation.path)", "peer": "\(context.remoteText)"])
            return response
        } catch let error as RESTParameterError {
            throw Problem(error)
        }
    }
}

/// The whole body of a request, within limits.
enum RequestBody {
    static func read(_ request: Request, limit: Int, timeout: Duration) async throws -> [UInt8] {
        let tooLarge = Problem(.contentTooLarge, "The body is larger than \(limit) bytes", remedy: "Send less.")
        if let length = request.headers[.contentLength].flatMap({ Int($0) }), length > limit { throw tooLarge }
        let buffer: ByteBuffer?
        do {
            buffer = try await withTimeout(timeout) { try await request.body.collect(upTo: limit) }
        } catch is NIOTooManyBytesError {
            throw tooLarge
        }
        guard let buffer else {
            throw Problem(.requestTimeout, "The body did not arrive in time", remedy: "Send the request again.")
        }
        return Array(buffer.readableBytesView)
    }
}
