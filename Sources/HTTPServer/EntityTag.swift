import HTTPTypes

/// Entity tags and the conditions on them (RFC 9110 §8.8.3, §13.1).
enum EntityTag {
    enum Condition: Hashable, Sendable {
        case any
        /// With their quotes, weak ones with their `W/`.
        case tags([String])
    }

    /// Longest list that is looked at.
    private static let maxTags = 16

    /// nil when the header is no list of entity tags.
    static func parse(_ value: String) -> Condition? {
        if value.allSatisfy({ $0 == " " || $0 == "*" }), value.contains("*") { return .any }
        var tags: [String] = []
        var rest = Substring(value).drop { $0 == " " || $0 == "," || $0 == "\t" }
        while !rest.isEmpty, tags.count < maxTags {
            var tag = ""
            if rest.hasPrefix("W/") {
                tag = "W/"
                rest = rest.dropFirst(2)
            }
            guard rest.first == "\"" else { return nil }
            let body = rest.dropFirst()
            guard let end = body.firstIndex(of: "\"") else { return nil }
            tag += "\"\(body[..<end])\""
            tags.append(tag)
            rest = body[body.index(after: end)...].drop { $0 == " " || $0 == "," || $0 == "\t" }
        }
        return tags.isEmpty ? nil : .tags(tags)
    }

    /// `If-Match` compares strongly: a weak tag matches nothing.
    static func matchesStrongly(_ condition: Condition, _ current: String) -> Bool {
        switch condition {
        case .any: true
        case .tags(let tags): tags.contains(current)
        }
    }

    /// `If-None-Match` compares weakly.
    static func matchesWeakly(_ condition: Condition, _ current: String) -> Bool {
        switch condition {
        case .any: true
        case .tags(let tags): tags.contains { ($0.hasPrefix("W/") ? String($0.dropFirst(2)) : $0) == current }
        }
    }
}
