/// Addresses that share their first bits: `10.0.0.0/8`, `2001:db8::/32`; without a length, one address.
package struct AddressRange: Hashable, Sendable, CustomStringConvertible {
    /// As it was written.
    package let description: String
    /// IPv4 as IPv6 writes it, so that a mapped address of a dual-stack listener is found, too.
    private let bytes: [UInt8]
    private let bits: Int

    /// nil if the text is no range of addresses.
    package init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let bytes = AddressKey.parse(String(parts[0])), !parts[0].contains("%") else { return nil }
        let offset = AddressKey.isIPv4(bytes) && !parts[0].contains(":") ? 96 : 0
        var bits = 128
        if parts.count > 1 {
            guard let length = UInt8(parts[1]), offset + Int(length) <= 128 else { return nil }
            bits = offset + Int(length)
        }
        self.bytes = bytes
        self.bits = bits
        description = text
    }

    func contains(_ address: [UInt8]) -> Bool {
        let whole = bits / 8
        guard address[..<whole].elementsEqual(bytes[..<whole]) else { return false }
        let rest = bits % 8
        return rest == 0 || (address[whole] ^ bytes[whole]) >> (8 - rest) == 0
    }
}

/// Reverse proxies whose word about the client's address is taken. A header of anybody else says nothing: everyone can
/// write it.
package struct TrustedProxies: Sendable {
    /// Proxies in a row that are looked through.
    private static let maxHops = 16

    private let ranges: [AddressRange]

    package init(_ ranges: [AddressRange] = []) { self.ranges = ranges }

    /// - Parameter remote: an address with or without port.
    package func contains(_ remote: String) -> Bool {
        guard !ranges.isEmpty, let bytes = AddressKey.parse(AddressKey.stripPort(remote)) else { return false }
        return ranges.contains { $0.contains(bytes) }
    }

    /// Who the client is: the peer of the connection, or if that is a trusted proxy, the last address in
    /// `X-Forwarded-For` that is not one. What stands before that address was written by the client itself.
    /// - Parameters:
    ///   - peer: `address:port` of the connection.
    ///   - forwardedFor: the fields `X-Forwarded-For` in their order.
    package func client(peer: String, forwardedFor: [String]) -> String {
        guard contains(peer) else { return peer }
        var client = peer
        let hops = forwardedFor.flatMap { $0.split(separator: ",") }.suffix(Self.maxHops)
        for hop in hops.reversed() {
            let text = hop.filter { $0 != " " && $0 != "\t" }
            // `unknown` or a made-up name: the proxy before it is all that is known.
            guard AddressKey.parse(AddressKey.stripPort(text)) != nil else { break }
            client = text
            guard contains(text) else { break }
        }
        return client
    }
}
