import ControlPlane
import Logging
import Recording
import Synchronization
import WeirMetrics

/// What happens to recordings: into the log, into the metrics, and to those who wait for it.
final class RecordingLog: RecordingObserver {
    /// A stream may be recorded alone and into files of several streams at the same time.
    private struct Key: Hashable {
        var mediaSessionID: String
        var group: String?

        init(_ identity: RecordingIdentity) {
            mediaSessionID = identity.mediaSessionID
            group = identity.group
        }
    }

    private struct State {
        var live: [Key: TappedRecording] = [:]
        /// Files that are closed and not in their places yet, by name.
        var pending: [String: (mediaSessionID: String, done: Gate)] = [:]
    }

    private let state = Mutex(State())
    private let folder: String
    private let logger: Logger
    private let metrics: MetricsRegistry
    private let files: Counter
    private let bytes: Counter
    private let repaired: Counter
    private let dropped: Counter

    init(folder: String, metrics: MetricsRegistry, logger: Logger) {
        self.folder = folder
        self.logger = logger
        self.metrics = metrics
        files = metrics.counter("weir_recording_files_total", help: "Recorded files that were completed")
        bytes = metrics.counter("weir_recording_bytes_total", help: "Bytes of completed files")
        repaired = metrics.counter(
            "weir_recording_repaired_total", help: "Files of an earlier run that were found unfinished and made whole")
        dropped = metrics.counter(
            "weir_recording_frames_dropped_total", help: "Frames not recorded since the disk was too slow")
    }

    // MARK: Recordings that go on

    /// False: there are that many already, or one of this media session for the same file.
    func add(_ recording: TappedRecording, limit: Int) -> Bool {
        state.withLock { state in
            guard state.live.count < limit, state.live[Key(recording.identity)] == nil else { return false }
            state.live[Key(recording.identity)] = recording
            return true
        }
    }

    func remove(_ recording: TappedRecording) {
        state.withLock { state in
            guard state.live[Key(recording.identity)] === recording else { return }
            state.live[Key(recording.identity)] = nil
        }
    }

    var live: [TappedRecording] { state.withLock { Array($0.live.values) } }
    var count: Int { state.withLock { $0.live.count } }

    func hasRoom(_ limit: Int, for identity: RecordingIdentity) -> Bool {
        state.withLock { $0.live.count < limit && $0.live[Key(identity)] == nil }
    }

    func countDropped(_ frames: Int) { dropped.increment(by: UInt64(frames)) }

    /// Opens when the file of that name is in its place, or will not come; nil: none is awaited.
    func completion(of name: String) -> Gate? { state.withLock { $0.pending[name]?.done } }

    private func live(_ identity: RecordingIdentity) -> TappedRecording? {
        state.withLock { $0.live[Key(identity)] }
    }

    // MARK: RecordingObserver

    func recordingStarted(_ identity: RecordingIdentity, name: String?) {
        logger.info("recording", metadata: metadata(identity, ["file": "\(name ?? "named at its end")"]))
        live(identity)?.started(name)
    }

    func recordingFileEnded(_ identity: RecordingIdentity, name: String) {
        state.withLock { $0.pending[name] = (identity.mediaSessionID, Gate()) }
    }

    func recordingFileCompleted(_ file: RecordedFile) {
        files.increment()
        bytes.increment(by: UInt64(clamping: file.bytes))
        logger.info(
            "recording complete",
            metadata: metadata(
                file.identity,
                [
                    "file": "\(file.path)", "bytes": "\(file.bytes)", "ms": "\(file.duration.milliseconds)",
                    "repaired": "\(file.wasRepaired)", "indexed": "\(file.isIndexed)",
                ]))
        settle(file.identity, name: file.name)
    }

    func recordingFailed(_ identity: RecordingIdentity, _ failure: RecordingFailure) {
        count("weir_recording_failures_total", "Recordings that ended before their streams", failure)
        logger.error("recording failed", metadata: metadata(identity, reasons(failure)))
        live(identity)?.failed(failure)
    }

    func recordingRepaired(_ identity: RecordingIdentity, bytes: Int64, lost: Int64) {
        repaired.increment()
        logger.warning(
            "an unfinished recording of an earlier run was found",
            metadata: metadata(identity, ["kept": "\(bytes) bytes", "torn": "\(lost) bytes"]))
    }

    func recordingNotFinalised(_ identity: RecordingIdentity, _ failure: RecordingFailure) {
        count("weir_recording_not_finalised_total", "Closed files that are left for the next start", failure)
        logger.error(
            "a recorded file could not be completed; the next start tries again",
            metadata: metadata(identity, reasons(failure)))
        settle(identity, name: nil)
    }

    func recordingProgress(_ name: String, _ share: Double) {}

    /// The program after a recording.
    func hookEnded(_ file: RecordedFile, _ outcome: RecordingHook.Outcome, _ output: String) {
        let isGood = outcome == .exited(0)
        metrics.counter(
            "weir_recording_hooks_total", help: "Programs run after recordings",
            labels: [("result", isGood ? "ok" : "failed")]
        ).increment()
        logger.log(
            level: isGood ? .info : .warning, "recording hook",
            metadata: metadata(file.identity, ["file": "\(file.name)", "outcome": "\(outcome)", "output": "\(output)"]))
    }

    /// What is not named any more is given up as well: a file that had to take another name, or one that never comes.
    private func settle(_ identity: RecordingIdentity, name: String?) {
        let gates = state.withLock { state -> [Gate] in
            if let name, let known = state.pending.removeValue(forKey: name) { return [known.done] }
            let lost = state.pending.filter { $0.value.mediaSessionID == identity.mediaSessionID }
            for key in lost.keys { state.pending[key] = nil }
            return lost.values.map(\.done)
        }
        for gate in gates { gate.open() }
    }

    private func count(_ name: String, _ help: String, _ failure: RecordingFailure) {
        metrics.counter(name, help: help, labels: [("reason", failure.label)]).increment()
    }

    private func reasons(_ failure: RecordingFailure) -> Logger.Metadata {
        ["reason": "\(failure.text)", "remedy": "\(failure.remedy)", "folder": "\(folder)"]
    }

    private func metadata(_ identity: RecordingIdentity, _ more: Logger.Metadata) -> Logger.Metadata {
        ["stream": "\(identity.streamName)", "mediaSessionId": "\(identity.mediaSessionID)"].merging(more) { $1 }
    }
}
