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

    /// What one more player of that publication is refused for.
    func refusal(ofPlayer publication: StreamRegistry.Publication) -> Refusal? {
        if players >= limits.players { return .limit(.players) }
        if publication.players.count + publication.viewers >= limits.playersPerStream {
            return .limit(.playersPerStream)
        }
        return load.refusal(limits).map { .limit($0) }
    }
}

/// Players that are no session's.
extension StreamRegistry {
    /// Returns the publisher. Each success needs one `releaseViewer` in the end.
    func claimViewer(of name: String) -> Result<PeerID, Refusal> {
        let result = state.withLock { state -> Result<PeerID, Refusal> in
            if state.isDraining { return .failure(.shuttingDown) }
            if state.isClosed { return .failure(.draining) }
            guard let publication = state.publications[name], !publication.isRetired else {
                return .failure(.text(.streamNotFound))
            }
            if publication.liveSince == nil { return .failure(.text(.publishStreamNotReady)) }
            if let refusal = state.refusal(ofPlayer: publication) { return .failure(refusal) }
            state.players += 1
            state.load.admitPlayer()
            state.publications[name]?.viewers += 1
            return .success(publication.peer)
        }
        if case .success = result { metrics.viewers.add(1) }
        return result
    }

    func releaseViewer(of name: String, publisher: PeerID) {
        state.withLock { state in
            state.players -= 1
            guard state.publications[name]?.peer == publisher else { return }
            state.publications[name]?.viewers -= 1
        }
        metrics.viewers.add(-1)
    }
}
