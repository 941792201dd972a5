import Glibc
import NIOCore
import Wire

/// A host has no address.
struct ResolutionError: Error, CustomStringConvertible {
    var description: String
}

extension NIOCore.SocketAddress {
    /// All addresses of a host. Blocks.
    static func makeAddressesResolvingHost(_ host: String, port: Int) throws -> [Wire.SocketAddress] {
        var hints = addrinfo()
        hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let status = getaddrinfo(host, nil, &hints, &list)
        guard status == 0 else { throw ResolutionError(description: String(cString: gai_strerror(status))) }
        defer { freeaddrinfo(list) }
        var out: [Wire.SocketAddress] = []
        var entry = list
        while let info = entry {
            var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
            if getnameinfo(
                info.pointee.ai_addr, info.pointee.ai_addrlen, &text, socklen_t(text.count), nil, 0, NI_NUMERICHOST)
                == 0
            {
                let name = String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
                let plain = name.prefix { $0 != "%" }
                if let address = Wire.SocketAddress(ip: plain, port: UInt16(truncatingIfNeeded: port)),
                    !out.contains(address)
                {
                    out.append(address)
                }
            }
            entry = info.pointee.ai_next
        }
        return out
    }
}
