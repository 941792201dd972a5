/// The head of a request of HTTP/1.1 without a body (RFC 9112), as far as HLS wants to know it. Whatever is unusual is left to
/// a whole parser, which decides what is wrong.
package struct RequestHead: Sendable, Hashable {
    package enum Parsed: Sendable, Hashable {
        case head(RequestHead)
        /// Its end has not come yet.
        case incomplete
        /// Something else than the plain head of a GET, HEAD or OPTIONS without a body.
        case other
    }

    /// Header fields that decide on answers.
    package struct Fields: Sendable, Hashable {
        package var range: String?
        package var ifRange: String?
        package var ifNoneMatch: String?
        package var origin: String?
        package var acceptEncoding: [String] = []
        package var cookies: [String] = []

        package init() {}
    }

    package static let maxBytes = 32_768
    package static let maxFields = 100

    package private(set) var isGet = false
    package private(set) var isHead = false
    /// As it was sent, with its leading slash.
    package private(set) var path: [UInt8] = []
    /// What stands behind the `?`, as it was sent.
    package private(set) var query = ""
    package private(set) var fields = Fields()
    /// Bytes of it, with the empty line at its end.
    package private(set) var count = 0

    private enum Reading {
        case whole, short, odd
    }

    /// - Parameter bytes: what has come, from the head's first byte on; what is behind its end is not looked at.
    package static func parse(_ bytes: [UInt8]) -> Parsed {
        var head = RequestHead()
        return switch head.read(bytes) {
        case .whole: head.count <= maxBytes ? .head(head) : .other
        case .short: bytes.count < maxBytes ? .incomplete : .other
        case .odd: .other
        }
    }

    private mutating func read(_ bytes: [UInt8]) -> Reading {
        guard let end = Self.lineEnd(bytes, from: 0) else { return .short }
        guard end >= 0, readRequestLine(bytes[..<end]) else { return .odd }
        var start = end + 2
        for _ in 0...Self.maxFields {
            guard let end = Self.lineEnd(bytes, from: start) else { return .short }
            guard end >= start else { return .odd }
            guard end > start else {
                count = start + 2
                return .whole
            }
            guard readField(bytes[start..<end]) else { return .odd }
            start = end + 2
        }
        return .odd
    }

    /// Where the line's CR should be: before its LF. What stands there is seen with the line's last bytes, else it is odd.
    private static func lineEnd(_ bytes: [UInt8], from start: Int) -> Int? {
        guard let feed = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) else { return nil }
        // A line without a CR ends before it begins, which nobody takes.
        return feed > start && bytes[feed - 1] == UInt8(ascii: "\r") ? feed - 1 : start - 1
    }

    /// `GET /path?query HTTP/1.1`, HEAD and OPTIONS too.
    private mutating func readRequestLine(_ line: ArraySlice<UInt8>) -> Bool {
        guard line.allSatisfy({ $0 > 0x1f && $0 != 0x7f }),
            let first = line.firstIndex(of: UInt8(ascii: " ")), let last = line.lastIndex(of: UInt8(ascii: " ")),
            first < last, line[(last + 1)...].elementsEqual("HTTP/1.1".utf8)
        else { return false }
        let method = line[..<first]
        isGet = method.elementsEqual("GET".utf8)
        isHead = method.elementsEqual("HEAD".utf8)
        guard isGet || isHead || method.elementsEqual("OPTIONS".utf8) else { return false }
        let target = line[(first + 1)..<last]
        guard target.first == UInt8(ascii: "/"), !target.contains(UInt8(ascii: "#")),
            !target.contains(UInt8(ascii: " "))
        else { return false }
        let mark = target.firstIndex(of: UInt8(ascii: "?")) ?? target.endIndex
        path = Array(target[..<mark])
        if mark < target.endIndex { query = String(decoding: target[(mark + 1)...], as: UTF8.self) }
        return true
    }

    /// False for what is not to be read here: folded lines, odd bytes, bodies, wishes for the connection.
    private mutating func readField(_ line: ArraySlice<UInt8>) -> Bool {
        guard let colon = line.firstIndex(of: UInt8(ascii: ":")), colon > line.startIndex else { return false }
        let name = line[..<colon]
        var value = line[(colon + 1)...]
        while let byte = value.first, byte == 0x20 || byte == 0x09 { value.removeFirst() }
        while let byte = value.last, byte == 0x20 || byte == 0x09 { value.removeLast() }
        guard name.allSatisfy({ $0 > 0x20 && $0 < 0x7f }), value.allSatisfy({ $0 > 0x1f && $0 != 0x7f || $0 == 0x09 })
        else { return false }
        // By length first: nearly all names are told apart by it.
        switch name.count {
        case 5: if Self.isSame(name, "range") { return Self.once(&fields.range, value) }
        case 6:
            if Self.isSame(name, "cookie") { fields.cookies.append(Self.text(value)) }
            if Self.isSame(name, "origin") { return Self.once(&fields.origin, value) }
            if Self.isSame(name, "expect") { return false }
        case 7: if Self.isSame(name, "upgrade") { return false }
        case 8: if Self.isSame(name, "if-range") { return Self.once(&fields.ifRange, value) }
        case 10: if Self.isSame(name, "connection") { return Self.isSame(value, "keep-alive") }
        case 13: if Self.isSame(name, "if-none-match") { return Self.once(&fields.ifNoneMatch, value) }
        case 14: if Self.isSame(name, "content-length") { return Self.isSame(value, "0") }
        case 15: if Self.isSame(name, "accept-encoding") { fields.acceptEncoding.append(Self.text(value)) }
        case 17: if Self.isSame(name, "transfer-encoding") { return false }
        default: break
        }
        return true
    }

    /// Fields that stand several times are joined elsewhere.
    private static func once(_ field: inout String?, _ value: ArraySlice<UInt8>) -> Bool {
        guard field == nil else { return false }
        field = text(value)
        return true
    }

    private static func text(_ value: ArraySlice<UInt8>) -> String { String(decoding: value, as: UTF8.self) }

    /// - Parameter lower: in lower case.
    private static func isSame(_ bytes: ArraySlice<UInt8>, _ lower: String) -> Bool {
        bytes.elementsEqual(lower.utf8) { byte, wanted in
            byte == wanted || ((0x41...0x5a).contains(byte) && byte | 0x20 == wanted)
        }
    }
}
