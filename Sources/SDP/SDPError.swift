/// Why a text is not a session description that we read. Lines count from 1.
package enum SDPError: Error, Equatable, Sendable {
    case textTooLong(bytes: Int, limit: Int)
    case tooManyLines(limit: Int)
    case lineTooLong(line: Int, limit: Int)
    case tooManyMedia(limit: Int)
    case malformed(line: Int, String)
}

extension SDPError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .textTooLong(let bytes, let limit): "\(bytes) bytes, at most \(limit) are accepted"
        case .tooManyLines(let limit): "more than \(limit) lines"
        case .lineTooLong(let line, let limit): "line \(line) is longer than \(limit) bytes"
        case .tooManyMedia(let limit): "more than \(limit) m-lines"
        case .malformed(let line, let why): "line \(line): \(why)"
        }
    }
}

/// What a peer's description may cost us. Real offers are 2 to 12 KiB with up to 300 lines.
package struct SDPLimits: Sendable {
    /// Bytes of the whole text.
    package var text = 256 << 10
    package var lines = 4096
    /// Bytes of one line, without its end.
    package var line = 8 << 10
    package var media = 64
    package init() {}
}
