import CLibAV
import MediaFormats
import MediaFrames
import Wire

/// Pictures of one codec to H264 that every player can play (libx264: constrained baseline, no
/// pictures out of order, one frame in, one frame out). One thread at a time; not for the media threads.
///
/// Follows changes of size by a key frame of the new size. Times and rotation are those of the frames given.
package final class VideoTranscoder {
    package struct Settings: Sendable, Equatable {
        /// Bits per second; `nil`: a constant quality within what the size needs at most.
        package var bitrate: Int?
        /// A key frame at least so often.
        package var keyFrameInterval = Interval.seconds(2)
        package var threads = 1
        /// libx264's preset, from `ultrafast` to `medium`.
        package var preset = "veryfast"
        /// The pictures given are not in the order of showing (B frames); those that come out are.
        package var reorders = false
        package init() {}
    }

    package let output = TrackDescription(codec: .h264)

    private let settings: Settings
    private let input: TrackDescription
    private var decoder: VideoDecoder
    private let scaler = Scaler(to: AV_PIX_FMT_YUV420P)
    private var encoder: CodecContext?
    private var size: VideoSize?
    private var wantsKeyFrame = true
    private var lastPTS = Int64.min
    private var lastKeyPTS = Int64.min
    private var sets: [[UInt8]] = []

    package init(from input: TrackDescription, settings: Settings = Settings()) throws(CodecError) {
        self.settings = settings
        self.input = input
        decoder = try VideoDecoder(input, threads: settings.threads, reorders: settings.reorders)
        // So that a machine without the encoder says so at once.
        _ = try CodecContext(.h264, isEncoder: true)
    }

    /// Makes the next frame a key frame.
    package func requestKeyFrame() { wantsKeyFrame = true }

    /// A damaged frame gives none.
    package func transcode(_ frame: MediaFrame) throws(CodecError) -> [MediaFrame] {
        let pictures: [VideoPicture]
        do throws(CodecError) {
            pictures = try decoder.decode(frame)
        } catch {
            guard error.isDamagedData else { throw error }
            return []
        }
        var out: [MediaFrame] = []
        for picture in pictures { try encode(picture, of: frame, into: &out) }
        return out
    }

    /// The pictures that were held back for their order. What is transcoded next must begin with a key frame.
    ///
    /// - Parameter last: the frame given last.
    package func flush(after last: MediaFrame) throws(CodecError) -> [MediaFrame] {
        var out: [MediaFrame] = []
        for picture in (try? decoder.finish()) ?? [] { try encode(picture, of: last, into: &out) }
        decoder = try VideoDecoder(input, threads: settings.threads, reorders: settings.reorders)
        return out
    }

    private func encode(_ picture: VideoPicture, of frame: MediaFrame, into out: inout [MediaFrame]) throws(CodecError)
    {
        // 4:2:0 has no odd sizes.
        let even = VideoSize(width: max(2, picture.size.width & ~1), height: max(2, picture.size.height & ~1))
        let encoder = try encoder(for: even)
        let source = picture.frame.pointer.pointee
        let isReady = source.format == AV_PIX_FMT_YUV420P.rawValue && even == picture.size
        let input = isReady ? picture.frame : try scaler.scale(picture.frame, to: even)
        let pointer = input.pointer
        // Times may be equal where senders split a picture in two.
        let pts = max(EncoderClock.ticks(picture.time), lastPTS == .min ? .min : lastPTS + 1)
        pointer.pointee.pts = pts
        let interval = settings.keyFrameInterval.nanoseconds / 1_000 * EncoderClock.ticksPerSecond / 1_000_000
        let isKey = wantsKeyFrame || lastKeyPTS == .min || pts - lastKeyPTS >= interval
        pointer.pointee.pict_type = isKey ? AV_PICTURE_TYPE_I : AV_PICTURE_TYPE_NONE
        (lastPTS, wantsKeyFrame) = (pts, false)
        if isKey { lastKeyPTS = pts }
        try encoder.send(input)
        while let encoded = try encoder.receivePacket() {
            var made = MediaFrame(
                track: frame.track, data: encoded.data, time: picture.time, isKeyFrame: encoded.isKey,
                size: encoded.isKey ? even : nil, rotation: frame.rotation, flags: frame.flags)
            if encoded.isKey {
                let found = NALUnits.h264ParameterSets(annexB: encoded.data)
                if found != sets {
                    sets = found
                    made.parameterSets = found
                }
            }
            out.append(made)
        }
    }

    private func encoder(for size: VideoSize) throws(CodecError) -> CodecContext {
        if let encoder, self.size == size { return encoder }
        let encoder = try CodecContext(.h264, isEncoder: true)
        let pointer = encoder.pointer
        pointer.pointee.width = Int32(clamping: size.width)
        pointer.pointee.height = Int32(clamping: size.height)
        pointer.pointee.pix_fmt = AV_PIX_FMT_YUV420P
        pointer.pointee.time_base = weir_rational(1, Int32(EncoderClock.ticksPerSecond))
        // What the rate control reckons with; pictures have times of their own.
        pointer.pointee.framerate = weir_rational(30, 1)
        pointer.pointee.max_b_frames = 0
        pointer.pointee.thread_count = Int32(clamping: max(1, settings.threads))
        // Key frames are made here, by time.
        pointer.pointee.gop_size = 100_000
        var options = [
            ("preset", settings.preset), ("tune", "zerolatency"), ("profile", "baseline"), ("forced-idr", "1"),
        ]
        if let bitrate = settings.bitrate {
            pointer.pointee.bit_rate = Int64(bitrate)
            pointer.pointee.rc_max_rate = Int64(bitrate)
            pointer.pointee.rc_buffer_size = Int32(clamping: bitrate)
        } else {
            options.append(("crf", "23"))
        }
        try encoder.open(options)
        self.encoder = encoder
        self.size = size
        wantsKeyFrame = true
        return encoder
    }
}
