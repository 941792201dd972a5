import MediaFiles
import MediaFormats
import MediaFrames
import Wire

/// Records one stream: frames in, files out. One thread at a time, which may block on the disk; never a media thread.
///
/// A file begins with the first key frame of each picture track, or without pictures when they stay away
/// (`videoWait`); sound from before is kept. A new file is begun when it is due (`rotationInterval`, `rotationBytes`),
/// when a track turns up that the present file has not, or when the picture is turned: always at a key frame, and sound
/// that is older than that frame but comes later goes to the file before, so that no frame is lost between two.
package final class Recorder {
    package enum State: Equatable, Sendable {
        /// No file yet: waiting for the first key frame.
        case waiting
        case recording
        case stopped
        case failed(RecordingFailure)
    }

    /// What is kept before a file begins: frames and bytes of at most so much.
    private static let pendingBytes = 8 << 20
    private static let pendingFrames = 4_096
    /// How long the file before stays open for late sound, in stream time.
    private static let overlap = Interval.seconds(2)
    static let spaceCheckInterval = Interval.seconds(1)

    package let identity: RecordingIdentity
    package internal(set) var state = State.waiting
    /// Names of the files of this recording, in order.
    package internal(set) var names: [String] = []
    /// A new file is due: the publisher should be asked for a key frame.
    package internal(set) var wantsKeyFrame = false
    /// Frames written into files.
    package private(set) var framesWritten: UInt64 = 0
    package private(set) var bytesWritten: Int64 = 0
    /// Of the present file: written, and not known to be on the disk. What the end of the machine's power would cost, beside
    /// the fragment that is being made.
    package var unsyncedBytes: Int64 { part?.unsyncedBytes ?? 0 }

    let settings: RecordingSettings
    let folder: RecordingFolder
    let finaliser: RecordingFinaliser
    private let wallClock: () -> WallMillis
    let observer: any RecordingObserver
    /// Where closed parts go to be joined; nil: each becomes a file.
    let group: RecordingGroup?
    private var tracks: [TrackDescription]
    private var conversions: [(any AudioConversion)?]
    var part: RecordingPart?
    /// The file before, until sound has passed its end.
    var closing: (part: RecordingPart, end: Interval)?
    var pending: [MediaFrame] = []
    private var pendingSize = 0
    /// Newest key frame's parameter sets by track: not every key frame tells them.
    private var parameterSets: [[[UInt8]]?]
    private var sizes: [VideoSize?]
    private var partNumber = 0
    var nextSpaceCheck: Instant?
    private var startedAt: (stream: Interval, wall: WallMillis)?
    /// Told at the start, where the template knows it then.
    var promised: (base: String, name: String)?

    package init(
        identity: RecordingIdentity, tracks: [TrackDescription], settings: RecordingSettings, folder: RecordingFolder,
        finaliser: RecordingFinaliser, group: RecordingGroup? = nil,
        wallClock: @escaping () -> WallMillis = RecordingClock.now,
        conversion: AudioConversionMaker? = TranscodedAudio.maker
    ) {
        self.identity = identity
        self.settings = settings
        self.folder = folder
        self.finaliser = finaliser
        self.group = group
        self.wallClock = wallClock
        observer = finaliser.observer
        self.tracks = tracks
        parameterSets = tracks.map { $0.parameterSets.isEmpty ? nil : $0.parameterSets }
        sizes = tracks.map { _ in nil }
        conversions = tracks.map { _ in nil }
        guard let format = settings.format(for: tracks.map(\.codec)) else { return }
        for (index, track) in tracks.enumerated() where !track.isVideo {
            guard let target = Self.target(track.codec, format, settings), let made = conversion?(track, target) else {
                continue
            }
            conversions[index] = made
            self.tracks[index] = made.description
        }
    }

    /// What sound must become; nil: it stays.
    private static func target(_ codec: Codec, _ format: ContainerFormat, _ settings: RecordingSettings) -> Codec? {
        if settings.convertsToAAC, codec != .aac, format.holds(.aac) { return .aac }
        guard !format.holds(codec) else { return nil }
        return format.holds(.aac) ? .aac : .opus
    }

    // MARK: Input

    /// - Parameter now: monotonic.
    package func write(_ frame: MediaFrame, now: Instant) {
        guard isRunning, frame.track >= 0, frame.track < tracks.count else { return }
        if let conversion = conversions[frame.track] {
            for converted in conversion.convert(frame) { take(converted, now: now) }
        } else {
            take(frame, now: now)
        }
    }

    /// Lets fragments end and the disk be looked at while no frames come. Call at least once per second.
    package func advance(now: Instant) {
        guard isRunning else { return }
        attempt { () throws(ContainerError) in
            try part?.advance(now: now)
            try closing?.part.advance(now: now)
        }
        checkSpace(now: now)
    }

    /// Ends the recording.
    ///
    /// - Returns: the last file's name; nil if nothing was recorded.
    @discardableResult
    package func stop(now: Instant) -> String? {
        guard isRunning else { return names.last }
        for conversion in conversions { for frame in conversion?.finish() ?? [] { take(frame, now: now) } }
        guard isRunning else { return names.last }
        // Sound alone, before the wait for pictures was over.
        if part == nil, !pending.isEmpty {
            attempt { () throws(ContainerError) in try begin(now: now, withVideo: false) }
        }
        endClosing()
        if let part { end(part, isLast: true) }
        part = nil
        pending = []
        if isRunning { state = .stopped }
        if let promised { folder.release(promised.name) }
        promised = nil
        return names.last
    }

    var isRunning: Bool { state == .waiting || state == .recording }

    // MARK: Frames

    private func take(_ frame: MediaFrame, now: Instant) {
        guard isRunning else { return }
        if let sets = frame.parameterSets { parameterSets[frame.track] = sets }
        if let size = frame.size { sizes[frame.track] = size }
        attempt { () throws(ContainerError) in
            if part == nil { try wait(with: frame, now: now) } else { try record(frame, now: now) }
        }
        checkSpace(now: now)
    }

    /// Before the first file: keeps frames until it can begin.
    private func wait(with frame: MediaFrame, now: Instant) throws(ContainerError) {
        let isVideo = tracks[frame.track].isVideo
        if isVideo, !frame.isKeyFrame, !pending.contains(where: { $0.track == frame.track }) { return }
        pending.append(frame)
        pendingSize += frame.data.count
        while pending.count > Self.pendingFrames || pendingSize > Self.pendingBytes {
            pendingSize -= pending.removeFirst().data.count
        }
        let waitingFor = tracks.indices.filter { track in
            tracks[track].isVideo && !pending.contains { $0.track == track && $0.isKeyFrame }
        }
        if waitingFor.isEmpty { return try begin(now: now, withVideo: true) }
        guard let first = pending.first, frame.time - first.time >= settings.videoWait else { return }
        try begin(now: now, withVideo: true)
    }

    /// Begins the first file with what has been kept.
    private func begin(now: Instant, withVideo: Bool) throws(ContainerError) {
        let frames = pending
        pending = []
        pendingSize = 0
        let times = frames.map(\.time)
        guard let first = times.min(), let newest = times.max() else { return }
        let present = Set(frames.map(\.track))
        try open(origin: first, newest: newest, now: now) { track in
            !tracks[track].isVideo || (withVideo && present.contains(track))
        } keyFrame: { track in
            frames.first { $0.track == track && $0.isKeyFrame }
        }
        for frame in frames { try record(frame, now: now) }
    }

    private func record(_ frame: MediaFrame, now: Instant) throws(ContainerError) {
        guard let part else { return }
        if let closing {
            if frame.track < closing.part.map.count, !tracks[frame.track].isVideo, frame.time < closing.end {
                try closing.part.write(frame, now: now)
                framesWritten += 1
                return
            }
            if frame.time - closing.end >= Self.overlap { endClosing() }
        }
        if needsNewFile(for: frame, part) {
            guard canBegin(with: frame) else {
                wantsKeyFrame = true
                // A track that the file has not cannot be kept until it has a key frame.
                if part.map[frame.track] != nil { try writeToPart(frame, part, now: now) }
                return
            }
            return try rotate(at: frame, now: now)
        }
        try writeToPart(frame, part, now: now)
    }

    private func writeToPart(_ frame: MediaFrame, _ part: RecordingPart, now: Instant) throws(ContainerError) {
        guard part.map[frame.track] != nil, !isBeforeZero(frame, part) else { return }
        let before = part.bytes
        try part.write(frame, now: now)
        framesWritten += 1
        bytesWritten += part.bytes - before
    }

    /// Sound that comes after the picture that a file begins with, and most of which belongs before it. All of it would lie
    /// upon each other at the file's zero.
    private func isBeforeZero(_ frame: MediaFrame, _ part: RecordingPart) -> Bool {
        guard !tracks[frame.track].isVideo, frame.time < part.origin else { return false }
        let early = (part.origin - frame.time).nanoseconds
        return early > (frame.duration ?? .zero).nanoseconds / 2
    }

    private func needsNewFile(for frame: MediaFrame, _ part: RecordingPart) -> Bool {
        let isVideo = tracks[frame.track].isVideo
        if part.map[frame.track] == nil { return isVideo }
        let hasVideo = tracks.indices.contains { tracks[$0].isVideo && part.map[$0] != nil }
        guard isVideo || !hasVideo else { return false }
        // Files of several streams tell the turn in any format: for `weir mix`.
        if isVideo, frame.isKeyFrame, settings.rotatesOnTurn, part.format.carriesRotation || group != nil,
            frame.rotation != part.rotation
        {
            return true
        }
        if settings.rotationInterval > .zero, frame.time - part.origin >= settings.rotationInterval { return true }
        return settings.rotationBytes > 0 && part.bytes >= settings.rotationBytes
    }

    private func canBegin(with frame: MediaFrame) -> Bool { frame.isKeyFrame }

    /// Begins the next file with this key frame, and keeps the one before open for late sound.
    private func rotate(at frame: MediaFrame, now: Instant) throws(ContainerError) {
        endClosing()
        guard isRunning else { return }
        let before = part
        part = nil
        if let before { closing = (before, frame.time) }
        try open(origin: frame.time, newest: frame.time, now: now) { track in
            track == frame.track || !tracks[track].isVideo || before?.map[track] != nil
        } keyFrame: {
            $0 == frame.track ? frame : nil
        }
        wantsKeyFrame = false
        if !tracks.indices.contains(where: { $0 != frame.track && closing?.part.map[$0] != nil }) { endClosing() }
        guard let part, isRunning else { return }
        try writeToPart(frame, part, now: now)
    }

    /// - Parameter newest: time of the frame that has just come, which is what the wall clock shows now.
    private func open(
        origin: Interval, newest: Interval, now: Instant, taking: (Int) -> Bool, keyFrame: (Int) -> MediaFrame?
    ) throws(ContainerError) {
        var chosen: [MuxerTrack?] = tracks.indices.map { index in
            guard taking(index) else { return nil }
            var track = MuxerTrack(tracks[index], first: keyFrame(index))
            track.tagsRotation = group != nil
            if let sets = parameterSets[index] { track.parameterSets = sets }
            if track.size == nil { track.size = sizes[index] }
            return track
        }
        guard let format = settings.format(for: chosen.compactMap { $0?.description.codec }) else {
            let codec = chosen.compactMap { $0?.description.codec }.first(where: \.isVideo)
            throw .unsupported(codec: codec?.name ?? "this stream", container: "none")
        }
        // Sound without its configuration, or that nothing converts into what the container takes, is left out of a
        // file with pictures; alone it is an error that says so.
        let hasVideo = chosen.contains { $0?.description.isVideo == true }
        for index in chosen.indices where hasVideo {
            guard let track = chosen[index], !track.description.isVideo else { continue }
            let isUnknown = track.description.codec == .aac && track.parameterSets.isEmpty
            if isUnknown || !format.holds(track.description.codec) { chosen[index] = nil }
        }
        let start = startedAt ?? (newest, wallClock())
        startedAt = start
        partNumber += 1
        let startWall = start.wall + (origin - start.stream).milliseconds
        part = try RecordingPart(
            .init(
                id: RecordingClock.newID(), identity: identity, format: format, number: partNumber,
                startedAt: startWall, origin: origin, tracks: chosen),
            folder: folder, settings: settings, now: now)
        if state == .waiting, let part {
            state = .recording
            if let group { return observer.recordingStarted(identity, name: group.fileName) }
            if settings.template.isKnownAtStart || identity.fileName != nil {
                let base = base(part)
                promised = (base, folder.reserve(base: base, part: "", fileExtension: format.fileExtension))
            }
            observer.recordingStarted(identity, name: promised?.name)
        }
    }
}
