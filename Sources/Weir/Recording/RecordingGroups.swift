import ControlPlane
import MediaFiles
import Recording
import Synchronization

/// Files of several streams that are being recorded: who is in which, and when each can be joined. Any thread.
final class RecordingGroups: Sendable {
    /// One file.
    struct Entry {
        let uri: String
        let group: RecordingGroup
        /// By media session: streams that are in it now.
        var members: [String: TappedRecording] = [:]
        /// Recordings whose files are not closed yet, among them those of streams that have left.
        var open: [ObjectIdentifier: TappedRecording] = [:]
        /// Opens when its name is final: joining has been ordered, or there is nothing to join.
        let ended = Gate()
    }

    private struct State {
        /// By URI.
        var entries: [String: Entry] = [:]
        /// Ended by the operator while recordings were being closed; by the group's id.
        var ending: [String: Entry] = [:]
        /// Files that are named but whose journals are not written yet.
        var coming: Set<String> = []
    }

    private let state = Mutex(State())
    private let limit: Int

    init(limit: Int) { self.limit = limit }

    /// Takes the URI for a group to come.
    func claim(_ uri: String) throws(MultipleRecorderRefusal) {
        let refusal = state.withLock { state -> MultipleRecorderRefusal? in
            guard state.entries[uri] == nil, !state.coming.contains(uri) else { return .exists }
            guard state.entries.count + state.coming.count < limit else { return .refused("Too many recorders") }
            state.coming.insert(uri)
            return nil
        }
        if let refusal { throw refusal }
    }

    /// - Parameter group: nil: it could not be made.
    func settle(_ uri: String, _ group: RecordingGroup?) {
        state.withLock { state in
            state.coming.remove(uri)
            if let group { state.entries[uri] = Entry(uri: uri, group: group) }
        }
    }

    var all: [MultipleRecording] {
        state.withLock { state in
            state.entries.values.map {
                MultipleRecording(
                    uri: $0.uri, fileName: $0.group.fileName, mediaSessionIds: $0.members.keys.sorted())
            }
        }.sorted { $0.uri < $1.uri }
    }

    /// The file that a stream may be added to.
    func group(_ uri: String, for mediaSessionId: String) throws(MultipleRecorderRefusal) -> RecordingGroup {
        let (entry, isIn) = state.withLock { ($0.entries[uri], $0.entries[uri]?.members[mediaSessionId] != nil) }
        guard let entry else { throw .noRecorder }
        guard !isIn else { throw .exists }
        return entry.group
    }

    /// False: the file has been ended meanwhile, or the stream was added by somebody else.
    func add(_ recording: TappedRecording, to uri: String) -> Bool {
        state.withLock { state in
            let id = recording.identity.mediaSessionID
            guard let entry = state.entries[uri], entry.group.id == recording.identity.group, entry.members[id] == nil
            else { return false }
            state.entries[uri]?.members[id] = recording
            state.entries[uri]?.open[ObjectIdentifier(recording)] = recording
            return true
        }
    }

    /// Takes a stream out; its recording must still be stopped.
    func remove(_ mediaSessionId: String, from uri: String) throws(MultipleRecorderRefusal) -> TappedRecording {
        let (isThere, recording) = state.withLock { state -> (Bool, TappedRecording?) in
            (state.entries[uri] != nil, state.entries[uri]?.members.removeValue(forKey: mediaSessionId))
        }
        guard isThere else { throw .noRecorder }
        guard let recording else { throw .noStream }
        return recording
    }

    /// Ends a file: nothing comes in any more, its URI is free, and it is joined when its recordings are closed. May wait
    /// for the disk.
    ///
    /// - Returns: nil: there is none.
    func end(_ uri: String) -> MultipleRecordingEnd? {
        let entry = state.withLock { state -> Entry? in
            guard var entry = state.entries.removeValue(forKey: uri) else { return nil }
            entry.members = [:]
            state.ending[entry.group.id] = entry
            return entry
        }
        guard let entry else { return nil }
        for recording in entry.open.values { recording.stop() }
        finishIfClosed(entry.group.id)
        return MultipleRecordingEnd(fileName: entry.group.fileName, ended: entry.ended)
    }

    /// A recording has closed its files. Called on a writer thread.
    func ended(_ recording: TappedRecording) {
        guard let group = recording.identity.group else { return }
        state.withLock { state in
            state.ending[group]?.open[ObjectIdentifier(recording)] = nil
            guard let uri = state.entries.first(where: { $0.value.group.id == group })?.key else { return }
            state.entries[uri]?.open[ObjectIdentifier(recording)] = nil
            let id = recording.identity.mediaSessionID
            if state.entries[uri]?.members[id] === recording { state.entries[uri]?.members[id] = nil }
        }
        finishIfClosed(group)
    }

    /// Ends all files whose recordings are closed: at the end of the server.
    func endAll() {
        let uris = state.withLock { Array($0.entries.keys) }
        for uri in uris { _ = end(uri) }
    }

    private func finishIfClosed(_ group: String) {
        let entry = state.withLock { state -> Entry? in
            guard let entry = state.ending[group], entry.open.isEmpty else { return nil }
            state.ending[group] = nil
            return entry
        }
        guard let entry else { return }
        entry.group.finish()
        entry.ended.open()
    }
}

extension RecordingService: MultipleRecorder {
    package var running: [MultipleRecording] { groups.all }

    package func startup(_ uri: String) async throws(MultipleRecorderRefusal) -> MultipleRecording {
        guard !isEnding else { throw .refused(RecordingRefusal.stopping.info) }
        try groups.claim(uri)
        let (folder, finaliser, configuration) = (folder, finaliser, configuration)
        let made = await Self.blocking { () -> Result<RecordingGroup, ContainerError> in
            do throws(ContainerError) {
                return .success(
                    try RecordingGroup(
                        name: uri, base: MultipleRecording.fileBase(of: uri),
                        format: configuration.multipleFormat, keepsUnicode: configuration.unicodeNames, folder: folder,
                        finaliser: finaliser))
            } catch {
                return .failure(error)
            }
        }
        switch made {
        case .success(let group):
            groups.settle(uri, group)
            return MultipleRecording(uri: uri, fileName: group.fileName, mediaSessionIds: [])
        case .failure(let error):
            groups.settle(uri, nil)
            throw .refused(RecordingFailure(error).text)
        }
    }

    package func add(
        _ order: RecordingOrder, to uri: String
    ) throws(MultipleRecorderRefusal) -> any OngoingRecording {
        let group = try groups.group(uri, for: order.mediaSessionId)
        let recording: TappedRecording
        do throws(RecordingRefusal) {
            recording = try begin(order, group: group)
        } catch {
            throw error == .noStream ? .noStream : .refused(error.info)
        }
        guard groups.add(recording, to: uri) else {
            recording.stop()
            throw .noRecorder
        }
        // It may have ended before it was known.
        if recording.isClosed { groups.ended(recording) }
        return recording
    }

    package func remove(_ mediaSessionId: String, from uri: String) throws(MultipleRecorderRefusal) -> Gate {
        let recording = try groups.remove(mediaSessionId, from: uri)
        recording.stop()
        return recording.closed
    }

    package func terminate(_ uri: String) async throws(MultipleRecorderRefusal) -> MultipleRecordingEnd {
        let groups = groups
        guard let end = await Self.blocking({ groups.end(uri) }) else { throw .noRecorder }
        return end
    }
}
