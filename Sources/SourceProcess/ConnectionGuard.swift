import CSourceProcess
import Glibc
import RTSP
import Synchronization
import Wire

/// Where this process may connect to, whatever the libraries in it want: one guard for the whole of it.
enum ConnectionGuard {
    private static let hostGuard = Mutex(HostGuard())
    private static let refused = Mutex<HostGuard.Refusal?>(nil)

    /// From now on. There is no way back.
    static func install(_ rules: HostGuard) {
        hostGuard.withLock { $0 = rules }
        weir_guard_connections(
            { address, length in ConnectionGuard.allows(address, length) },
            { name in ConnectionGuard.allows(name) })
    }

    /// What was refused last.
    static var refusal: HostGuard.Refusal? { refused.withLock(\.self) }

    private static func allows(_ address: UnsafePointer<sockaddr>?, _ length: socklen_t) -> Bool {
        guard let address, let place = SocketAddress(address, length: Int(length)) else { return false }
        return allowed { rules throws(HostGuard.Refusal) in
            guard rules.allowsSource(port: place.port) else { throw .port }
            try rules.check(place)
        }
    }

    /// Addresses in numbers are looked up, too: what they stand for is checked when it is connected to.
    private static func allows(_ name: UnsafePointer<CChar>?) -> Bool {
        guard let name else { return true }
        let host = String(cString: name)
        return allowed { rules throws(HostGuard.Refusal) in try rules.check(host: host) }
    }

    private static func allowed(_ check: (HostGuard) throws(HostGuard.Refusal) -> Void) -> Bool {
        let rules = hostGuard.withLock(\.self)
        do throws(HostGuard.Refusal) {
            try check(rules)
            return true
        } catch {
            refused.withLock { $0 = error }
            return false
        }
    }
}

extension SocketAddress {
    /// nil for what is neither IPv4 nor IPv6.
    package init?(_ address: UnsafePointer<sockaddr>, length: Int) {
        let bytes = UnsafeRawPointer(address)
        switch CInt(address.pointee.sa_family) {
        case AF_INET where length >= MemoryLayout<sockaddr_in>.size:
            let inner = bytes.loadUnaligned(as: sockaddr_in.self)
            self.init(
                ipv4: UInt32(bigEndian: inner.sin_addr.s_addr), port: UInt16(bigEndian: inner.sin_port))
        case AF_INET6 where length >= MemoryLayout<sockaddr_in6>.size:
            let inner = bytes.loadUnaligned(as: sockaddr_in6.self)
            let halves = withUnsafeBytes(of: inner.sin6_addr) {
                ($0.loadUnaligned(as: UInt64.self), $0.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
            }
            self.init(
                family: .ipv6, high: UInt64(bigEndian: halves.0), low: UInt64(bigEndian: halves.1),
                port: UInt16(bigEndian: inner.sin6_port), scope: inner.sin6_scope_id)
        default: return nil
        }
    }
}
