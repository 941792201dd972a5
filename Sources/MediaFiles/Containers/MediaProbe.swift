import MediaFormats
import Wire

/// What a listing says about a file, read from its head.
package struct MediaProbe: Sendable, Equatable {
    package var duration: Interval
    package var bytes: Int64
    package var codecs: [Codec]
    /// As displayed, rotation applied.
    package var size: VideoSize?

    package init(path: String, isCancelled: @escaping () -> Bool = { false }) throws(ContainerError) {
        let demuxer = try Demuxer(path: path, isCancelled: isCancelled)
        duration = demuxer.duration
        bytes = demuxer.byteCount
        codecs = demuxer.tracks.map(\.codec)
        if let video = demuxer.tracks.firstIndex(where: \.isVideo), let stored = demuxer.sizes[video] {
            size =
                demuxer.rotations[video].isSideways
                ? VideoSize(width: stored.height, height: stored.width) : stored
        }
    }
}
