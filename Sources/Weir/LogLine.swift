import Glibc
import Logging

/// One log line as bytes. Fields stand in a fixed order: time, level, message, session, stream, app, peer, then the
/// others by name. Whatever peers put into a value cannot end the line or forge another field.
enum LogLine {
    static let fixedFields = ["session", "stream", "app", "peer"]
    private static let reserved: Set<String> = ["time", "level", "message"]
    /// Metadata may nest; nothing of ours goes deeper.
    private static let maxDepth = 8

    static func format(
        _ format: LogFormat, level: Logger.Level, message: String, metadata: Logger.Metadata, unixNanoseconds: Int64,
        limit: Int
    ) -> [UInt8] {
        let names =
            fixedFields.filter { metadata[$0] != nil } + metadata.keys.filter { !fixedFields.contains($0) }.sorted()
        let fields = names.compactMap { name in metadata[name].map { (name, $0) } }
        var line: [UInt8] = []
        line.reserveCapacity(256)
        switch format {
        case .text: text(&line, level, message, fields, unixNanoseconds, limit)
        case .json: json(&line, level, message, fields, unixNanoseconds, limit)
        }
        return line
    }

    // MARK: - Text

    private static func text(
        _ line: inout [UInt8], _ level: Logger.Level, _ message: String,
        _ fields: [(String, Logger.Metadata.Value)], _ time: Int64, _ limit: Int
    ) {
        line += timestamp(time).utf8
        let name = level.rawValue
        line += " \(name)\(String(repeating: " ", count: max(1, 9 - name.utf8.count)))".utf8
        appendEscaped(&line, message, quoted: false)
        for (name, value) in fields {
            line += " \(name)=".utf8
            let text = plainText(value)
            let isPlain = !text.isEmpty && text.utf8.allSatisfy { $0 > 0x20 && $0 != 0x22 && $0 != 0x3d && $0 < 0x7f }
            if isPlain { line += text.utf8 } else { appendEscaped(&line, text, quoted: true) }
        }
        if line.count >= limit {
            // Cut between characters of UTF-8.
            var end = limit - 4
            while end > 0, line[end] & 0xc0 == 0x80 { end -= 1 }
            line.removeSubrange(end...)
            line += "…".utf8
        }
        line.append(0x0a)
    }

    private static func plainText(_ value: Logger.Metadata.Value) -> String {
        switch value {
        case .string(let text): return text
        case .stringConvertible(let value): return "\(value)"
        case .array, .dictionary:
            var bytes: [UInt8] = []
            appendJSON(&bytes, value, depth: 0)
            return String(decoding: bytes, as: UTF8.self)
        }
    }

    // MARK: - JSON lines

    private static func json(
        _ line: inout [UInt8], _ level: Logger.Level, _ message: String,
        _ fields: [(String, Logger.Metadata.Value)], _ time: Int64, _ limit: Int
    ) {
        line += "{\"time\":\"\(timestamp(time))\",\"level\":\"\(level.rawValue)\",\"message\":".utf8
        // A message longer than half a line is cut, so that there is room for the fields and the line stays JSON.
        appendEscaped(&line, prefix(message, limit / 2), quoted: true)
        for (name, value) in fields {
            var field = Array(",".utf8)
            appendEscaped(&field, reserved.contains(name) ? "\(name)_" : name, quoted: true)
            field.append(0x3a)
            appendJSON(&field, value, depth: 0)
            if line.count + field.count > limit - 20 {
                line += ",\"cut\":true".utf8
                break
            }
            line += field
        }
        line += "}\n".utf8
    }

    private static func prefix(_ text: String, _ bytes: Int) -> String {
        // Escaping can make six bytes of one.
        text.utf8.count <= bytes / 6 ? text : String(text.prefix(bytes / 6))
    }

    private static func appendJSON(_ out: inout [UInt8], _ value: Logger.Metadata.Value, depth: Int) {
        guard depth < maxDepth else {
            out += "null".utf8
            return
        }
        switch value {
        case .string(let text): appendEscaped(&out, text, quoted: true)
        case .stringConvertible(let value):
            switch value {
            case let number as any BinaryInteger: out += "\(number)".utf8
            case let number as Double where number.isFinite: out += "\(number)".utf8
            case let flag as Bool: out += (flag ? "true" : "false").utf8
            default: appendEscaped(&out, "\(value)", quoted: true)
            }
        case .array(let items):
            out.append(0x5b)
            for (i, item) in items.enumerated() {
                if i > 0 { out.append(0x2c) }
                appendJSON(&out, item, depth: depth + 1)
            }
            out.append(0x5d)
        case .dictionary(let pairs):
            out.append(0x7b)
            for (i, name) in pairs.keys.sorted().enumerated() {
                if i > 0 { out.append(0x2c) }
                appendEscaped(&out, name, quoted: true)
                out.append(0x3a)
                appendJSON(&out, pairs[name] ?? .string(""), depth: depth + 1)
            }
            out.append(0x7d)
        }
    }

    // MARK: - Parts

    /// JSON's escapes (RFC 8259 §7), also for text lines: control characters, DEL and line separators never get out.
    private static func appendEscaped(_ out: inout [UInt8], _ text: String, quoted: Bool) {
        if quoted { out.append(0x22) }
        for scalar in text.unicodeScalars {
            switch scalar.value {
            case 0x0a: out += "\\n".utf8
            case 0x0d: out += "\\r".utf8
            case 0x09: out += "\\t".utf8
            case 0x22 where quoted: out += "\\\"".utf8
            case 0x5c where quoted: out += "\\\\".utf8
            case 0..<0x20, 0x7f..<0xa0, 0x2028, 0x2029, 0x202a...0x202e, 0x2066...0x2069:
                let hex = String(scalar.value, radix: 16)
                out += "\\u\(String(repeating: "0", count: 4 - hex.count))\(hex)".utf8
            default: out += UTF8.encode(scalar).map { Array($0) } ?? []
            }
        }
        if quoted { out.append(0x22) }
    }

    /// RFC 3339 in UTC with milliseconds.
    static func timestamp(_ unixNanoseconds: Int64) -> String {
        var seconds = time_t(unixNanoseconds / 1_000_000_000)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        func two(_ value: CInt) -> String { value < 10 ? "0\(value)" : "\(value)" }
        let milliseconds = CInt(unixNanoseconds / 1_000_000 % 1000)
        let three = (milliseconds < 100 ? "0" : "") + two(milliseconds)
        return "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))T"
            + "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec)).\(three)Z"
    }
}
