import Synchronization

/// When the frames of one published track were sent, and which of them are measured: written by the thread of the
/// publisher, read by those of the players.
package final class TrackClock: Sendable {
    /// Frames that are remembered: 8 s of video at 30 fps, 5 s of sound.
    package static let capacity = 256
    private struct Entry: ~Copyable {
        let frame = Atomic<Int64>(-1)
        let sent = Atomic<Int64>(0)
    }
    // Allocated once, never moved; its elements are atomics.
    nonisolated(unsafe) private let entries: UnsafeMutablePointer<Entry>
    /// Measured frames: from here…
    package let windowStart = Atomic<Int64>(.max)
    /// …to before here.
    package let windowEnd = Atomic<Int64>(.max)
    /// Packets of measured frames.
    let windowPackets = Atomic<Int>(0)
    let windowKeyFrames = Atomic<Int>(0)

    package init() {
        entries = .allocate(capacity: Self.capacity)
        for i in 0..<Self.capacity { (entries + i).initialize(to: Entry()) }
    }

    deinit {
        entries.deinitialize(count: Self.capacity)
        entries.deallocate()
    }

    /// The frame's last packet has been sent.
    /// - Parameter at: nanoseconds of the wall clock.
    package func sent(frame: Int64, at: Int64) {
        let entry = entries + Int(frame) % Self.capacity
        entry.pointee.frame.store(-1, ordering: .relaxed)
        atomicMemoryFence(ordering: .acquiringAndReleasing)
        entry.pointee.sent.store(at, ordering: .relaxed)
        entry.pointee.frame.store(frame, ordering: .releasing)
    }

    package enum Sending { case at(Int64), notYet, forgotten }

    /// When the frame's last packet was sent.
    @inline(__always) package func sending(of frame: Int64) -> Sending {
        guard frame >= 0 else { return .forgotten }
        let entry = entries + Int(frame) % Self.capacity
        let known = entry.pointee.frame.load(ordering: .acquiring)
        guard known == frame else { return known > frame ? .forgotten : .notYet }
        return .at(entry.pointee.sent.load(ordering: .relaxed))
    }

    @inline(__always) package func isMeasured(_ frame: Int64) -> Bool {
        frame >= windowStart.load(ordering: .relaxed) && frame < windowEnd.load(ordering: .relaxed)
    }
}

/// Both tracks of one stream.
final class StreamClock: Sendable {
    let video = TrackClock()
    let audio = TrackClock()
}
