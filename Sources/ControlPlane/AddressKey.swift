import Glibc

/// A client's address as text, and the part of it by which limits count.
package enum AddressKey {
    /// `address:port` or `[address]:port`, as requests carry it; an IPv4 client of a dual-stack listener is written as
    /// what it is. `unknown` without an address.
    package static func text(host: String?, port: Int?) -> String {
        guard let host else { return "unknown" }
        let bytes = parse(host)
        let plain = bytes.map(isIPv4) == true ? make(host) : host
        return plain.contains(":") ? "[\(plain)]:\(port ?? 0)" : "\(plain):\(port ?? 0)"
    }

    /// IPv4: the address. IPv6: its /64, since that is what one customer has at least. `remote` may carry a port; what
    /// is not an address counts under its own text.
    static func make(_ remote: String) -> String {
        let host = stripPort(remote)
        guard let bytes = parse(host) else { return host }
        if isIPv4(bytes) { return bytes[12...].map { String($0) }.joined(separator: ".") }
        return bytes[..<8].map { String($0, radix: 16) }.joined(separator: ".") + "/64"
    }

    /// The 16 bytes of an IPv6 address, or of an IPv4 address as IPv6 writes it (`::ffff:192.0.2.1`); nil for anything
    /// else. A zone (`%eth0`) is left out.
    static func parse(_ host: String) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: 16)
        if inet_pton(AF_INET6, String(host.prefix { $0 != "%" }), &bytes) == 1 { return bytes }
        var four = [UInt8](repeating: 0, count: 4)
        guard inet_pton(AF_INET, host, &four) == 1 else { return nil }
        return mappedPrefix + four
    }

    static func isIPv4(_ bytes: [UInt8]) -> Bool { bytes.starts(with: mappedPrefix) }

    /// The address of `address:port` and `[address]:port`; a bare address stays as it is.
    static func stripPort(_ remote: String) -> String {
        if remote.first == "[", let end = remote.firstIndex(of: "]") {
            return String(remote[remote.index(after: remote.startIndex)..<end])
        }
        // Several colons are a bare IPv6 address.
        guard let colon = remote.firstIndex(of: ":"), colon == remote.lastIndex(of: ":") else { return remote }
        return String(remote[..<colon])
    }

    private static let mappedPrefix = [UInt8](repeating: 0, count: 10) + [0xff, 0xff]
}
