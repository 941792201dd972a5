import Wire

extension Candidate {
    /// Type preference of host candidates (RFC 8445 §5.1.2.1); TCP lies below every UDP candidate, as browsers put it.
    private static let udpTypePreference: UInt32 = 126
    private static let tcpTypePreference: UInt32 = 90
    /// Direction preference of passive TCP candidates (RFC 6544 §4.2).
    private static let passivePreference: UInt32 = 4

    /// Candidates of one offer that are kept.
    static let maxOffered = 32

    /// Value of `a=candidate` for the candidate at `index` of our list (RFC 8839 §5.1, RFC 6544 §4.5). Every
    /// candidate has a foundation of its own: each is another base.
    func attribute(index: Int) -> SDPAttribute {
        let place = UInt32(min(max(index, 0), 8000))
        let priority: UInt32
        let tail: String
        switch transport {
        case .udp:
            priority = Self.udpTypePreference << 24 | (65_535 - place) << 8 | 255
            tail = "typ host"
        case .tcp:
            priority = Self.tcpTypePreference << 24 | (Self.passivePreference << 13 | (8191 - place)) << 8 | 255
            tail = "typ host tcptype passive"
        }
        return SDPAttribute("candidate", "\(place + 1) 1 \(transport.rawValue) \(priority) \(ip) \(port) \(tail)")
    }

    /// Value of a `c=` line with this address (RFC 8866 §5.7).
    var connection: String { "IN \(ip.contains(":") ? "IP6" : "IP4") \(ip)" }

    /// Reads an offered candidate. `nil` for what a lite agent has no use for: component 2, TCP (browsers are active
    /// there and say port 9), and names such as `….local`, which are never resolved.
    init?(offered value: String) {
        let fields = value.fields
        guard fields.count >= 8, fields[1] == "1", fields[2].lowercased() == "udp", let port = UInt16(fields[5]),
            port != 0, SocketAddress(ip: fields[4], port: port) != nil, fields[6] == "typ"
        else { return nil }
        self.init(ip: String(fields[4]), port: port, transport: .udp)
    }
}
