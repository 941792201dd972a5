import CVPX

/// Real VP8 of a test picture, by libvpx: a slowly moving gradient under noise that is new in every frame, and a square
/// that crosses it.
///
/// libvpx comes near a bitrate but does not meet it in a group of pictures, so it is asked for less, and the frames are
/// then filled up with bytes behind their end, which decoders ignore (the last partition reaches to the frame's end,
/// RFC 6386 §9.5, and nothing reads beyond its coefficients). The last ``FrameMark/length`` of these bytes are the mark.
struct VP8ClipEncoder {
    /// Share of the bitrate that the first attempt asks libvpx for.
    private static let firstShare = 0.93
    /// Filling must not become a large part of the media: less than this share, and libvpx is asked again for more.
    private static let least = 0.85
    private static let attempts = 6
    /// A key frame within these shares of its aim is left as it is.
    private static let keyFrameTolerance = 0.9...1.1
    /// Limits of a key frame's size that libvpx is given, percent of an average frame.
    private static let keyFramePercents = 50.0...2000.0
    /// Fastest of libvpx's settings. Quality is no aim here.
    private static let speed: CInt = -16
    private static let quantizers: ClosedRange<UInt32> = 2...63
    /// Of libvpx's model of the receiver's buffer, ms. It gives the first frame half of the buffer's initial content, so
    /// that must be more than the key frame shall have.
    private static let buffer: (size: UInt32, initial: UInt32, optimal: UInt32) = (3000, 2000, 2000)

    private let format: VideoFormat
    private let picture: TestPicture

    init(_ format: VideoFormat) {
        self.format = format
        picture = TestPicture(width: format.width, height: format.height)
    }

    /// The frames, each with the bytes behind it that the sender writes the mark into.
    func encode() throws(ClipError) -> [[UInt8]] {
        // One byte of payload descriptor in about every packet.
        let total = Int(format.totalBytes)
        let wanted = total - total / Packetiser.maxPayload - format.frames
        let room = wanted - format.frames * FrameMark.length
        guard room > 0 else { throw .bitrateOutOfRange(nearest: lowestBitrate(of: format.frames)) }
        var asked = Double(room) * Self.firstShare
        let keyFramePercent = try keyFramePercent(bytes: asked)
        var best: [[UInt8]] = []
        var smallest = Int.max
        for _ in 0..<Self.attempts {
            let frames = try encode(format.frames, bytes: asked, keyFramePercent: keyFramePercent)
            let taken = frames.reduce(0) { $0 + $1.count }
            smallest = min(smallest, taken)
            if taken <= room, taken > best.reduce(0, { $0 + $1.count }) { best = frames }
            if taken <= room, Double(taken) >= Self.least * Double(room) { break }
            asked *= Self.firstShare * Double(room) / Double(taken)
        }
        guard !best.isEmpty else { throw .bitrateOutOfRange(nearest: lowestBitrate(of: smallest)) }
        return fill(best, to: wanted)
    }

    /// Adds bytes to the frames, each in proportion to what it has, until they are `wanted` together.
    private func fill(_ frames: [[UInt8]], to wanted: Int) -> [[UInt8]] {
        let taken = frames.reduce(0) { $0 + $1.count }
        let spare = wanted - taken - frames.count * FrameMark.length
        var before = 0
        return frames.map { frame in
            let filling = spare * (before + frame.count) / taken - spare * before / taken
            before += frame.count
            return frame + [UInt8](repeating: 0, count: filling + FrameMark.length)
        }
    }

    private func lowestBitrate(of bytes: Int) -> Int {
        (bytes + format.frames * (FrameMark.length + 2)) * 8 * format.framesPerSecond / format.frames
    }

    /// What to tell libvpx so that the key frame comes out as large as wanted: it misses the limit it is given, the
    /// more the more noise there is.
    private func keyFramePercent(bytes: Double) throws(ClipError) -> Double {
        let factor = Double(VideoFormat.keyFrameFactor)
        let wanted = factor * bytes / (Double(format.frames - 1) + factor)
        var percent = 100 * factor
        for _ in 0..<Self.attempts {
            let taken = try encode(1, bytes: bytes, keyFramePercent: percent)[0].count
            if Self.keyFrameTolerance.contains(Double(taken) / wanted) { break }
            let limits = Self.keyFramePercents
            percent = min(max(percent * wanted / Double(taken), limits.lowerBound), limits.upperBound)
        }
        return percent
    }

    /// One attempt at the first `count` frames.
    ///
    /// - Parameter bytes: that libvpx shall try to make of a whole round.
    private func encode(_ count: Int, bytes: Double, keyFramePercent: Double) throws(ClipError) -> [[UInt8]] {
        var config = vpx_codec_enc_cfg_t()
        try check(weir_vp8_default_config(&config))
        config.g_w = UInt32(format.width)
        config.g_h = UInt32(format.height)
        config.g_timebase = vpx_rational_t(num: 1, den: CInt(format.framesPerSecond))
        config.g_threads = 1
        config.g_lag_in_frames = 0
        config.g_pass = VPX_RC_ONE_PASS
        config.rc_end_usage = VPX_CBR
        config.rc_target_bitrate = max(
            UInt32(bytes * 8 * Double(format.framesPerSecond) / Double(format.frames) / 1000), 1)
        config.rc_dropframe_thresh = 0
        config.rc_resize_allowed = 0
        config.rc_min_quantizer = Self.quantizers.lowerBound
        config.rc_max_quantizer = Self.quantizers.upperBound
        config.rc_buf_sz = Self.buffer.size
        config.rc_buf_initial_sz = Self.buffer.initial
        config.rc_buf_optimal_sz = Self.buffer.optimal
        config.kf_mode = VPX_KF_DISABLED

        var context = vpx_codec_ctx_t()
        try check(weir_vp8_init(&context, &config))
        defer { vpx_codec_destroy(&context) }
        try check(weir_vp8_set_speed(&context, Self.speed))
        try check(weir_vp8_set_max_key_frame(&context, UInt32(keyFramePercent)))

        guard let image = vpx_img_alloc(nil, VPX_IMG_FMT_I420, config.g_w, config.g_h, 16) else {
            throw .encoder("no memory for a picture")
        }
        defer { vpx_img_free(image) }
        // A copy, so that every attempt gets the same pictures.
        var picture = picture
        var frames: [[UInt8]] = []
        for index in 0..<count {
            picture.draw(index, on: image.pointee)
            try check(weir_vpx_encode(&context, image, Int64(index), index == 0 ? 1 : 0))
            var position: vpx_codec_iter_t?
            var length = 0
            guard let start = weir_vpx_next_frame(&context, &position, &length) else {
                throw .encoder("libvpx left out a frame")
            }
            frames.append([UInt8](UnsafeRawBufferPointer(start: start, count: length)))
        }
        return frames
    }

    private func check(_ status: vpx_codec_err_t) throws(ClipError) {
        guard status != VPX_CODEC_OK else { return }
        throw .encoder("libvpx: \(String(cString: vpx_codec_err_to_string(status)))")
    }
}
