/// A stream of a session from its acceptance to its end. It is live as long as it is in the session's table;
/// taking it out is the one way to end it.
struct ManagedStream {
    enum Phase: Hashable {
        /// The backend, then the media side is being asked.
        case settingUp
        /// The answer was sent; ICE and DTLS are awaited.
        case connecting
        case live
        /// Players only.
        case paused
    }

    /// As the client asked, then as the backend changed it.
    var request: StreamRequest
    /// The name that the client asked for: its rights are about that.
    let askedName: String
    let published: Bool
    /// Of a player, once known: the name under which what it plays is published, if that is not the one it asked for.
    var publication: String?
    /// Of a publisher that is no client's.
    var source: OnDemandLife?
    let peer: PeerID
    /// When the request came.
    let begun: Duration
    var phase = Phase.settingUp
    /// A valid ICE pair exists.
    var iceIsUp = false
    /// The media path came up before the answer was processed here.
    var connectedEarly = false
    var description: MediaDescription?
    /// Of the publisher, as this client knows it.
    var mute = StreamRegistry.MuteState()
    /// What asks the backend and the media side.
    var setup: Task<Void, Never>?
    /// What ends the stream unless something happens first.
    var deadline: Task<Void, Never>?
    /// What ends it when the client's right does.
    var expiry: Task<Void, Never>?
    /// The last one.
    var recording: StreamRecording?
    /// Its end has begun and waits for the recording's; opens when the stream has ended.
    var ending: Gate?
    var rate = RateMeter()
    /// Of the stream events of a publisher.
    var eventRate = RateBound(perSecond: Self.eventsPerSecond, burst: 2 * Self.eventsPerSecond)
    static let eventsPerSecond = 100

    var isEnding: Bool { ending != nil }

    /// Under which name it, or what it plays, is published.
    var publishedName: String { publication ?? request.name }

    /// Whether it is being recorded; while the backend is asked, whether the client wants it.
    private var isRecorded: Bool { recording?.isOn ?? (phase == .settingUp && request.record) }

    var isLive: Bool { phase == .live || phase == .paused }

    var status: StreamStatus {
        switch phase {
        case .settingUp, .connecting: .pending
        case .live: published ? .publishing : .playing
        case .paused: .paused
        }
    }

    func event(
        _ status: StreamStatus, info: String? = nil, code: StatusCode? = nil
    ) -> StreamStatusEvent {
        var event = StreamStatusEvent(
            request: request, published: published, status: status, info: info, code: code, audioMuted: mute.audio,
            videoMuted: mute.video)
        if let description {
            event.hasAudio = description.hasAudio
            event.hasVideo = description.hasVideo
        }
        // A client hears the name that it knows; what the backend made of it may have a password.
        if request.name != askedName { event.name = StreamName.shown(request.name) }
        event.record = isRecorded
        if status.isTerminal, let fileName = recording?.fileName {
            event.record = true
            event.recordName = fileName
        }
        return event
    }
}

/// Turns cumulative byte counts into bit rates.
struct RateMeter {
    /// What the last sample gave.
    private(set) var current: (total: Int, video: Int)?
    private var last: (total: UInt64, video: UInt64, at: Duration)?

    /// Bits per second since the previous sample; nil for the first one and after the counters were reset.
    mutating func sample(total: UInt64, video: UInt64, at now: Duration) -> (total: Int, video: Int)? {
        defer { last = (total, video, now) }
        guard let last, total >= last.total, video >= last.video, now > last.at else { return nil }
        let seconds = (now - last.at) / .seconds(1)
        guard let totalRate = Int(exactly: (Double(total - last.total) * 8 / seconds).rounded()),
            let videoRate = Int(exactly: (Double(video - last.video) * 8 / seconds).rounded())
        else { return nil }
        current = (totalRate, videoRate)
        return current
    }
}
