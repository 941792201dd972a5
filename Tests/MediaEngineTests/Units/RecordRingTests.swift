import MediaEngine
import Testing
import Wire

@Suite struct RecordRingTests {
    private func write(_ bytes: [UInt8], to ring: RecordRing, keeping kept: Int = 0) -> Bool {
        guard let room = ring.reserve(bytes.count, keeping: kept) else { return false }
        bytes.withUnsafeBytes { source in
            if let base = source.baseAddress { room.copyMemory(from: base, byteCount: source.count) }
        }
        return true
    }

    private func readAll(_ ring: RecordRing, limit: Int = .max) -> [[UInt8]] {
        var out: [[UInt8]] = []
        ring.read(limit: limit) { out.append([UInt8]($0)) }
        return out
    }

    @Test func recordsComeOutAsTheyWentInOnceTheyArePublished() {
        let ring = RecordRing(capacity: 0)
        #expect(ring.capacity == RecordRing.minCapacity && ring.isEmpty)
        for record in [[1, 2, 3], [], [4], [UInt8](repeating: 5, count: 1000)] as [[UInt8]] {
            #expect(write(record, to: ring))
        }
        #expect(ring.isEmpty && readAll(ring) == [] && ring.bytesWaiting == 0)
        ring.publish()
        #expect(!ring.isEmpty && ring.bytesWaiting == ring.bytesInUse)
        #expect(readAll(ring, limit: 2) == [[1, 2, 3], []])
        #expect(readAll(ring) == [[4], [UInt8](repeating: 5, count: 1000)])
        #expect(ring.isEmpty && ring.bytesInUse == 0 && ring.bytesWaiting == 0)
    }

    @Test func recordsLieAtMultiplesOfEightInOnePiece() throws {
        let ring = RecordRing(capacity: 4096)
        for length in [1, 7, 8, 9, 600, 1000, 1000, 1000, 13, 900] {
            let room = try #require(ring.reserve(length))
            #expect(UInt(bitPattern: room) % 8 == 0)
            ring.publish()
            ring.read { #expect($0.count == length && $0.baseAddress == UnsafeRawPointer(room)) }
        }
    }

    @Test func aFullRingRefusesAndGoesOnWhereItWas() {
        let ring = RecordRing(capacity: 4096)
        let record = [UInt8](repeating: 7, count: 504)
        var count = 0
        while write(record, to: ring) { count += 1 }
        #expect(count == 8, "eight times 8 + 504 bytes")
        #expect(!write([], to: ring))
        ring.publish()
        #expect(readAll(ring, limit: 1).count == 1)
        #expect(write(record, to: ring) && !write(record, to: ring))
        ring.publish()
        #expect(readAll(ring).count == 8)
    }

    @Test func roomCanBeKeptFree() {
        let ring = RecordRing(capacity: 4096)
        let record = [UInt8](repeating: 7, count: 504)
        var count = 0
        while write(record, to: ring, keeping: 1024) { count += 1 }
        #expect(count == 6)
        #expect(write(record, to: ring) && write(record, to: ring) && !write(record, to: ring))
    }

    @Test func aRecordThatCouldNeverFitIsRefused() {
        let ring = RecordRing(capacity: 4096)
        #expect(ring.reserve(1017) == nil && ring.reserve(1016) != nil)
        #expect(ring.reserve(1 << 20) == nil)
    }

    /// Whatever the lengths, and wherever they meet the ring's end.
    @Test(arguments: 1...8 as ClosedRange<UInt64>) func anythingComesThroughInOrder(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let ring = RecordRing(capacity: 4096)
        var expected: [[UInt8]] = []
        var got: [[UInt8]] = []
        for i in 0..<3000 {
            let length = Int.random(in: 0...(i % 100 == 0 ? 1016 : 200), using: &random)
            let record = [UInt8](repeating: UInt8(truncatingIfNeeded: i), count: length)
            if write(record, to: ring) { expected.append(record) }
            if i % 3 == 0 { ring.publish() }
            if Int.random(in: 0..<4, using: &random) == 0 {
                got += readAll(ring, limit: Int.random(in: 0...20, using: &random))
            }
        }
        ring.publish()
        got += readAll(ring)
        #expect(expected.count > 1000 && got.count == expected.count)
        #expect(zip(got, expected).allSatisfy { $0 == $1 })
    }

    /// Each record carries its number, its length and a fill made of both: a torn, lost or early one would show.
    @Test func twoThreadsLoseNothingAndTearNothing() async {
        let ring = RecordRing(capacity: 1 << 14)
        let total: UInt64 = 400_000
        let producer = Task.detached {
            var random = SeededRandom(seed: 1)
            var number: UInt64 = 0
            var refused = 0
            while number < total {
                let words = 1 + Int(truncatingIfNeeded: random.next() % 64)
                guard let room = ring.reserve(words * 8) else {
                    refused += 1
                    await Task.yield()
                    continue
                }
                for i in 0..<words { room.storeBytes(of: number &+ UInt64(i), toByteOffset: i * 8, as: UInt64.self) }
                // Several records are published at once, as a worker does.
                if number % 5 == 0 || number + 1 == total { ring.publish() }
                number += 1
            }
            ring.publish()
            return refused
        }
        var expected: UInt64 = 0
        var wrong = 0
        while expected < total {
            let count = ring.read(limit: 100) { bytes in
                for i in 0..<(bytes.count / 8)
                where bytes.load(fromByteOffset: i * 8, as: UInt64.self) != expected &+ UInt64(i) {
                    wrong += 1
                }
                expected += 1
            }
            if count == 0 {
                // An unpublished rest must not keep both waiting.
                await Task.yield()
            }
        }
        let refused = await producer.value
        #expect(wrong == 0 && expected == total && ring.isEmpty && ring.bytesInUse == 0)
        #expect(refused > 0, "the ring was never full: the test proves little")
    }
}
