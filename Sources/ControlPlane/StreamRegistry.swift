import Synchronization

/// Who holds which name, media session id and media peer.
///
/// The one place where sessions meet. Every operation is a single critical section without suspension, so a name is
/// claimed or refused, a player joins or learns that the publisher is gone, and nothing can come in between.
/// What a session does about it stays the session's own affair.
final class StreamRegistry: Sendable {
    /// Whom to call about a player.
    struct Player: Sendable {
        let session: ClientSession
        let mediaSessionId: String
        let peer: PeerID
        /// PLAYING or PAUSED: gets the publisher's events.
        var isLive = false
    }

    struct MuteState: Hashable, Sendable {
        var audio = false
        var video = false
    }

    struct VideoSize: Hashable, Sendable {
        let width: Int
        let height: Int
    }

    /// What a player that becomes live has to be told about its publisher.
    struct PublisherState: Sendable {
        var mute = MuteState()
        var size: VideoSize?
        /// Its pictures are not in the order in which they are shown (B frames).
        var isReordered = false
    }

    struct Publication {
        let session: ClientSession
        let mediaSessionId: String
        let peer: PeerID
        /// Of a publisher that is no client's.
        var source: (any OnDemandSource)?
        /// It ends since it has no players, and takes no new ones.
        var isRetired = false
        var liveSince: Duration?
        var description: MediaDescription?
        var state = PublisherState()
        var bitsPerSecond = 0
        var players: [PeerID: Player] = [:]
        /// Players that are no session's.
        var viewers = 0
        /// Others who want it to go on (`StreamHold`).
        var holds = 0

        /// Nobody wants it any more.
        var isUnwatched: Bool { source != nil && players.isEmpty && viewers == 0 && holds == 0 }
    }

    struct State {
        /// The server ends.
        var isDraining = false
        /// The operator wants nothing new to begin.
        var isClosed = false
        var limits: ControlConfiguration.Limits
        var load = LoadEstimate()
        /// Admitted sessions, also those whose backend is still being asked.
        var admitted = 0
        var admittedByAddress: [String: Int] = [:]
        var sessions: [String: ClientSession] = [:]
        var sessionsByToken: [String: ClientSession] = [:]
        var publications: [String: Publication] = [:]
        var mediaSessionIds: Set<String> = []
        var owners: [PeerID: ClientSession] = [:]
        /// Names that peers have claimed, to publish or to play.
        var claims: [PeerID: String] = [:]
        var players = 0
        var lastPeer: UInt64 = 0

        mutating func makePeer(for session: ClientSession, mediaSessionId: String) -> PeerID {
            lastPeer &+= 1
            let peer = PeerID(rawValue: lastPeer)
            owners[peer] = session
            mediaSessionIds.insert(mediaSessionId)
            return peer
        }
    }

    let state: Mutex<State>
    let metrics: ControlMetrics

    init(limits: ControlConfiguration.Limits, metrics: ControlMetrics) {
        state = Mutex(State(limits: limits))
        self.metrics = metrics
    }

    // MARK: Sessions

    /// Counts a session that wants to come in. Each success needs one `dismiss` in the end.
    func admit(address: String) throws(SignallingError) {
        let refusal = state.withLock { state -> SignallingError? in
            if state.isDraining { return .shuttingDown }
            if state.isClosed { return .draining }
            if state.admitted >= state.limits.sessions { return .tooManySessions }
            let fromThere = state.admittedByAddress[address, default: 0]
            if fromThere >= state.limits.sessionsPerAddress { return .tooManySessionsFromAddress }
            state.admitted += 1
            state.admittedByAddress[address] = fromThere + 1
            return nil
        }
        if let refusal { throw refusal }
    }

    /// Undoes `admit` and forgets the session, if it got that far.
    ///
    /// - Parameter address: nil for a session that never asked to come in.
    func dismiss(address: String?, session: ClientSession?) {
        let wasOpen = state.withLock { state in
            if let address {
                state.admitted -= 1
                let left = state.admittedByAddress[address, default: 1] - 1
                state.admittedByAddress[address] = left > 0 ? left : nil
            }
            guard let session, state.sessions.removeValue(forKey: session.id) != nil else { return false }
            state.sessionsByToken[session.authToken] = nil
            return true
        }
        if wasOpen, address != nil { metrics.sessions.add(-1) }
    }

    /// False if the shutdown began meanwhile.
    func add(_ session: ClientSession) -> Bool {
        let added = state.withLock { state in
            if state.isDraining { return false }
            state.sessions[session.id] = session
            state.sessionsByToken[session.authToken] = session
            return true
        }
        if added, session.facts.kind != .onDemand { metrics.sessions.add(1) }
        return added
    }

