import SRTP
import Testing
import Wire

/// The handle of peers without keys: what goes in comes out, beside peers with keys on the same machine.
@Suite struct ClearTests {
    @Test(arguments: SRTPBackendKind.available) func packetsPassAsTheyAre(_ backend: SRTPBackendKind) throws {
        let machine = try SRTPMachine(backend: backend)
        for length in [0, 1, 16, 160, 1200] {
            let packet = rtpPacket(
                ssrc: 0x1234_5678, sequence: 9, payload: (0..<length).map { UInt8(truncatingIfNeeded: $0) })
            for inPlace in [false, true] {
                let sent = protectRTP(machine, machine.clear, packet, headerLength: 12, index: 9, inPlace: inPlace)
                #expect(sent == packet)
            }
        }
        let report: [UInt8] = [0x80, 201, 0, 1, 1, 2, 3, 4]
        let sent = protectRTCP(machine, machine.clear, report)
        #expect(sent == report)
    }

    @Test(arguments: SRTPTests.cases) func whoHasKeysIsNotTouchedByWhoHasNone(_ c: SRTPTests.Case) throws {
        func protect(besideClear: Bool) throws -> [[UInt8]] {
            let machine = try SRTPMachine(backend: c.backend)
            let outbound = try machine.makeOutbound(keyingMaterial(c.profile, seed: 11))
            defer { machine.destroy(outbound) }
            return (0..<20).map { i in
                let packet = rtpPacket(ssrc: 5, sequence: UInt16(i), payload: [UInt8](repeating: 7, count: 100))
                if besideClear {
                    _ = protectRTP(machine, machine.clear, packet, headerLength: 12, index: UInt64(i))
                }
                return protectRTP(machine, outbound, packet, headerLength: 12, index: UInt64(i))
            }
        }
        let (alone, beside) = (try protect(besideClear: false), try protect(besideClear: true))
        #expect(alone == beside && alone.allSatisfy { $0.count > 112 })
    }
}
