import FoundationEssentials
import LoadGenerator
import Testing

@Suite struct StepFiguresTests {
    private let usage = ServerUsage(
        seconds: 10, cpuSeconds: 2, userSeconds: 0.5, systemSeconds: 1.5, voluntarySwitches: 900,
        involuntarySwitches: 99, systemCalls: 99_900, whyNoSystemCalls: nil)
    private let joins = JoinReport(succeeded: 100, total: Percentiles([10, 20, 30]))

    private func figures(_ window: MediaWindow, usage: ServerUsage? = nil, threads: Int = 1) -> StepFigures {
        StepFigures(
            players: window.players, window: window, joins: joins, churn: nil, usage: usage, resident: 30 << 20,
            before: (players: 20 << 20, publishers: 10 << 20), generatorCPUSeconds: 6, threads: threads)
    }

    @Test func arithmeticIsRight() throws {
        // 100 players: 100,000 packets expected, 99,900 delivered in 10 s.
        let figures = figures(.sample(players: 100), usage: usage)
        func expect(_ value: Double?, _ expected: Double, at place: SourceLocation = #_sourceLocation) throws {
            let value = try #require(value, sourceLocation: place)
            #expect(abs(value - expected) < 1e-9 * max(1, expected), sourceLocation: place)
        }
        try expect(figures.packetsPerSecond, 9_990)
        try expect(figures.loss, 0.001)
        try expect(figures.worstLoss, 0.001)
        try expect(figures.cpuMicrosecondsPerPacket, 2e6 / 99_900)
        try expect(figures.cpuSecondsPerMillionPackets, 2 / 0.0999)
        try expect(figures.packetsPerCPUSecond, 49_950)
        try expect(figures.cores, 0.2)
        try expect(figures.memoryPerPlayer, Double(10 << 20) / 100)
        try expect(figures.memoryPerPlayerFromEmpty, Double(20 << 20) / 100)
        try expect(figures.voluntarySwitchesPerSecond, 90)
        try expect(figures.involuntarySwitchesPerSecond, 9.9)
        try expect(figures.switchesPerPacket, 0.01)
        try expect(figures.systemCallsPerSecond, 9_990)
        try expect(figures.systemCallsPerPacket, 1)
        try expect(figures.generatorCores, 0.6)
        try expect(figures.generatorThreadLoad, 0.5)
        try expect(figures.joinP50, 20)
        #expect(!figures.isGeneratorLimited)
    }

    @Test func nothingIsDividedByZero() {
        let figures = figures(.sample(players: 0), usage: usage)
        #expect(figures.loss == nil && figures.cpuMicrosecondsPerPacket == nil && figures.memoryPerPlayer == nil)
        #expect(figures.packetsPerCPUSecond == 0)
    }

    @Test func generatorAtItsLimitIsMarked() {
        #expect(figures(.sample(players: 1, drops: 1)).isGeneratorLimited)
        #expect(figures(.sample(players: 1, busy: 9.8)).isGeneratorLimited)
        #expect(!figures(.sample(players: 1, busy: 9.6)).isGeneratorLimited)
        #expect(!figures(.sample(players: 1, busy: 9.8), threads: 2).isGeneratorLimited)
    }

    @Test func mediansAreTakenOfEachFigure() {
        var all = (0..<3).map { _ in StepFigures(players: 7) }
        (all[0].loss, all[1].loss, all[2].loss) = (0.3, 0.1, 0.2)
        (all[0].cores, all[1].cores) = (1, 2)
        all[2].isGeneratorLimited = true
        let median = StepFigures.median(all)
        #expect(median.players == 7 && median.loss == 0.2 && median.cores == 1.5 && median.videoDelayP99 == nil)
        #expect(median.isGeneratorLimited)
    }

    @Test func percentilesAreNearestRanks() throws {
        let percentiles = try #require(Percentiles((1...200).map(Double.init).shuffled()))
        #expect(percentiles.p50 == 100 && percentiles.p90 == 180 && percentiles.p99 == 198 && percentiles.max == 200)
        #expect(Percentiles([5]) == Percentiles([5, 5]))
        #expect(Percentiles([]) == nil)
    }
}

