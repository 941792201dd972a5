import MediaFormats
import SDP
import Wire

extension RTSPClientSession {
    mutating func receive(_ response: RTSPResponse, now: Instant) {
        guard let old = pending else { return }
        // Cameras that leave CSeq out answer what is open; another number belongs to a request that was given up.
        if let cSeq = response.cSeq, cSeq != old.cSeq { return }
        pending = nil
        if response.status == .unauthorized {
            if retry(old, response, now: now) { return }
            // OPTIONS may be for those who have logged in only; the next request will be asked for the same.
            if old.method != .options { return state == .playing ? () : end(.wrongPassword) }
        }
        if response.status.isRedirect, state != .playing {
            return redirect(to: response.headers["Location"], now: now)
        }
        switch state {
        case .connecting, .over: break
        case .describing:
            if old.method == .options {
                answeredOptions(response, now: now)
            } else {
                described(old, response, now: now)
            }
        case .settingUp: setUp(old, response, now: now)
        case .starting: started(old, response, now: now)
        case .playing: keptAlive(old, response)
        }
    }

    private mutating func answeredOptions(_ response: RTSPResponse, now: Instant) {
        knowsGetParameter = response.headers.list("Public").contains { $0 == RTSPMethod.getParameter.rawValue }
        send(.describe, requestURI, ["Accept": "application/sdp"], now: now)
    }

    private mutating func described(_ old: Pending, _ response: RTSPResponse, now: Instant) {
        guard isSuccess(old, response) else { return }
        guard let description = try? RTSPDescription(parsing: response.body) else { return end(.badDescription) }
        // One picture and one sound: the first of each that we can receive, in the order of the camera.
        let video = description.tracks.first { $0.description.isVideo }
        let audio = description.tracks.first { !$0.description.isVideo }
        wanted = [video, audio].compactMap { $0 }.sorted { $0.mLineIndex < $1.mLineIndex }
        guard !wanted.isEmpty else {
            return end(description.unsupported.isEmpty ? .badDescription : .noCommonCodecs(description.unsupported))
        }
        base = ControlURL.base(of: response.headers, request: old.request.uri)
        aggregate = ControlURL.join(base: base, control: description.control ?? "")
        state = .settingUp
        advanceSetUp(now: now)
    }

    private mutating func setUp(_ old: Pending, _ response: RTSPResponse, now: Instant) {
        if response.status == .unsupportedTransport, tracks.isEmpty, transport + 1 < settings.transports.count {
            transport += 1
            return advanceSetUp(now: now)
        }
        guard isSuccess(old, response) else { return }
        let asked = RTSPTransport.parse(old.request.headers["Transport"] ?? "").first
        let given = RTSPTransport.parse(response.headers["Transport"] ?? "").first
        guard let asked, given == nil || given?.lower == asked.lower, given?.isMulticast != true else {
            return end(.status(.setup, .unsupportedTransport))
        }
        if let value = response.headers["Session"] { session = RTSPSessionHeader(value) ?? session }
        let path: RTSPSetUpTrack.Path
        switch asked.lower {
        case .tcp:
            guard let channels = given?.interleaved ?? asked.interleaved, !isTaken(channels) else {
                return end(.status(.setup, .unsupportedTransport))
            }
            path = .interleaved(channels)
        case .udp:
            guard let ports = boundPorts else { return end(.status(.setup, .unsupportedTransport)) }
            path = .udp(ports)
        }
        tracks.append(
            RTSPPulledTrack(
                description: wanted[tracks.count].description, path: path, serverPorts: given?.serverPort,
                ssrc: given?.ssrc))
        advanceSetUp(now: now)
    }

    /// Two tracks in one channel could not be told apart.
    private func isTaken(_ channels: RTSPTransport.Pair<UInt8>) -> Bool {
        channels.rtp == channels.rtcp
            || tracks.contains { track in
                guard case .interleaved(let used) = track.path else { return false }
                return !Set([used.rtp, used.rtcp]).isDisjoint(with: [channels.rtp, channels.rtcp])
            }
    }

    private mutating func started(_ old: Pending, _ response: RTSPResponse, now: Instant) {
        guard isSuccess(old, response) else { return }
        if let value = response.headers["Session"], let header = RTSPSessionHeader(value) {
            session = RTSPSessionHeader(id: session?.id ?? header.id, timeout: header.timeout ?? session?.timeout)
        }
        let infos = RTPInfo.parse(response.headers["RTP-Info"] ?? "")
        for index in tracks.indices {
            let uri = ControlURL.join(base: base, control: wanted[index].control ?? "")
            // By its URL; by its place where the server writes others than it has told.
            let info =
                infos.first { RTSPServerSession.sameResource($0.url, uri) || wanted[index].control == $0.url }
                ?? (infos.count == tracks.count ? infos[index] : nil)
            tracks[index].first = RTSPAnswer.FirstPacket(sequence: info?.sequence, rtpTime: info?.rtpTime)
        }
        startPlaying(now: now)
    }

    private mutating func keptAlive(_ old: Pending, _ response: RTSPResponse) {
        if response.status == .sessionNotFound { return end(.endedByServer) }
        // The server says that it can and cannot: OPTIONS is a sign of life as well.
        if !response.status.isSuccess, old.method == .getParameter { knowsGetParameter = false }
    }

    /// False if the response ends everything.
    private mutating func isSuccess(_ old: Pending, _ response: RTSPResponse) -> Bool {
        if response.status.isSuccess { return true }
        end(response.status == .notFound ? .notFound : .status(old.method, response.status))
        return false
    }

    /// Servers ask, too (RFC 2326 §10.9, §10.10; some send OPTIONS to see whether we live).
    mutating func receive(_ request: RTSPRequest, now: Instant) {
        let headers: RTSPHeaders = ["CSeq": request.headers["CSeq"] ?? "0"]
        switch request.method {
        case .options, .getParameter, .setParameter, .announce: reply(RTSPResponse(.ok, headers: headers))
        case .redirect:
            reply(RTSPResponse(.ok, headers: headers))
            redirect(to: request.headers["Location"], now: now)
        case .teardown:
            reply(RTSPResponse(.ok, headers: headers))
            end(.endedByServer)
        case .describe, .setup, .play, .pause, .record, .playNotify, nil:
            reply(RTSPResponse(.notImplemented, headers: headers))
        }
    }
}
