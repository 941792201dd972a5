import SDP
import Wire

/// MIKEY in RTSP headers and session descriptions (RFC 4567 §3).
package enum KeyManagement {
    private static let maxFields = 8
    private static let maxParameters = 8
    /// Base64 of the longest message that is read.
    private static let maxText = MIKEYMessage.maxBytes / 3 * 4 + 4

    /// `KeyMgmt: prot=mikey; uri="rtsp://…"; data="…"`: the first message of a protocol that we know; nil: there is none.
    package static func parse(header value: String) throws(SRTPKeyError) -> MIKEYMessage? {
        for field in Substring(value).listed(by: UInt8(ascii: ","), limit: maxFields) {
            var isOurs = false
            var data: String?
            for part in field.listed(by: UInt8(ascii: ";"), limit: maxParameters) {
                let (name, value) = part.halves(at: UInt8(ascii: "="))
                if name.trimmed.equalsIgnoringCase("prot") {
                    isOurs = value.map { $0.trimmed.unquoted.equalsIgnoringCase("mikey") } ?? false
                } else if name.trimmed.equalsIgnoringCase("data") {
                    data = value?.trimmed.unquoted
                }
            }
            guard isOurs else { continue }
            guard let data else { throw .malformed("KeyMgmt without data") }
            return try message(data)
        }
        return nil
    }

    package static func header(_ message: MIKEYMessage, uri: String) -> String {
        "prot=mikey;uri=\(uri.quoted);data=\(Base64Text.encode(message.bytes).quoted)"
    }

    /// `a=key-mgmt:mikey …`; nil for another protocol.
    static func parse(attribute value: String) throws(SRTPKeyError) -> MIKEYMessage? {
        let (name, data) = Substring(value).trimmed.halves(at: UInt8(ascii: " "))
        guard name.equalsIgnoringCase("mikey") else { return nil }
        return try message(String((data ?? "").trimmed))
    }

    static func attribute(_ message: MIKEYMessage) -> SDPAttribute {
        SDPAttribute("key-mgmt", "mikey " + Base64Text.encode(message.bytes))
    }

    /// - Parameter text: Base64.
    static func message(_ text: String) throws(SRTPKeyError) -> MIKEYMessage {
        guard text.utf8.count <= maxText, let bytes = Base64Text.decode(text) else {
            throw .malformed("a MIKEY message that is no Base64")
        }
        return try MIKEYMessage(parsing: bytes)
    }
}

/// `a=crypto` (SDES, RFC 4568): a key in the session description itself.
package struct SDESCrypto: Sendable, Equatable {
    private static let suite = "AES_CM_128_HMAC_SHA1_80"
    private static let maxParts = 16

    package var tag: UInt32
    package var master: SRTPMaster

    package init(tag: UInt32, master: SRTPMaster) {
        self.tag = tag
        self.master = master
    }

    /// `1 AES_CM_128_HMAC_SHA1_80 inline:BASE64|2^31`
    package init(parsing value: String) throws(SRTPKeyError) {
        let parts = Substring(value).listed(by: UInt8(ascii: " "), limit: Self.maxParts)
        guard parts.count >= 3, let tag: UInt32 = parts[0].decimal() else { throw .malformed("a=crypto without a key") }
        guard parts[1].equalsIgnoringCase(Self.suite) else {
            throw .unsupported("crypto suite \(Self.clean(parts[1]))")
        }
        if let parameter = parts.dropFirst(3).first { throw .unsupported("session parameter \(Self.clean(parameter))") }
        let keys = parts[2].listed(by: UInt8(ascii: ";"), limit: 2)
        guard keys.count == 1, let text = keys.first, text.utf8.count <= 256 else {
            throw .unsupported("a=crypto with several keys")
        }
        let prefix = "inline:"
        guard text.utf8.count > prefix.utf8.count, text.prefix(prefix.count).equalsIgnoringCase(prefix) else {
            throw .malformed("a=crypto without an inline key")
        }
        let fields = Substring(text.utf8.dropFirst(prefix.utf8.count)).split(byte: UInt8(ascii: "|"))
        guard let first = fields.first, let bytes = Base64Text.decode(first), let master = SRTPMaster(bytes) else {
            throw .malformed("a key of a=crypto that is not 30 bytes in Base64")
        }
        // A lifetime is more packets than a session sends; the number of a key would be in every packet.
        guard !fields.dropFirst().contains(where: { $0.utf8.contains(UInt8(ascii: ":")) }) else {
            throw .unsupported("MKI")
        }
        self.tag = tag
        self.master = master
    }

    /// A peer's word in a text of ours.
    private static func clean(_ text: Substring) -> String {
        String(decoding: text.utf8.prefix(64).filter { $0 > 0x20 && $0 < 0x7f }, as: UTF8.self)
    }

    var attribute: SDPAttribute {
        SDPAttribute("crypto", "\(tag) \(Self.suite) inline:\(Base64Text.encode(master.bytes))")
    }
}