@Suite struct LoadReportTests {
    /// Loads of 100, 200 and 400 players; the last one is bad.
    private func report(_ change: (inout LoadPlanOptions) -> Void = { _ in }) -> LoadReport {
        var options = LoadPlanOptions()
        options.players = [100, 200, 400]
        change(&options)
        var report = LoadReport(
            startedAt: Date(timeIntervalSince1970: 0), generator: "test", options: options,
            machine: MachineDescription(
                processor: "CPU <1> & \"2\"", cores: 2, usableCores: 2, kernel: "6.1", memoryBytes: 1 << 30))
        var server = ServerDescription()
        server.version = "Weir <test>"
        report.server = server
        let joins = JoinReport(succeeded: 100, total: Percentiles([10, 20]))
        let usage = ServerUsage(
            seconds: 10, cpuSeconds: 2, userSeconds: 1, systemSeconds: 1, voluntarySwitches: 10,
            involuntarySwitches: 0, systemCalls: nil, whyNoSystemCalls: "not permitted")
        for (players, p99, lost, drops) in [(100, 5.0, 0, 0), (200, 30.0, 1, 0), (400, 250.0, 20, 3)] {
            let window = MediaWindow.sample(players: players, p99: p99, lost: lost, drops: drops)
            report.steps.append(
                StepReport(
                    repetition: 0, players: players, joins: joins, window: window, serverUsage: usage,
                    residentBytes: nil, generatorCPUSeconds: 1, churn: nil,
                    figures: StepFigures(
                        players: players, window: window, joins: joins, churn: nil, usage: usage, resident: nil,
                        before: (nil, nil), generatorCPUSeconds: 1, threads: 1)))
        }
        report.conclude()
        return report
    }

    @Test func sustainedLoadIsTheLastGoodOne() {
        #expect(report().sustainedPlayers == 200)
        #expect(report().isGood)
    }

    @Test func missedBarsMakeTheReportBad() {
        let report = report {
            $0.limitLoss = 0.001
            $0.limitDelayP99 = 20
        }
        #expect(!report.isGood)
        #expect(
            report.missedLimits == [
                "200 players: delay p99 30.0 ms is over 20.0 ms",
                "400 players: loss 2.00 % is over 0.10 % (the generator was at its own limit)",
                "400 players: delay p99 250 ms is over 20.0 ms (the generator was at its own limit)",
            ])
    }

    @Test func barsThatHoldAreSilent() {
        #expect(report { $0.limitLoss = 0.03 }.isGood)
        #expect(report { $0.limitDelayP99 = 250 }.isGood)
    }

    @Test func documentIsReadBack() throws {
        let report = report { $0.churn = LoadPlanOptions.Churn(joinsPerSecond: 5, staySeconds: 1, atMost: 9) }
        let copy = try JSONDecoder().decode(LoadReport.self, from: Data(report.json().utf8))
        #expect(copy.options == report.options && copy.medians == report.medians && copy.machine == report.machine)
        #expect(copy.startedAt == "1970-01-01T00:00:00Z" && copy.format == LoadReport.currentFormat)
        #expect(copy.steps.map(\.window.packetsDelivered) == [100_000, 199_800, 392_000])
        #expect(try copy.json() == report.json())
    }

    @Test func tableIsAlignedAndSaysEverything() throws {
        let text = report().table()
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        let header = try #require(lines.firstIndex { $0.hasPrefix("players") })
        let rows = lines[header...(header + 3)]
        #expect(Set(rows.map(\.count)).count == 1, "rows of one width")
        #expect(rows.map { $0.prefix(7) } == ["players", "    100", "    200", "   400*"])
        #expect(rows[header + 2].contains("0.10 %") && rows[header + 2].contains("30.0"))
        #expect(text.contains("waits/s") && !text.contains("calls/s"), "what was not measured has no column")
        #expect(text.contains("System calls were not counted: not permitted"))
        #expect(text.contains("*) The generator was at its own limit"))
        #expect(text.contains("Served within 0.10 % loss and 100 ms (p99): 200 players"))
    }

    @Test func problemsAreInTheTable() {
        var report = report { $0.limitLoss = 0.001 }
        report.problems = ["it rained"]
        report.isInterrupted = true
        let text = report.table()
        #expect(text.contains("MISSED: 400 players: loss") && text.contains("PROBLEM: it rained"))
        #expect(text.contains("PROBLEM: The load was interrupted."))
    }

    @Test(arguments: [
        (0.0, "0"), (0.1234, "0.123"), (1.005, "1.00"), (9.999, "10.00"), (12.34, "12.3"), (1_234.5, "1235"),
        (.infinity, "-"),
    ])
    func numbersAreShort(_ value: Double, _ expected: String) { #expect(Text.number(value) == expected) }

    @Test func sharesNeverLookLikeNothing() {
        #expect(Text.percent(0) == "0 %" && Text.percent(1e-7) == "<0.001 %" && Text.percent(0.0004) == "0.040 %")
        #expect(Text.percent(0.5) == "50.0 %" && Text.fixed(-0.04, 1) == "0.0" && Text.fixed(-1.26, 1) == "-1.3")
    }
}

