import MediaFiles
import MediaFormats
import MediaFrames
import Wire

/// One file being written: its part in the folder of unfinished ones. One thread.
final class RecordingPart {
    let id: String
    let format: ContainerFormat
    /// Number within the recording, from 1.
    let number: Int
    let startedAt: WallMillis
    /// Stream time of the file's zero.
    let origin: Interval
    /// By track of the stream: its track in the file, if it has one.
    let map: [Int?]
    let rotation: VideoRotation
    private(set) var journal: RecordingJournal
    private let folder: RecordingFolder
    private let output: FileOutput
    private let muxer: Muxer
    private let sync: RecordingSettings.Sync
    private var lastSync: Instant
    private var openSince: Instant?
    private let patience: Interval

    /// What a part needs to begin.
    struct Start {
        var id: String
        var identity: RecordingIdentity
        var format: ContainerFormat
        var number: Int
        var startedAt: WallMillis
        var origin: Interval
        /// By track of the stream; nil: not in this file.
        var tracks: [MuxerTrack?]
    }

    init(_ start: Start, folder: RecordingFolder, settings: RecordingSettings, now: Instant) throws(ContainerError) {
        id = start.id
        format = start.format
        number = start.number
        startedAt = start.startedAt
        origin = start.origin
        self.folder = folder
        sync = settings.sync
        lastSync = now
        patience = settings.muxer.fragmentDuration
        var map: [Int?] = []
        var tracks: [MuxerTrack] = []
        for track in start.tracks {
            map.append(track == nil ? nil : tracks.count)
            if let track { tracks.append(track) }
        }
        self.map = map
        rotation = tracks.first { $0.description.isVideo }?.rotation ?? .none
        journal = RecordingJournal(
            id: start.id, identity: start.identity, startedAt: start.startedAt, part: start.number,
            audioCodec: tracks.first { !$0.description.isVideo }?.description.codec.rawValue,
            videoCodec: tracks.first { $0.description.isVideo }?.description.codec.rawValue)
        try folder.writeJournal(journal)
        do {
            output = try FileOutput(creating: folder.partPath(start.id, start.format), seekable: false)
            muxer = try Muxer(
                format: start.format, tracks: tracks, origin: start.origin, output: output, settings: settings.muxer,
                metadata: RecordingClock.metadata(start.startedAt))
        } catch {
            folder.remove(start.id, start.format)
            throw error
        }
    }

    var duration: Interval { muxer.duration }
    var bytes: Int64 { output.size }
    var unsyncedBytes: Int64 { output.unsynced }
    var hasMedia: Bool { muxer.fragments > 0 || muxer.hasOpenFragment || muxer.frameCounts.contains { $0 > 0 } }
    var wholeLength: Int64 { muxer.wholeLength }

    func write(_ frame: MediaFrame, now: Instant) throws(ContainerError) {
        guard frame.track < map.count, let track = map[frame.track] else { return }
        let before = muxer.fragments
        try muxer.write(frame, track: track)
        try afterWrite(fragments: before, now: now)
    }

    /// Ends a fragment that has waited for its end long enough, as when a stream pauses; syncs when it is time.
    func advance(now: Instant) throws(ContainerError) {
        let before = muxer.fragments
        if let openSince, now - openSince >= patience { try muxer.cut() }
        try afterWrite(fragments: before, now: now)
    }

    private func afterWrite(fragments before: Int, now: Instant) throws(ContainerError) {
        let hasEnded = muxer.fragments != before
        if hasEnded || !muxer.hasOpenFragment { openSince = nil }
        if muxer.hasOpenFragment, openSince == nil { openSince = now }
        guard output.unsynced > 0 else { return }
        let isDue =
            switch sync {
            case .never: false
            case .everyFragment: hasEnded
            case .interval(let interval): now - lastSync >= interval
            }
        guard isDue else { return }
        lastSync = now
        let error = output.sync()
        guard error == 0 else { throw .system(errno: error) }
    }

    /// Ends the file as it should end.
    func finish(as name: String) throws(ContainerError) {
        try muxer.finish()
        journal.name = name
        let error = output.close()
        guard error == 0 else { throw .system(errno: error) }
        // Only the name would be lost: a repair after a crash would make one anew.
        try? folder.writeJournal(journal)
    }

    /// Ends the file after an error: what is behind the last whole fragment is cut off.
    func abandon() {
        _ = output.truncate(to: muxer.wholeLength)
        _ = output.sync()
        _ = output.close()
    }

    /// Nothing was written: no trace is left.
    func discard() {
        _ = output.close()
        folder.remove(id, format)
    }
}
