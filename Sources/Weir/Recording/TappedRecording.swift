import ControlPlane
import LinuxNet
import Logging
import MediaFormats
import MediaFrames
import MediaTaps
import Recording
import Synchronization
import Wire

/// One recording: frames come on the reader's thread into a bounded queue and are written by one writer thread at a
/// time. A disk that is too slow costs frames of this recording, up to a key frame, and nobody else anything.
final class TappedRecording: FrameConsumer, OngoingRecording {
    /// Half a minute of a usual stream.
    static let queueBytes = 8 << 20
    static let queueFrames = 8_192
    /// With so much the recording does not wait for the next tick.
    private static let bytesPerTurn = 1 << 20
    /// Written at a stretch before other recordings have their turn.
    private static let framesPerTurn = 256
    /// The engine merges requests; this spares its mailbox.
    private static let requestInterval = Interval.milliseconds(250)

    /// What the recording needs of its surroundings.
    struct Desk: Sendable {
        /// Gives the recording a turn on a writer thread; false: there are no more turns.
        var schedule: @Sendable (TappedRecording) -> Bool
        /// Called once, on a writer thread, when all files are closed.
        var ended: @Sendable (TappedRecording) -> Void
        var makeRecorder: @Sendable (RecordingIdentity, [TrackDescription]) -> Recorder
        var dropped: @Sendable (Int) -> Void
    }

    private struct Shared {
        var frames: [MediaFrame] = []
        var bytes = 0
        /// By track: frames were dropped, and the next key frame is waited for.
        var waitsForKey: [Bool]
        /// Dropped since the writer looked.
        var dropped = 0
        /// A frame has come.
        var hasBegun = false
        /// It has, or waits for, a turn.
        var isScheduled = false
        /// No more frames come.
        var isEnding = false
        var isOver = false
        var isClosed = false
        var failure: RecordingFailure?
    }

    let identity: RecordingIdentity
    /// Opens when its files are closed and nobody counts it any more.
    let closed = Gate()
    let news: AsyncStream<RecordingNews>
    private let continuation: AsyncStream<RecordingNews>.Continuation
    private let tap: FrameTap
    private let desk: Desk
    private let logger: Logger
    private let shared: Mutex<Shared>
    /// Of the writer whose turn it is.
    nonisolated(unsafe) private var recorder: Recorder?
    nonisolated(unsafe) private var lastRequest = Instant.zero

    init(_ identity: RecordingIdentity, tap: FrameTap, desk: Desk, logger: Logger) {
        self.identity = identity
        self.tap = tap
        self.desk = desk
        self.logger = logger
        shared = Mutex(Shared(waitsForKey: tap.tracks.map { _ in false }))
        (news, continuation) = AsyncStream.makeStream()
    }

    // MARK: Any thread

    /// Its files are closed, and `Desk.ended` has been called or is about to be.
    var isClosed: Bool { shared.withLock { $0.isClosed } }

    func stop() { tap.cancel() }

    /// Gives it a turn with what has come; time passes for it although no frame came.
    func tick() { schedule { _ in true } }

    /// Of `RecordingObserver`, on a writer thread.
    func started(_ name: String?) { continuation.yield(.started(fileName: name)) }
    func failed(_ failure: RecordingFailure) { shared.withLock { $0.failure = failure } }

    /// Changes what is shared and gets a turn if that is wanted and there is none already.
    private func schedule(_ change: (inout Shared) -> Bool) {
        let needsTurn = shared.withLock { shared in
            guard !shared.isOver, change(&shared), !shared.isScheduled else { return false }
            shared.isScheduled = true
            return true
        }
        if needsTurn, !desk.schedule(self) { shared.withLock { $0.isScheduled = false } }
    }

    // MARK: The reader's thread

    func handle(_ frame: MediaFrame) {
        var wantsKeyFrame = false
        schedule { shared in
            let size = frame.data.count
            if shared.waitsForKey[frame.track] {
                let hasRoom = shared.bytes <= Self.queueBytes / 2
                wantsKeyFrame = hasRoom && !frame.isKeyFrame
                guard hasRoom, frame.isKeyFrame else {
                    shared.dropped += 1
                    return false
                }
                shared.waitsForKey[frame.track] = false
            }
            guard shared.bytes + size <= Self.queueBytes, shared.frames.count < Self.queueFrames else {
                if tap.tracks[frame.track].isVideo { shared.waitsForKey[frame.track] = true }
                shared.dropped += 1
                return false
            }
            shared.bytes += size
            shared.frames.append(frame)
            // The first one at once: it is told that the recording has begun.
            defer { shared.hasBegun = true }
            return !shared.hasBegun || shared.bytes >= Self.bytesPerTurn
        }
        if wantsKeyFrame { requestKeyFrame() }
    }

    func ended() {
        schedule { shared in
            shared.isEnding = true
            return true
        }
    }

    private func requestKeyFrame() { tap.requestKeyFrame() }

    // MARK: A writer's thread

    /// One turn.
    func run() {
        let recorder = self.recorder ?? desk.makeRecorder(identity, tap.tracks)
        self.recorder = recorder
        let frames = take()
        for frame in frames { recorder.write(frame, now: .now) }
        let now = Instant.now
        recorder.advance(now: now)
        if recorder.wantsKeyFrame, now - lastRequest >= Self.requestInterval {
            lastRequest = now
            requestKeyFrame()
        }
        let isFailed = if case .failed = recorder.state { true } else { false }
        let next = shared.withLock { shared -> (isOver: Bool, goesOn: Bool) in
            for frame in frames { shared.bytes -= frame.data.count }
            if isFailed || (shared.isEnding && shared.frames.isEmpty) {
                shared.isOver = true
                shared.frames = []
                return (true, false)
            }
            shared.isScheduled = !shared.frames.isEmpty
            return (false, shared.isScheduled)
        }
        if next.isOver { finish(recorder) }
        if next.goesOn, !desk.schedule(self) { shared.withLock { $0.isScheduled = false } }
    }

    /// Frames of one turn; they count as waiting until they are written.
    private func take() -> [MediaFrame] {
        let (frames, dropped) = shared.withLock { shared -> ([MediaFrame], Int) in
            defer { shared.dropped = 0 }
            guard shared.frames.count > Self.framesPerTurn else {
                defer { shared.frames = [] }
                return (shared.frames, shared.dropped)
            }
            let frames = Array(shared.frames.prefix(Self.framesPerTurn))
            shared.frames.removeFirst(Self.framesPerTurn)
            return (frames, shared.dropped)
        }
        if dropped > 0 {
            desk.dropped(dropped)
            logger.warning(
                "the disk is too slow for a recording", metadata: metadata(["dropped": "\(dropped) frames"]))
        }
        return frames
    }

    private func finish(_ recorder: Recorder) {
        tap.cancel()
        recorder.stop(now: .now)
        let failure = shared.withLock { $0.failure }
        self.recorder = nil
        logger.info(
            "recording ended",
            metadata: metadata([
                "files": "\(recorder.names.joined(separator: " "))", "frames": "\(recorder.framesWritten)",
                "bytes": "\(recorder.bytesWritten)", "lostPackets": "\(tap.packetsLost)",
            ]))
        continuation.yield(.ended(fileNames: recorder.names, failure: failure?.text))
        continuation.finish()
        shared.withLock { $0.isClosed = true }
        desk.ended(self)
        closed.open()
    }

    private func metadata(_ more: Logger.Metadata) -> Logger.Metadata {
        ["stream": "\(identity.streamName)", "mediaSessionId": "\(identity.mediaSessionID)"].merging(more) { $1 }
    }
}
