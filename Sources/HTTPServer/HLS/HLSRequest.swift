import HLS
import HTTPTypes
import Hummingbird

/// A GET or HEAD of HLS, whichever way it came: what of it decides on the answer.
final class HLSRequest: Sendable {
    let path: HLSPath
    /// What stands behind the `?`, as it was sent.
    let query: String
    let isHead: Bool
    let fields: RequestHead.Fields
    /// Of a playlist's query.
    let directives: Result<DeliveryDirectives, DeliveryDirectives.Failure>

    init(path: HLSPath, query: String, isHead: Bool, fields: RequestHead.Fields) {
        self.path = path
        self.query = query
        self.isHead = isHead
        self.fields = fields
        guard case .playlist = path.resource else {
            directives = .success(DeliveryDirectives())
            return
        }
        do throws(DeliveryDirectives.Failure) {
            directives = .success(try DeliveryDirectives.parse(query: query))
        } catch {
            directives = .failure(error)
        }
    }

    /// From the router.
    convenience init(_ request: Request, path: HLSPath) {
        let headers = request.headers
        var fields = RequestHead.Fields()
        fields.range = headers[.range]
        fields.ifRange = headers[.ifRange]
        fields.ifNoneMatch = headers[.ifNoneMatch]
        fields.origin = headers[.origin]
        fields.acceptEncoding = headers[values: .acceptEncoding]
        fields.cookies = headers[values: .cookie]
        self.init(path: path, query: request.uri.query ?? "", isHead: request.method == .head, fields: fields)
    }

    /// The first parameter of that name, as it was sent: for values that need no escapes.
    func parameter(_ name: StaticString) -> String? {
        let query = Array(query.utf8)
        let name = name.withUTF8Buffer { Array($0) } + [UInt8(ascii: "=")]
        var start = 0
        while start < query.count {
            let end = query[start...].firstIndex(of: UInt8(ascii: "&")) ?? query.count
            if query[start..<end].starts(with: name) {
                return String(decoding: query[(start + name.count)..<end], as: UTF8.self)
            }
            start = end + 1
        }
        return nil
    }
}
