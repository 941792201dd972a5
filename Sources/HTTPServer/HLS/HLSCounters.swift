import HLS
import WeirMetrics

/// What viewers ask for.
struct HLSCounters: Sendable {
    private let multivariant: Counter
    private let playlists: Counter
    private let media: Counter
    /// Of whole parts and segments; ranges count as what they are of.
    let bytes: Counter

    init(_ metrics: MetricsRegistry) {
        func counter(_ kind: String) -> Counter {
            metrics.counter("weir_hls_requests_total", help: "HLS requests.", labels: [("kind", kind)])
        }
        multivariant = counter("multivariant")
        playlists = counter("playlist")
        media = counter("media")
        bytes = metrics.counter("weir_hls_bytes_total", help: "Bytes of parts and segments that viewers asked for.")
    }

    func requests(_ resource: HLSPath.Resource) -> Counter {
        switch resource {
        case .multivariant: multivariant
        case .playlist: playlists
        case .map, .segment, .part: media
        }
    }
}
