/// The name of a stream that is made of a file: `vod://FILE` (each player its own) or `vod-live://FILE` (one for all).
package struct PlaybackName: Hashable, Sendable {
    /// Bytes of the file's part. Longer ones are no files of ours.
    static let maxBytes = 1_000
    /// Of the usual file systems.
    private static let maxComponentBytes = 255
    private static let own = "vod://"
    private static let shared = "vod-live://"

    package let isShared: Bool
    /// As written, with folders if there are any: not checked, not unescaped.
    package let file: String

    /// nil: a name of another kind.
    package init?(_ name: String) {
        if name.hasPrefix(Self.own) {
            isShared = false
            file = String(name.dropFirst(Self.own.count))
        } else if name.hasPrefix(Self.shared) {
            isShared = true
            file = String(name.dropFirst(Self.shared.count))
        } else {
            return nil
        }
    }

    /// The way from the media folder to the file; nil if that could lead anywhere else, or to files that are hidden.
    package var components: [String]? {
        guard !file.isEmpty, file.utf8.count <= Self.maxBytes,
            file.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f && $0 != UInt8(ascii: "\\") })
        else { return nil }
        let components = file.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        // A leading dot: hidden files, "." and "..".
        guard components.allSatisfy({ !$0.isEmpty && !$0.hasPrefix(".") && $0.utf8.count <= Self.maxComponentBytes })
        else { return nil }
        return components
    }
}
