import CLibAV

/// Samples to another rate, format and number of channels (libswresample); stretches time by what it is told.
final class Resampler {
    private var context: OpaquePointer?
    private let format: AVSampleFormat
    private let rate: Int32
    private var layout: AVChannelLayout
    /// What the samples that come in are like; when it changes, the context is made anew.
    private var inputFormat: Int32 = -1
    private var inputRate: Int32 = 0
    private var inputChannels: Int32 = 0

    init(format: AVSampleFormat, rate: Int32, channels: Int32) {
        self.format = format
        self.rate = rate
        layout = AVChannelLayout()
        av_channel_layout_default(&layout, channels)
    }

    deinit {
        swr_free(&context)
        av_channel_layout_uninit(&layout)
    }

    /// Output samples that are still inside.
    var delay: Int64 { context.map { swr_get_delay($0, Int64(rate)) } ?? 0 }

    /// Sets up for samples like these. Called before `convert`.
    func prepare(_ frame: FrameBuffer) throws(CodecError) {
        let from = frame.pointer
        let channels = from.pointee.ch_layout.nb_channels
        guard
            context == nil || from.pointee.format != inputFormat || from.pointee.sample_rate != inputRate
                || channels != inputChannels
        else { return }
        swr_free(&context)
        try checked(
            "set up resampling",
            swr_alloc_set_opts2(
                &context, &layout, format, rate, &from.pointee.ch_layout, AVSampleFormat(from.pointee.format),
                from.pointee.sample_rate, 0, nil))
        // Also where the rates are the same, since time may have to be stretched.
        let flag: Int64 = 1
        if let context {
            try checked("set up resampling", av_opt_set_int(UnsafeMutableRawPointer(context), "flags", flag, 0))
        }
        try checked("set up resampling", swr_init(context))
        (inputFormat, inputRate, inputChannels) = (from.pointee.format, from.pointee.sample_rate, channels)
    }

    /// Spreads so many more (or fewer) samples over the next `distance` ones.
    func compensate(_ samples: Int32, over distance: Int32) throws(CodecError) {
        try checked("stretch sound", swr_set_compensation(context, samples, distance))
    }

    /// Appends what the frame gives to `fifo`.
    ///
    /// - Parameter skip: samples of the result to leave out at its beginning.
    func convert(_ frame: FrameBuffer, into fifo: SampleFIFO, skip: Int64 = 0) throws(CodecError) {
        let from = frame.pointer
        let most = swr_get_out_samples(context, from.pointee.nb_samples)
        guard most > 0 else { return }
        let output = try FrameBuffer()
        output.pointer.pointee.nb_samples = most
        output.pointer.pointee.format = format.rawValue
        output.pointer.pointee.sample_rate = rate
        try checked("copy a channel layout", av_channel_layout_copy(&output.pointer.pointee.ch_layout, &layout))
        try checked("get memory for sound", av_frame_get_buffer(output.pointer, 0))
        let count = try checked(
            "resample sound",
            withPlanes(of: from) { input in
                swr_convert(context, output.pointer.pointee.extended_data, most, input, from.pointee.nb_samples)
            })
        try fifo.append(output, from: Int32(clamping: min(max(0, skip), Int64(count))), to: count)
    }

    private func withPlanes(
        of frame: UnsafeMutablePointer<AVFrame>, _ body: (UnsafeMutablePointer<UnsafePointer<UInt8>?>?) -> Int32
    ) -> Int32 {
        guard let planes = frame.pointee.extended_data else { return weir_averror(EINVAL) }
        let count =
            av_sample_fmt_is_planar(AVSampleFormat(frame.pointee.format)) != 0
            ? Int(frame.pointee.ch_layout.nb_channels) : 1
        return planes.withMemoryRebound(to: UnsafePointer<UInt8>?.self, capacity: count) { body($0) }
    }
}

/// Samples on their way from the pieces in which they are decoded to the pieces in which they are encoded.
final class SampleFIFO {
    let pointer: OpaquePointer
    private let format: AVSampleFormat
    let channels: Int32

    init(format: AVSampleFormat, channels: Int32) throws(CodecError) {
        guard let pointer = av_audio_fifo_alloc(format, channels, 4_096) else { throw .outOfMemory }
        self.pointer = pointer
        self.format = format
        self.channels = channels
    }

    deinit { av_audio_fifo_free(pointer) }

    var count: Int32 { av_audio_fifo_size(pointer) }

    /// Appends the samples `from..<to` of the frame.
    func append(_ frame: FrameBuffer, from: Int32, to: Int32) throws(CodecError) {
        guard from < to, let planes = frame.pointer.pointee.extended_data else { return }
        let isPlanar = av_sample_fmt_is_planar(format) != 0
        let step = Int(av_get_bytes_per_sample(format)) * (isPlanar ? 1 : Int(channels))
        let count = isPlanar ? Int(channels) : 1
        var moved: [UnsafeMutableRawPointer?] = (0..<count).map { index in
            planes[index].map { UnsafeMutableRawPointer($0 + step * Int(from)) }
        }
        try checked("keep sound", av_audio_fifo_write(pointer, &moved, to - from))
    }

    func appendSilence(_ samples: Int32) throws(CodecError) {
        guard samples > 0 else { return }
        let frame = try FrameBuffer()
        frame.pointer.pointee.nb_samples = samples
        frame.pointer.pointee.format = format.rawValue
        av_channel_layout_default(&frame.pointer.pointee.ch_layout, channels)
        try checked("get memory for sound", av_frame_get_buffer(frame.pointer, 0))
        av_samples_set_silence(frame.pointer.pointee.extended_data, 0, samples, channels, format)
        try append(frame, from: 0, to: samples)
    }

    /// Takes the next samples into the frame, as many as it has room for.
    func take(into frame: FrameBuffer) throws(CodecError) {
        guard let planes = frame.pointer.pointee.extended_data else { throw .outOfMemory }
        let count = av_sample_fmt_is_planar(format) != 0 ? Int(channels) : 1
        var pointers: [UnsafeMutableRawPointer?] = (0..<count).map { planes[$0].map { UnsafeMutableRawPointer($0) } }
        try checked("take sound", av_audio_fifo_read(pointer, &pointers, frame.pointer.pointee.nb_samples))
    }
}
