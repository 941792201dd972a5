import Benchmark
import CLinuxNet
import MediaEngine
import SRTP
import Wire

private let capacity = 2048
private let operations = 10_000

/// What the header writer reads and writes, as it lies in a worker.
private final class LaneBench {
    let lane: UnsafeMutablePointer<Lane>
    let packet: UnsafeMutablePointer<StoredPacket>
    let counter: UnsafeMutablePointer<UInt16>
    let out: UnsafeMutableRawPointer
    private let machine: SRTPMachine
    private let outbound: SRTPOutbound

    init(extensions: Bool) throws {
        let profile = SRTPProfile.aeadAES128GCM
        let key = [UInt8](repeating: 1, count: profile.keyLength)
        let salt = [UInt8](repeating: 2, count: profile.saltLength)
        machine = try SRTPMachine(backend: .openSSL)
        outbound = try machine.makeOutbound(
            SRTPKeyingMaterial(profile: profile, localKey: key, localSalt: salt, remoteKey: key, remoteSalt: salt))
        counter = .allocate(capacity: 1)
        counter.initialize(to: 0)
        packet = .allocate(capacity: 1)
        var stored = StoredPacket()
        stored.timestamp = 90_000
        packet.initialize(to: stored)
        lane = .allocate(capacity: 1)
        lane.initialize(
            to: Lane(
                outbound: outbound, remote: weir_address(), local: weir_address(), ssrc: 1, rtxSSRC: 2,
                payloadType: 96, rtxPayloadType: 97, absSendTimeID: extensions ? 2 : 0,
                transportCCID: extensions ? 3 : 0, orientationID: 0, needsKeyFrame: true, rtxIndex: 0, initialIndex: 0,
                transportSequence: counter))
        out = .allocate(byteCount: LaneHeader.maxLength, alignment: 16)
    }

    deinit {
        machine.destroy(outbound)
        counter.deallocate()
        packet.deallocate()
        lane.deallocate()
        out.deallocate()
    }

    func write(_ sequence: UInt16) -> Int {
        LaneHeader.write(
            out, lane: lane, packet: packet, ssrc: lane.pointee.ssrc, payloadType: lane.pointee.payloadType,
            sequence: sequence, absSendTime: UInt32(sequence))
    }
}

/// A ring in a class: closures cannot hold what cannot be copied.
private final class RingBench {
    var ring: TrackRing
    let slab = PacketSlab(maxSlots: 2 * capacity)
    private var number: Int64 = 0

    init() { ring = TrackRing(capacity: capacity, maxAge: .seconds(2), slab: slab) }

    /// As the receive path does: a slot is taken, the packet stored, what lay in its place given back.
    func store() -> Bool {
        guard let slot = slab.take() else { return false }
        var packet = StoredPacket()
        packet.number = number
        packet.slot = slot
        packet.payloadLength = 1180
        number += 1
        return ring.store(packet)
    }
}

func registerEngine() {
    for extensions in [false, true] {
        micro(extensions ? "header-with-extensions" : "header-plain", operations: operations) {
            let bench = try LaneBench(extensions: extensions)
            let length = bench.write(1)
            guard length == (extensions ? 24 : 12) else { throw MicroError("header of \(length) bytes") }
            return {
                var sum = 0
                for i in 0..<operations {
                    sum &+= bench.write(UInt16(truncatingIfNeeded: i))
                    blackHole(bench.out)
                }
                blackHole(sum)
            }
        }
    }
    micro("ring-store", operations: operations) {
        let bench = RingBench()
        return {
            for _ in 0..<operations { precondition(bench.store(), "not stored") }
        }
    }
    micro("ring-find", operations: operations) {
        let bench = RingBench()
        for _ in 0..<capacity { guard bench.store() else { throw MicroError("not stored") } }
        return {
            var found = 0
            for i in 0..<operations {
                // Half of them are no longer or not yet there, as with NACKs.
                if bench.ring.find(Int64((i &* 7919) & (2 * capacity - 1))) != nil { found += 1 }
            }
            blackHole(found)
            precondition(found > 0 && found < operations, "all or none found")
        }
    }
}
