import Foundation
import Glibc

extension KeySet {
    /// - Parameter file: the path.
    package init(file: String) throws(TokenKeysError) { try self.init(parsing: try KeyFile.read(file)) }
}

/// The file with the JWK Set.
enum KeyFile {
    /// What it was when it was looked at; any difference makes it be read again.
    struct Mark: Hashable, Sendable {
        private let modified: Int64
        private let size: Int64
        private let inode: UInt64

        init?(_ path: String) {
            var facts = stat()
            guard unsafe stat(path, &facts) == 0 else { return nil }
            modified = Int64(facts.st_mtim.tv_sec) &* 1_000_000_000 &+ Int64(facts.st_mtim.tv_nsec)
            size = Int64(facts.st_size)
            inode = UInt64(facts.st_ino)
        }
    }

    static func read(_ path: String) throws(TokenKeysError) -> [UInt8] {
        guard let handle = FileHandle(forReadingAtPath: path) else {
            throw TokenKeysError(
                FileManager.default.fileExists(atPath: path)
                    ? "it cannot be read (permissions?)" : "there is no such file")
        }
        defer { try? handle.close() }
        do {
            return Array(try handle.read(upToCount: KeySet.maxBytes + 1) ?? Data())
        } catch {
            throw TokenKeysError("it cannot be read")
        }
    }
}
