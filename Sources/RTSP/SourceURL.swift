import SDP

/// URL of a source that is not RTSP's: what a process with libavformat opens.
///
/// Authority and path are read as strictly as those of an RTSP URL, and `text` is written anew from what was read, so that
/// libavformat sees the host that was checked.
package struct SourceURL: Sendable, Hashable {
    package enum Scheme: String, Sendable, CaseIterable {
        case rtmp, rtmps, http, https, srt
        /// An MPEG transport stream: `udp://@:PORT`, `udp://GROUP:PORT`.
        case udp
        case file

        var defaultPort: UInt16? {
            switch self {
            case .rtmp: 1935
            case .http: 80
            case .https, .rtmps: 443
            case .srt, .udp, .file: nil
            }
        }
    }

    /// Of URLs' parameters, those that say how a stream is taken: the rest could name other places.
    private static let parameters: [Scheme: Set<String>] = [
        .srt: ["mode", "streamid", "passphrase", "pbkeylen", "latency", "rcvlatency", "peerlatency", "tsbpdmode"],
        .udp: ["localaddr", "sources", "block", "buffer_size", "fifo_size", "overrun_nonfatal", "pkt_size", "reuse"],
    ]

    package let scheme: Scheme
    /// The rest in the form of an RTSP URL; of a file its host and port mean nothing.
    private let place: RTSPURL

    /// Empty: any address of this machine.
    package var host: String { isAnyHost ? "" : place.host }
    package var port: UInt16 { place.explicitPort ?? scheme.defaultPort ?? 0 }
    /// Media comes to a port of ours: there is no host to connect to.
    package let isListening: Bool
    private let isAnyHost: Bool

    /// nil for what is none of these URLs.
    package init?(_ text: some StringProtocol) {
        guard text.utf8.count <= RTSPURL.maxLength, text.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7f }) else {
            return nil
        }
        let (head, rest) = Substring(text).halves(at: UInt8(ascii: ":"))
        guard let rest, rest.utf8.starts(with: "//".utf8), let scheme = Scheme(rawValue: head.asciiLowercased) else {
            return nil
        }
        var authority = rest.utf8.dropFirst(2)
        self.scheme = scheme
        if scheme == .file {
            guard let url = RTSPURL("rtsp://localhost" + String(Substring(authority))), authority.first == 0x2f,
                url.query == nil
            else { return nil }
            (place, isListening, isAnyHost) = (url, false, true)
            return
        }
        // ffmpeg's way to write "any address", and that a group is one's own to hear.
        if scheme == .udp, authority.first == UInt8(ascii: "@") { authority = authority.dropFirst() }
        let isAnyHost = (scheme == .udp || scheme == .srt) && authority.first == UInt8(ascii: ":")
        guard let url = RTSPURL("rtsp://" + (isAnyHost ? "0.0.0.0" : "") + String(Substring(authority))) else {
            return nil
        }
        guard url.explicitPort != nil || scheme.defaultPort != nil else { return nil }
        var isListener = scheme == .udp
        if let known = Self.parameters[scheme] {
            for pair in (url.query ?? "").utf8.split(separator: UInt8(ascii: "&")) {
                let (name, value) = Substring(pair).halves(at: UInt8(ascii: "="))
                guard known.contains(String(name)) else { return nil }
                guard name == "mode" else { continue }
                guard value == "caller" || value == "listener" else { return nil }
                isListener = value == "listener"
            }
        }
        guard isListener || !isAnyHost else { return nil }
        (place, isListening) = (url, isListener)
        self.isAnyHost = isAnyHost
    }

    /// As libavformat is to be given it.
    package var text: String {
        var out = "\(scheme.rawValue)://"
        if scheme == .file { return out + place.path }
        if let user = place.user {
            out += Self.escaped(user) + (place.password.map { ":" + Self.escaped($0) } ?? "") + "@"
        }
        out += host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]" : host
        if port != scheme.defaultPort { out += ":\(port)" }
        return out + place.path + (place.query.map { "?" + $0 } ?? "")
    }

    /// Of a file: the components of its absolute path, `%41` resolved; nil if it has some that lead elsewhere, or none.
    package var path: [String]? {
        guard scheme == .file else { return nil }
        let parts = place.path.utf8.split(separator: UInt8(ascii: "/")).map { RTSPURL.decode(Substring($0)) }
        let components = parts.compactMap(\.self)
        guard !components.isEmpty, components.count == parts.count,
            components.allSatisfy({ $0 != "." && $0 != ".." && !$0.utf8.contains(UInt8(ascii: "/")) })
        else { return nil }
        return components
    }

    /// Whether a file is in a folder, or in one below it, as far as names tell.
    package func isBelow(_ folder: String) -> Bool { components(below: folder) != nil }

    /// The way from a folder to the file; nil if it is not below it.
    package func components(below folder: String) -> [String]? {
        let start = folder.utf8.split(separator: UInt8(ascii: "/")).map { String(Substring($0)) }
        guard folder.utf8.first == UInt8(ascii: "/"), let path, path.count > start.count, path.starts(with: start)
        else {
            return nil
        }
        return Array(path.dropFirst(start.count))
    }

    private static func escaped(_ text: String) -> String {
        var out = ""
        for byte in text.utf8 {
            switch byte {
            case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"):
                out.unicodeScalars.append(Unicode.Scalar(byte))
            default: out += "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
            }
        }
        return out
    }
}

/// What a name of a stream may say is to be pulled, and by whom.
package enum PullTarget: Sendable, Hashable {
    /// By our own client.
    case rtsp(RTSPURL)
    /// By libavformat, in a process of its own.
    case process(SourceURL)

    /// Schemes in the order in which people are told of them.
    package static let schemes = ["rtsp", "rtsps"] + SourceURL.Scheme.allCases.map(\.rawValue)

    package init?(_ text: String) {
        if let url = RTSPURL(text) {
            self = .rtsp(url)
        } else if let url = SourceURL(text) {
            self = .process(url)
        } else {
            return nil
        }
    }

    /// To which it would be connected; nil where nothing is.
    package var host: String? {
        switch self {
        case .rtsp(let url): url.host
        case .process(let url): url.scheme == .file || url.isListening ? nil : url.host
        }
    }

    package var isProcess: Bool { if case .process = self { true } else { false } }

    /// The scheme of a text that may be a URL that can be pulled: one of `schemes`.
    package static func scheme(of text: String) -> String? {
        guard let mark = text.firstRange(of: "://") else { return nil }
        let scheme = text[..<mark.lowerBound].lowercased()
        return schemes.contains(scheme) ? scheme : nil
    }
}
