import ControlPlane
import Wire

/// How one type of value is read from text and written back. `read` throws what the operator must change.
struct ValueForm<Value: Sendable>: Sendable {
    var read: @Sendable (ConfigurationValue) throws(BadValue) -> Value
    /// Text that `read` takes for the same value.
    var write: @Sendable (Value) -> String
}

extension ConfigurationValue {
    func scalarText(_ remedy: String) throws(BadValue) -> String {
        switch self {
        case .scalar(let text, _): return text
        case .missing: throw BadValue("is no value", remedy: "\(remedy), or remove the key")
        case .list, .mapping: throw BadValue("is not a single value", remedy: remedy)
        }
    }
}

// MARK: - Numbers and words

extension ValueForm where Value == Int {
    static func integer(_ range: ClosedRange<Int>, unit: String = "") -> Self {
        let remedy = "give a whole number from \(range.lowerBound) to \(range.upperBound)\(unit)"
        return Self(
            read: { value throws(BadValue) in
                let text = try value.scalarText(remedy)
                guard let number = Int(text) else { throw BadValue("is not a whole number", remedy: remedy) }
                guard range.contains(number) else { throw BadValue("is out of range", remedy: remedy) }
                return number
            }, write: { String($0) })
    }

    /// Bytes, written `4MiB`, `512KiB`, `1GiB` or as a plain number.
    static func size(_ range: ClosedRange<Int>) -> Self {
        let remedy =
            "give a size from \(sizeText(range.lowerBound)) to \(sizeText(range.upperBound)), such as 4MiB or 512KiB"
        return Self(
            read: { value throws(BadValue) in
                let text = try value.scalarText(remedy)
                let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1), ("", 1)]
                guard let bytes = scaled(text, units: units) else { throw BadValue("is not a size", remedy: remedy) }
                guard range.contains(bytes) else { throw BadValue("is out of range", remedy: remedy) }
                return bytes
            }, write: { sizeText($0) })
    }

    /// Bits per second, written `5M`, `800k` or as a plain number.
    static func bitrate(_ range: ClosedRange<Int>) -> Self {
        let remedy = "give bits per second from \(range.lowerBound) to \(range.upperBound), such as 5M or 800k"
        return Self(
            read: { value throws(BadValue) in
                let text = try value.scalarText(remedy)
                guard let bits = scaled(text, units: [("k", 1000), ("M", 1_000_000), ("G", 1_000_000_000), ("", 1)])
                else { throw BadValue("is not a bitrate", remedy: remedy) }
                guard range.contains(bits) else { throw BadValue("is out of range", remedy: remedy) }
                return bits
            }, write: { $0 % 1_000_000 == 0 ? "\($0 / 1_000_000)M" : $0 % 1000 == 0 ? "\($0 / 1000)k" : "\($0)" })
    }
}

/// A decimal number and one of the units; the first unit that the text ends with counts. `nil` also if it overflows.
private func scaled(_ text: String, units: [(name: String, factor: Int)]) -> Int? {
    for (name, factor) in units where text.hasSuffix(name) {
        let digits = text.dropLast(name.count)
        guard let last = digits.last, last.isASCII, last.isNumber || last == " " else { continue }
        let trimmed = digits.last == " " ? digits.dropLast() : digits
        guard let number = Double(trimmed), number >= 0, trimmed.allSatisfy({ $0.isNumber || $0 == "." }) else {
            return nil
        }
        return Int(exactly: (number * Double(factor)).rounded())
    }
    return nil
}

func sizeText(_ bytes: Int) -> String {
    for (name, factor) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] where bytes >= factor {
        if bytes % factor == 0 { return "\(bytes / factor)\(name)" }
    }
    return "\(bytes)"
}

extension ValueForm where Value == UInt16 {
    /// `offAllowed`: 0 switches the listener off.
    static func port(offAllowed: Bool = false) -> Self {
        let remedy = "give a port number from 1 to 65535" + (offAllowed ? ", or 0 to switch the listener off" : "")
        return Self(
            read: { value throws(BadValue) in
                let text = try value.scalarText(remedy)
                guard let port = UInt16(text), offAllowed || port > 0 else {
                    throw BadValue("is not a port number", remedy: remedy)
                }
                return port
            }, write: { String($0) })
    }
}

extension ValueForm where Value == Bool {
    static var flag: Self {
        let remedy = "give true or false"
        return Self(
            read: { value throws(BadValue) in
                switch try value.scalarText(remedy).lowercased() {
                case "true", "yes", "on": return true
                case "false", "no", "off": return false
                default: throw BadValue("is neither true nor false", remedy: remedy)
                }
            }, write: { $0 ? "true" : "false" })
    }
}

extension ValueForm where Value == String {
    /// A path; empty where the key may be left out.
    static var path: Self {
        let remedy = "give a path, or \"\" for none"
        return Self(
            read: { value throws(BadValue) in
                let text = try value.scalarText(remedy)
                guard !text.utf8.contains(0) else { throw BadValue("is not a path", remedy: remedy) }
                return text
            }, write: { $0.isEmpty ? "\"\"" : $0 })
    }
}

