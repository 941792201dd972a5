import SDP

/// One way to send media, of those that a `Transport` header lists (RFC 2326 §12.39, RFC 7826 §18.54).
package struct RTSPTransport: Sendable, Hashable {
    package enum Profile: String, Sendable, Hashable, CaseIterable {
        case avp = "RTP/AVP"
        case avpf = "RTP/AVPF"
        case savp = "RTP/SAVP"
        case savpf = "RTP/SAVPF"

        package var isSecure: Bool { self == .savp || self == .savpf }
    }

    package enum Lower: String, Sendable, Hashable {
        case udp = "UDP"
        case tcp = "TCP"
    }

    package enum Mode: String, Sendable, Hashable {
        case play = "PLAY"
        case record = "RECORD"
    }

    /// Two numbers that go together: RTP's and RTCP's.
    package struct Pair<Number: FixedWidthInteger & Sendable>: Sendable, Hashable {
        package var rtp: Number
        package var rtcp: Number
        package init(_ rtp: Number, _ rtcp: Number) {
            self.rtp = rtp
            self.rtcp = rtcp
        }
    }

    package var profile = Profile.avp
    package var lower = Lower.udp
    /// RFC 2326 takes multicast where nothing is said; no client means that.
    package var isMulticast = false
    /// Channels in the connection.
    package var interleaved: Pair<UInt8>?
    package var clientPort: Pair<UInt16>?
    package var serverPort: Pair<UInt16>?
    /// Ports of a multicast group.
    package var port: Pair<UInt16>?
    package var destination: String?
    package var source: String?
    /// Addresses as RFC 7826 writes them: `192.0.2.1:5000`, `:5000`; RTP's and perhaps RTCP's.
    package var destinationAddresses: [String] = []
    package var sourceAddresses: [String] = []
    package var ssrc: UInt32?
    package var timeToLive: UInt8?
    package var layers: UInt8?
    package var mode: Mode?
    package var isAppending = false
    /// RTP and RTCP on one port (RFC 7826 §C.1.6.4).
    package var muxesRTCP = false
    /// Keys of SAVP (RFC 7826 §C.1.4.1), Base64.
    package var mikey: String?

    package init() {}

    package init(_ lower: Lower, profile: Profile = .avp) {
        self.lower = lower
        self.profile = profile
    }
}

extension RTSPTransport {
    /// Ways that one header may list, and parameters that one way may have.
    static let maxTransports = 16
    private static let maxParameters = 32

    /// The ways that a header lists, in the client's order; what is not understood is left out.
    package static func parse(_ value: String) -> [RTSPTransport] {
        Substring(value).listed(by: UInt8(ascii: ","), limit: maxTransports).compactMap { RTSPTransport($0) }
    }

    private init?(_ text: Substring) {
        let parts = text.listed(by: UInt8(ascii: ";"), limit: Self.maxParameters)
        guard let spec = parts.first else { return nil }
        let names = spec.split(byte: UInt8(ascii: "/"))
        guard names.count == 2 || names.count == 3, names[0].equalsIgnoringCase("RTP"),
            let profile = Profile.allCases.first(where: { $0.rawValue.equalsIgnoringCase("RTP/" + names[1]) })
        else { return nil }
        self.profile = profile
        if names.count == 3 {
            if names[2].equalsIgnoringCase("TCP") {
                lower = .tcp
            } else {
                guard names[2].equalsIgnoringCase("UDP") else { return nil }
            }
        }
        for part in parts.dropFirst() {
            let (name, value) = part.halves(at: UInt8(ascii: "="))
            guard take(name.trimmed.asciiLowercased, value?.trimmed) else { return nil }
        }
    }

