/// Direction of an m-line, seen from the side that wrote it (RFC 8866 §6.7).
enum MediaDirection: String, CaseIterable {
    case sendrecv, sendonly, recvonly, inactive

    var sends: Bool { self == .sendrecv || self == .sendonly }
    var receives: Bool { self == .sendrecv || self == .recvonly }
}

/// One `a=extmap` line (RFC 8285 §5).
struct OfferedExtension: Equatable {
    var id: UInt8
    var direction: MediaDirection?
    var uri: String
}

extension MediaDescription {
    /// Header extensions of one m-line that are looked at.
    static let maxExtensions = 64
    /// Bytes of `a=fmtp` lines and number of `a=rtcp-fb` lines of one payload type that are kept.
    static let maxParameters = 4096
    static let maxFeedback = 16
    /// Sources of one m-line that are kept; a simulcast of three layers with RTX and FEC names nine.
    static let maxSources = 32

    var mid: String? { attributes.value("mid") }

    func direction(session: SessionDescription) -> MediaDirection {
        func find(_ attributes: [SDPAttribute]) -> MediaDirection? {
            for attribute in attributes where attribute.value == nil {
                if let direction = MediaDirection(rawValue: attribute.name) { return direction }
            }
            return nil
        }
        return find(attributes) ?? find(session.attributes) ?? .sendrecv
    }

    /// SRTP with DTLS keys, in any of the spellings in use. `SAVP` lacks feedback in its name, not in its peers.
    var isSecureRTP: Bool {
        let upper = transport.uppercased()
        return upper.hasSuffix("RTP/SAVPF") || upper.hasSuffix("RTP/SAVP")
    }

    /// Port 0 refuses an m-line, unless it only waits for BUNDLE (RFC 8843 §6).
    var isRefused: Bool { port == 0 && !attributes.has("bundle-only") }

    /// The formats of the m-line in its order with their parameters, feedback and RTX. Lines about payload types
    /// that the m-line does not list, and RTX without its codec, are passed over: other ends munge their offers.
    package func offeredFormats() -> [RTPCodec] {
        var maps: [UInt8: (name: String, clockRate: Int, channels: Int)] = Self.staticFormats
        var parameters: [UInt8: String] = [:]
        var feedback: [UInt8: [String]] = [:]
        var feedbackOfAll: [String] = []
        for attribute in attributes {
            guard let value = attribute.value else { continue }
            switch attribute.name {
            case "rtpmap":
                guard let (type, rest) = Self.payloadType(of: value), let map = Self.rtpmap(rest) else { continue }
                maps[type] = map
            case "fmtp":
                guard let (type, rest) = Self.payloadType(of: value) else { continue }
                let before = parameters[type].map { $0 + ";" } ?? ""
                guard before.utf8.count + rest.utf8.count <= Self.maxParameters else { continue }
                parameters[type] = before + rest
            case "rtcp-fb":
                let fields = value.fields
                guard let first = fields.first else { continue }
                let what = fields.dropFirst().joined(separator: " ")
                if first == "*" {
                    if feedbackOfAll.count < Self.maxFeedback { feedbackOfAll.append(what) }
                } else if let type = UInt8(first), feedback[type, default: []].count < Self.maxFeedback {
                    feedback[type, default: []].append(what)
                }
            default:
                continue
            }
        }
        var codecs: [RTPCodec] = []
        var retransmissions: [UInt8: UInt8] = [:]
        var seen: Set<UInt8> = []
        for format in formats {
            guard let type = UInt8(format), type < 128, seen.insert(type).inserted, let map = maps[type] else {
                continue
            }
            let fmtp = parameters[type] ?? ""
            if map.name.lowercased() == "rtx" {
                let target = FormatParameters(fmtp).number("apt", default: -1)
                if let target = UInt8(exactly: target), retransmissions[target] == nil {
                    retransmissions[target] = type
                }
                continue
            }
            codecs.append(
                RTPCodec(
                    payloadType: type, name: map.name, clockRate: map.clockRate, channels: map.channels, fmtp: fmtp,
                    feedback: (feedback[type] ?? []) + feedbackOfAll))
        }
        for i in codecs.indices { codecs[i].rtxPayloadType = retransmissions[codecs[i].payloadType] }
        return codecs
    }

