import Synchronization

/// State that tests can wait for.
final class Watched<Value: Sendable>: Sendable {
    private struct State {
        var value: Value
        var waiters: [(isMet: @Sendable (Value) -> Bool, continuation: CheckedContinuation<Value, Never>)] = []
    }

    private let state: Mutex<State>

    init(_ value: Value) { state = Mutex(State(value: value)) }

    var value: Value { state.withLock { $0.value } }

    @discardableResult
    func update<Result: Sendable>(_ body: @Sendable (inout Value) -> Result) -> Result {
        // The value does not leave the lock unless somebody waits for it: whoever comes next would have to copy it.
        let (result, met) = state.withLock { state in
            let result = body(&state.value)
            let waiters = state.waiters
            state.waiters = []
            var met: [(CheckedContinuation<Value, Never>, Value)] = []
            for waiter in waiters {
                if waiter.isMet(state.value) {
                    met.append((waiter.continuation, state.value))
                } else {
                    state.waiters.append(waiter)
                }
            }
            return (result, met)
        }
        for (continuation, value) in met { continuation.resume(returning: value) }
        return result
    }

    @discardableResult
    func wait(_ isMet: @escaping @Sendable (Value) -> Bool) async -> Value {
        await withCheckedContinuation { continuation in
            let value = state.withLock { state -> Value? in
                if isMet(state.value) { return state.value }
                state.waiters.append((isMet, continuation))
                return nil
            }
            if let value { continuation.resume(returning: value) }
        }
    }
}

/// Opened once.
struct Latch: Sendable {
    private let isOpen = Watched(false)
    func open() { isOpen.update { $0 = true } }
    func wait() async { await isOpen.wait { $0 } }
}

/// A clock that only moves when told.
final class ManualClock: Clock, Sendable {
    struct Instant: InstantProtocol {
        var offset: Duration
        func advanced(by duration: Duration) -> Self { Self(offset: offset + duration) }
        func duration(to other: Self) -> Duration { other.offset - offset }
        static func < (lhs: Self, rhs: Self) -> Bool { lhs.offset < rhs.offset }
    }

    private struct Sleeper: Sendable {
        let until: Duration
        let continuation: CheckedContinuation<Void, any Error>
    }

    private struct State: Sendable {
        var now = Duration.zero
        var lastTicket = 0
        var sleepers: [Int: Sleeper] = [:]
        var cancelled: Set<Int> = []
    }

    private let state = Watched(State())

    var now: Instant { Instant(offset: state.value.now) }
    var minimumResolution: Duration { .nanoseconds(1) }

    func sleep(until deadline: Instant, tolerance: Duration?) async throws {
        let ticket = state.update { state in
            state.lastTicket += 1
            return state.lastTicket
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let outcome = state.update { state -> Result<Void, any Error>? in
                    if state.cancelled.remove(ticket) != nil { return .failure(CancellationError()) }
                    if deadline.offset <= state.now { return .success(()) }
                    state.sleepers[ticket] = Sleeper(until: deadline.offset, continuation: continuation)
                    return nil
                }
                if let outcome { continuation.resume(with: outcome) }
            }
        } onCancel: {
            let sleeper = state.update { state -> Sleeper? in
                if let sleeper = state.sleepers.removeValue(forKey: ticket) { return sleeper }
                state.cancelled.insert(ticket)
                return nil
            }
            sleeper?.continuation.resume(throwing: CancellationError())
        }
    }

    func advance(by duration: Duration) {
        let due = state.update { state in
            state.now += duration
            let due = state.sleepers.filter { $0.value.until <= state.now }
            for ticket in due.keys { state.sleepers[ticket] = nil }
            return due.values.sorted { $0.until < $1.until }
        }
        for sleeper in due { sleeper.continuation.resume() }
    }

    /// Returns when so many sleep.
    func sleepers(_ count: Int) async { await state.wait { $0.sleepers.count >= count } }

    /// Returns when someone sleeps until that time since the start.
    func sleeper(until time: Duration) async {
        await state.wait { $0.sleepers.values.contains { $0.until == time } }
    }
}
