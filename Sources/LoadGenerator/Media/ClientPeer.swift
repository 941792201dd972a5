import CLinuxNet
import DTLS
import Glibc
import ICE
import LinuxNet
import RTP
import SRTP
import Wire

/// One client on its media thread: socket, ICE (controlling), DTLS, SRTP keys. Publisher and player build on it.
class ClientPeer {
    private static let firstCheckInterval = Interval.milliseconds(50)
    /// Consent (RFC 7675 §5.1): a check every 5 s at least.
    private static let checkInterval = Interval.milliseconds(2500)
    private static let receiveBuffer: CInt = 1 << 20

    let handle: LoadPeer
    let descriptor: CInt
    unowned let thread: LoadThread
    private let answer: ClientSDP.Answer
    private let began: Instant
    private let deadline: Instant
    private var dtls: DTLSSession?
    private(set) var outbound: SRTPOutbound?
    private(set) var inbound: SRTPInbound?
    private var nextCheck: Instant
    private var transaction: UInt64 = 0
    private(set) var times = JoinTimes(ice: 0, dtls: 0, media: 0)
    private(set) var isReady = false
    private(set) var hasEnded = false

    init(handle: LoadPeer, answer: ClientSDP.Answer, deadline: Instant, thread: LoadThread) throws(LoadError) {
        var remote = answer.remote.c
        let descriptor = weir_client_open(&remote, Self.receiveBuffer)
        guard descriptor >= 0 else { throw .socket("open a UDP socket to \(answer.remote)", code: -descriptor) }
        self.descriptor = descriptor
        self.handle = handle
        self.answer = answer
        self.deadline = deadline
        self.thread = thread
        began = .now
        nextCheck = began
    }

    deinit {
        if let outbound { thread.machine.destroy(outbound) }
        Glibc.close(descriptor)
    }

    /// Keys are known.
    func connected(now: Instant) {}

    /// Milliseconds since the answer.
    private func elapsed(_ now: Instant) -> Double { Double((now - began).nanoseconds) / 1e6 }

    func becomeReady(now: Instant) {
        guard !isReady else { return }
        isReady = true
        times.media = elapsed(now)
        handle.becameReady(times)
    }

    func fail(_ error: LoadError) {
        guard !hasEnded else { return }
        hasEnded = true
        handle.failed(error)
    }

    /// Timers of ICE and DTLS.
    func poll(now: Instant) {
        if !isReady, now >= deadline {
            let stage = outbound != nil ? "no media" : times.ice > 0 ? "no end of the DTLS handshake" : "no ICE answer"
            fail(.timedOut(stage: "\(stage) after \(Int(elapsed(now))) ms"))
            return
        }
        if now >= nextCheck {
            nextCheck = now + (dtls == nil ? Self.firstCheckInterval : Self.checkInterval)
            send(check())
        }
        if let dtls, outbound == nil, let due = dtls.deadline, now >= due {
            dtls.poll(now: now)
            drain(dtls, now: now)
        }
    }

    /// A datagram that is neither RTP nor RTCP.
    func receive(control bytes: UnsafeRawBufferPointer, now: Instant) {
        guard let first = bytes.first else { return }
        if first < 4 {
            receiveSTUN(Array(bytes), now: now)
        } else if first >= 20, first < 64 {
            // The server may begin before its answer to our check is here.
            guard let session = startDTLS(now: now) else { return }
            session.handle(bytes.bytes, now: now)
            drain(session, now: now)
        }
    }

    func close() {
        hasEnded = true
        handle.wasClosed()
        guard let dtls else { return }
        dtls.close()
        while let datagram = dtls.nextDatagram() { send(datagram) }
    }

    // MARK: - Sending

    final func send(_ bytes: [UInt8]) {
        bytes.withUnsafeBufferPointer { _ = weir_client_send(descriptor, $0.baseAddress, $0.count) }
    }

    final func send(rtcp bytes: [UInt8]) {
        guard let outbound, !bytes.isEmpty else { return }
        let room = thread.scratch
        guard bytes.count + 32 <= LoadThread.scratchSize else { return }
        bytes.withUnsafeBytes { room.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
        let length = thread.machine.protectRTCP(
            outbound, packet: room, length: bytes.count, capacity: LoadThread.scratchSize)
        _ = weir_client_send(descriptor, room.assumingMemoryBound(to: UInt8.self), length)
    }

    // MARK: - ICE

    /// The controlling side, nominating at once (RFC 8445 §8.1.1).
    private func check() -> [UInt8] {
        transaction += 1
        var identifier: [UInt8] = []
        identifier.appendBigEndian(UInt32(truncatingIfNeeded: handle.id))
        identifier.appendBigEndian(transaction)
        var builder = STUNBuilder(messageClass: .request, transactionID: identifier)
        builder.add(STUN.Attribute.username, Array("\(answer.credentials.ufrag):\(handle.credentials.ufrag)".utf8))
        builder.add(STUN.Attribute.iceControlling, [7, 7, 7, 7, 7, 7, 7, 7])
        builder.add(STUN.Attribute.priority, [0x6e, 0, 1, 0xff])
        builder.add(STUN.Attribute.useCandidate, [])
        builder.addIntegrity(password: Array(answer.credentials.password.utf8))
        builder.addFingerprint()
        return builder.bytes
    }

    private func receiveSTUN(_ datagram: [UInt8], now: Instant) {
        guard let message = try? STUNMessage(parsing: datagram.span.bytes) else { return }
        switch message.messageClass {
        case .request:
            // Full agents check us, too.
            guard message.hasValidIntegrity(datagram.span.bytes, password: Array(handle.credentials.password.utf8))
            else { return }
            var builder = STUNBuilder(messageClass: .success, transactionID: message.transactionID)
            builder.addXORMappedAddress(answer.remote)
            builder.addIntegrity(password: Array(handle.credentials.password.utf8))
            builder.addFingerprint()
            send(builder.bytes)
        case .success:
            guard times.ice == 0,
                message.hasValidIntegrity(datagram.span.bytes, password: Array(answer.credentials.password.utf8))
            else { return }
            times.ice = elapsed(now)
            if let session = startDTLS(now: now) { drain(session, now: now) }
        case .error, .indication: break
        }
    }

    // MARK: - DTLS

    private func startDTLS(now: Instant) -> DTLSSession? {
        if let dtls { return dtls }
        do {
            let session = try DTLSSession(
                context: thread.context, role: answer.isServerActive ? .server : .client,
                fingerprints: answer.fingerprints, now: now)
            dtls = session
            session.start(now: now)
            return session
        } catch {
            fail(.dtls("\(error)"))
            return nil
        }
    }

    private func drain(_ dtls: DTLSSession, now: Instant) {
        while let datagram = dtls.nextDatagram() { send(datagram) }
        switch dtls.state {
        case .handshaking: break
        case .connected(let keys):
            guard outbound == nil else { return }
            do {
                outbound = try thread.machine.makeOutbound(keys)
                inbound = try SRTPInbound(machine: thread.machine, keys: keys)
            } catch {
                fail(.dtls("\(error)"))
                return
            }
            times.dtls = elapsed(now)
            connected(now: now)
        case .closed: fail(.ended("the server closed the DTLS session"))
        case .failed(let error): fail(.dtls("\(error)"))
        }
    }
}
