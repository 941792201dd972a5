import ControlPlane
import Foundation
import Glibc
import LinuxNet
import Logging
import MediaEngine
import MediaFiles
import Playback
import Recording
import Synchronization
import WeirMetrics
import Wire

/// Files as streams: `vod://FILE` for one player, `vod-live://FILE` for all of that name.
///
/// A few reader threads → a second of each file, ready to be sent → one pacer thread → media workers. A disk that hangs
/// holds up reader threads, and with them what is played; nothing else waits for one.
package final class PlaybackService: OnDemandSources {
    /// Under which recordings are found, as if they were a folder of the media folder.
    static let recordsPrefix = "records"

    private let configuration: Configuration.Playback
    private let desk: FileSource.Desk
    private let pacer: PlaybackPacer
    private let readers: WorkQueue<@Sendable () -> Void>

    /// Makes the folder, unless it was given.
    /// - Throws: `ServerError`, naming what to change.
    package init(
        _ configuration: Configuration.Playback, stateDirectory: String, records: String?, media: EngineMediaBackend,
        metrics: MetricsRegistry, logger: Logger
    ) throws(ServerError) {
        self.configuration = configuration
        let path = configuration.folderPath(stateDirectory: stateDirectory)
        if configuration.folder.isEmpty, mkdir(path, 0o755) != 0, errno != EEXIST {
            throw ServerError(
                "vod.folder \(path): \(String(cString: strerror(errno))); mend that, give another folder or set "
                    + "vod.enabled to false")
        }
        let pacer: PlaybackPacer
        do {
            pacer = try PlaybackPacer(limit: configuration.max)
        } catch {
            throw ServerError("vod: \(error)")
        }
        self.pacer = pacer
        // Each file has one turn and one opening or closing at a time.
        let readers = WorkQueue<@Sendable () -> Void>(
            name: "vod", threads: configuration.readers, capacity: 3 * configuration.max + configuration.readers
        ) { $0() }
        self.readers = readers
        let folder = MediaFolder(path: path)
        let recordings = records.map { MediaFolder(path: $0, isFlat: true) }
        let places = TranscodingPlaces(configuration.transcodings)
        desk = FileSource.Desk(
            schedule: { readers.add($0) },
            open: { name throws(ContainerError) in
                guard let components = name.components else { throw .notFound }
                if let recordings, components.count == 2, components[0] == Self.recordsPrefix {
                    return try recordings.open([components[1]])
                }
                return try folder.open(components)
            }, media: media, places: places, admit: { pacer.add($0) }, dismiss: { pacer.remove($0) },
            wake: { pacer.wake() }, log: PlaybackLog(metrics: metrics, logger: logger))
        metrics.collect {
            [
                Sample(
                    name: "weir_vod_sources", help: "Files that are being played", kind: .gauge,
                    value: Double(pacer.count)),
                Sample(
                    name: "weir_vod_transcodings", help: "Played files whose pictures are transcoded", kind: .gauge,
                    value: Double(places.inUse)),
            ]
        }
    }

    /// Call it when nothing is played any more. Does not wait for readers: a disk that hangs must not hold up the end.
    package func stop() { pacer.stop() }

    package func source(for name: String) -> (any OnDemandSource)? {
        guard let name = PlaybackName(name) else { return nil }
        return FileSource(
            name, loops: name.isShared && configuration.loop,
            linger: name.isShared ? .nanoseconds(configuration.linger.nanoseconds) : .zero, desk: desk)
    }
}

/// Sends what is due of all files that are played, on one thread.
final class PlaybackPacer: Sendable {
    /// Between two looks, so that many files do not cost a wake-up for each packet.
    private static let grain = Interval.milliseconds(5)
    /// Without anything to do.
    private static let idle = Interval.seconds(10)

    private struct State {
        var files: [FileSource] = []
        var isRunning = false
        var isStopped = false
    }

    private let limit: Int
    private let waker: SinkWaker
    private let state = Mutex(State())

    init(limit: Int) throws {
        self.limit = limit
        waker = try SinkWaker()
    }

    var count: Int { state.withLock { $0.files.count } }

    /// False: there are too many.
    func add(_ file: FileSource) -> Bool {
        let (isTaken, isFirst) = state.withLock { state in
            guard !state.isStopped, state.files.count < limit else { return (false, false) }
            state.files.append(file)
            defer { state.isRunning = true }
            return (true, !state.isRunning)
        }
        if isFirst {
            Thread { self.run() }.start()
        }
        return isTaken
    }

    func remove(_ file: FileSource) { state.withLock { state in state.files.removeAll { $0 === file } } }

    func wake() { waker.wake() }

    func stop() {
        state.withLock { $0.isStopped = true }
        waker.wake()
    }

    private func run() {
        // Only a thread itself can give its name to the kernel.
        Thread.current.name = "vod pacer"
        while true {
            let (files, isStopped) = state.withLock { ($0.files, $0.isStopped) }
            guard !isStopped else { return }
            let now = Instant.now
            var next = now + Self.idle
            for file in files { next = min(next, file.pace(now: now)) }
            waker.wait(timeout: max(Self.grain, next - .now), unless: { false })
        }
    }
}
