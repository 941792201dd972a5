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
}
