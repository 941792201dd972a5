import MediaEngine
import RTP
import SRTP
import Testing
import Wire

@Suite struct RunEqualiserTests {
    /// Packets with payloads of the given lengths, in slots of their own.
    private final class Packets {
        static let offset = 24
        let slab = PacketSlab(maxSlots: 256)
        let room: UnsafeMutablePointer<StoredPacket>
        let payloads: [[UInt8]]

        init(_ lengths: [Int], offset: Int = Packets.offset) {
            room = .allocate(capacity: max(lengths.count, 1))
            payloads = lengths.enumerated().map { i, length in
                (0..<length).map { UInt8(truncatingIfNeeded: $0 * 7 + i) }
            }
            for (i, payload) in payloads.enumerated() {
                var packet = StoredPacket()
                packet.number = Int64(i)
                packet.slot = slab.take()
                // What was there before must not show through as padding.
                packet.slot?.initializeMemory(as: UInt8.self, repeating: 0xee, count: PacketSlab.slotSize)
                payload.withUnsafeBytes { bytes in
                    guard let base = bytes.baseAddress else { return }
                    packet.slot?.advanced(by: offset).copyMemory(from: base, byteCount: bytes.count)
                }
                packet.payloadOffset = UInt16(offset)
                packet.payloadLength = UInt16(payload.count)
                (room + i).initialize(to: packet)
            }
        }

        deinit { room.deallocate() }

        func equalise() { RunEqualiser.equalise(payloads.count) { self.room + $0 } }
        var lengths: [Int] { payloads.indices.map { Int(room[$0].payloadLength) } }
        var paddings: [Int] { payloads.indices.map { Int(room[$0].padding) } }

        /// Payload with padding, as it is sent.
        func body(_ i: Int) -> [UInt8] {
            let packet = room[i]
            return Array(
                UnsafeRawBufferPointer(
                    start: packet.slot! + Int(packet.payloadOffset), count: Int(packet.payloadLength)))
        }
    }

    /// Messages that the kernel takes for packets of these sizes to one destination: see `Egress.commit`.
    private static func messages(_ lengths: [Int]) -> Int {
        var count = 0
        var segment = 0
        var isOpen = false
        for length in lengths {
            if isOpen, length <= segment {
                isOpen = length == segment
            } else {
                count += 1
                segment = length
                isOpen = true
            }
        }
        return count
    }

    @Test(
        arguments: [
            // The last of a run needs no padding…
            ([100, 105, 98, 105], [105, 105, 105, 105]),
            ([105, 100], [105, 100]),
            ([100, 116], [116, 116]),
            // …unless it is followed by a shorter one, which may be the message's end.
            ([105, 100, 60], [105, 105, 60]),
            ([100, 105, 90, 40], [105, 105, 105, 40]),
            ([100, 105, 90, 400], [105, 105, 90, 400]),
            // Of one size already, or of sizes that differ too much.
            ([100, 100, 100], [100, 100, 100]),
            ([100, 117, 100], [100, 117, 100]),
            // A run does not creep.
            ([100, 110, 120, 130], [110, 110, 130, 130]),
            ([120, 110, 100], [120, 120, 100]),
            ([100], [100]),
            ([], []),
        ] as [([Int], [Int])])
    func neighboursOfNearlyOneSizeGetTheLargestOfThem(before: [Int], after: [Int]) {
        let packets = Packets(before)
        packets.equalise()
        #expect(packets.lengths == after)
        #expect(packets.paddings == zip(after, before).map { $0 - $1 })
    }

    @Test func paddingIsZerosAndItsLength() {
        let packets = Packets([100, 101, 84, 90])
        packets.equalise()
        #expect(packets.lengths == [101, 101, 90, 90])
        for i in 0..<4 {
            let padding = packets.paddings[i]
            var expected = packets.payloads[i]
            if padding > 0 { expected += [UInt8](repeating: 0, count: padding - 1) + [UInt8(padding)] }
            #expect(packets.body(i) == expected)
        }
    }

    @Test func aPacketIsPaddedOnce() {
        let packets = Packets([100, 104, 104])
        packets.equalise()
        #expect(packets.lengths == [104, 104, 104])
        let body = packets.body(0)
        // The same packet in other company: it has been sent, under an index that allows no other bytes.
        var larger = StoredPacket()
        larger.slot = packets.slab.take()
        larger.payloadLength = 110
        withUnsafeMutablePointer(to: &larger) { pointer in
            RunEqualiser.equalise(2) { $0 == 0 ? packets.room : pointer }
        }
        #expect(packets.body(0) == body && packets.paddings[0] == 4)
    }

    @Test func theEndOfTheSlotIsRespected() {
        let space = PacketSlab.slotSize - Packets.offset
        let fits = Packets([space - 10, space, space])
        fits.equalise()
        #expect(fits.lengths == [space, space, space] && fits.paddings == [10, 0, 0])
        // The first lies one byte further back than the others.
        let packets = Packets([space - 10, space, space])
        packets.room[0].payloadOffset += 1
        packets.equalise()
        #expect(packets.lengths == [space - 10, space, space] && packets.paddings == [0, 0, 0])
    }

    @Test func aPlayerFindsThePayloadWithoutThePadding() throws {
        let packets = Packets([100, 110, 110])
        packets.equalise()
        let machine = try SRTPMachine(backend: .openSSL)
        let counter = UnsafeMutablePointer<UInt16>.allocate(capacity: 1)
        counter.initialize(to: 0)
        defer { counter.deallocate() }
        var lane = try testLane(machine, counter: counter)
        defer { machine.destroy(lane.outbound) }
        for i in 0..<3 {
            let bytes = withUnsafeTemporaryAllocation(byteCount: 64, alignment: 8) { room in
                let length = LaneHeader.write(
                    room.baseAddress!, lane: &lane, packet: packets.room + i, ssrc: lane.ssrc,
                    payloadType: lane.payloadType, sequence: 7, absSendTime: 1)
                return Array(room[..<length]) + packets.body(i)
            }
            let header = try RTPHeader(parsing: bytes.span.bytes)
            #expect(header.paddingLength == (i == 0 ? 10 : 0))
            #expect(header.payloadLength == packets.payloads[i].count)
            #expect(
                Array(bytes[header.headerLength..<(header.headerLength + header.payloadLength)])
                    == packets.payloads[i])
        }
    }

    @Test(arguments: 1...20 as ClosedRange<UInt64>) func paddingNeverCostsAMessageNorAByteOfPayload(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var saved = 0
        for _ in 0..<100 {
            let base = Int.random(in: 0...1900, using: &random)
            let spread = Int.random(in: 0...60, using: &random)
            let lengths = (0..<Int.random(in: 1...40, using: &random)).map { _ in
                base + Int.random(in: 0...spread, using: &random)
            }
            let packets = Packets(lengths)
            packets.equalise()
            #expect(packets.paddings.allSatisfy { $0 <= Int(RunEqualiser.maxPadding) })
            let damaged = lengths.indices.filter { !packets.body($0).starts(with: packets.payloads[$0]) }
            #expect(damaged == [])
            let (before, after) = (Self.messages(lengths), Self.messages(packets.lengths))
            #expect(after <= before, "\(lengths) became \(packets.lengths)")
            saved += before - after
        }
        #expect(saved > 100)
    }
}