@Suite struct PlotTests {
    /// Checks that tags are closed in order and attributes are quoted; returns the names of all elements.
    private func elements(_ svg: String) throws -> [String] {
        var names: [String] = []
        var open: [String] = []
        var rest = svg[...]
        while let start = rest.firstIndex(of: "<") {
            let end = try #require(rest[start...].firstIndex(of: ">"), "a tag is closed")
            let tag = rest[rest.index(after: start)..<end]
            #expect(tag.count { $0 == "\"" } % 2 == 0, "\(tag)")
            if tag.hasPrefix("/") {
                #expect(open.popLast() == String(tag.dropFirst()))
            } else {
                let name = String(tag.prefix { $0 != " " && $0 != "/" })
                names.append(name)
                if !tag.hasSuffix("/") { open.append(name) }
            }
            rest = rest[rest.index(after: end)...]
        }
        #expect(open.isEmpty)
        return names
    }

    @Test func chartIsWellFormed() throws {
        let series = SVGChart.Series(name: "a < b & c", points: [(100, 1), (200, 30), (400, 2_500)])
        let chart = SVGChart(
            title: "T \"x\"", subtitle: "<s>", xLabel: "players",
            panels: [
                SVGChart.Panel(label: "delay", scale: .logarithmic, series: [series], limit: 100),
                SVGChart.Panel(label: "loss", scale: .linear, series: [series, series]),
            ])
        let text = chart.text()
        let names = try elements(text)
        #expect(names.count { $0 == "circle" } == 9)
        #expect(text.contains("a &lt; b &amp; c") && text.contains("T &quot;x&quot;") && text.contains("limit 100"))
        #expect(text.contains("prefers-color-scheme:dark"))
        #expect(!text.contains("nan") && !text.contains("inf"))
    }

    @Test func emptyAndSinglePointsCanBeDrawn() throws {
        for points in [[], [(x: 5.0, y: 0.0)], [(x: 0.0, y: Double.nan), (x: 1.0, y: .infinity)]] {
            for scale in [SVGChart.Scale.linear, .logarithmic] {
                let panel = SVGChart.Panel(
                    label: "y", scale: scale, series: [SVGChart.Series(name: "s", points: points)])
                let text = SVGChart(title: "t", subtitle: "", xLabel: "x", panels: [panel]).text()
                _ = try elements(text)
                #expect(!text.contains("nan") && !text.contains("inf") && !text.contains("\"-\""))
            }
        }
    }

    @Test func ticksAreRoundAndCoverTheValues() {
        let linear = Axis(values: [0, 437], scale: .linear, from: 0, to: 100)
        #expect(linear.ticks == [0, 100, 200, 300, 400, 500])
        #expect(linear.place(250) == 50)
        let logarithmic = Axis(values: [0.7, 42], scale: .logarithmic, from: 100, to: 0)
        #expect(logarithmic.ticks.map(Axis.label) == ["0.1", "1", "10", "100"])
        #expect(
            Axis(values: [1, 9], scale: .logarithmic, from: 0, to: 1).ticks.map(Axis.label) == ["1", "2", "5", "10"])
        #expect(abs(logarithmic.place(100)) < 1e-9 && abs(logarithmic.place(0.1) - 100) < 1e-9)
        #expect(logarithmic.place(0) == 100)
    }
}
