import Wire

/// A sink as its worker sees it: what of each track goes into the ring. One thread only.
final class SinkFeed {
    /// One track on its way into the sink.
    struct Part: BitwiseCopyable {
        let needsKeyFrame: Bool
        /// Every packet goes in. Video: a key frame has begun.
        var isStarted: Bool
        /// Stored packets are on their way, as the ring has room; live ones follow when they are through.
        var isCatchingUp = false
        /// Lost packets for want of room, and waits for a key frame that finds some.
        var isStalled = false
        /// The key frame that it began with: of what comes late before it only its own packets are of use.
        var keyNumber: Int64 = 0
        var keyTimestamp: UInt32 = 0
        /// Next stored packet while it catches up.
        var next: Int64 = 0
        /// Packets lost that the consumer has not been told of.
        var untold = 0

        @inline(__always) func takes(_ packet: UnsafePointer<StoredPacket>) -> Bool {
            !needsKeyFrame || packet.pointee.number >= keyNumber || packet.pointee.timestamp == keyTimestamp
        }
        var awaitsKeyFrame: Bool { needsKeyFrame && !isStarted && !isCatchingUp }

        mutating func start(at packet: UnsafePointer<StoredPacket>) {
            isStarted = true
            isCatchingUp = false
            isStalled = false
            keyNumber = packet.pointee.number
            keyTimestamp = packet.pointee.timestamp
        }
    }

    let sink: PacketSink
    let parts: UnsafeMutablePointer<Part>
    private let trackCount: Int
    private var written: UInt64 = 0
    private var lost: UInt64 = 0
    /// Something has been written since the consumer was last woken.
    var hasNews = false
    // What the worker has added to the shared counters so far.
    private var countedWritten: UInt64 = 0
    private var countedLost: UInt64 = 0

    init(_ sink: PacketSink, tracks: [Track]) {
        self.sink = sink
        trackCount = tracks.count
        parts = .allocate(capacity: max(1, trackCount))
        for (i, track) in tracks.enumerated() {
            let isVideo = track.kind == .video
            (parts + i).initialize(to: Part(needsKeyFrame: isVideo, isStarted: !isVideo))
        }
    }

    deinit { parts.deallocate() }

    /// Writes a packet that the track has come to. Without room it is lost, and of video all until the next key frame.
    @inline(__always)
    func give(_ packet: UnsafePointer<StoredPacket>, track: Int) {
        if !offer(packet, track: track) { overflow(track) }
    }

    /// - Returns: `false`: there is no room; nothing is lost yet.
    @inline(__always)
    func offer(_ packet: UnsafePointer<StoredPacket>, track: Int) -> Bool {
        let kept = parts[track].needsKeyFrame ? sink.soundRoom : 0
        if parts[track].untold > 0 {
            let needed = kept + RecordHeader.length + Int(packet.pointee.payloadLength) + Self.margin
            guard sink.write(RecordHeader(.lost, track: track, number: Int64(parts[track].untold)), keeping: needed)
            else { return false }
            parts[track].untold = 0
        }
        guard sink.write(packet, track: track, keeping: kept) else { return false }
        written &+= 1
        return true
    }
    /// Bytes that a record may take besides its contents.
    private static let margin = 64

    private func overflow(_ track: Int) {
        miss(1, track: track)
        guard parts[track].needsKeyFrame else { return }
        parts[track].isStarted = false
        parts[track].isCatchingUp = false
        parts[track].isStalled = true
    }

    /// Counts packets that the sink should have had.
    func miss(_ count: Int, track: Int) {
        parts[track].untold += count
        lost &+= UInt64(count)
    }

    func report(track: Int, ntp: UInt64, timestamp: UInt32, arrival: Instant) {
        // One that finds no room is missed by nobody: the next comes in some seconds.
        _ = sink.write(
            RecordHeader(
                .report, track: track, number: Int64(bitPattern: ntp), timestamp: timestamp, arrival: arrival))
        publish()
    }

    /// Shows the consumer what has been written.
    func publish() {
        sink.publish(written: written, lost: lost)
        hasNews = true
    }

    /// What has come since the last call, for counters that many feeds share.
    func takeCounts() -> (written: UInt64, lost: UInt64) {
        defer {
            countedWritten = written
            countedLost = lost
        }
        return (written &- countedWritten, lost &- countedLost)
    }

    /// Whether a track waits for a key frame, and whether for room before.
    func waiting(at track: Int) -> (isWaiting: Bool, needsRoom: Bool) {
        guard !sink.isEnded, parts[track].awaitsKeyFrame else { return (false, false) }
        return (true, parts[track].isStalled && !sink.hasRoomToBegin)
    }
}
