import MediaEngine
import Testing
import Wire

private func packet(_ number: Int64, _ slab: PacketSlab, at milliseconds: Int64 = 0) -> StoredPacket {
    var packet = StoredPacket()
    packet.number = number
    packet.slot = slab.take()
    packet.arrival = .zero + .milliseconds(milliseconds)
    return packet
}

/// A `TrackRing` in a class: `#expect` takes copyable operands only.
private final class Ring {
    private var ring: TrackRing
    init(capacity: Int, maxAge: Interval, slab: PacketSlab) {
        ring = TrackRing(capacity: capacity, maxAge: maxAge, slab: slab)
    }

    func store(_ packet: StoredPacket) -> Bool { ring.store(packet) }
    func contains(_ number: Int64) -> Bool { ring.contains(number) }
    func found(_ number: Int64) -> Int64? { ring.find(number)?.pointee.number }
    func expire(now: Instant, keepingFrom: Int64 = .max) { ring.expire(now: now, keepingFrom: keepingFrom) }
    func grow(to capacity: Int) { ring.grow(to: capacity) }
    func removeAll() { ring.removeAll() }
    var highest: Int64 { ring.highest }
    var capacity: Int { ring.capacity }
}

@Suite struct PacketSlabTests {
    @Test func slotsAreDistinctAndComeBack() {
        let slab = PacketSlab(maxSlots: 512)
        var slots: [UnsafeMutableRawPointer] = []
        for _ in 0..<300 {
            if let slot = slab.take() { slots.append(slot) }
        }
        #expect(Set(slots).count == 300 && slab.slotsInUse == 300)
        let addresses = slots.map { UInt(bitPattern: $0) }.sorted()
        #expect(zip(addresses, addresses.dropFirst()).allSatisfy { $1 - $0 >= PacketSlab.slotSize })
        for slot in slots { slab.give(slot) }
        #expect(slab.slotsInUse == 0)
        let total = slab.totalSlots
        for _ in 0..<300 { _ = slab.take() }
        #expect(slab.totalSlots == total, "memory that was given back is used again")
    }

