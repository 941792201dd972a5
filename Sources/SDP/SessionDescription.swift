/// One `a=` line (RFC 8866 §5.13): a property (`a=rtcp-mux`) or a value (`a=mid:0`).
package struct SDPAttribute: Sendable, Hashable {
    package var name: String
    package var value: String?

    package init(_ name: String, _ value: String? = nil) {
        self.name = name
        self.value = value
    }
}

/// One m-line with what belongs to it (RFC 8866 §5.14).
package struct MediaDescription: Sendable, Hashable {
    /// Media type: `audio`, `video`, `application`…
    package var media: String
    package var port: UInt16
    /// Transport protocol, such as `UDP/TLS/RTP/SAVPF`.
    package var transport: String
    package var formats: [String]
    /// Value of the `c=` line.
    package var connection: String?
    /// Values of the `b=` lines.
    package var bandwidths: [String] = []
    package var attributes: [SDPAttribute] = []

    package init(media: String, port: UInt16, transport: String, formats: [String]) {
        self.media = media
        self.port = port
        self.transport = transport
        self.formats = formats
    }
}

/// A session description (RFC 8866), as far as offers and answers of WebRTC need it: lines that carry nothing there
/// (`i=`, `u=`, `e=`, `p=`, `k=`, `r=`, `z=`) are skipped when reading.
package struct SessionDescription: Sendable, Hashable {
    /// Value of the `o=` line.
    package var origin: String
    /// Value of the `s=` line.
    package var name = "-"
    /// Value of the session's `c=` line.
    package var connection: String?
    package var attributes: [SDPAttribute] = []
    package var media: [MediaDescription] = []

    package init(origin: String) { self.origin = origin }

    /// The text with CRLF line ends, in the order of RFC 8866 §9.
    package func serialise() -> String {
        var out = ""
        func line(_ type: String, _ value: String) {
            out += type
            out += "="
            out += value
            out += "\r\n"
        }
        func lines(_ attributes: [SDPAttribute]) {
            for attribute in attributes {
                line("a", attribute.value.map { attribute.name + ":" + $0 } ?? attribute.name)
            }
        }
        line("v", "0")
        line("o", origin)
        line("s", name)
        if let connection { line("c", connection) }
        line("t", "0 0")
        lines(attributes)
        for section in media {
            let formats = section.formats.joined(separator: " ")
            line("m", "\(section.media) \(section.port) \(section.transport) \(formats)")
            if let connection = section.connection { line("c", connection) }
            for bandwidth in section.bandwidths { line("b", bandwidth) }
            lines(section.attributes)
        }
        return out
    }
}

/// Lookups that sessions and m-lines share.
extension [SDPAttribute] {
    package func has(_ name: String) -> Bool { contains { $0.name == name } }

    /// Value of the first attribute of this name.
    package func value(_ name: String) -> String? { first { $0.name == name }?.value }

    package func values(_ name: String) -> [String] { filter { $0.name == name }.compactMap(\.value) }
}
