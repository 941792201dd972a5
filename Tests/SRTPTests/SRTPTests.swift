import SRTP
import Testing
import Wire

@Suite struct SRTPTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let profile: SRTPProfile
        let backend: SRTPBackendKind
        var testDescription: String { "\(profile.name) by \(backend.rawValue)" }
    }
    static let cases = SRTPProfile.allCases.flatMap { profile in
        SRTPBackendKind.available.map { Case(profile: profile, backend: $0) }
    }
    static let profiles = SRTPProfile.allCases

    /// Random packets of all shapes, the same in every backend and at every run.
    private func packets(_ count: Int, seed: UInt64, firstIndex: UInt64 = 100) -> [(
        bytes: [UInt8], header: Int, index: UInt64
    )] {
        var random = SeededRandom(seed: seed)
        return (0..<count).map { i in
            let index = firstIndex + UInt64(i)
            let csrcs = i % 5 == 0 ? Int.random(in: 0...15, using: &random) : 0
            let words = i % 3 == 0 ? Int.random(in: 0...8, using: &random) : nil
            let length = [0, 1, 15, 16, 17, 100, 1187, 1200, Int.random(in: 0...1300, using: &random)][i % 9]
            let payload = (0..<length).map { _ in UInt8.random(in: 0...255, using: &random) }
            let bytes = rtpPacket(
                ssrc: 0x1234_5678, sequence: UInt16(truncatingIfNeeded: index), csrcs: csrcs, extensionWords: words,
                payload: payload)
            return (bytes, bytes.count - length, index)
        }
    }

    @Test(arguments: profiles) func backendsGiveTheSameRTPBytes(_ profile: SRTPProfile) throws {
        // From before one roll-over to after it, and from a later one.
        for first: UInt64 in [65_400, (5 << 16) + 65_500] {
            let packets = packets(300, seed: 7, firstIndex: first)
            // libsrtp2 counts roll-overs itself: it can only take part from the first one.
            let backends = SRTPBackendKind.available.filter { first < 1 << 16 || $0 != .libsrtp2 }
            let all = try backends.map { backend in
                let machine = try SRTPMachine(backend: backend)
                let outbound = try machine.makeOutbound(keyingMaterial(profile, seed: 3))
                defer { machine.destroy(outbound) }
                return packets.map { protectRTP(machine, outbound, $0.bytes, headerLength: $0.header, index: $0.index) }
            }
            for other in all.dropFirst() {
                let same = other == all[0]
                #expect(same)
            }
            #expect(all[0].allSatisfy { !$0.isEmpty })
        }
    }

    @Test(arguments: profiles) func backendsGiveTheSameRTCPBytes(_ profile: SRTPProfile) throws {
        let all = try SRTPBackendKind.available.map { backend in
            let machine = try SRTPMachine(backend: backend)
            let outbound = try machine.makeOutbound(keyingMaterial(profile, seed: 4))
            defer { machine.destroy(outbound) }
            return (0..<50).map { n in
                protectRTCP(
                    machine, outbound, [0x80, 201, 0, UInt8(1 + n), 1, 2, 3, 4] + [UInt8](repeating: 9, count: 4 * n))
            }
        }
        for other in all.dropFirst() {
            let same = other == all[0]
            #expect(same)
        }
    }

    @Test(arguments: cases) func whatOneEndProtectsTheOtherReads(_ c: Case) throws {
        let machine = try SRTPMachine(backend: c.backend)
        let outbound = try machine.makeOutbound(keyingMaterial(c.profile, seed: 5))
        defer { machine.destroy(outbound) }
        let inbound = try SRTPInbound(machine: machine, keys: keyingMaterial(c.profile, seed: 5, swapped: true))
        // Across a roll-over, with every third pair swapped.
        var list = packets(400, seed: 8, firstIndex: 65_300)
        for i in stride(from: 3, to: list.count - 1, by: 3) { list.swapAt(i, i + 1) }
        for packet in list {
            let wire = protectRTP(machine, outbound, packet.bytes, headerLength: packet.header, index: packet.index)
            #expect(wire != packet.bytes)
            #expect(unprotectRTP(inbound, wire).1 == packet.bytes)
            #expect(unprotectRTP(inbound, wire).0 == .replayed)
        }
        let report: [UInt8] = [0x80, 200, 0, 6, 9, 9, 9, 9] + [UInt8](repeating: 5, count: 20)
        for _ in 0..<5 {
            let wire = protectRTCP(machine, outbound, report)
            #expect(wire.count == report.count + c.profile.rtcpOverhead)
            #expect(unprotectRTCP(inbound, wire).1 == report)
            #expect(unprotectRTCP(inbound, wire).0 == .replayed)
        }
    }

    @Test(arguments: cases) func manyPacketsInFlightAreFinalAfterOneFlush(_ c: Case) throws {
        let machine = try SRTPMachine(backend: c.backend)
        let list = packets(700, seed: 9, firstIndex: 10)
        let outbounds = try (0..<7).map { try machine.makeOutbound(keyingMaterial(c.profile, seed: UInt64($0))) }
        defer { outbounds.forEach(machine.destroy) }
        let room = UnsafeMutableRawPointer.allocate(byteCount: 2048 * list.count, alignment: 64)
        defer { room.deallocate() }
        var lengths: [Int] = []
        for (i, packet) in list.enumerated() {
            let place = room + 2048 * i
            packet.bytes.withUnsafeBytes { source in
                place.copyMemory(from: source.baseAddress!, byteCount: packet.header)
                lengths.append(
                    machine.protectRTP(
                        outbounds[i % 7], packet: place, headerLength: packet.header,
                        payload: source.baseAddress! + packet.header, payloadLength: packet.bytes.count - packet.header,
                        ssrc: 0x1234_5678, packetIndex: packet.index))
            }
        }
        machine.flush()
        let reference = try SRTPMachine(backend: .openSSL)
        for (i, packet) in list.enumerated() {
            let outbound = try reference.makeOutbound(keyingMaterial(c.profile, seed: UInt64(i % 7)))
            let expected = protectRTP(
                reference, outbound, packet.bytes, headerLength: packet.header, index: packet.index, inPlace: true)
            #expect(Array(UnsafeRawBufferPointer(start: room + 2048 * i, count: lengths[i])) == expected)
            reference.destroy(outbound)
        }
    }

    @Test(arguments: cases) func alteredPacketsAreRefusedAndChangeNothing(_ c: Case) throws {
        let machine = try SRTPMachine(backend: c.backend)
        let outbound = try machine.makeOutbound(keyingMaterial(c.profile, seed: 6))
        defer { machine.destroy(outbound) }
        let inbound = try SRTPInbound(machine: machine, keys: keyingMaterial(c.profile, seed: 6, swapped: true))
        let plain = rtpPacket(ssrc: 7, sequence: 500, payload: [UInt8](repeating: 3, count: 40))
        let wire = protectRTP(machine, outbound, plain, headerLength: 12, index: 500)
        for position in wire.indices {
            var bad = wire
            bad[position] ^= 0x04
            #expect(unprotectRTP(inbound, bad).1.isEmpty, "byte \(position)")
        }
        // A forged packet far ahead must not move the window.
        var ahead = wire
        ahead[2] = 0x70
        #expect(unprotectRTP(inbound, ahead).0 == .authenticationFailed)
        #expect(unprotectRTP(inbound, wire).1 == plain)
        let report: [UInt8] = [0x80, 201, 0, 1, 0, 0, 0, 7]
        let wireReport = protectRTCP(machine, outbound, report)
        for position in wireReport.indices {
            var bad = wireReport
            bad[position] ^= 0x80
            #expect(unprotectRTCP(inbound, bad).1.isEmpty, "byte \(position)")
        }
        #expect(unprotectRTCP(inbound, wireReport).1 == report)
    }

    @Test(arguments: cases) func truncatedPacketsAreRefused(_ c: Case) throws {
        let machine = try SRTPMachine(backend: c.backend)
        let outbound = try machine.makeOutbound(keyingMaterial(c.profile, seed: 6))
        defer { machine.destroy(outbound) }
        let inbound = try SRTPInbound(machine: machine, keys: keyingMaterial(c.profile, seed: 6, swapped: true))
        let plain = rtpPacket(ssrc: 7, sequence: 1, csrcs: 2, extensionWords: 3, payload: [1, 2, 3])
        let wire = protectRTP(machine, outbound, plain, headerLength: plain.count - 3, index: 1)
        let report = protectRTCP(machine, outbound, [0x80, 201, 0, 1, 0, 0, 0, 7])
        for length in 1..<wire.count { #expect(unprotectRTP(inbound, Array(wire.prefix(length))).1.isEmpty) }
        for length in 1..<report.count { #expect(unprotectRTCP(inbound, Array(report.prefix(length))).1.isEmpty) }
        // A header extension that claims more than the packet has.
        var lying = wire
        lying[12 + 8 + 2] = 0xff
        #expect(unprotectRTP(inbound, lying).0 == .malformed)
    }

    @Test(arguments: cases) func packetsOlderThanTheWindowAreReplays(_ c: Case) throws {
        let machine = try SRTPMachine(backend: c.backend)
        let outbound = try machine.makeOutbound(keyingMaterial(c.profile, seed: 1))
        defer { machine.destroy(outbound) }
        let inbound = try SRTPInbound(machine: machine, keys: keyingMaterial(c.profile, seed: 1, swapped: true))
        func wire(_ index: UInt64) -> [UInt8] {
            protectRTP(
                machine, outbound, rtpPacket(ssrc: 7, sequence: UInt16(truncatingIfNeeded: index), payload: [1]),
                headerLength: 12, index: index)
        }
        let early = wire(1000)
        let atEdge = wire(1001)
        #expect(unprotectRTP(inbound, wire(2024)).0 == .ok(length: 13))
        #expect(unprotectRTP(inbound, early).0 == .replayed)
        #expect(unprotectRTP(inbound, atEdge).0 == .ok(length: 13))
        #expect(unprotectRTP(inbound, atEdge).0 == .replayed)
    }

    /// A sender that begins at 65,535 and whose first packets are lost: what arrives first has roll-over counter 1.
    @Test(arguments: cases.filter { $0.backend != .libsrtp2 }) func aSourceMayBeginJustBeforeTheRollOver(_ c: Case)
        throws
    {
        let machine = try SRTPMachine(backend: c.backend)
        let outbound = try machine.makeOutbound(keyingMaterial(c.profile, seed: 5))
        defer { machine.destroy(outbound) }
        let inbound = try SRTPInbound(machine: machine, keys: keyingMaterial(c.profile, seed: 5, swapped: true))
        for index: UInt64 in [65_538, 65_537, 65_535, 65_539] {
            let sequence = UInt16(truncatingIfNeeded: index)
            let plain = rtpPacket(ssrc: 9, sequence: sequence, payload: [1, 2, 3, UInt8(truncatingIfNeeded: index)])
            let (result, bytes) = unprotectRTP(
                inbound, protectRTP(machine, outbound, plain, headerLength: 12, index: index))
            #expect(result == .ok(length: plain.count))
            #expect(bytes == plain)
        }
    }

    @Test(arguments: cases) func sourcesAreBounded(_ c: Case) throws {
        let machine = try SRTPMachine(backend: c.backend)
        let inbound = try SRTPInbound(machine: machine, keys: keyingMaterial(c.profile, seed: 2, swapped: true))
        for ssrc in 1...UInt32(SRTPLimits.maxSources + 1) {
            let outbound = try machine.makeOutbound(keyingMaterial(c.profile, seed: 2))
            defer { machine.destroy(outbound) }
            let wire = protectRTP(
                machine, outbound, rtpPacket(ssrc: ssrc, sequence: 3, payload: [1]), headerLength: 12, index: 3)
            let result = unprotectRTP(inbound, wire).0
            #expect(result == (ssrc <= SRTPLimits.maxSources ? .ok(length: 13) : .tooManySources))
        }
    }

    @Test(arguments: cases) func noiseNeverPasses(_ c: Case) throws {
        let machine = try SRTPMachine(backend: c.backend)
        let inbound = try SRTPInbound(machine: machine, keys: keyingMaterial(c.profile, seed: 2))
        var random = SeededRandom(seed: 99)
        for _ in 0..<3000 {
            var bytes = (0..<Int.random(in: 1...120, using: &random)).map { _ in
                UInt8.random(in: 0...255, using: &random)
            }
            bytes[0] = bytes[0] & 0x3f | 0x80
            #expect(unprotectRTP(inbound, bytes).1.isEmpty)
            #expect(unprotectRTCP(inbound, bytes).1.isEmpty)
        }
    }

    @Test func rtcpWithoutRoomIsNotTouched() throws {
        let machine = try SRTPMachine(backend: .openSSL)
        let outbound = try machine.makeOutbound(keyingMaterial(.aeadAES128GCM, seed: 1))
        defer { machine.destroy(outbound) }
        var packet: [UInt8] = [0x80, 201, 0, 1, 0, 0, 0, 7]
        let n = packet.withUnsafeMutableBytes {
            machine.protectRTCP(outbound, packet: $0.baseAddress!, length: 8, capacity: 27)
        }
        #expect(n == 0)
        #expect(packet == [0x80, 201, 0, 1, 0, 0, 0, 7])
    }
}
