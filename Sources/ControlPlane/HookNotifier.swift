import Logging
import Synchronization

/// Tells the backend what happened, in order, one call at a time, without anyone waiting for it.
///
/// The queue is bounded: what a slow backend does not take is dropped and counted.
final class HookNotifier: Sendable {
    enum Notification: Sendable {
        case stream(StreamStatusEvent, SessionFacts)
        case connection(SessionFacts, ended: SessionCloseReason?)
    }

    private let hooks: any BackendHooks
    private let timers: Timers
    private let timeout: Duration
    private let metrics: ControlMetrics
    private let queue: AsyncStream<Notification>
    private let continuation: AsyncStream<Notification>.Continuation
    private let isRunning = Atomic(false)
    private let drained = Gate()

    init(hooks: any BackendHooks, configuration: ControlConfiguration, timers: Timers, metrics: ControlMetrics) {
        self.hooks = hooks
        self.timers = timers
        self.metrics = metrics
        timeout = configuration.hookTimeout
        (queue, continuation) = AsyncStream.makeStream(
            bufferingPolicy: .bufferingOldest(max(1, configuration.hookQueueLimit)))
    }

    func post(_ notification: Notification) {
        if case .dropped = continuation.yield(notification) { metrics.droppedNotifications.increment() }
    }

    /// Delivers until `finish()` was called and the queue is empty.
    func run() async {
        isRunning.store(true, ordering: .releasing)
        for await notification in queue {
            let hooks = hooks
            let delivered = await withDeadline(timers, timeout) {
                switch notification {
                case .stream(let event, let session): await hooks.streamStatus(event, session: session)
                case .connection(let session, let reason): await hooks.connectionStatus(session, ended: reason)
                }
                return true
            }
            if delivered == nil { metrics.hookTimeouts.increment() }
        }
        drained.open()
    }

    /// Takes no more; returns when the backend was told what was posted before.
    func finish() async {
        continuation.finish()
        if isRunning.load(ordering: .acquiring) { await drained.wait() }
    }
}
