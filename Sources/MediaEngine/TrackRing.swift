import Wire

/// One forwardable packet of a track, in the numbering that all players of the stream share.
package struct StoredPacket: BitwiseCopyable {
    /// Number without the gaps of padding-only packets, extended to 64 bits.
    package var number: Int64 = -1
    package var slot: UnsafeMutableRawPointer?
    package var timestamp: UInt32 = 0
    package var payloadOffset: UInt16 = 0
    package var payloadLength: UInt16 = 0
    package var marker = false
    package var isKeyFrameStart = false
    package var isFrameStart = false
    /// Value of the video-orientation extension plus one; 0 when the packet carries none.
    package var orientation: UInt8 = 0
    package var arrival = Instant.zero
}

/// The recent packets of one track on one worker: what is fanned out, retransmitted and given to late joiners.
/// Owns the slots of the packets it holds.
package struct TrackRing: ~Copyable {
    private let entries: UnsafeMutablePointer<StoredPacket>
    private let mask: Int64
    private let slab: PacketSlab
    /// Highest number stored, -1 before the first.
    package private(set) var highest: Int64 = -1
    private var oldest: Int64 = -1
    private let maxAge: Interval

    /// - Parameter capacity: packets, a power of two.
    package init(capacity: Int, maxAge: Interval, slab: PacketSlab) {
        precondition(capacity > 0 && capacity & (capacity - 1) == 0, "capacity is a power of two")
        entries = .allocate(capacity: capacity)
        entries.initialize(repeating: StoredPacket(), count: capacity)
        mask = Int64(capacity - 1)
        self.slab = slab
        self.maxAge = maxAge
    }

    deinit {
        for i in 0...Int(mask) {
            if let slot = entries[i].slot { slab.give(slot) }
        }
        entries.deallocate()
    }

    @inline(__always) package func contains(_ number: Int64) -> Bool {
        number >= 0 && entries[Int(number & mask)].number == number
    }

    /// The packet with that number, if it is still held.
    @inline(__always) package func find(_ number: Int64) -> UnsafePointer<StoredPacket>? {
        guard number >= 0 else { return nil }
        let entry = entries + Int(number & mask)
        return entry.pointee.number == number ? UnsafePointer(entry) : nil
    }

    /// Takes over the packet's slot. `false`: a duplicate, or older than anything the ring could hold; the caller
    /// keeps the slot.
    package mutating func store(_ packet: StoredPacket) -> Bool {
        guard packet.number >= 0, packet.slot != nil else { return false }
        if highest >= 0, packet.number <= highest - mask - 1 { return false }
        let entry = entries + Int(packet.number & mask)
        if entry.pointee.number == packet.number { return false }
        if let old = entry.pointee.slot { slab.give(old) }
        entry.pointee = packet
        if packet.number > highest { highest = packet.number }
        if oldest < 0 || packet.number < oldest { oldest = packet.number }
        return true
    }

    /// Gives back packets older than the ring's age: memory follows the bitrate, not the ring's capacity.
    package mutating func expire(now: Instant) {
        guard oldest >= 0 else { return }
        if oldest < highest - mask { oldest = highest - mask }
        var budget = 256
        while oldest < highest, budget > 0 {
            let entry = entries + Int(oldest & mask)
            if entry.pointee.number == oldest {
                if now - entry.pointee.arrival < maxAge { return }
                if let slot = entry.pointee.slot { slab.give(slot) }
                entry.pointee = StoredPacket()
            }
            oldest += 1
            budget -= 1
        }
    }

    package mutating func removeAll() {
        for i in 0...Int(mask) {
            if let slot = entries[i].slot { slab.give(slot) }
            entries[i] = StoredPacket()
        }
        highest = -1
        oldest = -1
    }
}

/// Turns the publisher's sequence numbers into numbers without gaps for padding-only packets (bandwidth probes),
/// which are never forwarded. A packet that arrives late still gets the number its place had.
package struct PacketNumbering: Sendable {
    private static let rememberedPaddings = 64
    private var unwrapper = SequenceUnwrapper()
    /// Extended source numbers of recent padding-only packets, rising.
    private var paddings: [Int64] = []
    /// Padding-only packets that were forgotten: all older than anything still expected.
    private var forgotten: Int64 = 0
    /// Added after a change of source so that numbers go on without a jump.
    private var base: Int64 = 0
    private var highestNumber: Int64 = -1

    package init() { paddings.reserveCapacity(Self.rememberedPaddings) }

    /// Extended number of the source, for loss detection.
    package mutating func unwrap(_ sequence: UInt16) -> Int64 { unwrapper.unwrap(sequence) }
    package var highestSource: Int64 { unwrapper.highest }

    /// Number for a packet with payload.
    package mutating func number(_ source: Int64) -> Int64 {
        var before = forgotten
        for padding in paddings where padding < source { before += 1 }
        let number = source &- before &+ base
        if number > highestNumber { highestNumber = number }
        return number
    }

    /// Takes note of a padding-only packet. `true`: it leaves no gap. `false`: later packets have been numbered as
    /// if it were an ordinary one, so it must be forwarded to fill its place.
    package mutating func skip(_ source: Int64) -> Bool {
        guard source >= unwrapper.highest, paddings.last.map({ $0 < source }) ?? true else { return false }
        if paddings.count == Self.rememberedPaddings {
            paddings.removeFirst()
            forgotten += 1
        }
        paddings.append(source)
        return true
    }

    /// A new SSRC began (the publisher restarted its sender): its first packet follows the last one of the old.
    package mutating func restart() {
        let next = highestNumber + 1
        unwrapper = SequenceUnwrapper()
        paddings.removeAll(keepingCapacity: true)
        forgotten = 0
        base = 0
        pendingBase = next
    }
    private var pendingBase: Int64 = -1

    /// To be called with the first extended number after `restart`.
    package mutating func rebaseIfNeeded(first source: Int64) {
        guard pendingBase >= 0 else { return }
        base = pendingBase - source
        pendingBase = -1
    }
}
