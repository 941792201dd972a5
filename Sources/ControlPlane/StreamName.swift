/// What may be the name of a stream.
///
/// Names become path segments of WHIP, WHEP, HLS and recordings and appear in logs, so characters that end or
/// change a URL path, or that a terminal acts upon, are refused instead of being escaped in many places.
/// Names that Unicode holds for the same text (one accented letter, or a letter and its accent) are the same name.
package enum StreamName {
    /// In UTF-8 bytes: the longest file name of the usual file systems.
    package static let maxBytes = 255

    package enum Verdict: Hashable, Sendable {
        case valid
        /// A URL that an agent would have to fetch.
        case url
        /// The text for the client.
        case bad(String)
    }

    package static func check(_ name: String) -> Verdict {
        let bytes = name.utf8
        if bytes.isEmpty { return .bad("Bad stream name: it is empty") }
        if name.contains("://") { return .url }
        if bytes.count > maxBytes { return .bad("Bad stream name: longer than \(maxBytes) bytes") }
        if name == "." || name == ".." { return .bad("Bad stream name: \"\(name)\" is a path") }
        for scalar in name.unicodeScalars {
            switch scalar.properties.generalCategory {
            case .control, .lineSeparator, .paragraphSeparator:
                return .bad("Bad stream name: it contains a control character")
            default: break
            }
            switch scalar {
            case "/", "\\", "?", "#": return .bad("Bad stream name: it contains \"\(scalar)\"")
            default: break
            }
        }
        return .valid
    }
}