extension ValueForm {
    /// One word of several. Near misses are named.
    static func word(_ words: [(name: String, value: Value)], name: @escaping @Sendable (Value) -> String) -> Self {
        let names = words.map(\.name)
        let remedy = "give one of \(names.joined(separator: ", "))"
        let table = words
        return Self(
            read: { value throws(BadValue) in
                let text = try value.scalarText(remedy)
                if let found = table.first(where: { $0.name.lowercased() == text.lowercased() }) { return found.value }
                let hint = nearest(to: text, of: names).map { "; did you mean \($0)?" } ?? ""
                throw BadValue("is not known", remedy: remedy + hint, line: value.line, value: value.text)
            }, write: name)
    }
}

// MARK: - Time

extension ValueForm where Value == Interval {
    /// Written `500ms`, `10s`, `2m`, `1h`; a plain 0 is taken where the range has it.
    static func duration(_ range: ClosedRange<Interval>) -> Self {
        let limits = "from \(durationText(range.lowerBound)) to \(durationText(range.upperBound))"
        let remedy = "give a time \(limits) with its unit, such as 500ms, 10s or 2m"
        return Self(
            read: { value throws(BadValue) in
                let text = try value.scalarText(remedy)
                let units = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000)]
                let found = text == "0" ? 0 : scaled(text, units: units)
                guard let milliseconds = found else {
                    let problem = Double(text) == nil ? "is not a time" : "has no unit"
                    throw BadValue(problem, remedy: remedy)
                }
                guard milliseconds <= range.upperBound.milliseconds, milliseconds >= range.lowerBound.milliseconds
                else { throw BadValue("is out of range", remedy: remedy) }
                return .milliseconds(Int64(milliseconds))
            }, write: { durationText($0) })
    }
}

func durationText(_ interval: Interval) -> String {
    let milliseconds = interval.milliseconds
    if milliseconds != 0, milliseconds % 3_600_000 == 0 { return "\(milliseconds / 3_600_000)h" }
    if milliseconds % 1000 == 0 { return "\(milliseconds / 1000)s" }
    return "\(milliseconds)ms"
}

// MARK: - Addresses and lists

extension ValueForm where Value == SocketAddress {
    static var address: Self {
        let remedy = "give an IPv4 or IPv6 address such as 0.0.0.0, 192.0.2.1 or ::; names are not resolved"
        return Self(
            read: { value throws(BadValue) in
                let text = try value.scalarText(remedy)
                let bare = text.hasPrefix("[") && text.hasSuffix("]") ? String(text.dropFirst().dropLast()) : text
                guard let address = SocketAddress(ip: bare, port: 0) else {
                    throw BadValue("is not an address", remedy: remedy, line: value.line, value: value.text)
                }
                return address
            }, write: { $0.ip.contains(":") ? "\"\($0.ip)\"" : $0.ip })
    }
}

extension ValueForm where Value == SocketAddress {
    /// An address with a port: a listener.
    static var listener: Self {
        let remedy = "give an address and a port such as 0.0.0.0:8554, 192.0.2.1:8554 or \"[::]:8554\""
        return Self(
            read: { value throws(BadValue) in
                let text = try value.scalarText(remedy)
                let bad = BadValue("is not an address with a port", remedy: remedy, line: value.line, value: value.text)
                guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]),
                    port > 0
                else { throw bad }
                var host = text[..<colon]
                let isBracketed = host.hasPrefix("[") && host.hasSuffix("]")
                if isBracketed { host = host.dropFirst().dropLast() }
                guard let address = SocketAddress(ip: host, port: port), isBracketed == (address.family == .ipv6) else {
                    throw bad
                }
                return address
            }, write: { "\"\($0)\"" })
    }
}

extension ValueForm where Value == AddressRange {
    static var addressRange: Self {
        let remedy = "give an address or a range such as 127.0.0.1, 10.0.0.0/8 or 2001:db8::/32"
        return Self(
            read: { value throws(BadValue) in
                let text = try value.scalarText(remedy)
                guard let range = AddressRange(text) else {
                    throw BadValue("is not a range of addresses", remedy: remedy, line: value.line, value: value.text)
                }
                return range
            }, write: { "\"\($0)\"" })
    }
}

