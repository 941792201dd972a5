import Glibc
import MediaFiles
import Synchronization
import Wire

/// Makes the final files of closed parts, one after the other, on a thread of its own; runs the hook after each.
package final class RecordingFinaliser: Sendable {
    /// Parts that may wait. What comes beyond stays in the folder of unfinished files for the next start.
    private static let capacity = 4_096
    /// A copy needs the room of the file and a little more.
    private static let spareBytes: Int64 = 1 << 20

    struct Job: Sendable {
        var id: String
        var identity: RecordingIdentity
        var format: ContainerFormat
        var name: String
        /// Bytes of the part that can be relied on; nil: all.
        var limit: Int64?
        var startedAt: WallMillis
        var part: Int
        var wasRepaired = false
        /// How long the file is, as far as is known without reading it.
        var duration = Interval.zero
        /// What is joined to one file; empty: the part `id` becomes a file by itself.
        var members: [RecordingGroup.Member] = []

        init(
            id: String, identity: RecordingIdentity, format: ContainerFormat, name: String, limit: Int64?,
            startedAt: WallMillis, part: Int
        ) {
            self.id = id
            self.identity = identity
            self.format = format
            self.name = name
            self.limit = limit
            self.startedAt = startedAt
            self.part = part
        }

        init(part: RecordingPart, name: String, limit: Int64?) {
            self.init(
                id: part.id, identity: part.journal.identity, format: part.format, name: name, limit: limit,
                startedAt: part.startedAt, part: part.number)
            duration = part.duration
        }
    }

    package let observer: any RecordingObserver
    let folder: RecordingFolder
    let hook: RecordingHook?
    private let queue: Mutex<WorkQueue<Job>?>
    let isStopping = Atomic<Bool>(false)

    /// - Parameter hook: run after each file that is complete.
    package init(folder: RecordingFolder, observer: any RecordingObserver, hook: RecordingHook? = nil) {
        self.folder = folder
        self.observer = observer
        self.hook = hook
        queue = Mutex(nil)
        let made = WorkQueue<Job>(name: "finalise", threads: 1, capacity: Self.capacity) { [weak self] job in
            self?.finalise(job)
        }
        queue.withLock { $0 = made }
    }

    private var work: WorkQueue<Job>? { queue.withLock { $0 } }

    /// Files that wait for their index or get it.
    package var count: Int { work?.count ?? 0 }

    /// Returns when all files given so far are in their places.
    package func waitUntilIdle() { work?.waitUntilIdle() }

    /// Gives up what is going on; it is done at the next start.
    package func stop() {
        isStopping.store(true, ordering: .relaxed)
        for job in work?.stop() ?? [] { folder.release(job.name) }
    }

    func add(_ job: Job) {
        guard work?.add(job) == true else {
            folder.release(job.name)
            observer.recordingNotFinalised(job.identity, .container(.cancelled))
            return
        }
    }

    // MARK: On the finaliser's thread

    private func finalise(_ job: Job) {
        defer { folder.release(job.name) }
        do throws(ContainerError) {
            let file = try job.members.isEmpty ? complete(job) : join(job)
            observer.recordingFileCompleted(file)
            hook?.run(for: file)
        } catch {
            observer.recordingNotFinalised(job.identity, RecordingFailure(error))
        }
    }

    private func complete(_ job: Job) throws(ContainerError) -> RecordedFile {
        let part = folder.partPath(job.id, job.format)
        guard let length = fileLength(part) else { throw .system(errno: errno) }
        let media = min(length, job.limit ?? length)
        if job.format.isFinalised, hasRoom(for: media) {
            do throws(ContainerError) {
                return try index(job, part: part, media: media)
            } catch {
                unlink(folder.finalPath(job.id))
                // Full disks: the file is playable as it is. Whatever else: it is kept and told.
                guard RecordingFailure(error) == .diskFull else { throw error }
            }
        }
        return try publishPart(job, part: part, media: media, length: length)
    }

    /// Makes an indexed copy and puts it into the part's place.
    private func index(_ job: Job, part: String, media: Int64) throws(ContainerError) -> RecordedFile {
        let target = folder.finalPath(job.id)
        unlink(target)
        let result = try write([Remuxer.Source(path: part, limit: media)], to: target, job)
        let name = try folder.publish(job.id, job.format, from: target, as: job.name)
        return file(job, name: name, duration: result.duration, bytes: result.bytes, isIndexed: true)
    }

    /// Writes and syncs a file with its index; only its place is missing.
    func write(
        _ sources: [Remuxer.Source], to target: String, _ job: Job
    ) throws(ContainerError) -> Remuxer.Result {
        let output = try FileOutput(creating: target, seekable: true)
        let remuxer = Remuxer(
            sources: sources, format: job.format, metadata: RecordingClock.metadata(job.startedAt)
        ) { [self] share in
            observer.recordingProgress(job.name, share)
            return !isStopping.load(ordering: .relaxed)
        }
        let result = try remuxer.run(into: output)
        let syncing = output.sync()
        guard syncing == 0 else { throw .system(errno: syncing) }
        let closing = output.close()
        guard closing == 0 else { throw .system(errno: closing) }
        return result
    }

    /// Puts the part itself into its place: transport streams, and where there is no room for a copy.
    private func publishPart(
        _ job: Job, part: String, media: Int64, length: Int64
    ) throws(ContainerError) -> RecordedFile {
        if media < length { guard truncate(part, off_t(media)) == 0 else { throw .system(errno: errno) } }
        let name = try folder.publish(job.id, job.format, from: part, as: job.name)
        return file(job, name: name, duration: job.duration, bytes: media, isIndexed: !job.format.isFinalised)
    }

    func file(
        _ job: Job, name: String, duration: Interval, bytes: Int64, isIndexed: Bool
    ) -> RecordedFile {
        RecordedFile(
            identity: job.identity, name: name, path: folder.path + "/" + name, format: job.format, duration: duration,
            bytes: bytes, startedAt: job.startedAt, part: job.part, wasRepaired: job.wasRepaired, isIndexed: isIndexed)
    }

    func hasRoom(for bytes: Int64) -> Bool {
        guard let free = folder.freeSpace() else { return true }
        return free > bytes + Self.spareBytes
    }

    func fileLength(_ path: String) -> Int64? {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        return Int64(status.st_size)
    }
}

