import Glibc
import LoadGenerator
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(1))) struct LoadRunnerTests {
    private func options(_ change: (inout LoadPlanOptions) -> Void = { _ in }) -> LoadPlanOptions {
        var options = LoadPlanOptions()
        options.publishers = 3
        options.players = [4, 10]
        options.ramp = 1_000
        options.warmUp = 0
        options.duration = 0.05
        change(&options)
        return options
    }

    private func run(
        _ options: LoadPlanOptions, _ signalling: FakeSignalling, _ media: FakeMedia, probe: ServerProbe? = nil
    ) async -> LoadReport {
        await LoadRunner(options: options, signalling: signalling, probe: probe, progress: { _ in }) { media }
            .run(generator: "test")
    }

    /// Nothing is left: sessions, clients, threads, connections.
    private func expectAllGone(
        _ signalling: FakeSignalling, _ media: FakeMedia, at place: SourceLocation = #_sourceLocation
    ) {
        #expect(signalling.openSessions == 0, sourceLocation: place)
        #expect(signalling.isClosed, sourceLocation: place)
        #expect(media.isAllGone, sourceLocation: place)
    }

    @Test func stepsAddPlayersOverAllStreams() async {
        let (signalling, media) = (FakeSignalling(), FakeMedia())
        let report = await run(options(), signalling, media)
        #expect(report.problems == [] && report.isGood)
        #expect(report.steps.map(\.players) == [4, 10])
        #expect(report.steps.map(\.window.players) == [4, 10])
        #expect(report.steps.map(\.joins.succeeded) == [4, 6])
        let names = signalling.state.withLock(\.names)
        #expect(names.count == 13)
        #expect(Set(names.prefix(3)) == ["publish bench-0", "publish bench-1", "publish bench-2"])
        #expect(names.count { $0 == "play bench-0" } == 4)
        #expect(names.count { $0 == "play bench-1" } == 3)
        #expect(report.server?.version == "Fake 1")
        expectAllGone(signalling, media)
    }

    @Test func noMoreJoinsThanAllowedAreUnderWay() async {
        let (signalling, media) = (FakeSignalling(delay: .milliseconds(5)), FakeMedia())
        let report = await run(
            options {
                $0.players = [40]
                $0.joinsInFlight = 5
            }, signalling, media)
        #expect(report.isGood)
        #expect((2...5).contains(signalling.mostAtOnce))
    }

    @Test func rampSpreadsTheJoins() async {
        let begin = ContinuousClock.now
        let report = await run(
            options {
                $0.publishers = 1
                $0.players = [21]
                $0.ramp = 100
            }, FakeSignalling(), FakeMedia())
        #expect(report.isGood)
        #expect(ContinuousClock.now - begin >= .milliseconds(200))
    }

    @Test func repetitionsAreMeasuredEach() async {
        let (signalling, media) = (FakeSignalling(), FakeMedia())
        let report = await run(
            options {
                $0.players = [2]
                $0.repeats = 3
            }, signalling, media)
        #expect(report.steps.map(\.repetition) == [0, 1, 2])
        #expect(report.medians.map(\.players) == [2])
        expectAllGone(signalling, media)
    }

    @Test func publisherThatFailsEndsTheLoad() async {
        let (signalling, media) = (FakeSignalling { $0 == 1 }, FakeMedia())
        let report = await run(options(), signalling, media)
        #expect(report.steps.isEmpty && !report.isGood)
        #expect(report.problems == ["1 of 3 publishers could not join: refused"])
        expectAllGone(signalling, media)
    }

    @Test func someFailedPlayersAreReportedAndTheLoadGoesOn() async {
        let (signalling, media) = (FakeSignalling { $0 == 4 || $0 == 5 }, FakeMedia())
        let report = await run(options(), signalling, media)
        #expect(report.steps.count == 2 && !report.isGood)
        #expect(report.problems == ["4 players: 2 could not join: refused"])
        #expect(report.steps.first?.joins.failed == 2)
        expectAllGone(signalling, media)
    }

    @Test func manyFailedPlayersEndTheLoadSoon() async {
        let (signalling, media) = (FakeSignalling { $0 >= 3 }, FakeMedia())
        let report = await run(options { $0.players = [90] }, signalling, media)
        #expect(report.steps.isEmpty)
        #expect(report.problems.last == "The load ends here: too many players could not join")
        #expect(signalling.requests < 60)
        expectAllGone(signalling, media)
    }

    @Test func clientsThatEndAreAProblem() async {
        let (signalling, media) = (FakeSignalling(), FakeMedia(ends: true))
        let report = await run(options { $0.players = [4] }, signalling, media)
        #expect(report.problems == ["4 players: 4 clients ended by themselves, the first: the server fell silent"])
        expectAllGone(signalling, media)
    }

    @Test func sessionsThatTheServerEndsAreAProblem() async {
        let (signalling, media) = (FakeSignalling(), FakeMedia())
        signalling.state.withLock { $0.lost.add("gone") }
        let report = await run(options { $0.players = [4] }, signalling, media)
        #expect(report.problems == ["4 players: the server ended 1 sessions: gone"])
    }

    @Test func churnIsBoundedAndNotMeasured() async throws {
        let (signalling, media) = (FakeSignalling(), FakeMedia())
        let report = await run(
            options {
                $0.players = [4]
                $0.duration = 0.3
                $0.churn = LoadPlanOptions.Churn(joinsPerSecond: 200, staySeconds: 0.1, atMost: 6)
            }, signalling, media)
        #expect(report.problems == [])
        let step = try #require(report.steps.first)
        let churn = try #require(step.churn)
        #expect(churn.started > 6 && churn.started <= 60)
        #expect(churn.heldBack > 0)
        #expect(churn.joins.succeeded == churn.started && churn.joins.failed == 0)
        #expect(step.window.players == 4 && step.joins.succeeded == 4)
        #expect(media.mostPlaying <= 10)
        #expect(step.figures.churnJoinP99 != nil)
        expectAllGone(signalling, media)
    }

    @Test func failuresOfTheChurnAreAProblem() async {
        let (signalling, media) = (FakeSignalling { $0 >= 7 }, FakeMedia())
        let report = await run(
            options {
                $0.players = [4]
                $0.duration = 0.1
                $0.churn = LoadPlanOptions.Churn(joinsPerSecond: 50, staySeconds: 1, atMost: 6)
            }, signalling, media)
        #expect(report.problems.count == 1 && !report.isGood)
        #expect(report.problems.first?.contains("passing players could not join: refused") == true)
        expectAllGone(signalling, media)
    }

    @Test func interruptionKeepsWhatWasMeasuredAndCleansUp() async throws {
        // Players of the second step never get an answer.
        let media = FakeMedia()
        let signalling = FakeSignalling(hangsFrom: 7)
        let load = Task { await run(options(), signalling, media) }
        try await eventually("the second step begins") { signalling.requests > 7 }
        load.cancel()
        let report = await load.value
        #expect(report.steps.map(\.players) == [4])
        #expect(report.medians.map(\.players) == [4])
        #expect(report.isInterrupted && !report.isGood && report.problems == [])
        expectAllGone(signalling, media)
    }

    @Test func interruptionEndsJoinsUnderWay() async throws {
        let (signalling, media) = (FakeSignalling(), FakeMedia(hangs: true))
        let load = Task { await run(options { $0.players = [8] }, signalling, media) }
        try await eventually("players wait for media") { signalling.requests == 11 }
        load.cancel()
        let report = await load.value
        #expect(report.isInterrupted && !report.isGood && report.problems == [])
        expectAllGone(signalling, media)
    }

    @Test func ownProcessIsProbed() async throws {
        let probe = try ServerProbe(process: getpid())
        let report = await run(options { $0.players = [4] }, FakeSignalling(), FakeMedia(), probe: probe)
        let step = try #require(report.steps.first)
        #expect(step.serverUsage != nil && step.figures.cpuMicrosecondsPerPacket != nil)
        #expect((report.server?.residentAtStart ?? 0) > 1 << 20)
        #expect(step.figures.memoryPerPlayer != nil)
    }
}
