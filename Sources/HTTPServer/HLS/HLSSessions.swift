import Crypto
import FoundationEssentials

/// Sessions of viewers: text that names a viewer of one stream until a time, signed so that nobody can make or change
/// one. The server keeps nothing of them, and after a restart none is valid.
struct HLSSessions: Sendable {
    /// Random bytes that tell viewers apart.
    private static let idBytes = 9
    /// Of the signature: 112 bits cannot be guessed in the lifetime of a session; with the rest, base64 needs no padding.
    private static let signatureBytes = 14
    private static let textLength = (idBytes + 4 + signatureBytes + 2) / 3 * 4

    private let key = SymmetricKey(size: .bits256)
    /// How long a session is good for.
    let lifetime: Duration

    struct Session: Hashable, Sendable {
        /// For counting; tells nothing about the viewer.
        let id: String
        /// What goes into URLs and cookies.
        let text: String
        /// How long it is still good for.
        let seconds: Int64
    }

    /// Tells a viewer apart from others.
    struct ViewerID: Hashable, Sendable {
        fileprivate let bytes: [UInt8]
        var text: String { HLSSessions.encode(bytes) }
    }

    static func makeID() -> ViewerID {
        var generator = SystemRandomNumberGenerator()
        return ViewerID(bytes: (0..<idBytes).map { _ in UInt8.random(in: 0...255, using: &generator) })
    }

    /// - Parameters:
    ///   - now: seconds since 1970.
    ///   - lifetime: at most that of all sessions.
    func open(_ id: ViewerID, stream: String, now: Int64, lifetime: Duration) -> Session {
        let expiry = UInt32(clamping: now + max(0, lifetime.components.seconds))
        let head = id.bytes + Self.bytes(of: expiry)
        return Self.session(head + signature(head, stream), seconds: Int64(expiry) - now)
    }

    /// A session that has been read already.
    struct Known: Sendable {
        fileprivate let stream: String
        fileprivate let session: Session
        /// Seconds since 1970.
        fileprivate let end: Int64
    }

    /// As `read`, but what was read last needs no look at its signature.
    func read(_ text: String, stream: String, now: Int64, known: inout Known?) -> Session? {
        if let known, known.session.text == text, known.stream == stream {
            return known.end > now ? known.session : nil
        }
        guard let session = read(text, stream: stream, now: now) else { return nil }
        known = Known(stream: stream, session: session, end: now + session.seconds)
        return session
    }

    /// Nil if it is not ours, of another stream, or over.
    func read(_ text: String, stream: String, now: Int64) -> Session? {
        guard text.utf8.count == Self.textLength, let bytes = Data(base64Encoded: Self.standard(text)) else {
            return nil
        }
        let all = [UInt8](bytes)
        guard all.count == Self.idBytes + 4 + Self.signatureBytes else { return nil }
        let head = Array(all.prefix(Self.idBytes + 4))
        // Compares without telling by its time where the first difference is.
        let difference = zip(signature(head, stream), all.suffix(Self.signatureBytes)).reduce(0 as UInt8) {
            $0 | ($1.0 ^ $1.1)
        }
        let expiry = head.suffix(4).reduce(0 as UInt32) { $0 << 8 | UInt32($1) }
        guard difference == 0, Int64(expiry) > now else { return nil }
        return Self.session(all, seconds: Int64(expiry) - now)
    }

    private func signature(_ head: [UInt8], _ stream: String) -> [UInt8] {
        let code = HMAC<SHA256>.authenticationCode(for: head + Array(stream.utf8), using: key)
        return Array(code.prefix(Self.signatureBytes))
    }

    private static func session(_ bytes: [UInt8], seconds: Int64) -> Session {
        Session(id: encode(Array(bytes.prefix(idBytes))), text: encode(bytes), seconds: seconds)
    }

    private static func bytes(of number: UInt32) -> [UInt8] {
        (0..<4).map { UInt8(truncatingIfNeeded: number >> (24 - 8 * $0)) }
    }

    /// Base64 whose characters need no escaping in URLs (RFC 4648 §5), padding left out.
    private static func encode(_ bytes: [UInt8]) -> String {
        let text = Data(bytes).base64EncodedString()
        return String(
            text.compactMap { character -> Character? in
                switch character {
                case "+": "-"
                case "/": "_"
                case "=": nil
                default: character
                }
            })
    }

    private static func standard(_ text: String) -> String {
        let plain = String(text.map { $0 == "-" ? "+" : $0 == "_" ? "/" : $0 })
        return plain + String(repeating: "=", count: (4 - plain.utf8.count % 4) % 4)
    }
}
