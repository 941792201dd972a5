import ControlPlane
import Glibc

/// The folder's files, as far as they are ours: counts them, makes new ones, writes. Used by one thread, the folder's,
/// which waits for the disk so that nobody else does.
struct FileDesk {
    /// What a name of ours begins with.
    static let prefixes = ["bug-report-", "session-", "client-"]
    /// Names that one moment of one session may have had before.
    private static let maxTries = 100

    struct Usage: Hashable, Sendable {
        var files = 0
        var bytes = 0
    }

    let settings: DiagnosticSettings
    /// Bytes free on the file system; for tests.
    let freeBytes: @Sendable (String) -> Int?

    /// Makes the folder if it is not there.
    func prepare() throws(DiagnosticError) {
        var path = settings.folder.hasPrefix("/") ? "" : "."
        for part in settings.folder.split(separator: "/") {
            path += "/\(part)"
            if mkdir(path, 0o700) != 0, errno != EEXIST { throw failure("make \(path)") }
        }
        guard access(settings.folder, W_OK | X_OK) == 0 else { throw failure("write into \(settings.folder)") }
    }

    /// What is there now: the operator may have taken files away.
    func usage() throws(DiagnosticError) -> Usage {
        guard let folder = opendir(settings.folder) else { throw failure("read \(settings.folder)") }
        defer { closedir(folder) }
        var usage = Usage()
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard Self.prefixes.contains(where: name.hasPrefix) else { continue }
            var facts = stat()
            guard lstat("\(settings.folder)/\(name)", &facts) == 0 else { continue }
            usage.files += 1
            usage.bytes += Int(facts.st_size)
        }
        return usage
    }

    /// Whether there is room for a new file of that many bytes, beside what logs may still write.
    func checkRoom(for bytes: Int, usage: Usage) throws(DiagnosticError) {
        guard usage.files < settings.maxFiles else { throw .tooManyFiles }
        guard usage.bytes + bytes <= settings.maxBytes else { throw .folderFull }
        try checkDisk(for: bytes)
    }

    func checkDisk(for bytes: Int) throws(DiagnosticError) {
        if let free = freeBytes(settings.folder), free - bytes < settings.minFree { throw .diskFull }
    }

    static let systemFreeBytes: @Sendable (String) -> Int? = { path in
        var facts = statvfs()
        guard statvfs(path, &facts) == 0 else { return nil }
        return Int(facts.f_bavail) * Int(facts.f_frsize)
    }

    /// Makes a file that was not there, readable by its owner only.
    /// - Parameter name: without ending.
    func create(_ name: String, ending: String) throws(DiagnosticError) -> (name: String, descriptor: CInt) {
        for attempt in 1...Self.maxTries {
            let file = attempt == 1 ? "\(name)\(ending)" : "\(name)-\(attempt)\(ending)"
            let descriptor = open(
                "\(settings.folder)/\(file)", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
            if descriptor >= 0 { return (file, descriptor) }
            guard errno == EEXIST else { throw failure("make \(file)") }
        }
        throw .storage("\(name)\(ending) and all names like it are taken")
    }

    func write(_ bytes: [UInt8], to descriptor: CInt) throws(DiagnosticError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw errno == ENOSPC || errno == EDQUOT ? .diskFull : failure("write") }
            rest = rest.dropFirst(count)
        }
    }

    func remove(_ name: String) { unlink("\(settings.folder)/\(name)") }

    private func failure(_ what: String) -> DiagnosticError {
        .storage("\(what): \(String(cString: strerror(errno)))")
    }
}
