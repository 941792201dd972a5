extension LoadReport {
    /// Load against delay and loss, as SVG.
    package func plot() -> String {
        func series(_ name: String, _ figure: KeyPath<StepFigures, Double?>, times factor: Double = 1) -> SVGChart
            .Series?
        {
            let points = medians.compactMap { median in
                median[keyPath: figure].map { (x: Double(median.players), y: $0 * factor) }
            }
            return points.isEmpty ? nil : SVGChart.Series(name: name, points: points)
        }
        let delays = [
            series("video p50", \.videoDelayP50), series("video p99", \.videoDelayP99),
            series("audio p50", \.audioDelayP50), series("audio p99", \.audioDelayP99),
        ].compactMap(\.self)
        let losses = [
            series("all players", \.loss, times: 100), series("worst player", \.worstLoss, times: 100),
        ].compactMap(\.self)
        let costs = [series("µs per packet", \.cpuMicrosecondsPerPacket)].compactMap(\.self)
        var panels = [
            SVGChart.Panel(label: "delay, ms", scale: .logarithmic, series: delays, limit: options.limitDelayP99),
            SVGChart.Panel(
                label: "loss, %", scale: .linear, series: losses, limit: options.limitLoss.map { $0 * 100 }),
        ]
        if !costs.isEmpty {
            panels.append(SVGChart.Panel(label: "server CPU per packet, µs", scale: .linear, series: costs))
        }
        let server = server?.version ?? server?.processName ?? options.url
        return SVGChart(
            title: "\(server): load against delay and loss",
            subtitle: "\(options.publishers) publishers, \(options.video.rawValue) \(options.bitrate / 1_000) kbit/s, "
                + "\(options.protection.rawValue); \(machine.processor)",
            xLabel: "players", panels: panels
        ).text()
    }
}
