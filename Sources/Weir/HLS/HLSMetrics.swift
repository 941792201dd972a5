import HLS
import WeirMetrics

/// What `/metrics` tells of HLS.
enum HLSMetrics {
    static func collect(_ registry: HLSRegistry, _ source: HLSTapSource, into metrics: MetricsRegistry) {
        metrics.collect {
            let all = registry.all.map(\.status)
            let transcoded = source.places.counts
            let counts = registry.counts
            func gauge(_ name: String, _ help: String, _ value: Int, _ labels: [(String, String)] = [])
                -> WeirMetrics.Sample
            {
                WeirMetrics.Sample(name: name, help: help, kind: .gauge, labels: labels, value: Double(value))
            }
            func refused(_ reason: String, _ value: Int) -> WeirMetrics.Sample {
                WeirMetrics.Sample(
                    name: "weir_hls_requests_refused_total",
                    help: "HLS requests that got no answer in time, or none at all",
                    kind: .counter, labels: [("reason", reason)], value: Double(value))
            }
            return [
                gauge("weir_hls_streams", "Streams with HLS output", all.count),
                gauge(
                    "weir_hls_viewers", "Viewers who have asked for a playlist lately",
                    all.reduce(0) { $0 + $1.viewers }),
                gauge(
                    "weir_hls_waiting", "HLS requests that wait for what is still to come",
                    all.reduce(0) { $0 + $1.waiting }),
                gauge("weir_hls_memory_bytes", "Segments in memory", all.reduce(0) { $0 + $1.memory }),
                gauge("weir_hls_disk_bytes", "Segments on disk", all.reduce(0) { $0 + $1.disk }),
                gauge(
                    "weir_hls_long_groups", "Streams whose publishers send key frames too rarely",
                    all.count(where: \.hasLongGroups)),
                gauge(
                    "weir_hls_transcodes", "Pictures and sounds that are transcoded for HLS", transcoded.pictures,
                    [("kind", "video")]),
                gauge(
                    "weir_hls_transcodes", "Pictures and sounds that are transcoded for HLS", transcoded.sounds,
                    [("kind", "audio")]),
                gauge("weir_hls_renditions", "Lower renditions that are made now", transcoded.renditions),
                WeirMetrics.Sample(
                    name: "weir_hls_pictures_dropped_total",
                    help: "Pictures that lower renditions lack since their encoders did not keep up",
                    kind: .counter, labels: [], value: Double(source.places.dropped)),
                refused("too_far", counts.refusedTooFar), refused("full", counts.refusedFull),
                refused("timeout", counts.timedOut),
            ]
        }
    }
}
