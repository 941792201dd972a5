import MediaFiles
import Synchronization
import Wire

/// Several streams that become one file (`multipleRecorder`): each is recorded into parts of its own, which a crash leaves
/// as readable as any other, and all parts are joined when the group ends. So streams may come, go and come back, whatever
/// their codecs: a container's tracks are all named in its head, before anybody knows who will come.
///
/// Its journal says the file's name while its parts are being written; theirs say that they are of it.
package final class RecordingGroup: Sendable {
    /// A closed part.
    package struct Member: Sendable, Equatable {
        var id: String
        var format: ContainerFormat
        /// Bytes of the part that can be relied on; nil: all.
        var limit: Int64?
        var startedAt: WallMillis
        /// The stream's name: that of its tracks.
        var title: String
    }

    private struct State {
        var members: [Member] = []
        var isFinished = false
        /// Parts that are being closed and those that are.
        var places = 0
    }

    /// Tracks of one file that players and our own reader can still cope with: two per part.
    package static let mostParts = 100
    /// A stream's name as a track's: containers have no limit, but their readers have.
    private static let mostTitleBytes = 200

    package let id: String
    /// Name of the file, reserved.
    package let fileName: String
    package let format: ContainerFormat
    private let identity: RecordingIdentity
    private let startedAt: WallMillis
    private let folder: RecordingFolder
    private let finaliser: RecordingFinaliser
    private let state = Mutex(State())

    /// - Parameters:
    ///   - name: what events and logs call it.
    ///   - base: of the file's name; unsafe characters are encoded.
    /// - Throws: what the disk says to the group's journal.
    package init(
        name: String, base: String, format: ContainerFormat, keepsUnicode: Bool, folder: RecordingFolder,
        finaliser: RecordingFinaliser
    ) throws(ContainerError) {
        id = RecordingClock.newID()
        startedAt = RecordingClock.now()
        self.format = format
        self.folder = folder
        self.finaliser = finaliser
        let safe = FileNameTemplate.safe(base, keepsUnicode: keepsUnicode)
        identity = RecordingIdentity(streamName: name, mediaSessionID: id, fileName: safe)
        fileName = folder.reserve(base: safe, part: "", fileExtension: format.fileExtension)
        do {
            try folder.writeJournal(
                RecordingJournal(id: id, identity: identity, startedAt: startedAt, part: 1, name: fileName))
        } catch {
            folder.release(fileName)
            throw error
        }
    }

    /// Whether another part has a place in the file; one that has none becomes a file of its own.
    func reserve() -> Bool {
        state.withLock { state in
            guard !state.isFinished, state.places < Self.mostParts else { return false }
            state.places += 1
            return true
        }
    }

    /// Takes a closed part for which `reserve` has found a place.
    func add(_ part: RecordingPart, _ identity: RecordingIdentity, limit: Int64?) {
        let member = Member(
            id: part.id, format: part.format, limit: limit, startedAt: part.startedAt,
            title: Self.title(identity.streamName))
        state.withLock { $0.members.append(member) }
    }

    /// Gives the finaliser what there is to join. Call once, when the recordings of all streams have ended.
    ///
    /// - Returns: the file's name; nil if nothing was recorded.
    @discardableResult
    package func finish() -> String? {
        let members = state.withLock { state -> [Member]? in
            defer { state.isFinished = true }
            return state.isFinished ? nil : state.members
        }
        guard let members else { return nil }
        guard !members.isEmpty else {
            folder.release(fileName)
            folder.removeRest(id)
            return nil
        }
        finaliser.observer.recordingFileEnded(identity, name: fileName)
        finaliser.add(Self.job(id: id, identity, format, fileName, members))
        return fileName
    }

    static func job(
        id: String, _ identity: RecordingIdentity, _ format: ContainerFormat, _ name: String, _ members: [Member]
    ) -> RecordingFinaliser.Job {
        let sorted = members.sorted { ($0.startedAt, $0.id) < ($1.startedAt, $1.id) }
        var job = RecordingFinaliser.Job(
            id: id, identity: identity, format: format, name: name, limit: nil,
            startedAt: sorted.first?.startedAt ?? 0, part: 1)
        job.members = sorted
        return job
    }

    /// Without what could not be written into a file's head, and not endless.
    static func title(_ name: String) -> String {
        var title = ""
        for scalar in name.unicodeScalars {
            let isControl = scalar.value < 0x20 || (0x7f...0x9f).contains(scalar.value)
            let next = isControl ? "\u{fffd}" : String(scalar)
            guard title.utf8.count + next.utf8.count <= mostTitleBytes else { break }
            title += next
        }
        return title
    }
}
