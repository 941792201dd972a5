/// Methods of RTSP (RFC 2326 §10, RFC 7826 §13).
package enum RTSPMethod: String, Sendable, Hashable, CaseIterable {
    case options = "OPTIONS"
    case describe = "DESCRIBE"
    case announce = "ANNOUNCE"
    case setup = "SETUP"
    case play = "PLAY"
    case pause = "PAUSE"
    case record = "RECORD"
    case teardown = "TEARDOWN"
    case getParameter = "GET_PARAMETER"
    case setParameter = "SET_PARAMETER"
    case redirect = "REDIRECT"
    case playNotify = "PLAY_NOTIFY"
}

/// Version of a message; what has the same meaning in both is treated alike.
package enum RTSPVersion: String, Sendable, Hashable {
    case v1 = "RTSP/1.0"
    case v2 = "RTSP/2.0"
}

/// Status of a response (RFC 2326 §7.1.1, RFC 7826 §8.1.1). Codes are compared, reasons are for people.
package struct RTSPStatus: Sendable {
    /// 100...999
    package var code: Int
    package var reason: String

    package init(_ code: Int, _ reason: String) {
        self.code = code
        self.reason = reason
    }

    package var isSuccess: Bool { (200...299).contains(code) }
    package var isRedirect: Bool { (300...399).contains(code) }

    package static let ok = RTSPStatus(200, "OK")
    package static let badRequest = RTSPStatus(400, "Bad Request")
    package static let unauthorized = RTSPStatus(401, "Unauthorized")
    package static let forbidden = RTSPStatus(403, "Forbidden")
    package static let notFound = RTSPStatus(404, "Not Found")
    package static let methodNotAllowed = RTSPStatus(405, "Method Not Allowed")
    package static let notAcceptable = RTSPStatus(406, "Not Acceptable")
    package static let requestTimeout = RTSPStatus(408, "Request Timeout")
    package static let bodyTooLarge = RTSPStatus(413, "Request Entity Too Large")
    package static let uriTooLong = RTSPStatus(414, "Request-URI Too Long")
    package static let unsupportedMediaType = RTSPStatus(415, "Unsupported Media Type")
    package static let parameterNotUnderstood = RTSPStatus(451, "Parameter Not Understood")
    package static let notEnoughBandwidth = RTSPStatus(453, "Not Enough Bandwidth")
    package static let sessionNotFound = RTSPStatus(454, "Session Not Found")
    package static let methodNotValidInState = RTSPStatus(455, "Method Not Valid in This State")
    package static let headerNotValid = RTSPStatus(456, "Header Field Not Valid for Resource")
    package static let invalidRange = RTSPStatus(457, "Invalid Range")
    package static let aggregateNotAllowed = RTSPStatus(459, "Aggregate Operation Not Allowed")
    package static let onlyAggregateAllowed = RTSPStatus(460, "Only Aggregate Operation Allowed")
    package static let unsupportedTransport = RTSPStatus(461, "Unsupported Transport")
    package static let destinationProhibited = RTSPStatus(463, "Destination Prohibited")
    package static let internalError = RTSPStatus(500, "Internal Server Error")
    package static let notImplemented = RTSPStatus(501, "Not Implemented")
    package static let serviceUnavailable = RTSPStatus(503, "Service Unavailable")
    package static let versionNotSupported = RTSPStatus(505, "RTSP Version Not Supported")
    package static let optionNotSupported = RTSPStatus(551, "Option Not Supported")
}

extension RTSPStatus: Equatable {
    package static func == (a: RTSPStatus, b: RTSPStatus) -> Bool { a.code == b.code }
}
