import ICE
import MediaEngine
import SDP
import Synchronization
import Testing
import Wire

@Suite struct CrossingQueueTests {
    private let slab = PacketSlab(maxSlots: 256)

    private func makePacket(_ number: Int64, payload: [UInt8], offset: Int = 30) -> StoredPacket? {
        guard let slot = slab.take() else { return nil }
        for (i, byte) in payload.enumerated() { slot.storeBytes(of: byte, toByteOffset: offset + i, as: UInt8.self) }
        var packet = StoredPacket()
        packet.number = number
        packet.slot = slot
        packet.payloadOffset = UInt16(offset)
        packet.payloadLength = UInt16(payload.count)
        packet.timestamp = UInt32(number) * 3
        return packet
    }

    @Test func packetsComeOutAsTheyWentInWithACopyOfTheirPayload() throws {
        let queue = CrossingQueue()
        #expect(queue.isEmpty)
        for number in 1...3 as ClosedRange<Int64> {
            let packet = try #require(makePacket(number, payload: [UInt8(number), 2, 3]))
            #expect(queue.push(stream: 9, track: 1, packet: packet))
            // The sender's memory may change from now on.
            if let slot = packet.slot { slot.storeBytes(of: 0xff, toByteOffset: 30, as: UInt8.self) }
        }
        #expect(!queue.isEmpty)
        var got: [(Int64, [UInt8])] = []
        let count = queue.drain(limit: 10) { header, bytes in
            #expect(header.stream == 9 && header.track == 1)
            #expect(header.packet.timestamp == UInt32(header.packet.number) * 3)
            got.append((header.packet.number, [UInt8](UnsafeRawBufferPointer(start: bytes, count: Int(header.length)))))
        }
        #expect(count == 3 && queue.isEmpty)
        #expect(got.map(\.0) == [1, 2, 3] && got.map(\.1) == [[1, 2, 3], [2, 2, 3], [3, 2, 3]])
    }

