import MediaFormats
import SDP
import Wire

/// One attempt to pull a stream: from the first connection, over redirects and log-in, to the end of the media. No I/O,
/// no clock; responses, packets' channels and time go in, outputs come out. One request is open at a time.
package struct RTSPClientSession {
    enum State {
        case connecting
        case describing
        case settingUp
        case starting
        case playing
        case over
    }

    struct Pending {
        var request: RTSPRequest
        var method: RTSPMethod
        var cSeq: UInt32
        var deadline: Instant
    }

    let settings: RTSPClientSettings
    private let makeNonce: @Sendable () -> String
    private var outputs: [RTSPClientOutput] = []

    var url: RTSPURL
    var state = State.connecting
    private var authenticator: ClientAuthenticator?
    var pending: Pending?
    private var nextCSeq: UInt32 = 1
    private var redirects = 0
    /// When the state must have changed.
    private var stateDeadline: Instant

    // Of the presentation
    var base = ""
    var aggregate = ""
    var wanted: [RTSPDescription.Track] = []
    var tracks: [RTSPPulledTrack] = []
    var transport = 0
    var boundPorts: RTSPTransport.Pair<UInt16>?
    var session: RTSPSessionHeader?
    var knowsGetParameter = false
    private var lastRequest: Instant
    private var lastMedia: Instant
    /// Since when there has been media.
    package private(set) var playingSince: Instant?

    package init(
        url: RTSPURL, settings: RTSPClientSettings, now: Instant, makeNonce: @escaping @Sendable () -> String
    ) {
        self.url = url
        self.settings = settings
        self.makeNonce = makeNonce
        stateDeadline = now + settings.responseTimeout
        lastRequest = now
        lastMedia = now
        authenticator = makeAuthenticator(for: url)
        outputs.append(.connect(url))
    }

    private func makeAuthenticator(for url: RTSPURL) -> ClientAuthenticator? {
        guard let user = url.user else { return nil }
        return ClientAuthenticator(
            user: user, password: url.password ?? "",
            allowsBasic: url.scheme == .rtsps || settings.allowsBasicInClear, makeNonce: makeNonce)
    }

    // MARK: Inputs

    package mutating func connected(now: Instant) {
        guard state == .connecting else { return }
        state = .describing
        send(.options, requestURI, now: now)
    }

    /// What the shell had to do could not be done, or the connection is gone.
    package mutating func failed(_ failure: RTSPPullFailure) { end(failure) }

    package mutating func receive(_ message: RTSPMessage, now: Instant) {
        guard state != .over, state != .connecting else { return }
        switch message {
        case .response(let response): receive(response, now: now)
        case .request(let request): receive(request, now: now)
        }
    }

    package mutating func receive(_ error: RTSPParseError) { end(.malformed) }

    /// Which track a packet in the connection belongs to; nil: none, throw it away.
    package mutating func route(channel: UInt8, now: Instant) -> (track: Int, isRTCP: Bool)? {
        guard state == .starting || state == .playing else { return nil }
        for (index, track) in tracks.enumerated() {
            guard case .interleaved(let channels) = track.path else { continue }
            guard channel == channels.rtp || channel == channels.rtcp else { continue }
            if channel == channels.rtp { noteMedia(now: now) }
            return (index, channel == channels.rtcp)
        }
        return nil
    }

    /// An RTP packet has come.
    package mutating func noteMedia(now: Instant) {
        lastMedia = now
        if state == .playing, playingSince == nil { playingSince = now }
    }

    /// The ports of the track that `bind` asked for.
    package mutating func bound(_ ports: RTSPTransport.Pair<UInt16>, now: Instant) {
        guard state == .settingUp, pending == nil else { return }
        boundPorts = ports
        sendSetUp(now: now)
    }

    /// Ends politely: the server is told.
    package mutating func stop(now: Instant) {
        guard state != .over else { return }
        if session != nil, state == .playing || state == .starting { send(.teardown, aggregate, now: now) }
        end(.shutdown)
    }

    // MARK: Outputs

    package mutating func poll() -> RTSPClientOutput? { outputs.isEmpty ? nil : outputs.removeFirst() }

    package var deadline: Instant {
        switch state {
        case .over: .distantFuture
        case .playing: min(lastMedia + settings.mediaTimeout, min(nextKeepAlive, pending?.deadline ?? .distantFuture))
        case .connecting, .describing, .settingUp, .starting: pending?.deadline ?? stateDeadline
        }
    }

    package mutating func tick(now: Instant) {
        switch state {
        case .over: break
        case .playing:
            guard now < lastMedia + settings.mediaTimeout else { return end(.silent) }
            // Media is the better sign of life: many cameras never answer what comes after PLAY.
            if let pending, now >= pending.deadline { self.pending = nil }
            if now >= nextKeepAlive { send(knowsGetParameter ? .getParameter : .options, aggregate, now: now) }
        case .connecting, .describing, .settingUp, .starting:
            if let pending {
                if now >= pending.deadline { end(.noResponse(pending.method)) }
            } else if now >= stateDeadline {
                end(.connect("no connection in time"))
            }
        }
    }

    private var nextKeepAlive: Instant {
        let timeout = Int64(session?.timeout ?? RTSPSessionHeader.standardTimeout)
        let part = Interval(nanoseconds: Int64(Double(timeout) * settings.keepAlivePart * 1e9))
        let due = lastRequest + max(part, .seconds(1))
        guard let pending else { return due }
        return max(due, pending.deadline)
    }

    // MARK: Steps

    var requestURI: String {
        var target = url
        if target.path.isEmpty { target.path = "/" }
        return target.requestURI
    }

    mutating func send(_ method: RTSPMethod, _ uri: String, _ headers: RTSPHeaders = [:], now: Instant) {
        var request = RTSPRequest(method, uri)
        request.headers["CSeq"] = String(nextCSeq)
        request.headers.add("User-Agent", settings.userAgent)
        if let session { request.headers.add("Session", session.id) }
        if let credentials = authenticator?.credentials(method: method, uri: uri) {
            request.headers.add("Authorization", credentials)
        }
        for (name, value) in headers.fields { request.headers.add(name, value) }
        pending = Pending(
            request: request, method: method, cSeq: nextCSeq, deadline: now + settings.responseTimeout)
        lastRequest = now
        nextCSeq &+= 1
        outputs.append(.send(request.bytes))
    }

    /// The same request again, with credentials for the challenge of this response. False if there are none.
    mutating func retry(_ old: Pending, _ response: RTSPResponse, now: Instant) -> Bool {
        guard authenticator?.take(response.headers) == true else { return false }
        var headers: RTSPHeaders = [:]
        for name in ["Accept", "Transport", "Range"] {
            if let value = old.request.headers[name] { headers.add(name, value) }
        }
        send(old.method, old.request.uri, headers, now: now)
        return true
    }

    mutating func redirect(to location: String?, now: Instant) {
        redirects += 1
        guard redirects <= settings.maxRedirects else { return end(.tooManyRedirects) }
        guard let location, var target = RTSPURL(location) else { return end(.badRedirect) }
        // Whoever redirects could otherwise have the next request, password and all, sent in clear.
        guard url.scheme == .rtsp || target.scheme == .rtsps else { return end(.badRedirect) }
        if target.user == nil, target.host == url.host, target.port == url.port {
            (target.user, target.password) = (url.user, url.password)
        }
        url = target
        authenticator = makeAuthenticator(for: target)
        pending = nil
        (session, boundPorts) = (nil, nil)
        (wanted, tracks, transport) = ([], [], 0)
        playingSince = nil
        state = .connecting
        stateDeadline = now + settings.responseTimeout
        outputs.append(.disconnect)
        outputs.append(.connect(target))
    }

    /// The next track's ports or SETUP, or PLAY if all are set up.
    mutating func advanceSetUp(now: Instant) {
        guard tracks.count < wanted.count else {
            state = .starting
            return send(.play, aggregate, ["Range": "npt=0.000-"], now: now)
        }
        boundPorts = nil
        if settings.transports[transport] == .udp {
            stateDeadline = now + settings.responseTimeout
            outputs.append(.bind(track: tracks.count))
        } else {
            sendSetUp(now: now)
        }
    }

    mutating func sendSetUp(now: Instant) {
        let index = tracks.count
        var way = RTSPTransport(settings.transports[transport])
        switch way.lower {
        case .tcp:
            let first = UInt8(truncatingIfNeeded: 2 * index)
            way.interleaved = .init(first, first + 1)
        case .udp: way.clientPort = boundPorts
        }
        let uri = ControlURL.join(base: base, control: wanted[index].control ?? "")
        send(.setup, uri, ["Transport": way.text], now: now)
    }

    mutating func startPlaying(now: Instant) {
        state = .playing
        lastMedia = now
        outputs.append(.playing(tracks))
    }

    mutating func reply(_ response: RTSPResponse) { outputs.append(.send(response.bytes)) }

    mutating func end(_ failure: RTSPPullFailure) {
        guard state != .over else { return }
        state = .over
        pending = nil
        outputs.append(.disconnect)
        outputs.append(.failed(failure))
    }
}
