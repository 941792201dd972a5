import ControlPlane
import WeirJSON

/// What a backend sent back, before anyone has looked into it.
package struct HookReply: Sendable {
    package var status: Int
    /// The phrase of the status: that of the standard where it has one.
    package var reason: String
    package var body: [UInt8]

    package init(status: Int, reason: String, body: [UInt8]) {
        self.status = status
        self.reason = reason
        self.body = body
    }
}

/// Why a call of the backend did not end in a 200 with an object (an "interaction error" of the reference, part 1.3).
package enum HookFailure: Error, Hashable, Sendable {
    /// An answer with another status than 200; `reason` is for the client.
    case refused(code: Int, reason: String)
    /// No whole answer in time.
    case timeout
    /// No connection, or it broke; `why` is for the log.
    case unreachable(String)
    /// A 200 whose body is no JSON object.
    case malformed(String)
    /// More bytes than `HookLimits.answerBytes`.
    case tooLarge
    /// The circuit breaker lets nothing through.
    case circuitOpen
    /// Too much is waiting for this backend.
    case overloaded

    /// Text for the client.
    package var clientReason: String {
        switch self {
        case .refused(_, let reason): reason
        case .timeout: "Backend did not answer in time"
        case .unreachable, .circuitOpen: "Backend is not available"
        case .malformed, .tooLarge: "Backend gave no valid answer"
        case .overloaded: "Too many requests are waiting for the backend"
        }
    }

    /// The HTTP status that says the same.
    package var clientCode: Int {
        switch self {
        case .refused(let code, _): code
        case .timeout, .unreachable, .circuitOpen, .overloaded: StatusCode.unavailable.rawValue
        case .malformed, .tooLarge: 502
        }
    }

    /// Value of the metrics label `result`.
    package var label: String {
        switch self {
        case .refused(let code, _): (500...599).contains(code) ? "error" : "refused"
        case .timeout: "timeout"
        case .unreachable: "unreachable"
        case .malformed: "malformed"
        case .tooLarge: "too_large"
        case .circuitOpen: "circuit_open"
        case .overloaded: "overloaded"
        }
    }

    /// Whether it speaks against the backend's health: one that refuses, or whose program is wrong, is up.
    package var isOutage: Bool {
        switch self {
        case .timeout, .unreachable: true
        // A proxy in front of a backend that is down.
        case .refused(let code, _): code == 502 || code == 503 || code == 504
        case .malformed, .tooLarge, .circuitOpen, .overloaded: false
        }
    }
}

extension HookReply {
    /// Bounds of the JSON of an answer.
    package static let jsonLimits: JSONParser.Limits = {
        var limits = JSONParser.Limits()
        limits.bytes = HookLimits.answerBytes
        limits.depth = HookLimits.answerDepth
        return limits
    }()

    /// The members of a 200; none if the body is empty, which means that nothing is changed.
    package func members() throws(HookFailure) -> [JSONMember] {
        guard status == 200 else { throw .refused(code: status, reason: clientReason) }
        if body.allSatisfy({ Self.whitespace.contains($0) }) { return [] }
        guard let value = parsed else { throw .malformed("the body is no JSON") }
        guard case .object(let members) = value else { throw .malformed("the body is no JSON object") }
        return members
    }

    /// The `reason` of a body that is an object of exactly `status` and `reason`, else the reason phrase (signalling
    /// 2.3); cut to what a client may be shown.
    private var clientReason: String {
        if case .object(let members)? = parsed, members.count == 2, Set(members.map(\.name)) == ["status", "reason"],
            case .string(let text)? = parsed?["reason"], !text.isEmpty
        {
            return Self.cut(text)
        }
        return reason.isEmpty ? "Refused by the backend (\(status))" : Self.cut(reason)
    }

    private var parsed: JSONValue? {
        body.isEmpty || body.count > HookLimits.answerBytes ? nil : try? JSONParser.parse(body, limits: Self.jsonLimits)
    }

    private static let whitespace = Set(" \t\r\n".utf8)

    private static func cut(_ text: String) -> String {
        String(text.prefix(HookLimits.reasonCharacters).filter { !($0.unicodeScalars.contains { $0.value < 0x20 }) })
    }
}

/// Bounds of what a backend may send.
package enum HookLimits {
    package static let answerBytes = 1 << 20
    package static let answerDepth = 32
    package static let reasonCharacters = 200
}