// MARK: - Repair

extension RecordingFinaliser {
    /// Finds what an earlier run left unfinished, makes it whole up to its last fragment and queues it. Call once, before
    /// the first recording.
    ///
    /// - Returns: recordings that will appear as files.
    @discardableResult
    package func repair(settings: RecordingSettings) -> Int {
        var journals: [String: RecordingJournal] = [:]
        let leftovers = folder.leftovers()
        for leftover in leftovers { journals[leftover.id] = folder.readJournal(leftover.id) }
        let groups = repairGroups(leftovers, journals)
        var count = groups.files
        for leftover in leftovers where !groups.taken.contains(leftover.id) {
            let journal = journals[leftover.id]
            if leftover.part == nil, leftover.hasSpent, leftover.hasFinal {
                // The final file was whole; only its last rename is missing.
                publishFinal(leftover.id, journal, settings)
                count += 1
                continue
            }
            guard let format = leftover.part else {
                // Published already, or a journal whose part was never begun.
                folder.removeRest(leftover.id)
                continue
            }
            if repairPart(leftover.id, format, journal, settings) { count += 1 }
        }
        return count
    }

    private func repairPart(
        _ id: String, _ format: ContainerFormat, _ journal: RecordingJournal?, _ settings: RecordingSettings
    ) -> Bool {
        let path = folder.partPath(id, format)
        let journal = journal ?? Self.unknown(id)
        guard let torn = try? TornFile.inspect(path: path, format: format) else {
            observer.recordingNotFinalised(journal.identity, .folderGone)
            return false
        }
        guard !torn.isEmpty else {
            observer.recordingRepaired(journal.identity, bytes: 0, lost: torn.tornBytes + torn.wholeLength)
            folder.remove(id, format)
            return false
        }
        // A part that was closed, and only waited for its index, is not torn.
        let wasClosed = journal.name != nil
        if !wasClosed {
            observer.recordingRepaired(journal.identity, bytes: torn.wholeLength, lost: torn.tornBytes)
        }
        var job = Job(
            id: id, identity: journal.identity, format: format, name: name(journal, format, path, torn, settings),
            limit: torn.wholeLength, startedAt: journal.startedAt, part: journal.part)
        job.wasRepaired = !wasClosed
        add(job)
        return true
    }

    /// What is not known any more: the part's own name and time.
    static func unknown(_ id: String) -> RecordingJournal {
        let millis = id.split(separator: "-").first.flatMap { Int64($0) } ?? RecordingClock.now()
        let identity = RecordingIdentity(
            streamName: "recovered", mediaSessionID: id, fileName: "recovered-" + id)
        return RecordingJournal(id: id, identity: identity, startedAt: millis, part: 1)
    }

    private func name(
        _ journal: RecordingJournal, _ format: ContainerFormat, _ path: String, _ torn: TornFile,
        _ settings: RecordingSettings
    ) -> String {
        if let name = journal.name, let dot = name.lastIndex(of: ".") {
            return folder.reserve(base: String(name[..<dot]), part: "", fileExtension: format.fileExtension)
        }
        let duration = settings.template.isKnownAtStart ? .zero : ((try? MediaProbe(path: path))?.duration ?? .zero)
        let values = FileNameTemplate.Values(
            identity: journal.identity, start: journal.startedAt, end: journal.startedAt + duration.milliseconds,
            duration: duration, audioCodec: journal.audioCodec, videoCodec: journal.videoCodec)
        let base = settings.template.base(values, keepsUnicode: settings.keepsUnicodeNames)
        // The one that was being written was the last of its recording.
        return folder.reserve(base: base, part: "", fileExtension: format.fileExtension)
    }

    private func publishFinal(_ id: String, _ journal: RecordingJournal?, _ settings: RecordingSettings) {
        let path = folder.finalPath(id)
        let journal = journal ?? Self.unknown(id)
        guard let name = journal.name, let format = ContainerFormat(fileName: name),
            let probe = try? MediaProbe(path: path),
            let published = try? folder.publish(id, format, from: path, as: name)
        else { return observer.recordingNotFinalised(journal.identity, .folderGone) }
        var job = Job(
            id: id, identity: journal.identity, format: format, name: published, limit: nil,
            startedAt: journal.startedAt, part: journal.part)
        job.wasRepaired = true
        let complete = file(job, name: published, duration: probe.duration, bytes: probe.bytes, isIndexed: true)
        observer.recordingFileCompleted(complete)
        hook?.run(for: complete)
    }
}
