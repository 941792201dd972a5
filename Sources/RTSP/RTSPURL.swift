import SDP

/// An RTSP URL (RFC 2326 §3.2, RFC 7826 §4.2): `rtsp://[user[:password]@]host[:port][/path][?query]`.
///
/// Path and query are kept as they were written, since servers compare them byte by byte; only user, password and names
/// are decoded.
package struct RTSPURL: Sendable, Hashable {
    package enum Scheme: String, Sendable, Hashable {
        case rtsp
        /// Under TLS.
        case rtsps

        package var defaultPort: UInt16 { self == .rtsp ? 554 : 322 }
    }

    /// Characters of a URL that we read.
    static let maxLength = 8 << 10

    package var scheme: Scheme
    package var user: String?
    package var password: String?
    /// Name or address; IPv6 without brackets.
    package var host: String
    /// `nil`: the scheme's own.
    package var explicitPort: UInt16?
    /// Begins with a slash, or is empty.
    package var path: String
    /// Without the question mark.
    package var query: String?

    package var port: UInt16 { explicitPort ?? scheme.defaultPort }

    package init(
        scheme: Scheme = .rtsp, host: String, port: UInt16? = nil, path: String = "", query: String? = nil,
        user: String? = nil, password: String? = nil
    ) {
        self.scheme = scheme
        self.host = host
        explicitPort = port
        self.path = path
        self.query = query
        self.user = user
        self.password = password
    }

    /// `nil` for what is no absolute RTSP URL. A `@` in a password need not be escaped: hosts have none.
    package init?(_ text: some StringProtocol) {
        guard text.utf8.count <= Self.maxLength, text.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7f }) else { return nil }
        guard let scheme = Self.scheme(of: text) else { return nil }
        let rest = Substring(Substring(text).utf8.dropFirst(scheme.rawValue.utf8.count + 3))
        let end = rest.utf8.firstIndex { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: "#") }
        let authority = rest[..<(end ?? rest.endIndex)]
        var target = end.map { rest[$0...] } ?? ""
        if let fragment = target.utf8.firstIndex(of: UInt8(ascii: "#")) { target = target[..<fragment] }
        let (path, query) = target.halves(at: UInt8(ascii: "?"))
        self.init(scheme: scheme, host: "", path: String(path), query: query.map { String($0) })
        guard take(authority: authority) else { return nil }
    }

    private static func scheme(of text: some StringProtocol) -> Scheme? {
        for scheme in [Scheme.rtsp, .rtsps] {
            let head = scheme.rawValue + "://"
            guard text.utf8.count > head.utf8.count else { continue }
            if zip(text.utf8, head.utf8).allSatisfy({ $0.lowercased == $1 }) { return scheme }
        }
        return nil
    }

    private mutating func take(authority: Substring) -> Bool {
        // Some readers take a backslash for a slash, and would see another host than we do.
        guard !authority.utf8.contains(UInt8(ascii: "\\")) else { return false }
        var place = authority
        if let at = authority.utf8.lastIndex(of: UInt8(ascii: "@")) {
            let (name, secret) = authority[..<at].halves(at: UInt8(ascii: ":"))
            guard let decoded = Self.decode(name) else { return false }
            user = decoded
            if let secret {
                guard let decoded = Self.decode(secret) else { return false }
                password = decoded
            }
            place = authority[authority.utf8.index(after: at)...]
        }
        let port: Substring?
        if place.utf8.first == UInt8(ascii: "[") {
            guard let close = place.utf8.firstIndex(of: UInt8(ascii: "]")) else { return false }
            host = String(place[place.utf8.index(after: place.startIndex)..<close])
            guard host.utf8.allSatisfy({ $0.hexValue != nil || $0 == UInt8(ascii: ":") || $0 == UInt8(ascii: ".") })
            else { return false }
            let behind = place[place.utf8.index(after: close)...]
            guard behind.isEmpty || behind.utf8.first == UInt8(ascii: ":") else { return false }
            port = behind.isEmpty ? nil : Substring(behind.utf8.dropFirst())
        } else {
            let (name, number) = place.halves(at: UInt8(ascii: ":"))
            host = String(name)
            guard name.utf8.allSatisfy(Self.isHostCharacter) else { return false }
            port = number
        }
        guard !host.isEmpty else { return false }
        if let port, !port.isEmpty {
            guard let number: UInt16 = port.decimal(), number > 0 else { return false }
            explicitPort = number
        }
        return true
    }

    private static func isHostCharacter(_ byte: UInt8) -> Bool {
        switch byte {
        case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"): true
        default: false
        }
    }

    /// Resolves `%41`; `nil` for a `%` without two digits behind it, and for what is no UTF-8 or holds a zero byte.
    package static func decode(_ text: some StringProtocol) -> String? {
        var out: [UInt8] = []
        var digits: UInt8?
        var left = 0
        for byte in text.utf8 {
            if left > 0 {
                guard let value = byte.hexValue else { return nil }
                left -= 1
                guard let high = digits else {
                    digits = value
                    continue
                }
                out.append(high << 4 | value)
                digits = nil
            } else if byte == UInt8(ascii: "%") {
                left = 2
            } else {
                out.append(byte)
            }
        }
        guard left == 0, !out.contains(0) else { return nil }
        return String(validating: out, as: UTF8.self)
    }

    /// As requests carry it: without user and password.
    package var requestURI: String {
        let place = host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]" : host
        let port = explicitPort.map { ":\($0)" } ?? ""
        return "\(scheme.rawValue)://\(place)\(port)\(path)\(query.map { "?" + $0 } ?? "")"
    }
}

extension RTSPURL: CustomStringConvertible {
    /// For logs: nobody's password.
    package var description: String { requestURI }
}

/// Control URLs of session descriptions (RFC 2326 §C.1.1).
package enum ControlURL {
    /// What `control` means under `base`.
    ///
    /// RFC 2326 leaves to RFC 1808 how they are joined, which would replace the last part of the path; all clients and
    /// cameras append instead, behind the query if there is one, and so must we.
    package static func join(base: String, control: String) -> String {
        if control.isEmpty || control == "*" { return base }
        if isAbsolute(control) { return control }
        let needsSlash = base.utf8.last != UInt8(ascii: "/") && control.utf8.first != UInt8(ascii: "/")
        return base + (needsSlash ? "/" : "") + control
    }

    static func isAbsolute(_ text: String) -> Bool {
        guard let colon = text.utf8.firstIndex(of: UInt8(ascii: ":")) else { return false }
        let scheme = text[..<colon]
        return !scheme.isEmpty && text[colon...].utf8.starts(with: "://".utf8)
            && scheme.utf8.allSatisfy { $0.isToken }
    }

    /// What the controls of a response's description are joined to (RFC 2326 §C.1.1): `Content-Base`,
    /// `Content-Location`, or the URL of the request.
    package static func base(of headers: RTSPHeaders, request uri: String) -> String {
        for name in ["Content-Base", "Content-Location"] {
            if let value = headers[name], isAbsolute(value) { return value }
        }
        return uri
    }
}
