/// What the operator sees and does: by REST, by signals, by monitoring.
extension ControlPlane {
    // MARK: Capacity

    /// Tells what the machine carries. Beyond `limits.packetRate` and `limits.cpu` nobody new is let in.
    package nonisolated func noteLoad(_ load: MachineLoad) { context.registry.noteLoad(load) }

    package nonisolated var capacity: CapacityReport { context.registry.capacity }

    /// From now on other limits hold. What is above them already stays.
    package nonisolated func replaceLimits(_ limits: ControlConfiguration.Limits) {
        context.registry.replaceLimits(limits)
        context.kept.setMaxSessions(limits.sessions)
    }

    /// While draining no session and no stream begins; live ones go on.
    package nonisolated func setDraining(_ isDraining: Bool) {
        guard context.registry.setClosed(isDraining) else { return }
        logger.notice(isDraining ? "Draining: nothing new is taken" : "Draining is over")
    }

    package nonisolated var isDraining: Bool { context.registry.isClosed }

    // MARK: Sessions and streams

    /// All open sessions of clients, sorted by id.
    package nonisolated func sessions() -> [ClientSession] { allSessions.filter { $0.facts.kind != .onDemand } }

    /// With those that publish what is made on demand.
    private nonisolated var allSessions: [ClientSession] { context.registry.sessions.sorted { $0.id < $1.id } }

    /// Published and played streams that are wanted, in the order of their sessions.
    /// - Parameter statistics: with the counters of their media connections.
    package nonisolated func streamReports(
        statistics: Bool = false, _ isWanted: (StreamReport) -> Bool = { _ in true }
    ) async -> [StreamReport] {
        var wanted: [StreamReport] = []
        for session in allSessions {
            wanted += await session.reports(statistics: statistics).filter(isWanted)
        }
        return wanted
    }

    /// Ends streams (`Stopped by rest /terminate`), publishers first, so that the backend hears of them before it hears
    /// of their players. Returns how many there still were.
    package nonisolated func terminate(_ reports: [StreamReport]) async -> Int {
        var ended = 0
        for report in reports.filter(\.state.published) + reports.filter({ !$0.state.published }) {
            let session = context.registry.session(report.session.id)
            // The end of a publisher has ended its players already.
            let isOver = await session?.terminate(report.state.mediaSessionId, report.peer) != true
            if !isOver || !report.state.published { ended += 1 }
        }
        return ended
    }

    package enum StreamEventOutcome: Hashable, Sendable {
        case noStream
        /// The payload is longer than `ControlConfiguration.eventPayloadLimit`.
        case tooLong
        case sent(players: Int)
    }

    /// Sends a stream event `data` to the players of a stream, as its publisher could.
    package nonisolated func sendStreamEvent(to name: String, payload: JSONText) async -> StreamEventOutcome {
        guard let players = context.registry.livePlayers(of: name) else { return .noStream }
        guard payload.text.utf8.count <= context.configuration.eventPayloadLimit else { return .tooLong }
        for player in players { await player.session.deliver(.data, payload: payload, to: player) }
        return .sent(players: players.count)
    }
}
