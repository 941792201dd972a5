import SDP
import Wire

/// Why the bytes of a connection are not RTSP. The connection cannot go on: where the next message begins is not known.
package enum RTSPParseError: Error, Equatable, Sendable {
    /// A rule of the grammar is broken; the text names the rule.
    case malformed(String)
    case headTooLong(limit: Int)
    case lineTooLong(limit: Int)
    case tooManyFields(limit: Int)
    case bodyTooLarge(limit: Int)
    /// The first line is HTTP's: tunnelling, or a browser at the wrong port.
    case http

    /// What the peer is told before the connection is closed.
    package var status: RTSPStatus {
        switch self {
        case .malformed, .headTooLong, .tooManyFields, .http: .badRequest
        case .lineTooLong: .uriTooLong
        case .bodyTooLarge: .bodyTooLarge
        }
    }
}

/// What one message of a peer may cost us.
package struct RTSPLimits: Sendable {
    /// Bytes of the first line and all headers. A JSON web token in a URL has up to some 4 KiB.
    package var head = 32 << 10
    /// Bytes of one line.
    package var line = 16 << 10
    package var fields = 100
    /// Bytes of a body: a session description, or parameters.
    package var body = 256 << 10

    package init() {}
}

/// Takes the bytes of one connection as they come and gives its messages and interleaved packets, in order.
///
/// What is held is at most one unfinished message or packet and the chunk appended last, provided that `next` is
/// called until it gives `nil` after every `append`.
package struct RTSPParser: Sendable {
    private struct Head {
        var message: RTSPMessage
        var bodyLength: Int
    }

    private let limits: RTSPLimits
    private var buffer: [UInt8] = []
    /// First byte that has not been given out.
    private var start = 0
    /// How far the unfinished head has been looked through, and where its current line begins; from `start`.
    private var scanned = 0
    private var lineStart = 0
    private var head: Head?
    private var failure: RTSPParseError?

    package init(limits: RTSPLimits = RTSPLimits()) { self.limits = limits }

    /// Bytes that have come and not been given out.
    package var heldBytes: Int { buffer.count - start }

    package mutating func append(_ bytes: RawSpan) {
        guard failure == nil else { return }
        if start > 0 {
            buffer.removeFirst(start)
            start = 0
        }
        unsafe bytes.withUnsafeBytes { unsafe buffer.append(contentsOf: $0) }
    }

    package mutating func append(_ bytes: [UInt8]) { unsafe append(bytes.span.bytes) }

    /// The next message, or `nil` if more bytes are needed. Packets before it are handed to `packet`, with their
    /// channel; their bytes are gone when it returns.
    package mutating func next(_ packet: (UInt8, RawSpan) -> Void) throws(RTSPParseError) -> RTSPMessage? {
        if let failure { throw failure }
        do {
            while start < buffer.count || head?.bodyLength == 0 {
                if let head {
                    guard buffer.count - start >= head.bodyLength else { return nil }
                    return finish(head)
                }
                if scanned == 0, buffer[start] == InterleavedFrame.magic {
                    guard takePacket(packet) else { return nil }
                } else {
                    guard let range = try findHead() else { return nil }
                    if !range.isEmpty { head = try parse(range) }
                }
            }
            return nil
        } catch {
            failure = error
            buffer = []
            start = 0
            throw error
        }
    }

    private mutating func finish(_ head: Head) -> RTSPMessage {
        let body = Array(buffer[start..<(start + head.bodyLength)])
        start += head.bodyLength
        self.head = nil
        switch head.message {
        case .request(var request):
            request.body = body
            return .request(request)
        case .response(var response):
            response.body = body
            return .response(response)
        }
    }

    /// False if it has not come whole.
    private mutating func takePacket(_ packet: (UInt8, RawSpan) -> Void) -> Bool {
        guard buffer.count - start >= InterleavedFrame.headerLength else { return false }
        let first = start + InterleavedFrame.headerLength
        let length = Int(buffer[start + 2]) << 8 | Int(buffer[start + 3])
        guard buffer.count - first >= length else { return false }
        unsafe packet(buffer[start + 1], buffer.span.bytes.extracting(first..<(first + length)))
        start = first + length
        return true
    }

    /// The lines of the next message, moved past; empty if there was only an empty line, which may stand between
    /// messages (RFC 7826 §20.1).
    private mutating func findHead() throws(RTSPParseError) -> Range<Int>? {
        if scanned == 0 {
            let first = buffer[start]
            guard first.isToken || first == 0x0d || first == 0x0a else {
                throw .malformed("a message begins with a letter")
            }
        }
        while start + scanned < buffer.count {
            let byte = buffer[start + scanned]
            scanned += 1
            guard scanned <= limits.head else { throw .headTooLong(limit: limits.head) }
            guard byte == 0x0a else {
                guard scanned - lineStart <= limits.line else { throw .lineTooLong(limit: limits.line) }
                continue
            }
            var length = scanned - 1 - lineStart
            if length > 0, buffer[start + lineStart + length - 1] == 0x0d { length -= 1 }
            guard length == 0 else {
                lineStart = scanned
                continue
            }
            let range = start..<(start + lineStart)
            start += scanned
            scanned = 0
            lineStart = 0
            return range
        }
        return nil
    }

    // MARK: Head

    private func parse(_ range: Range<Int>) throws(RTSPParseError) -> Head {
        var startLine: Substring?
        var headers = RTSPHeaders()
        var field: (name: String, value: String)?
        var count = 0
        var from = range.lowerBound
        while from < range.upperBound {
            var to = from
            while to < range.upperBound, buffer[to] != 0x0a { to += 1 }
            let next = to + 1
            if to > from, buffer[to - 1] == 0x0d { to -= 1 }
            let line = buffer[from..<to]
            from = next
            guard line.allSatisfy({ $0 >= 0x20 && $0 != 0x7f || $0 == 0x09 }) else {
                throw .malformed("control character")
            }
            let text = Substring(decoding: line, as: UTF8.self)
            if startLine == nil {
                // Spaces part the fields of the first line, and those alone.
                guard !line.contains(0x09) else { throw .malformed("control character") }
                startLine = text
            } else if line.first == 0x20 || line.first == 0x09 {
                // Continues the field of the line before (RFC 2326 §15.1).
                guard let before = field else { throw .malformed("a continued line without a field") }
                field = (before.name, before.value + " " + text.trimmed)
            } else {
                if let field { headers.add(field.name, field.value) }
                count += 1
                guard count <= limits.fields else { throw .tooManyFields(limit: limits.fields) }
                let (name, value) = text.halves(at: UInt8(ascii: ":"))
                guard let value else { throw .malformed("a field without a colon") }
                let trimmedName = name.trimmed
                guard !trimmedName.isEmpty, trimmedName.utf8.allSatisfy(\.isToken) else {
                    throw .malformed("name of a field")
                }
                field = (String(trimmedName), String(value.trimmed))
            }
        }
        if let field { headers.add(field.name, field.value) }
        let message = try Self.message(startLine ?? "", headers)
        return Head(message: message, bodyLength: try bodyLength(headers))
    }

    private static func message(_ line: Substring, _ headers: RTSPHeaders) throws(RTSPParseError) -> RTSPMessage {
        let (first, rest) = line.trimmed.halves(at: UInt8(ascii: " "))
        if first.utf8.starts(with: "RTSP/".utf8) {
            let (code, reason) = (rest ?? "").trimmed.halves(at: UInt8(ascii: " "))
            guard code.utf8.count == 3, let number: Int = code.decimal(), number >= 100 else {
                throw .malformed("status code")
            }
            let status = RTSPStatus(number, String((reason ?? "").trimmed))
            return .response(RTSPResponse(status, versionName: String(first), headers: headers, body: []))
        }
        let fields = line.fields
        if let last = fields.last, fields.count > 1, last.utf8.starts(with: "HTTP/".utf8) { throw .http }
        if first.utf8.starts(with: "HTTP/".utf8) { throw .http }
        guard fields.count == 3 else { throw .malformed("a request line has three fields") }
        guard fields[0].utf8.allSatisfy(\.isToken) else { throw .malformed("name of the method") }
        guard fields[2].utf8.starts(with: "RTSP/".utf8) else { throw .malformed("version") }
        return .request(
            RTSPRequest(
                methodName: String(fields[0]), uri: String(fields[1]), versionName: String(fields[2]),
                headers: headers))
    }

    private func bodyLength(_ headers: RTSPHeaders) throws(RTSPParseError) -> Int {
        let values = Set(headers.values("Content-Length"))
        guard let value = values.first else { return 0 }
        guard values.count == 1 else { throw .malformed("two lengths of one body") }
        guard !value.isEmpty, value.utf8.allSatisfy(\.isDigit) else { throw .malformed("Content-Length") }
        guard let length = Int(value), length <= limits.body else { throw .bodyTooLarge(limit: limits.body) }
        return length
    }
}
