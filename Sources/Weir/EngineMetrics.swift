import MediaEngine
import WeirMetrics

/// The engine's counters as metrics, read when they are asked for.
enum EngineMetrics {
    static func collect(_ counters: EngineCounters, into metrics: MetricsRegistry) {
        metrics.collectHistograms {
            [
                HistogramSample(
                    name: "weir_media_fan_out_turn_seconds",
                    help: "Turns of media threads that gave packets to players, from waking up to the kernel.",
                    bounds: TurnTimes.bounds.map { Double($0) / 1e6 },
                    cumulativeCounts: counters.fanOutTurns.cumulativeCounts, sum: counters.fanOutTurns.sum)
            ]
        }
        metrics.collect {
            func counter(_ name: String, _ help: String, _ value: UInt64, _ reason: String? = nil) -> Sample {
                Sample(
                    name: name, help: help, kind: .counter, labels: reason.map { [("reason", $0)] } ?? [],
                    value: Double(value))
            }
            let rejected = "weir_media_datagrams_rejected_total"
            let rejectedHelp = "Datagrams and packets that were not used, by reason."
            return [
                Sample(
                    name: "weir_media_peers", help: "Peers that workers own.", kind: .gauge, labels: [],
                    value: Double(counters.peers.load(ordering: .relaxed))),
                Sample(
                    name: "weir_media_overloaded_workers",
                    help: "Media threads that cannot keep pace and have bounded key-frame requests.", kind: .gauge,
                    labels: [], value: Double(counters.overloadedWorkers)),
                Sample(
                    name: "weir_media_players_thinned",
                    help: "Players that get key frames only, since their media thread is overloaded.", kind: .gauge,
                    labels: [], value: Double(counters.playersThinned.load(ordering: .relaxed))),
                Sample(
                    name: "weir_media_sinks",
                    help:
                        "Consumers of streams that are no players: recordings, HLS streams, RTSP over TCP, snapshots.",
                    kind: .gauge, labels: [], value: Double(counters.sinks.load(ordering: .relaxed))),
                Sample(
                    name: "weir_media_sink_bytes", help: "Memory of the rings through which these are fed.",
                    kind: .gauge, labels: [], value: Double(counters.sinkBytes.load(ordering: .relaxed))),
                counter(
                    "weir_media_sink_packets_total", "Packets given to such consumers.", counters.sinkPackets.value),
                counter(
                    "weir_media_sink_packets_lost_total", "Packets that such consumers were too slow to take.",
                    counters.sinkPacketsLost.value),
                counter(
                    "weir_media_peers_refused_total", "Publishers and players refused because of overload.",
                    counters.peersRefused.value),
                counter(
                    "weir_media_datagrams_received_total", "Datagrams read from the media port.",
                    counters.datagramsReceived.value),
                counter("weir_media_packets_sent_total", "Packets given to the kernel.", counters.packetsSent.value),
                counter(
                    "weir_media_send_messages_total", "Messages given to sendmmsg; each may hold several packets.",
                    counters.sendMessages.value),
                counter(
                    "weir_media_send_runs_total", "Messages of several packets, which the kernel cuts apart (UDP GSO).",
                    counters.sendRuns.value),
                counter(
                    "weir_media_packets_in_runs_total", "Packets that left in such messages.",
                    counters.packetsInRuns.value),
                counter(
                    "weir_media_packets_dropped_total", "Packets that the kernel or a full queue refused.",
                    counters.packetsDropped.value),
                counter(
                    "weir_media_retransmissions_refused_total",
                    "Retransmissions beyond a player's budget, or already on their way.",
                    counters.retransmissionsRefused.value),
                counter(
                    "weir_media_tcp_pictures_dropped_total", "Pictures withheld from slow ICE-TCP players.",
                    counters.tcpPicturesDropped.value),
                counter(
                    "weir_media_crossing_packets_dropped_total",
                    "Packets that another media thread was too slow to take over.", counters.crossingDropped.value),
                counter(
                    "weir_media_tcp_connections_refused_total",
                    "ICE-TCP connections closed: too many, no valid check in time, or malformed.",
                    counters.tcpRefused.value),
                counter(
                    "weir_media_key_frame_requests_merged_total",
                    "Key-frame requests of players that were merged into one to the publisher.",
                    counters.keyFrameRequestsMerged.value),
                counter(rejected, rejectedHelp, counters.unknownSource.value, "unknown_source"),
                counter(rejected, rejectedHelp, counters.unknownUser.value, "unknown_user"),
                counter(rejected, rejectedHelp, counters.unknownClient.value, "unknown_rtp_client"),
                counter(rejected, rejectedHelp, counters.stunRejected.value, "stun_rejected"),
                counter(rejected, rejectedHelp, counters.malformed.value, "malformed"),
                counter(rejected, rejectedHelp, counters.authenticationFailed.value, "authentication_failed"),
                counter(rejected, rejectedHelp, counters.replayed.value, "replayed"),
                counter(rejected, rejectedHelp, counters.unknownSSRC.value, "unknown_ssrc"),
                counter(rejected, rejectedHelp, counters.noMemory.value, "no_memory"),
            ]
        }
    }
}
