/// Why a stream ends. Each cause has one terminal status and one text (signalling 3.13).
enum EndCause: Error, Hashable, Sendable {
    case stoppedByUser
    case sessionLost
    case terminated
    case shutdown
    case publisherGone
    /// What was played is at its end: a file.
    case sourceFinished
    /// Of a source on demand: nobody has played it for long enough.
    case unwatched
    /// The backend's answer to a keep-alive.
    case keepAlive
    /// The client has no right, or none any more.
    case denied(RightsRefusal)
    /// Not admitted after the backend had allowed it.
    case rejected(Refusal)
    case failed(StatusInfo)
    /// A failure before the media connection existed, with the HTTP status that fits better than the text's own.
    case notSetUp(StatusInfo, StatusCode)
    /// The backend's answer.
    case refused(code: Int, reason: String)
    case backendTimeout

    init(_ failure: MediaFailure, iceWasUp: Bool) {
        switch failure {
        case .iceTimeout: self = .failed(.iceTimeout)
        case .iceError: self = .failed(.iceError)
        // A peer whose first check never came did not lose anything: it could not connect.
        case .iceKeepAlive: self = .failed(iceWasUp ? .iceKeepAlive : .iceTimeout)
        case .dtlsError, .transportClosed: self = .failed(.dtlsError)
        case .dtlsFingerprint: self = .failed(.dtlsFingerprintError)
        case .rtpActivity: self = .failed(.rtpActivity)
        case .transcodingRequired: self = .failed(.transcodingDisabled)
        case .error: self = .failed(.failedByError)
        }
    }

    init(_ error: MediaError) {
        switch error {
        case .malformedSDP: self = .notSetUp(.failedToAddStreamToProxy, .badRequest)
        case .noCommonCodecs: self = .failed(.noCommonCodecs)
        case .noCapacity: self = .notSetUp(.failedToAddStreamToProxy, .unavailable)
        case .streamNotReady: self = .failed(.publishStreamNotReady)
        case .streamNotFound: self = .failed(.streamNotFound)
        case .transcodingDisabled: self = .failed(.transcodingDisabled)
        case .noTranscoders: self = .failed(.noTranscoders)
        case .internal: self = .notSetUp(.failedToAddStreamToProxy, .internalError)
        }
    }

    func status(published: Bool) -> StreamStatus {
        switch self {
        case .stoppedByUser, .sessionLost, .terminated, .sourceFinished, .unwatched:
            published ? .unpublished : .stopped
        case .shutdown, .publisherGone, .keepAlive, .denied, .rejected, .failed, .notSetUp, .refused, .backendTimeout:
            .failed
        }
    }

    /// The client went away without a word, as far as the server can tell.
    var isLoss: Bool {
        switch self {
        case .sessionLost, .failed: true
        case .stoppedByUser, .terminated, .shutdown, .publisherGone, .sourceFinished, .unwatched, .keepAlive, .denied,
            .rejected, .notSetUp, .refused, .backendTimeout:
            false
        }
    }

    var info: String {
        switch self {
        case .stoppedByUser: StatusInfo.stoppedByUser.rawValue
        case .sessionLost: StatusInfo.stoppedBySessionDisconnect.rawValue
        case .terminated: StatusInfo.stoppedByTerminate.rawValue
        case .shutdown: StatusInfo.requestedStreamShutdown.rawValue
        case .publisherGone, .sourceFinished: StatusInfo.stoppedByPublisherStop.rawValue
        case .unwatched: "Stopped without players"
        case .keepAlive: StatusInfo.terminatedByKeepAlive.rawValue
        case .denied(let refusal): refusal.info
        case .rejected(let refusal): refusal.info
        case .failed(let info), .notSetUp(let info, _): info.rawValue
        case .refused(_, let reason): reason
        case .backendTimeout: SignallingError.backendTimeout.info
        }
    }

    var code: StatusCode? {
        switch self {
        case .stoppedByUser, .sessionLost, .terminated, .sourceFinished, .unwatched: nil
        case .shutdown: .unavailable
        case .publisherGone: .notFound
        case .keepAlive: StatusInfo.terminatedByKeepAlive.code
        case .denied(let refusal): refusal.code
        case .rejected(let refusal): refusal.code
        case .failed(let info): info.code
        case .notSetUp(_, let code): code
        case .refused(let code, _): StatusCode(rawValue: code)
        case .backendTimeout: SignallingError.backendTimeout.code
        }
    }

    /// Value of the metrics label `reason`; never made of a client's or backend's text.
    var label: String {
        switch self {
        case .failed(let info), .notSetUp(let info, _): info.label
        case .rejected(let refusal): refusal.label
        case .denied(let refusal): refusal.label
        case .refused: "refusedByBackend"
        case .stoppedByUser, .sessionLost, .terminated, .shutdown, .publisherGone, .sourceFinished, .unwatched,
            .keepAlive, .backendTimeout:
            "\(self)"
        }
    }
}

extension StatusInfo {
    var label: String { "\(self)" }

    /// The HTTP status that says the same.
    package var code: StatusCode {
        switch self {
        case .mediaSessionIdNull, .badURI: .badRequest
        case .nameInUse, .mediaSessionIdInUse: .conflict
        case .streamNotFound, .sessionDoesNotExist, .rtspNotFound, .fileNotFound, .cdnStreamNotFound,
            .stoppedByPublisherStop, .noAgentStorage:
            .notFound
        case .noCommonCodecs, .transcodingDisabled: .notAcceptable
        case .fileWrongFormat: .unsupportedMediaType
        case .restrictedAccess, .terminatedByKeepAlive: .forbidden
        case .iceTimeout: .timeout
        case .publishStreamNotReady, .requestedStreamShutdown, .sessionNotReady, .noTranscoders: .unavailable
        default: .internalError
        }
    }
}

/// Why a stream was not even begun.
enum Refusal: Hashable, Sendable, Error {
    case text(StatusInfo)
    case badName(String)
    case shuttingDown
    case draining
    case limit(Limit)
    case denied(RightsRefusal)

    enum Limit: String, Hashable, Sendable {
        case streams = "Limit of published streams is reached"
        case players = "Limit of players is reached"
        case playersPerStream = "Limit of players of this stream is reached"
        case sources = "Limit of streams on demand is reached"
        case streamsPerSession = "Limit of streams of this session is reached"
        case packetRate = "Limit of packets per second is reached"
        case cpu = "Limit of processor load is reached"
    }

    var info: String {
        switch self {
        case .text(let info): info.rawValue
        case .badName(let text): text
        case .shuttingDown: SignallingError.shuttingDown.info
        case .draining: SignallingError.draining.info
        case .limit(let limit): limit.rawValue
        case .denied(let refusal): refusal.info
        }
    }

    var code: StatusCode {
        switch self {
        case .text(let info): info.code
        case .badName: .badRequest
        case .shuttingDown, .draining: .unavailable
        case .limit(.streamsPerSession): .tooManyRequests
        case .limit: .unavailable
        case .denied(let refusal): refusal.code
        }
    }

    var label: String {
        switch self {
        case .text(let info): info.label
        case .badName: "badName"
        case .shuttingDown: "shuttingDown"
        case .draining: "draining"
        case .limit(let limit): "limitOf\(limit)"
        case .denied(let refusal): refusal.label
        }
    }
}
