import Glibc
import LoadGenerator
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(5))) struct LoadRunnerTests {
    /// Times and rates are powers of two, which a `Double` of seconds holds exactly: tests wait for those very instants.
    private func options(_ change: (inout LoadPlanOptions) -> Void = { _ in }) -> LoadPlanOptions {
        var options = LoadPlanOptions()
        options.publishers = 3
        options.players = [4, 10]
        options.ramp = .infinity
        options.warmUp = 0
        options.duration = 0.375
        change(&options)
        return options
    }

    /// - Parameter clock: the default goes on by itself where the load only waits.
    private func run(
        _ options: LoadPlanOptions, _ signalling: FakeSignalling, _ media: FakeMedia, probe: ServerProbe? = nil,
        clock: ManualClock = ManualClock(skipping: .seconds(1))
    ) async -> LoadReport {
        await LoadRunner(
            options: options, signalling: signalling, probe: probe, clock: clock, progress: { _ in }
        ) { media }.run(generator: "test")
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
        let names = signalling.state.value.names
        #expect(names.count == 13)
        #expect(Set(names.prefix(3)) == ["publish bench-0", "publish bench-1", "publish bench-2"])
        #expect(names.count { $0 == "play bench-0" } == 4)
        #expect(names.count { $0 == "play bench-1" } == 3)
        #expect(report.server?.version == "Fake 1")
        expectAllGone(signalling, media)
    }

    @Test func noMoreJoinsThanAllowedAreUnderWay() async throws {
        let (publishers, players, atOnce) = (3, 40, 5)
        let (signalling, media) = (FakeSignalling(answered: publishers), FakeMedia())
        let load = Task {
            await run(
                options {
                    $0.players = [players]
                    $0.joinsInFlight = atOnce
                }, signalling, media)
        }
        for answered in publishers..<(publishers + players) {
            try await signalling.wait(requests: min(answered + atOnce, publishers + players))
            signalling.answered.update { $0 = answered + 1 }
        }
        #expect(await load.value.isGood)
        #expect(signalling.mostAtOnce == atOnce)
    }

    @Test func rampSpreadsTheJoins() async throws {
        let (signalling, clock) = (FakeSignalling(), ManualClock())
        let load = Task {
            await run(
                options {
                    $0.publishers = 1
                    $0.players = [21]
                    $0.ramp = 64
                }, signalling, FakeMedia(), clock: clock)
        }
        for joined in 1...20 {
            try await signalling.wait(requests: 1 + joined)
            let next = Duration.seconds(Double(joined) / 64)
            try await clock.sleeper(until: next)
            #expect(signalling.requests == 1 + joined)
            clock.advance(to: next)
        }
        let end = Duration.seconds(20.0 / 64 + 0.375)
        try await clock.sleeper(until: end)
        #expect(signalling.requests == 1 + 21)
        clock.advance(to: end)
        #expect(await load.value.isGood)
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
        signalling.state.update { $0.lost.add("gone") }
        let report = await run(options { $0.players = [4] }, signalling, media)
        #expect(report.problems == ["4 players: the server ended 1 sessions: gone"])
    }

    /// Such a load would pass for one of which everything was lost.
    @Test func mediaWithoutMarksAreAProblem() async {
        let (signalling, media) = (FakeSignalling(), FakeMedia { .sample(players: $0, lost: 1_000, unmarked: 3) })
        let report = await run(options { $0.players = [4] }, signalling, media)
        #expect(
            report.problems == [
                "4 players: 3 got media that were changed on the way; loss and delay are known only of servers that "
                    + "forward without re-encoding"
            ])
        #expect(!report.isGood && report.steps.count == 1)
        expectAllGone(signalling, media)
    }

    @Test func churnIsBoundedAndNotMeasured() async throws {
        let (signalling, media, clock) = (FakeSignalling(), FakeMedia(), ManualClock())
        let load = Task {
            await run(
                options {
                    $0.players = [4]
                    $0.churn = LoadPlanOptions.Churn(joinsPerSecond: 256, staySeconds: 0.125, atMost: 6)
                }, signalling, media, clock: clock)
        }
        // One after the other until six are there; from then on whoever leaves makes room for the next. The third six
        // leave with the end of the window, with which the load waits too.
        let times = (0...6).map { Duration.seconds(Double($0) / 256) }
        let (stay, end) = (Duration.seconds(0.125), Duration.seconds(0.375))
        for index in 0..<6 {
            clock.advance(to: times[index])
            try await clock.sleeper(until: times[index] + stay)
            try await clock.sleeper(until: times[index + 1])
        }
        clock.advance(to: times[6])
        for index in 0..<6 {
            clock.advance(to: times[index] + stay)
            try await clock.sleeper(until: times[index] + stay * 2)
        }
        for index in 0..<6 {
            clock.advance(to: times[index] + stay * 2)
            try await clock.sleepers(1 + index + 1, until: end)
        }
        clock.advance(to: end)
        let report = await load.value
        #expect(report.problems == [])
        let step = try #require(report.steps.first)
        let churn = try #require(step.churn)
        #expect(churn.started == 18)
        #expect(churn.heldBack == 12, "all but the first six")
        #expect(churn.joins.succeeded == churn.started && churn.joins.failed == 0)
        #expect(step.window.players == 4 && step.joins.succeeded == 4)
        #expect(media.mostPlaying == 4 + 6)
        #expect(step.figures.churnJoinP99 != nil)
        expectAllGone(signalling, media)
    }

    @Test func failuresOfTheChurnAreAProblem() async throws {
        let (signalling, media, clock) = (FakeSignalling { $0 >= 7 }, FakeMedia(), ManualClock())
        let load = Task {
            await run(
                options {
                    $0.players = [4]
                    $0.churn = LoadPlanOptions.Churn(joinsPerSecond: 8, staySeconds: 1, atMost: 6)
                }, signalling, media, clock: clock)
        }
        for asked in 1...3 {
            try await signalling.wait(requests: 7 + asked)
            let next = Duration.seconds(0.125 * Double(asked))
            try await clock.sleeper(until: next)
            clock.advance(to: next)
        }
        let report = await load.value
        #expect(report.problems == ["4 players: 3 of 3 passing players could not join: refused"])
        #expect(!report.isGood)
        expectAllGone(signalling, media)
    }

    @Test func interruptionKeepsWhatWasMeasuredAndCleansUp() async throws {
        // Players of the second step never get an answer.
        let media = FakeMedia()
        let signalling = FakeSignalling(hangsFrom: 7)
        let load = Task { await run(options(), signalling, media) }
        try await signalling.wait(requests: 8)
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
        try await signalling.wait(requests: 11)
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
