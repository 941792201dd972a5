import MediaFormats
import MediaFrames
import Wire

/// A small picture of a file, for lists.
package enum Thumbnail {
    /// The first pictures are often black or half a face: that much later, at most, is where it is taken.
    private static let latest = Interval.seconds(2)
    /// Frames looked at before a file is said to have no picture.
    private static let mostSamples = 5_000

    /// PNG of a key frame near the beginning. Blocks on the disk and decodes: not for threads that others wait for.
    ///
    /// - Throws: `.wrongFormat` for a file without pictures, or with none that can be decoded.
    package static func png(
        path: String, maxWidth: Int, isCancelled: @escaping () -> Bool = { false }
    ) throws(ContainerError) -> [UInt8] {
        let demuxer = try Demuxer(path: path, isCancelled: isCancelled)
        guard let track = demuxer.tracks.firstIndex(where: { $0.isVideo }),
            let renderer = try? SnapshotRenderer(track: demuxer.tracks[track], maxWidth: maxWidth)
        else { throw .wrongFormat }
        let wanted = min(latest, .nanoseconds(demuxer.duration.nanoseconds / 2))
        var fallback: MediaFrame?
        var hasBegun = false
        for _ in 0..<mostSamples {
            guard let sample = try demuxer.next() else { break }
            let frame = sample.frame
            guard frame.track == track else { continue }
            if frame.isKeyFrame, fallback == nil { fallback = frame }
            if !hasBegun { hasBegun = frame.isKeyFrame && frame.time >= wanted }
            guard hasBegun else { continue }
            if let png = try? renderer.handle(frame) { return png }
        }
        // One key frame in the whole file: that one.
        if !hasBegun, let fallback, let png = try? renderer.handle(fallback) { return png }
        throw .wrongFormat
    }
}
