import FoundationEssentials
import Glibc

/// Where Weir keeps what must outlive a restart: the development certificate.
package enum StateDirectory {
    /// The directory of `state.dir`; when that is empty, systemd's (`STATE_DIRECTORY`), `/var/lib/weir` for root, and
    /// `$XDG_STATE_HOME/weir` or `~/.local/state/weir` for everyone else.
    package static func path(_ configured: String, environment: [String: String], isRoot: Bool = geteuid() == 0)
        -> String
    {
        if !configured.isEmpty { return configured }
        // systemd joins several with colons.
        if let given = environment["STATE_DIRECTORY"]?.split(separator: ":").first { return String(given) }
        if isRoot { return "/var/lib/weir" }
        if let base = environment["XDG_STATE_HOME"], base.hasPrefix("/") { return "\(base)/weir" }
        if let home = environment["HOME"], home.hasPrefix("/") { return "\(home)/.local/state/weir" }
        return "/tmp/weir-\(geteuid())"
    }

    /// Makes the directory, readable by its owner only, if it is not there.
    package static func create(_ path: String) throws {
        try FileManager.default.createDirectory(
            atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    }

    /// Writes a file whole or not at all: a crash leaves the old one.
    static func write(_ text: String, to path: String, mode: mode_t) throws(StateError) {
        let temporary = "\(path).\(getpid()).new"
        unlink(temporary)
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode)
        guard descriptor >= 0 else { throw StateError(operation: "create \(temporary)", code: errno) }
        let bytes = Array(text.utf8)
        var written = 0
        while written < bytes.count {
            let count = bytes[written...].withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count <= 0 {
                let code = errno
                close(descriptor)
                unlink(temporary)
                throw StateError(operation: "write \(temporary)", code: code)
            }
            written += count
        }
        fsync(descriptor)
        close(descriptor)
        guard rename(temporary, path) == 0 else {
            let code = errno
            unlink(temporary)
            throw StateError(operation: "rename \(temporary)", code: code)
        }
    }
}

/// A file operation that failed, in the words of the operating system.
struct StateError: Error, CustomStringConvertible {
    var operation: String
    var code: CInt
    var description: String { "\(operation): \(String(cString: strerror(code)))" }
}
