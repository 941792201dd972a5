import SRTP
import Testing
import Wire

/// Batched unprotection must be the same as one packet at a time, whatever arrives.
@Suite struct BatchTests {
    static let cases = SRTPTests.cases

    private struct Outcome: Equatable {
        var result: SRTPResult
        var bytes: [UInt8] = []
    }

    /// Packets of three sources across a roll-over, of mixed lengths, out of order, with duplicates, forgeries, cut
    /// ones, and some that jump far ahead and back.
    private func traffic(_ profile: SRTPProfile, seed: UInt64, jumps: Bool) throws -> [[UInt8]] {
        let machine = try SRTPMachine(backend: .openSSL)
        let outbound = try machine.makeOutbound(keyingMaterial(profile, seed: seed))
        defer { machine.destroy(outbound) }
        var random = SeededRandom(seed: seed)
        var next: [UInt64] = [65_200, 20, 40_000]
        var wires: [[UInt8]] = []
        for n in 0..<1500 {
            let source = Int.random(in: 0..<3, using: &random)
            if jumps, n % 97 == 96 { next[source] += UInt64.random(in: 9000...30_000, using: &random) }
            let length = [0, 1, 47, 100, 1100, 1187, Int.random(in: 0...1300, using: &random)].randomElement(
                using: &random)!
            let packet = rtpPacket(
                ssrc: UInt32(source + 1), sequence: UInt16(truncatingIfNeeded: next[source]),
                csrcs: n % 11 == 0 ? 3 : 0, extensionWords: n % 4 == 0 ? 2 : nil,
                payload: (0..<length).map { _ in UInt8.random(in: 0...255, using: &random) })
            wires.append(
                protectRTP(
                    machine, outbound, packet, headerLength: packet.count - length, index: next[source]))
            next[source] += 1
        }
        // Late ones, within the window and beyond it.
        for i in stride(from: 20, to: wires.count, by: 7) {
            wires.swapAt(i, i - Int.random(in: 1...15, using: &random))
        }
        var list: [[UInt8]] = []
        for (i, wire) in wires.enumerated() {
            switch i % 13 {
            case 2:
                list.append(wire)
                list.append(wire)
            case 5:
                // A forged copy before the true one, and one after it.
                var bad = wire
                bad[Int.random(in: 12..<wire.count, using: &random)] ^= 1
                list += [bad, wire, bad]
            case 8:
                // A forged number far ahead must not move anything.
                var bad = wire
                bad[2] ^= 0x10
                list += [bad, wire]
            case 10: list += [Array(wire.prefix(Int.random(in: 1..<wire.count, using: &random))), wire]
            default: list.append(wire)
            }
            if i % 50 == 49 { list.append(list[Int.random(in: 0..<list.count, using: &random)]) }
        }
        return list
    }

    private func oneByOne(_ inbound: SRTPInbound, _ list: [[UInt8]]) -> [Outcome] {
        list.map { packet in
            let (result, bytes) = unprotectRTP(inbound, packet)
            return Outcome(result: result, bytes: bytes)
        }
    }

    /// - Parameter split: how many packets the next batch takes.
    private func batched(
        _ machine: SRTPMachine, _ inbound: SRTPInbound, _ list: [[UInt8]], split: () -> Int
    ) -> [Outcome] {
        var outcomes: [Outcome] = []
        var at = 0
        while at < list.count {
            let batch = list[at..<min(at + split(), list.count)]
            let room = UnsafeMutableRawPointer.allocate(byteCount: 2048 * batch.count, alignment: 64)
            defer { room.deallocate() }
            for (i, packet) in batch.enumerated() {
                (room + 2048 * i).copyMemory(from: packet, byteCount: packet.count)
                let taken = inbound.submitUnprotectRTP(room + 2048 * i, length: packet.count, userData: UInt64(at + i))
                #expect(taken)
            }
            let results = machine.completeUnprotected()
            #expect(results.count == batch.count)
            for (i, done) in results.enumerated() {
                #expect(done.userData == UInt64(at + i))
                #expect(done.packet == room + 2048 * i)
                var outcome = Outcome(result: done.result)
                if case .ok(let length) = done.result {
                    outcome.bytes = Array(UnsafeRawBufferPointer(start: done.packet, count: length))
                }
                outcomes.append(outcome)
            }
            at += batch.count
        }
        #expect(machine.completeUnprotected().isEmpty)
        return outcomes
    }