    /// From now on nothing new is taken; returns the sessions that there are.
    func startDraining() -> [ClientSession] {
        state.withLock { state in
            state.isDraining = true
            return Array(state.sessions.values)
        }
    }

    var sessions: [ClientSession] { state.withLock { Array($0.sessions.values) } }

    func session(_ id: String) -> ClientSession? { state.withLock { $0.sessions[id] } }

    func session(token: String) -> ClientSession? { state.withLock { $0.sessionsByToken[token] } }

    func owner(of peer: PeerID) -> ClientSession? { state.withLock { $0.owners[peer] } }

    // MARK: Streams

    /// Takes a media session id and makes the peer that goes with it. Each success needs one `release` in the end.
    func reserve(_ mediaSessionId: String, session: ClientSession) -> Result<PeerID, Refusal> {
        state.withLock { state in
            if state.isDraining { return .failure(.shuttingDown) }
            if state.isClosed { return .failure(.draining) }
            if state.mediaSessionIds.contains(mediaSessionId) { return .failure(.text(.mediaSessionIdInUse)) }
            return .success(state.makePeer(for: session, mediaSessionId: mediaSessionId))
        }
    }

    func claimPublisher(
        _ request: StreamRequest, peer: PeerID, session: ClientSession, source: (any OnDemandSource)? = nil
    ) -> Refusal? {
        let refusal = state.withLock { state -> Refusal? in
            if state.isDraining { return .shuttingDown }
            if state.publications[request.name] != nil { return .text(.nameInUse) }
            if state.publications.count >= state.limits.streams { return .limit(.streams) }
            if let limit = state.load.refusal(state.limits) { return .limit(limit) }
            state.claims[peer] = request.name
            state.publications[request.name] = Publication(
                session: session, mediaSessionId: request.mediaSessionId, peer: peer, source: source)
            return nil
        }
        if refusal == nil { metrics.streams.add(1) }
        return refusal
    }

    /// Returns the publisher. The player belongs to the publication then: if the publisher ends at any later moment, it
    /// is told.
    func claimPlayer(
        _ request: StreamRequest, of name: String, peer: PeerID, session: ClientSession
    ) -> Result<PeerID, Refusal> {
        let result = state.withLock { state -> Result<PeerID, Refusal> in
            if state.isDraining { return .failure(.shuttingDown) }
            guard let publication = state.publications[name], !publication.isRetired else {
                return .failure(.text(.streamNotFound))
            }
            if publication.liveSince == nil { return .failure(.text(.publishStreamNotReady)) }
            if let refusal = state.refusal(ofPlayer: publication) { return .failure(refusal) }
            state.players += 1
            state.load.admitPlayer()
            state.claims[peer] = name
            state.publications[name]?.players[peer] = Player(
                session: session, mediaSessionId: request.mediaSessionId, peer: peer)
            return .success(publication.peer)
        }
        if case .success = result { metrics.players.add(1) }
        return result
    }

    /// Frees everything that a stream holds and returns the players that lost their publisher by it.
    func release(mediaSessionId: String, published: Bool, peer: PeerID) -> [Player] {
        let (claimed, orphans) = state.withLock { state -> (Bool, [Player]) in
            state.owners[peer] = nil
            state.mediaSessionIds.remove(mediaSessionId)
            guard let name = state.claims.removeValue(forKey: peer) else { return (false, []) }
            if published {
                return (true, (state.publications.removeValue(forKey: name)?.players.values).map(Array.init) ?? [])
            }
            state.players -= 1
            state.publications[name]?.players[peer] = nil
            return (true, [])
        }
        if claimed { published ? metrics.streams.add(-1) : metrics.players.add(-1) }
        return orphans
    }

    func setDescription(_ description: MediaDescription, name: String, peer: PeerID) {
        update(name, peer) { $0.description = description }
    }

    func markPublisherLive(name: String, peer: PeerID, now: Duration) {
        update(name, peer) { $0.liveSince = now }
    }

    /// nil if the publisher is gone; the player is about to be told.
    func markPlayerLive(name: String, peer: PeerID) -> PublisherState? {
        state.withLock { state in
            guard state.publications[name]?.players[peer] != nil else { return nil }
            state.publications[name]?.players[peer]?.isLive = true
            return state.publications[name]?.state
        }
    }

    /// Changes what later players will be told and returns those to be told now.
    func changePublisher(
        name: String, peer: PeerID, _ change: (inout PublisherState) -> Void
    ) -> [Player] {
        var players: [Player] = []
        update(name, peer) { publication in
            change(&publication.state)
            players = publication.players.values.filter(\.isLive)
        }
        return players
    }

