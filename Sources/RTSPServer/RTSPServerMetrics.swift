import ControlPlane
import RTSP
import WeirMetrics

/// What the RTSP listeners count.
final class RTSPServerMetrics: Sendable {
    let connections: Gauge
    let accepted: Counter
    let requests: Counter
    let packetsReceived: Counter
    let bytesSent: Counter
    let batchesDropped: Counter
    let slowReaders: Counter
    let protectedTracks: Counter
    let tunnels: Counter
    let tunnelsRefused: Counter
    private let refused: [ConnectionBudget.Refusal: Counter]
    private let closed: [RTSPCloseReason: Counter]

    init(_ registry: MetricsRegistry) {
        connections = registry.gauge("weir_rtsp_connections", help: "Open RTSP connections")
        accepted = registry.counter("weir_rtsp_connections_total", help: "Accepted RTSP connections")
        requests = registry.counter("weir_rtsp_requests_total", help: "RTSP requests of clients")
        packetsReceived = registry.counter(
            "weir_rtsp_packets_received_total", help: "Packets received in RTSP connections")
        bytesSent = registry.counter(
            "weir_rtsp_sent_bytes_total", help: "Bytes sent in RTSP connections, media included")
        batchesDropped = registry.counter(
            "weir_rtsp_batches_dropped_total",
            help: "Batches of packets that slow RTSP players in connections did not get")
        slowReaders = registry.counter(
            "weir_rtsp_slow_readers_total", help: "RTSP connections closed because they took nothing any more")
        protectedTracks = registry.counter(
            "weir_rtsp_srtp_tracks_total", help: "Tracks that RTSP clients wanted to play or to publish by SRTP")
        tunnels = registry.counter(
            "weir_rtsp_tunnels_total", help: "RTSP connections through HTTP: requests of GET that began one")
        tunnelsRefused = registry.counter(
            "weir_rtsp_tunnels_refused_total",
            help: "Requests of RTSP through HTTP that were refused: cookie in use or unknown, or no Base64")
        refused = Dictionary(
            uniqueKeysWithValues: ConnectionBudget.Refusal.allCases.map { reason in
                let counter = registry.counter(
                    "weir_rtsp_connections_refused_total", help: "RTSP connections closed for a limit",
                    labels: [("reason", reason.rawValue)])
                return (reason, counter)
            })
        closed = Dictionary(
            uniqueKeysWithValues: RTSPCloseReason.allCases.map { reason in
                let counter = registry.counter(
                    "weir_rtsp_closed_total", help: "RTSP connections that the server closed",
                    labels: [("reason", reason.rawValue)])
                return (reason, counter)
            })
    }

    func count(_ refusal: ConnectionBudget.Refusal) { refused[refusal]?.increment() }
    func count(_ reason: RTSPCloseReason) { closed[reason]?.increment() }
}
