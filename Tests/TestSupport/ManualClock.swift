/// A clock that only moves when told.
package final class ManualClock: Clock, Sendable {
    package struct Instant: InstantProtocol {
        package var offset: Duration

        package func advanced(by duration: Duration) -> Self { Self(offset: offset + duration) }
        package func duration(to other: Self) -> Duration { other.offset - offset }
        package static func < (lhs: Self, rhs: Self) -> Bool { lhs.offset < rhs.offset }
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

        /// Takes out who sleeps no longer than until now, the earliest first.
        mutating func takeDue() -> [Sleeper] {
            let due = sleepers.filter { $0.value.until <= now }
            for ticket in due.keys { sleepers[ticket] = nil }
            return due.values.sorted { $0.until < $1.until }
        }
    }

    private let state = Watched(State())
    private let skipped: Duration

    /// - Parameter skipped: a sleep that would take at most this long ends at once, and it is that much later: for
    ///   tests of what happens one after the other, whenever that is.
    package init(skipping skipped: Duration = .zero) { self.skipped = skipped }

    package var now: Instant { Instant(offset: state.value.now) }
    package var minimumResolution: Duration { .nanoseconds(1) }

    package func sleep(until deadline: Instant, tolerance: Duration?) async throws {
        let ticket = state.update { state in
            state.lastTicket += 1
            return state.lastTicket
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let due = state.update { [skipped] state -> [Sleeper]? in
                    if state.cancelled.remove(ticket) != nil { return nil }
                    state.sleepers[ticket] = Sleeper(until: deadline.offset, continuation: continuation)
                    if deadline.offset - state.now <= skipped { state.now = max(state.now, deadline.offset) }
                    return state.takeDue()
                }
                guard let due else { return continuation.resume(throwing: CancellationError()) }
                for sleeper in due { sleeper.continuation.resume() }
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

    package func advance(by duration: Duration) {
        let due = state.update { state in
            state.now += duration
            return state.takeDue()
        }
        for sleeper in due { sleeper.continuation.resume() }
    }

    /// To this time since the start.
    package func advance(to time: Duration) { advance(by: time - now.offset) }

    /// Returns when someone sleeps until that time since the start.
    package func sleeper(until time: Duration) async throws { try await sleepers(1, until: time) }

    /// Returns when that many sleep until that time since the start.
    package func sleepers(_ count: Int, until time: Duration) async throws {
        try await state.wait { $0.sleepers.values.count { $0.until == time } >= count }
    }
}
