import CLinuxNet
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
/// traffic without an error, so a socket with the port in its name is held for the life of the process. The name is
/// an abstract one (unix(7)): it belongs to the network namespace, as the port does, needs no file and no rights,
/// and is free again when the process ends, however it ends.
package struct PortLock: ~Copyable, Sendable {
    private let descriptor: CInt

    package init(port: UInt16) throws(NetworkError) {
        let fd = weir_claim_name("weir-media-\(port)")
        guard fd != -EADDRINUSE else {
            throw NetworkError("media port \(port) is held by another Weir", code: EADDRINUSE)
        }
        guard fd >= 0 else { throw NetworkError("claim media port \(port)", code: -fd) }
        descriptor = fd
    }

    deinit { close(descriptor) }
}
