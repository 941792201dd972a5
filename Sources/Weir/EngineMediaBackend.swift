import ControlPlane
import DTLS
import ICE
import LinuxNet
import MediaEngine
import SDP
import Synchronization
import WeirMetrics
import Wire

import struct ControlPlane.MediaDescription

/// The media engine as the control plane's `MediaBackend`: offers become negotiations, negotiations become peers.
package final class EngineMediaBackend: MediaBackend {
    /// News that may wait for the control plane. A peer causes a handful in its life.
    private static let maxEvents = 65_536
    /// News of overloads that may wait for the log: a few a minute and worker.
    private static let maxOverloads = 256

    package let engine: MediaEngine
    package let events: AsyncStream<MediaEvent>
    private let continuation: AsyncStream<MediaEvent>.Continuation
    package let overloads: AsyncStream<OverloadLog.News>
    private let overloadContinuation: AsyncStream<OverloadLog.News>.Continuation
    private let candidates: [Candidate]
    private let fingerprint: String
    /// What publishers send, by peer: what players are offered.
    let published = Mutex<[PeerID: [PublishedTrack]]>([:])
    /// ... and what those are offered next that cannot have that: of sources only.
    let secondChoices = Mutex<[PeerID: [PublishedTrack]]>([:])
    /// What players are given of streams that WebRTC cannot carry as they are.
    let variants = StreamVariants()

    /// Binds the media port and starts the workers.
    /// - Throws: `NetworkError` naming the address that could not be bound, `SRTPError`, `DTLSError`.
    package init(
        engine configuration: EngineConfiguration, announce: [SocketAddress], metrics: MetricsRegistry
    ) throws {
        let (stream, continuation) = AsyncStream.makeStream(
            of: MediaEvent.self, bufferingPolicy: .bufferingOldest(Self.maxEvents))
        let lost = metrics.counter("weir_media_events_lost_total", help: "News from workers that found no room.")
        let (overloads, overloadContinuation) = AsyncStream.makeStream(
            of: OverloadLog.News.self, bufferingPolicy: .bufferingOldest(Self.maxOverloads))
        engine = try MediaEngine(configuration: configuration) { event in
            if case .overload(let worker, let what) = event {
                overloadContinuation.yield((worker, what))
            } else if let event = Self.translate(event), !StreamVariants.isVariant(event.peer),
                case .dropped = continuation.yield(event)
            {
                lost.increment()
            }
        }
        events = stream
        self.continuation = continuation
        self.overloads = overloads
        self.overloadContinuation = overloadContinuation
        fingerprint = configuration.certificate.fingerprintSHA256
        let port = engine.port
        candidates = announce.flatMap { address in
            var each = [Candidate(ip: address.ip, port: port, transport: .udp)]
            if configuration.tcp { each.append(Candidate(ip: address.ip, port: port, transport: .tcp)) }
            return each
        }
        EngineMetrics.collect(engine.counters, into: metrics)
    }

    /// Stops the workers and waits for them.
    package func stop() {
        engine.stop()
        continuation.finish()
        overloadContinuation.finish()
    }

    // MARK: - Offers

    package func publish(
        peer: PeerID, stream: String, offer: String, options: MediaOptions
    ) async throws(MediaError) -> MediaDescription {
        try checkCapacity()
        let negotiation: Negotiation
        do throws(NegotiationError) {
            negotiation = try OfferAnswer.answerPublisher(offer: offer, options: answerOptions(peer, stream, options))
        } catch {
            throw Self.translate(error)
        }
        let tracks = negotiation.tracks.map { track in
            PublishedTrack(
                kind: track.kind, codec: track.codec,
                hasVideoOrientation: track.extensions[ExtensionURI.videoOrientation] != nil)
        }
        published.withLock { $0[peer] = tracks }
        guard engine.register(id: peer.rawValue, publisher: nil, negotiation: negotiation) != nil else {
            published.withLock { $0[peer] = nil }
            throw .internal("the peer could not be registered")
        }
        return describe(negotiation)
    }

    package func play(
        peer: PeerID, stream: String, publisher: PeerID, offer: String, options: MediaOptions
    ) async throws(MediaError) -> MediaDescription {
        try checkCapacity()
        let source = try variants.join(publisher, player: peer, of: self)
        do throws(MediaError) {
            return try play(peer: peer, source: source, offer: offer, answerOptions(peer, stream, options))
        } catch {
            variants.leave(player: peer)
            throw error
        }
    }

    private func play(
        peer: PeerID, source: PeerID, offer: String, _ options: AnswerOptions
    ) throws(MediaError) -> MediaDescription {
        guard let tracks = published.withLock({ $0[source] }) else { throw .streamNotFound }
        let negotiation: Negotiation
        do throws(NegotiationError) {
            negotiation = try answerPlayer(offer, tracks, of: source, options)
        } catch {
            throw Self.translate(error)
        }
        guard engine.register(id: peer.rawValue, publisher: source.rawValue, negotiation: negotiation) != nil else {
            throw .streamNotFound
        }
        return describe(negotiation)
    }

    /// The pictures of a publisher that is not a WebRTC client are out of order.
    func noteReordered(_ publisher: PeerID, evidence: String) {
        continuation.yield(.reordered(publisher, evidence: evidence))
        // Who plays it as it is cannot show it. With a transcode for those who come again.
        let failure: MediaFailure = variants.makesPictures ? .error : .transcodingRequired
        for player in variants.noteReordered(publisher) { continuation.yield(.failed(player, failure)) }
    }

    private func answerPlayer(
        _ offer: String, _ tracks: [PublishedTrack], of publisher: PeerID, _ options: AnswerOptions
    ) throws(NegotiationError) -> Negotiation {
        do throws(NegotiationError) {
            return try OfferAnswer.answerPlayer(offer: offer, published: tracks, options: options)
        } catch {
            guard error == .noCommonCodecs, let second = secondChoices.withLock({ $0[publisher] }) else { throw error }
            return try OfferAnswer.answerPlayer(offer: offer, published: second, options: options)
        }
    }

    /// Overload: who is there goes before who comes.
    func checkCapacity() throws(MediaError) {
        guard engine.counters.admits else {
            engine.counters.peersRefused.bump()
            throw .noCapacity
        }
    }

    private func answerOptions(_ peer: PeerID, _ stream: String, _ wishes: MediaOptions) -> AnswerOptions {
        var options = AnswerOptions(
            candidates: candidates, fingerprint: fingerprint,
            makeCredentials: {
                var random = SystemRandomNumberGenerator()
                let made = ICECredentials.random(using: &random)
                return (made.ufrag, made.password)
            },
            makeSSRC: { UInt32.random(in: 1 ... .max) })
        options.preferTCP = wishes.transport == .tcp
        options.minBitrate = wishes.minBitrate
        options.maxBitrate = wishes.maxBitrate
        options.videoOrientation = wishes.cvoExtension
        options.sessionID = peer.rawValue & 0x7fff_ffff_ffff_ffff
        options.cname = "weir-\(peer.rawValue)"
        options.streamID = "weir-\(peer.rawValue)"
        return options
    }

    private func describe(_ negotiation: Negotiation) -> MediaDescription {
        let audio = negotiation.tracks.first { $0.kind == .audio }
        let video = negotiation.tracks.first { $0.kind == .video }
        return MediaDescription(
            sdp: negotiation.answer, hasAudio: audio != nil, hasVideo: video != nil, audioCodec: audio?.codec.name,
            videoCodec: video?.codec.name, ufrag: negotiation.transports.first?.localUfrag ?? "")
    }

    // MARK: - Peers

    package func setPaused(_ paused: Bool, peer: PeerID) async { engine.setPaused(paused, peer: peer.rawValue) }

    package func restartICE(
        peer: PeerID, ufrag: String, password: String
    ) async throws(MediaError) -> (ufrag: String, password: String) {
        var random = SystemRandomNumberGenerator()
        let local = ICECredentials.random(using: &random)
        let remote = ICECredentials(ufrag: ufrag, password: password)
        guard engine.restartICE(peer: peer.rawValue, local: local, remote: remote) else { throw .streamNotFound }
        return (local.ufrag, local.password)
    }

    package func close(peer: PeerID) async {
        published.withLock { $0[peer] = nil }
        secondChoices.withLock { $0[peer] = nil }
        variants.leave(player: peer)
        variants.end(publisher: peer)
        engine.close(peer: peer.rawValue)
    }

    package func statistics(peer: PeerID) async -> PeerStatistics? {
        guard let counters = engine.registration(of: peer.rawValue)?.counters else { return nil }
        return PeerStatistics(
            packetsReceived: counters.packetsReceived.value, bytesReceived: counters.bytesReceived.value,
            packetsSent: counters.packetsSent.value, bytesSent: counters.bytesSent.value,
            packetsLost: counters.packetsLost.value, packetsRetransmitted: counters.packetsRetransmitted.value,
            nacks: counters.nacks.value, plis: counters.plis.value,
            jitterMs: Double(counters.jitterMicroseconds.value) / 1000,
            roundTripMs: Double(counters.roundTripMicroseconds.value) / 1000,
            videoBytesReceived: counters.videoBytesReceived.value, videoBytesSent: counters.videoBytesSent.value)
    }

    // MARK: - Translation

    private static func translate(_ error: NegotiationError) -> MediaError {
        switch error {
        case .noCommonCodecs: .noCommonCodecs
        case .noCandidates: .internal("\(error): set media.announce, or media.tcp for clients that ask for TCP")
        default: .malformedSDP("\(error)")
        }
    }

    /// - Returns: nil for what is no peer's.
    private static func translate(_ event: EngineEvent) -> MediaEvent? {
        switch event {
        case .iceConnected(let id): .iceConnected(PeerID(rawValue: id))
        case .connected(let id): .connected(PeerID(rawValue: id))
        case .failed(let id, let reason): .failed(PeerID(rawValue: id), translate(reason))
        case .firstMedia(let id): .firstMedia(PeerID(rawValue: id))
        case .videoSize(let id, let size): .videoSize(PeerID(rawValue: id), width: size.width, height: size.height)
        case .overload: nil
        }
    }

    private static func translate(_ failure: EngineFailure) -> MediaFailure {
        switch failure {
        case .iceTimeout: .iceTimeout
        case .iceError: .iceError
        case .iceKeepAlive: .iceKeepAlive
        case .dtlsError: .dtlsError
        case .dtlsFingerprint: .dtlsFingerprint
        case .rtpActivity: .rtpActivity
        case .transportClosed: .transportClosed
        case .error: .error
        }
    }
}
