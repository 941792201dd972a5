import SDP
import Wire

/// A range of addresses: `10.0.0.0/8`, `2001:db8::/32`, or one address.
package struct AddressRange: Sendable, Hashable {
    private let family: SocketAddress.Family
    private let high: UInt64
    private let low: UInt64
    private let bits: Int

    package init?(_ text: String) {
        let (host, length) = Substring(text).halves(at: UInt8(ascii: "/"))
        guard let address = SocketAddress(ip: host, port: 0) else { return nil }
        let most = address.family == .ipv4 ? 32 : 128
        var bits = most
        if let length {
            guard let number: Int = length.decimal(), number <= most else { return nil }
            bits = number
        }
        self.init(address, bits: bits)
    }

    init(_ address: SocketAddress, bits: Int) {
        family = address.family
        self.bits = bits
        (high, low) = Self.masked(address, bits)
    }

    package func contains(_ address: SocketAddress) -> Bool {
        guard address.family == family else { return false }
        let (h, l) = Self.masked(address, bits)
        return h == high && l == low
    }

    private static func masked(_ address: SocketAddress, _ bits: Int) -> (UInt64, UInt64) {
        // The bits of an IPv4 address are the last 32 of 128.
        let bits = address.family == .ipv4 ? bits + 96 : bits
        func mask(_ count: Int) -> UInt64 { count <= 0 ? 0 : count >= 64 ? .max : .max << UInt64(64 - count) }
        return (address.high & mask(bits), address.low & mask(bits - 64))
    }
}

/// To which servers users may have us connect. Who may name a URL would otherwise reach through us what only we can:
/// the host itself, its neighbours, a cloud's metadata service.
///
/// The shell asks twice: for the URL, and, once its host has been resolved, for each address; it connects to an address
/// that was allowed, and does not resolve again.
package struct HostGuard: Sendable {
    package enum Refusal: String, Error, Sendable, CaseIterable {
        case host
        case port
        case address
    }

    /// Hosts that may be named, `camera.example.com` or `*.example.com`, or addresses; empty: all.
    package var hosts: [String] = []
    /// Addresses that are allowed although they are not public.
    package var networks: [AddressRange] = []
    /// Others are of services that no camera has.
    package var ports: Set<UInt16> = [322, 554]
    /// ... of the other schemes.
    private static let webPorts: Set<UInt16> = [80, 443]
    /// From here on all are allowed.
    package var firstFreePort: UInt16 = 1024

    package init() {}

    /// Of texts that `isNetwork` takes; others are left out.
    package mutating func allow(networks texts: [String]) { networks += texts.compactMap { AddressRange($0) } }

    /// Whether that is a range of addresses.
    package static func isNetwork(_ text: String) -> Bool { AddressRange(text) != nil }

    package func check(_ url: RTSPURL) throws(Refusal) {
        guard url.port >= firstFreePort || ports.contains(url.port) else { throw .port }
        try check(host: url.host)
    }

    /// Of a source that listens the port is ours. Files are a folder's business.
    package func check(_ url: SourceURL) throws(Refusal) {
        guard url.scheme != .file else { return }
        guard allowsSource(port: url.port) else { throw .port }
        if !url.isListening { try check(host: url.host) }
    }

    package func check(_ target: PullTarget) throws(Refusal) {
        switch target {
        case .rtsp(let url): try check(url)
        case .process(let url): try check(url)
        }
    }

    package func check(host: String) throws(Refusal) {
        guard hosts.isEmpty || hosts.contains(where: { Self.matches(host, $0) }) else { throw .host }
    }

    /// For whatever a source that is not RTSP's leads to.
    package func allowsSource(port: UInt16) -> Bool { port >= firstFreePort || Self.webPorts.contains(port) }

    /// - Parameter address: Of the host of a URL that has been checked.
    package func check(_ address: SocketAddress) throws(Refusal) {
        let plain = Self.unwrapped(address)
        guard networks.contains(where: { $0.contains(plain) || $0.contains(address) }) || Self.isPublic(plain) else {
            throw .address
        }
    }

    private static func matches(_ host: String, _ pattern: String) -> Bool {
        // A dot at its end makes a name the same name.
        func plain(_ text: String) -> Substring {
            text.utf8.last == UInt8(ascii: ".") ? Substring(text.utf8.dropLast()) : Substring(text)
        }
        let host = plain(host)
        guard pattern.utf8.starts(with: "*.".utf8) else { return host.equalsIgnoringCase(plain(pattern)) }
        let suffix = Substring(pattern.utf8.dropFirst())
        guard host.utf8.count > suffix.utf8.count else { return false }
        return Substring(host.utf8.suffix(suffix.utf8.count)).equalsIgnoringCase(suffix)
    }

    /// The IPv4 address inside an IPv6 address that means it: mapped (RFC 4291 §2.5.5.2), NAT64 (RFC 6052 §2.1) and 6to4
    /// (RFC 3056 §2).
    private static func unwrapped(_ address: SocketAddress) -> SocketAddress {
        guard address.family == .ipv6 else { return address }
        let isMapped = address.high == 0 && (address.low >> 32 == 0xffff || (address.low >> 32 == 0 && address.low > 1))
        if isMapped || address.high == 0x0064_ff9b_0000_0000 && address.low >> 32 == 0 {
            return SocketAddress(ipv4: UInt32(truncatingIfNeeded: address.low), port: address.port)
        }
        if address.high >> 48 == 0x2002 {
            return SocketAddress(ipv4: UInt32(truncatingIfNeeded: address.high >> 16), port: address.port)
        }
        return address
    }

    private static func isPublic(_ address: SocketAddress) -> Bool {
        if address.family == .ipv6, !globalIPv6.contains(address) { return false }
        return !special.contains { $0.contains(address) }
    }

    /// Global unicast; all else of IPv6 is loopback, link-local, unique local, multicast or not in use.
    private static let globalIPv6 = AddressRange(
        SocketAddress(family: .ipv6, high: 0x2000_0000_0000_0000, low: 0, port: 0), bits: 3)

    /// Not global by the registries of RFC 6890: this network, private, shared, loopback, link-local (a cloud's metadata is
    /// there), protocol assignments, documentation, benchmarks, multicast and reserved; Teredo and documentation of IPv6.
    private static let special: [AddressRange] = [
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4", "2001::/23", "2001:db8::/32", "3fff::/20",
    ].compactMap { AddressRange($0) }
}
