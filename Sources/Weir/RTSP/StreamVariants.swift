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

/// What WebRTC players are given of streams that WebRTC cannot carry as they are: pictures out of order (B frames), sound
/// in AAC. Each is a further stream of the engine, made of the frames of the first one away from its workers, and shared by
/// all players who need it.
///
/// Only streams that are no WebRTC client's are looked at. All calls from any thread; none waits.
final class StreamVariants: Sendable {
    /// How much may be made, and of what.
    struct Settings: Sendable {
        /// Streams at a time whose pictures are transcoded; 0: none.
        var maxPictures = 2
        /// ... whose sound is.
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
        /// Whose stream a player plays.
        var players: [PeerID: PeerID] = [:]
        var pictures = 0
        var sounds = 0
        var lastNumber: UInt64 = 0
    }

    /// Peers of variants are not the control plane's.
    private static let firstPeer: UInt64 = 1 << 62

    private let state = Mutex(State())

    static func isVariant(_ peer: PeerID) -> Bool { peer.rawValue >= firstPeer }

    /// To be called once, before the first stream.
    func begin(_ settings: Settings, reader: FrameReader, metrics: MetricsRegistry, logger: Logger) {
        state.withLock { ($0.settings, $0.reader, $0.logger) = (settings, reader, logger) }
        metrics.collect { [weak self] in
            let counts = self?.counts
            return [("pictures", counts?.pictures ?? 0), ("sound", counts?.sounds ?? 0)].map { kind, count in
                WeirMetrics.Sample(
                    name: "weir_webrtc_transcodes", help: "Streams that are transcoded for WebRTC players",
                    kind: .gauge,
                    labels: [("kind", kind)], value: Double(count))
            }
        }
    }

    var makesPictures: Bool { state.withLock { $0.settings.maxPictures > 0 } }

    /// Streams whose pictures, whose sound is transcoded now.
    var counts: (pictures: Int, sounds: Int) { state.withLock { ($0.pictures, $0.sounds) } }

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
        let variant = state.withLock { state -> StreamVariant? in
            guard let original = state.originals.removeValue(forKey: publisher) else { return nil }
            return original.variant
        }
        variant?.stop()
    }

    // MARK: - Players

    /// A player comes. `leave` is called for it in the end.
    ///
    /// - Returns: whose packets it is to be sent: the publisher's, or those of a variant.
    func join(_ publisher: PeerID, player: PeerID, of media: EngineMediaBackend) throws(MediaError) -> PeerID {
        let joined = state.withLock { state -> Result<PeerID, MediaError> in
            guard var original = state.originals[publisher] else { return .success(publisher) }
            let plan = VariantPlan(original.tracks, isReordered: original.isReordered)
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
        guard let unwatched else { return }
        let (generation, linger) = state.withLock { (unwatched.generation, $0.settings.linger) }
        Task {
            try? await Task.sleep(for: linger)
            endIfUnwatched(unwatched, generation)
        }
    }

    private func endIfUnwatched(_ variant: StreamVariant, _ generation: Int) {
        let isOver = state.withLock { state in
            guard variant.players.isEmpty, variant.generation == generation else { return false }
            if state.originals[variant.publisher]?.variant === variant {
                state.originals[variant.publisher]?.variant = nil
            }
            return true
        }
        if isOver { variant.stop() }
    }

    // MARK: - Making

    private func make(
        _ plan: VariantPlan, of publisher: PeerID, _ tracks: [TrackDescription], _ media: EngineMediaBackend,
        _ state: inout State
    ) -> Result<StreamVariant, MediaError> {
        let settings = state.settings
        guard let reader = state.reader, !plan.makesPictures || settings.maxPictures > 0 else {
            return .failure(.transcodingDisabled)
        }
        guard !plan.makesPictures || state.pictures < settings.maxPictures,
            !plan.makesSound || state.sounds < settings.maxSounds
        else { return .failure(.noTranscoders) }
        state.lastNumber += 1
        let peer = PeerID(rawValue: Self.firstPeer + state.lastNumber)
        let variant = StreamVariant(peer: peer, publisher: publisher)
        do throws(MediaError) {
            try variant.start(plan, tracks, media: media, reader: reader, logger: state.logger)
        } catch {
            return .failure(error)
        }
        state.pictures += plan.makesPictures ? 1 : 0
        state.sounds += plan.makesSound ? 1 : 0
        variant.onEnd { [weak self] in
            self?.state.withLock { state in
                state.pictures -= plan.makesPictures ? 1 : 0
                state.sounds -= plan.makesSound ? 1 : 0
            }
        }
        state.logger?.info(
            "transcoding for WebRTC players begins",
            metadata: [
                "peer": "\(publisher)", "pictures": "\(plan.makesPictures)", "sound": "\(plan.makesSound)",
            ])
        return .success(variant)
    }
}

/// What has to be made of a stream's tracks for WebRTC.
struct VariantPlan: Sendable, Equatable {
    /// By track: what it becomes. The others stay as they are.
    private(set) var codecs: [Int: Codec] = [:]
    let makesPictures: Bool
    let makesSound: Bool

    init(_ tracks: [TrackDescription], isReordered: Bool) {
        for (index, track) in tracks.enumerated() {
            if track.isVideo {
                if isReordered { codecs[index] = .h264 }
            } else if !Self.isPlayable(track) {
                codecs[index] = .opus
            }
        }
        makesPictures = codecs.values.contains(.h264)
        makesSound = codecs.values.contains(.opus)
    }

    var isNeeded: Bool { !codecs.isEmpty }

    private static func isPlayable(_ track: TrackDescription) -> Bool {
        switch track.codec {
        case .opus: true
        case .pcmu, .pcma, .g722: track.channels <= 1 && track.clockRate == 8_000
        default: false
        }
    }
}
