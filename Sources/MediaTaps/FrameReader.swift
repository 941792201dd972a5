import Glibc
import LinuxNet
import MediaEngine
import MediaFormats
import MediaFrames
import Synchronization
import Wire

/// One thread that reads any number of published streams and puts their packets together to frames: what recordings,
/// snapshots and HLS are made of. The media workers give it one copy of each packet and never wait for it.
package final class FrameReader: Sendable {
    /// The thread lets this time pass between two rounds unless all taps have more patience: packets of some turns of the
    /// workers are read at once, at a fraction of the wake-ups.
    package static let gather = Interval.milliseconds(5)
    /// Without news the thread looks around so often all the same.
    private static let idle = Interval.milliseconds(1_000)
    private static let stackBytes = 1 << 20

    private struct Shared {
        /// Taps that the thread has not seen yet.
        var added: [TapReading] = []
        var count = 0
        var isStopping = false
        var thread: pthread_t?
    }

    private let engine: MediaEngine
    private let waker: SinkWaker
    private let shared = Mutex(Shared())

    /// Starts the thread.
    /// - Throws: `NetworkError` if the process has no descriptor or thread to spare.
    package init(engine: MediaEngine) throws {
        self.engine = engine
        waker = try SinkWaker()
        let context = Unmanaged.passRetained(self)
        var thread = pthread_t()
        var attributes = pthread_attr_t()
        pthread_attr_init(&attributes)
        pthread_attr_setstacksize(&attributes, Self.stackBytes)
        defer { pthread_attr_destroy(&attributes) }
        let result = pthread_create(
            &thread, &attributes,
            { context in
                guard let context else { return nil }
                Unmanaged<FrameReader>.fromOpaque(context).takeRetainedValue().run()
                return nil
            }, context.toOpaque())
        guard result == 0 else {
            context.release()
            throw NetworkError("start the thread that reads frames", code: result)
        }
        shared.withLock { $0.thread = thread }
    }

    /// Streams that are being read.
    package var count: Int { shared.withLock { $0.count } }

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
        // Counted before it is attached: a stop waits for it.
        let isOpen = shared.withLock { shared in
            guard !shared.isStopping else { return false }
            shared.count += 1
            return true
        }
        guard isOpen else { return nil }
        let sink = PacketSink(capacity: capacity, waker: waker)
        let tracks = engine.attach(sink, publisher: publisher)
        defer { waker.wake() }
        guard let tracks else {
            shared.withLock { $0.count -= 1 }
            return nil
        }
        let tap = FrameTap(publisher: publisher, tracks: tracks, sink: sink, engine: engine)
        let reading = TapReading(tap, consumer: make(tap), patience: patience, settings: settings)
        shared.withLock { $0.added.append(reading) }
        return tap
    }

    /// Ends all taps, as if each were cancelled, and the thread; returns when it is gone. Idempotent.
    package func stop() {
        let thread = shared.withLock { shared in
            shared.isStopping = true
            defer { shared.thread = nil }
            return shared.thread
        }
        guard let thread else { return }
        waker.wake()
        pthread_join(thread, nil)
    }

    private func run() {
        var readings: [TapReading] = []
        while true {
            let (added, isStopping) = shared.withLock { shared in
                defer { shared.added = [] }
                return (shared.added, shared.isStopping)
            }
            readings += added
            if isStopping { for reading in readings { reading.tap.cancel() } }
            let began = Instant.now
            for index in readings.indices { readings[index].run(now: began) }
            let before = readings.count
            readings.removeAll(where: \.isOver)
            let ended = before - readings.count
            let isDone = shared.withLock { shared in
                shared.count -= ended
                return isStopping && shared.count == 0
            }
            if isDone { return }
            rest(readings, since: began)
        }
    }

    private func rest(_ readings: [TapReading], since began: Instant) {
        // Not armed yet: what comes now is read with what comes next, and costs no worker a system call.
        let left = began + (readings.map(\.patience).min() ?? .zero) - Instant.now
        if left > .zero { waker.pause(left) }
        let next = readings.map(\.deadline).min() ?? .distantFuture
        let now = Instant.now
        let wait = next <= now ? Interval.zero : min(next - now, Self.idle)
        waker.wait(timeout: wait) {
            // A pause has taken the wake-up that told of these.
            readings.contains { $0.tap.sink.hasNews } || shared.withLock { !$0.added.isEmpty || $0.isStopping }
        }
    }
}
