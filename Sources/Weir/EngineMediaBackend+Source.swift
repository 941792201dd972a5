import ControlPlane
import MediaEngine
import SDP

/// Publishers inside the process.
extension EngineMediaBackend {
    /// Makes a publisher that `close(peer:)` ends and that players can be given.
    func addSource(peer: PeerID, tracks: [NegotiatedTrack]) throws(OnDemandFailure) -> PacketSource {
        do throws(MediaError) {
            try checkCapacity()
        } catch {
            throw .noCapacity
        }
        published.withLock { $0[peer] = tracks.map(PublishedTrack.init) }
        guard let source = engine.addSource(id: peer.rawValue, tracks: tracks) else {
            published.withLock { $0[peer] = nil }
            throw .noCapacity
        }
        return source
    }
}
