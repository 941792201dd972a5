import CLibAV
import MediaFormats
import MediaFrames
import Wire

/// Pictures of one size at a steady rate to H264 or VP8, one frame in, one frame out, for files. One thread at a time; not
/// for the media threads.
package final class PictureEncoder {
    package struct Settings: Sendable, Equatable {
        package var codec = Codec.h264
        /// Even.
        package var size = VideoSize(width: 1_280, height: 720)
        package var framesPerSecond = 30
        package var threads = 1

        package init() {}
    }

    package let output: TrackDescription

    private static let ticks: Int64 = 90_000
    /// Seconds from one key frame to the next.
    private static let keyFrameSeconds = 2
    /// Bits per pixel of what VP8 may spend at most; H264 goes by quality alone.
    private static let bitsPerPixel = 0.12

    private let encoder: CodecContext
    private let settings: Settings
    private var lastPTS = Int64.min
    private var sets: [[UInt8]] = []

    package init(_ settings: Settings) throws(CodecError) {
        self.settings = settings
        output = TrackDescription(codec: settings.codec)
        encoder = try CodecContext(settings.codec, isEncoder: true)
        let pointer = encoder.pointer
        pointer.pointee.width = Int32(clamping: settings.size.width)
        pointer.pointee.height = Int32(clamping: settings.size.height)
        pointer.pointee.pix_fmt = AV_PIX_FMT_YUV420P
        pointer.pointee.time_base = weir_rational(1, Int32(Self.ticks))
        pointer.pointee.framerate = weir_rational(Int32(clamping: settings.framesPerSecond), 1)
        pointer.pointee.max_b_frames = 0
        pointer.pointee.gop_size = Int32(clamping: settings.framesPerSecond * Self.keyFrameSeconds)
        pointer.pointee.thread_count = Int32(clamping: max(1, settings.threads))
        // What the scaler makes of all pictures.
        pointer.pointee.colorspace = AVCOL_SPC_SMPTE170M
        pointer.pointee.color_range = AVCOL_RANGE_MPEG
        switch settings.codec {
        case .h264: try encoder.open([("preset", "veryfast"), ("tune", "zerolatency"), ("crf", "21")])
        case .vp8:
            let pixels = Double(settings.size.width * settings.size.height * settings.framesPerSecond)
            pointer.pointee.bit_rate = Int64(pixels * Self.bitsPerPixel)
            try encoder.open([
                ("deadline", "realtime"), ("cpu-used", "5"), ("lag-in-frames", "0"), ("crf", "10"),
                ("auto-alt-ref", "0"),
            ])
        default: throw .unsupported(settings.codec)
        }
    }

    /// - Parameter time: later than that of the picture before.
    package func encode(_ canvas: PictureCanvas, time: Interval) throws(CodecError) -> [MediaFrame] {
        let pointer = canvas.frame.pointer
        let pts = Self.pts(time)
        pointer.pointee.pts = lastPTS == .min ? pts : max(pts, lastPTS + 1)
        pointer.pointee.pict_type = AV_PICTURE_TYPE_NONE
        lastPTS = pointer.pointee.pts
        try encoder.send(canvas.frame)
        return try receive()
    }

    package func finish() throws(CodecError) -> [MediaFrame] {
        try encoder.send(nil)
        return try receive()
    }

    private func receive() throws(CodecError) -> [MediaFrame] {
        var frames: [MediaFrame] = []
        while let encoded = try encoder.receivePacket() {
            var frame = MediaFrame(
                track: 0, data: encoded.data, time: Self.time(encoded.pts), isKeyFrame: encoded.isKey,
                size: encoded.isKey ? settings.size : nil)
            if encoded.isKey, settings.codec == .h264 {
                let found = NALUnits.ranges(annexB: encoded.data.span.bytes)
                    .filter { NALUnits.kind(h264: encoded.data[$0.lowerBound]).isParameterSet }
                    .map { Array(encoded.data[$0]) }
                if found != sets {
                    sets = found
                    frame.parameterSets = found
                }
            }
            frames.append(frame)
        }
        return frames
    }

    private static func pts(_ time: Interval) -> Int64 {
        let (seconds, rest) = time.nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
        return seconds * ticks + (rest * ticks + 500_000_000) / 1_000_000_000
    }

    private static func time(_ pts: Int64) -> Interval {
        let (seconds, rest) = pts.quotientAndRemainder(dividingBy: ticks)
        return Interval(nanoseconds: seconds * 1_000_000_000 + rest * 1_000_000_000 / ticks)
    }
}
