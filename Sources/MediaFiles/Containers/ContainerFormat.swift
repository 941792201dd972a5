import MediaFormats

/// File formats that Weir writes.
package enum ContainerFormat: String, Sendable, CaseIterable {
    case mp4, webm, mkv, ts

    package var fileExtension: String { rawValue }

    /// libavformat's name of the muxer.
    var muxerName: String {
        switch self {
        case .mp4: "mp4"
        case .webm: "webm"
        case .mkv: "matroska"
        case .ts: "mpegts"
        }
    }

    /// Whether files of this format are written as fragments first and need another pass to become seekable everywhere.
    /// Transport streams are complete at any moment and have no index.
    package var isFinalised: Bool { self != .ts }

    /// Whether a track of this codec can be stored as it comes.
    ///
    /// G.711 and G.722 are in Matroska only: MP4 has no registered form that players read. VP8 in MP4 has none, either.
    package func holds(_ codec: Codec) -> Bool {
        switch (self, codec) {
        case (.mp4, .h264), (.mp4, .h265), (.mp4, .av1), (.mp4, .vp9), (.mp4, .aac), (.mp4, .opus): true
        case (.webm, .vp8), (.webm, .vp9), (.webm, .av1), (.webm, .opus): true
        case (.mkv, _): true
        case (.ts, .h264), (.ts, .h265), (.ts, .aac), (.ts, .opus): true
        default: false
        }
    }

    /// Whether the turn of a picture (0, 90, 180, 270 degrees) can be said in the file. libavformat 5.1 writes it into
    /// MP4 alone.
    package var carriesRotation: Bool { self == .mp4 }

    /// MIME type for downloads and `<video>`.
    package func mimeType(hasVideo: Bool) -> String {
        switch self {
        case .mp4: hasVideo ? "video/mp4" : "audio/mp4"
        case .webm: hasVideo ? "video/webm" : "audio/webm"
        case .mkv: hasVideo ? "video/x-matroska" : "audio/x-matroska"
        case .ts: "video/mp2t"
        }
    }

    /// The format that a file's name promises, if Weir knows it.
    package init?(fileName: String) {
        guard let dot = fileName.lastIndex(of: ".") else { return nil }
        self.init(rawValue: fileName[fileName.index(after: dot)...].lowercased())
    }
}
