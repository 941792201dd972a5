import DTLS
import ICE
import RTP
import SRTP
import Wire

/// ICE client, DTLS client and SRTP of one test peer: a protocol core without sockets and clocks. Publisher and player
/// build on it.
class PeerCore {
    /// Consent checks, as browsers send them (RFC 7675 §5.1 allows 5 s).
    static let checkInterval = Interval.milliseconds(2500)
    static let firstCheckInterval = Interval.milliseconds(50)

    let id: UInt64
    let address: SocketAddress
    /// Datagrams for the network, taken by the world.
    var outgoing: [[UInt8]] = []
    /// A peer that is gone answers nothing and sends nothing.
    var isSilent = false
    private(set) var isConnected = false
    private(set) var isClosed = false
    private(set) var checksAnswered = 0
    private(set) var stunErrors: [Int] = []
    /// Packets under an SRTP index that had been used: duplicates of the network, or of the engine.
    private(set) var replays = 0

    private let local: ICECredentials
    private let remote: ICECredentials
    private let context: DTLSContext
    private let fingerprint: String
    private var dtls: DTLSSession?
    private var nextCheck = Instant.zero
    private let machine: SRTPMachine
    private var outbound: SRTPOutbound?
    private var inbound: SRTPInbound?
    private var transaction: UInt64 = 0

    init(id: UInt64, address: SocketAddress, local: ICECredentials, remote: ICECredentials, security: TestSecurity)
        throws
    {
        self.id = id
        self.address = address
        self.local = local
        self.remote = remote
        context = security.clientContext
        fingerprint = security.server.fingerprintSHA256
        // Another library than the engine's: what one seals the other must open.
        machine = try SRTPMachine(backend: .openSSL)
    }

    deinit { if let outbound { machine.destroy(outbound) } }

    // MARK: - For subclasses

    func connected(now: Instant) {}
    func tick(now: Instant) {}
    func receive(rtp packet: [UInt8], now: Instant) {}
    func receive(rtcp packet: RTCPPacket, now: Instant) {}

    // MARK: - From the world

    final func poll(now: Instant) throws {
        guard !isSilent else { return }
        if now >= nextCheck {
            nextCheck = now + (isConnected ? Self.checkInterval : Self.firstCheckInterval)
            outgoing.append(check())
        }
        if let dtls, !isConnected {
            dtls.poll(now: now)
            try drain(dtls, now: now)
        }
        if isConnected { tick(now: now) }
    }

    final func receive(_ datagram: [UInt8], now: Instant) throws {
        guard !isSilent, let first = datagram.first else { return }
        switch first {
        case 0..<4: try receiveSTUN(datagram, now: now)
        case 20..<64:
            guard let dtls else { return }
            dtls.handle(datagram.span.bytes, now: now)
            try drain(dtls, now: now)
        default: try receiveMedia(datagram, now: now)
        }
    }

    /// A check as the controlling side sends it, nominating at once (RFC 8445 §8.1.1).
    final func check() -> [UInt8] {
        transaction += 1
        var identifier: [UInt8] = []
        identifier.appendBigEndian(UInt32(truncatingIfNeeded: id))
        identifier.appendBigEndian(transaction)
        var builder = STUNBuilder(messageClass: .request, transactionID: identifier)
        builder.add(STUN.Attribute.username, Array("\(remote.ufrag):\(local.ufrag)".utf8))
        builder.add(STUN.Attribute.iceControlling, [UInt8](repeating: 7, count: 8))
        builder.add(STUN.Attribute.priority, [0x6e, 0, 1, 0xff])
        builder.add(STUN.Attribute.useCandidate, [])
        builder.addIntegrity(password: Array(remote.password.utf8))
        builder.addFingerprint()
        return builder.bytes
    }

    final func send(rtcp: [UInt8]) {
        guard let outbound else { return }
        var room = rtcp + [UInt8](repeating: 0, count: 32)
        let length = room.withUnsafeMutableBytes {
            machine.protectRTCP(outbound, packet: $0.baseAddress!, length: rtcp.count, capacity: $0.count)
        }
        outgoing.append(Array(room[..<length]))
    }

    /// - Parameter index: 48 bits, roll-over counter and sequence number.
    final func send(rtpHeader header: [UInt8], payload: [UInt8], ssrc: UInt32, index: UInt64) {
        guard let outbound else { return }
        var room = header + payload + [UInt8](repeating: 0, count: 32)
        let length = room.withUnsafeMutableBytes { room in
            let length = machine.protectRTP(
                outbound, packet: room.baseAddress!, headerLength: header.count,
                payload: UnsafeRawPointer(room.baseAddress! + header.count), payloadLength: payload.count, ssrc: ssrc,
                packetIndex: index)
            machine.flush()
            return length
        }
        outgoing.append(Array(room[..<length]))
    }