extension ValueForm {
    /// `[a, b]`, one per line with `- `, or a single value; the environment may write `a, b`.
    static func list<Element: Equatable>(_ form: ValueForm<Element>, _ range: ClosedRange<Int>) -> Self
    where Value == [Element] {
        Self(
            read: { value throws(BadValue) in
                let items: [ConfigurationValue]
                switch value {
                case .list(let list, _): items = list
                case .scalar(let text, let line):
                    items = text.split(separator: ",").map {
                        .scalar(String($0.trimmingSpaces), line: line)
                    }
                case .missing: throw BadValue("is no value", remedy: "give a list such as [a, b], or remove the key")
                case .mapping: items = [value]
                }
                var found: [Element] = []
                for item in items {
                    do throws(BadValue) {
                        let element = try form.read(item)
                        guard !found.contains(element) else {
                            throw BadValue("stands twice in the list", remedy: "remove one of them")
                        }
                        found.append(element)
                    } catch {
                        throw BadValue(
                            error.problem, remedy: error.remedy, line: error.line ?? item.line,
                            value: error.value ?? item.text)
                    }
                }
                guard range.contains(found.count) else {
                    throw BadValue(
                        found.isEmpty ? "is an empty list" : "is too long a list",
                        remedy: "give \(range.lowerBound) to \(range.upperBound) values")
                }
                return found
            }, write: { "[" + $0.map(form.write).joined(separator: ", ") + "]" })
    }
}

extension ValueForm where Value == String {
    /// An `Origin` (RFC 6454): scheme, host and perhaps a port, or `*`.
    static var origin: Self {
        let remedy = "give an origin such as https://www.example.com, or \"*\" for every page"
        return Self(
            read: { value throws(BadValue) in
                let text = try value.scalarText(remedy)
                let rest = ["https://", "http://"].first { text.hasPrefix($0) }.map { text.dropFirst($0.count) }
                let isOrigin = rest.map { !$0.isEmpty && !$0.contains { "/?#@ ".contains($0) } } ?? false
                guard text == "*" || isOrigin else { throw BadValue("is not an origin", remedy: remedy) }
                return text
            }, write: { "\"\($0)\"" })
    }
}

extension ValueForm where Value == Configuration.ICEServer {
    static var iceServer: Self {
        let remedy = "give {urls: [\"stun:HOST:PORT\"]}, with username and credential for turn:"
        return Self(
            read: { value throws(BadValue) in
                guard case .mapping(let pairs, _) = value else {
                    throw BadValue("is not an ICE server", remedy: remedy, line: value.line, value: "the entry")
                }
                var server = Configuration.ICEServer(urls: [])
                for (key, part) in pairs {
                    do throws(BadValue) {
                        switch key {
                        case "urls": server.urls = try ValueForm<[String]>.list(.iceURL, 1...8).read(part)
                        case "username": server.username = try part.scalarText(remedy)
                        case "credential": server.credential = try part.scalarText(remedy)
                        default: throw BadValue("is not a key of an ICE server", remedy: remedy)
                        }
                    } catch {
                        throw BadValue(
                            error.problem, remedy: error.remedy, line: error.line ?? part.line,
                            value: error.value ?? key)
                    }
                }
                let isTurn = server.urls.contains { $0.hasPrefix("turn") }
                guard !server.urls.isEmpty, !isTurn || (!server.username.isEmpty && !server.credential.isEmpty) else {
                    throw BadValue("is not complete", remedy: remedy, line: value.line, value: "the entry")
                }
                return server
            },
            write: { server in
                let urls = server.urls.map { "\"\($0)\"" }.joined(separator: ", ")
                var parts = ["urls: [\(urls)]"]
                if !server.username.isEmpty { parts.append("username: \"\(server.username)\"") }
                if !server.credential.isEmpty { parts.append("credential: \"\(server.credential)\"") }
                return "{" + parts.joined(separator: ", ") + "}"
            })
    }

}

extension ValueForm where Value == String {
    /// A bearer token (RFC 6750 §2.1), or empty for none. Never shown in errors.
    static var token: Self {
        let remedy =
            "give at least 16 of the characters A-Z a-z 0-9 - . _ ~ + /, or \"\" for none "
            + "(openssl rand -hex 32 makes one)"
        return Self(
            read: { value throws(BadValue) in
                let text = try value.scalarText(remedy)
                let isToken = text.utf8.allSatisfy { byte in
                    (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
                        || "-._~+/=".utf8.contains(byte)
                }
                guard text.isEmpty || (isToken && (16...512).contains(text.utf8.count)) else {
                    throw BadValue("is not a token", remedy: remedy, value: "the value")
                }
                return text
            }, write: { "\"\($0)\"" })
    }

    static var iceURL: Self {
        let remedy = "give stun:HOST, turn:HOST or turns:HOST, perhaps with :PORT and ?transport=udp|tcp"
        return Self(
            read: { value throws(BadValue) in
                let text = try value.scalarText(remedy)
                let rest = ["stun:", "stuns:", "turn:", "turns:"].first { text.hasPrefix($0) }
                    .map { text.dropFirst($0.count) }
                // The text goes into a Link header: nothing that could end the URI or the header there.
                guard let rest, !rest.isEmpty,
                    rest.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f && !"<>\",;\\".utf8.contains($0) })
                else { throw BadValue("is not the URL of an ICE server", remedy: remedy) }
                return text
            }, write: { "\"\($0)\"" })
    }
}

extension StringProtocol {
    var trimmingSpaces: SubSequence {
        var rest = self[...]
        while rest.first?.isWhitespace == true { rest = rest.dropFirst() }
        while rest.last?.isWhitespace == true { rest = rest.dropLast() }
        return rest
    }
}
