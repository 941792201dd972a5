import Glibc
import MediaFiles

/// A folder whose files may be played. Nothing outside it is ever opened, whatever a name says and whatever links are in
/// it: each step of the way is opened by itself, and links are not followed. The folder itself may be a link.
package struct MediaFolder: Sendable {
    package let path: String
    /// Files in folders within it may not be played.
    private let isFlat: Bool

    package init(path: String, isFlat: Bool = false) {
        self.path = path
        self.isFlat = isFlat
    }

    /// Opens a regular file for reading; waits for the disk.
    ///
    /// - Parameter components: of `PlaybackName`.
    /// - Returns: a descriptor, which the caller closes.
    package func open(_ components: [String]) throws(ContainerError) -> CInt {
        guard let file = components.last, !isFlat || components.count == 1 else { throw .notFound }
        var folder = Glibc.open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { throw Self.failure() }
        defer { Glibc.close(folder) }
        for component in components.dropLast() {
            let next = openat(folder, component, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
            guard next >= 0 else { throw Self.failure() }
            Glibc.close(folder)
            folder = next
        }
        // Pipes must not make us wait for a writer.
        let descriptor = openat(folder, file, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw Self.failure() }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            Glibc.close(descriptor)
            throw .notFound
        }
        return descriptor
    }

    /// What leads to no file of ours is not there; the rest is the disk's affair.
    private static func failure() -> ContainerError {
        switch errno {
        case ENOENT, ENOTDIR, ELOOP, ENAMETOOLONG, ENXIO: .notFound
        case let code: .system(errno: code)
        }
    }
}