    /// Says goodbye by close_notify, and from then on nothing.
    final func hangUp() {
        outgoing.removeAll()
        dtls?.close()
        while let datagram = dtls?.nextDatagram() { outgoing.append(datagram) }
        isSilent = true
    }

    // MARK: - Protocols

    private func receiveSTUN(_ datagram: [UInt8], now: Instant) throws {
        let message = try STUNMessage(parsing: datagram.span.bytes)
        guard message.messageClass == .success else {
            if let (offset, length) = message.find(STUN.Attribute.errorCode), length >= 4 {
                stunErrors.append(Int(datagram[offset + 2]) * 100 + Int(datagram[offset + 3]))
            }
            return
        }
        guard message.hasValidIntegrity(datagram.span.bytes, password: Array(remote.password.utf8)) else { return }
        checksAnswered += 1
        guard dtls == nil else { return }
        let fingerprints = [DTLSFingerprint(algorithm: "sha-256", hex: fingerprint)].compactMap { $0 }
        let session = try DTLSSession(context: context, role: .client, fingerprints: fingerprints, now: now)
        dtls = session
        session.start(now: now)
        try drain(session, now: now)
    }

    private func drain(_ dtls: DTLSSession, now: Instant) throws {
        while let datagram = dtls.nextDatagram() { outgoing.append(datagram) }
        switch dtls.state {
        case .handshaking: break
        case .connected(let keys):
            guard !isConnected else { return }
            outbound = try machine.makeOutbound(keys)
            inbound = try SRTPInbound(machine: machine, keys: keys)
            isConnected = true
            nextCheck = now + Self.checkInterval
            connected(now: now)
        case .closed: isClosed = true
        case .failed(let error): throw error
        }
    }

    private func receiveMedia(_ datagram: [UInt8], now: Instant) throws {
        guard let inbound else { return }
        var bytes = datagram
        let isRTCP = RTCP.isRTCP(bytes.span.bytes)
        let result = bytes.withUnsafeMutableBytes { room in
            isRTCP
                ? inbound.unprotectRTCP(room.baseAddress!, length: room.count)
                : inbound.unprotectRTP(room.baseAddress!, length: room.count)
        }
        // A duplicate of the network is the replay window's business, whatever else is wrong is ours.
        guard case .ok(let length) = result else {
            guard result == .replayed else { throw TestFailure.badPacket("\(result)") }
            replays += 1
            return
        }
        bytes.removeLast(bytes.count - length)
        guard isRTCP else {
            receive(rtp: bytes, now: now)
            return
        }
        var packets: [RTCPPacket] = []
        try RTCP.parse(bytes.span.bytes) { packets.append($0) }
        for packet in packets { receive(rtcp: packet, now: now) }
    }
}

enum TestFailure: Error, Equatable {
    case badPacket(String)
    case notConnected
    case system(Int32)
}

/// Certificates and contexts, made once: their keys cost more than a handshake.
struct TestSecurity: Sendable {
    let server: DTLSCertificate
    let client: DTLSCertificate
    let serverContext: DTLSContext
    let clientContext: DTLSContext

    private init() throws {
        server = try .generate()
        client = try .generate()
        serverContext = try DTLSContext(certificate: server, profiles: [.aeadAES128GCM, .aes128CMHMACSHA1_80])
        clientContext = try DTLSContext(certificate: client, profiles: SRTPProfile.allCases)
    }

    private static let made = Result { try TestSecurity() }
    static func shared() throws -> TestSecurity { try made.get() }
}

/// An RTP header with the one-byte extensions that are given (RFC 8285 §4.2).
func rtpHeader(
    marker: Bool, payloadType: UInt8, sequence: UInt16, timestamp: UInt32, ssrc: UInt32, padding: Bool = false,
    extensions: [(id: UInt8, value: [UInt8])] = []
) -> [UInt8] {
    var bytes: [UInt8] = [
        0x80 | (padding ? 0x20 : 0) | (extensions.isEmpty ? 0 : 0x10), (marker ? 0x80 : 0) | payloadType,
    ]
    bytes.appendBigEndian(sequence)
    bytes.appendBigEndian(timestamp)
    bytes.appendBigEndian(ssrc)
    guard !extensions.isEmpty else { return bytes }
    var block: [UInt8] = []
    for element in extensions {
        block.append(element.id << 4 | UInt8(element.value.count - 1))
        block += element.value
    }
    while block.count & 3 != 0 { block.append(0) }
    bytes.appendBigEndian(RTPExtensions.oneByteProfile)
    bytes.appendBigEndian(UInt16(block.count / 4))
    return bytes + block
}
