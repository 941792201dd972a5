import ControlPlane
import Logging
import MediaFormats
import Playback
import WeirMetrics

/// What happens to files that are played: into the log and into the metrics.
struct PlaybackLog: Sendable {
    private let logger: Logger
    private let metrics: MetricsRegistry
    private let stalls: Counter
    private let dropped: Counter

    init(metrics: MetricsRegistry, logger: Logger) {
        self.logger = logger
        self.metrics = metrics
        stalls = metrics.counter(
            "weir_vod_stalls_total", help: "Times that a played file stood still since its disk or the server lagged")
        dropped = metrics.counter(
            "weir_vod_dropped_packets_total", help: "Packets of played files that the media side had no room for")
        for result in ["ok", "tooMany"] + PlaybackError.labels { count(result, by: 0) }
    }

    func opened(_ name: PlaybackName, _ reader: FileReader) {
        count("ok")
        let tracks = reader.tracks.map { track in
            track.isTranscoded ? "\(track.source.name)>\(track.description.codec.name)" : track.source.name
        }
        logger.info(
            "file is played",
            metadata: [
                "file": "\(name.file)", "shared": "\(name.isShared)", "tracks": "\(tracks.joined(separator: " "))",
                "ms": "\(reader.duration.milliseconds)",
            ])
    }

    func failed(_ name: PlaybackName, _ error: PlaybackError) {
        // The stream was given up by its players.
        if case .container(.cancelled) = error { return }
        count(error.label)
        logger.warning(
            "file cannot be played",
            metadata: [
                "file": "\(name.file)", "shared": "\(name.isShared)", "info": "\(error.statusInfo.rawValue)",
                "reason": "\(error)",
            ])
    }

    func refused(_ name: PlaybackName, _ label: String) {
        count(label)
        logger.warning("too many files are played", metadata: ["file": "\(name.file)"])
    }

    func count(stalls count: Int) {
        if count > 0 { stalls.increment(by: UInt64(count)) }
    }

    func countDropped() { dropped.increment() }

    private func count(_ result: String, by amount: UInt64 = 1) {
        metrics.counter(
            "weir_vod_files_total", help: "Files that were to be played, by what became of it",
            labels: [("result", result)]
        ).increment(by: amount)
    }
}

extension PlaybackError {
    fileprivate static let labels = [
        "notFound", "wrongFormat", "readFailed", "codecFailed", "transcodingDisabled", "noTranscoders",
    ]

    /// Value of the metrics label `result`.
    fileprivate var label: String {
        switch self {
        case .container(let error):
            switch StatusInfo(rawValue: error.playbackStatus) {
            case .fileNotFound: "notFound"
            case .fileWrongFormat: "wrongFormat"
            default: "readFailed"
            }
        case .codec: "codecFailed"
        case .nothingToPlay: "wrongFormat"
        case .transcodingDisabled: "transcodingDisabled"
        case .noTranscoders: "noTranscoders"
        }
    }
}
