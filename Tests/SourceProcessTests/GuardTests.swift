import CSourceProcess
import Glibc
import RTSP
import SourceProcess
import Testing
import Wire

/// The addresses that libraries hand to the kernel.
struct GuardTests {
    @Test func addressesAreRead() {
        var v4 = sockaddr_in()
        v4.sin_family = sa_family_t(AF_INET)
        v4.sin_port = UInt16(1935).bigEndian
        v4.sin_addr.s_addr = UInt32(0xc000_0201).bigEndian
        #expect(Self.read(&v4) == SocketAddress(ip: "192.0.2.1", port: 1935))
        var v6 = sockaddr_in6()
        v6.sin6_family = sa_family_t(AF_INET6)
        v6.sin6_port = UInt16(443).bigEndian
        inet_pton(AF_INET6, "2001:db8::7", &v6.sin6_addr)
        #expect(Self.read(&v6) == SocketAddress(ip: "2001:db8::7", port: 443))
        v6.sin6_family = sa_family_t(AF_UNIX)
        #expect(Self.read(&v6) == nil)
        v4.sin_family = sa_family_t(AF_INET6)
        #expect(Self.read(&v4) == nil, "too short for its family")
    }

    private static func read<Address>(_ address: inout Address) -> SocketAddress? {
        withUnsafeBytes(of: &address) { bytes in
            guard let base = bytes.baseAddress else { return nil }
            return SocketAddress(base.assumingMemoryBound(to: sockaddr.self), length: bytes.count)
        }
    }

    /// The program's own definitions are those that every library gets.
    @Test func theProgramsOwnFunctionsComeFirst() {
        for name in ["connect", "sendto", "sendmsg", "getaddrinfo"] {
            let found = dlsym(nil, name)
            let libcs = dlsym(UnsafeMutableRawPointer(bitPattern: -1), name)
            #expect(found != nil && libcs != nil)
            #expect(found != libcs, "\(name) is libc's: the guard would not be asked")
        }
    }
}
