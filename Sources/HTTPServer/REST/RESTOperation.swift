import HTTPTypes
import Hummingbird
import WeirJSON

/// One call of the REST API: what is needed to serve it and to describe it. Routes and description are made of the same
/// list, so neither has a call that the other lacks.
struct RESTOperation: Sendable {
    /// What a call answers with 200.
    enum Answer: Sendable {
        /// No body.
        case nothing
        /// An object of that schema of the description.
        case one(String)
        /// An array of them.
        case list(String)
    }

    typealias Run = @Sendable (RESTParameters) async throws -> Response

    /// Below `/rest-api`, for example `stream/find`.
    let path: String
    let summary: String
    let fields: [RESTField]
    /// Whether parameters that are not in `fields` are taken.
    let isOpen: Bool
    let answer: Answer
    /// Statuses beside 200 and those that every call may have.
    let statuses: [Int]
    /// Without parameters it is also a GET; offset and size may stand in the query then.
    let isAlsoGET: Bool
    let run: Run

    init(
        _ path: String, _ summary: String, fields: [RESTField] = [], isOpen: Bool = false, answer: Answer,
        statuses: [Int] = [], isAlsoGET: Bool = false, run: @escaping Run
    ) {
        self.path = path
        self.summary = summary
        self.fields = fields
        self.isOpen = isOpen
        self.answer = answer
        self.statuses = statuses
        self.isAlsoGET = isAlsoGET
        self.run = run
    }

    static let root = "/rest-api/"
    /// 400 parameters; 401 and 403 not the operator; 408 and 413 a body that is slow or long; 500 our fault.
    static let commonStatuses = [400, 401, 403, 408, 413, 500]

    /// `stream` of `stream/find`.
    var family: String { String(path.prefix { $0 != "/" }) }
    var fullPath: String { Self.root + path }

    /// Parameters of the GET: those that a list is cut by.
    var queryFields: [RESTField] { fields.filter { RESTPage.names.contains($0.name) } }
}

extension RESTOperation {
    /// Answers with a part of a list; 404 when nothing was found at all.
    static func found(_ list: [JSONValue], _ what: String, _ parameters: RESTParameters) throws(Problem) -> Response {
        guard !list.isEmpty else { throw .nothingFound(what) }
        return JSONResponse.make(json: .array(Array(RESTPage(parameters).cut(list))))
    }

    /// 200 without a body, as the original answers to commands.
    static var done: Response { Response(status: .ok, headers: [.cacheControl: "no-store"]) }
}

extension Problem {
    init(_ error: RESTParameterError) {
        self.init(.badRequest, error.detail, remedy: error.remedy)
    }

    static func nothingFound(_ what: String) -> Problem {
        Problem(.notFound, "There is no such \(what)", remedy: "Look at what there is by find_all.")
    }
}

extension JSONResponse {
    static func make(json: JSONValue, status: HTTPResponse.Status = .ok) -> Response {
        var bytes: [UInt8] = []
        json.write(to: &bytes)
        return Response(
            status: status, headers: [.contentType: "application/json", .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes)))
    }
}
