/// Whether a backend is worth a try: after some outages in a row nothing is sent for a while, then one call decides.
///
/// Only what says that the backend is down counts (`HookFailure.isOutage`): one that refuses everybody is up. A value;
/// time is an argument.
struct CircuitBreaker {
    struct Settings: Hashable, Sendable {
        /// Outages in a row that open it.
        var failures = 5
        /// How long it stays open the first time; doubled after each probe that fails …
        var firstWait: Duration = .seconds(1)
        /// … up to this.
        var maxWait: Duration = .seconds(5)
    }

    enum State: Hashable, Sendable {
        /// Calls go through; so many outages in a row were seen.
        case closed(failures: Int)
        /// Nothing goes through before that time.
        case open(until: Duration, wait: Duration)
        /// The next call is a probe, or one is on its way.
        case halfOpen(wait: Duration, isProbing: Bool)
    }

    enum Admission: Hashable, Sendable {
        case normal
        /// This call decides; its outcome must be recorded, or it must be abandoned.
        case probe
        case rejected
    }

    private(set) var state = State.closed(failures: 0)
    let settings: Settings

    init(_ settings: Settings = Settings()) { self.settings = settings }

    var isClosed: Bool {
        if case .closed = state { true } else { false }
    }

    mutating func admit(now: Duration) -> Admission {
        switch state {
        case .closed: return .normal
        case .open(let until, let wait):
            guard now >= until else { return .rejected }
            state = .halfOpen(wait: wait, isProbing: true)
            return .probe
        case .halfOpen(let wait, let isProbing):
            guard !isProbing else { return .rejected }
            state = .halfOpen(wait: wait, isProbing: true)
            return .probe
        }
    }

    /// What became of a call that was admitted. Late outcomes of calls from before it opened count for nothing.
    mutating func record(isOutage: Bool, _ admission: Admission, now: Duration) {
        switch (state, admission) {
        case (.halfOpen(let wait, _), .probe):
            let next = min(wait + wait, settings.maxWait)
            state = isOutage ? .open(until: now + next, wait: next) : .closed(failures: 0)
        case (.closed(let failures), _):
            if !isOutage {
                state = .closed(failures: 0)
            } else if failures + 1 < settings.failures {
                state = .closed(failures: failures + 1)
            } else {
                let wait = min(settings.firstWait, settings.maxWait)
                state = .open(until: now + wait, wait: wait)
            }
        case (.open, _), (.halfOpen, _): break
        }
    }

    /// A probe that was never sent.
    mutating func abandon(_ admission: Admission) {
        if admission == .probe, case .halfOpen(let wait, _) = state { state = .halfOpen(wait: wait, isProbing: false) }
    }
}
