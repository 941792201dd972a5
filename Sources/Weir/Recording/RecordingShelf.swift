import ControlPlane
import Glibc
import HTTPServer
import MediaFiles
import MediaFormats
import Recording
import Synchronization
import Wire

/// The complete recordings as HTTP shows them. What is read of files is read on threads of its own and remembered, as long
/// as the file is the same.
package final class RecordingShelf: RecordLibrary {
    private static let threads = 2
    private static let waiting = 256
    private static let thumbnailWidth = 320
    /// Remembered details and pictures; an eighth is forgotten when there are more.
    private static let mostDetails = 20_000
    private static let mostThumbnails = 256
    /// How long a request waits for a file that is being completed.
    private static let patience = Duration.seconds(10)

    private struct State {
        var details: [RecordEntry: RecordDetails] = [:]
        var thumbnails: [RecordEntry: [UInt8]] = [:]
    }

    package let access: RecordAccess
    private let folder: RecordingFolder
    private let log: RecordingLog
    private let queue: WorkQueue<@Sendable () -> Void>
    private let state = Mutex(State())
    private let timers = Timers(ContinuousClock())

    package init(_ service: RecordingService) {
        access = service.configuration.download
        folder = service.folder
        log = service.log
        queue = WorkQueue(name: "records", threads: Self.threads, capacity: Self.waiting) { $0() }
    }

    /// On a thread that may wait for disks; nil if too many wait already.
    private func blocking<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async -> Value? {
        await withCheckedContinuation { continuation in
            let isTaken = queue.add { continuation.resume(returning: body()) }
            if !isTaken { continuation.resume(returning: nil) }
        }
    }

    package func entries() async -> [RecordEntry] {
        let folder = folder
        let found = await blocking { folder.files().map(Self.entry) } ?? []
        return found.sorted { ($0.modifiedAt, $0.name) > ($1.modifiedAt, $1.name) }
    }

    package func entry(_ name: String) async -> RecordEntry? {
        let folder = folder
        if let found = await blocking({ folder.entry(name) }) ?? nil { return Self.entry(found) }
        guard let completion = log.completion(of: name) else {
            // It may have come between the two looks.
            return (await blocking { folder.entry(name) } ?? nil).map(Self.entry)
        }
        _ = await withDeadline(timers, Self.patience) { await completion.wait() }
        return (await blocking { folder.entry(name) } ?? nil).map(Self.entry)
    }

    private static func entry(_ entry: RecordingFolder.Entry) -> RecordEntry {
        let format = ContainerFormat(fileName: entry.name) ?? .mp4
        return RecordEntry(
            name: entry.name, bytes: entry.bytes, modifiedAt: entry.modifiedAt, type: format.mimeType(hasVideo: true))
    }

    package func path(of entry: RecordEntry) -> String { folder.path + "/" + entry.name }

    package func details(of entry: RecordEntry) async -> RecordDetails? {
        if let known = state.withLock({ $0.details[entry] }) { return known }
        let path = path(of: entry)
        guard let probe = await blocking({ try? MediaProbe(path: path) }) ?? nil else { return nil }
        let details = RecordDetails(
            duration: .nanoseconds(probe.duration.nanoseconds),
            audioCodec: probe.codecs.first { !$0.isVideo }?.rawValue,
            videoCodec: probe.codecs.first(where: \.isVideo)?.rawValue, width: probe.size?.width ?? 0,
            height: probe.size?.height ?? 0)
        state.withLock { state in
            Self.makeRoom(in: &state.details, Self.mostDetails)
            state.details[entry] = details
        }
        return details
    }

    package func thumbnail(of entry: RecordEntry) async -> [UInt8]? {
        if let known = state.withLock({ $0.thumbnails[entry] }) { return known }
        let path = path(of: entry)
        let made = await blocking { try? Thumbnail.png(path: path, maxWidth: Self.thumbnailWidth) }
        guard let png = made ?? nil else { return nil }
        state.withLock { state in
            Self.makeRoom(in: &state.thumbnails, Self.mostThumbnails)
            state.thumbnails[entry] = png
        }
        return png
    }

    package func delete(_ name: String) async -> Bool {
        let folder = folder
        return await blocking { folder.delete(name) } ?? false
    }

    private static func makeRoom<Value>(in known: inout [RecordEntry: Value], _ limit: Int) {
        guard known.count >= limit else { return }
        for key in known.keys.prefix(limit / 8) { known[key] = nil }
    }
}
