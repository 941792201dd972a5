import FoundationEssentials
import Glibc

/// Which Weir this is.
package struct BuildInfo: Sendable, Equatable {
    package static let version = "0.1.0"

    package var version = BuildInfo.version
    /// Hash of the git commit; `unknown` for a copy of the executable alone.
    package var commit: String

    package var description: String { "weir \(version) (commit \(commit))" }

    /// Of this process.
    package static let current = BuildInfo(executable: executablePath())

    /// Reads the file `weir-commit` beside the executable, which the build tools write. Without it, or when it is older
    /// than the executable, an executable below `.build` is taken for built from its source tree as that is now.
    package init(executable: String) {
        let directory = Self.parent(executable)
        let file = "\(directory)/weir-commit"
        if let recorded = Self.firstLine(file), Self.isHash(recorded),
            Self.modified(file) >= Self.modified(executable)
        {
            commit = recorded
            return
        }
        let parts = executable.components(separatedBy: "/.build/")
        commit = parts.count > 1 ? Self.head(of: parts[0]).map { "\($0), source tree" } ?? "unknown" : "unknown"
    }

    private static func executablePath() -> String {
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = readlink("/proc/self/exe", &buffer, buffer.count - 1)
        return count > 0 ? String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self) : ""
    }

    private static func parent(_ path: String) -> String {
        path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
    }

    /// What HEAD of a repository points to, read from git's own files: git itself need not be installed.
    private static func head(of repository: String) -> String? {
        var git = "\(repository)/.git"
        // In a linked worktree `.git` is a file that names the directory.
        if let link = firstLine(git), link.hasPrefix("gitdir: ") { git = String(link.dropFirst(8)) }
        guard let head = firstLine("\(git)/HEAD") else { return nil }
        guard head.hasPrefix("ref: ") else { return isHash(head) ? head : nil }
        let reference = String(head.dropFirst(5))
        let common = firstLine("\(git)/commondir").map { $0.hasPrefix("/") ? $0 : "\(git)/\($0)" } ?? git
        if let hash = firstLine("\(common)/\(reference)"), isHash(hash) { return hash }
        guard let packed = try? String(contentsOf: URL(fileURLWithPath: "\(common)/packed-refs"), encoding: .utf8)
        else {
            return nil
        }
        let line = packed.split(separator: "\n").first { $0.hasSuffix(" \(reference)") }
        return line.flatMap { $0.split(separator: " ").first }.map(String.init).flatMap { isHash($0) ? $0 : nil }
    }

    private static func firstLine(_ path: String) -> String? {
        guard let text = try? String(contentsOf: URL(fileURLWithPath: path), encoding: .utf8) else { return nil }
        return text.split(separator: "\n").first.map { String($0.trimmingSpaces) }
    }

    private static func isHash(_ text: String) -> Bool {
        (7...64).contains(text.utf8.count) && text.allSatisfy { $0.isASCII && $0.isHexDigit }
    }

    /// Nanoseconds since 1970; 0 if there is no such file.
    private static func modified(_ path: String) -> Int64 {
        var facts = stat()
        guard stat(path, &facts) == 0 else { return 0 }
        return Int64(facts.st_mtim.tv_sec) &* 1_000_000_000 &+ Int64(facts.st_mtim.tv_nsec)
    }
}
