import Glibc

/// A file without a name, for segments of a long window: it is gone with the last reference, whatever happens to the
/// process. Writing is for one thread; reading for any.
package final class SpillFile: Sendable {
    package enum Failure: Error, Hashable, Sendable, CustomStringConvertible {
        case system(errno: Int32)

        package var description: String {
            switch self {
            case .system(let code): unsafe String(cString: strerror(code))
            }
        }
    }

    private let descriptor: Int32

    /// - Parameter directory: on a file system that knows `O_TMPFILE` (ext4, XFS, btrfs, tmpfs).
    package init(directory: String) throws(Failure) {
        // O_TMPFILE of Linux, which Swift does not import.
        let unnamed: Int32 = 0o20_000_000 | O_DIRECTORY
        descriptor = unsafe open(directory, unnamed | O_RDWR | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .system(errno: errno) }
    }

    deinit { close(descriptor) }

    /// Writes at a place where nothing is yet.
    package func write(_ bytes: [UInt8], at offset: Int) throws(Failure) {
        var done = 0
        while done < bytes.count {
            let count = unsafe bytes.withUnsafeBytes { buffer in
                unsafe pwrite(
                    descriptor, buffer.baseAddress.map { unsafe $0 + done }, buffer.count - done, off_t(offset + done))
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw .system(errno: count < 0 ? errno : EIO) }
            done += count
        }
    }

    /// - Returns: fewer bytes than asked for only at the end of the file.
    package func read(at offset: Int, count: Int) throws(Failure) -> [UInt8] {
        var failure: Int32 = 0
        let bytes = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            filled = 0
            while filled < count {
                let got = unsafe pread(
                    descriptor, buffer.baseAddress.map { unsafe $0 + filled }, count - filled, off_t(offset + filled))
                if got < 0, errno == EINTR { continue }
                if got < 0 { failure = errno }
                guard got > 0 else { return }
                filled += got
            }
        }
        guard failure == 0 else { throw .system(errno: failure) }
        return bytes
    }
}

/// Writes segments into a few files, one after the other. One thread.
package struct SpillStore: Sendable {
    /// A file is given back to the system when the last of its segments has left the window.
    private static let bytesPerFile = 64 << 20

    private let directory: String
    private var file: SpillFile?
    private var offset = 0

    package init(directory: String) { self.directory = directory }

    package mutating func store(_ pieces: [any StoredBytes]) throws(SpillFile.Failure) -> FileBytes {
        let current: SpillFile
        if let file, offset < Self.bytesPerFile {
            current = file
        } else {
            current = try SpillFile(directory: directory)
            file = current
            offset = 0
        }
        let start = offset
        for piece in pieces {
            let bytes = piece.bytes
            try current.write(bytes, at: offset)
            offset += bytes.count
        }
        return FileBytes(file: current, offset: start, count: offset - start)
    }
}
