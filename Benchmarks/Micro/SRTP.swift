import Benchmark
import SRTP
import Wire

/// Packets that one stretch protects or opens: enough to fill the multi-buffer library's lanes several times.
private let count = 256
private let headerLength = 24
private let ssrc: UInt32 = 0x1122_3344
/// Room for one packet and its tag.
private let stride = 1280

/// Plain packets side by side, and the keys of both directions; one thread at a time.
private final class Bench {
    let machine: SRTPMachine
    let outbound: SRTPOutbound
    let inbound: SRTPInbound
    let packets: UnsafeMutableRawPointer
    let payload: UnsafeMutableRawPointer
    let length: Int
    private let capacity: Int
    private var index: UInt64 = 1
    private var opened = 0

    init(_ backend: SRTPBackendKind, _ profile: SRTPProfile, bytes: Int, packets capacity: Int) throws {
        // What we protect we must be able to open: the same keys for both directions.
        let key = (0..<profile.keyLength).map { UInt8($0 &* 7 &+ 1) }
        let salt = (0..<profile.saltLength).map { UInt8($0 &* 5 &+ 3) }
        let keys = SRTPKeyingMaterial(
            profile: profile, localKey: key, localSalt: salt, remoteKey: key, remoteSalt: salt)
        machine = try SRTPMachine(backend: backend)
        outbound = try machine.makeOutbound(keys)
        inbound = try SRTPInbound(machine: machine, keys: keys)
        self.capacity = capacity
        length = bytes
        packets = .allocate(byteCount: capacity * stride, alignment: 64)
        packets.initializeMemory(as: UInt8.self, repeating: 0, count: capacity * stride)
        payload = .allocate(byteCount: stride, alignment: 64)
        payload.initializeMemory(as: UInt8.self, repeating: 0x5a, count: stride)
    }

    deinit {
        machine.destroy(outbound)
        packets.deallocate()
        payload.deallocate()
    }

    /// Headers and protected payloads for all packets. `false` when one was refused.
    @discardableResult func protect() -> Bool {
        var ok = true
        for i in 0..<capacity {
            let packet = packets + i * stride
            writeHeader(packet)
            let made = machine.protectRTP(
                outbound, packet: packet, headerLength: headerLength, payload: payload,
                payloadLength: length - headerLength, ssrc: ssrc, packetIndex: index)
            ok = ok && made > length
            index += 1
        }
        machine.flush()
        return ok
    }

    /// Opens the next packets; each can be opened once.
    func unprotect(_ number: Int, tag: Int) -> Bool {
        var ok = true
        for _ in 0..<number {
            let result = inbound.unprotectRTP(packets + opened * stride, length: length + tag)
            ok = ok && result == .ok(length: length)
            opened += 1
        }
        return ok
    }

    private func writeHeader(_ packet: UnsafeMutableRawPointer) {
        packet.storeBytes(of: (0x9060_0000 | UInt32(index & 0xffff)).bigEndian, as: UInt32.self)
        packet.storeBytes(of: UInt32(90_000).bigEndian, toByteOffset: 4, as: UInt32.self)
        packet.storeBytes(of: ssrc.bigEndian, toByteOffset: 8, as: UInt32.self)
        packet.storeBytes(of: UInt32(0xbede_0002).bigEndian, toByteOffset: 12, as: UInt32.self)
        packet.storeBytes(of: UInt64(0x2201_0203_3100_0700).bigEndian, toByteOffset: 16, as: UInt64.self)
    }
}

func registerSRTP() {
    for backend in SRTPBackendKind.available {
        for profile in SRTPProfile.allCases {
            for bytes in [160, 1200] {
                let name = "\(backend.rawValue)-\(shortName(profile))-\(bytes)"
                micro("SRTP-protect-\(name)", operations: count) {
                    let bench = try Bench(backend, profile, bytes: bytes, packets: count)
                    guard bench.protect() else { throw MicroError("a packet was refused") }
                    return { bench.protect() }
                }
                micro("SRTP-unprotect-\(name)", operations: count) {
                    let bench = try Bench(backend, profile, bytes: bytes, packets: count * preparedStretches)
                    guard bench.protect() else { throw MicroError("a packet was refused") }
                    return { precondition(bench.unprotect(count, tag: profile.rtpTagLength), "not opened") }
                }
            }
        }
    }
}

private func shortName(_ profile: SRTPProfile) -> String {
    switch profile {
    case .aes128CMHMACSHA1_80: "CM"
    case .aeadAES128GCM: "GCM128"
    case .aeadAES256GCM: "GCM256"
    }
}
