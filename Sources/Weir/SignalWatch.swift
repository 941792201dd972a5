@preconcurrency import Dispatch
import Glibc
import Synchronization

/// SIGTERM and SIGINT: the first asks the program to end in order, the second ends the process at once. SIGHUP asks it to
/// read its configuration again.
package final class SignalWatch: Sendable {
    private let signals: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation
    /// One element for each SIGHUP, or for several that come while one is being served.
    let reloads: AsyncStream<Void>
    private let reloadContinuation: AsyncStream<Void>.Continuation
    private let sources: [any DispatchSourceSignal]
    private let seenOne = Atomic<Bool>(false)
    private let seenAt = Mutex<ContinuousClock.Instant?>(nil)

    /// Whether the first signal has come.
    var haveCome: Bool { seenOne.load(ordering: .relaxed) }

    package init() {
        let (signals, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingOldest(1))
        self.signals = signals
        self.continuation = continuation
        let (reloads, reloadContinuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        self.reloads = reloads
        self.reloadContinuation = reloadContinuation
        let queue = DispatchQueue(label: "weir.signals")
        // Both sources report on one serial queue, which guards the count.
        nonisolated(unsafe) var seen = 0
        let ends: [any DispatchSourceSignal] = [SIGTERM, SIGINT].map { number in
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: queue)
            source.setEventHandler {
                seen += 1
                if seen > 1 { _exit(128 + number) }
                continuation.yield()
            }
            source.resume()
            return source
        }
        signal(SIGHUP, SIG_IGN)
        let hangUp = DispatchSource.makeSignalSource(signal: SIGHUP, queue: queue)
        hangUp.setEventHandler { reloadContinuation.yield() }
        hangUp.resume()
        sources = ends + [hangUp]
        signal(SIGPIPE, SIG_IGN)
    }

    /// Waits for the first signal; `false` when the task was cancelled or the watch stopped.
    package func first() async -> Bool {
        for await _ in signals {
            seenOne.store(true, ordering: .relaxed)
            seenAt.withLock { $0 = .now }
            return true
        }
        return false
    }

    /// That time after the first signal, or from now where none has come.
    func end(after timeout: Duration) -> ContinuousClock.Instant { (seenAt.withLock { $0 } ?? .now) + timeout }

    package func stop() {
        continuation.finish()
        reloadContinuation.finish()
        for source in sources { source.cancel() }
    }
}
