import Synchronization

/// How the value of a metric moves.
package enum MetricKind: String, Sendable {
    case counter, gauge, histogram
}

/// One value read at scrape time, from state that is counted elsewhere (the media workers, an actor's last snapshot).
package struct Sample: Sendable {
    package var name: String
    package var help: String
    package var kind: MetricKind
    package var labels: [(String, String)]
    package var value: Double

    package init(name: String, help: String, kind: MetricKind, labels: [(String, String)] = [], value: Double) {
        self.name = name
        self.help = help
        self.kind = kind
        self.labels = labels
        self.value = value
    }
}

/// A histogram that is counted elsewhere, read at scrape time.
package struct HistogramSample: Sendable {
    package var name: String
    package var help: String
    package var labels: [(String, String)]
    /// Upper bounds, ascending, without infinity.
    package var bounds: [Double]
    /// Observations up to and including each bound, then of all: one more than bounds.
    package var cumulativeCounts: [UInt64]
    package var sum: Double

    package init(
        name: String, help: String, labels: [(String, String)] = [], bounds: [Double], cumulativeCounts: [UInt64],
        sum: Double
    ) {
        precondition(cumulativeCounts.count == bounds.count + 1, "\(name) has counts for other bounds")
        self.name = name
        self.help = help
        self.labels = labels
        self.bounds = bounds
        self.cumulativeCounts = cumulativeCounts
        self.sum = sum
    }
}

/// Every metric of the process, and its text for Prometheus.
///
/// Look-ups take a lock: fetch instruments once and keep them. Counting itself never locks.
/// Names and labels are ours, never a client's: no stream or session name may become a label, or the number of series
/// grows without bound.
package final class MetricsRegistry: Sendable {
    private enum Instrument: Sendable {
        case counter(Counter)
        case gauge(Gauge)
        case histogram(Histogram)

        var kind: MetricKind {
            switch self {
            case .counter: .counter
            case .gauge: .gauge
            case .histogram: .histogram
            }
        }
    }

    private struct Series: Sendable {
        var labels: [(String, String)]
        var instrument: Instrument
    }

    private struct Family: Sendable {
        var help: String
        var kind: MetricKind
        var series: [String: Series] = [:]
    }

    private struct State: Sendable {
        var families: [String: Family] = [:]
        var collectors: [@Sendable () -> [Sample]] = []
        var histogramCollectors: [@Sendable () -> [HistogramSample]] = []
    }

    private let state = Mutex(State())

    package init() {}

    /// The counter of that name and those labels, made at the first call. By convention the name ends in `_total`.
    package func counter(_ name: String, help: String, labels: [(String, String)] = []) -> Counter {
        let found = instrument(name, help, labels) { .counter(Counter()) }
        guard case .counter(let counter) = found else { preconditionFailure(Self.conflict(name, found.kind)) }
        return counter
    }

    /// The gauge of that name and those labels, made at the first call.
    package func gauge(_ name: String, help: String, labels: [(String, String)] = []) -> Gauge {
        let found = instrument(name, help, labels) { .gauge(Gauge()) }
        guard case .gauge(let gauge) = found else { preconditionFailure(Self.conflict(name, found.kind)) }
        return gauge
    }

    /// The histogram of that name and those labels, made at the first call with these upper bounds.
    package func histogram(
        _ name: String, help: String, labels: [(String, String)] = [], buckets: [Double]
    ) -> Histogram {
        let found = instrument(name, help, labels) { .histogram(Histogram(buckets: buckets)) }
        guard case .histogram(let histogram) = found else { preconditionFailure(Self.conflict(name, found.kind)) }
        return histogram
    }

    /// Registers a closure which is asked for its values at every scrape. It runs on the scraper's thread, outside of
    /// the lock of the registry, and must not block. Its samples are counters or gauges.
    package func collect(_ closure: @escaping @Sendable () -> [Sample]) {
        state.withLock { $0.collectors.append(closure) }
    }

    /// The same for histograms.
    package func collectHistograms(_ closure: @escaping @Sendable () -> [HistogramSample]) {
        state.withLock { $0.histogramCollectors.append(closure) }
    }

    /// The text exposition format 0.0.4, families in order of their names.
    package func render() -> String {
        let (families, collectors, histograms) = state.withLock {
            ($0.families, $0.collectors, $0.histogramCollectors)
        }
        var blocks: [String: Exposition] = [:]
        for (name, family) in families {
            var block = Exposition(name: name, help: family.help, kind: family.kind)
            for (_, series) in family.series.sorted(by: { $0.key < $1.key }) {
                switch series.instrument {
                case .counter(let counter): block.append(series.labels, counter.value)
                case .gauge(let gauge): block.append(series.labels, gauge.value)
                case .histogram(let histogram): block.append(series.labels, histogram)
                }
            }
            blocks[name] = block
        }
        for sample in collectors.flatMap({ $0() }) {
            var block = blocks[sample.name] ?? Exposition(name: sample.name, help: sample.help, kind: sample.kind)
            // A name has one type; a second one would make the whole page unreadable to Prometheus.
            guard block.kind == sample.kind, sample.kind != .histogram else { continue }
            block.append(sample.labels, sample.value)
            blocks[sample.name] = block
        }
        for sample in histograms.flatMap({ $0() }) {
            var block = blocks[sample.name] ?? Exposition(name: sample.name, help: sample.help, kind: .histogram)
            guard block.kind == .histogram else { continue }
            block.append(sample)
            blocks[sample.name] = block
        }
        return blocks.sorted { $0.key < $1.key }.map(\.value.text).joined()
    }

    private func instrument(
        _ name: String, _ help: String, _ labels: [(String, String)], _ make: () -> Instrument
    ) -> Instrument {
        precondition(Exposition.isValidName(name), "\(name) is no metric name")
        precondition(labels.allSatisfy { Exposition.isValidLabel($0.0) }, "a label of \(name) has a bad name")
        let sorted = labels.sorted { $0.0 < $1.0 }
        let key = Exposition.labelText(sorted)
        return state.withLock { state in
            if let found = state.families[name]?.series[key] { return found.instrument }
            let made = make()
            var family = state.families[name] ?? Family(help: help, kind: made.kind)
            precondition(family.kind == made.kind, Self.conflict(name, family.kind))
            family.series[key] = Series(labels: sorted, instrument: made)
            state.families[name] = family
            return made
        }
    }

    private static func conflict(_ name: String, _ kind: MetricKind) -> String {
        "metric \(name) is already a \(kind.rawValue)"
    }
}
