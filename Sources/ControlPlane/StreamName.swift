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

    /// The name as logs, lists and statistics have it: a URL without its user info, and without what its parameters call a
    /// secret. The one place where that is decided; whatever shows a name to somebody who did not give it asks here.
    ///
    /// Passwords in URLs of cameras are often not escaped. What is no host in front of a path is taken for a part of one.
    package static func shown(_ name: String) -> String {
        guard let mark = name.firstRange(of: "://") else { return name }
        let scheme = name[..<mark.upperBound]
        var rest = name[mark.upperBound...]
        let end = rest.firstIndex { "/?#".contains($0) } ?? rest.endIndex
        let hasUserInfo = rest[..<end].contains("@") || !isPlace(rest[..<end])
        if hasUserInfo, let at = rest.lastIndex(of: "@") { rest = rest[rest.index(after: at)...] }
        return scheme + withoutSecrets(rest)
    }

    /// `host`, `host:port`
    private static func isPlace(_ text: Substring) -> Bool {
        if text.hasPrefix("[") { return true }
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        return parts.count == 1 || (parts.count == 2 && parts[1].allSatisfy { $0.isASCII && $0.isNumber })
    }

    /// `password=x` becomes `password=***`, in queries and in paths, where cameras have them, too.
    private static func withoutSecrets(_ text: Substring) -> String {
        guard text.contains("=") else { return String(text) }
        var out = ""
        var parameter = text[text.startIndex..<text.startIndex]
        func shown(_ parameter: Substring) -> String {
            guard let equals = parameter.firstIndex(of: "="), parameter.index(after: equals) < parameter.endIndex
            else { return String(parameter) }
            let key = parameter[..<equals].lowercased()
            let isSecret = secretWords.contains { key.contains($0) }
            return isSecret ? "\(parameter[...equals])\(Redaction.mark)" : String(parameter)
        }
        for place in text.indices {
            if "/?&;#".contains(text[place]) {
                out += shown(parameter)
                out.append(text[place])
                parameter = text[text.index(after: place)..<text.index(after: place)]
            } else {
                parameter = text[parameter.startIndex...place]
            }
        }
        return out + shown(parameter)
    }

    private static let secretWords = ["pass", "pwd", "psw", "token", "secret", "auth", "key", "sig"]
}
