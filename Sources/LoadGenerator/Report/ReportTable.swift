/// Numbers for people.
package enum Text {
    /// About three significant digits, never an exponent.
    package static func number(_ value: Double) -> String {
        guard value.isFinite else { return "-" }
        let size = abs(value)
        let digits = size == 0 || size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3
        return fixed(value, digits)
    }

    /// With this many digits behind the point, rounded half away from zero.
    package static func fixed(_ value: Double, _ digits: Int) -> String {
        guard value.isFinite, abs(value) < 1e15 else { return "-" }
        var scale = 1
        for _ in 0..<digits { scale *= 10 }
        let scaled = Int((abs(value) * Double(scale)).rounded())
        let sign = value < 0 && scaled > 0 ? "-" : ""
        guard digits > 0 else { return "\(sign)\(scaled)" }
        let fraction = String(scaled % scale)
        return "\(sign)\(scaled / scale)." + String(repeating: "0", count: digits - fraction.count) + fraction
    }

    /// A share as percent; what is not zero does not look like it.
    package static func percent(_ share: Double) -> String {
        guard share.isFinite else { return "-" }
        if share == 0 { return "0 %" }
        let percent = share * 100
        if percent < 0.001 { return "<0.001 %" }
        return "\(fixed(percent, percent < 0.1 ? 3 : percent < 10 ? 2 : 1)) %"
    }

    static func memory(_ bytes: Double) -> String { "\(fixed(bytes / 1024, bytes < 102_400 ? 1 : 0)) KiB" }
}

extension LoadReport {
    /// The report as aligned text.
    package func table() -> String {
        var lines = [headline, "\(machine.processor), \(machine.cores) cores, Linux \(machine.kernel)"]
        if let server {
            let texts = [server.version, server.processName.map { "process \($0)" }].compactMap(\.self)
            if !texts.isEmpty { lines.append("Server: " + texts.joined(separator: ", ")) }
        }
        lines.append("")
        if !medians.isEmpty {
            for block in [received, spent] {
                // The players alone say nothing.
                let columns = columns(block)
                if columns.count > 1 { lines += Self.aligned(columns) + [""] }
            }
        }
        if let why = steps.lazy.compactMap(\.serverUsage?.whyNoSystemCalls).first {
            lines.append("System calls were not counted: \(why)")
        }
        if medians.contains(where: \.isGeneratorLimited) {
            lines.append("*) The generator was at its own limit: this load tells nothing about the server.")
        }
        if let sustainedPlayers {
            lines.append(
                "Served within \(Text.percent(Self.goodLoss)) loss and \(Text.number(Self.goodDelayP99)) ms (p99): "
                    + "\(sustainedPlayers) players")
        }
        lines += missedLimits.map { "MISSED: \($0)" }
        lines += problems.map { "PROBLEM: \($0)" }
        if isInterrupted { lines.append("PROBLEM: The load was interrupted.") }
        return lines.joined(separator: "\n") + "\n"
    }

    private var headline: String {
        let media =
            "\(options.video.rawValue) \(options.width)x\(options.height) \(options.framesPerSecond) fps "
            + "\(options.bitrate / 1_000) kbit/s" + (options.hasAudio ? " + opus" : "")
        let runs = options.repeats > 1 ? ", medians of \(options.repeats)" : ""
        return "\(options.publishers) publishers of \(media), \(options.protection.rawValue), "
            + "\(Text.number(options.duration)) s each\(runs)"
    }

    private typealias Cell = (StepFigures) -> String?

    private func value(_ figure: KeyPath<StepFigures, Double?>, _ format: @escaping (Double) -> String) -> Cell {
        { $0[keyPath: figure].map(format) }
    }

    private var load: (String, Cell) { ("players", { "\($0.players)\($0.isGeneratorLimited ? "*" : "")" }) }

    /// What the players got.
    private var received: [(String, Cell)] {
        [
            load,
            ("packets/s", value(\.packetsPerSecond) { Text.fixed($0, 0) }),
            ("loss", value(\.loss, Text.percent)),
            ("worst", value(\.worstLoss, Text.percent)),
            ("p50 ms", value(\.videoDelayP50, Text.number)),
            ("p99 ms", value(\.videoDelayP99, Text.number)),
            ("max ms", value(\.videoDelayMax, Text.number)),
            ("audio p99", value(\.audioDelayP99, Text.number)),
            ("join p50", value(\.joinP50, Text.number)),
            ("join p99", value(\.joinP99, Text.number)),
            ("churn p99", value(\.churnJoinP99, Text.number)),
            ("generator cores", value(\.generatorCores) { Text.fixed($0, 2) }),
            ("its threads", value(\.generatorThreadLoad, Text.percent)),
        ]
    }

    /// What the server spent.
    private var spent: [(String, Cell)] {
        [
            load,
            ("µs/packet", value(\.cpuMicrosecondsPerPacket, Text.number)),
            ("packets/CPU s", value(\.packetsPerCPUSecond) { Text.fixed($0, 0) }),
            ("server cores", value(\.cores) { Text.fixed($0, 2) }),
            ("memory/player", value(\.memoryPerPlayer, Text.memory)),
            ("from empty", value(\.memoryPerPlayerFromEmpty, Text.memory)),
            ("waits/s", value(\.voluntarySwitchesPerSecond) { Text.fixed($0, 0) }),
            ("preempted/s", value(\.involuntarySwitchesPerSecond) { Text.fixed($0, 0) }),
            ("switches/packet", value(\.switchesPerPacket, Text.number)),
            ("calls/s", value(\.systemCallsPerSecond) { Text.fixed($0, 0) }),
            ("calls/packet", value(\.systemCallsPerPacket, Text.number)),
        ]
    }

    /// Title and a cell for each load; a column without any figure is left out.
    private func columns(_ block: [(String, Cell)]) -> [[String]] {
        block.compactMap { title, cell in
            let cells = medians.map(cell)
            return cells.contains { $0 != nil } ? [title] + cells.map { $0 ?? "-" } : nil
        }
    }

    /// Columns side by side, right-aligned.
    static func aligned(_ columns: [[String]]) -> [String] {
        let widths = columns.map { column in column.map(\.count).max() ?? 0 }
        return (0..<(columns.first?.count ?? 0)).map { row in
            zip(columns, widths).map { column, width in
                String(repeating: " ", count: width - column[row].count) + column[row]
            }.joined(separator: "  ")
        }
    }
}
