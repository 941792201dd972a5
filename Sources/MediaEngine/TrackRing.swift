import Wire

/// One forwardable packet of a track, in the numbering that all players of the stream share.
package struct StoredPacket: BitwiseCopyable {
    /// Number without the gaps of padding-only packets, extended to 64 bits.
    package var number: Int64 = -1
    package var slot: UnsafeMutableRawPointer?
    package var timestamp: UInt32 = 0
    package var payloadOffset: UInt16 = 0
    /// Bytes behind the header, padding included.
    package var payloadLength: UInt16 = 0
    /// Bytes of RTP padding at the payload's end, the count byte included; 0: none.
    package var padding: UInt8 = 0
    package var marker = false
    package var isKeyFrameStart = false
    package var isFrameStart = false
    /// Value of the video-orientation extension plus one; 0 when the packet carries none.
    package var orientation: UInt8 = 0
    /// As `RTPPayloadFacts` has them: what plain players are not given.
    package var flexibleStart: UInt8 = 0
    package var flexibleLength: UInt8 = 0
    package var arrival = Instant.zero

    package init() {}
}

/// The recent packets of one track on one worker: what is fanned out, retransmitted and given to late joiners.
/// Owns the slots of the packets it holds.
package struct TrackRing: ~Copyable {
    private var entries: UnsafeMutablePointer<StoredPacket>
    private var mask: Int64
    private let slab: PacketSlab
    /// Highest number stored, -1 before the first.
    package private(set) var highest: Int64 = -1
    private var oldest: Int64 = -1
    private let maxAge: Interval
    /// Numbers below have been here and are gone: what comes again under one of them must not be sent again, since the
    /// players' ciphers have used it.
    package private(set) var floor: Int64 = 0

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
        entry(number).map { UnsafePointer($0) }
    }

    /// As `find`, for who decides on the packet's padding.
    @inline(__always) package func entry(_ number: Int64) -> UnsafeMutablePointer<StoredPacket>? {
        guard number >= 0 else { return nil }
        let entry = entries + Int(number & mask)
        return entry.pointee.number == number ? entry : nil
    }

    /// Takes over the packet's slot. `false`: a duplicate, or older than anything the ring could hold; the caller
    /// keeps the slot.
    package mutating func store(_ packet: StoredPacket) -> Bool {
        guard packet.number >= floor, packet.slot != nil else { return false }
        if highest >= 0, packet.number <= highest - mask - 1 { return false }
        let entry = entries + Int(packet.number & mask)
        if entry.pointee.number == packet.number { return false }
        if let old = entry.pointee.slot { slab.give(old) }
        entry.pointee = packet
        if packet.number > highest { highest = packet.number }
        if oldest < 0 || packet.number < oldest { oldest = packet.number }
        return true
    }

    package var capacity: Int { Int(mask) + 1 }

    /// Makes room for at least `capacity` packets; what is stored stays.
    package mutating func grow(to capacity: Int) {
        var size = self.capacity
        while size < capacity { size *= 2 }
        guard size > self.capacity else { return }
        let bigger = UnsafeMutablePointer<StoredPacket>.allocate(capacity: size)
        bigger.initialize(repeating: StoredPacket(), count: size)
        for i in 0...Int(mask) where entries[i].slot != nil {
            bigger[Int(entries[i].number & Int64(size - 1))] = entries[i]
        }
        entries.deallocate()
        entries = bigger
        mask = Int64(size - 1)
    }

    /// Gives back packets older than the ring's age: memory follows the bitrate, not the ring's capacity.
    /// - Parameter keepingFrom: this packet and younger ones stay whatever their age.
    package mutating func expire(now: Instant, keepingFrom: Int64 = .max) {
        guard oldest >= 0 else { return }
        if oldest < highest - mask { oldest = highest - mask }
        var budget = 256
        while oldest < min(highest, keepingFrom), budget > 0 {
            let entry = entries + Int(oldest & mask)
            if entry.pointee.number == oldest {
                if now - entry.pointee.arrival < maxAge { return }
                if let slot = entry.pointee.slot { slab.give(slot) }
                entry.pointee = StoredPacket()
                floor = oldest + 1
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
        floor = 0
    }
}

/// Turns the publisher's sequence numbers into numbers without gaps for padding-only packets (bandwidth probes),
/// which are never forwarded. A packet that arrives late still gets the number its place had.
package struct PacketNumbering: Sendable {
    private static let rememberedShifts = 64
    private var unwrapper = SequenceUnwrapper()
    /// Sources after `source` have numbers moved by `delta`.
    private struct Shift: BitwiseCopyable {
        var source: Int64
        var delta: Int64
    }
    /// Recent padding-only and inserted packets, rising by source.
    private var shifts: [Shift] = []
    /// Sum of the shifts that were forgotten: all older than anything still expected.
    private var forgotten: Int64 = 0
    /// Added after a change of source so that numbers go on without a jump.
    private var base: Int64 = 0
    private var highestNumber: Int64 = -1

    package init() { shifts.reserveCapacity(Self.rememberedShifts) }

    /// Extended number of the source, for loss detection.
    package mutating func unwrap(_ sequence: UInt16) -> Int64 { unwrapper.unwrap(sequence) }
    package var highestSource: Int64 { unwrapper.highest }

    /// Number for a packet with payload.
    package mutating func number(_ source: Int64) -> Int64 {
        var shift = forgotten
        for each in shifts where each.source < source { shift += each.delta }
        let number = source &+ shift &+ base
        if number > highestNumber { highestNumber = number }
        if source > highestNumbered { highestNumbered = source }
        return number
    }
    private var highestNumbered = Int64.min

    /// Takes note of a padding-only packet. `true`: it leaves no gap. `false`: later packets have been numbered as
    /// if it were an ordinary one, so it must be forwarded to fill its place.
    package mutating func skip(_ source: Int64) -> Bool {
        // Come again: by its own number it would take the place of the packet behind it.
        if shifts.contains(where: { $0.source == source && $0.delta < 0 }) { return true }
        guard source >= unwrapper.highest, source > highestNumbered, shifts.last.map({ $0.source < source }) ?? true
        else { return false }
        remember(Shift(source: source, delta: -1))
        return true
    }

    /// Makes room for `count` packets of our own before the packet `source`, which has no number yet.
    /// `false`: later packets have theirs already, so there is no room.
    package mutating func insert(_ count: Int, before source: Int64) -> Bool {
        guard source > highestNumbered, shifts.last.map({ $0.source < source }) ?? true else { return false }
        remember(Shift(source: source - 1, delta: Int64(count)))
        return true
    }

    private mutating func remember(_ shift: Shift) {
        if shifts.count == Self.rememberedShifts { forgotten += shifts.removeFirst().delta }
        shifts.append(shift)
    }

    /// A new SSRC began (the publisher restarted its sender): its first packet follows the last one of the old.
    package mutating func restart() {
        let next = highestNumber + 1
        unwrapper = SequenceUnwrapper()
        shifts.removeAll(keepingCapacity: true)
        highestNumbered = .min
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
