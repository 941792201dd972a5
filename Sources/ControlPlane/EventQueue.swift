/// The events of one session on their way to its adapter: bounded, in order, never blocking the control side.
final class EventQueue: Sendable {
    enum Outcome {
        case accepted
        /// The limit is passed. Only the closing event still has room.
        case overflow
        case finished
    }

    /// One slot tells that the limit is passed, one is kept for the closing event.
    private static let reservedSlots = 2

    let events: AsyncStream<SessionEvent>
    private let continuation: AsyncStream<SessionEvent>.Continuation

    init(limit: Int) {
        (events, continuation) = AsyncStream.makeStream(
            bufferingPolicy: .bufferingOldest(max(1, limit) + Self.reservedSlots))
    }

    func offer(_ event: SessionEvent) -> Outcome {
        switch continuation.yield(event) {
        case .enqueued(let remaining): remaining < Self.reservedSlots ? .overflow : .accepted
        case .dropped: .overflow
        case .terminated: .finished
        @unknown default: .finished
        }
    }

    /// The last event. What was offered before is still delivered.
    func finish(_ reason: SessionCloseReason) {
        continuation.yield(.closing(reason))
        continuation.finish()
    }
}
