import Logging

/// What every session of one control plane shares.
struct ControlContext: Sendable {
    let media: any MediaBackend
    let hooks: any BackendHooks
    /// nil: clients need no rights of their own.
    let rights: (any StreamRights)?
    let configuration: ControlConfiguration
    let registry: StreamRegistry
    let metrics: ControlMetrics
    let timers: Timers
    let kept: KeptSessions
    /// nil: nothing is kept.
    let diagnostics: (any DiagnosticStore)?
    /// nil: this server makes none.
    let snapshots: (any SnapshotMaker)?
    let snapshotPlaces: Places
    /// nil: this server records nothing.
    let recorder: (any StreamRecorder)?
    let observers: [any StreamObserver]
    let onDemand: OnDemandStreams
    let pictureCopies: Places
    let capturePlaces: Places

    /// Frees a peer in the background. The task ends in bounded time also when the media side hangs.
    @discardableResult
    func closeMedia(_ peer: PeerID) -> Task<Void, Never> {
        Task { _ = await withDeadline(timers, configuration.mediaTimeout) { [media] in await media.close(peer: peer) } }
    }
}
