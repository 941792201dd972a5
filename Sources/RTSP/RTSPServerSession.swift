import MediaFormats
import SDP
import Wire

/// The server's side of one connection (RFC 2326 §A.2): requests, answers of the outside and time go in, outputs come
/// out. No I/O, no clock. Requests are answered in their order, one at a time.
///
/// A session lives in its connection: it ends with it, whatever its transport, and is not known in others.
package struct RTSPServerSession {
    /// What the client does with the stream that the session is about.
    enum Role {
        /// `query`: with which the tracks were described, as they depend on it.
        case play(name: String, query: String?, tracks: [TrackDescription])
        /// `uri`: of the ANNOUNCE, to which the tracks' controls are joined.
        case record(name: String, uri: String, tracks: [RTSPDescription.Track])

        var name: String {
            switch self {
            case .play(let name, _, _), .record(let name, _, _): name
            }
        }
        var isRecord: Bool { if case .record = self { true } else { false } }
    }

    /// The request that is being dealt with.
    struct Current {
        var request: RTSPRequest
        var method: RTSPMethod
        var target: RTSPTarget?
        var user: String?
        var bearerToken: String?
        var stage = Stage.begin
    }

    /// What the outside has been asked for the current request.
    enum Stage { case begin, access, description, play, announce, record }

    let settings: RTSPServerSettings
    let peer: RTSPPeer
    private let makeSessionID: @Sendable () -> String
    /// Nil: there is no SRTP.
    let keyMaker: RTSPKeyMaker?
    let makeSSRC: @Sendable (_ stream: String, _ track: Int) -> UInt32
    private var authenticator: ServerAuthenticator

    private var outputs: [RTSPServerOutput] = []
    private var waiting: [RTSPRequest] = []
    var current: Current?
    private var ticket = 0
    package private(set) var isClosed = false

    var role: Role?
    var sessionID: String?
    var tracks: [RTSPSetUpTrack] = []
    /// What the tracks' relative controls are joined to.
    var base = ""
    /// PLAY or RECORD is in force.
    package private(set) var isStreaming = false
    /// Of DESCRIBE or SETUP: later requests of the session mean the same, though clients leave it out.
    var query: String?
    /// How the player was told keys in the description.
    var exchange: KeyExchange?
    /// Those under which we send, by track.
    var ownKeys: [Int: OwnKey] = [:]
    /// Something of the outside is held for us: a name, a player.
    private var holdsOutside = false

    private var sawRequest = false
    private var lastSign: Instant

    /// - Parameters:
    ///   - makeSecret: A text that nobody can guess, at each call: session identifiers and nonces.
    ///   - makeSSRC: The source identifier of a stream's track, not 0: the same for all players in connections, so that
    ///     they can be sent the same bytes.
    ///   - keyMaker: Of SRTP; nil: there is none.
    package init(
        settings: RTSPServerSettings, peer: RTSPPeer, now: Instant, makeSecret: @escaping @Sendable () -> String,
        makeSSRC: @escaping @Sendable (_ stream: String, _ track: Int) -> UInt32, keyMaker: RTSPKeyMaker? = nil
    ) {
        self.settings = settings
        self.peer = peer
        self.makeSSRC = makeSSRC
        self.keyMaker = keyMaker
        makeSessionID = makeSecret
        lastSign = now
        authenticator = ServerAuthenticator(
            settings: settings.auth, users: settings.users, isSecure: peer.isSecure, makeNonce: makeSecret)
    }

    // MARK: Inputs

    /// No further request is taken until the outside has answered: stop to read.
    package var isFull: Bool { waiting.count >= settings.maxPendingRequests }

    package mutating func receive(_ message: RTSPMessage, now: Instant) {
        guard !isClosed else { return }
        sawRequest = true
        lastSign = now
        // We send no requests: a response is a mistake of somebody, without harm.
        guard case .request(let request) = message else { return }
        waiting.append(request)
        advance(now: now)
    }

    /// The bytes of the connection were no RTSP.
    package mutating func receive(_ error: RTSPParseError) {
        guard !isClosed else { return }
        outputs.append(.send(RTSPResponse(error.status, headers: ["Server": settings.product]).bytes))
        close(.malformed)
    }

    /// Which track a packet in the connection belongs to; `nil` if it is of none, or nothing is to be sent now.
    package mutating func route(channel: UInt8, now: Instant) -> (track: Int, isRTCP: Bool)? {
        guard isStreaming else { return nil }
        for track in tracks {
            guard case .interleaved(let channels) = track.path else { continue }
            guard channel == channels.rtp || channel == channels.rtcp else { continue }
            lastSign = now
            return (track.index, channel == channels.rtcp)
        }
        return nil
    }

    /// A datagram of the client's has come: RTCP of a player, media of a publisher.
    package mutating func noteSignOfLife(now: Instant) { lastSign = now }

    /// - Parameter ticket: Of the question. Answers to questions that are no longer open are not heard.
    package mutating func answer(_ answer: RTSPAnswer, ticket: Int, now: Instant) {
        guard !isClosed, ticket == self.ticket, let current, current.stage != .begin else {
            return
        }
        self.ticket += 1
        proceed(current, with: answer)
        advance(now: now)
    }

    /// The stream that is played is gone, or the publication was ended from outside.
    package mutating func streamEnded() { close(.streamEnded) }

    /// The client may go on no longer.
    package mutating func rightsEnded() { close(.rightsEnded) }

    package mutating func shutDown() { close(.shutdown) }

    /// The connection is gone.
    package mutating func connectionLost() {
        guard !isClosed else { return }
        endSession()
        isClosed = true
    }

    // MARK: Outputs

    package mutating func poll() -> RTSPServerOutput? { outputs.isEmpty ? nil : outputs.removeFirst() }

    /// When `tick` is to be called at the latest.
    package var deadline: Instant {
        // Questions are answered in bounded time; nobody is to blame for the wait.
        guard !isClosed, current == nil else { return .distantFuture }
        return timeout().at
    }

    package mutating func tick(now: Instant) {
        let (at, reason) = timeout()
        guard !isClosed, current == nil, now >= at else { return }
        close(reason)
    }

    private func timeout() -> (at: Instant, reason: RTSPCloseReason) {
        guard sawRequest else { return (lastSign + settings.firstRequestTimeout, .noRequest) }
        guard sessionID != nil else { return (lastSign + settings.idleTimeout, .idle) }
        // A player in the connection lives as long as it reads: the bound of what waits for it says when it does not.
        if isStreaming, role?.isRecord == false, tracks.allSatisfy(\.isInterleaved) {
            return (.distantFuture, .sessionTimeout)
        }
        return (lastSign + .seconds(Int64(settings.sessionTimeout)) + settings.sessionGrace, .sessionTimeout)
    }

    // MARK: Requests in turn

    private mutating func advance(now: Instant) {
        while !isClosed, current == nil, !waiting.isEmpty {
            begin(waiting.removeFirst(), now: now)
        }
    }

    private mutating func begin(_ request: RTSPRequest, now: Instant) {
        let target = RTSPTarget(request.uri)
        current = Current(request: request, method: .options, target: target)
        guard request.version != nil else { return respond(.versionNotSupported) }
        guard request.cSeq != nil else { return respond(.badRequest) }
        let required = request.headers.list("Require") + request.headers.list("Proxy-Require")
        let unknown = required.filter { !Self.features.contains($0.asciiLowercased) }
        guard unknown.isEmpty else {
            return respond(.optionNotSupported, ["Unsupported": unknown.joined(separator: ", ")])
        }
        guard let method = request.method, method != .redirect, method != .playNotify else {
            return respond(.notImplemented, ["Public": publicMethods])
        }
        current?.method = method
        if let value = request.headers["Session"] {
            guard let sessionID, RTSPSessionHeader(value)?.id == sessionID else { return respond(.sessionNotFound) }
        }
        if method == .options { return respond(.ok, ["Public": publicMethods]) }
        guard target != nil || request.uri == "*" else { return respond(.notFound) }
        if let value = request.headers["Authorization"], case .bearer(let token)? = AuthCredentials(value) {
            current?.bearerToken = token
        }
        guard logIn(request, isPublishing: method == .announce || role?.isRecord == true, now: now) else { return }
        query = target?.query ?? query
        dispatch()
    }

    /// Features of RFC 7826 §11.1 that we have.
    private static let features: Set<String> = ["play.basic"]

    var publicMethods: String {
        var methods: [RTSPMethod] = [
            .options, .describe, .setup, .play, .pause, .teardown, .getParameter, .setParameter,
        ]
        if settings.allowsPublishing { methods += [.announce, .record] }
        return methods.map(\.rawValue).joined(separator: ", ")
    }

    /// False if the client has been told to log in (again).
    private mutating func logIn(_ request: RTSPRequest, isPublishing: Bool, now: Instant) -> Bool {
        guard isPublishing ? settings.publishersLogIn : settings.playersLogIn else { return true }
        switch authenticator.verify(request, now: now) {
        case .user(let user):
            current?.user = user
            return true
        case .challenge(let values):
            var headers = RTSPHeaders()
            for value in values { headers.add("WWW-Authenticate", value) }
            respond(.unauthorized, headers)
            return false
        case .tooManyFailures:
            respond(.unauthorized)
            close(.tooManyFailures)
            return false
        }
    }

    // MARK: For the methods

    mutating func ask(_ question: RTSPQuestion, stage: Stage) {
        current?.stage = stage
        if stage == .play || stage == .announce || stage == .record { holdsOutside = true }
        outputs.append(.ask(ticket: ticket, question))
    }

    /// Answers the current request.
    mutating func respond(_ status: RTSPStatus, _ headers: RTSPHeaders = [:], body: [UInt8] = []) {
        guard let request = current?.request else { return }
        var all = RTSPHeaders()
        if let cSeq = request.headers["CSeq"] { all.add("CSeq", cSeq) }
        all.add("Server", settings.product)
        if let sessionID, status != .sessionNotFound {
            all.add("Session", RTSPSessionHeader(id: sessionID, timeout: settings.sessionTimeout).text)
        }
        for (name, value) in headers.fields { all.add(name, value) }
        outputs.append(.send(RTSPResponse(status, version: request.version ?? .v1, headers: all, body: body).bytes))
        current = nil
    }

    /// Refuses the current request with the outside's words.
    mutating func refuse(_ status: RTSPStatus) {
        respond(
            status, status == .unauthorized ? ["WWW-Authenticate": "Bearer realm=\(settings.auth.realm.quoted)"] : [:])
        if status == .forbidden { close(.refused) }
    }

    mutating func beginSession() {
        if sessionID == nil { sessionID = makeSessionID() }
    }

    mutating func startStreaming() { isStreaming = true }

    mutating func pauseStreaming() {
        guard isStreaming else { return }
        isStreaming = false
        outputs.append(.pause)
    }

    /// Forgets the session; the connection may begin another.
    mutating func endSession() {
        if holdsOutside { outputs.append(.end) }
        holdsOutside = false
        isStreaming = false
        (role, sessionID, query) = (nil, nil, nil)
        forgetKeys()
        tracks = []
        base = ""
    }

    mutating func close(_ reason: RTSPCloseReason) {
        guard !isClosed else { return }
        endSession()
        current = nil
        waiting = []
        isClosed = true
        outputs.append(.close(reason))
    }
}

extension RTSPSetUpTrack {
    var isInterleaved: Bool { if case .interleaved = path { true } else { false } }
}