    @Test func aFullQueueRefuses() throws {
        let queue = CrossingQueue()
        let packet = try #require(makePacket(1, payload: [7]))
        for _ in 0..<queue.capacity { #expect(queue.push(stream: 1, track: 0, packet: packet)) }
        #expect(!queue.push(stream: 1, track: 0, packet: packet))
        #expect(queue.drain(limit: 5) { _, _ in } == 5)
        for _ in 0..<5 { #expect(queue.push(stream: 1, track: 0, packet: packet)) }
        #expect(!queue.push(stream: 1, track: 0, packet: packet))
        var slotless = packet
        slotless.slot = nil
        #expect(queue.drain(limit: .max) { _, _ in } == queue.capacity)
        #expect(!queue.push(stream: 1, track: 0, packet: slotless))
    }

    @Test func twoThreadsLoseNothingAndKeepTheOrder() async throws {
        let queue = CrossingQueue()
        let total: Int64 = 50_000
        let producer = Task.detached {
            // The slab belongs to the producer's thread, as on a worker.
            let slab = PacketSlab(maxSlots: 256)
            var packet = StoredPacket()
            packet.slot = slab.take()
            packet.payloadLength = 8
            var number: Int64 = 0
            while number < total {
                packet.number = number
                packet.slot?.storeBytes(of: number, as: Int64.self)
                if queue.push(stream: 1, track: 0, packet: packet) { number += 1 } else { await Task.yield() }
            }
        }
        var expected: Int64 = 0
        var isOrdered = true
        while expected < total {
            let taken = queue.drain(limit: 100) { header, bytes in
                isOrdered = isOrdered && header.packet.number == expected && bytes.load(as: Int64.self) == expected
                expected += 1
            }
            if taken == 0 { await Task.yield() }
        }
        await producer.value
        #expect(isOrdered && expected == total && queue.isEmpty)
    }
}

@Suite struct MailboxTests {
    private func datagram() -> WorkerCommand {
        let address = SocketAddress(ipv4: 1, port: 1)
        return .datagram(bytes: [1], remote: address, local: address, socket: 0, arrival: .zero, from: 0)
    }

    @Test func commandsComeOutInOrderAndOnce() {
        let mailbox = Mailbox()
        for peer in 1...3 as ClosedRange<UInt64> { mailbox.post(.close(peer: peer)) }
        let peers = mailbox.drain().map { command -> UInt64 in
            if case .close(let peer) = command { return peer }
            return 0
        }
        #expect(peers == [1, 2, 3])
        #expect(mailbox.drain().isEmpty)
    }

    @Test func forwardedDatagramsAreBoundedAndCommandsAreNot() {
        let mailbox = Mailbox()
        for _ in 0..<(Mailbox.maxDatagrams + 500) { mailbox.post(datagram()) }
        for _ in 0..<100 { mailbox.post(.stop) }
        #expect(mailbox.drain().count == Mailbox.maxDatagrams + 100)
        mailbox.post(datagram())
        #expect(mailbox.drain().count == 1, "an emptied mailbox takes datagrams again")
    }

    @Test func manyThreadsMayPost() async {
        let mailbox = Mailbox()
        await withTaskGroup(of: Void.self) { group in
            for task in 0..<8 as Range<UInt64> {
                group.addTask { for i in 0..<500 as Range<UInt64> { mailbox.post(.close(peer: task * 1000 + i)) } }
            }
        }
        var last: [UInt64: UInt64] = [:]
        var isOrdered = true
        let all = mailbox.drain()
        for case .close(let peer) in all {
            if let before = last[peer / 1000] { isOrdered = isOrdered && before < peer }
            last[peer / 1000] = peer
        }
        #expect(all.count == 4000 && isOrdered)
    }
}

@Suite struct DirectoryTests {
    private func registration(
        _ id: UInt64, fragments: [String], publisher: PeerRegistration? = nil
    ) -> PeerRegistration {
        let transports = fragments.map {
            NegotiatedTransport(
                localUfrag: $0, localPassword: "p", remoteUfrag: "r", remotePassword: "q", fingerprints: [],
                dtlsRole: .server)
        }
        return PeerRegistration(
            id: id, publisher: publisher, negotiation: Negotiation(answer: "", transports: transports, tracks: []))
    }

    @Test func aPeerIsFoundByEachOfItsFragmentsUntilItIsRemoved() {
        let directory = Directory()
        let peer = registration(7, fragments: ["aaaa", "bbbb"])
        directory.insert(peer)
        #expect(directory.count == 1 && directory.find(peer: 7) === peer)
        #expect(directory.find(fragment: Array("aaaa".utf8))?.transport == 0)
        #expect(directory.find(fragment: Array("bbbb".utf8))?.transport == 1)
        #expect(directory.find(fragment: Array("cccc".utf8)) == nil)
        directory.addFragment("cccc", peer: 7, transport: 1)
        #expect(directory.find(fragment: Array("cccc".utf8))?.registration === peer)
        directory.addFragment("dddd", peer: 8, transport: 0)
        #expect(directory.find(fragment: Array("dddd".utf8)) == nil, "a fragment of nobody")
        #expect(directory.remove(peer: 7) === peer)
        for fragment in ["aaaa", "bbbb", "cccc"] { #expect(directory.find(fragment: Array(fragment.utf8)) == nil) }
        #expect(directory.remove(peer: 7) == nil && directory.count == 0)
    }

    @Test func oneWorkerAloneClaimsAPeer() async {
        for _ in 0..<50 {
            let peer = registration(1, fragments: ["aaaa"])
            let winners = await withTaskGroup(of: Bool.self) { group in
                for worker in 0..<8 { group.addTask { peer.claim(worker: worker) } }
                var count = 0
                for await won in group where won { count += 1 }
                return count
            }
            #expect(winners == 1)
            #expect((0..<8).contains(peer.owner.load(ordering: .acquiring)))
        }
    }

    @Test func theStreamOfAPlayerIsThatOfItsPublisher() {
        let publisher = registration(1, fragments: ["aaaa"])
        #expect(publisher.streamID == 1)
        #expect(registration(2, fragments: ["bbbb"], publisher: publisher).streamID == 1)
    }
}
