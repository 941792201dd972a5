/// Records published streams into files; files, disks and containers are not the control plane's affair.
package protocol StreamRecorder: Sendable {
    /// Whether a stream is recorded that asks for it (`record: true`).
    var servesRequests: Bool { get }
    /// Whether the configuration wants a stream of this name to be recorded, asked or not.
    func records(_ stream: String) -> Bool
    /// Begins to record a publisher, also one whose media has not come yet. Returns at once, before anything is written;
    /// what goes wrong with the disk is told by `OngoingRecording.news`.
    func start(_ order: RecordingOrder) throws(RecordingRefusal) -> any OngoingRecording
    /// nil: it has no files of several streams.
    var multiple: (any MultipleRecorder)? { get }
}

/// One recording of one stream, until it is stopped, its publisher goes or it fails.
package protocol OngoingRecording: AnyObject, Sendable {
    /// What happens to it, ending with one `.ended`. One consumer.
    var news: AsyncStream<RecordingNews> { get }
    /// Asks it to end; returns at once. Idempotent.
    func stop()
}

/// What is to be recorded.
package struct RecordingOrder: Hashable, Sendable {
    package var publisher: PeerID
    package var stream: String
    package var mediaSessionId: String
    package var sessionId: String
    /// Of the client; may be empty.
    package var login: String
    /// Asked for by name, instead of the configured template.
    package var fileName: String?

    package init(
        publisher: PeerID, stream: String, mediaSessionId: String, sessionId: String, login: String,
        fileName: String? = nil
    ) {
        self.publisher = publisher
        self.stream = stream
        self.mediaSessionId = mediaSessionId
        self.sessionId = sessionId
        self.login = login
        self.fileName = fileName
    }
}

package enum RecordingNews: Hashable, Sendable {
    /// The first frame is being written. The name is nil where only the end decides it.
    case started(fileName: String?)
    /// The last: all files are closed, and these are their names. `failure` says why it ended before its stream.
    case ended(fileNames: [String], failure: String?)
}

/// Why a recording could not begin.
package enum RecordingRefusal: Error, Hashable, Sendable {
    /// The publisher has gone.
    case noStream
    case tooMany
    /// The server ends.
    case stopping

    package var info: String {
        switch self {
        case .noStream: StatusInfo.streamNotFound.rawValue
        case .tooMany: "Too many recordings"
        case .stopping: "Server is shutting down"
        }
    }
}

/// The answer to the operator's `stream/startRecording`.
package enum RecordingStartOutcome: Hashable, Sendable {
    case started
    case noStream
    /// It is being recorded, and `force` was not given.
    case alreadyRecording
    case refused(String)
    /// This server records nothing.
    case notServed
}

/// The answer to `stream/stopRecording`.
package enum RecordingStopOutcome: Hashable, Sendable {
    /// The name is nil when nothing had been written, or when the disk did not answer in time.
    case stopped(fileName: String?)
    case noStream
    case notRecording
    case notServed
}

/// The recording of a managed stream.
struct StreamRecording {
    let recording: any OngoingRecording
    /// Opens when it has ended and its stream knows.
    let ended = Gate()
    var isOn = true
    /// Of the file that is, or was, written last.
    var fileName: String?
}
