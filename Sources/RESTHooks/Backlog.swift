import Synchronization

/// What all sessions of one application have to tell its backend, oldest first, bounded.
///
/// The events themselves are in the queues of their sessions; here are their tickets. Beyond the limit the oldest is
/// dropped wherever it waits: first those of low rank (`StreamEvent`, `pushLogs`, `ErrorEvent`), then any.
final class Backlog: Sendable {
    /// One event that waits or is being sent.
    final class Ticket: Sendable {
        let isLow: Bool
        private let queue: WeakQueue
        private let phase = Atomic(Phase.waiting)

        enum Phase: UInt8, AtomicRepresentable { case waiting, taken, gone }

        init(isLow: Bool, queue: any BacklogOwner) {
            self.isLow = isLow
            self.queue = WeakQueue(queue)
        }

        /// True for exactly one caller: the event is sent, or dropped, by that one.
        func take() -> Bool {
            phase.compareExchange(expected: .waiting, desired: .taken, ordering: .acquiringAndReleasing).exchanged
        }

        var isWaiting: Bool { phase.load(ordering: .acquiring) == .waiting }

        fileprivate func finish() -> Bool { phase.exchange(.gone, ordering: .acquiringAndReleasing) != .gone }

        fileprivate func drop() { queue.owner?.dropTaken(self) }
    }

    private struct WeakQueue: Sendable {
        weak let owner: (any BacklogOwner)?
        init(_ owner: any BacklogOwner) { self.owner = owner }
    }

    /// Tickets in order; those no longer waiting are swept out now and then.
    private struct Line {
        var tickets: [Ticket] = []
        var head = 0

        mutating func append(_ ticket: Ticket, live: Int) {
            tickets.append(ticket)
            if tickets.count - head > 2 * live + Backlog.slack {
                tickets = tickets[head...].filter(\.isWaiting)
                head = 0
            }
        }

        mutating func takeOldest() -> Ticket? {
            while head < tickets.count {
                let ticket = tickets[head]
                head += 1
                if ticket.take() { return ticket }
            }
            tickets = []
            head = 0
            return nil
        }
    }

    private struct State {
        var low = Line()
        var normal = Line()
        var live = 0
        var empty: [CheckedContinuation<Void, Never>] = []
    }

    private static let slack = 64

    private let state = Mutex(State())
    private let limit: Int

    init(limit: Int) { self.limit = max(1, limit) }

    /// Takes an event in and drops what is too much, perhaps the event itself.
    func add(_ ticket: Ticket) {
        let victims = state.withLock { state -> [Ticket] in
            state.live += 1
            let live = state.live
            if ticket.isLow { state.low.append(ticket, live: live) } else { state.normal.append(ticket, live: live) }
            var victims: [Ticket] = []
            while state.live - victims.count > limit,
                let victim = state.low.takeOldest() ?? state.normal.takeOldest()
            {
                victims.append(victim)
            }
            return victims
        }
        for victim in victims { victim.drop() }
    }

    /// The event was delivered, dropped or given up; each `add` needs one of these.
    func finish(_ ticket: Ticket) {
        guard ticket.finish() else { return }
        let waiting = state.withLock { state -> [CheckedContinuation<Void, Never>] in
            state.live -= 1
            guard state.live == 0 else { return [] }
            defer { state.empty = [] }
            return state.empty
        }
        for continuation in waiting { continuation.resume() }
    }

    /// Events that wait or are being sent.
    var count: Int { state.withLock { $0.live } }

    /// Returns when nothing waits any more and nothing is on its way.
    func waitUntilEmpty() async {
        await withCheckedContinuation { continuation in
            let isEmpty = state.withLock { state in
                if state.live == 0 { return true }
                state.empty.append(continuation)
                return false
            }
            if isEmpty { continuation.resume() }
        }
    }
}

/// Who holds the events of tickets.
protocol BacklogOwner: AnyObject, Sendable {
    /// Forgets the event of a ticket that somebody else has taken, and counts it as dropped.
    func dropTaken(_ ticket: Backlog.Ticket)
}
