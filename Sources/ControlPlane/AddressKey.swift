import Glibc

/// The part of a client's address by which limits count.
enum AddressKey {
    /// IPv4: the address. IPv6: its /64, since that is what one customer has at least. `remote` may carry a port; what
    /// is not an address counts under its own text.
    static func make(_ remote: String) -> String {
        let host = stripPort(remote)
        var bytes = [UInt8](repeating: 0, count: 16)
        guard inet_pton(AF_INET6, String(host.prefix { $0 != "%" }), &bytes) == 1 else { return host }
        let isMappedIPv4 = bytes[..<10].allSatisfy { $0 == 0 } && bytes[10] == 0xff && bytes[11] == 0xff
        if isMappedIPv4 { return bytes[12...].map { String($0) }.joined(separator: ".") }
        return bytes[..<8].map { String($0, radix: 16) }.joined(separator: ".") + "/64"
    }

    private static func stripPort(_ remote: String) -> String {
        if remote.first == "[", let end = remote.firstIndex(of: "]") {
            return String(remote[remote.index(after: remote.startIndex)..<end])
        }
        // Several colons are a bare IPv6 address.
        guard let colon = remote.firstIndex(of: ":"), colon == remote.lastIndex(of: ":") else { return remote }
        return String(remote[..<colon])
    }
}
