/// The body of a PATCH: an SDP fragment with ICE credentials and candidates (`application/trickle-ice-sdpfrag`,
/// RFC 8840 §9, as RFC 9725 §4.3 uses it).
struct ICEFragment: Hashable, Sendable {
    static let contentType = "application/trickle-ice-sdpfrag"
    static let maxBytes = 65_536
    static let maxLines = 512
    static let maxCandidates = 128

    /// Nil when the fragment names none.
    var credentials: ICECredentialPair?
    /// How many candidates it holds. Weir is ICE lite: it never sends checks, so it does not use them.
    var candidates = 0
    var endOfCandidates = false

    enum ParseError: Error, Hashable, Sendable {
        case malformed(line: Int, String)
        case tooMany(String)
        /// Several user fragments: media without BUNDLE, each with an ICE session of its own.
        case severalSessions
    }

    init(parsing text: String) throws(ParseError) {
        var ufrag: Substring?
        var password: Substring?
        let lines = text.split(omittingEmptySubsequences: false) { $0 == "\r\n" || $0 == "\n" }
        guard lines.count <= Self.maxLines else { throw .tooMany("lines") }
        for (index, line) in lines.enumerated() where !line.isEmpty {
            let number = index + 1
            guard let (type, value) = Self.field(line) else {
                throw .malformed(line: number, "a line is a letter, \"=\" and a value")
            }
            guard type == "a" else { continue }
            if let found = Self.attribute("ice-ufrag", value) {
                guard ICECredentialPair.isValid(found, length: 4...256) else {
                    throw .malformed(line: number, "ice-ufrag is 4 to 256 letters, digits, \"+\" or \"/\"")
                }
                if let ufrag, ufrag != found { throw .severalSessions }
                ufrag = found
            } else if let found = Self.attribute("ice-pwd", value) {
                guard ICECredentialPair.isValid(found, length: 22...256) else {
                    throw .malformed(line: number, "ice-pwd is 22 to 256 letters, digits, \"+\" or \"/\"")
                }
                if let password, password != found { throw .severalSessions }
                password = found
            } else if let found = Self.attribute("candidate", value) {
                guard Self.isCandidate(found) else { throw .malformed(line: number, "the candidate is not readable") }
                candidates += 1
                guard candidates <= Self.maxCandidates else { throw .tooMany("candidates") }
            } else if value == "end-of-candidates" {
                endOfCandidates = true
            }
        }
        switch (ufrag, password) {
        case (let ufrag?, let password?):
            credentials = ICECredentialPair(ufrag: String(ufrag), password: String(password))
        case (nil, nil): credentials = nil
        default: throw .malformed(line: lines.count, "ice-ufrag and ice-pwd belong together")
        }
        guard credentials != nil || candidates > 0 || endOfCandidates else {
            throw .malformed(line: lines.count, "there is neither a candidate nor a user fragment")
        }
    }

    /// `a=value` as ("a", "value").
    private static func field(_ line: Substring) -> (type: Character, value: Substring)? {
        guard let type = line.first, type.isASCII, type.isLowercase else { return nil }
        let rest = line.dropFirst()
        guard rest.first == "=", rest.count > 1 else { return nil }
        return (type, rest.dropFirst())
    }

    private static func attribute(_ name: String, _ value: Substring) -> Substring? {
        guard value.hasPrefix(name) else { return nil }
        let rest = value.dropFirst(name.count)
        return rest.first == ":" ? rest.dropFirst() : nil
    }

    /// RFC 8839 §5.1: foundation, component, transport, priority, address, port, `typ`, type, extensions in pairs.
    /// The address may be a name (`.local`), which is never resolved; the transport may be one that we do not know.
    private static func isCandidate(_ text: Substring) -> Bool {
        let parts = text.split(separator: " ", omittingEmptySubsequences: true)
        guard parts.count >= 8, parts[6] == "typ" else { return false }
        guard (1...32).contains(parts[0].utf8.count) else { return false }
        guard let component = UInt16(parts[1]), component >= 1 else { return false }
        guard UInt32(parts[3]) != nil, UInt16(parts[5]) != nil else { return false }
        return true
    }
}

/// User fragment and password of one side of an ICE session (RFC 8839 §5.4).
struct ICECredentialPair: Hashable, Sendable {
    var ufrag: String
    var password: String

    static func isValid(_ text: Substring, length: ClosedRange<Int>) -> Bool {
        length.contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "+"), UInt8(ascii: "/"):
                    true
                default: false
                }
            }
    }
}

/// What WHIP needs to know of an offer or an answer to serve ICE restarts. The description was read by the media side
/// before, so this looks for lines and judges nothing.
struct ICEDescription: Hashable, Sendable {
    /// Every user fragment with its password; more than one without BUNDLE.
    var credentials: Set<ICECredentialPair> = []
    /// `a=ice-options`, `a=group` lines and the first `m=` line with its `a=mid`: head of our fragments.
    var ufrag: String?
    private var session: [Substring] = []
    private var media: [Substring] = []
    private var candidates: [Substring] = []

    init(_ sdp: String) {
        var sections = 0
        var ufrags: [Substring] = []
        var passwords: [Substring] = []
        for line in sdp.split(omittingEmptySubsequences: true, whereSeparator: { $0 == "\r\n" || $0 == "\n" }) {
            if line.hasPrefix("m=") { sections += 1 }
            if line.hasPrefix("a=ice-ufrag:") { ufrags.append(line.dropFirst(12)) }
            if line.hasPrefix("a=ice-pwd:") { passwords.append(line.dropFirst(10)) }
            switch sections {
            case 0 where line.hasPrefix("a=ice-options:") || line.hasPrefix("a=group:"): session.append(line)
            case 1 where line.hasPrefix("m=") || line.hasPrefix("a=mid:"): media.append(line)
            case 1 where line.hasPrefix("a=candidate:"): candidates.append(line)
            default: break
            }
        }
        for (ufrag, password) in zip(ufrags, passwords) {
            credentials.insert(ICECredentialPair(ufrag: String(ufrag), password: String(password)))
        }
        ufrag = ufrags.first.map { String($0) }
    }

    /// Our fragment in the answer to an ICE restart: new credentials, the candidates as they were.
    func fragment(_ credentials: ICECredentialPair) -> String {
        var lines: [Substring] = ["a=ice-lite"] + session + media
        lines.append("a=ice-ufrag:\(credentials.ufrag)")
        lines.append("a=ice-pwd:\(credentials.password)")
        lines += candidates
        lines.append("a=end-of-candidates")
        return lines.joined(separator: "\r\n") + "\r\n"
    }
}
