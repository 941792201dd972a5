import MediaFormats
import SDP
import Wire

extension RTSPServerSession {
    /// Begins with the current request, whose client is who it says.
    mutating func dispatch() {
        guard let current else { return }
        switch current.method {
        case .options, .redirect, .playNotify: respond(.notImplemented)
        case .announce: announce(current)
        case .record: record(current)
        case .describe, .setup, .play, .pause, .getParameter, .setParameter, .teardown:
            if let status = refusalBeforeAccess(current) { return respond(status, allowHeaders(status)) }
            // Players are asked for at every method (WCS); what a publisher may was decided at ANNOUNCE.
            let name = current.target?.name ?? role?.name
            guard role?.isRecord != true, let name else { return perform(current) }
            ask(.mayPlay(access(current, name: name)), stage: .access)
        }
    }

    func access(_ current: Current, name: String) -> RTSPAccess {
        RTSPAccess(
            method: current.method, name: name, url: current.target?.url ?? current.request.uri,
            query: current.target?.query ?? query, userAgent: current.request.headers["User-Agent"],
            user: current.user, bearerToken: current.bearerToken)
    }

    private func allowHeaders(_ status: RTSPStatus) -> RTSPHeaders {
        status == .methodNotValidInState || status == .methodNotAllowed ? ["Allow": publicMethods] : [:]
    }

    /// What is wrong with a request by itself or in this state; nobody need be asked then.
    private func refusalBeforeAccess(_ current: Current) -> RTSPStatus? {
        let headers = current.request.headers
        switch current.method {
        case .describe:
            guard role?.isRecord != true else { return .methodNotValidInState }
            guard current.target != nil else { return .methodNotAllowed }
            let accepted = headers.list("Accept")
            let isAccepted =
                accepted.isEmpty
                || accepted.contains { type in
                    let plain = Substring(type).halves(at: UInt8(ascii: ";")).head.trimmed
                    return ["application/sdp", "application/*", "*/*"].contains { plain.equalsIgnoringCase($0) }
                }
            return isAccepted ? nil : .notAcceptable
        case .setup:
            guard current.target != nil else { return .methodNotAllowed }
            guard !isStreaming else { return .methodNotValidInState }
            return headers["Transport"] == nil ? .badRequest : nil
        case .play, .pause, .teardown:
            // RFC 2326 §A.2: only SETUP leads out of the initial state.
            guard sessionID != nil else {
                return current.method == .teardown ? .sessionNotFound : .methodNotValidInState
            }
            guard headers["Session"] != nil else { return .sessionNotFound }
            guard current.target == nil || isOfSession(current) else { return .notFound }
            if current.method == .play, role?.isRecord == true { return .methodNotValidInState }
            return nil
        case .getParameter, .setParameter:
            return current.request.body.isEmpty ? nil : .parameterNotUnderstood
        case .options, .announce, .record, .redirect, .playNotify: return nil
        }
    }

    /// The URL names the session's stream, or one of its tracks.
    private func isOfSession(_ current: Current) -> Bool {
        guard case .record(_, let uri, let all)? = role else { return current.target?.name == role?.name }
        return current.target?.name == role?.name || Self.sameResource(current.request.uri, uri)
            || recordTrackIndex(current.request.uri, uri, all) != nil
    }

    /// Carries out the current request, which is allowed.
    private mutating func perform(_ current: Current) {
        switch current.method {
        case .describe:
            ask(.describe(name: current.target?.name ?? "", query: query), stage: .description)
        case .setup: setUp(current)
        case .play: play(current)
        case .pause:
            pauseStreaming()
            respond(.ok)
        case .getParameter, .setParameter: respond(.ok)
        case .teardown: tearDown(current)
        case .options, .announce, .record, .redirect, .playNotify: respond(.notImplemented)
        }
    }

    /// The outside has answered what the current request waits for.
    mutating func proceed(_ current: Current, with answer: RTSPAnswer) {
        if case .refused(let status) = answer {
            switch current.stage {
            case .announce, .record:
                // The name is nobody's again.
                refuse(status)
                if !isClosed { endSession() }
            case .access where current.method == .teardown:
                endSession()
                refuse(status)
            default:
                // A wish that was refused is not that of the next request, which may leave it out on purpose.
                if role == nil { query = nil }
                refuse(status)
            }
            return
        }
        switch (current.stage, answer) {
        case (.access, .allowed): perform(current)
        case (.description, .tracks(let tracks)):
            let tracks = Array(tracks.prefix(settings.maxTracks))
            if current.method == .describe {
                described(current, tracks)
            } else {
                setUpPlayer(current, tracks, query: query)
            }
        case (.play, .playing(let first)):
            startStreaming()
            respondPlaying(current, first)
        case (.announce, .allowed): respond(.ok)
        case (.record, .allowed):
            startStreaming()
            respond(.ok)
        default: respond(.internalError)
        }
    }

