import ControlPlane
import Synchronization

/// Somebody's wish that a stream's variant goes on; given back by `release`, or by its end.
final class VariantHold: Sendable {
    /// Whose packets are to be sent.
    let peer: PeerID
    private let giveBack: Mutex<(@Sendable () -> Void)?>

    init(peer: PeerID, giveBack: (@Sendable () -> Void)? = nil) {
        self.peer = peer
        self.giveBack = Mutex(giveBack)
    }

    deinit { release() }

    /// Idempotent.
    func release() {
        let giveBack = giveBack.withLock { giveBack in
            defer { giveBack = nil }
            return giveBack
        }
        giveBack?()
    }
}
