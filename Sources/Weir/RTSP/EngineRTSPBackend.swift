import ControlPlane
import FoundationEssentials
import MediaFormats
import RTSP
import RTSPServer

/// RTSP as its listeners see the rest of the server: rights from the control plane and its hooks, streams from the media
/// engine.
package struct EngineRTSPBackend: RTSPBackend {
    private let output: RTSPOutput
    private let control: ControlPlane
    private let media: EngineMediaBackend
    private let publishing: (any RTSPPublishing)?
    private let datagrams: (any RTSPDatagrams)?

    /// - Parameters:
    ///   - publishing: nil: ANNOUNCE is not allowed.
    ///   - datagrams: nil: players come in connections only.
    package init(
        output: RTSPOutput, control: ControlPlane, media: EngineMediaBackend, publishing: (any RTSPPublishing)? = nil,
        datagrams: (any RTSPDatagrams)? = nil
    ) {
        self.output = output
        self.control = control
        self.media = media
        self.publishing = publishing
        self.datagrams = datagrams
    }

    // MARK: Rights

    package func mayPlay(_ access: RTSPAccess, on connection: RTSPConnectionFacts) async -> RTSPDecision {
        // Like every other player, who comes while the server is emptied is sent elsewhere; who plays plays on.
        guard !control.isDraining || !access.method.beginsToPlay else {
            return .refuse(RTSPStatus(503, "The server is draining"))
        }
        let admission = await control.admit(Self.viewer(access, on: connection), asksBackend: true)
        switch admission.decision {
        case .allow, .change: return .allow(endsIn: admission.endsIn)
        case .refuse(let code, let reason): return .refuse(RTSPStatus.refusal(code: code, reason: reason))
        }
    }

    static func viewer(_ access: RTSPAccess, on connection: RTSPConnectionFacts) -> ViewerRequest {
        let parameters = access.parameters
        var viewer = ViewerRequest(
            method: .playRTSP, sessionId: "/\(connection.remoteAddress)/\(connection.localAddress)-\(connection.id)",
            name: access.name, mediaSessionId: "\(connection.id)-\(access.name)-RTSP",
            token: parameters["token"] ?? access.bearerToken, custom: json(parameters),
            rtspUrl: access.url + (access.query.map { "?\($0)" } ?? ""), userAgent: access.userAgent)
        if let key = parameters["appKey"], !key.isEmpty { viewer.appKey = key }
        return viewer
    }

    /// An object of strings; nil for none.
    private static func json(_ members: [String: String]) -> JSONText? {
        guard !members.isEmpty else { return nil }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return (try? encoder.encode(members)).map { JSONText(String(decoding: $0, as: UTF8.self)) }
    }

    // MARK: Playing

    package func describe(
        _ name: String, query: String?, on connection: RTSPConnectionFacts
    ) async -> Result<[TrackDescription], RTSPRefusal> {
        guard let sound = RTSPSound(query: query) else { return .failure(.init(RTSPSound.unknown)) }
        if output.publisher(of: name) == nil, control.isSharedOnDemand(name) {
            return await describeOnDemand(name, sound)
        }
        return await describe(name, sound)
    }

    private func describe(_ name: String, _ sound: RTSPSound) async -> Result<[TrackDescription], RTSPRefusal> {
        switch source(name, sound) {
        case .failure(let refusal): return .failure(refusal)
        case .success(let source):
            // What is made for the client is kept for a while, in which it plays.
            defer { source.release() }
            guard let tracks = await output.describe(source.peer, name), !tracks.isEmpty else {
                return .failure(.init(.notFound))
            }
            return .success(tracks)
        }
    }

    /// It is made, and lingers until the client plays.
    private func describeOnDemand(_ name: String, _ sound: RTSPSound) async -> Result<[TrackDescription], RTSPRefusal> {
        do throws(StreamRefusal) {
            let hold = try await control.hold(name)
            defer { hold.release() }
            return await describe(hold.name, sound)
        } catch {
            return .failure(.init(RTSPStatus(error.code == .notFound ? 404 : 503, error.info)))
        }
    }

    /// The stream in the form that is wanted, which goes on while the hold is kept.
    private func source(_ name: String, _ sound: RTSPSound) -> Result<VariantHold, RTSPRefusal> {
        guard let publisher = output.publisher(of: name), let tracks = output.tracks(of: publisher) else {
            return .failure(.init(.notFound))
        }
        switch sound {
        case .published: return .success(VariantHold(peer: publisher))
        case .aac:
            do throws(MediaError) {
                return .success(try media.variants.inAAC(publisher, tracks: tracks, of: media))
            } catch {
                return .failure(.init(RTSPSound.refusal(error)))
            }
        }
    }

    package func play(
        _ name: String, query: String?, tracks: [RTSPSetUpTrack], link: RTSPLink, on connection: RTSPConnectionFacts
    ) async -> Result<RTSPPlaying, RTSPRefusal> {
        guard let sound = RTSPSound(query: query) else { return .failure(.init(RTSPSound.unknown)) }
        let source: VariantHold
        switch self.source(name, sound) {
        case .success(let found): source = found
        case .failure(let refusal): return .failure(refusal)
        }
        guard let described = output.tracks(of: source.peer) else { return .failure(.init(.notFound)) }
        guard tracks.allSatisfy({ $0.isOf(described) }) else {
            return .failure(.init(RTSPStatus(404, "The stream has other tracks now; describe it again")))
        }
        let place: ViewerPlace
        switch control.takePlace(of: name) {
        case .success(let taken): place = taken
        case .failure(let refusal):
            return .failure(.init(RTSPStatus.refusal(code: refusal.code, reason: refusal.info)))
        }
        if case .udp? = tracks.first?.path {
            return await playDatagrams(name, source, tracks, described, link, connection, place)
        }
        guard let feed = output.open(source.peer, name) else {
            place.giveBack()
            return .failure(.init(.notFound))
        }
        return .success(.interleaved(feed.stream, CountedPlayback(place: place, source: source, served: nil)))
    }

    private func playDatagrams(
        _ name: String, _ source: VariantHold, _ tracks: [RTSPSetUpTrack], _ described: [TrackDescription],
        _ link: RTSPLink, _ connection: RTSPConnectionFacts, _ place: ViewerPlace
    ) async -> Result<RTSPPlaying, RTSPRefusal> {
        guard let datagrams else {
            place.giveBack()
            return .failure(.init(.unsupportedTransport))
        }
        let answer = await datagrams.play(
            name, publisher: source.peer, tracks: tracks, described: described, link: link, on: connection)
        switch answer {
        case .success(let player):
            return .success(
                .datagrams(CountedPlayback(place: place, source: source, served: player.playback), first: player.first))
        case .failure(let refusal):
            place.giveBack()
            return .failure(refusal)
        }
    }

    // MARK: Publishing

    package func announce(
        _ access: RTSPAccess, tracks: [TrackDescription], link: RTSPLink, on connection: RTSPConnectionFacts
    ) async -> Result<any RTSPPublication, RTSPRefusal> {
        guard let publishing else { return .failure(.init(.methodNotAllowed)) }
        let answer = await publishing.announce(access, tracks: tracks, link: link, on: connection)
        return answer.map { publication in
            datagrams?.receiving(into: publication, link: link, on: connection) ?? publication
        }
    }
}

