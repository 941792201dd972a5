import FoundationEssentials
import Synchronization

/// Runs a load and measures it.
package struct LoadRunner<Media: MediaSource, Time: Clock>: Sendable where Time.Duration == Duration {
    /// Why a load cannot go on.
    struct Stopped: Error, CustomStringConvertible {
        let description: String
    }

    private let options: LoadPlanOptions
    private let signalling: any Signalling
    private let makeMedia: @Sendable () throws -> Media
    private let probe: ServerProbe?
    private let clock: Time
    private let progress: @Sendable (String) -> Void

    /// - Parameters:
    ///   - options: must have no `problems()`.
    ///   - makeMedia: called once for each repetition.
    ///   - probe: looks at the server.
    ///   - clock: for joins, stays and measurements; tests give one that they move.
    ///   - progress: gets lines for people.
    package init(
        options: LoadPlanOptions, signalling: any Signalling, probe: ServerProbe?, clock: Time = ContinuousClock(),
        progress: @escaping @Sendable (String) -> Void, makeMedia: @escaping @Sendable () throws -> Media
    ) {
        self.options = options
        self.signalling = signalling
        self.probe = probe
        self.clock = clock
        self.progress = progress
        self.makeMedia = makeMedia
    }

    /// Takes everything down again in bounded time, also when the task is cancelled: then the report says so and has
    /// what was measured until then.
    package func run(generator: String) async -> LoadReport {
        var report = LoadReport(
            startedAt: .now, generator: generator, options: options, machine: .current())
        var server = ServerDescription()
        server.processName = probe?.name
        server.version = await signalling.serverVersion()
        report.server = server
        do {
            for repetition in 0..<options.repeats {
                if options.repeats > 1 { progress("Repetition \(repetition + 1) of \(options.repeats)") }
                try await runOnce(repetition, &report)
            }
        } catch is CancellationError {
            report.isInterrupted = true
        } catch {
            // A cancelled join may fail in its own words.
            if Task.isCancelled { report.isInterrupted = true } else { report.problems.append("\(error)") }
        }
        await signalling.close()
        report.conclude()
        return report
    }

    private func runOnce(_ repetition: Int, _ report: inout LoadReport) async throws {
        let joining = Joining(options: options, signalling: signalling, media: try makeMedia(), clock: clock)
        let publishers = Crowd<Media.Client>()
        let players = Crowd<Media.Client>()
        let outcome: Result<Void, any Error>
        do {
            try await measure(repetition, joining, publishers, players, &report)
            outcome = .success(())
        } catch {
            outcome = .failure(error)
        }
        await shielded { [progress] in
            let isInTime = await joining.leave(players.removeAll() + publishers.removeAll(), within: teardownLimit)
            if !isInTime { progress("The server did not end all sessions within \(teardownLimit)") }
            joining.media.stop()
        }
        try outcome.get()
    }

    // MARK: Steps

    private func measure(
        _ repetition: Int, _ joining: Joining<Media, Time>, _ publishers: Crowd<Media.Client>,
        _ players: Crowd<Media.Client>, _ report: inout LoadReport
    ) async throws {
        // Later repetitions begin with a server that keeps memory of the ones before.
        if repetition == 0 { report.server?.residentAtStart = try probe?.residentBytes() }
        progress("\(options.publishers) publishers join")
        try await add(options.publishers, to: publishers) { index in
            try await joining.join(.publisher, stream: index)
        }
        let published = publishers.takeJoins()
        guard published.failures == 0 else {
            throw Stopped(
                description: "\(published.failures) of \(options.publishers) publishers could not join: "
                    + published.reasons.joined(separator: "; "))
        }
        if repetition == 0 { report.server?.residentWithPublishers = try probe?.residentBytes() }

        var asked = 0
        for load in options.players {
            let first = asked
            progress("\(load - first) players join, \(load) in all")
            let allowed = max(failuresAllowed, (load - first) / 10)
            try await add(load - first, to: players, unlessFailed: allowed) { [options] index in
                try await joining.join(.player(isMeasured: true), stream: (first + index) % options.publishers)
            }
            asked = load
            let joins = JoinReport(players.takeJoins())
            if joins.failed > 0 {
                let reasons = joins.reasons.joined(separator: "; ")
                report.problems.append("\(load) players: \(joins.failed) could not join: \(reasons)")
                guard joins.failed <= allowed else {
                    throw Stopped(description: "The load ends here: too many players could not join")
                }
            }
            try await Task.sleep(for: .seconds(options.warmUp), clock: clock)
            progress("Measuring for \(Text.number(options.duration)) s")
            report.steps.append(try await window(repetition, load, joins, joining, report.server))
            if let churn = report.steps.last?.churn, churn.joins.failed > 0 {
                report.problems.append(
                    "\(load) players: \(churn.joins.failed) of \(churn.started) passing players could not join: "
                        + churn.joins.reasons.joined(separator: "; "))
            }
            if let unmarked = report.steps.last?.window.unmarkedPlayers, unmarked > 0 {
                report.problems.append(
                    "\(load) players: \(unmarked) got media that were changed on the way; loss and delay are known only "
                        + "of servers that forward without re-encoding")
            }
            try checkLosses(load, publishers, players, &report)
        }
    }

    private func add(
        _ count: Int, to crowd: Crowd<Media.Client>, unlessFailed allowed: Int = 0,
        _ join: @escaping @Sendable (Int) async throws -> (Member<Media.Client>, JoinSample)
    ) async throws {
        try await paced(
            count: count, rate: options.ramp, limit: options.joinsInFlight, clock: clock,
            mayGoOn: { crowd.failures <= allowed }
        ) { index in
            do {
                let (member, sample) = try await join(index)
                crowd.add(member, sample)
            } catch {
                if !Task.isCancelled { crowd.count(failure: error) }
            }
        }
        try Task.checkCancellation()
    }

    private func window(
        _ repetition: Int, _ load: Int, _ joins: JoinReport, _ joining: Joining<Media, Time>,
        _ server: ServerDescription?
    ) async throws -> StepReport {
        let end = clock.now.advanced(by: .seconds(options.duration))
        async let churn = options.churn.asyncMap { try await runChurn($0, joining, until: end) }
        let usage = try probe?.begin()
        let cpuBefore = MachineClock.ownCPU()
        await joining.media.beginWindow()
        try await Task.sleep(for: .seconds(options.duration), clock: clock)
        let used = try usage?.end()
        let cpu = Double(MachineClock.ownCPU() - cpuBefore) / 1e9
        let window = await joining.media.endWindow()
        try Task.checkCancellation()
        let resident = try probe?.residentBytes()
        let churned = try await churn
        return StepReport(
            repetition: repetition, players: load, joins: joins, window: window, serverUsage: used,
            residentBytes: resident, generatorCPUSeconds: cpu, churn: churned,
            figures: StepFigures(
                players: load, window: window, joins: joins, churn: churned, usage: used, resident: resident,
                before: (server?.residentWithPublishers, server?.residentAtStart), generatorCPUSeconds: cpu,
                threads: options.threads))
    }

    /// Players that are not measured come and go until `end`; then all leave.
    private func runChurn(
        _ churn: LoadPlanOptions.Churn, _ joining: Joining<Media, Time>, until end: Time.Instant
    ) async throws -> ChurnReport {
        let log = Mutex(JoinLog())
        let count = Int((churn.joinsPerSecond * options.duration).rounded())
        let (started, heldBack) = try await paced(
            count: count, rate: churn.joinsPerSecond, limit: churn.atMost, clock: clock, until: end
        ) { [options, clock] index in
            do {
                let (member, sample) = try await joining.join(
                    .player(isMeasured: false), stream: index % options.publishers)
                log.withLock { $0.samples.append(sample) }
                // Cancelled: it leaves earlier.
                try? await Task.sleep(
                    until: min(clock.now.advanced(by: .seconds(churn.staySeconds)), end), clock: clock)
                await shielded { await joining.leave(member) }
            } catch {
                if !Task.isCancelled { log.withLock { $0.add(failure: "\(error)") } }
            }
        }
        return ChurnReport(joins: JoinReport(log.withLock(\.self)), started: started, heldBack: heldBack)
    }

    /// Clients that ended by themselves: the load was smaller than asked.
    private func checkLosses(
        _ load: Int, _ publishers: Crowd<Media.Client>, _ players: Crowd<Media.Client>, _ report: inout LoadReport
    ) throws {
        let ended = (publishers.members + players.members).compactMap(\.client.endReason)
        if let first = ended.first {
            report.problems.append("\(load) players: \(ended.count) clients ended by themselves, the first: \(first)")
        }
        let lost = signalling.lostSessions
        if lost.count > 0 {
            report.problems.append(
                "\(load) players: the server ended \(lost.count) sessions: \(lost.reasons.joined(separator: "; "))")
        }
        guard ended.count <= max(failuresAllowed, load / 10) else {
            throw Stopped(description: "The load ends here: too many clients have ended")
        }
    }
}

/// Joins that may fail before the load is given up; of large loads a tenth.
private let failuresAllowed = 10
/// For telling the server that all is over.
private let teardownLimit = Duration.seconds(20)

extension Optional where Wrapped: Sendable {
    fileprivate func asyncMap<Result: Sendable>(
        _ transform: @Sendable (Wrapped) async throws -> Result
    ) async rethrows -> Result? {
        guard let self else { return nil }
        return try await transform(self)
    }
}
