import ControlPlane
import Logging
import MediaEngine
import MediaFiles
import MediaFormats
import MediaTaps
import SDP
import Synchronization
import WeirMetrics
import Wire

/// Streams in another form, for players who cannot be given them as they are: WebRTC has no pictures out of order (B frames)
/// and no AAC, and who plays RTSP may ask for AAC. Each is a further stream of the engine, made of the frames of the first
/// one away from its workers, and shared by all players who need it.
///
/// For WebRTC only streams that are no WebRTC client's are looked at. All calls from any thread; none waits.
final class StreamVariants: Sendable {
    /// How much may be made, and of what.
    struct Settings: Sendable {
        /// Streams at a time whose pictures are transcoded; 0: none.
        var maxPictures = 2
        /// ... whose sound is, for WebRTC and for RTSP together.
        var maxSounds = 100
        /// How long one goes on without players.
        var linger = Duration.seconds(10)
    }

    /// A stream that is no WebRTC client's.
    private struct Original {
        var tracks: [TrackDescription]
        var isReordered = false
        /// Players that are given it as it is.
        var players: Set<PeerID> = []
        var variant: StreamVariant?
    }

    private struct State {
        var settings = Settings()
        var reader: FrameReader?
        var logger: Logger?
        var originals: [PeerID: Original] = [:]
        /// With AAC for sound, by publisher.
        var inAAC: [PeerID: StreamVariant] = [:]
        /// Whose stream a player plays.
        var players: [PeerID: PeerID] = [:]
        var counts = Counts()
        var lastNumber: UInt64 = 0

        mutating func makePeer() -> PeerID {
            lastNumber += 1
            return PeerID(rawValue: StreamVariants.firstPeer + lastNumber)
        }

        mutating func forget(_ variant: StreamVariant) {
            if inAAC[variant.publisher] === variant { inAAC[variant.publisher] = nil }
        }
    }

    /// Streams that are transcoded now.
    struct Counts: Sendable, Equatable {
        /// Whose pictures are, whose sound is, for WebRTC players.
        var pictures = 0
        var sounds = 0
        /// Whose sound is, for RTSP players.
        var inAAC = 0

        mutating func add(_ plan: VariantPlan, _ number: Int) {
            switch plan.purpose {
            case .webRTC:
                pictures += plan.makesPictures ? number : 0
                sounds += plan.makesSound ? number : 0
            case .aac: inAAC += number
            }
        }
    }

    /// Peers of variants are not the control plane's.
    private static let firstPeer: UInt64 = 1 << 62

    private let state = Mutex(State())

    static func isVariant(_ peer: PeerID) -> Bool { peer.rawValue >= firstPeer }

    /// To be called once, before the first stream.
    func begin(_ settings: Settings, reader: FrameReader, metrics: MetricsRegistry, logger: Logger) {
        state.withLock { ($0.settings, $0.reader, $0.logger) = (settings, reader, logger) }
        metrics.collect { [weak self] in
            let counts = self?.counts ?? Counts()
            return [("pictures", counts.pictures), ("sound", counts.sounds)].map { kind, count in
                WeirMetrics.Sample(
                    name: "weir_webrtc_transcodes", help: "Streams that are transcoded for WebRTC players",
                    kind: .gauge,
                    labels: [("kind", kind)], value: Double(count))
            } + [
                WeirMetrics.Sample(
                    name: "weir_rtsp_transcodes", help: "Streams whose sound is made AAC for RTSP players",
                    kind: .gauge, value: Double(counts.inAAC))
            ]
        }
    }

    var makesPictures: Bool { state.withLock { $0.settings.maxPictures > 0 } }

    var counts: Counts { state.withLock { $0.counts } }

    // MARK: - Publishers

    /// A stream that is no WebRTC client's.
    func add(publisher: PeerID, tracks: [TrackDescription]) {
        state.withLock { $0.originals[publisher] = Original(tracks: tracks) }
    }

    /// Its pictures are out of order.
    ///
    /// - Returns: players that are given them as they are.
    func noteReordered(_ publisher: PeerID) -> [PeerID] {
        let (players, old) = state.withLock { state -> (Set<PeerID>, StreamVariant?) in
            guard var original = state.originals[publisher], !original.isReordered else { return ([], nil) }
            original.isReordered = true
            let players = original.players.union(original.variant?.players ?? [])
            let old = original.variant
            // One that carries the pictures as they are is of no use any more.
            original.variant = nil
            state.originals[publisher] = original
            return (players, old)
        }
        old?.stop()
        return Array(players)
    }

    func end(publisher: PeerID) {
        let variants = state.withLock { state in
            [state.originals.removeValue(forKey: publisher)?.variant, state.inAAC.removeValue(forKey: publisher)]
        }
        for variant in variants { variant?.stop() }
    }

    // MARK: - Players

