import CLibAV
import MediaFormats
import Wire

/// Decoded pictures made smaller, to H264 of the main profile (libx264): no pictures out of order, one in, one out. One
/// thread at a time; not for the media threads. Key frames are only where they are asked for.
package final class ScaledEncoder {
    package struct Settings: Sendable, Equatable {
        /// Even.
        package var size: VideoSize
        /// Most bits per second; half a second of them may come at once.
        package var bitrate: Int
        /// Ten times the H264 level that is claimed.
        package var level: Int
        package var preset = "veryfast"

        package init(size: VideoSize, bitrate: Int, level: Int) {
            self.size = size
            self.bitrate = bitrate
            self.level = level
        }
    }

    package struct Encoded: Sendable {
        /// Annex B.
        package var data: [UInt8]
        package var isKey: Bool
        /// Of a key frame.
        package var parameterSets: [[UInt8]]
    }

    /// The quality that is enough, where the bit rate allows it (x264's scale).
    private static let quality = "23"

    private let encoder: CodecContext
    private let scaler = Scaler(to: AV_PIX_FMT_YUV420P)
    private let settings: Settings
    private var lastPTS = Int64.min

    package init(_ settings: Settings) throws(CodecError) {
        self.settings = settings
        encoder = try CodecContext(.h264, isEncoder: true)
        let pointer = encoder.pointer
        pointer.pointee.width = Int32(clamping: settings.size.width)
        pointer.pointee.height = Int32(clamping: settings.size.height)
        pointer.pointee.pix_fmt = AV_PIX_FMT_YUV420P
        pointer.pointee.time_base = weir_rational(1, Int32(EncoderClock.ticksPerSecond))
        // What the rate control reckons with; pictures have times of their own.
        pointer.pointee.framerate = weir_rational(30, 1)
        pointer.pointee.max_b_frames = 0
        pointer.pointee.thread_count = 1
        pointer.pointee.gop_size = 100_000
        pointer.pointee.rc_max_rate = Int64(settings.bitrate)
        pointer.pointee.rc_buffer_size = Int32(clamping: settings.bitrate / 2)
        // What the scaler makes of all pictures.
        pointer.pointee.colorspace = AVCOL_SPC_SMPTE170M
        pointer.pointee.color_range = AVCOL_RANGE_MPEG
        try encoder.open([
            ("preset", settings.preset), ("tune", "zerolatency"), ("profile", "main"), ("forced-idr", "1"),
            ("sc_threshold", "0"),
            ("level", "\(settings.level / 10).\(settings.level % 10)"), ("crf", Self.quality),
        ])
    }

    /// - Parameter time: pictures come in the order of their times.
    package func encode(_ picture: VideoPicture, time: Interval, isKey: Bool) throws(CodecError) -> Encoded? {
        let source = picture.frame.pointer.pointee
        let isReady = source.format == AV_PIX_FMT_YUV420P.rawValue && picture.size == settings.size
        let input = isReady ? picture.frame : try scaler.scale(picture.frame, to: settings.size)
        let pts = EncoderClock.ticks(time)
        lastPTS = lastPTS == .min ? pts : max(pts, lastPTS + 1)
        input.pointer.pointee.pts = lastPTS
        input.pointer.pointee.pict_type = isKey ? AV_PICTURE_TYPE_I : AV_PICTURE_TYPE_NONE
        try encoder.send(input)
        guard let packet = try encoder.receivePacket() else { return nil }
        return Encoded(
            data: packet.data, isKey: packet.isKey,
            parameterSets: packet.isKey ? NALUnits.h264ParameterSets(annexB: packet.data) : [])
    }
}