    private func expectSame(_ a: [Outcome], _ b: [Outcome], _ what: String) {
        let first = zip(a, b).enumerated().first { $0.element.0 != $0.element.1 }
        #expect(a.count == b.count)
        #expect(
            first == nil,
            "\(what): packet \(first?.offset ?? 0) \(String(describing: first?.element.0.result)) \(String(describing: first?.element.1.result))"
        )
    }

    @Test(arguments: cases) func batchesAreTheSameAsOnePacketAtATime(_ c: SRTPTests.Case) throws {
        // libsrtp2 has an order of checks of its own.
        let reference = try SRTPMachine(backend: c.backend == .libsrtp2 ? .libsrtp2 : .openSSL)
        for (seed, jumps) in [(UInt64(1), false), (2, true), (3, true)] {
            let list = try traffic(c.profile, seed: seed, jumps: jumps)
            let keys = keyingMaterial(c.profile, seed: seed, swapped: true)
            let expected = oneByOne(try SRTPInbound(machine: reference, keys: keys), list)
            let kinds = Set(expected.map { "\($0.result)".prefix(2) })
            #expect(kinds.isSuperset(of: ["ok", "re", "au"]))
            var random = SeededRandom(seed: seed + 10)
            for sizes in [1...1, 3...40, 256...256] {
                let machine = try SRTPMachine(backend: c.backend)
                let inbound = try SRTPInbound(machine: machine, keys: keys)
                let found = batched(machine, inbound, list) { Int.random(in: sizes, using: &random) }
                expectSame(expected, found, "batches of \(sizes), jumps: \(jumps)")
            }
        }
    }

    @Test(arguments: SRTPProfile.allCases) func batchesAreTheSameAsLibsrtp(_ profile: SRTPProfile) throws {
        let list = try traffic(profile, seed: 5, jumps: false)
        let keys = keyingMaterial(profile, seed: 5, swapped: true)
        let reference = try SRTPMachine(backend: .libsrtp2)
        /// What is cut short and old as well is called one or the other, depending on what is looked at first.
        func judged(_ outcomes: [Outcome]) -> [Outcome] {
            outcomes.map { $0.result == .malformed ? Outcome(result: .replayed) : $0 }
        }
        let expected = judged(oneByOne(try SRTPInbound(machine: reference, keys: keys), list))
        for backend in SRTPBackendKind.available {
            let machine = try SRTPMachine(backend: backend)
            let found = batched(machine, try SRTPInbound(machine: machine, keys: keys), list) { 100 }
            expectSame(expected, judged(found), backend.rawValue)
        }
    }

    @Test(arguments: cases) func oneBatchTakesPacketsOfManyPeers(_ c: SRTPTests.Case) throws {
        let machine = try SRTPMachine(backend: c.backend)
        var inbounds: [SRTPInbound] = []
        var wires: [[UInt8]] = []
        var plains: [[UInt8]] = []
        let peers = 40
        let rounds = SRTPLimits.maxUnprotectBatch / peers
        for peer in 0..<peers {
            let outbound = try machine.makeOutbound(keyingMaterial(c.profile, seed: UInt64(peer)))
            defer { machine.destroy(outbound) }
            inbounds.append(
                try SRTPInbound(machine: machine, keys: keyingMaterial(c.profile, seed: UInt64(peer), swapped: true)))
            for n in 0..<2 * rounds {
                let plain = rtpPacket(
                    ssrc: 9, sequence: UInt16(100 + n), payload: .init(repeating: UInt8(peer), count: 20 * peer + n))
                plains.append(plain)
                wires.append(protectRTP(machine, outbound, plain, headerLength: 12, index: UInt64(100 + n)))
            }
        }
        let room = UnsafeMutableRawPointer.allocate(byteCount: 2048 * wires.count, alignment: 64)
        defer { room.deallocate() }
        for half in 0..<2 {
            for n in half * rounds..<(half + 1) * rounds {
                for peer in 0..<peers {
                    let i = peer * 2 * rounds + n
                    (room + 2048 * i).copyMemory(from: wires[i], byteCount: wires[i].count)
                    #expect(
                        inbounds[peer].submitUnprotectRTP(room + 2048 * i, length: wires[i].count, userData: UInt64(i)))
                }
            }
            for done in machine.completeUnprotected() {
                let i = Int(done.userData)
                #expect(done.result == .ok(length: plains[i].count))
                let same = Array(UnsafeRawBufferPointer(start: done.packet, count: plains[i].count)) == plains[i]
                #expect(same)
            }
        }
    }

    @Test(arguments: cases) func aFullBatchRefusesUntilItIsCompleted(_ c: SRTPTests.Case) throws {
        let machine = try SRTPMachine(backend: c.backend)
        let inbound = try SRTPInbound(machine: machine, keys: keyingMaterial(c.profile, seed: 1, swapped: true))
        var noise = [UInt8](repeating: 0x80, count: 64)
        noise.withUnsafeMutableBytes { noise in
            for i in 0..<SRTPLimits.maxUnprotectBatch {
                #expect(inbound.submitUnprotectRTP(noise.baseAddress!, length: 64, userData: UInt64(i)))
            }
            #expect(!inbound.submitUnprotectRTP(noise.baseAddress!, length: 64, userData: 0))
            #expect(machine.completeUnprotected().count == SRTPLimits.maxUnprotectBatch)
            #expect(inbound.submitUnprotectRTP(noise.baseAddress!, length: 64, userData: 7))
            #expect(machine.completeUnprotected().map(\.userData) == [7])
        }
    }

    /// What goes out, single packets and released peers do not disturb what is queued.
    @Test(arguments: cases) func aBatchSurvivesOtherWorkInBetween(_ c: SRTPTests.Case) throws {
        let machine = try SRTPMachine(backend: c.backend)
        let outbound = try machine.makeOutbound(keyingMaterial(c.profile, seed: 2))
        defer { machine.destroy(outbound) }
        var inbound: SRTPInbound? = try SRTPInbound(
            machine: machine, keys: keyingMaterial(c.profile, seed: 2, swapped: true))
        let plains = (0..<10).map { rtpPacket(ssrc: 3, sequence: UInt16(50 + $0), payload: [1, 2, UInt8($0)]) }
        let wires = plains.enumerated().map {
            protectRTP(machine, outbound, $0.element, headerLength: 12, index: UInt64(50 + $0.offset))
        }
        let room = UnsafeMutableRawPointer.allocate(byteCount: 64 * 10, alignment: 64)
        defer { room.deallocate() }
        for i in 0..<10 { (room + 64 * i).copyMemory(from: wires[i], byteCount: wires[i].count) }
        // The first makes the source known, so that the others are queued where the backend can.
        #expect(unprotectRTP(inbound!, wires[0]).1 == plains[0])
        for i in 1..<5 {
            let taken = inbound!.submitUnprotectRTP(room + 64 * i, length: wires[i].count, userData: UInt64(i))
            #expect(taken)
        }
        let other = protectRTP(
            machine, outbound, rtpPacket(ssrc: 4, sequence: 1, payload: [5]), headerLength: 12, index: 1)
        #expect(unprotectRTP(inbound!, other).0 == .ok(length: 13))
        // Queued before it, so it is a duplicate.
        #expect(unprotectRTP(inbound!, wires[2]).0 == .replayed)
        #expect(unprotectRTP(inbound!, wires[9]).1 == plains[9])
        for i in 5..<10 {
            let taken = inbound!.submitUnprotectRTP(room + 64 * i, length: wires[i].count, userData: UInt64(i))
            #expect(taken)
        }
        inbound = nil
        let results = machine.completeUnprotected()
        #expect(results.map(\.userData) == Array(1...9))
        for done in results {
            let i = Int(done.userData)
            #expect(done.result == (i == 9 ? .replayed : .ok(length: plains[i].count)))
            guard i != 9 else { continue }
            #expect(Array(UnsafeRawBufferPointer(start: done.packet, count: plains[i].count)) == plains[i])
        }
    }
}