    /// A player comes. `leave` is called for it in the end.
    ///
    /// - Returns: whose packets it is to be sent: the publisher's, or those of a variant.
    func join(_ publisher: PeerID, player: PeerID, of media: EngineMediaBackend) throws(MediaError) -> PeerID {
        let joined = state.withLock { state -> Result<PeerID, MediaError> in
            guard var original = state.originals[publisher] else { return .success(publisher) }
            let plan = VariantPlan(forWebRTC: original.tracks, isReordered: original.isReordered)
            let source: PeerID
            if !plan.isNeeded {
                original.players.insert(player)
                source = publisher
            } else {
                if original.variant == nil || original.variant?.isOver == true {
                    switch make(plan, of: publisher, original.tracks, media, &state) {
                    case .success(let made): original.variant = made
                    case .failure(let error): return .failure(error)
                    }
                }
                guard let variant = original.variant else { return .failure(.streamNotFound) }
                variant.players.insert(player)
                source = variant.peer
            }
            state.originals[publisher] = original
            state.players[player] = publisher
            return .success(source)
        }
        return try joined.get()
    }

    /// A player has gone, or was never let in.
    func leave(player: PeerID) {
        let unwatched = state.withLock { state -> StreamVariant? in
            guard let publisher = state.players.removeValue(forKey: player) else { return nil }
            state.originals[publisher]?.players.remove(player)
            guard let variant = state.originals[publisher]?.variant, variant.players.remove(player) != nil,
                variant.players.isEmpty
            else { return nil }
            variant.generation += 1
            return variant
        }
        if let unwatched { endSoon(unwatched) }
    }

    /// The stream with AAC for sound, which is made if there is none; the stream itself if its sound is AAC, or if it has none.
    ///
    /// - Parameter tracks: of the stream.
    /// - Throws: `transcodingDisabled`, `noTranscoders`, `noCapacity`, `streamNotFound`.
    func inAAC(
        _ publisher: PeerID, tracks: [TrackDescription], of media: EngineMediaBackend
    ) throws(MediaError) -> VariantHold {
        let plan = VariantPlan(inAAC: tracks)
        guard plan.isNeeded else { return VariantHold(peer: publisher) }
        let held = state.withLock { state -> Result<(StreamVariant, PeerID), MediaError> in
            let variant: StreamVariant
            if let known = state.inAAC[publisher], !known.isOver {
                variant = known
            } else {
                switch make(plan, of: publisher, tracks, media, &state) {
                case .success(let made): variant = made
                case .failure(let error): return .failure(error)
                }
                state.inAAC[publisher] = variant
            }
            let holder = state.makePeer()
            variant.players.insert(holder)
            return .success((variant, holder))
        }
        let (variant, holder) = try held.get()
        return VariantHold(peer: variant.peer) { [weak self] in self?.letGo(variant, holder) }
    }

    private func letGo(_ variant: StreamVariant, _ holder: PeerID) {
        let isUnwatched = state.withLock { _ in
            variant.players.remove(holder)
            variant.generation += 1
            return variant.players.isEmpty
        }
        if isUnwatched { endSoon(variant) }
    }

    // MARK: - Ends

    /// Unless somebody comes in time.
    private func endSoon(_ variant: StreamVariant) {
        let (generation, linger) = state.withLock { (variant.generation, $0.settings.linger) }
        Task {
            try? await Task.sleep(for: linger)
            endIfUnwatched(variant, generation)
        }
    }

    private func endIfUnwatched(_ variant: StreamVariant, _ generation: Int) {
        let isOver = state.withLock { state in
            guard variant.players.isEmpty, variant.generation == generation else { return false }
            if state.originals[variant.publisher]?.variant === variant {
                state.originals[variant.publisher]?.variant = nil
            }
            state.forget(variant)
            return true
        }
        if isOver { variant.stop() }
    }

    // MARK: - Making

    private func make(
        _ plan: VariantPlan, of publisher: PeerID, _ tracks: [TrackDescription], _ media: EngineMediaBackend,
        _ state: inout State
    ) -> Result<StreamVariant, MediaError> {
        let (settings, counts) = (state.settings, state.counts)
        guard let reader = state.reader, !plan.makesPictures || settings.maxPictures > 0,
            !plan.makesSound || settings.maxSounds > 0
        else { return .failure(.transcodingDisabled) }
        guard !plan.makesPictures || counts.pictures < settings.maxPictures,
            !plan.makesSound || counts.sounds + counts.inAAC < settings.maxSounds
        else { return .failure(.noTranscoders) }
        let variant = StreamVariant(peer: state.makePeer(), publisher: publisher)
        do throws(MediaError) {
            try variant.start(
                plan, tracks, media: media, reader: reader,
                // Browsers send key frames on request alone; for WebRTC only those of other publishers come here.
                passesRequests: plan.purpose == .aac && media.makesKeyFramesOnRequest(publisher),
                logger: state.logger)
        } catch {
            return .failure(error)
        }
        state.counts.add(plan, 1)
        variant.onEnd { [weak self] in
            self?.state.withLock { state in
                state.counts.add(plan, -1)
                state.forget(variant)
            }
        }
        state.logger?.info(
            "transcoding for players begins",
            metadata: [
                "peer": "\(publisher)", "for": "\(plan.purpose.rawValue)", "pictures": "\(plan.makesPictures)",
                "sound": "\(plan.makesSound)",
            ])
        return .success(variant)
    }
}
