import Wire

/// A MIKEY message (RFC 3830) as RTSP peers tell keys of SRTP in it: of the pre-shared key method, with neither encryption
/// nor authentication, since the connection that carries it has both (RFC 4567 §9.2). GStreamer, MediaMTX and live555
/// write this form alone.
package struct MIKEYMessage: Sendable, Equatable {
    /// One SRTP source (§6.1.1, SRTP-ID).
    package struct CryptoSession: Sendable, Equatable {
        /// Number of the policy.
        package var policy: UInt8
        package var ssrc: UInt32
        package var rollOver: UInt32

        package init(policy: UInt8 = 0, ssrc: UInt32, rollOver: UInt32 = 0) {
            self.policy = policy
            self.ssrc = ssrc
            self.rollOver = rollOver
        }
    }

    /// What the sources are protected by (§6.10.1).
    package struct Policy: Sendable, Equatable {
        package var number: UInt8
        package var parameters: [Parameter]

        package struct Parameter: Sendable, Equatable {
            package var type: UInt8
            package var value: [UInt8]
        }
    }

    /// Identifies the sources together (CSB ID).
    package var bundle: UInt32
    package var sessions: [CryptoSession]
    /// NTP, 32.32 bits; nil where the message has none, or a counter.
    package var time: UInt64?
    package var random: [UInt8]
    package var policies: [Policy]
    /// The traffic-encrypting key, and its salt if that was written apart.
    package var key: [UInt8]
    package var salt: [UInt8]

    /// Keys for one source of ours.
    package init(_ master: SRTPMaster, ssrc: UInt32, bundle: UInt32, time: UInt64, random: [UInt8]) {
        self.bundle = bundle
        self.time = time
        self.random = random
        sessions = [CryptoSession(ssrc: ssrc)]
        policies = [Policy(number: 0, parameters: Policy.ours)]
        key = master.bytes
        salt = []
    }

    /// For one source of ours.
    init(_ master: SRTPMaster, ssrc: UInt32, by maker: RTSPKeyMaker) {
        let random = maker.random(Self.randomLength + 4)
        let bundle = random.prefix(4).reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        self.init(master, ssrc: ssrc, bundle: bundle, time: maker.time(), random: Array(random.dropFirst(4)))
    }

    /// RFC 3830 §4.2.8 wants at least 128 bits.
    private static let randomLength = 16
}

// MARK: - What it means

extension MIKEYMessage.Policy {
    /// Types of parameters (§6.10.1).
    private enum Kind: UInt8 {
        case cipher, keyLength, authentication, authenticationKeyLength, saltLength, keyStream, derivationRate
        case encryptsRTP, encryptsRTCP, errorCorrection, authenticatesRTP, tagLength, prefixLength
    }

    /// AES_CM_128_HMAC_SHA1_80, both of RTP and RTCP.
    static let ours: [Parameter] = [
        (.cipher, 1), (.keyLength, 16), (.authentication, 1), (.authenticationKeyLength, 20), (.encryptsRTP, 1),
        (.encryptsRTCP, 1), (.authenticatesRTP, 1), (.tagLength, 10),
    ].map { (kind: Kind, value: UInt8) in Parameter(type: kind.rawValue, value: [value]) }

    /// What keeps it from being AES_CM_128_HMAC_SHA1_80; what it leaves out is so by default.
    fileprivate func check() throws(SRTPKeyError) {
        for parameter in parameters {
            guard let kind = Kind(rawValue: parameter.type) else { continue }
            guard parameter.value.count <= 4 else { throw .malformed("a MIKEY policy parameter of too many bytes") }
            let value = parameter.value.reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            let isOurs =
                switch kind {
                case .cipher, .authentication, .encryptsRTP, .encryptsRTCP, .authenticatesRTP: value == 1
                case .keyLength: value == 16
                // GStreamer writes the tag's length here, and then no length of a tag.
                case .authenticationKeyLength: value == 20 || value == 10
                case .saltLength: value == 14 || value == 0
                case .keyStream, .derivationRate, .errorCorrection, .prefixLength: value == 0
                case .tagLength: value == 10
                }
            guard isOurs else { throw .unsupported("MIKEY policy \(kind) \(value)") }
        }
    }
}

