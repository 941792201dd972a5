import MediaFiles
import MediaFormats
import Wire

/// How recordings are written. The same for all streams unless asked otherwise at the start.
package struct RecordingSettings: Sendable, Equatable {
    /// When what was written is put onto the disk itself. What the kernel has survives our death anyhow; this is
    /// about the machine's.
    package enum Sync: Sendable, Equatable {
        case never
        case everyFragment
        case interval(Interval)
    }

    package var template = FileNameTemplate.standard
    /// Letters of all scripts stay in names.
    package var keepsUnicodeNames = false
    /// By video codec; what is missing is not recorded. WCS: `record_formats=h264-mp4,vp8-webm`.
    package var formats: [Codec: ContainerFormat] = [
        .h264: .mp4, .h265: .mp4, .av1: .mp4, .vp9: .webm, .vp8: .webm,
    ]
    /// Of streams without video.
    package var audioFormat = ContainerFormat.mp4
    /// Opus becomes AAC; other sound that the container does not take becomes AAC or Opus in any case.
    package var convertsToAAC = false
    package var muxer = Muxer.Settings()
    package var sync = Sync.interval(.seconds(2))
    /// A new file is begun at the first key frame behind this; zero: never.
    package var rotationInterval = Interval.zero
    /// ... or behind so many bytes; 0: never.
    package var rotationBytes: Int64 = 0
    /// A picture turned otherwise begins a new file, since a file can say only one turn.
    package var rotatesOnTurn = true
    /// Bytes that recordings leave free on their disk; 0: no floor.
    package var freeSpaceFloor: Int64 = 512 << 20
    /// How long the sound waits for the first picture before it is recorded alone.
    package var videoWait = Interval.seconds(5)

    package init() {}

    /// The container for a set of codecs; nil if the mapping has none.
    package func format(for codecs: [Codec]) -> ContainerFormat? {
        guard let video = codecs.first(where: \.isVideo) else { return audioFormat }
        return formats[video]
    }

    /// WCS's form of the mapping: `h264-mp4,vp8-webm`. Nil: an unknown codec or format, or one that cannot hold it.
    package static func formats(parsing text: String) -> [Codec: ContainerFormat]? {
        var result: [Codec: ContainerFormat] = [:]
        for pair in text.split(separator: ",") {
            let parts = pair.split(separator: "-").map { $0.trimmingSpaces.lowercased() }
            guard parts.count == 2, let codec = Codec(rawValue: parts[0]), codec.isVideo,
                let format = ContainerFormat(rawValue: parts[1]), format.holds(codec)
            else { return nil }
            result[codec] = format
        }
        return result
    }
}

extension Substring {
    fileprivate var trimmingSpaces: String { String(drop { $0 == " " }.reversed().drop { $0 == " " }.reversed()) }
}
