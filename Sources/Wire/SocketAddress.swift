/// An IPv4 or IPv6 address with a port, as a plain value: hashable and comparable without a system call.
package struct SocketAddress: Hashable, Sendable, BitwiseCopyable {
    package enum Family: UInt8, Sendable, BitwiseCopyable { case ipv4 = 4, ipv6 = 6 }

    package var family: Family
    /// Host byte order.
    package var port: UInt16
    /// IPv6 zone (interface index) of link-local addresses, else 0.
    package var scope: UInt32
    /// The address in network order as two big-endian halves; an IPv4 address is the low 32 bits of `low`.
    package var high: UInt64
    package var low: UInt64

    @inlinable package init(family: Family, high: UInt64, low: UInt64, port: UInt16, scope: UInt32 = 0) {
        self.family = family
        self.high = high
        self.low = low
        self.port = port
        self.scope = scope
    }

    @inlinable package init(ipv4: UInt32, port: UInt16) {
        self.init(family: .ipv4, high: 0, low: UInt64(ipv4), port: port)
    }

    /// Text without brackets: `192.0.2.1`, `2001:db8::1`. `nil` for anything else (names are never resolved).
    package init?(ip text: some StringProtocol, port: UInt16) {
        if let v4 = SocketAddress.parseIPv4(text) {
            self.init(ipv4: v4, port: port)
        } else if let (high, low) = SocketAddress.parseIPv6(text) {
            self.init(family: .ipv6, high: high, low: low, port: port)
        } else {
            return nil
        }
    }

    @inlinable package var isLoopback: Bool {
        family == .ipv4 ? (low >> 24) == 127 : (high == 0 && low == 1)
    }
    @inlinable package var isUnspecified: Bool { high == 0 && low == 0 }
    @inlinable package var isLinkLocal: Bool {
        family == .ipv4 ? (low >> 16) == 0xa9fe : (high >> 54) == 0x3fa
    }

    /// Same address, whatever the port.
    @inlinable package func hasSameIP(as other: SocketAddress) -> Bool {
        family == other.family && high == other.high && low == other.low
    }

    private static func parseIPv4(_ text: some StringProtocol) -> UInt32? {
        let parts = text.split(separator: ".", maxSplits: 4, omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var value: UInt32 = 0
        for part in parts {
            guard (1...3).contains(part.utf8.count), part.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }),
                let octet = UInt8(part)
            else { return nil }
            value = value << 8 | UInt32(octet)
        }
        return value
    }

    private static func parseIPv6(_ text: some StringProtocol) -> (UInt64, UInt64)? {
        guard text.utf8.count >= 2, text.utf8.count <= 45 else { return nil }
        func groups(_ part: some StringProtocol) -> [UInt16]? {
            if part.isEmpty { return [] }
            var out: [UInt16] = []
            let pieces = part.split(separator: ":", omittingEmptySubsequences: false)
            for (i, piece) in pieces.enumerated() {
                if i == pieces.count - 1, let v4 = parseIPv4(piece) {
                    out.append(UInt16(v4 >> 16))
                    out.append(UInt16(truncatingIfNeeded: v4))
                    continue
                }
                guard (1...4).contains(piece.utf8.count), piece.first != "+", let g = UInt16(piece, radix: 16) else {
                    return nil
                }
                out.append(g)
            }
            return out
        }
        var all: [UInt16]
        let bytes = Array(text.utf8)
        var gap: Int?
        var i = 0
        while i + 1 < bytes.count {
            if bytes[i] == 0x3a, bytes[i + 1] == 0x3a {
                guard gap == nil else { return nil }
                gap = i
                i += 1
            }
            i += 1
        }
        if let gap {
            let head = String(decoding: bytes[..<gap], as: UTF8.self)
            let tail = String(decoding: bytes[(gap + 2)...], as: UTF8.self)
            guard let a = groups(head), let b = groups(tail), a.count + b.count <= 7 else { return nil }
            all = a + [UInt16](repeating: 0, count: 8 - a.count - b.count) + b
        } else {
            guard let a = groups(text), a.count == 8 else { return nil }
            all = a
        }
        var high: UInt64 = 0
        var low: UInt64 = 0
        for g in all[0..<4] { high = high << 16 | UInt64(g) }
        for g in all[4..<8] { low = low << 16 | UInt64(g) }
        return (high, low)
    }
}

extension SocketAddress: CustomStringConvertible {
    /// The address alone, as SDP and logs write it (RFC 5952 for IPv6).
    package var ip: String {
        if family == .ipv4 {
            return "\(low >> 24 & 255).\(low >> 16 & 255).\(low >> 8 & 255).\(low & 255)"
        }
        let groups = (0..<8).map { i in UInt16(truncatingIfNeeded: (i < 4 ? high : low) >> UInt64((3 - i % 4) * 16)) }
        var best = 0..<0
        var i = 0
        while i < 8 {
            var j = i
            while j < 8, groups[j] == 0 { j += 1 }
            if j - i >= 2, j - i > best.count { best = i..<j }
            i = max(j, i + 1)
        }
        func hex(_ r: Range<Int>) -> String { groups[r].map { String($0, radix: 16) }.joined(separator: ":") }
        return best.isEmpty ? hex(0..<8) : "\(hex(0..<best.lowerBound))::\(hex(best.upperBound..<8))"
    }

    package var description: String { family == .ipv4 ? "\(ip):\(port)" : "[\(ip)]:\(port)" }
}
