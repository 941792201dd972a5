import FoundationEssentials

/// An address of the server that is measured: `http`, `https`, `ws` or `wss`.
package struct ServiceURL: Sendable, Equatable, CustomStringConvertible {
    package enum Scheme: String, Sendable {
        case http, https, ws, wss

        package var isSecure: Bool { self == .https || self == .wss }
        package var isWebSocket: Bool { self == .ws || self == .wss }
    }

    package let scheme: Scheme
    /// Name or address, without the brackets of IPv6.
    package let host: String
    package let port: Int
    /// Path and query as they go into the request line; begins with "/".
    package let target: String

    /// - Throws: `SignallingFailure` (`badAddress`) that says what is wrong.
    package init(_ text: String) throws(SignallingFailure) {
        guard let parts = URLComponents(string: text), let name = parts.scheme?.lowercased(),
            let scheme = Scheme(rawValue: name), var host = parts.host, !host.isEmpty
        else {
            throw SignallingFailure(
                .badAddress,
                "\"\(text)\" is no usable address; give one like http://HOST:8080 or ws://HOST:8080")
        }
        if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
        if let given = parts.port, !(1...65_535).contains(given) {
            throw SignallingFailure(.badAddress, "\"\(text)\": port \(given) does not exist; give 1 to 65535")
        }
        var target = parts.percentEncodedPath.isEmpty ? "/" : parts.percentEncodedPath
        if let query = parts.percentEncodedQuery { target += "?" + query }
        self.init(scheme: scheme, host: host, port: parts.port ?? (scheme.isSecure ? 443 : 80), target: target)
    }

    private init(scheme: Scheme, host: String, port: Int, target: String) {
        self.scheme = scheme
        self.host = host
        self.port = port
        self.target = target
    }

    /// What a `Location` header means that came from here (RFC 3986 §5.2, as far as servers use it).
    package func resolving(_ location: String) throws(SignallingFailure) -> ServiceURL {
        if location.contains("://") { return try ServiceURL(location) }
        if location.hasPrefix("//") { return try ServiceURL("\(scheme.rawValue):\(location)") }
        if location.hasPrefix("/") { return replacing(target: location) }
        let path = target.prefix { $0 != "?" }
        let folder = path[...(path.lastIndex(of: "/") ?? path.startIndex)]
        return replacing(target: folder + location)
    }

    package func replacing(target: String) -> ServiceURL {
        ServiceURL(scheme: scheme, host: host, port: port, target: target)
    }

    /// `Host` header (RFC 9110 §7.2).
    package var authority: String {
        let name = host.contains(":") ? "[\(host)]" : host
        return port == (scheme.isSecure ? 443 : 80) ? name : "\(name):\(port)"
    }

    /// Whether one connection serves both.
    package func hasOrigin(of other: ServiceURL) -> Bool {
        scheme == other.scheme && host == other.host && port == other.port
    }

    package var description: String { "\(scheme.rawValue)://\(authority)\(target)" }

    /// A stream name as one segment of a path or one value of a query.
    static func encode(_ name: String) -> String {
        var encoded = ""
        for byte in name.utf8 {
            let scalar = Unicode.Scalar(byte)
            if unreserved.contains(scalar) {
                encoded.unicodeScalars.append(scalar)
            } else {
                encoded += "%" + String(byte >> 4, radix: 16, uppercase: true)
                encoded += String(byte & 15, radix: 16, uppercase: true)
            }
        }
        return encoded
    }

    /// RFC 3986 §2.3.
    private static let unreserved = Set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~".unicodeScalars)
}
