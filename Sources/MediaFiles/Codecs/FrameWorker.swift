import Dispatch
import MediaFormats
import Synchronization
import Wire

/// Does slow work on frames, one after the other, away from who has them: a queue with a bound and a thread of its own
/// kind. Frames that find the queue full are dropped: sound frame by frame, video up to the next key frame, since what
/// follows a missing frame cannot be decoded. What was dropped is counted, and told by `.afterLoss`.
///
/// All calls from any thread; the work itself is never done by two threads at once.
package final class FrameWorker: Sendable {
    private struct State {
        var waiting = 0
        var bytes = 0
        var dropped: Int64 = 0
        /// Tracks that have lost a frame: video until its next key frame.
        var skipping: Set<Int> = []
        /// Nothing is taken any more.
        var isClosed = false
        /// What waits is not done either.
        var isAbandoned = false
    }

    /// Frames and bytes that wait. One second of several tracks; a key frame of 4K has some 1 MiB.
    package static let maxFrames = 128
    package static let maxBytes = 8 * 1024 * 1024

    private let state = Mutex(State())
    private let queue: DispatchQueue
    private let isVideo: [Bool]
    private let maxFrames: Int
    private let work: @Sendable (MediaFrame) -> Void

    /// - Parameters:
    ///   - tracks: of the stream whose frames come.
    ///   - work: done for each frame, in their order.
    package init(
        label: String, tracks: [TrackDescription], maxFrames: Int = FrameWorker.maxFrames,
        work: @escaping @Sendable (MediaFrame) -> Void
    ) {
        queue = DispatchQueue(label: label, qos: .utility)
        isVideo = tracks.map(\.isVideo)
        self.maxFrames = maxFrames
        self.work = work
    }

    /// Frames that were dropped because the work did not keep up.
    package var dropped: Int64 { state.withLock { $0.dropped } }

    /// Takes a frame to be worked on; never waits.
    ///
    /// - Returns: false, if it was dropped.
    @discardableResult
    package func add(_ frame: MediaFrame) -> Bool {
        let isVideo = self.isVideo.indices.contains(frame.track) && self.isVideo[frame.track]
        let (isTaken, isAfterLoss) = state.withLock { state -> (Bool, Bool) in
            guard !state.isClosed else { return (false, false) }
            let isFull = state.waiting >= maxFrames || state.bytes + frame.data.count > Self.maxBytes
            let wasSkipping = state.skipping.contains(frame.track)
            guard !isFull, !(isVideo && wasSkipping && !frame.isKeyFrame) else {
                state.skipping.insert(frame.track)
                state.dropped += 1
                return (false, false)
            }
            state.skipping.remove(frame.track)
            state.waiting += 1
            state.bytes += frame.data.count
            return (true, wasSkipping)
        }
        guard isTaken else { return false }
        var frame = frame
        if isAfterLoss { frame.flags.insert(.afterLoss) }
        queue.async { [frame] in
            let isWanted = self.state.withLock { state in
                state.waiting -= 1
                state.bytes -= frame.data.count
                return !state.isAbandoned
            }
            if isWanted { self.work(frame) }
        }
        return true
    }

    /// Video cannot go on without a key frame.
    package var wantsKeyFrame: Bool {
        state.withLock { state in state.skipping.contains { isVideo.indices.contains($0) && isVideo[$0] } }
    }

    /// Nothing is taken any more; what waits is done, then `last` is called by the same thread.
    package func finish(_ last: @escaping @Sendable () -> Void) {
        state.withLock { $0.isClosed = true }
        queue.async(execute: last)
    }

    /// Nothing is taken any more, and what waits is not done; `last` is called after the work that is going on.
    package func abandon(_ last: @escaping @Sendable () -> Void = {}) {
        state.withLock { ($0.isClosed, $0.isAbandoned) = (true, true) }
        queue.async(execute: last)
    }
}
