import CLibAV
import Glibc

/// Where a container's bytes go. One thread at a time.
package protocol ByteOutput: AnyObject {
    /// Takes all bytes at the current position. 0, or an errno.
    func write(_ bytes: UnsafeRawBufferPointer) -> Int32
    /// Moves the position; nil when this output is a stream that cannot go back.
    var seek: ((_ position: Int64) -> Int32)? { get }
    var position: Int64 { get }
    /// Bytes so far: the end of the output, wherever the position is.
    var size: Int64 { get }
}

/// A file that is written through a descriptor of ours.
///
/// Short writes are continued and interrupted ones repeated; a failed one leaves what was written before, and
/// `truncate(to:)` cuts the torn part off.
package final class FileOutput: ByteOutput {
    private var descriptor: Int32
    private let isSeekable: Bool
    package private(set) var position: Int64 = 0
    package private(set) var size: Int64 = 0
    /// Bytes since the last `sync()`.
    package private(set) var unsynced: Int64 = 0

    /// - Parameters:
    ///   - path: must not exist yet.
    ///   - seekable: false tells the container to write nothing that has to be mended later.
    package init(creating path: String, seekable: Bool) throws(ContainerError) {
        descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o640)
        guard descriptor >= 0 else { throw .system(errno: errno) }
        isSeekable = seekable
    }

    deinit { if descriptor >= 0 { Glibc.close(descriptor) } }

    package func write(_ bytes: UnsafeRawBufferPointer) -> Int32 {
        guard descriptor >= 0 else { return EBADF }
        var rest = bytes
        while let base = rest.baseAddress, rest.count > 0 {
            let count = pwrite(descriptor, base, rest.count, off_t(position))
            if count < 0 {
                if errno == EINTR { continue }
                return errno
            }
            // POSIX allows 0 only for 0 bytes; taken as progress it would spin for ever.
            guard count > 0 else { return EIO }
            position += Int64(count)
            size = max(size, position)
            unsynced += Int64(count)
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        }
        return 0
    }

    package var seek: ((Int64) -> Int32)? {
        guard isSeekable else { return nil }
        return { [self] to in
            guard to >= 0 else { return EINVAL }
            position = to
            return 0
        }
    }

    /// Puts what was written onto the disk. 0, or an errno.
    package func sync() -> Int32 {
        guard descriptor >= 0 else { return EBADF }
        while fdatasync(descriptor) != 0 {
            if errno == EINTR { continue }
            // Not every file system and not every file can (EINVAL on pipes and some network mounts).
            return errno == EINVAL || errno == ENOTSUP ? 0 : errno
        }
        unsynced = 0
        return 0
    }

    /// Cuts the file: what follows `length` never was. 0, or an errno.
    package func truncate(to length: Int64) -> Int32 {
        guard descriptor >= 0 else { return EBADF }
        guard ftruncate(descriptor, off_t(length)) == 0 else { return errno }
        size = length
        position = min(position, length)
        return 0
    }

    /// Errors that a network file system reports only now. 0, or an errno.
    package func close() -> Int32 {
        guard descriptor >= 0 else { return 0 }
        let result = Glibc.close(descriptor)
        descriptor = -1
        return result == 0 || errno == EINTR ? 0 : errno
    }
}

/// Bytes handed to a function as they come, for containers that live in memory (segments) or elsewhere.
package final class StreamOutput: ByteOutput {
    private let take: (UnsafeRawBufferPointer) -> Int32
    package private(set) var position: Int64 = 0
    package var size: Int64 { position }
    package var seek: ((Int64) -> Int32)? { nil }

    /// - Parameter take: 0, or an errno that ends the container.
    package init(_ take: @escaping (UnsafeRawBufferPointer) -> Int32) { self.take = take }

    package func write(_ bytes: UnsafeRawBufferPointer) -> Int32 {
        let error = take(bytes)
        if error == 0 { position += Int64(bytes.count) }
        return error
    }
}

/// Counts and forgets: how long a file, or its index, would become.
package final class CountingOutput: ByteOutput {
    package private(set) var position: Int64 = 0
    package private(set) var size: Int64 = 0

    package init() {}

    package func write(_ bytes: UnsafeRawBufferPointer) -> Int32 {
        position += Int64(bytes.count)
        size = max(size, position)
        return 0
    }

    package var seek: ((Int64) -> Int32)? {
        { [self] to in
            position = to
            return to >= 0 ? 0 : EINVAL
        }
    }
}