extension MIKEYMessage {
    /// Key and salt, if they are for a transform that we know.
    package func master() throws(SRTPKeyError) -> SRTPMaster {
        for policy in policies { try policy.check() }
        guard sessions.allSatisfy({ $0.rollOver == 0 }) else {
            throw .unsupported("a MIKEY message for sources that have been sending for long (roll-over counter)")
        }
        guard let master = SRTPMaster(key + salt) else {
            throw .unsupported("a MIKEY key of \(key.count) bytes with a salt of \(salt.count)")
        }
        return master
    }
}

// MARK: - Bytes

extension MIKEYMessage {
    /// Types of payloads (§6.1).
    private enum Payload {
        static let last: UInt8 = 0
        static let keys: UInt8 = 1
        static let time: UInt8 = 5
        static let identity: UInt8 = 6
        static let certificate: UInt8 = 7
        static let policy: UInt8 = 10
        static let random: UInt8 = 11
        static let keyData: UInt8 = 20
        static let `extension`: UInt8 = 21
    }
    private static let version: UInt8 = 1
    private static let ntpUTC: UInt8 = 0
    private static let trafficKey: UInt8 = 2

    package var bytes: [UInt8] {
        var out: [UInt8] = [Self.version, 0, Payload.time, 0]
        out.appendBigEndian(bundle)
        out += [UInt8(truncatingIfNeeded: min(sessions.count, Self.maxSessions)), 0]
        for session in sessions.prefix(Self.maxSessions) {
            out.append(session.policy)
            out.appendBigEndian(session.ssrc)
            out.appendBigEndian(session.rollOver)
        }
        out += [Payload.random, Self.ntpUTC]
        out.appendBigEndian(time ?? 0)
        out += [policies.isEmpty ? Payload.keys : Payload.policy]
        out += Self.counted(random)
        for (place, policy) in policies.enumerated() {
            out += [place + 1 < policies.count ? Payload.policy : Payload.keys, policy.number, 0]
            let body = policy.parameters.flatMap { [$0.type] + Self.counted($0.value) }
            out.appendBigEndian(UInt16(truncatingIfNeeded: body.count))
            out += body
        }
        var data: [UInt8] = [Payload.last, (salt.isEmpty ? Self.trafficKey : Self.trafficKey + 1) << 4]
        data.appendBigEndian(UInt16(truncatingIfNeeded: key.count))
        data += key
        if !salt.isEmpty {
            data.appendBigEndian(UInt16(truncatingIfNeeded: salt.count))
            data += salt
        }
        // Neither cipher nor MAC.
        out += [Payload.last, 0]
        out.appendBigEndian(UInt16(truncatingIfNeeded: data.count))
        out += data
        out.append(0)
        return out
    }

    private static func counted(_ bytes: [UInt8]) -> [UInt8] {
        let bytes = bytes.prefix(255)
        return [UInt8(truncatingIfNeeded: bytes.count)] + bytes
    }

    /// Bounds of what is read: a message of ours has 120 bytes, one of a camera with certificates some thousand.
    package static let maxBytes = 8 << 10
    static let maxSessions = 32
    private static let maxPayloads = 32
    private static let maxPolicies = 8
    private static let maxParameters = 64

    /// Reads a message; each length in it is checked against what there is.
    package init(parsing bytes: [UInt8]) throws(SRTPKeyError) {
        guard bytes.count <= Self.maxBytes else { throw .malformed("a MIKEY message of \(bytes.count) bytes") }
        var reader = MIKEYReader(bytes[...])
        guard try reader.byte() == Self.version else { throw .unsupported("this MIKEY version") }
        guard try reader.byte() == 0 else {
            throw .unsupported("a MIKEY message other than of the pre-shared key method")
        }
        var next = try reader.byte()
        // Whether an answer is wanted: over RTSP there is none but the method's own.
        _ = try reader.byte()
        bundle = try reader.number()
        let count = Int(try reader.byte())
        guard try reader.byte() == 0 else { throw .unsupported("a MIKEY message for another protocol than SRTP") }
        guard count <= Self.maxSessions else { throw .malformed("a MIKEY message for \(count) sources") }
        (sessions, time, random, policies, key, salt) = ([], nil, [], [], [], [])
        for _ in 0..<count {
            sessions.append(
                CryptoSession(policy: try reader.byte(), ssrc: try reader.number(), rollOver: try reader.number()))
        }
        var payloads = 0
        while next != Payload.last {
            payloads += 1
            guard payloads <= Self.maxPayloads else { throw .malformed("too many MIKEY payloads") }
            let type = next
            next = try reader.byte()
            try take(type, &reader)
        }
        guard !key.isEmpty else { throw .malformed("a MIKEY message without a key") }
    }

