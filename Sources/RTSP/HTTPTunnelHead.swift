import SDP

/// The head of one of the two HTTP requests that carry an RTSP connection through proxies (QuickTime's "Tunnelling RTSP and
/// RTP over HTTP"): what answers GET goes to the client, the body of POST comes from it in Base64.
package struct HTTPTunnelHead: Sendable, Equatable {
    package enum Way: Sendable, Equatable {
        /// GET: from the server to the client.
        case down
        /// POST: from the client to the server.
        case up
    }

    package enum Parsed: Sendable, Equatable {
        case incomplete
        /// Not a tunnel: these bytes are RTSP, or nothing of ours.
        case other
        /// - Parameter length: bytes of the head, the empty line included.
        case head(HTTPTunnelHead, length: Int)
    }

    /// Bytes of a head.
    package static let maxBytes = 8 << 10
    private static let maxCookie = 128

    package var way: Way
    /// The same for both requests of a connection: `x-sessioncookie`.
    package var cookie: String

    package init(way: Way, cookie: String) {
        self.way = way
        self.cookie = cookie
    }

    /// - Parameter bytes: what has come of a connection so far.
    package static func parse(_ bytes: [UInt8]) -> Parsed {
        let down = Array("GET ".utf8)
        let up = Array("POST ".utf8)
        let isDown = bytes.starts(with: down)
        guard isDown || bytes.starts(with: up) else {
            let mayBecome = down.starts(with: bytes) || up.starts(with: bytes)
            return mayBecome ? .incomplete : .other
        }
        guard let end = endOfHead(bytes) else { return bytes.count < maxBytes ? .incomplete : .other }
        guard end <= maxBytes else { return .other }
        var lines =
            bytes[..<end].split(whereSeparator: { $0 == 0x0a || $0 == 0x0d })
            .map { Substring(decoding: $0, as: UTF8.self).trimmed }[...]
        guard let version = lines.popFirst()?.fields.last, version.utf8.starts(with: "HTTP/".utf8) else {
            return .other
        }
        for line in lines {
            let (name, value) = line.halves(at: UInt8(ascii: ":"))
            guard name.equalsIgnoringCase("x-sessioncookie"), let cookie = value?.trimmed else { continue }
            let isCookie =
                (1...maxCookie).contains(cookie.utf8.count) && cookie.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f }
            guard isCookie else { return .other }
            return .head(HTTPTunnelHead(way: isDown ? .down : .up, cookie: String(cookie)), length: end)
        }
        return .other
    }

    /// Behind the first empty line.
    private static func endOfHead(_ bytes: [UInt8]) -> Int? {
        var lineLength = 0
        for (index, byte) in bytes.prefix(maxBytes).enumerated() {
            switch byte {
            case 0x0a where lineLength == 0: return index + 1
            case 0x0a: lineLength = 0
            case 0x0d: break
            default: lineLength += 1
            }
        }
        return nil
    }
}

/// Takes Base64 in pieces. Clients encode each request on its own, so padding may stand anywhere between groups.
package struct Base64Stream: Sendable {
    private var group: UInt32 = 0
    private var count = 0
    /// Padding that still belongs to the last group.
    private var padding = 0

    package init() {}

    /// - Returns: `nil` where it is no Base64; then nothing more can be made of the stream.
    package mutating func decode(_ bytes: some Sequence<UInt8>) -> [UInt8]? {
        var out: [UInt8] = []
        for byte in bytes {
            switch byte {
            case 0x0d, 0x0a, 0x20: break
            case Base64Text.padding where padding > 0: padding -= 1
            case Base64Text.padding where count == 2:
                out.append(UInt8(truncatingIfNeeded: group >> 4))
                (group, count, padding) = (0, 0, 1)
            case Base64Text.padding where count == 3:
                out.append(UInt8(truncatingIfNeeded: group >> 10))
                out.append(UInt8(truncatingIfNeeded: group >> 2))
                (group, count) = (0, 0)
            default:
                guard padding == 0, let value = Base64Text.value(of: byte) else { return nil }
                group = group << 6 | UInt32(value)
                count += 1
                guard count == 4 else { continue }
                for shift: UInt32 in [16, 8, 0] { out.append(UInt8(truncatingIfNeeded: group >> shift)) }
                (group, count) = (0, 0)
            }
        }
        return out
    }
}
