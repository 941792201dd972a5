import Glibc
import LinuxNet
import MediaEngine
import MediaFormats
import Synchronization
import Wire

/// A stream on the thread that reads it.
protocol TapReading: Sendable {
    /// How long what has come may wait to be read with what comes next.
    var patience: Interval { get }
    /// When there is something to do although no packet came.
    var deadline: Instant { get }
    var hasNews: Bool { get }
    /// Nothing follows: the thread forgets it.
    var isOver: Bool { get }
    mutating func run(now: Instant)
    /// The end comes as one more record.
    func cancel()
}

/// One thread for any number of sinks: sleeps while none has news, and between two rounds as long as its readings
/// have patience.
final class TapThread: Sendable {
    /// Without news the thread looks around so often all the same.
    private static let idle = Interval.milliseconds(1_000)
    private static let stackBytes = 1 << 20

    private struct Shared {
        /// Readings that the thread has not seen yet.
        var added: [any TapReading] = []
        var count = 0
        var isStopping = false
        var thread: pthread_t?
    }

    let waker: SinkWaker
    private let shared = Mutex(Shared())

    /// - Parameter purpose: for the error's text.
    /// - Throws: `NetworkError` if the process has no descriptor or thread to spare.
    init(_ purpose: String) throws {
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
                Unmanaged<TapThread>.fromOpaque(context).takeRetainedValue().run()
                return nil
            }, context.toOpaque())
        guard result == 0 else {
            context.release()
            throw NetworkError(purpose, code: result)
        }
        shared.withLock { $0.thread = thread }
    }

    var count: Int { shared.withLock { $0.count } }

    /// Attaches a sink and has it read; `make` is called only if there is such a publisher.
    func attach(
        _ sink: PacketSink, _ publisher: UInt64, of engine: MediaEngine,
        _ make: (PacketSink, [TrackDescription]) -> any TapReading
    ) {
        // Counted before it is attached: a stop waits for it.
        let isOpen = shared.withLock { shared in
            guard !shared.isStopping else { return false }
            shared.count += 1
            return true
        }
        guard isOpen else { return }
        defer { waker.wake() }
        guard let tracks = engine.attach(sink, publisher: publisher) else {
            return shared.withLock { $0.count -= 1 }
        }
        let reading = make(sink, tracks)
        shared.withLock { $0.added.append(reading) }
    }

    /// Cancels all readings and returns when the thread is gone. Idempotent.
    func stop() {
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
        var readings: [any TapReading] = []
        while true {
            let (added, isStopping) = shared.withLock { shared in
                defer { shared.added = [] }
                return (shared.added, shared.isStopping)
            }
            readings += added
            if isStopping { for reading in readings { reading.cancel() } }
            let began = Instant.now
            for index in readings.indices { readings[index].run(now: began) }
            let before = readings.count
            readings.removeAll { $0.isOver }
            let ended = before - readings.count
            let isDone = shared.withLock { shared in
                shared.count -= ended
                return isStopping && shared.count == 0
            }
            if isDone { return }
            rest(readings, since: began)
        }
    }

    private func rest(_ readings: [any TapReading], since began: Instant) {
        // Not armed yet: what comes now is read with what comes next, and costs no worker a system call.
        let left = began + (readings.map { $0.patience }.min() ?? .zero) - Instant.now
        if left > .zero { waker.pause(left) }
        let next = readings.map { $0.deadline }.min() ?? .distantFuture
        let now = Instant.now
        let wait = next <= now ? Interval.zero : min(next - now, Self.idle)
        waker.wait(timeout: wait) {
            // A pause has taken the wake-up that told of these.
            readings.contains { $0.hasNews } || shared.withLock { !$0.added.isEmpty || $0.isStopping }
        }
    }
}