/// A player as the control plane counts it.
private struct CountedPlayback: RTSPPlayback {
    let place: ViewerPlace
    /// Keeps what is made for it and for others.
    let source: VariantHold
    /// Of a player that is not served in its connection.
    let served: (any RTSPPlayback)?

    func stop() {
        served?.stop()
        source.release()
        place.giveBack()
    }
}

extension RTSPMethod {
    fileprivate var beginsToPlay: Bool {
        switch self {
        case .describe, .setup, .play: true
        default: false
        }
    }
}

extension RTSPSetUpTrack {
    /// The stream is still what the client was told: it may have been published anew since.
    fileprivate func isOf(_ described: [TrackDescription]) -> Bool {
        guard described.indices.contains(index) else { return false }
        return codec == described[index].codec && payloadType == RTSPDescription.payloadTypes(described)[index]
    }
}

extension RTSPStatus {
    /// A refusal by an HTTP status; 403, which closes the connection as WCS does, unless the reason lies with the server or
    /// a token would help.
    static func refusal(code: Int, reason: String) -> RTSPStatus {
        // The status line has no place for control characters.
        let text = String(
            String.UnicodeScalarView(reason.unicodeScalars.filter { $0.value >= 0x20 && $0.value != 0x7f }))
        switch code {
        case 401, 404, 500...599: return RTSPStatus(code, text)
        default: return RTSPStatus(403, text)
        }
    }
}

extension RTSPAccess {
    /// Of the query, decoded; of several of one name the first.
    fileprivate var parameters: [String: String] {
        guard let query else { return [:] }
        var out: [String: String] = [:]
        for part in query.split(separator: "&").prefix(Self.maxParameters) {
            let halves = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = RTSPURL.decode(halves[0]), !name.isEmpty, out[name] == nil else { continue }
            out[name] = halves.count > 1 ? RTSPURL.decode(halves[1]) : ""
        }
        return out
    }
    private static var maxParameters: Int { 64 }
}
