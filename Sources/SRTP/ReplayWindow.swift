/// Which packet indices have been seen, up to a window behind the highest (RFC 3711 §3.3.2). Plain memory.
struct ReplayWindow: BitwiseCopyable {
    private static let wordCount = SRTPLimits.replayWindow / 64
    private static let size = UInt64(SRTPLimits.replayWindow)
    private(set) var highest: UInt64
    private var words = InlineArray<16, UInt64>(repeating: 0)

    /// - Parameter first: an authenticated packet, which is seen from here on.
    init(first: UInt64) {
        precondition(words.count == Self.wordCount)
        highest = first
        mark(first)
    }

    @inline(__always)
    func isFresh(_ index: UInt64) -> Bool {
        guard index <= highest else { return true }
        guard highest - index < Self.size else { return false }
        let place = index % Self.size
        return words[Int(place / 64)] & (1 << (place % 64)) == 0
    }

    /// Call only for authenticated packets.
    @inline(__always)
    mutating func accept(_ index: UInt64) {
        if index > highest {
            let steps = min(index - highest, Self.size)
            for step in 0..<steps { clear((index - step) % Self.size) }
            highest = index
        }
        mark(index)
    }

    @inline(__always)
    private mutating func mark(_ index: UInt64) {
        let place = index % Self.size
        words[Int(place / 64)] |= 1 << (place % 64)
    }

    @inline(__always)
    private mutating func clear(_ place: UInt64) { words[Int(place / 64)] &= ~(1 << (place % 64)) }

    /// How far `sequence` lies ahead of the highest index, taking the nearest of all indices that it may stand for.
    @inline(__always)
    func distance(_ sequence: UInt16) -> Int64 {
        Int64(Int16(bitPattern: sequence &- UInt16(truncatingIfNeeded: highest)))
    }

    /// The 48-bit index that `sequence` most likely stands for (RFC 3711 §3.3.1); `nil` if that would lie before
    /// the beginning.
    @inline(__always)
    func estimate(_ sequence: UInt16) -> UInt64? {
        let guess = Int64(bitPattern: highest) + distance(sequence)
        return guess >= 0 && guess < 1 << 48 ? UInt64(guess) : nil
    }
}

/// The SSRCs that a peer has sent from, with their windows: plain memory that grows with their number.
struct SourceTable: BitwiseCopyable {
    struct Source: BitwiseCopyable {
        let ssrc: UInt32
        var window: ReplayWindow
    }
    private var sources: UnsafeMutablePointer<Source>?
    private(set) var count: Int32 = 0
    private var capacity: Int32 = 0
    /// Where the last search ended: packets come in runs.
    private var last: Int32 = 0

    func destroy() { sources?.deallocate() }

    var isFull: Bool { count >= SRTPLimits.maxSources }

    /// Position of an SSRC; it never changes.
    @inline(__always)
    mutating func find(_ ssrc: UInt32) -> Int? {
        guard let sources else { return nil }
        if sources[Int(last)].ssrc == ssrc { return Int(last) }
        for i in 0..<count where sources[Int(i)].ssrc == ssrc {
            last = i
            return Int(i)
        }
        return nil
    }

    /// Valid until the next `append`.
    @inline(__always)
    func window(_ i: Int) -> UnsafeMutablePointer<ReplayWindow> {
        guard let sources, i < count else { preconditionFailure("no such source") }
        return UnsafeMutableRawPointer(sources + i).advanced(by: Self.windowOffset)
            .assumingMemoryBound(to: ReplayWindow.self)
    }
    private static var windowOffset: Int { MemoryLayout<ReplayWindow>.alignment }

    /// Call only when not full.
    mutating func append(_ ssrc: UInt32, first: UInt64) {
        if count == capacity {
            let larger = max(1, capacity * 2)
            let grown = UnsafeMutablePointer<Source>.allocate(capacity: Int(larger))
            if let sources {
                grown.update(from: sources, count: Int(count))
                sources.deallocate()
            }
            sources = grown
            capacity = larger
        }
        sources?[Int(count)] = Source(ssrc: ssrc, window: ReplayWindow(first: first))
        count += 1
    }
}
