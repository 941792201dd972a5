import Glibc
import SRTP
import Wire

func hex(_ text: String) -> [UInt8] {
    let digits = Array(text.utf8).map { UInt8(String(UnicodeScalar($0)), radix: 16)! }
    return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
}

/// Keys as the two ends of one handshake would have them: `swapped` is the other end.
func keyingMaterial(_ profile: SRTPProfile, seed: UInt64, swapped: Bool = false) -> SRTPKeyingMaterial {
    var random = SeededRandom(seed: seed)
    func bytes(_ n: Int) -> [UInt8] { (0..<n).map { _ in UInt8.random(in: 0...255, using: &random) } }
    let a = (bytes(profile.keyLength), bytes(profile.saltLength))
    let b = (bytes(profile.keyLength), bytes(profile.saltLength))
    let (local, remote) = swapped ? (b, a) : (a, b)
    return SRTPKeyingMaterial(
        profile: profile, localKey: local.0, localSalt: local.1, remoteKey: remote.0, remoteSalt: remote.1)
}

func rtpPacket(ssrc: UInt32, sequence: UInt16, csrcs: Int = 0, extensionWords: Int? = nil, payload: [UInt8]) -> [UInt8]
{
    var packet: [UInt8] = [0x80 | UInt8(csrcs) | (extensionWords == nil ? 0 : 0x10), 96]
    packet.appendBigEndian(sequence)
    packet.appendBigEndian(UInt32(12345))
    packet.appendBigEndian(ssrc)
    for i in 0..<csrcs { packet.appendBigEndian(UInt32(i)) }
    if let extensionWords {
        packet.appendBigEndian(UInt16(0xbede))
        packet.appendBigEndian(UInt16(extensionWords))
        packet += [UInt8](repeating: 0x10, count: 4 * extensionWords)
    }
    return packet + payload
}

/// Protects from a payload that lies elsewhere, as the fan-out does.
func protectRTP(
    _ machine: SRTPMachine, _ outbound: SRTPOutbound, _ packet: [UInt8], headerLength: Int, index: UInt64,
    inPlace: Bool = false
) -> [UInt8] {
    var room = packet + [UInt8](repeating: 0xaa, count: 64)
    let ssrc = UInt32(packet[8]) << 24 | UInt32(packet[9]) << 16 | UInt32(packet[10]) << 8 | UInt32(packet[11])
    return room.withUnsafeMutableBytes { room in
        packet.withUnsafeBytes { source in
            let base = room.baseAddress!
            if !inPlace { memset(base + headerLength, 0x55, packet.count - headerLength) }
            let n = machine.protectRTP(
                outbound, packet: base, headerLength: headerLength,
                payload: inPlace ? UnsafeRawPointer(base + headerLength) : source.baseAddress! + headerLength,
                payloadLength: packet.count - headerLength, ssrc: ssrc, packetIndex: index)
            machine.flush()
            return Array(UnsafeRawBufferPointer(rebasing: room[0..<n]))
        }
    }
}

func protectRTCP(_ machine: SRTPMachine, _ outbound: SRTPOutbound, _ packet: [UInt8]) -> [UInt8] {
    var room = packet + [UInt8](repeating: 0xaa, count: 64)
    let capacity = room.count
    let n = room.withUnsafeMutableBytes {
        machine.protectRTCP(outbound, packet: $0.baseAddress!, length: packet.count, capacity: capacity)
    }
    return Array(room.prefix(n))
}

func unprotectRTP(_ inbound: SRTPInbound, _ packet: [UInt8]) -> (SRTPResult, [UInt8]) {
    var copy = packet + [0]
    let result = copy.withUnsafeMutableBytes { inbound.unprotectRTP($0.baseAddress!, length: packet.count) }
    guard case .ok(let length) = result else { return (result, []) }
    return (result, Array(copy.prefix(length)))
}

func unprotectRTCP(_ inbound: SRTPInbound, _ packet: [UInt8]) -> (SRTPResult, [UInt8]) {
    var copy = packet + [0]
    let result = copy.withUnsafeMutableBytes { inbound.unprotectRTCP($0.baseAddress!, length: packet.count) }
    guard case .ok(let length) = result else { return (result, []) }
    return (result, Array(copy.prefix(length)))
}
