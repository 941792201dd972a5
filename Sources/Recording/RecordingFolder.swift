import CFiles
import Foundation
import MediaFiles
import Synchronization

/// The records folder: complete files in it, unfinished ones in its folder `unfinished`, which belongs to one server.
///
/// An unfinished recording is `ID.FORMAT.part` with what it is of in `ID.json`. Its index is made in `ID.final`; when
/// that is whole, the part is renamed to `ID.spent`, the final file to its name, and the rest removed: whenever the
/// process dies, exactly one of them is the recording.
///
/// A group (`RecordingGroup`) is its own `ID.json`, and the parts whose journals name it. The file that they are joined to
/// is made in `ID.final`; when that is whole it becomes `ID.joined`, the parts are removed, and it is renamed to its name.
package final class RecordingFolder: Sendable {
    package static let unfinishedName = "unfinished"
    /// Numbers tried for a name that is taken.
    private static let mostCollisions = 100_000

    package let path: String
    private let unfinished: String
    private let lock: Int32
    /// Names promised to recordings that are not in their places yet.
    private let reserved = Mutex<Set<String>>([])

    /// Makes the folder if it is missing.
    ///
    /// - Throws: `.system(errno: EBUSY)` when another server has it: its live recordings would look torn to us.
    package init(path: String) throws(ContainerError) {
        let absolute = path.hasPrefix("/") ? path : FileManager.default.currentDirectoryPath + "/" + path
        self.path = absolute
        unfinished = absolute + "/" + Self.unfinishedName
        do {
            try FileManager.default.createDirectory(
                atPath: unfinished, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o750])
        } catch {
            // Foundation hides the errno; asking again tells it.
            for folder in [absolute, unfinished] where mkdir(folder, 0o750) != 0 {
                if errno != EEXIST { throw .system(errno: errno) }
            }
        }
        lock = open(unfinished + "/.lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o640)
        guard lock >= 0 else { throw .system(errno: errno) }
        guard flock(lock, LOCK_EX | LOCK_NB) == 0 else {
            close(lock)
            throw .system(errno: EBUSY)
        }
    }

    deinit { close(lock) }

    // MARK: Unfinished files

    package func partPath(_ id: String, _ format: ContainerFormat) -> String {
        unfinished + "/" + id + "." + format.fileExtension + ".part"
    }

    package func finalPath(_ id: String) -> String { unfinished + "/" + id + ".final" }
    package func joinedPath(_ id: String) -> String { unfinished + "/" + id + ".joined" }
    private func spentPath(_ id: String) -> String { unfinished + "/" + id + ".spent" }
    private func journalPath(_ id: String) -> String { unfinished + "/" + id + ".json" }

    package func writeJournal(_ journal: RecordingJournal) throws(ContainerError) {
        let temporary = journalPath(journal.id) + ".tmp"
        unlink(temporary)
        let output = try FileOutput(creating: temporary, seekable: false)
        guard let bytes = try? JSONEncoder().encode(journal) else { throw .system(errno: EINVAL) }
        let error = bytes.withUnsafeBytes { output.write($0) }
        guard error == 0 else {
            unlink(temporary)
            throw .system(errno: error)
        }
        let closing = output.close()
        guard closing == 0 else { throw .system(errno: closing) }
        guard rename(temporary, journalPath(journal.id)) == 0 else { throw .system(errno: errno) }
    }

    package func readJournal(_ id: String) -> RecordingJournal? {
        guard let bytes = FileManager.default.contents(atPath: journalPath(id)), bytes.count <= 1 << 20 else {
            return nil
        }
        return try? JSONDecoder().decode(RecordingJournal.self, from: bytes)
    }

    package func remove(_ id: String, _ format: ContainerFormat) {
        for path in [partPath(id, format), finalPath(id), spentPath(id), journalPath(id)] { unlink(path) }
    }

    /// Ends the part and puts `source`, which is whole and synced, into its place.
    ///
    /// - Parameters:
    ///   - source: `finalPath(id)`, or the part itself where no copy could be made.
    ///   - name: as reserved; another number is added if somebody else has put a file there meanwhile.
    /// - Returns: the name that it got.
    package func publish(
        _ id: String, _ format: ContainerFormat, from source: String, as name: String
    ) throws(ContainerError) -> String {
        let part = partPath(id, format)
        if source != part {
            guard rename(part, spentPath(id)) == 0 || errno == ENOENT else { throw .system(errno: errno) }
        }
        syncFolder(unfinished)
        let final = try place(source, as: name)
        unlink(spentPath(id))
        unlink(journalPath(id))
        syncFolder(path)
        syncFolder(unfinished)
        return final
    }

    /// Puts a group's file, which is whole, into its place and removes the parts that it was made of.
    ///
    /// - Returns: the name that it got.
    package func publishGroup(
        _ id: String, parts: [(id: String, format: ContainerFormat)], as name: String
    ) throws(ContainerError) -> String {
        let joined = joinedPath(id)
        // From here on the parts are superfluous, also for the next start.
        guard rename(finalPath(id), joined) == 0 || errno == ENOENT else { throw .system(errno: errno) }
        syncFolder(unfinished)
        for part in parts { remove(part.id, part.format) }
        let final = try place(joined, as: name)
        unlink(journalPath(id))
        syncFolder(path)
        syncFolder(unfinished)
        return final
    }

    private func place(_ source: String, as name: String) throws(ContainerError) -> String {
        var candidate = name
        for number in 2...Self.mostCollisions {
            if renameWithoutReplacing(source, path + "/" + candidate) { return candidate }
            guard errno == EEXIST else { throw .system(errno: errno) }
            candidate = Self.numbered(name, number)
        }
        throw .system(errno: EEXIST)
    }

    private func syncFolder(_ path: String) {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        fsync(descriptor)
        close(descriptor)
    }

    /// What an earlier run left, oldest first.
    package func leftovers() -> [Leftover] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: unfinished)) ?? []
        var found: [String: Leftover] = [:]
        for name in names {
            let parts = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
            guard parts.count >= 2, !parts[0].isEmpty else { continue }
            var leftover = found[parts[0]] ?? Leftover(id: parts[0])
            switch (parts.count, parts[parts.count - 1]) {
            case (3, "part"): leftover.part = ContainerFormat(rawValue: parts[1])
            case (2, "final"): leftover.hasFinal = true
            case (2, "spent"): leftover.hasSpent = true
            case (2, "joined"): leftover.hasJoined = true
            case (2, "json"): break
            case (3, "tmp"):
                unlink(unfinished + "/" + name)
                continue
            default: continue
            }
            found[parts[0]] = leftover
        }
        return found.values.sorted { $0.id < $1.id }
    }

    package struct Leftover: Sendable, Equatable {
        package var id: String
        package var part: ContainerFormat?
        package var hasFinal = false
        package var hasSpent = false
        package var hasJoined = false
    }

    package func removeRest(_ id: String) {
        for path in [finalPath(id), spentPath(id), journalPath(id)] { unlink(path) }
    }

    // MARK: Names

    /// A name that no file and no other recording has; it stays reserved until `release`.
    package func reserve(base: String, part: String, fileExtension: String) -> String {
        reserved.withLock { taken in
            func name(_ number: Int) -> String {
                let numbered = number == 1 ? part : part + "-\(number)"
                return FileNameTemplate.fileName(base: base, number: numbered, fileExtension: fileExtension)
            }
            func isTaken(_ number: Int) -> Bool { taken.contains(name(number)) || exists(name(number)) }
            // In few steps however many there are: 1, 2, 4, … up to a free one, then halfway back and so on.
            var free = 1
            while free < Self.mostCollisions, isTaken(free) { free *= 2 }
            var used = free / 2
            while free - used > 1 {
                let middle = (free + used) / 2
                if isTaken(middle) { used = middle } else { free = middle }
            }
            taken.insert(name(free))
            return name(free)
        }
    }

    package func release(_ name: String) { reserved.withLock { _ = $0.remove(name) } }

    private func exists(_ name: String) -> Bool {
        var status = stat()
        return lstat(path + "/" + name, &status) == 0
    }

    private static func numbered(_ name: String, _ number: Int) -> String {
        guard let dot = name.lastIndex(of: ".") else { return name + "-\(number)" }
        return FileNameTemplate.fileName(
            base: String(name[..<dot]), number: "-\(number)", fileExtension: String(name[name.index(after: dot)...]))
    }

    // MARK: Space

    /// Bytes that we may still write; nil if the folder cannot be asked.
    package func freeSpace() -> Int64? {
        var status = statvfs()
        guard statvfs(unfinished, &status) == 0 else { return nil }
        let (bytes, overflow) = Int64(clamping: status.f_bavail).multipliedReportingOverflow(by: Int64(status.f_frsize))
        return overflow ? .max : bytes
    }
}

/// What an unfinished recording is of, beside its part.
package struct RecordingJournal: Codable, Sendable, Equatable {
    package var id: String
    package var identity: RecordingIdentity
    package var startedAt: WallMillis
    package var part: Int
    package var audioCodec: String?
    package var videoCodec: String?
    /// Set when the part has ended as it should: its name is decided.
    package var name: String?

    package init(
        id: String, identity: RecordingIdentity, startedAt: WallMillis, part: Int, audioCodec: String? = nil,
        videoCodec: String? = nil, name: String? = nil
    ) {
        self.id = id
        self.identity = identity
        self.startedAt = startedAt
        self.part = part
        self.audioCodec = audioCodec
        self.videoCodec = videoCodec
        self.name = name
    }
}

/// `renameat2` with RENAME_NOREPLACE. File systems without it (EINVAL: some network mounts) get link and unlink.
private func renameWithoutReplacing(_ source: String, _ target: String) -> Bool {
    if weir_rename_new(source, target) == 0 { return true }
    guard errno == EINVAL || errno == ENOSYS else { return false }
    guard link(source, target) == 0 else { return false }
    unlink(source)
    return true
}
