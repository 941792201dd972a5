/// Who may fetch a recording whose name he knows. The operator may wherever anybody may.
package enum RecordAccess: String, Sendable, CaseIterable {
    /// Nobody.
    case off
    case `operator`
    /// Whoever knows the name: with the usual template nobody guesses one.
    case link
}

/// A complete recording, as its directory entry tells.
package struct RecordEntry: Hashable, Sendable {
    package var name: String
    package var bytes: Int64
    /// Milliseconds since 1970.
    package var modifiedAt: Int64
    /// MIME type.
    package var type: String

    package init(name: String, bytes: Int64, modifiedAt: Int64, type: String) {
        self.name = name
        self.bytes = bytes
        self.modifiedAt = modifiedAt
        self.type = type
    }
}

/// What is in a recording.
package struct RecordDetails: Hashable, Sendable {
    package var duration: Duration
    package var audioCodec: String?
    package var videoCodec: String?
    /// Pixels as displayed, 0 without pictures.
    package var width: Int
    package var height: Int

    package init(
        duration: Duration, audioCodec: String? = nil, videoCodec: String? = nil, width: Int = 0, height: Int = 0
    ) {
        self.duration = duration
        self.audioCodec = audioCodec
        self.videoCodec = videoCodec
        self.width = width
        self.height = height
    }
}

/// Complete recordings; where and how they are kept is not the HTTP side's affair. Every name may come from the network.
package protocol RecordLibrary: Sendable {
    var access: RecordAccess { get }
    /// Newest first.
    func entries() async -> [RecordEntry]
    /// A recording that is being completed is waited for, in bounded time. nil: there is none of this name.
    func entry(_ name: String) async -> RecordEntry?
    /// Its absolute path.
    func path(of entry: RecordEntry) -> String
    /// nil: the file cannot be read, or too many are being looked at.
    func details(of entry: RecordEntry) async -> RecordDetails?
    /// A small picture of it as PNG; nil: it has none, or too many are being made.
    func thumbnail(of entry: RecordEntry) async -> [UInt8]?
    /// False: there is none of this name, or it cannot be deleted.
    func delete(_ name: String) async -> Bool
}
