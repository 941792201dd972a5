@preconcurrency import Dispatch
import Glibc
import Synchronization

/// SIGTERM and SIGINT: the first asks the program to end in order, the second ends the process at once.
package final class SignalWatch: Sendable {
    private let signals: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation
    private let sources: [any DispatchSourceSignal]
    private let seenOne = Atomic<Bool>(false)

    /// Whether the first signal has come.
    var haveCome: Bool { seenOne.load(ordering: .relaxed) }

    package init() {
        let (signals, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingOldest(1))
        self.signals = signals
        self.continuation = continuation
        let queue = DispatchQueue(label: "weir.signals")
        // Both sources report on one serial queue, which guards the count.
        nonisolated(unsafe) var seen = 0
        sources = [SIGTERM, SIGINT].map { number in
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
        signal(SIGPIPE, SIG_IGN)
    }

    /// Waits for the first signal; `false` when the task was cancelled or the watch stopped.
    package func first() async -> Bool {
        for await _ in signals {
            seenOne.store(true, ordering: .relaxed)
            return true
        }
        return false
    }

    package func stop() {
        continuation.finish()
        for source in sources { source.cancel() }
    }
}
