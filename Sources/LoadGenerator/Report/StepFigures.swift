/// The figures that loads are compared by. A figure is nil where nothing was measured.
package struct StepFigures: Sendable, Codable, Equatable {
    package var players: Int
    /// Received packets per second, of all players together.
    package var packetsPerSecond: Double?
    /// Share of all packets, and of the packets of the worst player.
    package var loss: Double?
    package var worstLoss: Double?
    /// Milliseconds.
    package var videoDelayP50: Double?
    package var videoDelayP99: Double?
    package var videoDelayP999: Double?
    package var videoDelayMax: Double?
    package var audioDelayP50: Double?
    package var audioDelayP99: Double?
    /// Milliseconds from the offer to the first picture.
    package var joinP50: Double?
    package var joinP99: Double?
    package var churnJoinP99: Double?

    /// Of the server. Microseconds per delivered packet are also CPU seconds per million of them.
    package var cpuMicrosecondsPerPacket: Double?
    package var cpuSecondsPerMillionPackets: Double?
    package var packetsPerCPUSecond: Double?
    /// Processors that were busy with it, on average.
    package var cores: Double?
    /// Bytes in memory beyond those before the first player, and before the first publisher, divided by the players.
    package var memoryPerPlayer: Double?
    package var memoryPerPlayerFromEmpty: Double?
    package var voluntarySwitchesPerSecond: Double?
    package var involuntarySwitchesPerSecond: Double?
    package var switchesPerPacket: Double?
    package var systemCallsPerSecond: Double?
    package var systemCallsPerPacket: Double?

    /// Of the generator: processors that were busy with all of it, and the share of time that its media threads ran.
    package var generatorCores: Double?
    package var generatorThreadLoad: Double?
    /// The generator was too slow, so the figures tell about it and not about the server.
    package var isGeneratorLimited = false

    /// Busier than this, a media thread may be late by itself.
    static let busyThread = 0.97

    package init(players: Int) { self.players = players }

    /// - Parameters:
    ///   - threads: media threads of the generator.
    ///   - before: resident bytes before the first player, and before the first publisher.
    package init(
        players: Int, window: MediaWindow, joins: JoinReport, churn: ChurnReport?, usage: ServerUsage?, resident: Int?,
        before: (players: Int?, publishers: Int?), generatorCPUSeconds: Double, threads: Int
    ) {
        self.init(players: players)
        let delivered = Double(window.packetsDelivered)
        if window.seconds > 0 {
            packetsPerSecond = delivered / window.seconds
            generatorCores = generatorCPUSeconds / window.seconds
            generatorThreadLoad = window.generatorCPUSeconds / window.seconds / Double(max(1, threads))
        }
        if window.packetsExpected > 0 { loss = Double(window.packetsLost) / Double(window.packetsExpected) }
        worstLoss = window.lossOfPlayers.max()
        if window.videoDelay.count > 0 {
            videoDelayP50 = window.videoDelay.p50
            videoDelayP99 = window.videoDelay.p99
            videoDelayP999 = window.videoDelay.p999
            videoDelayMax = window.videoDelay.max
        }
        if window.audioDelay.count > 0 {
            audioDelayP50 = window.audioDelay.p50
            audioDelayP99 = window.audioDelay.p99
        }
        joinP50 = joins.total?.p50
        joinP99 = joins.total?.p99
        churnJoinP99 = churn?.joins.total?.p99
        isGeneratorLimited = window.receiveBufferDrops > 0 || (generatorThreadLoad ?? 0) > Self.busyThread
        if let usage { add(usage, delivered: delivered) }
        if let resident, players > 0 {
            memoryPerPlayer = before.players.map { Double(resident - $0) / Double(players) }
            memoryPerPlayerFromEmpty = before.publishers.map { Double(resident - $0) / Double(players) }
        }
    }

    private mutating func add(_ usage: ServerUsage, delivered: Double) {
        let switches = Double(usage.voluntarySwitches + usage.involuntarySwitches)
        if usage.seconds > 0 {
            cores = usage.cpuSeconds / usage.seconds
            voluntarySwitchesPerSecond = Double(usage.voluntarySwitches) / usage.seconds
            involuntarySwitchesPerSecond = Double(usage.involuntarySwitches) / usage.seconds
            systemCallsPerSecond = usage.systemCalls.map { Double($0) / usage.seconds }
        }
        if delivered > 0 {
            cpuMicrosecondsPerPacket = usage.cpuSeconds / delivered * 1e6
            cpuSecondsPerMillionPackets = usage.cpuSeconds / (delivered / 1e6)
            switchesPerPacket = switches / delivered
            systemCallsPerPacket = usage.systemCalls.map { Double($0) / delivered }
        }
        if usage.cpuSeconds > 0 { packetsPerCPUSecond = delivered / usage.cpuSeconds }
    }

    // MARK: Medians

    /// Each figure's median over the repetitions that have it.
    /// - Precondition: there is at least one.
    package static func median(_ all: [StepFigures]) -> StepFigures {
        precondition(!all.isEmpty, "a load that was measured")
        var result = StepFigures(players: all[0].players)
        for figure in figures {
            result[keyPath: figure] = median(all.compactMap { $0[keyPath: figure] })
        }
        result.isGeneratorLimited = all.contains(where: \.isGeneratorLimited)
        return result
    }

    static func median(_ values: [Double]) -> Double? {
        guard !values.isEmpty else { return nil }
        let sorted = values.sorted()
        let middle = sorted.count / 2
        return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    }

    private static var figures: [WritableKeyPath<StepFigures, Double?>] {
        [
            \.packetsPerSecond, \.loss, \.worstLoss, \.videoDelayP50, \.videoDelayP99, \.videoDelayP999,
            \.videoDelayMax, \.audioDelayP50, \.audioDelayP99, \.joinP50, \.joinP99, \.churnJoinP99,
            \.cpuMicrosecondsPerPacket, \.cpuSecondsPerMillionPackets, \.packetsPerCPUSecond, \.cores,
            \.memoryPerPlayer, \.memoryPerPlayerFromEmpty, \.voluntarySwitchesPerSecond,
            \.involuntarySwitchesPerSecond, \.switchesPerPacket, \.systemCallsPerSecond, \.systemCallsPerPacket,
            \.generatorCores, \.generatorThreadLoad,
        ]
    }
}
