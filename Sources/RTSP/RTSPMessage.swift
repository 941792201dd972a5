import SDP

/// Header fields in the order in which they came. Names are compared without case.
package struct RTSPHeaders: Sendable, Equatable, ExpressibleByDictionaryLiteral {
    package private(set) var fields: [(name: String, value: String)] = []

    package init() {}

    package init(dictionaryLiteral fields: (String, String)...) {
        self.fields = fields.map { (name: $0.0, value: $0.1) }
    }

    package mutating func add(_ name: String, _ value: String) { fields.append((name, value)) }

    /// Value of the first field of this name.
    package subscript(name: String) -> String? {
        get { fields.first { $0.name.equalsIgnoringCase(name) }?.value }
        set {
            fields.removeAll { $0.name.equalsIgnoringCase(name) }
            if let newValue { add(name, newValue) }
        }
    }

    /// Values of all fields of this name: each challenge of `WWW-Authenticate` has its own.
    package func values(_ name: String) -> [String] {
        fields.compactMap { $0.name.equalsIgnoringCase(name) ? $0.value : nil }
    }

    /// Members of a comma-separated list that may be spread over several fields (`Require`, `Public`).
    package func list(_ name: String) -> [String] {
        values(name).flatMap { Substring($0).listed(by: UInt8(ascii: ","), limit: Self.maxListed) }
            .prefix(Self.maxListed).map { String($0) }
    }

    package static func == (a: RTSPHeaders, b: RTSPHeaders) -> Bool {
        a.fields.elementsEqual(b.fields) { $0.name == $1.name && $0.value == $1.value }
    }

    /// Members of one list that are looked at.
    static let maxListed = 64

    fileprivate func write(into bytes: inout [UInt8]) {
        for (name, value) in fields {
            bytes += name.utf8
            bytes += ": ".utf8
            // What comes from elsewhere (a peer's text, a hook's) must not begin a header of its own.
            bytes += value.utf8.map { $0 < 0x20 && $0 != 0x09 || $0 == 0x7f ? 0x20 : $0 }
            bytes += "\r\n".utf8
        }
    }
}

/// A request (RFC 2326 §6).
package struct RTSPRequest: Sendable, Equatable {
    /// As it was sent: methods that are not known have a name all the same.
    package var methodName: String
    /// As it was sent: an absolute or relative URL, or `*`.
    package var uri: String
    /// As it was sent, `RTSP/1.0`.
    package var versionName: String
    package var headers: RTSPHeaders
    package var body: [UInt8]

    package init(
        _ method: RTSPMethod, _ uri: String, version: RTSPVersion = .v1, headers: RTSPHeaders = RTSPHeaders(),
        body: [UInt8] = []
    ) {
        self.init(
            methodName: method.rawValue, uri: uri, versionName: version.rawValue, headers: headers, body: body)
    }

    package init(methodName: String, uri: String, versionName: String, headers: RTSPHeaders, body: [UInt8] = []) {
        self.methodName = methodName
        self.uri = uri
        self.versionName = versionName
        self.headers = headers
        self.body = body
    }

    /// Methods are told apart by case (RFC 2326 §6.1).
    package var method: RTSPMethod? { RTSPMethod(rawValue: methodName) }
    package var version: RTSPVersion? { RTSPVersion(rawValue: versionName) }
    package var cSeq: UInt32? { headers.cSeq }

    /// The text to send; `Content-Length` is written here, from the body.
    package var bytes: [UInt8] {
        RTSPWriter.write(startLine: "\(methodName) \(uri) \(versionName)", headers: headers, body: body)
    }
}

/// A response (RFC 2326 §7).
package struct RTSPResponse: Sendable, Equatable {
    package var versionName: String
    package var status: RTSPStatus
    package var headers: RTSPHeaders
    package var body: [UInt8]

    package init(
        _ status: RTSPStatus, version: RTSPVersion = .v1, headers: RTSPHeaders = RTSPHeaders(), body: [UInt8] = []
    ) {
        self.init(status, versionName: version.rawValue, headers: headers, body: body)
    }

    package init(_ status: RTSPStatus, versionName: String, headers: RTSPHeaders, body: [UInt8]) {
        self.versionName = versionName
        self.status = status
        self.headers = headers
        self.body = body
    }

    package var version: RTSPVersion? { RTSPVersion(rawValue: versionName) }
    package var cSeq: UInt32? { headers.cSeq }

    package var bytes: [UInt8] {
        RTSPWriter.write(
            startLine: "\(versionName) \(status.code) \(status.reason)", headers: headers, body: body)
    }
}

package enum RTSPMessage: Sendable, Equatable {
    case request(RTSPRequest)
    case response(RTSPResponse)
}

extension RTSPHeaders {
    var cSeq: UInt32? { self["CSeq"].flatMap { Substring($0).trimmed.decimal() } }
}

enum RTSPWriter {
    static func write(startLine: String, headers: RTSPHeaders, body: [UInt8]) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(512 + body.count)
        out += startLine.utf8.map { $0 < 0x20 || $0 == 0x7f ? 0x20 : $0 }
        out += "\r\n".utf8
        var headers = headers
        headers["Content-Length"] = body.isEmpty ? nil : String(body.count)
        headers.write(into: &out)
        out += "\r\n".utf8
        out += body
        return out
    }

    /// Four bytes before a packet in the connection (RFC 2326 §10.12). The packet has at most 65,535 bytes.
    static func interleavedHeader(channel: UInt8, length: Int) -> [UInt8] {
        [InterleavedFrame.magic, channel, UInt8(truncatingIfNeeded: length >> 8), UInt8(truncatingIfNeeded: length)]
    }
}

/// An RTP or RTCP packet in the connection (RFC 2326 §10.12): `$`, channel, length in two bytes, packet.
package enum InterleavedFrame {
    package static let magic = UInt8(ascii: "$")
    package static let headerLength = 4
    package static let maxPayload = 0xffff

    /// - Parameter packet: at most `maxPayload` bytes.
    package static func append(_ packet: [UInt8], channel: UInt8, into bytes: inout [UInt8]) {
        precondition(packet.count <= maxPayload, "a packet longer than a frame can be")
        bytes += RTSPWriter.interleavedHeader(channel: channel, length: packet.count)
        bytes += packet
    }
}
