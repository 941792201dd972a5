extension SessionDescription {
    /// Reads a description. Both CRLF and LF end lines; empty lines are skipped; unknown line types and attributes
    /// are kept or ignored, never refused. Throws on anything that breaks the frame (RFC 8866 §9) or a limit.
    package static func parse(
        _ text: String, limits: SDPLimits = SDPLimits()
    ) throws(SDPError) -> SessionDescription {
        let bytes = text.utf8
        guard bytes.count <= limits.text else { throw .textTooLong(bytes: bytes.count, limit: limits.text) }

        var session = SessionDescription(origin: "")
        var number = 0
        var sawVersion = false
        var start = bytes.startIndex
        while start < bytes.endIndex {
            let end = bytes[start...].firstIndex(of: UInt8(ascii: "\n")) ?? bytes.endIndex
            var line = bytes[start..<end]
            start = end < bytes.endIndex ? bytes.index(after: end) : end
            number += 1
            guard number <= limits.lines else { throw .tooManyLines(limit: limits.lines) }
            if line.last == UInt8(ascii: "\r") { line.removeLast() }
            if line.isEmpty { continue }
            guard line.count <= limits.line else { throw .lineTooLong(line: number, limit: limits.line) }
            // What we read may be written into an answer or a log: no control characters, so no hidden line ends.
            guard line.allSatisfy({ $0 >= 0x20 && $0 != 0x7f || $0 == 0x09 }) else {
                throw .malformed(line: number, "control character")
            }
            guard let type = line.first, line.dropFirst().first == UInt8(ascii: "=") else {
                throw .malformed(line: number, "not of the form x=value")
            }
            let value = Substring(line.dropFirst(2))
            if !sawVersion {
                guard type == UInt8(ascii: "v"), value == "0" else {
                    throw .malformed(line: number, "a description starts with v=0")
                }
                sawVersion = true
                continue
            }
            if type == UInt8(ascii: "m") {
                guard session.media.count < limits.media else { throw .tooManyMedia(limit: limits.media) }
                session.media.append(try MediaDescription(mLine: value, number: number))
            } else {
                session.take(type, value)
            }
        }
        guard sawVersion else { throw .malformed(line: number, "empty description") }
        try session.checkMids()
        return session
    }

    private mutating func take(_ type: UInt8, _ value: Substring) {
        let last = media.count - 1
        switch type {
        case UInt8(ascii: "a"):
            let parts = value.utf8.split(separator: UInt8(ascii: ":"), maxSplits: 1, omittingEmptySubsequences: false)
            let name = String(Substring(parts[0]))
            let attribute = SDPAttribute(name, parts.count > 1 ? String(Substring(parts[1])) : nil)
            if last >= 0 { media[last].attributes.append(attribute) } else { attributes.append(attribute) }
        case UInt8(ascii: "c"):
            if last >= 0 { media[last].connection = String(value) } else { connection = String(value) }
        case UInt8(ascii: "b"):
            if last >= 0 { media[last].bandwidths.append(String(value)) }
        case UInt8(ascii: "o"):
            if last < 0 { origin = String(value) }
        case UInt8(ascii: "s"):
            if last < 0 { name = String(value) }
        default:
            break
        }
    }

    /// A mid is a token and names one m-line only (RFC 5888 §4); the answer echoes it.
    private func checkMids() throws(SDPError) {
        var seen: Set<String> = []
        for section in media {
            guard let mid = section.attributes.value("mid") else { continue }
            guard !mid.isEmpty, mid.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else {
                throw .malformed(line: 0, "a=mid is not a token")
            }
            guard seen.insert(mid).inserted else { throw .malformed(line: 0, "a=mid:\(mid) occurs twice") }
        }
    }
}

extension MediaDescription {
    /// `<media> <port>["/"<count>] <proto> <fmt> …`
    fileprivate init(mLine value: Substring, number: Int) throws(SDPError) {
        let fields = value.fields
        guard fields.count >= 3 else { throw .malformed(line: number, "m-line with fewer than three fields") }
        let portText = fields[1].utf8.prefix { $0 != UInt8(ascii: "/") }
        guard let port = UInt16(Substring(portText)) else { throw .malformed(line: number, "m-line without a port") }
        self.init(
            media: String(fields[0]), port: port, transport: String(fields[2]),
            formats: fields.dropFirst(3).map { String($0) })
    }
}

extension StringProtocol where SubSequence == Substring {
    /// Fields between spaces. Works on bytes: a combining mark behind a space must not hide the space.
    package var fields: [Substring] { split(byte: UInt8(ascii: " ")) }

    /// Non-empty parts between bytes of this value.
    package func split(byte: UInt8) -> [Substring] {
        var out: [Substring] = []
        var start: String.Index?
        var at = utf8.startIndex
        while at < utf8.endIndex {
            if utf8[at] == byte {
                if let from = start { out.append(self[from..<at]) }
                start = nil
            } else if start == nil {
                start = at
            }
            at = utf8.index(after: at)
        }
        if let from = start { out.append(self[from..<utf8.endIndex]) }
        return out
    }

    /// Without spaces and tabs at both ends.
    package var trimmed: Substring {
        var from = utf8.startIndex
        var to = utf8.startIndex
        var at = utf8.startIndex
        while at < utf8.endIndex {
            let isSpace = utf8[at] == 0x20 || utf8[at] == 0x09
            at = utf8.index(after: at)
            if !isSpace {
                to = at
            } else if to == utf8.startIndex {
                from = at
            }
        }
        return from < to ? self[from..<to] : self[to..<to]
    }
}
