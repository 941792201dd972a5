import Benchmark
import ICE
import RTP
import Wire

/// A Binding request as browsers send it: user name, role, priority, nomination, integrity, fingerprint.
private func bindingRequest(to local: ICECredentials) -> [UInt8] {
    var builder = STUNBuilder(messageClass: .request, transactionID: Array(1...12))
    builder.add(STUN.Attribute.username, Array("\(local.ufrag):peer".utf8))
    builder.add(STUN.Attribute.iceControlling, Array(1...8))
    builder.add(STUN.Attribute.useCandidate, [])
    builder.add(STUN.Attribute.priority, [0x6e, 0x7f, 0x1e, 0xff])
    builder.addIntegrity(password: Array(local.password.utf8))
    builder.addFingerprint()
    return builder.bytes
}

/// A video packet of 1,200 bytes with two extension elements.
func videoPacket(sequence: UInt16, ssrc: UInt32 = 0x1122_3344, bytes: Int = 1200) -> [UInt8] {
    var packet: [UInt8] = [0x90, 96]
    packet.appendBigEndian(sequence)
    packet.appendBigEndian(UInt32(90_000))
    packet.appendBigEndian(ssrc)
    packet.appendBigEndian(UInt32(0xbede_0002))
    packet.append(contentsOf: [0x22, 1, 2, 3, 0x31, 0, 7, 0])
    while packet.count < bytes { packet.append(UInt8(truncatingIfNeeded: packet.count &* 31)) }
    return packet
}

func registerParsing() {
    let local = ICECredentials(ufrag: "weir", password: "a password of 22 chars")
    let path = ICEPath(
        remote: SocketAddress(ipv4: 0x7f00_0001, port: 40_000), local: SocketAddress(ipv4: 0x7f00_0001, port: 31_001),
        connection: 0)

    micro("STUN-parse", operations: 1000) {
        let request = bindingRequest(to: local)
        guard (try? STUNMessage(parsing: request.span.bytes)) != nil else { throw MicroError("no STUN message") }
        return {
            for _ in 0..<1000 { blackHole(try? STUNMessage(parsing: request.span.bytes).attributes.count) }
        }
    }
    micro("STUN-answer", operations: 100) {
        let request = bindingRequest(to: local)
        var agent = ICELiteAgent(local: local, remote: nil, timeout: .seconds(30), now: .zero)
        var reply: [UInt8] = []
        guard case .validated = agent.handle(request.span.bytes, path: path, now: .zero, reply: &reply) else {
            throw MicroError("the request was refused")
        }
        return {
            for _ in 0..<100 {
                blackHole(agent.handle(request.span.bytes, path: path, now: .zero, reply: &reply))
            }
        }
    }
    micro("RTP-parse", operations: 10_000) {
        let packet = videoPacket(sequence: 1)
        let header = try RTPHeader(parsing: packet.span.bytes)
        guard header.headerLength == 24 else { throw MicroError("header of \(header.headerLength) bytes") }
        return {
            for _ in 0..<10_000 { blackHole(try? RTPHeader(parsing: packet.span.bytes).payloadLength) }
        }
    }
}