    private mutating func take(_ type: UInt8, _ reader: inout MIKEYReader) throws(SRTPKeyError) {
        switch type {
        case Payload.time:
            switch try reader.byte() {
            case 0, 1: time = try reader.number()
            case 2: _ = try reader.number(as: UInt32.self)
            default: throw .malformed("a MIKEY time of unknown type")
            }
        case Payload.random: random = try reader.take(Int(reader.byte()))
        case Payload.policy:
            guard policies.count < Self.maxPolicies else { throw .malformed("too many MIKEY policies") }
            let number = try reader.byte()
            guard try reader.byte() == 0 else { throw .unsupported("a MIKEY policy of another protocol than SRTP") }
            var body = MIKEYReader(try reader.take(Int(reader.number(as: UInt16.self)))[...])
            var policy = Policy(number: number, parameters: [])
            while !body.isAtEnd {
                guard policy.parameters.count < Self.maxParameters else {
                    throw .malformed("too many parameters of a MIKEY policy")
                }
                let type = try body.byte()
                policy.parameters.append(.init(type: type, value: try body.take(Int(body.byte()))))
            }
            policies.append(policy)
        case Payload.keys:
            guard try reader.byte() == 0 else { throw .unsupported("an encrypted MIKEY message") }
            var data = MIKEYReader(try reader.take(Int(reader.number(as: UInt16.self)))[...])
            guard try reader.byte() == 0 else { throw .unsupported("an authenticated MIKEY message") }
            try takeKey(&data)
        case Payload.identity, Payload.certificate, Payload.extension:
            // Who it is has been told by the connection.
            _ = try reader.byte()
            _ = try reader.take(Int(reader.number(as: UInt16.self)))
        default: throw .unsupported("a MIKEY payload of type \(type)")
        }
    }

    /// Key data (§6.13).
    private mutating func takeKey(_ data: inout MIKEYReader) throws(SRTPKeyError) {
        guard try data.byte() == Payload.last, key.isEmpty else {
            throw .unsupported("a MIKEY message with several keys")
        }
        let form = try data.byte()
        guard form >> 4 == Self.trafficKey || form >> 4 == Self.trafficKey + 1 else {
            throw .unsupported("a MIKEY key that others are derived from (TGK)")
        }
        key = try data.take(Int(data.number(as: UInt16.self)))
        if form >> 4 == Self.trafficKey + 1 { salt = try data.take(Int(data.number(as: UInt16.self))) }
        switch form & 0xf {
        case 0: break
        case 1:
            // A number that every packet would carry.
            guard try data.take(Int(data.byte())).isEmpty else { throw .unsupported("MKI") }
        default: throw .unsupported("a MIKEY key that is valid for a time")
        }
    }
}

/// Bytes that are taken from the front.
private struct MIKEYReader {
    private var rest: ArraySlice<UInt8>

    init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

    var isAtEnd: Bool { rest.isEmpty }

    mutating func byte() throws(SRTPKeyError) -> UInt8 {
        guard let byte = rest.popFirst() else { throw .malformed("a MIKEY message that is cut off") }
        return byte
    }

    mutating func take(_ count: Int) throws(SRTPKeyError) -> [UInt8] {
        guard count <= rest.count else { throw .malformed("a MIKEY message that is cut off") }
        defer { rest = rest.dropFirst(count) }
        return Array(rest.prefix(count))
    }

    mutating func number<T: FixedWidthInteger>(as type: T.Type = T.self) throws(SRTPKeyError) -> T {
        try take(T.bitWidth / 8).reduce(T.zero) { $0 << 8 | T($1) }
    }
}
