import ControlPlane
import MediaFormats
import NIOSSL
import RTSP
import RTSPPull
import Synchronization
import Wire

import struct ControlPlane.MediaDescription

/// One camera, or another server's stream, that is pulled for all its viewers.
///
/// It opens when its first media has come, so that viewers of a camera that is reached and silent are told so. From then on
/// it is a publisher of the engine, which goes on while the camera is connected anew: viewers see a standstill.
final class PulledSource: OnDemandSource, RTSPPullSink {
    /// What all sources share.
    struct Desk: Sendable {
        var settings: RTSPPullSettings
        var tlsContext: NIOSSLContext?
        var keepViewers: Duration
        var linger: Duration
        var openingLimit: Duration
        var media: EngineMediaBackend
        /// False: there are as many sources as may be.
        var admit: @Sendable (PulledSource) -> Bool
        /// Called once for each that was admitted.
        var dismiss: @Sendable (PulledSource) -> Void
        var failures: PullFailures
        var log: PullLog
    }

    /// As WCS's `rtsp/find` has it.
    enum Status: String {
        case pending = "PENDING"
        case playing = "PLAYING"
    }

    private typealias Opening = CheckedContinuation<Result<MediaDescription, OnDemandFailure>, Never>

    private struct Shared {
        var peer: PeerID?
        var opening: Opening?
        var status = Status.pending
        var link: RTSPPullLink?
        var ingest: RTPIngest?
        var run: Task<Void, Never>?
        /// What ends it while it is lost.
        var patience: Task<Void, Never>?
        var isAdmitted = false
        var isClosed = false
        var end: OnDemandEnd?
    }

    /// Under which it is published: the URL itself, or the name that the configuration gives it.
    let name: String
    let url: String
    /// It is read by a process of its own.
    let isProcess: Bool
    let isShared = true
    let provider = "RTSP"
    let unanswered = StatusInfo.rtspConnectionFailed
    private let desk: Desk
    private let shared = Mutex(Shared())
    private let hasEnded = Gate()

    init(name: String, url: String, desk: Desk) {
        self.name = name
        self.url = url
        isProcess = PullTarget(url)?.isProcess ?? false
        self.desk = desk
    }

    var linger: Duration { desk.linger }
    var openingLimit: Duration? { desk.openingLimit }
    var status: Status { shared.withLock { $0.status } }

    // MARK: OnDemandSource

    func open(peer: PeerID) async throws(OnDemandFailure) -> MediaDescription {
        if let known = desk.failures.recent(of: url) { throw .status(known.statusInfo) }
        guard desk.admit(self) else {
            desk.log.tooMany(self)
            throw .tooMany
        }
        let outcome: Result<MediaDescription, OnDemandFailure> = await withCheckedContinuation { opening in
            let isWanted = shared.withLock { shared in
                shared.isAdmitted = !shared.isClosed
                guard shared.isAdmitted else { return false }
                shared.peer = peer
                shared.opening = opening
                let puller = RTSPPuller(url: url, settings: desk.settings, sink: self, tlsContext: desk.tlsContext)
                shared.run = Task { _ = await puller.run() }
                return true
            }
            guard !isWanted else { return }
            desk.dismiss(self)
            opening.resume(returning: .failure(.status(.rtspAgentShutdown)))
        }
        return try outcome.get()
    }

    /// Cameras go on whether anybody looks or not.
    func begin() {}
    func setPaused(_ paused: Bool) {}

    func close() { finish(.finished) }

    /// On the operator's word.
    func terminate() { finish(.failed(.rtspAgentShutdown)) }

    func ended() async -> OnDemandEnd {
        await hasEnded.wait()
        return shared.withLock { $0.end } ?? .finished
    }

    /// The first end counts.
    private func finish(_ end: OnDemandEnd) {
        let last = shared.withLock { shared -> Shared? in
            guard !shared.isClosed else { return nil }
            let last = shared
            shared.isClosed = true
            shared.end = end
            (shared.opening, shared.run, shared.link, shared.ingest) = (nil, nil, nil, nil)
            shared.patience = nil
            return last
        }
        guard let last else { return }
        last.run?.cancel()
        last.patience?.cancel()
        last.ingest?.stop()
        if last.isAdmitted { desk.dismiss(self) }
        let info: StatusInfo = if case .failed(let info) = end { info } else { .rtspAgentShutdown }
        last.opening?.resume(returning: .failure(.status(info)))
        hasEnded.open()
    }

