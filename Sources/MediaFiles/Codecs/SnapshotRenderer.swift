import MediaFormats
import Wire

/// One picture of a live stream as a PNG. One per request: it owns a decoder, which goes with it. One thread at a time;
/// not for the media threads, and the caller bounds how many there are at once.
package final class SnapshotRenderer {
    /// More frames than this are not tried: a stream of which none can be decoded must not keep a decoder for ever.
    package static let maxFrames = 300

    private let description: TrackDescription
    private let maxWidth: Int?
    private var decoder: VideoDecoder?
    private var frames = 0

    /// - Parameters:
    ///   - track: the video track whose frames will be given.
    ///   - maxWidth: wider pictures are scaled down; `nil`: never.
    package init(track: TrackDescription, maxWidth: Int? = nil) throws(CodecError) {
        guard track.isVideo else { throw .unsupported(track.codec) }
        description = track
        self.maxWidth = maxWidth
        decoder = try VideoDecoder(track)
    }

    /// Takes the stream's next video frame; those before the first key frame are passed over.
    ///
    /// - Returns: the PNG file, with the stream's rotation applied, as soon as there is a picture.
    /// - Throws: `CodecError.noPicture` after `maxFrames` frames without one.
    package func handle(_ frame: MediaFrame) throws(CodecError) -> [UInt8]? {
        frames += 1
        guard frames <= Self.maxFrames else { throw .noPicture }
        guard frame.isKeyFrame, !frame.data.isEmpty else { return nil }
        // A key frame is a whole picture. Decoders that reorder give it when they hear that nothing follows; the next
        // key frame then gets a new decoder.
        let decoder: VideoDecoder
        if let prepared = self.decoder { decoder = prepared } else { decoder = try VideoDecoder(description) }
        self.decoder = nil
        var pictures: [VideoPicture] = []
        do throws(CodecError) {
            pictures = try decoder.decode(frame)
            if pictures.isEmpty { pictures = try decoder.finish() }
        } catch {
            guard error.isDamagedData else { throw error }
            // A damaged key frame: there will be another.
            return nil
        }
        guard let picture = pictures.last else { return nil }
        guard picture.size.width * picture.size.height <= PictureLimits.maxPixels else {
            throw .pictureTooLarge(picture.size)
        }
        return try PNGEncoder.encode(picture, maxWidth: maxWidth)
    }
}
