import Glibc
import MediaFiles
import MediaFormats
import Wire

/// Milliseconds since 1970, UTC.
package typealias WallMillis = Int64

/// What a recording is of: what its files are named after and what its events carry.
package struct RecordingIdentity: Sendable, Equatable, Codable {
    package var streamName: String
    package var mediaSessionID: String
    /// Of the client's connection; may be empty for streams without one.
    package var sessionID: String
    package var login: String
    /// Asked for by name (REST `fileName`); instead of the template.
    package var fileName: String?
    /// Id of the group whose file this stream's tracks go into (`RecordingGroup`); nil: it has a file of its own.
    package var group: String?

    package init(
        streamName: String, mediaSessionID: String, sessionID: String = "", login: String = "", fileName: String? = nil,
        group: String? = nil
    ) {
        self.streamName = streamName
        self.mediaSessionID = mediaSessionID
        self.sessionID = sessionID
        self.login = login
        self.fileName = fileName
        self.group = group
    }
}

/// A file that is complete and in its place.
package struct RecordedFile: Sendable, Equatable {
    package var identity: RecordingIdentity
    /// Within the records folder; what `recordName` tells the page.
    package var name: String
    /// Absolute.
    package var path: String
    package var format: ContainerFormat
    package var duration: Interval
    package var bytes: Int64
    package var startedAt: WallMillis
    /// 1, 2, … of a rotated recording.
    package var part: Int
    /// Found unfinished after a crash and made whole up to its last fragment.
    package var wasRepaired: Bool
    /// False: it is as it was written, playable but without an index in front, since there was no room for a copy.
    package var isIndexed: Bool

    package init(
        identity: RecordingIdentity, name: String, path: String, format: ContainerFormat, duration: Interval,
        bytes: Int64, startedAt: WallMillis, part: Int, wasRepaired: Bool, isIndexed: Bool
    ) {
        self.identity = identity
        self.name = name
        self.path = path
        self.format = format
        self.duration = duration
        self.bytes = bytes
        self.startedAt = startedAt
        self.part = part
        self.wasRepaired = wasRepaired
        self.isIndexed = isIndexed
    }
}

/// Why a recording came to an end before its stream.
package enum RecordingFailure: Error, Sendable, Equatable {
    case diskFull
    /// Less free space than the configuration wants to be left.
    case freeSpaceFloor(free: Int64, floor: Int64)
    case folderGone
    case notPermitted
    case readOnly
    case disk(errno: Int32)
    /// No container of the mapping takes this codec.
    case unsupported(codec: String)
    case container(ContainerError)

    package init(_ error: ContainerError) {
        switch error {
        case .system(errno: ENOSPC), .system(errno: EDQUOT): self = .diskFull
        case .system(errno: ENOENT), .system(errno: ENOTDIR), .system(errno: ESTALE), .system(errno: ENXIO):
            self = .folderGone
        case .system(errno: EACCES), .system(errno: EPERM): self = .notPermitted
        case .system(errno: EROFS): self = .readOnly
        case .system(let errno): self = .disk(errno: errno)
        case .unsupported(let codec, _): self = .unsupported(codec: codec)
        default: self = .container(error)
        }
    }

    /// For status events and logs.
    package var text: String {
        switch self {
        case .diskFull: "Recording stopped: no space left on the disk"
        case .freeSpaceFloor(let free, let floor):
            "Recording stopped: \(free >> 20) MiB free on the disk, \(floor >> 20) MiB are to be left"
        case .folderGone: "Recording stopped: the records folder is gone"
        case .notPermitted: "Recording stopped: the records folder cannot be written to"
        case .readOnly: "Recording stopped: the disk of the records folder is read-only"
        case .disk(let errno): "Recording stopped: disk error: \(String(cString: strerror(errno)))"
        case .unsupported(let codec): "Recording stopped: \(codec) cannot be recorded"
        case .container(let error): "Recording stopped: \(error)"
        }
    }

    /// What the operator can do.
    package var remedy: String {
        switch self {
        case .diskFull, .freeSpaceFloor: "free space, or set recording.keep or recording.keep_size; then record again"
        case .folderGone: "mount or make the folder again and restart the server"
        case .notPermitted: "let the server's user write there; weir doctor looks at it"
        case .readOnly: "mount the disk writable; the kernel's log says why it is not"
        case .disk: "see the kernel's log about this disk"
        case .unsupported: "give the codec another container in recording.formats"
        case .container: "report this with the file and the server's log"
        }
    }

    /// Label of the metric.
    package var label: String {
        switch self {
        case .diskFull: "disk_full"
        case .freeSpaceFloor: "free_space"
        case .folderGone: "folder_gone"
        case .notPermitted: "not_permitted"
        case .readOnly: "read_only"
        case .disk: "disk_error"
        case .unsupported: "unsupported"
        case .container: "container"
        }
    }
}

/// What happens to recordings. Called on recording threads and on the finaliser's: must not block.
package protocol RecordingObserver: AnyObject, Sendable {
    /// The first frame is about to be written. `name`: final, unless the template has elements that only the end tells.
    func recordingStarted(_ identity: RecordingIdentity, name: String?)
    /// A file has been closed and will appear under `name` when its index is made.
    func recordingFileEnded(_ identity: RecordingIdentity, name: String)
    /// A file is in its place.
    func recordingFileCompleted(_ file: RecordedFile)
    /// The recording, not the stream, has ended early. What was written is kept.
    func recordingFailed(_ identity: RecordingIdentity, _ failure: RecordingFailure)
    /// An unfinished file of an earlier run: `bytes` are kept, `lost` behind them were torn. 0 bytes: nothing playable.
    func recordingRepaired(_ identity: RecordingIdentity, bytes: Int64, lost: Int64)
    /// A closed file could not be put into its place; it stays in the folder of unfinished ones for the next start.
    func recordingNotFinalised(_ identity: RecordingIdentity, _ failure: RecordingFailure)
    /// Share of the index being made, 0...1, now and then.
    func recordingProgress(_ name: String, _ share: Double)
}
