import ControlPlane
import FoundationEssentials
import MediaFormats
import MediaFrames
import RTSP
import RTSPServer
import Synchronization
import Wire

import struct ControlPlane.MediaDescription

/// Publishers by RTSP: each is a session of the control plane, as one by WHIP is, so the backend is asked and told, names
/// are claimed, and all that is said of published streams holds for theirs.
package struct RTSPPublishers: RTSPPublishing {
    private static let mediaProvider = "RTSP"

    private let control: ControlPlane
    private let media: EngineMediaBackend

    package init(control: ControlPlane, media: EngineMediaBackend) {
        self.control = control
        self.media = media
    }

    package func announce(
        _ access: RTSPAccess, tracks: [TrackDescription], link: RTSPLink, on connection: RTSPConnectionFacts
    ) async -> Result<any RTSPPublication, RTSPRefusal> {
        let connect = Self.connectRequest(access, on: connection)
        let session: ClientSession
        do throws(SignallingError) {
            session = try await control.openSession(connect)
        } catch {
            return .failure(Self.refusal(code: error.code.rawValue, reason: error.info))
        }
        let publisher = RTSPPublisher(tracks, session: session, link: link, media: media)
        let request = StreamRequest(
            mediaSessionId: publisher.mediaSessionId, name: access.name,
            sdp: RTSPDescription.text(name: access.name, tracks: tracks, sessionID: 0), custom: connect.custom,
            mediaProvider: Self.mediaProvider, hasAudio: tracks.contains { !$0.isVideo },
            hasVideo: tracks.contains { $0.isVideo }, intake: MediaIntake(publisher))
        Task { await publisher.follow(session.events) }
        await session.publish(request)
        switch await publisher.answer.wait() {
        case .claimed: return .success(publisher)
        case .refused(let code, let reason):
            await session.close(.clientClosed)
            return .failure(Self.refusal(code: code, reason: reason))
        }
    }

    private static func refusal(code: Int, reason: String) -> RTSPRefusal {
        let text = String(
            String.UnicodeScalarView(reason.unicodeScalars.filter { $0.value >= 0x20 && $0.value != 0x7f }))
        switch code {
        case 401, 404, 500...599: return RTSPRefusal(RTSPStatus(code, text))
        // As WCS does, which closes the connection then; also for names in use.
        default: return RTSPRefusal(RTSPStatus(403, text))
        }
    }

    /// As WHIP's clients are shown to backends: what the URL's query says, and the token.
    static func connectRequest(_ access: RTSPAccess, on connection: RTSPConnectionFacts) -> ConnectRequest {
        var parameters = RTSPQuery.parameters(access.query)
        let appKey = parameters.removeValue(forKey: "appKey").flatMap { $0.isEmpty ? nil : $0 }
        if let token = access.bearerToken { parameters["token"] = token }
        var profile: [String: String] = [:]
        if let agent = access.userAgent { profile["clientBrowserVersion"] = agent }
        return ConnectRequest(
            appKey: appKey ?? ControlConfiguration.defaultAppKey, remoteAddress: connection.remoteAddress,
            localAddress: connection.localAddress, custom: RTSPQuery.json(parameters), kind: .rtsp,
            bearerToken: access.bearerToken, query: access.query, profile: RTSPQuery.json(profile))
    }
}

/// One stream that is published by RTSP, from its ANNOUNCE to its end.
final class RTSPPublisher: RTSPPublication, MediaIntakeSource {
    enum Answer: Sendable {
        case claimed
        case refused(code: Int, reason: String)
    }

    private struct State {
        var ingest: RTPIngest?
        var isOver = false
    }

    let mediaSessionId = Token.make()
    /// What became of the wish to publish. One waiter.
    let answer = Outcome<Answer>()
    private let tracks: [TrackDescription]
    private let session: ClientSession
    private let link: RTSPLink
    private let media: EngineMediaBackend
    private let state = Mutex(State())

    init(_ tracks: [TrackDescription], session: ClientSession, link: RTSPLink, media: EngineMediaBackend) {
        self.tracks = tracks
        self.session = session
        self.link = link
        self.media = media
    }

