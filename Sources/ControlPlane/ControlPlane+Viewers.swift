extension ControlPlane {
    /// Whether a viewer without a session (HLS, RTSP) may play: its token decides, then the backend.
    package nonisolated func admit(_ viewer: ViewerRequest) async -> HookDecision {
        let decision = context.rights?.allow(
            token: viewer.token ?? StreamToken.of(viewer.custom), action: .play, stream: viewer.name,
            appKey: viewer.appKey)
        if case .refuse(let refusal)? = decision {
            context.metrics.countRejection(refusal.label)
            return .refuse(code: refusal.code.rawValue, reason: refusal.info)
        }
        return await context.hooks.play(viewer)
    }
}
