import ControlPlane
import MediaEngine
import SDP

/// Publishers inside the process.
extension EngineMediaBackend {
    /// Makes a publisher that `close(peer:)` ends and that players can be given.
    ///
    /// - Parameter secondChoice: formats of the tracks by their indices for players that do not know the true ones.
    func addSource(
        peer: PeerID, tracks: [NegotiatedTrack], secondChoice: [Int: String] = [:]
    ) throws(OnDemandFailure) -> PacketSource {
        do throws(MediaError) {
            try checkCapacity()
        } catch {
            throw .noCapacity
        }
        published.withLock { $0[peer] = tracks.map(PublishedTrack.init) }
        if !secondChoice.isEmpty {
            var second = tracks.map(PublishedTrack.init)
            for (index, format) in secondChoice { second[index].codec.fmtp = format }
            secondChoices.withLock { $0[peer] = second }
        }
        guard let source = engine.addSource(id: peer.rawValue, tracks: tracks) else {
            published.withLock { $0[peer] = nil }
            secondChoices.withLock { $0[peer] = nil }
            throw .noCapacity
        }
        return source
    }

    /// Whether a publisher is said to make key frames when asked.
    func makesKeyFramesOnRequest(_ publisher: PeerID) -> Bool {
        published.withLock { $0[publisher] }?.contains { $0.codec.feedback.contains("nack pli") } ?? false
    }

    /// Ends a source that the control plane does not know.
    func closeVariant(_ peer: PeerID) {
        published.withLock { $0[peer] = nil }
        secondChoices.withLock { $0[peer] = nil }
        engine.close(peer: peer.rawValue)
    }
}