    // MARK: The session

    /// Hears what becomes of the stream, to the end of its session.
    func follow(_ events: AsyncStream<SessionEvent>) async {
        for await event in events {
            switch event {
            case .remoteSDP: answer.settle(.claimed)
            case .status(let status) where status.status.isTerminal:
                end(code: status.code?.rawValue ?? StatusCode.unavailable.rawValue, status.info ?? "")
            case .closing(let reason):
                end(code: StatusCode.unavailable.rawValue, reason.description)
            default: break
            }
        }
        answer.settle(.refused(code: StatusCode.unavailable.rawValue, reason: "The session ended"))
    }

    /// The stream is over. Who was not let in is answered; else the connection ends, unless it was that which ended the
    /// stream: it may be publishing another one.
    private func end(code: Int, _ reason: String) {
        guard !answer.settle(.refused(code: code, reason: reason)) else { return }
        if !state.withLock({ $0.isOver }) { link.end() }
    }

    func open(peer: PeerID) async throws(MediaError) -> MediaDescription {
        let (link, media) = (link, media)
        let listener = RTPIngest.Listener(
            feedback: { track, packet in link.send(rtcp: packet, track: track) },
            isReordered: { media.noteReordered(peer, evidence: $0.rawValue) })
        let made: RTPIngest
        do throws(OnDemandFailure) {
            made = try RTPIngest(
                tracks, peer: peer, media: media, options: .init(isInConnection: true), listener: listener)
        } catch {
            throw .noCapacity
        }
        let isWanted = state.withLock { state in
            guard !state.isOver else { return false }
            state.ingest = made
            return true
        }
        // The connection is gone; the session, which ends, closes the peer.
        guard isWanted else { throw .streamNotFound }
        let audio = tracks.first { !$0.isVideo }
        let video = tracks.first { $0.isVideo }
        return MediaDescription(
            sdp: "", hasAudio: audio != nil, hasVideo: video != nil, audioCodec: audio?.codec.name,
            videoCodec: video?.codec.name)
    }

    // MARK: RTSPPublication

    func start(_ setUp: [RTSPSetUpTrack]) async -> RTSPStatus? {
        guard let ingest = state.withLock({ $0.isOver ? nil : $0.ingest }) else { return .sessionNotFound }
        let isInConnection = setUp.allSatisfy { track in
            if case .interleaved = track.path { true } else { false }
        }
        ingest.expect(isInConnection: isInConnection)
        return await session.begin(mediaSessionId: mediaSessionId) ? nil : .sessionNotFound
    }

    func receive(track: Int, isRTCP: Bool, _ packet: RawSpan) {
        state.withLock { $0.ingest }?.receive(track: track, isRTCP: isRTCP, packet)
    }

    func flush() { state.withLock { $0.ingest }?.flush() }

    func stop() {
        let (isFirst, ingest) = state.withLock { state in
            defer {
                state.isOver = true
                state.ingest = nil
            }
            return (!state.isOver, state.ingest)
        }
        guard isFirst else { return }
        ingest?.stop()
        let session = session
        Task { await session.close(.clientClosed) }
    }
}

/// The query of an RTSP URL.
enum RTSPQuery {
    private static let maxParameters = 64

    /// Decoded; of several of one name the first.
    static func parameters(_ query: String?) -> [String: String] {
        guard let query else { return [:] }
        var out: [String: String] = [:]
        for part in query.split(separator: "&").prefix(maxParameters) {
            let halves = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = RTSPURL.decode(halves[0]), !name.isEmpty, out[name] == nil else { continue }
            out[name] = halves.count > 1 ? RTSPURL.decode(halves[1]) : ""
        }
        return out
    }

    /// An object of strings; nil for none.
    static func json(_ members: [String: String]) -> JSONText? {
        guard !members.isEmpty else { return nil }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        return (try? encoder.encode(members)).map { JSONText(String(decoding: $0, as: UTF8.self)) }
    }
}
