import Synchronization

/// Opened once; waiters pass when it is open or when their task is cancelled.
package final class Gate: Sendable {
    private struct State {
        var isOpen = false
        var lastTicket = 0
        var waiters: [Int: CheckedContinuation<Void, Never>] = [:]
        /// Tickets whose cancellation came before they began to wait.
        var cancelled: Set<Int> = []
    }

    private let state = Mutex(State())

    package init() {}

    package func open() {
        let waiters = state.withLock { state in
            state.isOpen = true
            defer { state.waiters = [:] }
            return state.waiters.values.map { $0 }
        }
        for waiter in waiters { waiter.resume() }
    }

    package func wait() async {
        let ticket = state.withLock { state in
            state.lastTicket += 1
            return state.lastTicket
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let passes = state.withLock { state in
                    if state.isOpen || state.cancelled.remove(ticket) != nil { return true }
                    state.waiters[ticket] = continuation
                    return false
                }
                if passes { continuation.resume() }
            }
        } onCancel: {
            let waiter = state.withLock { state in
                if let waiter = state.waiters.removeValue(forKey: ticket) { return Optional(waiter) }
                if !state.isOpen { state.cancelled.insert(ticket) }
                return nil
            }
            waiter?.resume()
        }
    }
}
