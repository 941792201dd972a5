/// An HTTP status code that belongs to a failure.
package struct StatusCode: RawRepresentable, Hashable, Sendable {
    package let rawValue: Int

    package init(rawValue: Int) { self.rawValue = rawValue }

    package static let badRequest = StatusCode(rawValue: 400)
    package static let unauthorized = StatusCode(rawValue: 401)
    package static let forbidden = StatusCode(rawValue: 403)
    package static let notFound = StatusCode(rawValue: 404)
    package static let notAcceptable = StatusCode(rawValue: 406)
    package static let timeout = StatusCode(rawValue: 408)
    package static let conflict = StatusCode(rawValue: 409)
    package static let unsupportedMediaType = StatusCode(rawValue: 415)
    package static let tooManyRequests = StatusCode(rawValue: 429)
    package static let internalError = StatusCode(rawValue: 500)
    package static let unavailable = StatusCode(rawValue: 503)
}