    /// False for a value that cannot be; a parameter that is not known says nothing.
    private mutating func take(_ name: String, _ value: Substring?) -> Bool {
        switch name {
        case "unicast": isMulticast = false
        case "multicast": isMulticast = true
        case "append": isAppending = true
        case "rtcp-mux": muxesRTCP = true
        case "interleaved":
            guard let pair: Pair<UInt8> = Self.pair(value) else { return false }
            interleaved = pair
        case "client_port":
            guard let pair: Pair<UInt16> = Self.pair(value) else { return false }
            clientPort = pair
        case "server_port":
            guard let pair: Pair<UInt16> = Self.pair(value) else { return false }
            serverPort = pair
        case "port":
            guard let pair: Pair<UInt16> = Self.pair(value) else { return false }
            port = pair
        case "destination": destination = value.map(\.unquoted)
        case "source": source = value.map(\.unquoted)
        case "dest_addr": destinationAddresses = Self.addresses(value)
        case "src_addr": sourceAddresses = Self.addresses(value)
        // Spaces for zeros come from servers that print with %8X.
        case "ssrc": ssrc = value.flatMap { UInt32($0.unquoted, radix: 16) }
        case "ttl": timeToLive = value.flatMap { $0.decimal() }
        case "layers": layers = value.flatMap { $0.decimal() }
        case "mode":
            // RFC 2326 knows lists of modes; a session of ours has one.
            let modes = value.map { Substring($0.unquoted).listed(by: UInt8(ascii: ","), limit: 4) } ?? []
            if let first = modes.first {
                if first.equalsIgnoringCase("PLAY") {
                    mode = .play
                } else {
                    guard first.equalsIgnoringCase("RECORD") || first.equalsIgnoringCase("RECEIVE") else {
                        return false
                    }
                    mode = .record
                }
            }
        case "mikey": mikey = value.map(\.unquoted)
        default: break
        }
        return true
    }

    /// `5000-5001`, or `5000` and the number behind it.
    private static func pair<Number>(_ value: Substring?) -> Pair<Number>? {
        guard let value else { return nil }
        let (first, second) = value.halves(at: UInt8(ascii: "-"))
        guard let rtp: Number = first.trimmed.decimal() else { return nil }
        guard let second else { return rtp < .max ? Pair(rtp, rtp + 1) : nil }
        guard let rtcp: Number = second.trimmed.decimal() else { return nil }
        return Pair(rtp, rtcp)
    }

    /// `"192.0.2.1:5000"/"192.0.2.1:5001"`
    private static func addresses(_ value: Substring?) -> [String] {
        (value ?? "").listed(by: UInt8(ascii: "/"), limit: 4).map(\.unquoted)
    }

    /// The parameters as a response (or a client's request) carries them.
    package var text: String {
        var out = profile.rawValue + (lower == .tcp ? "/TCP" : "")
        out += isMulticast ? ";multicast" : ";unicast"
        if let destination { out += ";destination=" + destination }
        if let source { out += ";source=" + source }
        if let interleaved { out += ";interleaved=\(interleaved.rtp)-\(interleaved.rtcp)" }
        if isAppending { out += ";append" }
        if let timeToLive { out += ";ttl=\(timeToLive)" }
        if let layers { out += ";layers=\(layers)" }
        if let port { out += ";port=\(port.rtp)-\(port.rtcp)" }
        if let clientPort { out += ";client_port=\(clientPort.rtp)-\(clientPort.rtcp)" }
        if let serverPort { out += ";server_port=\(serverPort.rtp)-\(serverPort.rtcp)" }
        if !destinationAddresses.isEmpty {
            out += ";dest_addr=" + destinationAddresses.map(\.quoted).joined(separator: "/")
        }
        if !sourceAddresses.isEmpty { out += ";src_addr=" + sourceAddresses.map(\.quoted).joined(separator: "/") }
        if muxesRTCP { out += ";RTCP-mux" }
        if let ssrc { out += ";ssrc=" + Hex.string(ssrc) }
        if let mode { out += ";mode=\(mode.rawValue.quoted)" }
        if let mikey { out += ";MIKEY=" + mikey.quoted }
        return out
    }
}
