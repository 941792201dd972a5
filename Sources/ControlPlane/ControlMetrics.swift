import WeirMetrics

/// What the control plane counts. No label is made of names, ids or texts of clients.
struct ControlMetrics: Sendable {
    let sessions: Gauge
    let streams: Gauge
    let players: Gauge
    let viewers: Gauge
    let lateMediaEvents: Counter
    let hookTimeouts: Counter
    private let setupSeconds: [Bool: Histogram]
    private let registry: MetricsRegistry

    init(_ registry: MetricsRegistry) {
        self.registry = registry
        sessions = registry.gauge("weir_control_sessions", help: "Open client sessions")
        streams = registry.gauge("weir_control_streams", help: "Claimed stream names")
        players = registry.gauge("weir_control_players", help: "Players, also those still connecting")
        viewers = registry.gauge("weir_rtsp_players", help: "RTSP players")
        lateMediaEvents = registry.counter(
            "weir_control_late_media_events_total", help: "Media events of peers that had ended")
        hookTimeouts = registry.counter(
            "weir_control_hook_timeouts_total", help: "Calls of the backend without an answer in time")
        setupSeconds = Dictionary(
            uniqueKeysWithValues: [true, false].map { published in
                let histogram = registry.histogram(
                    "weir_control_setup_seconds", help: "From the request to the live stream",
                    labels: [("kind", Self.kind(published))], buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30])
                return (published, histogram)
            })
    }

    /// A session or stream that was refused before anything was set up for it.
    func countRejection(_ reason: String) {
        registry.counter(
            "weir_control_rejections_total", help: "Refused sessions and streams", labels: [("reason", reason)]
        ).increment()
    }

    /// A stream that became PUBLISHING or PLAYING, that long after its request.
    func countSetup(published: Bool, after duration: Duration) {
        registry.counter(
            "weir_control_setups_total", help: "Streams that became live", labels: [("kind", Self.kind(published))]
        ).increment()
        setupSeconds[published]?.observe(duration / .seconds(1))
    }

    /// An accepted stream that ended FAILED.
    func countFailure(_ reason: String, published: Bool) {
        registry.counter(
            "weir_control_failures_total", help: "Accepted streams that failed",
            labels: [("kind", Self.kind(published)), ("reason", reason)]
        ).increment()
    }

    func countSnapshot(_ result: String) {
        registry.counter(
            "weir_control_snapshots_total", help: "Requests for a picture by how they ended",
            labels: [("result", result)]
        ).increment()
    }

    private static func kind(_ published: Bool) -> String { published ? "publish" : "play" }
}
