/// Records several streams into one file each, on the operator's word (WCS: `multipleRecorder`).
package protocol MultipleRecorder: Sendable {
    /// Files that go on.
    var running: [MultipleRecording] { get }
    /// Begins a file without streams. Waits for the disk.
    func startup(_ uri: String) async throws(MultipleRecorderRefusal) -> MultipleRecording
    /// Records a published stream into the file from now on, until it is removed, its publisher goes or the file ends.
    func add(_ order: RecordingOrder, to uri: String) throws(MultipleRecorderRefusal) -> any OngoingRecording
    /// What has been recorded of the stream stays in the file.
    ///
    /// - Returns: opens when all of it is written; from then on the stream may be added again.
    func remove(_ mediaSessionId: String, from uri: String) throws(MultipleRecorderRefusal) -> Gate
    /// Ends the file, whose URI is free at once. May wait for the disk.
    func terminate(_ uri: String) async throws(MultipleRecorderRefusal) -> MultipleRecordingEnd
}

/// One file of several streams.
package struct MultipleRecording: Hashable, Sendable {
    /// What URIs of recorders begin with.
    package static let scheme = "multi-recorder://"
    /// Bytes of a URI at most: names of files have no room for more.
    package static let mostBytes = 200

    package var uri: String
    package var fileName: String
    /// Streams that are in it now.
    package var mediaSessionIds: [String]

    package init(uri: String, fileName: String, mediaSessionIds: [String]) {
        self.uri = uri
        self.fileName = fileName
        self.mediaSessionIds = mediaSessionIds
    }

    package static func isURI(_ text: String) -> Bool {
        text.hasPrefix(scheme) && text.utf8.count > scheme.utf8.count && text.utf8.count <= mostBytes
    }

    /// WCS names the file after the URI: `multi-recorder___NAME`.
    package static func fileBase(of uri: String) -> String { "multi-recorder___" + uri.dropFirst(scheme.count) }
}

/// The end of such a file, which takes as long as its last frames take to be written.
package struct MultipleRecordingEnd: Sendable {
    /// The name that it has, if anything was recorded.
    package var fileName: String
    /// Opens when all of it is written; the file is then completed in the background.
    package var ended: Gate

    package init(fileName: String, ended: Gate) {
        self.fileName = fileName
        self.ended = ended
    }
}

/// Why an order was not carried out.
package enum MultipleRecorderRefusal: Error, Hashable, Sendable {
    case noRecorder
    /// Nobody publishes under this id, or the stream is not in the file.
    case noStream
    /// There is a recorder of this URI, or the stream is in the file already.
    case exists
    /// This server records nothing.
    case notServed
    case refused(String)
}

extension StreamRecorder {
    package var multiple: (any MultipleRecorder)? { nil }
}

// MARK: - Orders of the operator

extension ControlPlane {
    package nonisolated var multipleRecordings: [MultipleRecording]? { context.recorder?.multiple?.running }

    package nonisolated func startMultipleRecorder(
        _ uri: String
    ) async throws(MultipleRecorderRefusal) -> MultipleRecording {
        try await multipleRecorder.startup(uri)
    }

    /// Adds a live publisher.
    package nonisolated func addToMultipleRecorder(
        _ uri: String, mediaSessionId: String
    ) async throws(MultipleRecorderRefusal) {
        let recorder = try multipleRecorder
        guard recorder.running.contains(where: { $0.uri == uri }) else { throw .noRecorder }
        guard let (session, peer) = context.registry.publisher(mediaSessionId: mediaSessionId) else {
            throw .noStream
        }
        try await session.add(mediaSessionId, peer, to: uri, of: recorder)
    }

    package nonisolated func removeFromMultipleRecorder(
        _ uri: String, mediaSessionId: String
    ) async throws(MultipleRecorderRefusal) {
        let written = try multipleRecorder.remove(mediaSessionId, from: uri)
        _ = await withDeadline(context.timers, context.configuration.recordingTimeout) { await written.wait() }
    }

    /// - Returns: the file's name, also where the disk did not answer within `recordingTimeout`.
    package nonisolated func terminateMultipleRecorder(
        _ uri: String
    ) async throws(MultipleRecorderRefusal) -> String {
        let end = try await multipleRecorder.terminate(uri)
        _ = await withDeadline(context.timers, context.configuration.recordingTimeout) { await end.ended.wait() }
        return end.fileName
    }

    private nonisolated var multipleRecorder: any MultipleRecorder {
        get throws(MultipleRecorderRefusal) {
            guard let recorder = context.recorder?.multiple else { throw .notServed }
            return recorder
        }
    }
}

extension ClientSession {
    /// Adds a stream of this session and tells the backend when its recording begins and ends.
    func add(
        _ id: String, _ peer: PeerID, to uri: String, of recorder: any MultipleRecorder
    ) throws(MultipleRecorderRefusal) {
        guard isCurrent(id, peer), streams[id]?.isLive == true, let order = recordingOrder(id, fileName: nil) else {
            throw .noStream
        }
        let recording = try recorder.add(order, to: uri)
        // Ends with the recording, which ends with its publisher.
        Task {
            var hasStarted = false
            for await news in recording.news {
                switch news {
                case .started(let fileName):
                    hasStarted = true
                    tellRecording(id, .started, fileName: fileName, info: nil)
                case .ended(let fileNames, let failure) where hasStarted || failure != nil:
                    tellRecording(
                        id, failure == nil ? .stopped : .failed, fileName: fileNames.last, info: failure)
                case .ended: break
                }
            }
        }
    }
}
