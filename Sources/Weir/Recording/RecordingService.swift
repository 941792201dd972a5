import ControlPlane
import Dispatch
import Glibc
import Logging
import MediaFiles
import MediaFrames
import MediaTaps
import Recording
import Synchronization
import WeirMetrics
import Wire

/// Records streams: taps of the frame reader, a few writer threads, the finaliser and the hook, begun and ended in order.
///
/// Reader thread → bounded queue of each recording → writer threads → files. Nothing here is on the path of a packet.
package final class RecordingService: StreamRecorder {
    /// Recordings write what has come since the last time so often: some frames at a stretch cost a fraction of what
    /// each by itself does, and fragments are several times as long.
    private static let tickInterval = Duration.milliseconds(100)
    /// How late a frame may come: nobody sees it in a file.
    private static let patience = Interval.milliseconds(50)
    private static let sweepInterval = Duration.seconds(60)
    /// Bytes of packets that may wait for the reader's thread.
    private static let sinkBytes = 2 << 20
    /// Files have time: a lost packet is waited for as long as it is asked for (`NackGenerator.patience`) and on its way.
    private static let assembly: AssemblerSettings = {
        var settings = AssemblerSettings()
        settings.retransmissionWait = .milliseconds(1_500)
        return settings
    }()

    private enum Work: Sendable {
        case turn(TappedRecording)
        case sweep
    }

    let folder: RecordingFolder
    let log: RecordingLog
    let configuration: Configuration.Recording
    /// Files of several streams.
    let groups: RecordingGroups
    private let reader: FrameReader
    private let logger: Logger
    let finaliser: RecordingFinaliser
    private let hook: RecordingHook?
    private let writers: WorkQueue<Work>
    private let isStopping = Atomic<Bool>(false)
    private let sweep = SweepFlag()

    /// Opens the folder and makes whole what an earlier run left in it.
    /// - Throws: `ServerError`, naming what to change.
    package init(
        _ configuration: Configuration.Recording, stateDirectory: String, reader: FrameReader, metrics: MetricsRegistry,
        logger: Logger
    ) throws(ServerError) {
        self.configuration = configuration
        self.reader = reader
        self.logger = logger
        let path = configuration.folderPath(stateDirectory: stateDirectory)
        do throws(ContainerError) {
            folder = try RecordingFolder(path: path)
        } catch {
            let why = error == .system(errno: EBUSY) ? "another server records there" : "\(error)"
            throw ServerError(
                "recording.folder \(path): \(why); mend that, give another folder or set recording.enabled to false")
        }
        let log = RecordingLog(folder: path, metrics: metrics, logger: logger)
        self.log = log
        hook = configuration.hookSettings.map { settings in
            RecordingHook(settings: settings) { log.hookEnded($0, $1, $2) }
        }
        finaliser = RecordingFinaliser(folder: folder, observer: log, hook: hook)
        groups = RecordingGroups(limit: configuration.max)
        let (folder, retention) = (folder, configuration.retention)
        let swept = metrics.counter(
            "weir_recording_deleted_total", help: "Files deleted by recording.keep and keep_size")
        writers = WorkQueue(
            name: "record", threads: configuration.writers, capacity: configuration.max + configuration.writers + 1
        ) { [sweep] work in
            switch work {
            case .turn(let recording): recording.run()
            case .sweep:
                let deleted = retention.sweep(folder, now: RecordingClock.now())
                sweep.giveBack()
                guard !deleted.isEmpty else { return }
                swept.increment(by: UInt64(deleted.count))
                logger.info("old recordings deleted", metadata: ["files": "\(deleted.joined(separator: " "))"])
            }
        }
        let finaliser = finaliser
        metrics.collect { [log] in
            [
                Sample(name: "weir_recordings", help: "Recordings that go on", kind: .gauge, value: Double(log.count)),
                Sample(
                    name: "weir_recordings_unfinished", help: "Closed files that wait for their index", kind: .gauge,
                    value: Double(finaliser.count)),
            ]
        }
        let found = finaliser.repair(settings: configuration.settings)
        if found > 0 { logger.notice("Recordings of an earlier run", metadata: ["files": "\(found)"]) }
    }

    // MARK: StreamRecorder

    package var servesRequests: Bool { configuration.onRequest }
    package func records(_ stream: String) -> Bool { configuration.wants(stream) }

    package func start(_ order: RecordingOrder) throws(RecordingRefusal) -> any OngoingRecording {
        try begin(order, group: nil)
    }

    package var multiple: (any MultipleRecorder)? { self }

    var isEnding: Bool { isStopping.load(ordering: .relaxed) }

    /// - Parameter group: whose file the stream's tracks go into; nil: it has a file of its own.
    func begin(_ order: RecordingOrder, group: RecordingGroup?) throws(RecordingRefusal) -> TappedRecording {
        guard !isEnding else { throw .stopping }
        let identity = RecordingIdentity(
            streamName: order.stream, mediaSessionID: order.mediaSessionId, sessionID: order.sessionId,
            login: order.login, fileName: order.fileName.flatMap(Self.base), group: group?.id)
        guard log.hasRoom(configuration.max, for: identity) else { throw .tooMany }
        var made: TappedRecording?
        let desk = desk(group)
        let tap = reader.tap(
            publisher: order.publisher.rawValue, capacity: Self.sinkBytes, patience: Self.patience,
            settings: Self.assembly
        ) { tap in
            let recording = TappedRecording(identity, tap: tap, desk: desk, logger: logger)
            made = recording
            // Before its first frame, so that what is told of it finds it.
            _ = log.add(recording, limit: .max)
            return recording
        }
        guard tap != nil, let made else { throw .noStream }
        return made
    }

    /// The container decides about the extension; an empty name is none.
    private static func base(_ fileName: String) -> String? {
        var name = fileName[...]
        if ContainerFormat(fileName: fileName) != nil, let dot = fileName.lastIndex(of: ".") { name = fileName[..<dot] }
        return name.isEmpty ? nil : String(name)
    }

    private func desk(_ group: RecordingGroup?) -> TappedRecording.Desk {
        let (writers, log, folder, finaliser, groups) = (writers, log, folder, finaliser, groups)
        let settings = group == nil ? configuration.settings : configuration.groupSettings
        return TappedRecording.Desk(
            schedule: { writers.add(.turn($0)) },
            ended: { recording in
                log.remove(recording)
                groups.ended(recording)
            },
            makeRecorder: { identity, tracks in
                Recorder(
                    identity: identity, tracks: tracks, settings: settings, folder: folder, finaliser: finaliser,
                    group: group)
            },
            dropped: { log.countDropped($0) }, gaps: { log.countGaps($0) })
    }

    // MARK: Life

    /// Lets time pass for recordings and deletes old ones, until the task is cancelled.
    package func run() async {
        var untilSweep = Duration.zero
        while !Task.isCancelled {
            for recording in log.live { recording.tick() }
            if untilSweep <= .zero, !configuration.retention.isUnlimited {
                untilSweep = Self.sweepInterval
                if sweep.take(), !writers.add(.sweep) { sweep.giveBack() }
            }
            untilSweep -= Self.tickInterval
            try? await Task.sleep(for: Self.tickInterval)
        }
    }

    /// Takes nothing new. What there is ends with its streams; call `shutdown` when they have ended.
    package func beginShutdown() { isStopping.store(true, ordering: .relaxed) }

    /// Ends what is left and completes files, as far as the time goes: the next start does the rest.
    package func shutdown(until deadline: ContinuousClock.Instant) async {
        beginShutdown()
        let timeout = max(.zero, ContinuousClock.now.duration(to: deadline))
        for recording in log.live { recording.stop() }
        let (reader, writers, finaliser, hook, groups) = (reader, writers, finaliser, hook, groups)
        let isDone: Void? = await withDeadline(Timers(ContinuousClock()), timeout) {
            await Self.blocking {
                // Ends all taps; then nothing more is scheduled but what is already there.
                reader.stop()
                writers.waitUntilIdle()
                groups.endAll()
                finaliser.waitUntilIdle()
                hook?.waitUntilIdle()
            }
        }
        guard isDone == nil else { return }
        logger.warning(
            "Recordings were not complete in time; the next start completes them",
            metadata: ["unfinished": "\(finaliser.count + log.count)"])
    }

    /// A thread of its own for what waits for disks.
    static func blocking<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value {
        await withCheckedContinuation { continuation in
            DispatchQueue.global().async { continuation.resume(returning: body()) }
        }
    }
}

/// One sweep at a time: a folder on a hanging disk must not take all writer threads.
private final class SweepFlag: Sendable {
    private let isOn = Atomic<Bool>(false)

    func take() -> Bool { !isOn.exchange(true, ordering: .relaxed) }
    func giveBack() { isOn.store(false, ordering: .relaxed) }
}
