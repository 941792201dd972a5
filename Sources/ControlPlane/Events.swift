/// What a session tells its client, in order.
package enum SessionEvent: Hashable, Sendable {
    /// The answer to the stream's offer; once per stream, before its first status other than FAILED.
    case remoteSDP(mediaSessionId: String, sdp: String)
    case status(StreamStatusEvent)
    /// `notifyStreamEvent`: `type` as in signalling 3.8.
    case streamEvent(mediaSessionId: String, type: String, payload: JSONText?)
    case availability(mediaSessionId: String, available: Bool, info: String?)
    /// `OnDataEvent`: data of the application for the client.
    case data(operationId: String, payload: JSONText)
    /// What became of a `sendData` of the client; `info` only if not accepted.
    case dataStatus(operationId: String, accepted: Bool, info: String?)
    /// The name under which a bug report of the client is kept.
    case bugReport(fileName: String)
    /// Debugging of the session began, or ended with this file.
    case debug(started: Bool, file: String?)
    /// Something that the client only has to know of (`ErrorEvent`).
    case error(info: String)
    /// Once per second of a live stream: `inboundVideoRate` if published, else `outboundVideoRate`.
    case videoRate(mediaSessionId: String, published: Bool, bitsPerSecond: Int)
    /// The last event before `events` finishes.
    case closing(SessionCloseReason)
}

/// State of a stream as the client sees it (signalling 7.2).
package enum StreamStatus: String, Hashable, Sendable, CaseIterable {
    case pending = "PENDING"
    case publishing = "PUBLISHING"
    case playing = "PLAYING"
    case paused = "PAUSED"
    case unpublished = "UNPUBLISHED"
    case stopped = "STOPPED"
    case failed = "FAILED"

    /// After a terminal status nothing follows for that `mediaSessionId`.
    package var isTerminal: Bool {
        switch self {
        case .unpublished, .stopped, .failed: true
        case .pending, .publishing, .playing, .paused: false
        }
    }
}

/// One change of a stream's state; goes to the client, to the backend and to the metrics.
package struct StreamStatusEvent: Hashable, Sendable {
    package var mediaSessionId: String
    package var name: String
    package var published: Bool
    package var hasVideo: Bool
    package var hasAudio: Bool
    package var status: StreamStatus
    package var info: String?
    /// The HTTP status that says the same, for WHIP and WHEP; nil when nothing is wrong.
    package var code: StatusCode?
    /// The client's offer.
    package var sdp: String?
    /// Whether the stream is being recorded; in a terminal status, whether it was.
    package var record: Bool
    /// In terminal statuses: the last file's name, as `/client/records/NAME` has it.
    package var recordName: String?
    package var width: Int
    package var height: Int
    package var bitrate: Int
    package var quality: Int
    package var mediaProvider: String
    package var custom: JSONText?
    /// Of the publisher, for `audioState` and `videoState`. Send both with every status of a player.
    package var audioMuted: Bool
    package var videoMuted: Bool

    package init(
        request: StreamRequest, published: Bool, status: StreamStatus, info: String? = nil, code: StatusCode? = nil,
        audioMuted: Bool = false, videoMuted: Bool = false
    ) {
        mediaSessionId = request.mediaSessionId
        name = request.name
        self.published = published
        hasVideo = request.hasVideo
        hasAudio = request.hasAudio
        self.status = status
        self.info = info
        self.code = code
        sdp = request.sdp
        record = request.record
        width = request.width
        height = request.height
        bitrate = request.bitrate
        quality = request.quality
        mediaProvider = request.mediaProvider ?? "WebRTC"
        custom = request.custom
        self.audioMuted = audioMuted
        self.videoMuted = videoMuted
    }
}

/// Why a session ended.
package enum SessionCloseReason: Hashable, Sendable, CustomStringConvertible {
    /// The client closed its connection or deleted its resource.
    case clientClosed
    /// The connection broke.
    case connectionLost
    /// No sign of life in time.
    case keepAliveTimeout
    /// The client does not read what it is sent.
    case slowReader
    /// The client broke the protocol.
    case protocolError(String)
    /// The client re-attached to the session by a new connection.
    case replaced
    /// Asked for by the operator.
    case terminated
    /// The server shuts down.
    case shutdown

    package var description: String {
        switch self {
        case .clientClosed: "closed by client"
        case .connectionLost: "connection lost"
        case .keepAliveTimeout: "keep-alive timeout"
        case .slowReader: "slow reader"
        case .protocolError(let what): "protocol error: \(what)"
        case .replaced: "replaced by a new connection"
        case .terminated: "terminated"
        case .shutdown: "server shutdown"
        }
    }
}

/// Why no session was opened.
package enum SignallingError: Error, Hashable, Sendable {
    case shuttingDown
    /// The operator wants nothing new to begin.
    case draining
    case tooManySessions
    case tooManySessionsFromAddress
    case unknownApplication(String)
    /// There is no session of that token, or none any more.
    case sessionDoesNotExist
    /// The backend refused; `code` is an HTTP status.
    case refused(code: Int, reason: String)
    /// The backend did not answer in time.
    case backendTimeout

    /// Text for the client (`info`).
    package var info: String {
        switch self {
        case .shuttingDown: "Server is shutting down"
        case .draining: "Server is draining"
        case .tooManySessions: "Too many sessions"
        case .tooManySessionsFromAddress: "Too many sessions from this address"
        case .unknownApplication: "Unknown application"
        case .sessionDoesNotExist: StatusInfo.sessionDoesNotExist.rawValue
        case .refused(_, let reason): reason
        case .backendTimeout: "Backend did not answer in time"
        }
    }

    package var code: StatusCode {
        switch self {
        case .shuttingDown, .draining, .tooManySessions: .unavailable
        case .tooManySessionsFromAddress: .tooManyRequests
        case .unknownApplication: .forbidden
        case .sessionDoesNotExist: StatusInfo.sessionDoesNotExist.code
        case .refused(let code, _): StatusCode(rawValue: code)
        case .backendTimeout: .unavailable
        }
    }
}