    @Test func theBoundHolds() {
        let slab = PacketSlab(maxSlots: 512)
        for _ in 0..<256 { #expect(slab.take() != nil) }
        #expect(!slab.isHalfUsed)
        let slot = slab.take()
        #expect(slot != nil && slab.isHalfUsed)
        for _ in 257..<512 { #expect(slab.take() != nil) }
        #expect(slab.take() == nil)
        if let slot { slab.give(slot) }
        #expect(slab.take() != nil && slab.take() == nil)
        #expect(slab.totalSlots == 512)
    }
}

@Suite struct TrackRingTests {
    private let slab = PacketSlab(maxSlots: 4096)

    @Test func aStoredPacketIsFoundByItsNumberAlone() {
        let ring = Ring(capacity: 16, maxAge: .seconds(2), slab: slab)
        #expect(ring.highest == -1 && ring.found(0) == nil && ring.found(-1) == nil)
        #expect(ring.store(packet(100, slab)))
        #expect(ring.contains(100) && ring.found(100) == 100)
        #expect(!ring.contains(84) && !ring.contains(116) && ring.found(116) == nil)
        #expect(ring.highest == 100)
    }

    @Test func duplicatesAndTheTooOldAreRefused() {
        let ring = Ring(capacity: 16, maxAge: .seconds(2), slab: slab)
        #expect(ring.store(packet(100, slab)))
        #expect(!ring.store(packet(100, slab)))
        #expect(ring.store(packet(85, slab)), "the oldest place that the ring has")
        #expect(!ring.store(packet(84, slab)), "its place is that of packet 100")
        #expect(!ring.store(packet(-1, slab)))
        var empty = StoredPacket()
        empty.number = 101
        #expect(!ring.store(empty), "a packet without memory")
    }

    @Test func whatIsOverwrittenGivesItsSlotBack() {
        let slab = PacketSlab(maxSlots: 512)
        let ring = Ring(capacity: 16, maxAge: .seconds(2), slab: slab)
        for number in 0..<200 as Range<Int64> { #expect(ring.store(packet(number, slab))) }
        #expect(slab.slotsInUse == 16)
        #expect(!ring.contains(183) && ring.contains(184) && ring.contains(199))
        ring.removeAll()
        #expect(slab.slotsInUse == 0 && ring.highest == -1 && !ring.contains(199))
    }

    @Test func agedPacketsGiveTheirSlotsBack() {
        let slab = PacketSlab(maxSlots: 4096)
        let ring = Ring(capacity: 1024, maxAge: .milliseconds(2000), slab: slab)
        for number in 0..<600 as Range<Int64> { #expect(ring.store(packet(number, slab, at: number * 10))) }
        // Packet n came at 10 n ms: at 6000 those up to 400 are two seconds old.
        for _ in 0..<4 { ring.expire(now: .zero + .milliseconds(6000)) }
        #expect(!ring.contains(400) && ring.contains(401) && ring.contains(599))
        #expect(slab.slotsInUse == 199)
    }

    @Test func theLatestPacketAndAKeptGroupStay() {
        let slab = PacketSlab(maxSlots: 4096)
        let ring = Ring(capacity: 64, maxAge: .milliseconds(100), slab: slab)
        for number in 0..<20 as Range<Int64> { #expect(ring.store(packet(number, slab))) }
        ring.expire(now: .zero + .seconds(60), keepingFrom: 10)
        #expect(!ring.contains(9) && ring.contains(10) && slab.slotsInUse == 10)
        ring.expire(now: .zero + .seconds(60))
        #expect(ring.contains(19) && slab.slotsInUse == 1)
    }

    @Test func oneCallOfExpiryIsBounded() {
        let slab = PacketSlab(maxSlots: 4096)
        let ring = Ring(capacity: 2048, maxAge: .milliseconds(100), slab: slab)
        for number in 0..<1000 as Range<Int64> { #expect(ring.store(packet(number, slab))) }
        ring.expire(now: .zero + .seconds(60))
        #expect(slab.slotsInUse > 500, "a tick must not take long")
        for _ in 0..<5 { ring.expire(now: .zero + .seconds(60)) }
        #expect(slab.slotsInUse == 1)
    }

    @Test func aJumpOfTheNumbersLosesNoMemory() {
        let slab = PacketSlab(maxSlots: 512)
        do {
            let ring = Ring(capacity: 64, maxAge: .seconds(2), slab: slab)
            for number in 0..<64 as Range<Int64> { #expect(ring.store(packet(number, slab))) }
            #expect(ring.store(packet(1_000_000, slab)))
            ring.expire(now: .zero + .seconds(60))
            #expect(!ring.contains(63 + 64) && ring.contains(1_000_000))
            #expect(slab.slotsInUse <= 64)
        }
        #expect(slab.slotsInUse == 0, "the ring gave back what it held")
    }

    @Test func growingKeepsWhatIsStored() {
        let slab = PacketSlab(maxSlots: 512)
        let ring = Ring(capacity: 16, maxAge: .seconds(2), slab: slab)
        for number in 90..<106 as Range<Int64> { #expect(ring.store(packet(number, slab))) }
        ring.grow(to: 100)
        #expect(ring.capacity == 128 && slab.slotsInUse == 16)
        #expect((90..<106).allSatisfy { ring.contains($0) } && !ring.contains(89))
        for number in 106..<200 as Range<Int64> { #expect(ring.store(packet(number, slab))) }
        #expect((90..<200).allSatisfy { ring.contains($0) })
        ring.grow(to: 8)
        #expect(ring.capacity == 128, "a ring never shrinks")
    }
}

@Suite struct PacketNumberingTests {
    /// Numbers for sources in that order; paddings are skipped where they can be.
    private func run(_ numbering: inout PacketNumbering, _ items: [(UInt16, isPadding: Bool)]) -> [Int64?] {
        items.map { sequence, isPadding in
            let source = numbering.unwrap(sequence)
            numbering.rebaseIfNeeded(first: source)
            if isPadding, numbering.skip(source) { return nil }
            return numbering.number(source)
        }
    }

    @Test func numbersFollowTheSourceOverTheWrap() {
        var numbering = PacketNumbering()
        let numbers = run(&numbering, [(65_534, false), (65_535, false), (0, false), (1, false)]).compactMap { $0 }
        #expect(zip(numbers, numbers.dropFirst()).allSatisfy { $1 == $0 + 1 } && numbers.count == 4)
    }

    @Test func paddingTakesNoNumber() {
        var numbering = PacketNumbering()
        let numbers = run(&numbering, [(10, false), (11, true), (12, true), (13, false), (14, true), (15, false)])
        #expect(numbers.map { $0.map { $0 - (numbers[0] ?? 0) } } == [0, nil, nil, 1, nil, 2])
    }

    @Test func aLatePacketGetsTheNumberOfItsPlace() {
        var numbering = PacketNumbering()
        let numbers = run(&numbering, [(10, false), (12, true), (13, false), (11, false)])
        #expect(numbers.map { $0.map { $0 - (numbers[0] ?? 0) } } == [0, nil, 2, 1])
    }

    @Test func latePaddingFillsThePlaceThatWasLeftForIt() {
        var numbering = PacketNumbering()
        let numbers = run(&numbering, [(10, false), (12, false), (11, true)])
        #expect(numbers.map { $0.map { $0 - (numbers[0] ?? 0) } } == [0, 2, 1])
    }

    @Test func paddingThatComesAgainStaysOut() {
        var numbering = PacketNumbering()
        let numbers = run(&numbering, [(10, false), (11, true), (11, true), (12, false), (11, true), (13, false)])
        #expect(numbers.map { $0.map { $0 - (numbers[0] ?? 0) } } == [0, nil, nil, 1, nil, 2])
    }

    @Test func manyPaddingsAreForgottenWithoutAJump() {
        var numbering = PacketNumbering()
        var last: Int64?
        for i in 0..<40_000 as Range<Int> {
            let number = run(&numbering, [(UInt16(truncatingIfNeeded: i), i % 2 == 1)])[0]
            guard let number else { continue }
            if let last { #expect(number == last + 1) }
            last = number
        }
    }

    @Test func aRestartContinuesWithTheNextNumber() {
        var numbering = PacketNumbering()
        let before = run(&numbering, [(500, false), (501, true), (502, false)])
        numbering.restart()
        let after = run(&numbering, [(64_000, false), (64_001, true), (64_002, false)])
        let highest = before.compactMap { $0 }.max() ?? 0
        #expect(after == [highest + 1, nil, highest + 2])
    }

    @Test func insertedPacketsGetPlacesBeforeAPacketWithoutANumber() {
        var numbering = PacketNumbering()
        let first = run(&numbering, [(10, false)])[0] ?? 0
        let source = numbering.unwrap(11)
        let fits = numbering.insert(2, before: source)
        #expect(fits)
        #expect(run(&numbering, [(11, false)]) == [first + 3])
        let fitsAgain = numbering.insert(2, before: source)
        #expect(!fitsAgain, "it has its number")
        #expect(run(&numbering, [(12, false)]) == [first + 4])
        #expect(run(&numbering, [(10, false)]) == [first], "what was before keeps its number")
    }

    @Test(arguments: 1...8 as ClosedRange<UInt64>) func reorderingNeverGivesOneNumberTwice(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var numbering = PacketNumbering()
        var numbers: Set<Int64> = []
        var given = 0
        var waiting: [(UInt16, isPadding: Bool)] = []
        for i in 0..<5_000 as Range<Int> {
            waiting.append((UInt16(truncatingIfNeeded: 60_000 + i), Int.random(in: 0..<5, using: &random) == 0))
            guard waiting.count > 6 else { continue }
            let item = waiting.remove(at: Int.random(in: 0..<4, using: &random))
            if let number = run(&numbering, [item])[0] {
                given += 1
                numbers.insert(number)
            }
        }
        #expect(numbers.count == given)
        // Close together: padding that came in time left no hole.
        let span = (numbers.max() ?? 0) - (numbers.min() ?? 0) + 1
        #expect(span - Int64(given) < 10, "\(span) numbers for \(given) packets")
    }
}
