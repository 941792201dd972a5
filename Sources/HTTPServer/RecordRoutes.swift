import FoundationEssentials
import HTTPTypes
import Hummingbird
import NIOCore
import WeirJSON

/// `/client/records/NAME`, as pages of the original fetch recordings, and what the page shows: `/api/recordings`,
/// `/api/recordings/NAME` (DELETE) and `/api/recordings/NAME/thumbnail`.
struct RecordRoutes: Sendable {
    /// Of one list; the REST API cuts longer ones by offset and size.
    private static let listLimit = 500
    /// Recordings never change under their names, but names may be used again.
    private static let caching = "private, max-age=0, must-revalidate"

    let library: any RecordLibrary
    let access: AdminAccess
    private let files = FileIO()

    init(library: any RecordLibrary, access: AdminAccess) {
        self.library = library
        self.access = access
    }

    func add(to router: Router<HTTPContext>) {
        router.serve(
            "/client/records/{name}",
            [
                .get: { try await file($0, $1) },
                .head: { try await file($0, $1).createHeadResponse() },
            ])
        router.serve("/api/recordings", [.get: { try await list($0, $1) }])
        router.serve("/api/recordings/{name}", [.delete: { try await delete($0, $1) }])
        router.serve("/api/recordings/{name}/thumbnail", [.get: { try await thumbnail($0, $1) }])
    }

    static func path(of name: String) -> String { "/client/records/\(PathSegment.encode(name))" }

    private func entry(_ context: HTTPContext) async throws(Problem) -> RecordEntry {
        guard let name = context.parameters.get("name").flatMap(PathSegment.decode),
            let entry = await library.entry(name)
        else { throw Problem(.notFound, "There is no recording of this name", remedy: "Check the name.") }
        return entry
    }

    // MARK: The operator's

    private func list(_ request: Request, _ context: HTTPContext) async throws -> Response {
        try access.check(request, context)
        let entries = await library.entries().prefix(Self.listLimit)
        return JSONResponse.make(json: .array(await RecordObject.list(Array(entries), library)))
    }

    private func delete(_ request: Request, _ context: HTTPContext) async throws -> Response {
        try access.check(request, context)
        guard await library.delete(try await entry(context).name) else {
            throw Problem(.conflict, "The recording cannot be deleted", remedy: "Look at the folder's permissions.")
        }
        return Response(status: .noContent, headers: [.cacheControl: "no-store"])
    }

