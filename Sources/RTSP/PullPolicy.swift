import Wire

/// Why a source could not be pulled, or ended.
package enum RTSPPullFailure: Error, Sendable, Equatable {
    case badURL
    /// Not allowed by configuration.
    case refusedHost(HostGuard.Refusal)
    case tooManyRedirects
    case badRedirect
    /// No connection: refused, unreachable, no such host, TLS.
    case connect(String)
    /// No answer to a request in time.
    case noResponse(RTSPMethod)
    case malformed
    case wrongPassword
    case notFound
    /// Another status that ends everything.
    case status(RTSPMethod, RTSPStatus)
    case badDescription
    /// What there is we cannot receive; the codecs, for people.
    case noCommonCodecs([String])
    /// No media after PLAY, or no longer.
    case silent
    case connectionLost
    /// The server has ended the session.
    case endedByServer
    /// A file was played to its end.
    case finished
    /// The process that reads the source has ended without a word; what is known of that, for people.
    case processEnded(String)
    case shutdown

    /// WCS's text for viewers (`wcs-signalling.md`, part 7.3). What is behind an address that is refused is nobody's
    /// business: it reads as if nobody had answered there.
    package var info: String {
        switch self {
        case .badURL: "Rtsp has wrong format"
        case .notFound: "Rtsp stream not found"
        case .noCommonCodecs: "No common codecs"
        case .shutdown: "RtspAgent shutdown"
        case .silent, .connectionLost, .endedByServer, .finished, .processEnded: "Stream failed"
        case .refusedHost, .tooManyRedirects, .badRedirect, .connect, .noResponse, .malformed, .wrongPassword, .status,
            .badDescription:
            "Failed to connect to rtsp stream"
        }
    }

    /// What a new attempt may bring.
    package enum Outlook: Sendable, Equatable {
        /// The next attempt would end the same way.
        case hopeless
        /// Somebody must change something at the source; attempts in a hurry could lock an account.
        case patient
        case soon
    }

    package var outlook: Outlook {
        switch self {
        case .badURL, .refusedHost, .shutdown, .finished: .hopeless
        case .wrongPassword, .noCommonCodecs, .badDescription, .tooManyRedirects, .badRedirect, .malformed: .patient
        case .connect, .noResponse, .notFound, .status, .silent, .connectionLost, .endedByServer, .processEnded: .soon
        }
    }
}

/// When a puller tries again: waits double up to a bound, and are spread so that a server that comes back is not met by
/// all pullers at once.
package struct PullPolicy: Sendable {
    package struct Settings: Sendable {
        package var first: Interval = .seconds(1)
        package var longest: Interval = .seconds(30)
        /// Of failures that somebody must first do something about.
        package var patient: Interval = .seconds(60)
        /// Part of the wait by which it may be shorter or longer.
        package var jitter = 0.2
        /// Playing for so long is a success, after which waits begin short again.
        package var stable: Interval = .seconds(30)
        /// Attempts in a row without a success; nil: without end. 0: none is repeated.
        package var attempts: Int?
        package init() {}
    }

    private let settings: Settings
    private var random: SeededRandom
    private var failures = 0

    package init(settings: Settings = Settings(), seed: UInt64) {
        self.settings = settings
        random = SeededRandom(seed: seed)
    }

    /// How long to wait before the next attempt; nil: give up.
    ///
    /// - Parameter playedFor: How long the attempt that failed has had media; nil if it had none.
    package mutating func wait(after failure: RTSPPullFailure, playedFor: Interval?) -> Interval? {
        if let playedFor, playedFor >= settings.stable { failures = 0 }
        failures += 1
        guard failure.outlook != .hopeless else { return nil }
        if let attempts = settings.attempts, failures > attempts { return nil }
        var wait = settings.first.nanoseconds
        for _ in 1..<min(failures, 63) where wait < settings.longest.nanoseconds { wait *= 2 }
        wait = min(wait, settings.longest.nanoseconds)
        if failure.outlook == .patient { wait = max(wait, settings.patient.nanoseconds) }
        let part = Double.random(in: -settings.jitter...settings.jitter, using: &random)
        return Interval(nanoseconds: wait + Int64(Double(wait) * part))
    }
}
