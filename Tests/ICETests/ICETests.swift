import ICE
import Testing
import Wire

private func hex(_ text: String) -> [UInt8] {
    let digits = text.filter { !$0.isWhitespace }
    return stride(from: 0, to: digits.count, by: 2).compactMap { i in
        let a = digits.index(digits.startIndex, offsetBy: i)
        return UInt8(digits[a..<digits.index(a, offsetBy: 2)], radix: 16)
    }
}

private let path = ICEPath(
    remote: SocketAddress(ipv4: 0xc000_0201, port: 40_000), local: SocketAddress(ipv4: 0x7f00_0001, port: 0),
    connection: 0)
private let local = ICECredentials(ufrag: "local", password: "0123456789012345678901")
private let remote = ICECredentials(ufrag: "remote", password: "x")

private func check(
    user: String = "local:remote", password: String = local.password, nominate: Bool = false, controlled: Bool = false,
    extra: UInt16? = nil
) -> [UInt8] {
    var b = STUNBuilder(messageClass: .request, transactionID: Array(1...12))
    b.add(STUN.Attribute.username, Array(user.utf8))
    b.add(STUN.Attribute.priority, [0, 0, 1, 0])
    b.add(controlled ? STUN.Attribute.iceControlled : STUN.Attribute.iceControlling, [1, 2, 3, 4, 5, 6, 7, 8])
    if nominate { b.add(STUN.Attribute.useCandidate, []) }
    if let extra { b.add(extra, [1, 2, 3, 4]) }
    b.addIntegrity(password: Array(password.utf8))
    b.addFingerprint()
    return b.bytes
}

extension ICELiteAgent {
    fileprivate mutating func take(_ bytes: [UInt8], path: ICEPath, now: Instant, reply: inout [UInt8]) -> Outcome {
        handle(bytes.span.bytes, path: path, now: now, reply: &reply)
    }
}

extension STUNMessage {
    fileprivate func isSigned(_ bytes: [UInt8], password: String) -> Bool {
        hasValidIntegrity(bytes.span.bytes, password: Array(password.utf8))
    }
    fileprivate func isPrinted(_ bytes: [UInt8]) -> Bool { hasValidFingerprint(bytes.span.bytes) }
}

private func fragment(_ bytes: [UInt8]) -> [UInt8]? { STUN.localUsernameFragment(of: bytes.span.bytes) }

private func agent() -> ICELiteAgent { ICELiteAgent(local: local, remote: remote, timeout: .seconds(30), now: .zero) }

@Suite struct STUNTests {
    /// RFC 5769 §2.1.
    static let sample = hex(
        """
        00010058 2112a442 b7e7a701 bc34d686 fa87dfae 80220010 5354554e 20746573 7420636c 69656e74
        00240004 6e0001ff 80290008 932ff9b1 51263b36 00060009 6576746a 3a683676 59202020
        00080014 9aeaa70c bfd8cb56 781ef2b5 b2d3f249 c1b571a2 80280004 e57a3bcf
        """)

    @Test func sampleRequestOfRFC5769() throws {
        let message = try STUNMessage(parsing: Self.sample.span.bytes)
        #expect(message.messageClass == .request && message.method == 1)
        #expect(message.isPrinted(Self.sample))
        #expect(message.isSigned(Self.sample, password: "VOkJxbRl1RmTxUk/WvJxBt"))
        #expect(!message.isSigned(Self.sample, password: "wrong"))
        #expect(fragment(Self.sample) == Array("evtj".utf8))
    }

    @Test func noiseNeverCrashes() {
        var random = SeededRandom(seed: 7)
        var a = agent()
        for _ in 0..<20_000 {
            var bytes = Bool.random(using: &random) ? Self.sample : check()
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            if Bool.random(using: &random) { bytes.removeLast(Int.random(in: 0..<bytes.count, using: &random)) }
            var reply: [UInt8] = []
            _ = a.handle(bytes.span.bytes, path: path, now: .zero, reply: &reply)
            _ = STUN.localUsernameFragment(of: bytes.span.bytes)
        }
    }
}

