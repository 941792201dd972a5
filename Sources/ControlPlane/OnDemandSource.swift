/// Streams that are made because somebody wants to play them: files (`vod://`), cameras. What files, cameras and packets
/// are is not the control plane's affair.
package protocol OnDemandSources: Sendable {
    /// What a name stands for; nothing has begun yet. nil: names of this kind are not served. Returns at once and looks at
    /// nothing but the name, which comes from the network.
    func source(for name: String) -> (any OnDemandSource)?

    /// Whether that name, which is no URL, is kept for a source: nobody else publishes under it.
    func isReserved(_ name: String) -> Bool
}

extension OnDemandSources {
    package func isReserved(_ name: String) -> Bool { false }
}

/// One such stream, from its opening to its end. It is opened once, and closed once or more often.
package protocol OnDemandSource: AnyObject, Sendable {
    /// One for all players of the name; else each player has one of its own.
    var isShared: Bool { get }
    /// How long it goes on without players; zero: it ends with its last player.
    var linger: Duration { get }
    /// What stands for WebRTC in lists of streams.
    var provider: String { get }
    /// What players are told when `open` does not answer in time.
    var unanswered: StatusInfo { get }
    /// How long `open` may take; nil: `ControlConfiguration.sourceTimeout`.
    var openingLimit: Duration? { get }

    /// Opens what the name stands for and makes it the publisher `peer` of the media side, which `MediaBackend.close` ends.
    /// Of a source that is not live no media flows before `begin`.
    func open(peer: PeerID) async throws(OnDemandFailure) -> MediaDescription
    /// A player is connected. Called once for each.
    func begin()
    /// The one player of a source that is not shared pauses, or goes on.
    func setPaused(_ paused: Bool)
    /// Asks it to end; returns at once.
    func close()
    /// Returns when it has ended by itself or was closed. One caller, after `open`.
    func ended() async -> OnDemandEnd
}

extension OnDemandSource {
    package var openingLimit: Duration? { nil }
}

package enum OnDemandEnd: Hashable, Sendable {
    /// By itself, or by `close`.
    case finished
    case failed(StatusInfo)
}

/// Why a source could not be opened.
package enum OnDemandFailure: Error, Hashable, Sendable {
    case status(StatusInfo)
    /// There are as many as are allowed.
    case tooMany
    /// The media side takes nobody.
    case noCapacity

    var cause: EndCause {
        switch self {
        case .status(let info): .failed(info)
        case .tooMany: .rejected(.limit(.sources))
        case .noCapacity: EndCause(.noCapacity)
        }
    }
}

extension EndCause {
    /// What the end of a source means to its players.
    var forPlayers: EndCause {
        switch self {
        case .sourceFinished, .failed: self
        default: .publisherGone
        }
    }
}

/// The source of a managed stream.
struct OnDemandLife {
    let source: any OnDemandSource
    /// Opens when the stream has ended.
    let isOver: Gate
}
