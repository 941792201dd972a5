import ControlPlane
import WeirMetrics

/// What is counted of one application's backend. Labels are keys of applications and names of methods, both bounded.
struct HookMetrics: Sendable {
    let seconds: Histogram
    let dropped: Counter
    let ignored: Counter
    let skippedKeepAlives: Counter
    let circuit: Gauge
    private let registry: MetricsRegistry
    private let app: (String, String)

    private static let buckets = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30]

    init(_ registry: MetricsRegistry, app: String) {
        self.registry = registry
        self.app = ("app", app)
        let labels = [self.app]
        seconds = registry.histogram(
            "weir_hooks_request_seconds", help: "From the sending of a hook to the end of its answer", labels: labels,
            buckets: Self.buckets)
        dropped = registry.counter(
            "weir_hooks_dropped_events_total", help: "Events that the backend was too slow for", labels: labels)
        ignored = registry.counter(
            "weir_hooks_ignored_errors_total", help: "Refusals and errors without effect, since restOnError is LOG",
            labels: labels)
        skippedKeepAlives = registry.counter(
            "weir_hooks_skipped_keep_alives_total",
            help: "Stream keep-alives not sent, since the one before was not answered", labels: labels)
        circuit = registry.gauge(
            "weir_hooks_circuit_open", help: "1 while nothing is sent to the backend, which seems to be down",
            labels: labels)
    }

    func count(_ method: HookMethod, _ result: String) {
        registry.counter(
            "weir_hooks_requests_total", help: "Hooks by how they ended",
            labels: [app, ("method", method.rawValue), ("result", result)]
        ).increment()
    }
}