    /// True if the size is another than before.
    func isNewSize(_ size: VideoSize, name: String, peer: PeerID) -> Bool {
        state.withLock { state in
            guard let publication = state.publications[name], publication.peer == peer else { return false }
            return publication.state.size != size
        }
    }

    /// The source behind a publication, if no client publishes it.
    func source(of name: String) -> (any OnDemandSource)? { state.withLock { $0.publications[name]?.source } }

    /// The publisher of that name, if it is a source on demand that nobody plays.
    func unwatched(_ name: String) -> (session: ClientSession, mediaSessionId: String, peer: PeerID)? {
        state.withLock { state in
            guard let publication = state.publications[name], publication.isUnwatched else { return nil }
            return (publication.session, publication.mediaSessionId, publication.peer)
        }
    }

    /// From now on nobody can play it. False if somebody does.
    func retire(_ name: String, peer: PeerID) -> Bool {
        var isRetired = false
        update(name, peer) { publication in
            if publication.isUnwatched { publication.isRetired = true }
            isRetired = publication.isRetired
        }
        return isRetired
    }

    /// Counts a viewer who is no player. nil: nothing is published under that name, or it is about to end.
    func hold(_ name: String) -> PeerID? {
        state.withLock { state in
            guard let publication = state.publications[name], publication.liveSince != nil, !publication.isRetired
            else { return nil }
            state.publications[name]?.holds += 1
            return publication.peer
        }
    }

    /// Undoes `hold`.
    func letGo(_ name: String, peer: PeerID) { update(name, peer) { $0.holds -= 1 } }

    func setBitrate(_ bitsPerSecond: Int, name: String, peer: PeerID) {
        update(name, peer) { $0.bitsPerSecond = bitsPerSecond }
    }

    private func update(_ name: String, _ peer: PeerID, _ body: (inout Publication) -> Void) {
        state.withLock { state in
            guard var publication = state.publications.removeValue(forKey: name) else { return }
            if publication.peer == peer { body(&publication) }
            state.publications[name] = publication
        }
    }

    // MARK: Questions

    enum Availability { case available, notReady, notFound }

    func availability(_ name: String) -> Availability {
        state.withLock { state in
            guard let publication = state.publications[name] else { return .notFound }
            return publication.liveSince == nil ? .notReady : .available
        }
    }

    /// The media peer of a stream that can be played.
    func livePublisher(of name: String) -> PeerID? {
        state.withLock { state in
            state.publications[name].flatMap { $0.liveSince == nil ? nil : $0.peer }
        }
    }

    func publisher(of name: String) -> (session: ClientSession, mediaSessionId: String)? {
        state.withLock { state in state.publications[name].map { ($0.session, $0.mediaSessionId) } }
    }

    /// The publisher with that media session id, and its peer.
    func publisher(mediaSessionId: String) -> (session: ClientSession, peer: PeerID)? {
        state.withLock { state in
            state.publications.values.first { $0.mediaSessionId == mediaSessionId }.map { ($0.session, $0.peer) }
        }
    }

    /// Size and bitrate of a published stream, as far as they are known.
    func publication(of name: String) -> (size: VideoSize?, bitsPerSecond: Int, isReordered: Bool)? {
        state.withLock { state in
            state.publications[name].map { ($0.state.size, $0.bitsPerSecond, $0.state.isReordered) }
        }
    }

    /// nil if nothing is published under that name.
    func livePlayers(of name: String) -> [Player]? {
        state.withLock { state in state.publications[name].map { $0.players.values.filter(\.isLive) } }
    }

    /// Sorted by name.
    func summaries(now: Duration) -> [StreamSummary] {
        let publications = state.withLock { $0.publications }
        return publications.map { name, publication in
            StreamSummary(
                name: name, mediaSessionId: publication.mediaSessionId, sessionId: publication.session.id,
                kind: publication.session.facts.kind, isLive: publication.liveSince != nil,
                hasAudio: publication.description?.hasAudio ?? false,
                hasVideo: publication.description?.hasVideo ?? false,
                audioCodec: publication.description?.audioCodec, videoCodec: publication.description?.videoCodec,
                width: publication.state.size?.width ?? 0, height: publication.state.size?.height ?? 0,
                bitsPerSecond: publication.bitsPerSecond, audioMuted: publication.state.mute.audio,
                videoMuted: publication.state.mute.video, isReordered: publication.state.isReordered,
                players: publication.players.count, viewers: publication.viewers,
                uptime: publication.liveSince.map { now - $0 } ?? .zero)
        }.sorted { $0.name < $1.name }
    }
}
