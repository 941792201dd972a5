import Synchronization
import Wire

/// One packet of a track as a sink is given it.
package struct SinkPacket: BitwiseCopyable, Sendable {
    /// Place in the descriptions that `MediaEngine.attach` answered.
    package var track: Int
    /// Extended to 64 bits, without the gaps of padding-only packets: a gap is a packet that is lost or comes later.
    package var number: Int64
    /// RTP time; goes on without a jump when the publisher restarts its sender.
    package var timestamp: UInt32
    package var marker: Bool
    /// The first packet of a picture that can be decoded without any before, or its parameter sets.
    package var isKeyFrameStart: Bool
    package var isFrameStart: Bool
    /// Byte of the video-orientation extension, if the packet carries one (3GPP TS 26.114 §7.4.5).
    package var orientation: UInt8?
    /// When the kernel received it, on the monotonic clock.
    package var arrival: Instant
}

/// What a sink tells.
package enum SinkRecord: Sendable {
    /// A packet; the payload comes with it. An empty payload only fills the place of its number.
    case packet(SinkPacket)
    /// Sender report of the publisher: its clock (NTP, 32.32 bits) at an RTP time of the track.
    case report(track: Int, ntp: UInt64, timestamp: UInt32, arrival: Instant)
    /// So many packets of the track found no room. Comes right before the track's next packet, which begins a key
    /// frame if it is video.
    case lost(track: Int, packets: Int)
    /// The publisher ended, or the sink was detached: nothing follows. Comes once.
    case ended
}

/// One consumer of a published stream besides its players: a recording, an HLS stream, an RTSP/TCP player, a snapshot.
/// A bounded ring that the worker of the publisher writes, at one copy per packet, and never waits for.
///
/// Attached once and ended once: a stream that is published again under its name is a new publisher and needs a new sink.
/// One thread at a time reads; all else may be called from any thread.
package final class PacketSink: @unchecked Sendable {
    package static let minCapacity = 1 << 16
    package static let defaultCapacity = 1 << 20
    /// Of the ring, an eighth and at most so many bytes are for sound when video has filled the rest.
    private static let maxSoundRoom = 1 << 16

    private let ring: RecordRing
    let waker: SinkWaker?
    let soundRoom: Int
    private let ended = Atomic<Bool>(false)
    private let written = Atomic<UInt64>(0)
    private let lost = Atomic<UInt64>(0)
    /// The consumer knows of the end.
    private var isEndTold = false
    /// Where the sink is attached: for `detach`, and so that it is attached once only.
    let link = Mutex<Link?>(nil)
    struct Link {
        let publisher: UInt64
        let list: SinkList
    }
    /// Set before any worker knows the sink.
    private var counters: EngineCounters?

    /// - Parameter capacity: bytes, rounded up to a power of two: what the consumer may lag behind. 1 MiB is 2 s of 4 Mbit/s.
    package init(capacity: Int = PacketSink.defaultCapacity, waker: SinkWaker? = nil) {
        ring = RecordRing(capacity: max(capacity, Self.minCapacity))
        soundRoom = min(ring.capacity / 8, Self.maxSoundRoom)
        self.waker = waker
    }

    // MARK: - Consumer

    /// Calls `body` with each waiting record, at most `limit`; the payload is valid within the call only, and empty for
    /// all but packets. `body` must not read the sink.
    /// - Returns: the number of records; 0: nothing waits.
    @discardableResult
    package func read(limit: Int = .max, _ body: (SinkRecord, RawSpan) -> Void) -> Int {
        guard !isEndTold, limit > 0 else { return 0 }
        // Before the ring: what the worker wrote before the end is seen below.
        let isEnding = isEnded
        var count = ring.read(limit: limit) { bytes in
            let header = bytes.load(as: RecordHeader.self)
            body(Self.record(header), bytes.bytes.extracting(RecordHeader.length...))
        }
        if isEnding, count < limit, ring.isEmpty {
            isEndTold = true
            body(.ended, RawSpan())
            count += 1
        }
        return count
    }

    /// Whether `read` would find something.
    package var hasNews: Bool { !isEndTold && (isEnded || !ring.isEmpty) }

    private static func record(_ header: RecordHeader) -> SinkRecord {
        let track = Int(header.track)
        switch header.kind {
        case .packet:
            return .packet(
                SinkPacket(
                    track: track, number: header.number, timestamp: header.timestamp, marker: header.marker,
                    isKeyFrameStart: header.isKeyFrameStart, isFrameStart: header.isFrameStart,
                    orientation: header.orientation == 0 ? nil : header.orientation - 1, arrival: header.arrival))
        case .report:
            return .report(
                track: track, ntp: UInt64(bitPattern: header.number), timestamp: header.timestamp,
                arrival: header.arrival)
        // Restarts are for workers alone.
        case .lost, .restart: return .lost(track: track, packets: Int(header.number))
        }
    }

    // MARK: - Any thread

    /// Bytes of memory.
    package var capacity: Int { ring.capacity }
    /// Nothing is written any more; what is in the ring may still be read.
    package var isEnded: Bool { ended.load(ordering: .acquiring) }
    package var packetsWritten: UInt64 { written.value }
    /// Packets that found no room.
    package var packetsLost: UInt64 { lost.value }
    /// How far the consumer lags behind.
    package var bytesWaiting: Int { ring.bytesWaiting }

    /// Idempotent.
    func end() {
        guard !ended.exchange(true, ordering: .acquiringAndReleasing) else { return }
        counters?.sinks.wrappingSubtract(1, ordering: .relaxed)
        counters?.sinkBytes.wrappingSubtract(capacity, ordering: .relaxed)
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        waker?.wakeIfAsleep()
    }

    /// To be called once, before any worker knows the sink.
    func count(in counters: EngineCounters) {
        self.counters = counters
        counters.sinks.wrappingAdd(1, ordering: .relaxed)
        counters.sinkBytes.wrappingAdd(capacity, ordering: .relaxed)
    }

    // MARK: - The worker

    /// - Parameter kept: bytes that must stay free.
    /// - Returns: `false`: there is no room.
    @inline(__always)
    func write(_ packet: UnsafePointer<StoredPacket>, track: Int, keeping kept: Int) -> Bool {
        let length = Int(packet.pointee.payloadLength) - Int(packet.pointee.padding)
        guard let slot = packet.pointee.slot, let room = ring.reserve(RecordHeader.length + length, keeping: kept)
        else { return false }
        room.storeBytes(
            of: RecordHeader(
                .packet, track: track, number: packet.pointee.number, timestamp: packet.pointee.timestamp,
                arrival: packet.pointee.arrival, orientation: packet.pointee.orientation,
                marker: packet.pointee.marker, isKeyFrameStart: packet.pointee.isKeyFrameStart,
                isFrameStart: packet.pointee.isFrameStart), as: RecordHeader.self)
        (room + RecordHeader.length).copyMemory(from: slot + Int(packet.pointee.payloadOffset), byteCount: length)
        return true
    }

    /// A record without payload.
    func write(_ header: RecordHeader, keeping kept: Int = 0) -> Bool {
        guard let room = ring.reserve(RecordHeader.length, keeping: kept) else { return false }
        room.storeBytes(of: header, as: RecordHeader.self)
        return true
    }

    /// Whether a key frame that begins now has a chance to get through: half of the ring is free.
    var hasRoomToBegin: Bool { ring.bytesInUse <= capacity / 2 }

    /// Shows the consumer what has been written.
    func publish(written count: UInt64, lost missing: UInt64) {
        ring.publish()
        written.set(count)
        lost.set(missing)
    }
}
