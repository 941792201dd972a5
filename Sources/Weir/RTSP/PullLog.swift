import ControlPlane
import Logging
import MediaFormats
import RTSP
import RTSPPull
import Synchronization
import WeirMetrics
import Wire

/// What happens to sources that are pulled: into the log and into the metrics. URLs are shown without their passwords.
struct PullLog: Sendable {
    private let logger: Logger
    private let metrics: MetricsRegistry

    init(metrics: MetricsRegistry, logger: Logger) {
        self.logger = logger
        self.metrics = metrics
        for label in RTSPPullFailure.labels { count(label, by: 0) }
    }

    func playing(_ source: PulledSource, _ tracks: [RTSPPulledTrack], again: Bool) {
        let isUDP = tracks.contains { if case .udp = $0.path { true } else { false } }
        let transport = source.isProcess ? "process" : isUDP ? "udp" : "tcp"
        logger.info(
            again ? "pulled source is back" : "pulled source plays",
            metadata: metadata(
                source,
                [
                    "tracks": "\(tracks.map(\.description.codec.name).joined(separator: " "))",
                    "transport": "\(transport)",
                ]))
    }

    func interrupted(_ source: PulledSource, _ failure: RTSPPullFailure, retryIn: Interval?) {
        count(failure.label)
        var more: Logger.Metadata = ["info": "\(failure.info)", "reason": "\(failure.reason)"]
        guard failure != .finished else {
            logger.info("pulled source has come to its end", metadata: metadata(source))
            return
        }
        guard let retryIn else {
            logger.warning("source cannot be pulled", metadata: metadata(source, more))
            return
        }
        more["retryInMs"] = "\(retryIn.milliseconds)"
        logger.warning("pulled source is lost, it is tried again", metadata: metadata(source, more))
    }

    func givenUp(_ source: PulledSource) {
        logger.warning(
            "pulled source did not come back within rtsp.pull.keep_viewers: its viewers are told",
            metadata: metadata(source))
    }

    func changed(_ source: PulledSource, _ tracks: [TrackDescription]) {
        logger.warning(
            "pulled source has come back with other codecs: its viewers must begin anew",
            metadata: metadata(source, ["tracks": "\(tracks.map(\.codec.name).joined(separator: " "))"]))
    }

    func tooMany(_ source: PulledSource) {
        count("tooMany")
        logger.warning("source is not pulled: rtsp.pull.max or max_processes is reached", metadata: metadata(source))
    }

    private func metadata(_ source: PulledSource, _ more: Logger.Metadata = [:]) -> Logger.Metadata {
        var metadata: Logger.Metadata = ["url": "\(StreamName.shown(source.url))"]
        if source.name != source.url { metadata["stream"] = "\(source.name)" }
        return metadata.merging(more) { $1 }
    }

    private func count(_ reason: String, by amount: UInt64 = 1) {
        metrics.counter(
            "weir_rtsp_pull_failures_total", help: "Attempts to pull an RTSP source that failed or ended, by reason",
            labels: [("reason", reason)]
        ).increment(by: amount)
    }
}

/// Sources that somebody must first do something about (a wrong password), so that viewers who try again and again do not
/// have the camera lock the account.
final class PullFailures: Sendable {
    /// URLs that are remembered; beyond that the oldest is forgotten.
    private static let capacity = 1_000

    private let time: Interval
    private let known = Mutex<[String: (failure: RTSPPullFailure, until: Instant)]>([:])

    init(for time: Interval) { self.time = time }

    func recent(of url: String, now: Instant = .now) -> RTSPPullFailure? {
        known.withLock { known in
            guard let entry = known[url] else { return nil }
            if now < entry.until { return entry.failure }
            known[url] = nil
            return nil
        }
    }

    func remember(_ failure: RTSPPullFailure, of url: String, now: Instant = .now) {
        guard failure.outlook == .patient else { return }
        known.withLock { known in
            if known.count >= Self.capacity, known[url] == nil,
                let oldest = known.min(by: { $0.value.until < $1.value.until })
            {
                known[oldest.key] = nil
            }
            known[url] = (failure, now + time)
        }
    }
}

extension RTSPPullFailure {
    var statusInfo: StatusInfo { StatusInfo(rawValue: info) ?? .rtspConnectionFailed }

    static let labels = [
        "badURL", "refusedHost", "redirect", "connect", "noResponse", "malformed", "wrongPassword", "notFound",
        "status",
        "badDescription", "noCommonCodecs", "silent", "connectionLost", "endedByServer", "finished", "process",
        "shutdown", "tooMany",
    ]

    /// Value of the metrics label `reason`.
    fileprivate var label: String {
        switch self {
        case .badURL: "badURL"
        case .refusedHost: "refusedHost"
        case .tooManyRedirects, .badRedirect: "redirect"
        case .connect: "connect"
        case .noResponse: "noResponse"
        case .malformed: "malformed"
        case .wrongPassword: "wrongPassword"
        case .notFound: "notFound"
        case .status: "status"
        case .badDescription: "badDescription"
        case .noCommonCodecs: "noCommonCodecs"
        case .silent: "silent"
        case .connectionLost: "connectionLost"
        case .endedByServer: "endedByServer"
        case .finished: "finished"
        case .processEnded: "process"
        case .shutdown: "shutdown"
        }
    }

    /// For the operator: what the info for viewers does not tell.
    fileprivate var reason: String {
        switch self {
        case .badURL: "the URL is none: is everything in the password escaped?"
        case .refusedHost(.host): "the host is not in rtsp.pull.hosts"
        case .refusedHost(.port): "the port is not 322, 554 (RTSP), 80, 443 (others), or 1024 and above"
        case .refusedHost(.address): "the address is not public; rtsp.pull.allow_networks may allow it"
        case .tooManyRedirects: "too many redirects"
        case .badRedirect: "a redirect to nowhere, or from TLS to plain"
        case .connect(let error): "no connection: \(Self.withoutSecrets(error))"
        case .noResponse(let method): "no answer to \(method.rawValue) in time"
        case .malformed: "the answer is not RTSP"
        case .wrongPassword: "user or password is wrong"
        case .notFound: "there is no such stream"
        case .status(let method, let status): "\(method.rawValue) was answered with \(status.code)"
        case .badDescription: "the description has nothing that could be received"
        case .noCommonCodecs(let names): "codecs that are not known here: \(names.joined(separator: " ").prefix(200))"
        case .silent: "no media in time"
        case .connectionLost: "the connection was lost"
        case .endedByServer: "the server has ended the session"
        case .finished: "it has come to its end"
        case .processEnded(let how): "the process that reads it has ended: \(Self.withoutSecrets(how))"
        case .shutdown: "ended here"
        }
    }

    /// Of texts of libraries, which may have the URL in them.
    private static func withoutSecrets(_ text: String) -> String {
        text.split(separator: " ").map { StreamName.shown(String($0)) }.joined(separator: " ")
    }
}