@Suite struct ICELiteAgentTests {
    @Test func authenticatedCheckIsAnsweredWithTheMappedAddress() throws {
        var a = agent()
        var reply: [UInt8] = []
        #expect(a.take(check(), path: path, now: .zero, reply: &reply) == .validated(nominated: false, isNew: true))
        let answer = try STUNMessage(parsing: reply.span.bytes)
        #expect(answer.messageClass == .success)
        #expect(answer.isSigned(reply, password: local.password))
        #expect(answer.isPrinted(reply))
        #expect(a.selectedPath == path && a.isValid(path))
    }

    @Test func latestNominationWins() {
        var a = agent()
        var reply: [UInt8] = []
        var second = path
        second.remote.port = 41_000
        _ = a.take(check(nominate: true), path: path, now: .zero, reply: &reply)
        _ = a.take(check(), path: second, now: .zero, reply: &reply)
        #expect(a.selectedPath == path)
        _ = a.take(check(nominate: true), path: second, now: .zero, reply: &reply)
        #expect(a.selectedPath == second && a.isValid(path))
    }

    @Test func wrongCredentialsGet401AndRepliesAreLimited() throws {
        var a = agent()
        var replies = 0
        for _ in 0..<100 {
            var reply: [UInt8] = []
            let outcome = a.take(check(password: "guessguessguessguessguess"), path: path, now: .zero, reply: &reply)
            #expect(outcome == .rejected(code: 401))
            if !reply.isEmpty { replies += 1 }
        }
        #expect(replies == 10)
        #expect(!a.isValid(path))
    }

    @Test func controlledPeerGets487AndUnknownAttribute420() {
        var a = agent()
        var reply: [UInt8] = []
        #expect(a.take(check(controlled: true), path: path, now: .zero, reply: &reply) == .rejected(code: 487))
        #expect(a.take(check(extra: 0x7f00), path: path, now: .zero, reply: &reply) == .rejected(code: 420))
        #expect(a.take(check(user: "other:remote"), path: path, now: .zero, reply: &reply) == .rejected(code: 401))
    }

    @Test func silenceExpiresAndAChecksRevives() {
        var a = agent()
        var reply: [UInt8] = []
        #expect(!a.isExpired(now: .zero + .seconds(29)))
        _ = a.take(check(), path: path, now: .zero + .seconds(29), reply: &reply)
        #expect(!a.isExpired(now: .zero + .seconds(58)))
        #expect(a.isExpired(now: .zero + .seconds(59)))
    }

    @Test func restartKeepsTheOldCredentialsUntilTheNewOnesAreUsed() {
        var a = agent()
        var reply: [UInt8] = []
        let new = ICECredentials(ufrag: "fresh", password: "abcdefghijabcdefghijab")
        a.restart(local: new, remote: ICECredentials(ufrag: "r2", password: "y"), now: .zero)
        #expect(a.take(check(), path: path, now: .zero, reply: &reply) == .validated(nominated: false, isNew: true))
        _ = a.take(check(user: "fresh:r2", password: new.password), path: path, now: .zero, reply: &reply)
        #expect(a.take(check(), path: path, now: .zero, reply: &reply) == .rejected(code: 401))
    }
}

@Suite struct TCPFramingTests {
    @Test func framesAreFoundWhateverTheCuts() throws {
        var framing = TCPFraming()
        let stream: [UInt8] = [0, 3, 1, 2, 3, 0, 0, 0, 1, 9]
        var frames: [[UInt8]] = []
        for byte in stream {
            try framing.append([byte].span.bytes)
            while let frame = framing.next() { frames.append(frame) }
        }
        #expect(frames == [[1, 2, 3], [], [9]])
    }
}
