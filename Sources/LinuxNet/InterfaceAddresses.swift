import Glibc
import Wire

package enum InterfaceAddresses {
    /// Addresses of interfaces that are up, in the kernel's order: loopback last, link-local left out (a browser
    /// could not reach them without a zone). What ICE announces when the configuration names nothing.
    package static func all() -> [SocketAddress] {
        var head: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&head) == 0 else { return [] }
        defer { freeifaddrs(head) }
        var found: [SocketAddress] = []
        var next = head
        while let entry = next {
            next = entry.pointee.ifa_next
            guard entry.pointee.ifa_flags & UInt32(IFF_UP) != 0, let name = entry.pointee.ifa_addr else { continue }
            var address: SocketAddress?
            if name.pointee.sa_family == sa_family_t(AF_INET) {
                name.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
                    address = SocketAddress(ipv4: UInt32(bigEndian: $0.pointee.sin_addr.s_addr), port: 0)
                }
            } else if name.pointee.sa_family == sa_family_t(AF_INET6) {
                name.withMemoryRebound(to: sockaddr_in6.self, capacity: 1) {
                    var bytes = $0.pointee.sin6_addr
                    withUnsafeBytes(of: &bytes) { raw in
                        address = SocketAddress(
                            family: .ipv6,
                            high: UInt64(bigEndian: raw.loadUnaligned(as: UInt64.self)),
                            low: UInt64(bigEndian: raw.loadUnaligned(fromByteOffset: 8, as: UInt64.self)), port: 0)
                    }
                }
            }
            if let address, !address.isLinkLocal, !found.contains(address) { found.append(address) }
        }
        return found.filter { !$0.isLoopback } + found.filter { $0.isLoopback }
    }
}
