import FoundationEssentials

/// What a load showed, as one JSON document.
package struct LoadReport: Sendable, Codable {
    package static let currentFormat = 1

    package var format = currentFormat
    /// ISO 8601, UTC.
    package var startedAt: String
    package var generator: String
    package var options: LoadPlanOptions
    package var machine: MachineDescription
    package var server: ServerDescription?
    /// In the order of measuring: all loads of the first repetition, then those of the next.
    package var steps: [StepReport] = []
    /// For each load the medians over its repetitions.
    package var medians: [StepFigures] = []
    /// Most players that were served within 0.1 % loss and 100 ms (99 %), with all smaller loads; nil if none were.
    package var sustainedPlayers: Int?
    /// Bars that were missed (`--limit-…`).
    package var missedLimits: [String] = []
    /// Why the load did not run as it was asked for.
    package var problems: [String] = []
    package var isInterrupted = false

    package init(startedAt: Date, generator: String, options: LoadPlanOptions, machine: MachineDescription) {
        self.startedAt = startedAt.formatted(.iso8601)
        self.generator = generator
        self.options = options
        self.machine = machine
    }

    /// What "served well" means where nobody says otherwise.
    package static let goodLoss = 0.001
    package static let goodDelayP99 = 100.0

    /// The load ran as asked, and no bar was missed.
    package var isGood: Bool { problems.isEmpty && missedLimits.isEmpty && !isInterrupted }

    /// Fills in what follows from the steps.
    package mutating func conclude() {
        let loads = steps.reduce(into: [Int]()) { if !$0.contains($1.players) { $0.append($1.players) } }
        medians = loads.map { load in
            StepFigures.median(steps.filter { $0.players == load }.map(\.figures))
        }
        sustainedPlayers =
            medians.prefix { median in
                (median.loss ?? 1) <= Self.goodLoss
                    && (median.videoDelayP99 ?? median.audioDelayP99 ?? .infinity) <= Self.goodDelayP99
            }.last?.players
        missedLimits = medians.flatMap { misses($0) }
    }

    private func misses(_ figures: StepFigures) -> [String] {
        var misses: [String] = []
        let note = figures.isGeneratorLimited ? " (the generator was at its own limit)" : ""
        if let limit = options.limitLoss {
            let loss = figures.loss ?? 1
            if loss > limit {
                misses.append(
                    "\(figures.players) players: loss \(Text.percent(loss)) is over \(Text.percent(limit))\(note)")
            }
        }
        if let limit = options.limitDelayP99 {
            let delay = figures.videoDelayP99 ?? figures.audioDelayP99 ?? .infinity
            if delay > limit {
                misses.append(
                    "\(figures.players) players: delay p99 \(Text.number(delay)) ms is over \(Text.number(limit)) ms\(note)"
                )
            }
        }
        return misses
    }

    package func json() throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        encoder.nonConformingFloatEncodingStrategy = .convertToString(
            positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
        return String(decoding: try encoder.encode(self), as: UTF8.self) + "\n"
    }
}

/// The server that was measured.
package struct ServerDescription: Sendable, Codable, Equatable {
    /// As it calls itself.
    package var version: String?
    package var processName: String?
    /// Bytes in memory before the first publisher came.
    package var residentAtStart: Int?
    /// Before the first player came.
    package var residentWithPublishers: Int?

    package init() {}
}

/// One load, measured once.
package struct StepReport: Sendable, Codable {
    /// From 0.
    package var repetition: Int
    /// Asked for.
    package var players: Int
    /// Of those players that this step added.
    package var joins: JoinReport
    package var window: MediaWindow
    package var serverUsage: ServerUsage?
    /// Bytes in memory at the end of the window.
    package var residentBytes: Int?
    /// Seconds of all threads of the generator.
    package var generatorCPUSeconds: Double
    package var churn: ChurnReport?
    package var figures: StepFigures

    package init(
        repetition: Int, players: Int, joins: JoinReport, window: MediaWindow, serverUsage: ServerUsage?,
        residentBytes: Int?, generatorCPUSeconds: Double, churn: ChurnReport?, figures: StepFigures
    ) {
        self.repetition = repetition
        self.players = players
        self.joins = joins
        self.window = window
        self.serverUsage = serverUsage
        self.residentBytes = residentBytes
        self.generatorCPUSeconds = generatorCPUSeconds
        self.churn = churn
        self.figures = figures
    }
}

/// How clients came in.
package struct JoinReport: Sendable, Codable, Equatable {
    package var succeeded: Int
    package var failed: Int
    /// Some of the reasons, each once.
    package var reasons: [String]
    /// Milliseconds from the offer to the answer.
    package var signalling: Percentiles?
    /// Milliseconds from the answer to ICE's first success, to SRTP keys, to the first picture.
    package var ice: Percentiles?
    package var dtls: Percentiles?
    package var media: Percentiles?
    /// Milliseconds from the offer to the first picture.
    package var total: Percentiles?

    package init(succeeded: Int, failed: Int = 0, reasons: [String] = [], total: Percentiles? = nil) {
        self.succeeded = succeeded
        self.failed = failed
        self.reasons = reasons
        self.total = total
    }

    init(_ log: JoinLog) {
        succeeded = log.samples.count
        failed = log.failures
        reasons = log.reasons
        signalling = Percentiles(log.samples.map(\.signalling))
        ice = Percentiles(log.samples.map(\.stages.ice))
        dtls = Percentiles(log.samples.map(\.stages.dtls))
        media = Percentiles(log.samples.map(\.stages.media))
        total = Percentiles(log.samples.map { $0.signalling + $0.stages.media })
    }
}

/// Players that came and went during a window.
package struct ChurnReport: Sendable, Codable, Equatable {
    package var joins: JoinReport
    package var started: Int
    /// Had to wait since as many as allowed were there.
    package var heldBack: Int
}

/// A distribution by nearest rank.
package struct Percentiles: Sendable, Codable, Equatable {
    package var p50: Double
    package var p90: Double
    package var p99: Double
    package var max: Double

    /// nil when there are no values.
    package init?(_ values: [Double]) {
        guard !values.isEmpty else { return nil }
        let sorted = values.sorted()
        func at(_ share: Double) -> Double {
            sorted[Swift.min(sorted.count - 1, Swift.max(0, Int((share * Double(sorted.count)).rounded(.up)) - 1))]
        }
        p50 = at(0.5)
        p90 = at(0.9)
        p99 = at(0.99)
        max = sorted[sorted.count - 1]
    }
}
