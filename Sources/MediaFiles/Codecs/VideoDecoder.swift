import CLibAV
import MediaFormats
import Wire

/// A decoded picture.
package final class VideoPicture {
    let frame: FrameBuffer
    package let time: Interval
    package let rotation: VideoRotation

    init(_ frame: FrameBuffer, rotation: VideoRotation) {
        self.frame = frame
        time = Interval(nanoseconds: frame.pointer.pointee.pts)
        self.rotation = rotation
    }

    /// A grey picture.
    ///
    /// - Parameter luma: brightness by column and row.
    package init(
        size: VideoSize, time: Interval = .zero, rotation: VideoRotation = .none, luma: (Int, Int) -> UInt8
    ) throws(CodecError) {
        frame = try FrameBuffer(size: size, format: AV_PIX_FMT_YUV420P)
        self.time = time
        self.rotation = rotation
        let pointer = frame.pointer
        pointer.pointee.pts = time.nanoseconds
        guard let plane = pointer.pointee.data.0 else { throw .outOfMemory }
        for y in 0..<size.height {
            for x in 0..<size.width { plane[y * Int(pointer.pointee.linesize.0) + x] = luma(x, y) }
        }
        for chroma in [
            (pointer.pointee.data.1, pointer.pointee.linesize.1), (pointer.pointee.data.2, pointer.pointee.linesize.2),
        ] {
            chroma.0?.update(repeating: 128, count: Int(chroma.1) * ((size.height + 1) / 2))
        }
    }

    /// As decoded, before rotation.
    package var size: VideoSize { frame.size }

    /// The two colour differences of one sample, 0...255, for tests. Planar 8-bit 4:2:0 only.
    package func chroma(x: Int, y: Int) -> (UInt8, UInt8)? {
        guard x >= 0, y >= 0, x < size.width, y < size.height, let u = frame.plane(1), let v = frame.plane(2) else {
            return nil
        }
        return (u.bytes[y / 2 * u.line + x / 2], v.bytes[y / 2 * v.line + x / 2])
    }

    /// The brightness of one sample, 0...255, for tests and marks burned into pictures. Planar 8-bit formats only.
    package func luma(x: Int, y: Int) -> UInt8? {
        guard x >= 0, y >= 0, x < size.width, y < size.height, let plane = frame.pointer.pointee.data.0 else {
            return nil
        }
        return plane[y * Int(frame.pointer.pointee.linesize.0) + x]
    }
}

/// Frames of one video track to pictures. One thread at a time; not for the media threads.
///
/// Begins at a key frame; damaged frames give damaged pictures or none. Memory is bounded by `PictureLimits`.
package final class VideoDecoder {
    private let context: CodecContext
    private var rotation = VideoRotation.none

    /// - Parameters:
    ///   - threads: 1 adds no delay; more decode slices side by side where the stream has them.
    ///   - reorders: pictures come in the order of decoding and are to be given out in that of showing (B frames).
    package init(_ track: TrackDescription, threads: Int = 1, reorders: Bool = false) throws(CodecError) {
        guard track.isVideo else { throw .unsupported(track.codec) }
        context = try CodecContext(track.codec, isEncoder: false)
        let pointer = context.pointer
        pointer.pointee.thread_count = Int32(clamping: max(1, threads))
        pointer.pointee.thread_type = FF_THREAD_SLICE
        if !reorders { pointer.pointee.flags |= weir_av_flag_low_delay }
        pointer.pointee.max_pixels = Int64(PictureLimits.maxPixels)
        pointer.pointee.pkt_timebase = weir_rational(1, 1_000_000_000)
        // Parameter sets come with the key frames; no extradata is needed.
        try context.open()
    }

    /// Pictures that the frame completes: usually one.
    package func decode(_ frame: MediaFrame) throws(CodecError) -> [VideoPicture] {
        rotation = frame.rotation
        try context.send(frame.data, pts: frame.time.nanoseconds)
        return try receive()
    }

    /// What the decoder has held back; nothing can be decoded afterwards.
    package func finish() throws(CodecError) -> [VideoPicture] {
        context.sendEnd()
        return try receive()
    }

    private func receive() throws(CodecError) -> [VideoPicture] {
        var pictures: [VideoPicture] = []
        while let frame = try context.receiveFrame() {
            // Times of packets go with their frames; a decoder that loses one is helped out.
            if frame.pointer.pointee.pts == weir_av_nopts {
                frame.pointer.pointee.pts = frame.pointer.pointee.best_effort_timestamp
            }
            pictures.append(VideoPicture(frame, rotation: rotation))
        }
        return pictures
    }
}
