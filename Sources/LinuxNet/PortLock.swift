import Glibc

/// Why a socket or poll call failed, with the words of the operating system.
package struct NetworkError: Error, Equatable, CustomStringConvertible {
    package var operation: String
    package var code: CInt
    package init(_ operation: String, code: CInt) {
        self.operation = operation
        self.code = code
    }
    package var description: String { "\(operation): \(String(cString: strerror(code)))" }
}

/// An exclusive claim on a media port. `SO_REUSEPORT` lets a second server bind the same port and steal half of the
/// traffic without an error, so a lock file named after the port is held for the life of the process.
package struct PortLock: ~Copyable, Sendable {
    private let descriptor: CInt

    package init(port: UInt16) throws(NetworkError) {
        let path = "/tmp/weir-media-\(port).lock"
        let fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0o666)
        guard fd >= 0 else { throw NetworkError("open \(path)", code: errno) }
        guard flock(fd, LOCK_EX | LOCK_NB) == 0 else {
            let code = errno == EWOULDBLOCK ? EADDRINUSE : errno
            close(fd)
            throw NetworkError("media port \(port) is held by another Weir (lock \(path))", code: code)
        }
        descriptor = fd
    }

    deinit { close(descriptor) }
}
