import ICE
import Wire

private let local = ICECredentials(ufrag: "weir", password: "a password of 22 chars")
private let remote = ICECredentials(ufrag: "peer", password: "another one of that size")
private let now = Instant(nanoseconds: 1_000_000_000)
private let path = ICEPath(
    remote: SocketAddress(ipv4: 0x7f00_0001, port: 40_000), local: SocketAddress(ipv4: 0x7f00_0001, port: 0),
    connection: 0)

/// Input: one byte that says how to read the rest: 0 as one STUN datagram, 1 as a datagram that gets the right lengths,
/// MESSAGE-INTEGRITY and FINGERPRINT, which no mutation finds; 2 as a stream of framed packets (RFC 4571).
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ data: UnsafeRawPointer?, _ count: Int) -> CInt {
    guard let data, count > 0 else { return 0 }
    let input = [UInt8](UnsafeRawBufferPointer(start: data, count: count))
    let rest = Array(input[1...])
    switch input[0] % 3 {
    case 0: fuzzDatagram(rest)
    case 1: fuzzDatagram(signed(rest))
    default: fuzzFraming(rest)
    }
    return 0
}

private func fuzzDatagram(_ datagram: [UInt8]) {
    let bytes = datagram.span.bytes
    let isSTUN = STUN.isSTUN(bytes)
    if let fragment = STUN.localUsernameFragment(of: bytes) {
        precondition(isSTUN && !fragment.isEmpty && !fragment.contains(UInt8(ascii: ":")), "a fragment of no message")
    }
    if let message = try? STUNMessage(parsing: bytes) {
        precondition(message.attributes.count <= STUNMessage.maxAttributes, "bound of attributes")
        for attribute in message.attributes {
            precondition(attribute.offset + attribute.length <= datagram.count, "an attribute outside the datagram")
        }
        _ = message.hasValidFingerprint(bytes)
        _ = message.hasValidIntegrity(bytes, password: Array(local.password.utf8))
    }
    for remote in [remote, nil] {
        var agent = ICELiteAgent(local: local, remote: remote, timeout: .seconds(30), now: now)
        for turn in 0..<2 {
            var reply: [UInt8] = []
            let outcome = agent.handle(bytes, path: path, now: now + .seconds(Int64(turn)), reply: &reply)
            if !reply.isEmpty { check(reply: reply, to: datagram) }
            if case .validated = outcome {
                precondition(!reply.isEmpty && agent.isValid(path) && agent.selectedPath == path, "a valid path unused")
            }
        }
    }
}

/// A reply is a well-formed answer to that transaction, with a right FINGERPRINT.
private func check(reply: [UInt8], to request: [UInt8]) {
    guard let message = try? STUNMessage(parsing: reply.span.bytes) else {
        preconditionFailure("our own reply is malformed")
    }
    precondition(message.messageClass == .success || message.messageClass == .error, "a reply that asks")
    precondition(message.transactionID == Array(request[8..<20]), "a reply to another request")
    precondition(message.hasValidFingerprint(reply.span.bytes), "a wrong FINGERPRINT of ours")
    precondition(reply.count <= 2 * request.count + 128, "a reply that amplifies")
}

/// The same attributes in a message with right lengths and checks, so that what lies behind them is reached.
private func signed(_ input: [UInt8]) -> [UInt8] {
    guard input.count >= 20 else { return input }
    var datagram = input
    while datagram.count & 3 != 0 { datagram.append(0) }
    datagram.storeBigEndian(UInt16(truncatingIfNeeded: datagram.count - 20), at: 2)
    datagram.storeBigEndian(STUN.magicCookie, at: 4)
    guard let message = try? STUNMessage(parsing: datagram.span.bytes) else { return datagram }
    var builder = STUNBuilder(
        method: message.method, messageClass: message.messageClass, transactionID: message.transactionID)
    for attribute in message.attributes
    where attribute.type != STUN.Attribute.messageIntegrity && attribute.type != STUN.Attribute.fingerprint {
        builder.add(attribute.type, Array(datagram[attribute.offset..<(attribute.offset + attribute.length)]))
    }
    builder.addIntegrity(password: Array(local.password.utf8))
    builder.addFingerprint()
    return builder.bytes
}

/// Reads the stream as a whole and in pieces: the packets must be the same.
private func fuzzFraming(_ input: [UInt8]) {
    guard input.count > 1 else { return }
    let step = Int(input[0]) + 1
    let stream = Array(input[1...])
    precondition(packets(of: stream, step: stream.count) == packets(of: stream, step: step), "pieces change packets")
}

private func packets(of stream: [UInt8], step: Int) -> [[UInt8]] {
    var framing = TCPFraming()
    var out: [[UInt8]] = []
    var at = 0
    while at < stream.count {
        let end = min(at + step, stream.count)
        guard (try? framing.append(stream.span.bytes.extracting(at..<end))) != nil else { break }
        while let packet = framing.next() { out.append(packet) }
        at = end
    }
    return out
}