    // MARK: RTSPPullSink, on the puller's event loop

    func begin(_ tracks: [RTSPPulledTrack], link: RTSPPullLink) {
        let descriptions = tracks.map(\.description)
        let (peer, ingest) = shared.withLock { shared in
            shared.link = link
            return (shared.isClosed ? nil : shared.peer, shared.ingest)
        }
        guard let peer else { return }
        guard let ingest else { return open(descriptions, peer, tracks) }
        guard ingest.restart(tracks: descriptions) else {
            desk.log.changed(self, descriptions)
            return finish(.failed(.streamFailed))
        }
        shared.withLock { shared in
            shared.status = .playing
            shared.patience?.cancel()
            shared.patience = nil
        }
        desk.log.playing(self, tracks, again: true)
    }

    private func open(_ descriptions: [TrackDescription], _ peer: PeerID, _ tracks: [RTSPPulledTrack]) {
        let isInConnection = tracks.allSatisfy { if case .interleaved = $0.path { true } else { false } }
        var listener = RTPIngest.Listener()
        listener.feedback = { [weak self] track, packet in
            self?.shared.withLock { $0.link }?.send(rtcp: packet, track: track)
        }
        listener.isReordered = { [media = desk.media] in media.noteReordered(peer, evidence: $0.rawValue) }
        do throws(OnDemandFailure) {
            let ingest = try RTPIngest(
                descriptions, peer: peer, media: desk.media, options: .init(isInConnection: isInConnection),
                listener: listener)
            let opening = shared.withLock { shared -> Opening? in
                guard !shared.isClosed else { return nil }
                shared.ingest = ingest
                shared.status = .playing
                defer { shared.opening = nil }
                return shared.opening
            }
            let audio = descriptions.first { !$0.isVideo }
            let video = descriptions.first { $0.isVideo }
            opening?.resume(
                returning: .success(
                    MediaDescription(
                        sdp: "", hasAudio: audio != nil, hasVideo: video != nil, audioCodec: audio?.codec.name,
                        videoCodec: video?.codec.name)))
            desk.log.playing(self, tracks, again: false)
        } catch {
            let opening = shared.withLock { shared -> Opening? in
                defer { shared.opening = nil }
                return shared.opening
            }
            opening?.resume(returning: .failure(error))
            finish(.failed(.streamFailed))
        }
    }

    func receive(track: Int, isRTCP: Bool, _ packet: RawSpan) {
        // One lock of its own per packet of a camera, which nobody else wants as a rule.
        shared.withLock { $0.ingest }?.receive(track: track, isRTCP: isRTCP, packet)
    }

    func flush() { shared.withLock { $0.ingest }?.flush() }

    func interrupted(_ failure: RTSPPullFailure, retryIn: Interval?) {
        let (isOpening, isClosed) = shared.withLock { shared in
            shared.link = nil
            shared.status = .pending
            return (shared.opening != nil, shared.isClosed)
        }
        guard !isClosed else { return }
        // Viewers who have seen nothing yet are not kept waiting.
        let isOver = isOpening || retryIn == nil
        desk.log.interrupted(self, failure, retryIn: isOver ? nil : retryIn)
        if isOver {
            desk.failures.remember(failure, of: url)
            return finish(failure == .finished ? .finished : .failed(failure.statusInfo))
        }
        keepViewers(failure)
    }

    /// Ends the stream when it has not come back in time. Attempts that fail meanwhile do not begin the time anew.
    private func keepViewers(_ failure: RTSPPullFailure) {
        let limit = desk.keepViewers
        shared.withLock { shared in
            guard shared.patience == nil, !shared.isClosed else { return }
            shared.patience = Task { [weak self] in
                do { try await Task.sleep(for: limit) } catch { return }
                guard let self else { return }
                desk.log.givenUp(self)
                finish(.failed(failure.statusInfo))
            }
        }
    }
}
