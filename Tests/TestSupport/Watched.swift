import Synchronization

/// State that tests can wait for.
package final class Watched<Value: Sendable>: Sendable {
    private struct Waiter {
        let isMet: @Sendable (Value) -> Bool
        let continuation: CheckedContinuation<Value, any Error>
    }

    private struct State {
        var value: Value
        var lastTicket = 0
        var waiters: [Int: Waiter] = [:]
        var cancelled: Set<Int> = []
    }

    private let state: Mutex<State>

    package init(_ value: Value) { state = Mutex(State(value: value)) }

    package var value: Value { state.withLock { $0.value } }

    @discardableResult
    package func update<Result: Sendable>(_ body: @Sendable (inout Value) -> Result) -> Result {
        // The value leaves the lock only for somebody who waits: whoever comes next would have to copy it.
        let (result, met) = state.withLock { state -> (Result, [(Waiter, Value)]) in
            let result = body(&state.value)
            guard !state.waiters.isEmpty else { return (result, []) }
            let value = state.value
            let met = state.waiters.filter { $0.value.isMet(value) }
            for ticket in met.keys { state.waiters[ticket] = nil }
            return (result, met.values.map { ($0, value) })
        }
        for (waiter, value) in met { waiter.continuation.resume(returning: value) }
        return result
    }

    /// Returns once the value is as wanted, with what it was then.
    /// - Throws: `CancellationError`, so that a test that waits in vain ends when its time is up.
    @discardableResult
    package func wait(_ isMet: @escaping @Sendable (Value) -> Bool) async throws -> Value {
        let ticket = state.withLock { state in
            state.lastTicket += 1
            return state.lastTicket
        }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let outcome = state.withLock { state -> Result<Value, any Error>? in
                    if state.cancelled.remove(ticket) != nil { return .failure(CancellationError()) }
                    if isMet(state.value) { return .success(state.value) }
                    state.waiters[ticket] = Waiter(isMet: isMet, continuation: continuation)
                    return nil
                }
                if let outcome { continuation.resume(with: outcome) }
            }
        } onCancel: {
            let waiter = state.withLock { state -> Waiter? in
                if let waiter = state.waiters.removeValue(forKey: ticket) { return waiter }
                state.cancelled.insert(ticket)
                return nil
            }
            waiter?.continuation.resume(throwing: CancellationError())
        }
    }
}

/// Opened once.
package struct Latch: Sendable {
    private let isOpen = Watched(false)

    package init() {}

    package func open() { isOpen.update { $0 = true } }

    /// Whatever becomes of the task that waits.
    package func wait() async {
        let isOpen = isOpen
        _ = try? await Task { try await isOpen.wait { $0 } }.value
    }
}
