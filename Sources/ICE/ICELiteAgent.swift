import Wire

/// User fragment and password of one side (RFC 8839 §5.4).
package struct ICECredentials: Sendable, Equatable {
    package var ufrag: String
    package var password: String

    package init(ufrag: String, password: String) {
        self.ufrag = ufrag
        self.password = password
    }

    /// 48 and 144 random bits (at least 24 and 128 are required, RFC 8445 §5.3).
    package static func random(using generator: inout some RandomNumberGenerator) -> ICECredentials {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        func text(_ count: Int) -> String {
            String(
                decoding: (0..<count).map { _ in alphabet[Int.random(in: 0..<64, using: &generator)] }, as: UTF8.self)
        }
        return ICECredentials(ufrag: text(8), password: text(24))
    }
}

/// A pair of addresses over which checks arrive.
package struct ICEPath: Hashable, Sendable, BitwiseCopyable {
    package var remote: SocketAddress
    /// Ours; the port is that of the socket and left 0.
    package var local: SocketAddress
    /// 0 for UDP, else the ICE-TCP connection.
    package var connection: UInt32

    package init(remote: SocketAddress, local: SocketAddress, connection: UInt32) {
        self.remote = remote
        self.local = local
        self.connection = connection
    }
}

/// The ICE-lite side of one component (RFC 8445 §6.1.1, §7.3): answers checks, learns peer-reflexive paths, follows the
/// controlling side's nomination. It sends no checks of its own, so a peer lives as long as its checks come (RFC 7675).
package struct ICELiteAgent: Sendable {
    package enum Outcome: Equatable, Sendable {
        /// An authenticated check: the path may carry media.
        case validated(nominated: Bool, isNew: Bool)
        case rejected(code: Int)
        case ignored(reason: StaticString)

        package static func == (a: Outcome, b: Outcome) -> Bool {
            switch (a, b) {
            case (.validated(let n, let i), .validated(let m, let j)): n == m && i == j
            case (.rejected(let c), .rejected(let d)): c == d
            case (.ignored, .ignored): true
            default: false
            }
        }
    }

    /// Valid paths kept per agent; the one unheard for longest makes room.
    package static let maxPaths = 16
    /// Error replies per second, and as a burst.
    static let maxErrorReplies = 10

    private var local: ICECredentials
    private var remote: ICECredentials?
    private var previous: (local: ICECredentials, remote: ICECredentials?)?
    private let timeout: Interval
    private var lastCheck: Instant
    private var paths: [(path: ICEPath, heard: Instant)] = []
    private var errorTokens = ICELiteAgent.maxErrorReplies
    private var tokenRefill: Instant
    private var isNominated = false
    /// Where to send: the latest nominated path, or before any nomination the latest validated one.
    package private(set) var selectedPath: ICEPath?

    package init(local: ICECredentials, remote: ICECredentials?, timeout: Interval, now: Instant) {
        self.local = local
        self.remote = remote
        self.timeout = timeout
        lastCheck = now
        tokenRefill = now
    }

    package var deadline: Instant { lastCheck + timeout }
    package func isExpired(now: Instant) -> Bool { now >= deadline }
    package func isValid(_ path: ICEPath) -> Bool { paths.contains { $0.path == path } }

    /// - Parameter reply: set to the bytes to send back on `path`; left empty when nothing is to be sent.
    package mutating func handle(
        _ datagram: RawSpan, path: ICEPath, now: Instant, reply: inout [UInt8]
    ) -> Outcome {
        guard let message = try? STUNMessage(parsing: datagram) else { return .ignored(reason: "not a STUN message") }
        guard message.method == 1 else { return .ignored(reason: "not a Binding") }
        switch message.messageClass {
        case .request: break
        case .indication: return .ignored(reason: "indication")
        case .success, .error: return .ignored(reason: "response to nothing we sent")
        }
        if message.find(STUN.Attribute.fingerprint) != nil, !message.hasValidFingerprint(datagram) {
            return .ignored(reason: "wrong FINGERPRINT")
        }
        guard let (userOffset, userLength) = message.find(STUN.Attribute.username),
            message.find(STUN.Attribute.messageIntegrity) != nil
        else { return refuse(400, "Bad Request", message, now: now, reply: &reply) }
        let user = datagram.extracting(userOffset..<(userOffset + userLength)).copied()
        guard let used = credentials(for: user) else {
            return refuse(401, "Unauthenticated", message, now: now, reply: &reply)
        }
        let password = Array(used.local.password.utf8)
        guard message.hasValidIntegrity(datagram, password: password) else {
            return refuse(401, "Unauthenticated", message, now: now, reply: &reply)
        }
        let unknown = unknownAttributes(message)
        if !unknown.isEmpty {
            return refuse(
                420, "Unknown Attribute", message, unknown: unknown, password: password, now: now, reply: &reply)
        }
        if message.find(STUN.Attribute.iceControlled) != nil {
            // A lite agent never takes the controlling role (RFC 8445 §6.1.1, §7.3.1.1).
            return refuse(487, "Role Conflict", message, password: password, now: now, reply: &reply)
        }
        if !used.isPrevious { previous = nil }
        lastCheck = now
        let isNew = heard(path, now: now)
        let nominated = message.find(STUN.Attribute.useCandidate) != nil
        if nominated {
            isNominated = true
            selectedPath = path
        } else if !isNominated || selectedPath == nil {
            selectedPath = path
        }
        var builder = STUNBuilder(messageClass: .success, transactionID: message.transactionID)
        builder.addXORMappedAddress(path.remote)
        builder.addIntegrity(password: password)
        builder.addFingerprint()
        reply = builder.bytes
        return .validated(nominated: nominated, isNew: isNew)
    }

    /// The path is gone (its TCP connection closed).
    package mutating func removePath(_ path: ICEPath) {
        paths.removeAll { $0.path == path }
        guard selectedPath == path else { return }
        isNominated = false
        selectedPath = paths.max { $0.heard < $1.heard }?.path
    }

    /// ICE restart (RFC 8445 §9): the old credentials serve until the first check with the new ones.
    package mutating func restart(local: ICECredentials, remote: ICECredentials?, now: Instant) {
        previous = (self.local, self.remote)
        self.local = local
        self.remote = remote
        lastCheck = now
    }

    /// Reply to a Binding request of a user that nobody knows, or that names none (RFC 8489 §9.1.3); `nil` when the
    /// datagram is no such request. The caller bounds how many are sent.
    package static func refusal(ofUnknown datagram: RawSpan) -> [UInt8]? {
        guard let message = try? STUNMessage(parsing: datagram), message.method == 1, message.messageClass == .request
        else { return nil }
        let isComplete =
            message.find(STUN.Attribute.username) != nil && message.find(STUN.Attribute.messageIntegrity) != nil
        var builder = STUNBuilder(messageClass: .error, transactionID: message.transactionID)
        if isComplete { builder.addErrorCode(401, "Unauthenticated") } else { builder.addErrorCode(400, "Bad Request") }
        builder.addFingerprint()
        return builder.bytes
    }

    // MARK: - Helpers

    private func credentials(for user: [UInt8]) -> (local: ICECredentials, isPrevious: Bool)? {
        func matches(_ local: ICECredentials, _ remote: ICECredentials?) -> Bool {
            let prefix = Array(local.ufrag.utf8) + [UInt8(ascii: ":")]
            guard user.starts(with: prefix) else { return false }
            guard let remote, !remote.ufrag.isEmpty else { return true }
            return Array(user.dropFirst(prefix.count)) == Array(remote.ufrag.utf8)
        }
        if matches(local, remote) { return (local, false) }
        if let previous, matches(previous.local, previous.remote) { return (previous.local, true) }
        return nil
    }

    private func unknownAttributes(_ message: STUNMessage) -> [UInt16] {
        let known: Set<UInt16> = [
            STUN.Attribute.username, STUN.Attribute.messageIntegrity, STUN.Attribute.errorCode,
            STUN.Attribute.unknownAttributes, STUN.Attribute.xorMappedAddress, STUN.Attribute.priority,
            STUN.Attribute.useCandidate, 0x0001, 0x0014, 0x0015, 0x001c, 0x001d, 0x001e,
        ]
        return message.attributes.map(\.type).filter { $0 < 0x8000 && !known.contains($0) }
    }

    private mutating func heard(_ path: ICEPath, now: Instant) -> Bool {
        if let i = paths.firstIndex(where: { $0.path == path }) {
            paths[i].heard = now
            return false
        }
        if paths.count == Self.maxPaths,
            let oldest = paths.indices.filter({ paths[$0].path != selectedPath }).min(by: {
                paths[$0].heard < paths[$1].heard
            })
        {
            paths.remove(at: oldest)
        }
        paths.append((path, now))
        return true
    }

    private mutating func refuse(
        _ code: Int, _ reason: String, _ message: STUNMessage, unknown: [UInt16] = [], password: [UInt8]? = nil,
        now: Instant, reply: inout [UInt8]
    ) -> Outcome {
        if now - tokenRefill >= .seconds(1) {
            errorTokens = Self.maxErrorReplies
            tokenRefill = now
        }
        guard errorTokens > 0 else { return .rejected(code: code) }
        errorTokens -= 1
        var builder = STUNBuilder(messageClass: .error, transactionID: message.transactionID)
        builder.addErrorCode(code, reason)
        if !unknown.isEmpty {
            var list: [UInt8] = []
            for type in unknown { list.appendBigEndian(type) }
            builder.add(STUN.Attribute.unknownAttributes, list)
        }
        if let password { builder.addIntegrity(password: password) }
        builder.addFingerprint()
        reply = builder.bytes
        return .rejected(code: code)
    }
}
