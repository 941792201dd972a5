/// The attributes of one m-line that belong to its ICE/DTLS association.
struct TransportOffer {
    var ufrag: String
    var password: String
    var fingerprints: [NegotiatedTransport.Fingerprint]
    /// Value of `a=setup` in our answer.
    var setup: String
    var role: DTLSRole
    var candidates: [Candidate]

    /// More fingerprints than there are hash functions to choose from are not read.
    static let maxFingerprints = 8

    /// Hash functions that can be checked, with the length of their values in bytes (RFC 8122 §5).
    private static let hashes = ["sha-1": 20, "sha-256": 32, "sha-384": 48, "sha-512": 64]

    /// Reads from the m-line, then from the m-line that speaks for its BUNDLE group (`tag`), then from the session:
    /// bundle-only m-lines may leave all of this out (RFC 8843 §7.1.3).
    init(
        _ media: MediaDescription, tag: MediaDescription?, session: SessionDescription
    ) throws(NegotiationError) {
        let levels = [media.attributes, tag?.attributes ?? [], session.attributes]
        func first(_ name: String) -> String? { levels.lazy.compactMap { $0.value(name) }.first }

        guard levels[0].has("rtcp-mux") || levels[1].has("rtcp-mux") || levels[2].has("rtcp-mux") else {
            throw .rtcpMuxRequired
        }
        // RFC 8839 §5.4; credentials come from one level, never mixed.
        guard let level = levels.first(where: { $0.has("ice-ufrag") && $0.has("ice-pwd") }),
            let ufrag = level.value("ice-ufrag"), Self.isCredential(ufrag, 4...256),
            let password = level.value("ice-pwd"), Self.isCredential(password, 22...256)
        else { throw .missingCredentials }
        self.ufrag = ufrag
        self.password = password

        let lines = levels.first { $0.has("fingerprint") }?.values("fingerprint") ?? []
        fingerprints = lines.prefix(Self.maxFingerprints).compactMap(Self.fingerprint)
        guard !fingerprints.isEmpty else { throw .missingFingerprint }

        // We are the server unless the offer insists on being it (RFC 5763 §5). A missing attribute means actpass.
        if first("setup")?.lowercased() == "passive" {
            (setup, role) = ("active", .client)
        } else {
            (setup, role) = ("passive", .server)
        }
        candidates = Array(
            media.attributes.values("candidate").lazy.compactMap { Candidate(offered: $0) }
                .prefix(Candidate.maxOffered))
    }

    private static func isCredential(_ text: String, _ length: ClosedRange<Int>) -> Bool {
        length.contains(text.utf8.count) && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f }
    }

    /// `sha-256 AB:CD:…`
    private static func fingerprint(_ value: String) -> NegotiatedTransport.Fingerprint? {
        let fields = value.fields
        guard fields.count == 2 else { return nil }
        let algorithm = fields[0].lowercased()
        let hex = fields[1].split(byte: UInt8(ascii: ":"))
        guard let length = hashes[algorithm], hex.count == length,
            hex.allSatisfy({ $0.utf8.count == 2 && $0.utf8.allSatisfy(\.isHexDigit) })
        else { return nil }
        return .init(algorithm: algorithm, hex: hex.joined(separator: ":").uppercased())
    }
}
