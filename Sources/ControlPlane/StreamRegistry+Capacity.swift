import Synchronization

/// Limits and load.
extension StreamRegistry {
    var limits: ControlConfiguration.Limits { state.withLock { $0.limits } }

    func replaceLimits(_ limits: ControlConfiguration.Limits) { state.withLock { $0.limits = limits } }

    func noteLoad(_ load: MachineLoad) { state.withLock { $0.load.note(load, players: $0.players) } }

    var isClosed: Bool { state.withLock { $0.isClosed } }

    /// False if it was so before.
    func setClosed(_ isClosed: Bool) -> Bool {
        state.withLock { state in
            defer { state.isClosed = isClosed }
            return state.isClosed != isClosed
        }
    }

    var capacity: CapacityReport {
        state.withLock { state in
            let sessions = state.sessions.values.count { $0.facts.kind != .onDemand }
            var report = CapacityReport(
                verdict: .accepting, reason: nil, limits: state.limits, sessions: sessions,
                streams: state.publications.count, players: state.players, load: state.load.measured)
            if state.isDraining {
                (report.verdict, report.reason) = (.ending, SignallingError.shuttingDown.info)
            } else if state.isClosed {
                (report.verdict, report.reason) = (.draining, SignallingError.draining.info)
            } else if let reason = state.fullness {
                (report.verdict, report.reason) = (.full, reason)
            }
            return report
        }
    }
}

extension StreamRegistry.State {
    /// What a new session with a player would be refused for.
    fileprivate var fullness: String? {
        if admitted >= limits.sessions { return SignallingError.tooManySessions.info }
        if players >= limits.players { return Refusal.Limit.players.rawValue }
        return load.refusal(limits)?.rawValue
    }
}
