/// A JSON value as the wire had it: members in their order, numbers as their text, so that what an application sent
/// (`custom`, `payload`) is handed on unchanged.
package enum JSONValue: Sendable, Equatable {
    case null
    case bool(Bool)
    /// The number's own text, valid by the grammar of RFC 8259 §6.
    case number(String)
    case string(String)
    case array([JSONValue])
    case object([JSONMember])
    /// One valid JSON value as text, written as it is. The parser never makes it; it carries what the control plane
    /// keeps as text (a payload to a thousand players is not parsed a thousand times).
    case verbatim(String)

    package static func integer(_ value: some BinaryInteger) -> JSONValue { .number(String(value)) }
}

/// One `"name": value` of an object.
package struct JSONMember: Sendable, Equatable {
    package var name: String
    package var value: JSONValue

    package init(_ name: String, _ value: JSONValue) {
        self.name = name
        self.value = value
    }
}

// MARK: - Lenient reading

// Pages and old clients send `"5060"` where a number is meant, `"true"` where a flag is, and numbers where a text is.
// A reader asks for the type it needs and takes every form that can mean it; what cannot is as if absent.
extension JSONValue {
    /// The value of the member of that name; the last one counts if there are several, as in JavaScript.
    package subscript(_ name: String) -> JSONValue? {
        guard case .object(let members) = self else { return nil }
        return members.last { $0.name == name }?.value
    }

    package var isNull: Bool { self == .null }

    /// A text, or the text of a number or flag.
    package var text: String? {
        switch self {
        case .string(let text), .number(let text): text
        case .bool(let flag): flag ? "true" : "false"
        case .null, .array, .object, .verbatim: nil
        }
    }

    /// `true`, `"true"`, `1`, `"1"` and their opposites.
    package var flag: Bool? {
        switch self {
        case .bool(let flag): return flag
        case .string(let text), .number(let text):
            switch text {
            case "true", "TRUE", "True", "1": return true
            case "false", "FALSE", "False", "0", "": return false
            default: return nil
            }
        case .null, .array, .object, .verbatim: return nil
        }
    }

    /// A whole number, cut towards zero and held within ±2^53, the range in which JavaScript counts exactly.
    package var integer: Int? {
        let limit = 9_007_199_254_740_992
        switch self {
        case .bool(let flag): return flag ? 1 : 0
        case .string(let text), .number(let text):
            guard text.utf8.count <= Self.longestNumber else { return nil }
            if let exact = Int(text) { return min(max(exact, -limit), limit) }
            guard let value = Double(text), !value.isNaN else { return nil }
            return Int(min(max(value, -Double(limit)), Double(limit)))
        case .null, .array, .object, .verbatim: return nil
        }
    }

    /// A list of texts; a single text is a list of one, elements of other types are left out.
    package var texts: [String]? {
        switch self {
        case .array(let elements): elements.compactMap(\.text)
        case .string(let text): [text]
        default: nil
        }
    }

    /// Longer texts are not looked at as numbers.
    private static let longestNumber = 64
}

// MARK: - Writing

extension JSONValue {
    /// The compact text: no white space, UTF-8 kept, only what must be escaped is.
    package var serialized: String {
        var bytes: [UInt8] = []
        write(to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Appends the compact text. Recursion is as deep as the value, and values come from `JSONParser`, which limits it,
    /// or from our own code.
    package func write(to bytes: inout [UInt8]) {
        switch self {
        case .null: bytes.append(contentsOf: "null".utf8)
        case .bool(let flag): bytes.append(contentsOf: (flag ? "true" : "false").utf8)
        case .number(let text): bytes.append(contentsOf: text.utf8)
        case .verbatim(let text): bytes.append(contentsOf: text.utf8)
        case .string(let text): Self.write(text, to: &bytes)
        case .array(let elements):
            bytes.append(UInt8(ascii: "["))
            for (index, element) in elements.enumerated() {
                if index > 0 { bytes.append(UInt8(ascii: ",")) }
                element.write(to: &bytes)
            }
            bytes.append(UInt8(ascii: "]"))
        case .object(let members):
            bytes.append(UInt8(ascii: "{"))
            for (index, member) in members.enumerated() {
                if index > 0 { bytes.append(UInt8(ascii: ",")) }
                Self.write(member.name, to: &bytes)
                bytes.append(UInt8(ascii: ":"))
                member.value.write(to: &bytes)
            }
            bytes.append(UInt8(ascii: "}"))
        }
    }

    private static func write(_ text: String, to bytes: inout [UInt8]) {
        let hexadecimal = Array("0123456789abcdef".utf8)
        bytes.append(UInt8(ascii: "\""))
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes += [UInt8(ascii: "\\"), byte]
            case 0x08: bytes.append(contentsOf: "\\b".utf8)
            case 0x09: bytes.append(contentsOf: "\\t".utf8)
            case 0x0a: bytes.append(contentsOf: "\\n".utf8)
            case 0x0c: bytes.append(contentsOf: "\\f".utf8)
            case 0x0d: bytes.append(contentsOf: "\\r".utf8)
            case 0..<0x20:
                bytes.append(contentsOf: "\\u00".utf8)
                bytes += [hexadecimal[Int(byte >> 4)], hexadecimal[Int(byte & 15)]]
            default: bytes.append(byte)
            }
        }
        bytes.append(UInt8(ascii: "\""))
    }
}