    /// Payload types that need no rtpmap (RFC 3551 §6), as far as they are codecs of ours.
    private static let staticFormats: [UInt8: (name: String, clockRate: Int, channels: Int)] = [
        0: ("PCMU", 8000, 1), 8: ("PCMA", 8000, 1), 9: ("G722", 8000, 1),
    ]

    /// Splits `96 VP8/90000` behind its payload type.
    private static func payloadType(of value: String) -> (UInt8, Substring)? {
        let parts = value.utf8.split(separator: UInt8(ascii: " "), maxSplits: 1)
        guard let first = parts.first, let type = UInt8(Substring(first)), type < 128 else { return nil }
        return (type, parts.count > 1 ? Substring(parts[1]).trimmed : "")
    }

    /// `<name>/<clock>[/<channels>]`
    private static func rtpmap(_ text: Substring) -> (name: String, clockRate: Int, channels: Int)? {
        let parts = text.split(byte: UInt8(ascii: "/"))
        guard parts.count >= 2, let clock = Int(parts[1]), clock > 0 else { return nil }
        let channels = parts.count > 2 ? Int(parts[2]) ?? 0 : 1
        return (String(parts[0]), clock, channels)
    }

    /// `a=extmap:<id>["/"<direction>] <URI> [<attributes>]`. Later lines with the same id or URI do not count.
    func offeredExtensions() -> [OfferedExtension] {
        var out: [OfferedExtension] = []
        for value in attributes.values("extmap") {
            guard out.count < Self.maxExtensions else { break }
            let fields = value.fields
            guard fields.count >= 2 else { continue }
            let head = fields[0].split(byte: UInt8(ascii: "/"))
            guard let first = head.first, let id = UInt8(first), id > 0, id != 15 else { continue }
            var direction: MediaDirection?
            if head.count > 1 {
                guard let known = MediaDirection(rawValue: String(head[1])) else { continue }
                direction = known
            }
            let uri = String(fields[1])
            guard !out.contains(where: { $0.id == id || $0.uri == uri }) else { continue }
            out.append(OfferedExtension(id: id, direction: direction, uri: uri))
        }
        return out
    }

    /// What `a=ssrc` and `a=ssrc-group` say (RFC 5576): the media source (of a simulcast the first), its RTX source,
    /// and all of them.
    func offeredSources() -> (media: UInt32?, rtx: UInt32?, all: [UInt32]) {
        var all: [UInt32] = []
        func add(_ ssrc: UInt32) {
            if all.count < Self.maxSources, !all.contains(ssrc) { all.append(ssrc) }
        }
        for value in attributes.values("ssrc") {
            if let first = value.fields.first, let ssrc = UInt32(first) { add(ssrc) }
        }
        var simulcast: [UInt32] = []
        var pairs: [(media: UInt32, rtx: UInt32)] = []
        // Repair sources carry no media of their own.
        var repair: Set<UInt32> = []
        for value in attributes.values("ssrc-group").prefix(Self.maxSources) {
            let fields = value.fields
            let sources = fields.dropFirst().prefix(Self.maxSources).compactMap { UInt32($0) }
            guard let semantics = fields.first, sources.count >= 2 else { continue }
            for ssrc in sources { add(ssrc) }
            switch semantics {
            case "FID":
                pairs.append((sources[0], sources[1]))
                repair.insert(sources[1])
            case "FEC-FR", "FEC": repair.insert(sources[1])
            case "SIM": if simulcast.isEmpty { simulcast = sources }
            default: break
            }
        }
        let media = simulcast.first ?? pairs.first?.media ?? all.first { !repair.contains($0) }
        let rtx = pairs.first { $0.media == media }?.rtx
        return (media, rtx, all)
    }
}
