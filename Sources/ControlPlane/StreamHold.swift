import Synchronization

/// The right of a viewer without a session (HLS, RTSP), or of the operator, that a stream goes on: a source on demand does
/// not end as long as anybody has one. Given back by `release`, or by its end.
package final class StreamHold: Sendable {
    /// Under which name the stream is published.
    package let name: String
    package let publisher: PeerID
    private let context: ControlContext
    private let isReleased = Atomic<Bool>(false)
    private let isGone: Gate?

    init(name: String, publisher: PeerID, isGone: Gate?, _ context: ControlContext) {
        self.name = name
        self.publisher = publisher
        self.isGone = isGone
        self.context = context
    }

    deinit { release() }

    /// Returns when the stream has ended and its name can be made anew; at once for a stream of a client.
    package func ended() async { await isGone?.wait() }

    /// Repeated calls do nothing.
    package func release() {
        guard !isReleased.exchange(true, ordering: .acquiringAndReleasing) else { return }
        context.registry.letGo(name, peer: publisher)
        context.registry.tellIfUnwatched(name, publisher)
    }
}

extension StreamRegistry {
    /// Who was no session's player has gone, perhaps as the last one.
    func tellIfUnwatched(_ name: String, _ publisher: PeerID) {
        guard let idle = unwatched(name), idle.peer == publisher else { return }
        Task { await idle.session.unwatched(idle.mediaSessionId, idle.peer) }
    }
}

extension ControlPlane {
    /// A source may end between its opening and the hold; then it is made anew, so often at most.
    private static let holdAttempts = 3

    /// Whether that name stands for a stream that is made when somebody wants it.
    package nonisolated func isOnDemand(_ name: String) -> Bool {
        StreamName.check(name) == .url || context.onDemand.isReserved(name)
    }

    /// Whether it is one for all who want it.
    package nonisolated func isSharedOnDemand(_ name: String) -> Bool {
        isOnDemand(name) && context.onDemand.isShared(name)
    }

    /// Holds a stream that there is. Returns at once; nil: there is none.
    package nonisolated func holdIfPublished(_ name: String) -> StreamHold? {
        context.registry.hold(name).map { StreamHold(name: name, publisher: $0, isGone: nil, context) }
    }

    /// Holds the stream, which is made if its name stands for a source on demand.
    /// - Throws: what a player would be told.
    package nonisolated func hold(_ name: String) async throws(StreamRefusal) -> StreamHold {
        guard isOnDemand(name) else {
            guard let hold = holdIfPublished(name) else { throw StreamRefusal(.failed(.streamNotFound)) }
            return hold
        }
        for _ in 0..<Self.holdAttempts {
            guard let entry = context.onDemand.entry(for: name, context) else {
                throw StreamRefusal(.rejected(.text(.noAgentStorage)))
            }
            if let cause = await entry.opening.value { throw StreamRefusal(cause) }
            if let publisher = context.registry.hold(entry.name) {
                return StreamHold(name: entry.name, publisher: publisher, isGone: entry.isGone, context)
            }
            await entry.isGone.wait()
        }
        throw StreamRefusal(.failed(.streamNotFound))
    }
}

/// Why a stream cannot be had: the text for viewers and the HTTP status that says the same.
package struct StreamRefusal: Error, Hashable, Sendable {
    package let info: String
    package let code: StatusCode

    init(_ cause: EndCause) {
        info = cause.info
        code = cause.code ?? .internalError
    }
}
