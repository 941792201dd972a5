import Synchronization

/// The clock as the control plane uses it: time since its own start. Tests pass a clock that they advance by hand.
package struct Timers: Sendable {
    private let readNow: @Sendable () -> Duration
    private let sleepUntil: @Sendable (Duration) async throws -> Void

    package init<C: Clock>(_ clock: C) where C.Duration == Duration {
        let start = clock.now
        readNow = { start.duration(to: clock.now) }
        sleepUntil = { try await clock.sleep(until: start.advanced(by: $0), tolerance: nil) }
    }

    package var now: Duration { readNow() }

    /// Returns false if the task was cancelled before that time.
    package func sleep(until time: Duration) async -> Bool {
        do {
            try await sleepUntil(time)
            return !Task.isCancelled
        } catch {
            return false
        }
    }
}

/// Waits for `operation`, but not longer than `limit` and not after the waiting task was cancelled; then nil.
///
/// An operation that does not heed its cancellation goes on by itself: nobody waits for it, and what it returns in
/// the end is given to `late`, which must undo it.
package func withDeadline<Value: Sendable>(
    _ timers: Timers, _ limit: Duration, late: (@Sendable (Value) -> Void)? = nil,
    _ operation: @escaping @Sendable () async -> Value
) async -> Value? {
    let first = Outcome<Value?>()
    let deadline = timers.now + limit
    let work = Task {
        let value = await operation()
        if !first.settle(value) { late?(value) }
    }
    let alarm = Task {
        if await timers.sleep(until: deadline), first.settle(nil) { work.cancel() }
    }
    let outcome = await withTaskCancellationHandler {
        await first.wait()
    } onCancel: {
        if first.settle(nil) { work.cancel() }
    }
    alarm.cancel()
    return outcome
}

/// A value that is set once and waited for by one task.
package final class Outcome<Value: Sendable>: Sendable {
    private enum State {
        case open
        case awaited(CheckedContinuation<Value, Never>)
        case settled(Value)
    }

    private let state = Mutex<State>(.open)

    package init() {}

    /// Returns false if there was an outcome before.
    @discardableResult
    package func settle(_ value: Value) -> Bool {
        let (isFirst, waiter) = state.withLock { state -> (Bool, CheckedContinuation<Value, Never>?) in
            switch state {
            case .settled: return (false, nil)
            case .open:
                state = .settled(value)
                return (true, nil)
            case .awaited(let continuation):
                state = .settled(value)
                return (true, continuation)
            }
        }
        waiter?.resume(returning: value)
        return isFirst
    }

    package func wait() async -> Value {
        await withCheckedContinuation { continuation in
            let settled = state.withLock { state -> Value? in
                if case .settled(let value) = state { return .some(value) }
                state = .awaited(continuation)
                return nil
            }
            if let settled { continuation.resume(returning: settled) }
        }
    }
}