    private mutating func described(_ current: Current, _ tracks: [TrackDescription]) {
        guard let target = current.target, !tracks.isEmpty else { return respond(.notFound) }
        // A session that has begun keeps its tracks: what was set up must stay what it is.
        if self.tracks.isEmpty {
            role = .play(name: target.name, query: query, tracks: tracks)
            forgetKeys()
            exchange = wantedExchange
            if exchange != nil, let keysRefusal { return respond(keyFailure(keysRefusal, current)) }
        }
        let text = RTSPDescription.text(
            name: target.name, tracks: tracks, sessionID: Self.version(of: tracks),
            keys: role?.name == target.name ? keyOffers(name: target.name, count: tracks.count) : [])
        var headers: RTSPHeaders = ["Content-Base": target.base, "Content-Type": "application/sdp"]
        headers.add("Cache-Control", "no-cache")
        respond(.ok, headers, body: Array(text.utf8))
    }

    /// The same for the same tracks.
    private static func version(of tracks: [TrackDescription]) -> UInt64 {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        func add(_ bytes: some Sequence<UInt8>) {
            for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        }
        for track in tracks {
            add(track.codec.rawValue.utf8)
            add(track.formatParameters.utf8)
            for set in track.parameterSets { add(set) }
        }
        return hash
    }

    // MARK: Publishing

    private mutating func announce(_ current: Current) {
        guard settings.allowsPublishing else { return respond(.methodNotAllowed, ["Allow": publicMethods]) }
        guard let target = current.target, target.track == nil else {
            return respond(.methodNotAllowed, ["Allow": publicMethods])
        }
        guard sessionID == nil, role?.isRecord != true else {
            return respond(.methodNotValidInState, ["Allow": publicMethods])
        }
        let type = Substring(current.request.headers["Content-Type"] ?? "application/sdp")
        guard type.halves(at: UInt8(ascii: ";")).head.trimmed.equalsIgnoringCase("application/sdp") else {
            return respond(.unsupportedMediaType)
        }
        let description: RTSPDescription
        do {
            description = try RTSPDescription(parsing: current.request.body)
        } catch {
            return respond(RTSPStatus(400, "Bad Request: \(error)"))
        }
        guard !description.tracks.isEmpty, description.tracks.count <= settings.maxTracks else {
            let what = description.unsupported.joined(separator: ", ")
            return respond(RTSPStatus(415, "Unsupported Media Type" + (what.isEmpty ? "" : ": \(what)")))
        }
        role = .record(name: target.name, uri: current.request.uri, tracks: description.tracks)
        ask(
            .announce(access(current, name: target.name), tracks: description.tracks.map(\.description)),
            stage: .announce)
    }

    private mutating func record(_ current: Current) {
        guard settings.allowsPublishing else { return respond(.methodNotAllowed, ["Allow": publicMethods]) }
        guard case .record(let name, _, _)? = role, !tracks.isEmpty else {
            return respond(.methodNotValidInState, ["Allow": publicMethods])
        }
        guard current.request.headers["Session"] != nil else { return respond(.sessionNotFound) }
        guard !isStreaming else { return respond(.ok) }
        ask(.record(name: name, tracks: tracks), stage: .record)
    }

    // MARK: End

    private mutating func tearDown(_ current: Current) {
        if let index = trackIndex(of: current), tracks.count > 1 {
            // Of a running presentation only all tracks at once (RFC 2326 §10.7 leaves it to us).
            guard !isStreaming else { return respond(.onlyAggregateAllowed) }
            tracks.removeAll { $0.index == index }
            return respond(.ok)
        }
        endSession()
        respond(.ok)
    }

    /// Of the tracks that are set up, the one that the URL names alone.
    func trackIndex(of current: Current) -> Int? {
        switch role {
        case .record(_, let uri, let all)?:
            guard !Self.sameResource(current.request.uri, uri) else { return nil }
            let index = recordTrackIndex(current.request.uri, uri, all)
            return tracks.first { $0.index == index }?.index
        case .play?, nil:
            return current.target?.track.flatMap { track in tracks.first { $0.index == track }?.index }
        }
    }
}
