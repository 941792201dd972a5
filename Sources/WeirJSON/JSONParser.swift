/// Parses one JSON text (RFC 8259) under limits that hold before anything is built.
///
/// A linear scan checks the nesting first, so the recursion of the parser proper is bounded by `Limits.depth` whatever
/// the input is; the number of values is bounded because a value costs far more memory than the two bytes (`0,`) that
/// ask for it.
package struct JSONParser {
    package struct Limits: Sendable {
        /// Bytes of the text.
        package var bytes = 1 << 20
        /// Arrays and objects within each other. Applications' own objects (`custom`, `constraints`) stay below ten.
        package var depth = 64
        /// Values in all: members, elements, and containers themselves.
        package var values = 50_000

        package init() {}
    }

    package enum Failure: Error, Equatable, Sendable {
        case tooLong, tooDeep, tooManyValues
        /// Not JSON. `at` is the offset in bytes at which this was noticed.
        case malformed(at: Int)
    }

    private let bytes: [UInt8]
    private var position = 0
    private var valuesLeft: Int

    /// The value of the whole text. White space around it is allowed, anything else is not.
    package static func parse(_ bytes: [UInt8], limits: Limits = Limits()) throws(Failure) -> JSONValue {
        guard bytes.count <= limits.bytes else { throw .tooLong }
        guard depth(of: bytes) <= limits.depth else { throw .tooDeep }
        var parser = JSONParser(bytes: bytes, valuesLeft: limits.values)
        let value = try parser.parseValue()
        parser.skipWhiteSpace()
        guard parser.position == bytes.count else { throw .malformed(at: parser.position) }
        return value
    }

    /// The greatest nesting of brackets outside of strings; exact for valid JSON, an upper bound of what the parser
    /// can reach for anything else.
    package static func depth(of bytes: [UInt8]) -> Int {
        var current = 0
        var greatest = 0
        var inString = false
        var escaped = false
        for byte in bytes {
            if inString {
                if escaped {
                    escaped = false
                } else if byte == UInt8(ascii: "\\") {
                    escaped = true
                } else if byte == UInt8(ascii: "\"") {
                    inString = false
                }
                continue
            }
            switch byte {
            case UInt8(ascii: "\""): inString = true
            case UInt8(ascii: "["), UInt8(ascii: "{"):
                current += 1
                greatest = max(greatest, current)
            case UInt8(ascii: "]"), UInt8(ascii: "}"): current = max(0, current - 1)
            default: break
            }
        }
        return greatest
    }

    private init(bytes: [UInt8], valuesLeft: Int) {
        self.bytes = bytes
        self.valuesLeft = valuesLeft
    }

    // MARK: Values

    private mutating func parseValue() throws(Failure) -> JSONValue {
        guard valuesLeft > 0 else { throw .tooManyValues }
        valuesLeft -= 1
        skipWhiteSpace()
        switch peek {
        case UInt8(ascii: "{"): return try parseObject()
        case UInt8(ascii: "["): return try parseArray()
        case UInt8(ascii: "\""): return .string(try parseString())
        case UInt8(ascii: "t"): return try parseWord("true", .bool(true))
        case UInt8(ascii: "f"): return try parseWord("false", .bool(false))
        case UInt8(ascii: "n"): return try parseWord("null", .null)
        default: return try parseNumber()
        }
    }

    private mutating func parseObject() throws(Failure) -> JSONValue {
        position += 1
        var members: [JSONMember] = []
        skipWhiteSpace()
        if take(UInt8(ascii: "}")) { return .object(members) }
        while true {
            skipWhiteSpace()
            guard peek == UInt8(ascii: "\"") else { throw .malformed(at: position) }
            let name = try parseString()
            skipWhiteSpace()
            guard take(UInt8(ascii: ":")) else { throw .malformed(at: position) }
            members.append(JSONMember(name, try parseValue()))
            skipWhiteSpace()
            if take(UInt8(ascii: ",")) { continue }
            guard take(UInt8(ascii: "}")) else { throw .malformed(at: position) }
            return .object(members)
        }
    }

    private mutating func parseArray() throws(Failure) -> JSONValue {
        position += 1
        var elements: [JSONValue] = []
        skipWhiteSpace()
        if take(UInt8(ascii: "]")) { return .array(elements) }
        while true {
            elements.append(try parseValue())
            skipWhiteSpace()
            if take(UInt8(ascii: ",")) { continue }
            guard take(UInt8(ascii: "]")) else { throw .malformed(at: position) }
            return .array(elements)
        }
    }

    private mutating func parseWord(_ word: StaticString, _ value: JSONValue) throws(Failure) -> JSONValue {
        for byte in word.description.utf8 {
            guard take(byte) else { throw .malformed(at: position) }
        }
        return value
    }

    /// `-? (0 | [1-9][0-9]*) (. [0-9]+)? ([eE] [+-]? [0-9]+)?`
    private mutating func parseNumber() throws(Failure) -> JSONValue {
        let start = position
        _ = take(UInt8(ascii: "-"))
        if !take(UInt8(ascii: "0")) { try takeDigits() }
        if take(UInt8(ascii: ".")) { try takeDigits() }
        if take(UInt8(ascii: "e")) || take(UInt8(ascii: "E")) {
            if !take(UInt8(ascii: "+")) { _ = take(UInt8(ascii: "-")) }
            try takeDigits()
        }
        return .number(String(decoding: bytes[start..<position], as: UTF8.self))
    }

    private mutating func takeDigits() throws(Failure) {
        let start = position
        while let byte = peek, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) { position += 1 }
        guard position > start else { throw .malformed(at: position) }
    }

    // MARK: Strings

    private mutating func parseString() throws(Failure) -> String {
        position += 1
        let start = position
        // Most strings have no escape: find the end and convert once.
        while let byte = peek, byte != UInt8(ascii: "\""), byte != UInt8(ascii: "\\") {
            guard byte >= 0x20 else { throw .malformed(at: position) }
            position += 1
        }
        if take(UInt8(ascii: "\"")) { return try text(Array(bytes[start..<position - 1]), at: start) }
        var decoded = Array(bytes[start..<position])
        while let byte = peek {
            position += 1
            switch byte {
            case UInt8(ascii: "\""): return try text(decoded, at: start)
            case UInt8(ascii: "\\"): try parseEscape(into: &decoded)
            case 0..<0x20: throw .malformed(at: position - 1)
            default: decoded.append(byte)
            }
        }
        throw .malformed(at: position)
    }

    private func text(_ bytes: [UInt8], at offset: Int) throws(Failure) -> String {
        guard let text = String(validating: bytes, as: UTF8.self) else { throw .malformed(at: offset) }
        return text
    }

    private mutating func parseEscape(into decoded: inout [UInt8]) throws(Failure) {
        guard let byte = peek else { throw .malformed(at: position) }
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): decoded.append(byte)
        case UInt8(ascii: "b"): decoded.append(0x08)
        case UInt8(ascii: "f"): decoded.append(0x0c)
        case UInt8(ascii: "n"): decoded.append(0x0a)
        case UInt8(ascii: "r"): decoded.append(0x0d)
        case UInt8(ascii: "t"): decoded.append(0x09)
        case UInt8(ascii: "u"):
            // A lone half of a surrogate pair is legal JSON and no Unicode text: it becomes U+FFFD.
            let scalar = Unicode.Scalar(try parseCodePoint()) ?? "\u{FFFD}"
            decoded.append(contentsOf: String(Character(scalar)).utf8)
        default: throw .malformed(at: position - 1)
        }
    }

    private mutating func parseCodePoint() throws(Failure) -> UInt32 {
        let first = try parseFourDigits()
        guard (0xd800..<0xdc00).contains(first) else { return first }
        let restart = position
        guard take(UInt8(ascii: "\\")), take(UInt8(ascii: "u")) else {
            position = restart
            return first
        }
        let second = try parseFourDigits()
        guard (0xdc00..<0xe000).contains(second) else {
            position = restart  // the second escape stands for itself
            return first
        }
        return 0x10000 + (first - 0xd800) << 10 + (second - 0xdc00)
    }

    private mutating func parseFourDigits() throws(Failure) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = peek, let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
                throw .malformed(at: position)
            }
            value = value << 4 | UInt32(digit)
            position += 1
        }
        return value
    }

    // MARK: Bytes

    private var peek: UInt8? { position < bytes.count ? bytes[position] : nil }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard peek == byte else { return false }
        position += 1
        return true
    }

    private mutating func skipWhiteSpace() {
        while let byte = peek, byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 { position += 1 }
    }
}
