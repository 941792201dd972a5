import Synchronization
import Wire

/// Records of bytes on their way from one thread to another: a bounded single-producer single-consumer ring without
/// locks. A record lies in one piece and begins at a multiple of eight bytes; what does not fit before the ring's end
/// begins at its start.
///
/// Producer: `reserve`, write, `publish` once for any number of records. Consumer: `read`. Each side is one thread at a
/// time; who hands a side to another thread synchronises that.
package final class RecordRing: @unchecked Sendable {
    private static let alignment = 8
    package static let minCapacity = 1 << 12
    /// Largest record, as a part of the ring: room for it is found whatever lies before the ring's end.
    private static let maxRecordShare = 4

    /// In front of each record.
    private struct Prefix: BitwiseCopyable {
        /// Bytes to the next prefix.
        var stride: UInt32
        /// The record's own bytes; `filler`: none, the ring goes on at its start.
        var length: UInt32
        static let filler = UInt32.max
    }
    private static let prefixLength = MemoryLayout<Prefix>.stride

    /// Keeps what the two threads write in cache lines of their own.
    private typealias Gap = InlineArray<8, Int>

    /// Bytes, a power of two.
    package let capacity: Int
    private let memory: UnsafeMutableRawPointer
    private let gap1 = Gap(repeating: 0)
    // The producer's. Positions only grow; their low bits are places.
    private var written = 0
    private var headSeen = 0
    private let tail = Atomic<Int>(0)
    private let gap2 = Gap(repeating: 0)
    // The consumer's.
    private var taken = 0
    private let head = Atomic<Int>(0)
    private let gap3 = Gap(repeating: 0)

    /// - Parameter capacity: bytes, rounded up to a power of two. All of it is touched here, so that the producer meets
    ///   no page faults.
    package init(capacity: Int) {
        var size = Self.minCapacity
        while size < capacity, size < 1 << 30 { size *= 2 }
        self.capacity = size
        memory = .allocate(byteCount: size, alignment: 64)
        memory.initializeMemory(as: UInt8.self, repeating: 0, count: size)
    }

    deinit { memory.deallocate() }

    // MARK: - Producer

    /// Room for a record, or `nil` when the ring is too full, or the record too large for it.
    /// - Parameter kept: bytes that must stay free besides.
    @inline(__always)
    package func reserve(_ length: Int, keeping kept: Int = 0) -> UnsafeMutableRawPointer? {
        let stride = (Self.prefixLength + length + Self.alignment - 1) & ~(Self.alignment - 1)
        guard stride <= capacity / Self.maxRecordShare else { return nil }
        let place = written & (capacity - 1)
        let left = capacity - place
        let skipped = stride > left ? left : 0
        let needed = skipped + stride + kept
        if capacity - (written - headSeen) < needed {
            // Acquires: the consumer has done with what it gave back.
            headSeen = head.load(ordering: .acquiring)
            guard capacity - (written - headSeen) >= needed else { return nil }
        }
        if skipped > 0 {
            (memory + place).storeBytes(
                of: Prefix(stride: UInt32(truncatingIfNeeded: skipped), length: Prefix.filler), as: Prefix.self)
        }
        let start = memory + (skipped > 0 ? 0 : place)
        start.storeBytes(
            of: Prefix(stride: UInt32(truncatingIfNeeded: stride), length: UInt32(truncatingIfNeeded: length)),
            as: Prefix.self)
        written += skipped + stride
        return start + Self.prefixLength
    }

    /// Shows the consumer all that has been reserved, and so must be written by now.
    @inline(__always) package func publish() { tail.store(written, ordering: .releasing) }

    /// Bytes that the consumer has not given back; the producer's view.
    package var bytesInUse: Int {
        headSeen = head.load(ordering: .acquiring)
        return written - headSeen
    }

    // MARK: - Consumer

    /// Calls `body` with each waiting record, at most `limit`; the bytes are valid within the call only.
    /// - Returns: the number of records.
    @discardableResult
    package func read(limit: Int = .max, _ body: (UnsafeRawBufferPointer) -> Void) -> Int {
        let end = tail.load(ordering: .acquiring)
        var count = 0
        while taken < end, count < limit {
            let start = memory + (taken & (capacity - 1))
            let prefix = start.load(as: Prefix.self)
            if prefix.length != Prefix.filler {
                body(UnsafeRawBufferPointer(start: start + Self.prefixLength, count: Int(prefix.length)))
                count += 1
            }
            taken += Int(prefix.stride)
            // Releases: what has been read may be overwritten from now on.
            head.store(taken, ordering: .releasing)
        }
        return count
    }

    /// Whether nothing waits; the consumer's view.
    package var isEmpty: Bool { tail.load(ordering: .acquiring) == taken }

    /// Bytes published and not yet given back, as any thread sees it.
    package var bytesWaiting: Int {
        // In this order: the difference may be too large, never negative.
        let given = head.load(ordering: .acquiring)
        return max(0, tail.load(ordering: .acquiring) - given)
    }
}

/// What stands in front of every record's payload in the rings of sinks and sources.
struct RecordHeader: BitwiseCopyable {
    enum Kind: UInt8, BitwiseCopyable { case packet, report, lost, restart }
    /// Bytes in front of the payload.
    static let length = 32

    var arrival: Instant
    /// Packet: its number. Report: NTP time. Lost: packets.
    var number: Int64
    var timestamp: UInt32
    var track: UInt16
    var kind: Kind
    /// Value of the video-orientation extension plus one; 0: none.
    var orientation: UInt8
    private var flags: UInt8

    private static let marker: UInt8 = 1
    private static let keyFrameStart: UInt8 = 2
    private static let frameStart: UInt8 = 4
    private static let numbered: UInt8 = 8

    var marker: Bool { flags & Self.marker != 0 }
    var isKeyFrameStart: Bool { flags & Self.keyFrameStart != 0 }
    var isFrameStart: Bool { flags & Self.frameStart != 0 }
    /// Whether `number` is the source's.
    var isNumbered: Bool { flags & Self.numbered != 0 }

    @inline(__always)
    init(
        _ kind: Kind, track: Int, number: Int64, timestamp: UInt32 = 0,
        arrival: Instant = Instant(nanoseconds: 0), orientation: UInt8 = 0, marker: Bool = false,
        isKeyFrameStart: Bool = false,
        isFrameStart: Bool = false, isNumbered: Bool = false
    ) {
        self.kind = kind
        self.track = UInt16(truncatingIfNeeded: track)
        self.number = number
        self.timestamp = timestamp
        self.arrival = arrival
        self.orientation = orientation
        flags =
            (marker ? Self.marker : 0) | (isKeyFrameStart ? Self.keyFrameStart : 0)
            | (isFrameStart ? Self.frameStart : 0) | (isNumbered ? Self.numbered : 0)
    }
}
