import Foundation
import MediaFiles
import MediaFormats
import MediaFrames
import MediaTestSupport
import Recording
import Synchronization
import Wire

/// Events of recordings, as they came.
final class Events: RecordingObserver {
    struct State {
        var started: [String?] = []
        var ended: [String] = []
        var completed: [RecordedFile] = []
        var failed: [RecordingFailure] = []
        var repaired: [(bytes: Int64, lost: Int64)] = []
        var notFinalised: [RecordingFailure] = []
        var progress: [Double] = []
    }

    private let state = Mutex(State())
    /// Called on the finaliser's thread with each share of progress.
    let onProgress: @Sendable (Double) -> Void

    init(onProgress: @escaping @Sendable (Double) -> Void = { _ in }) { self.onProgress = onProgress }

    var all: State { state.withLock { $0 } }

    func recordingStarted(_ identity: RecordingIdentity, name: String?) { state.withLock { $0.started.append(name) } }
    func recordingFileEnded(_ identity: RecordingIdentity, name: String) { state.withLock { $0.ended.append(name) } }
    func recordingFileCompleted(_ file: RecordedFile) { state.withLock { $0.completed.append(file) } }
    func recordingFailed(_ identity: RecordingIdentity, _ failure: RecordingFailure) {
        state.withLock { $0.failed.append(failure) }
    }
    func recordingRepaired(_ identity: RecordingIdentity, bytes: Int64, lost: Int64) {
        state.withLock { $0.repaired.append((bytes, lost)) }
    }
    func recordingNotFinalised(_ identity: RecordingIdentity, _ failure: RecordingFailure) {
        state.withLock { $0.notFinalised.append(failure) }
    }
    func recordingProgress(_ name: String, _ share: Double) {
        state.withLock { $0.progress.append(share) }
        onProgress(share)
    }
}

/// A records folder with what writes into it.
final class Studio {
    let path: String
    let folder: RecordingFolder
    let events: Events
    let finaliser: RecordingFinaliser
    private let removes: Bool

    init(path: String? = nil, hook: RecordingHook? = nil, events: Events = Events()) throws {
        self.events = events
        removes = path == nil
        self.path = path ?? NSTemporaryDirectory() + "weir-records-" + UUID().uuidString
        folder = try RecordingFolder(path: self.path)
        finaliser = RecordingFinaliser(folder: folder, observer: events, hook: hook)
    }

    deinit {
        finaliser.stop()
        if removes { try? FileManager.default.removeItem(atPath: path) }
    }

    static var settings: RecordingSettings {
        var settings = RecordingSettings()
        settings.template = .streamName
        // Machines that test may be full.
        settings.freeSpaceFloor = 0
        return settings
    }

    func recorder(
        _ tracks: [TrackDescription], settings: RecordingSettings = Studio.settings,
        identity: RecordingIdentity = .init(streamName: "s1", mediaSessionID: "m1", login: "alice")
    ) -> Recorder {
        Recorder(
            identity: identity, tracks: tracks, settings: settings, folder: folder, finaliser: finaliser,
            wallClock: { 1_700_000_000_500 })
    }

    /// All complete files with the frames of their tracks, in the order of completion.
    func recordings() throws -> [(file: RecordedFile, tracks: [TrackDescription], frames: [[MediaFrame]])] {
        finaliser.waitUntilIdle()
        return try events.all.completed.map { file in
            let demuxer = try Demuxer(path: file.path)
            var frames: [[MediaFrame]] = demuxer.tracks.map { _ in [] }
            while let sample = try demuxer.next() { frames[sample.frame.track].append(sample.frame) }
            return (file, demuxer.tracks, frames)
        }
    }

    /// Names of everything below the folder.
    var names: [String] {
        (FileManager.default.enumerator(atPath: path)?.allObjects as? [String] ?? []).sorted()
    }
}

extension Recorder {
    /// Writes frames as if they came when they are due.
    func feed(_ frames: [MediaFrame]) {
        for frame in frames { write(frame, now: Instant.zero + frame.time) }
    }
}

/// Coded pictures and sound, parameter sets aside: the same before and after a file.
func essence(_ codec: Codec, _ frames: [MediaFrame]) -> [[UInt8]] {
    frames.map { frame in
        switch codec {
        case .h264: TestClip.units(frame.data).filter { ![7, 8, 9].contains($0[0] & 0x1f) }.flatMap { $0 }
        default: frame.data
        }
    }
}
