import Synchronization

/// Whether a viewer without a session may play, and for how long.
package struct ViewerAdmission: Hashable, Sendable {
    package var decision: HookDecision
    /// After that time its right is over; nil: it goes on.
    package var endsIn: Duration?

    package init(_ decision: HookDecision, endsIn: Duration? = nil) {
        self.decision = decision
        self.endsIn = endsIn
    }
}

extension ControlPlane {
    /// Whether a viewer without a session (HLS, RTSP) may play: its token decides, then the backend.
    package nonisolated func admit(_ viewer: ViewerRequest) async -> HookDecision {
        await admit(viewer, asksBackend: true).decision
    }

    /// The same with the end of the right.
    ///
    /// - Parameter asksBackend: false: the token alone decides.
    package nonisolated func admit(_ viewer: ViewerRequest, asksBackend: Bool) async -> ViewerAdmission {
        let rights = context.rights?.allow(
            token: viewer.token ?? StreamToken.of(viewer.custom), action: .play, stream: viewer.name,
            appKey: viewer.appKey)
        var endsIn: Duration?
        switch rights {
        case .refuse(let refusal):
            context.metrics.countRejection(refusal.label)
            return ViewerAdmission(.refuse(code: refusal.code.rawValue, reason: refusal.info))
        case .allow(let grant): endsIn = grant.endsIn
        case nil: break
        }
        return ViewerAdmission(asksBackend ? await context.hooks.play(viewer) : .allow, endsIn: endsIn)
    }

    /// Counts a player that is no session's (RTSP) among the players of a stream, within the same limits.
    package nonisolated func takePlace(of name: String) -> Result<ViewerPlace, ViewerRefusal> {
        switch context.registry.claimViewer(of: name) {
        case .success(let publisher):
            return .success(ViewerPlace(stream: name, publisher: publisher, registry: context.registry))
        case .failure(let refusal):
            context.metrics.countRejection(refusal.label)
            return .failure(ViewerRefusal(code: refusal.code.rawValue, info: refusal.info))
        }
    }
}

/// Why a viewer is not let in.
package struct ViewerRefusal: Error, Hashable, Sendable {
    /// HTTP's.
    package var code: Int
    package var info: String

    package init(code: Int, info: String) {
        self.code = code
        self.info = info
    }
}

/// The place of a viewer among the players of a stream.
package final class ViewerPlace: Sendable {
    package let stream: String
    package let publisher: PeerID
    private let registry: StreamRegistry
    private let isOver = Atomic<Bool>(false)

    init(stream: String, publisher: PeerID, registry: StreamRegistry) {
        self.stream = stream
        self.publisher = publisher
        self.registry = registry
    }

    /// Idempotent.
    package func giveBack() {
        guard !isOver.exchange(true, ordering: .relaxed) else { return }
        registry.releaseViewer(of: stream, publisher: publisher)
        registry.tellIfUnwatched(stream, publisher)
    }
}
