/// Names of streams that a token is for: one name, or all that begin and end as told, `*` standing for what is between
/// (`room-7-*`, `*`). Compared as names are: letter case counts, and what Unicode holds for the same text is the same.
package struct NamePattern: Hashable, Sendable {
    /// As long as a name may be.
    package static let maxBytes = 255

    private let prefix: String
    /// nil: `prefix` is the whole name.
    private let suffix: String?

    /// nil for an empty or too long text, and for one with several stars.
    package init?(_ text: String) {
        guard (1...Self.maxBytes).contains(text.utf8.count) else { return nil }
        let parts = text.split(separator: "*", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count <= 2 else { return nil }
        prefix = String(parts[0])
        suffix = parts.count == 2 ? String(parts[1]) : nil
    }

    package func matches(_ name: String) -> Bool {
        guard let suffix else { return name == prefix }
        // The two may not overlap: `ab*ba` is not for `aba`.
        return name.count >= prefix.count + suffix.count && name.hasPrefix(prefix) && name.hasSuffix(suffix)
    }
}