    private func thumbnail(_ request: Request, _ context: HTTPContext) async throws -> Response {
        try access.check(request, context)
        let entry = try await entry(context)
        let tag = Self.tag(entry)
        var headers: HTTPFields = [.eTag: tag, .cacheControl: Self.caching, .xContentTypeOptions: "nosniff"]
        if Self.isKnown(request, tag) { return Response(status: .notModified, headers: headers) }
        guard let png = await library.thumbnail(of: entry) else {
            throw Problem(.notFound, "The recording has no picture", remedy: "Play it.")
        }
        headers[.contentType] = "image/png"
        return Response(status: .ok, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(bytes: png)))
    }

    // MARK: Files

    private func file(_ request: Request, _ context: HTTPContext) async throws -> Response {
        switch library.access {
        case .off: throw Problem(.notFound, "Recordings are not served", remedy: "Ask the operator for the file.")
        case .operator: try access.check(request, context)
        case .link: break
        }
        let entry = try await entry(context)
        let tag = Self.tag(entry)
        var headers: HTTPFields = [
            .contentType: entry.type, .eTag: tag, .acceptRanges: "bytes", .cacheControl: Self.caching,
            .xContentTypeOptions: "nosniff", .contentSecurityPolicy: "default-src 'none'; media-src 'self'; sandbox",
            .lastModified: Self.date(entry.modifiedAt),
        ]
        let query = (request.uri.query ?? "").split(separator: "&")
        if query.contains(where: { $0 == "download" || $0.hasPrefix("download=") }) {
            headers[.contentDisposition] = "attachment; filename*=UTF-8''\(PathSegment.encode(entry.name))"
        }
        if Self.isKnown(request, tag) { return Response(status: .notModified, headers: headers) }
        let path = library.path(of: entry)
        let wanted = Self.isUnchanged(request, tag) ? request.headers[.range] : nil
        switch ByteRange.parse(wanted, size: entry.bytes) {
        case .whole:
            return Response(status: .ok, headers: headers, body: try await files.loadFile(path: path, context: context))
        case .part(let range):
            headers[.contentRange] = "bytes \(range.lowerBound)-\(range.upperBound)/\(entry.bytes)"
            let part = Int(clamping: range.lowerBound)...Int(clamping: range.upperBound)
            return Response(
                status: .partialContent, headers: headers,
                body: try await files.loadFile(path: path, range: part, context: context))
        case .outside:
            headers[.contentRange] = "bytes */\(entry.bytes)"
            headers[.contentType] = nil
            return Response(status: .rangeNotSatisfiable, headers: headers)
        }
    }

    private static func tag(_ entry: RecordEntry) -> String {
        "\"\(String(entry.modifiedAt, radix: 36))-\(String(entry.bytes, radix: 36))\""
    }

    private static func isKnown(_ request: Request, _ tag: String) -> Bool {
        request.headers[.ifNoneMatch].flatMap(EntityTag.parse).map { EntityTag.matchesWeakly($0, tag) } ?? false
    }

    /// `If-Range`: parts only of the file that the client has a part of (RFC 9110 §13.1.5). Dates are not compared: two
    /// files of one second would look the same.
    private static func isUnchanged(_ request: Request, _ tag: String) -> Bool {
        guard let condition = request.headers[.ifRange] else { return true }
        return condition == tag
    }

    /// RFC 9110 §5.6.7.
    private static func date(_ milliseconds: Int64) -> String {
        let days = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = TimeZone(secondsFromGMT: 0) ?? calendar.timeZone
        let date = Date(timeIntervalSince1970: Double(milliseconds) / 1_000)
        let parts = calendar.dateComponents([.year, .month, .day, .hour, .minute, .second], from: date)
        let weekday = days[Int((milliseconds / 86_400_000) % 7 + 7) % 7]
        func two(_ value: Int?) -> String { (value ?? 0) < 10 ? "0\(value ?? 0)" : "\(value ?? 0)" }
        return "\(weekday), \(two(parts.day)) \(months[(parts.month ?? 1) - 1]) \(parts.year ?? 1970) "
            + "\(two(parts.hour)):\(two(parts.minute)):\(two(parts.second)) GMT"
    }
}

/// One range of bytes of a file (RFC 9110 §14).
enum ByteRange: Hashable {
    case whole
    case part(ClosedRange<Int64>)
    /// Not satisfiable.
    case outside

    /// What is no valid range, and several ranges, are ignored, as a server may.
    static func parse(_ header: String?, size: Int64) -> ByteRange {
        guard let header, let equals = header.firstIndex(of: "="), header[..<equals].lowercased() == "bytes" else {
            return .whole
        }
        let ends = header[header.index(after: equals)...].split(separator: "-", omittingEmptySubsequences: false)
            .map { part in part.filter { $0 != " " && $0 != "\t" } }
        guard ends.count == 2, ends.allSatisfy({ $0.utf8.allSatisfy { (0x30...0x39).contains($0) } }) else {
            return .whole
        }
        if ends[0].isEmpty {
            guard let length = Int64(ends[1]) else { return .whole }
            guard length > 0, size > 0 else { return .outside }
            return .part(max(0, size - length)...size - 1)
        }
        guard let first = Int64(ends[0]) else { return .whole }
        guard let last = ends[1].isEmpty ? .max : Int64(ends[1]), last >= first else { return .whole }
        guard first < size else { return .outside }
        return .part(first...min(last, size - 1))
    }
}
