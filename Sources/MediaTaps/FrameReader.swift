import MediaEngine
import MediaFormats
import MediaFrames
import Wire

/// One thread that reads any number of published streams and puts their packets together to frames: what recordings,
/// snapshots and HLS are made of. The media workers give it one copy of each packet and never wait for it.
package final class FrameReader: Sendable {
    /// The thread lets this time pass between two rounds unless all taps have more patience: packets of some turns of the
    /// workers are read at once, at a fraction of the wake-ups.
    package static let gather = Interval.milliseconds(5)

    private let engine: MediaEngine
    private let thread: TapThread

    /// Starts the thread.
    /// - Throws: `NetworkError` if the process has no descriptor or thread to spare.
    package init(engine: MediaEngine) throws {
        self.engine = engine
        thread = try TapThread("start the thread that reads frames")
    }

    /// Streams that are being read.
    package var count: Int { thread.count }

    /// Reads a publisher's stream from now on, video from its next key frame.
    ///
    /// - Parameters:
    ///   - capacity: bytes of packets that may wait for the thread.
    ///   - patience: how late a frame may come for all that its consumer cares; the more, the less the reading costs.
    ///   - consumer: makes the consumer, once the tracks and the tap are known.
    /// - Returns: nil if there is no such publisher, or the reader has stopped; then no consumer was made.
    package func tap(
        publisher: UInt64, capacity: Int = PacketSink.defaultCapacity, patience: Interval = FrameReader.gather,
        settings: AssemblerSettings = AssemblerSettings(),
        consumer make: (FrameTap) -> any FrameConsumer
    ) -> FrameTap? {
        var tap: FrameTap?
        thread.attach(PacketSink(capacity: capacity, waker: thread.waker), publisher, of: engine) { sink, tracks in
            let new = FrameTap(publisher: publisher, tracks: tracks, sink: sink, engine: engine)
            tap = new
            return FrameReading(new, consumer: make(new), patience: patience, settings: settings)
        }
        return tap
    }

    /// Ends all taps, as if each were cancelled, and the thread; returns when it is gone. Idempotent.
    package func stop() { thread.stop() }
}
