import Synchronization

/// So many at once; the others wait in the order in which they came.
///
/// A wait ends with a permit, with the cancellation of the waiting task (then it has none), or with `failWaiting`.
final class Permits: Sendable {
    private struct State {
        var free: Int
        var lastTicket = 0
        var order: [Int] = []
        var head = 0
        var waiters: [Int: CheckedContinuation<Bool, Never>] = [:]
        /// Tickets whose cancellation came before they began to wait.
        var cancelled: Set<Int> = []

        /// The waiter that came first.
        mutating func next() -> CheckedContinuation<Bool, Never>? {
            while head < order.count {
                let ticket = order[head]
                head += 1
                if let waiter = waiters.removeValue(forKey: ticket) {
                    compact()
                    return waiter
                }
            }
            compact()
            return nil
        }

        private mutating func compact() {
            guard head * 2 >= order.count, head > 0 else { return }
            order.removeFirst(head)
            head = 0
        }
    }

    private let state: Mutex<State>

    init(_ count: Int) { state = Mutex(State(free: max(1, count))) }

    /// A permit if one is free now.
    func tryAcquire() -> Bool {
        state.withLock { state in
            guard state.free > 0 else { return false }
            state.free -= 1
            return true
        }
    }

    /// True with a permit, which must be released; false without.
    func acquire() async -> Bool {
        if tryAcquire() { return true }
        let ticket = state.withLock { state in
            state.lastTicket += 1
            return state.lastTicket
        }
        // The handler has run, or never will, when the wait is over.
        defer { state.withLock { _ = $0.cancelled.remove(ticket) } }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let outcome = state.withLock { state -> Bool? in
                    if state.cancelled.remove(ticket) != nil { return false }
                    if state.free > 0 {
                        state.free -= 1
                        return true
                    }
                    state.waiters[ticket] = continuation
                    state.order.append(ticket)
                    return nil
                }
                if let outcome { continuation.resume(returning: outcome) }
            }
        } onCancel: {
            let waiter = state.withLock { state -> CheckedContinuation<Bool, Never>? in
                if let waiter = state.waiters.removeValue(forKey: ticket) { return waiter }
                state.cancelled.insert(ticket)
                return nil
            }
            waiter?.resume(returning: false)
        }
    }

    func release() {
        let next = state.withLock { state in
            let next = state.next()
            if next == nil { state.free += 1 }
            return next
        }
        next?.resume(returning: true)
    }

    /// Sends everybody away who waits now.
    func failWaiting() {
        let waiters = state.withLock { state in
            defer {
                state.waiters = [:]
                state.order = []
                state.head = 0
            }
            return Array(state.waiters.values)
        }
        for waiter in waiters { waiter.resume(returning: false) }
    }

    var waiting: Int { state.withLock { $0.waiters.count } }
}
