import CLibAV
import MediaFormats

/// Sole owner of an `AVCodecContext`: what decoders and encoders have in common. One thread at a time.
final class CodecContext {
    let pointer: UnsafeMutablePointer<AVCodecContext>
    let codec: Codec
    private let packet: UnsafeMutablePointer<AVPacket>

    /// - Parameter isEncoder: whether an encoder or a decoder is meant; it must still be opened.
    init(_ codec: Codec, isEncoder: Bool) throws(CodecError) {
        LibAV.prepare()
        guard let implementation = Self.find(codec, isEncoder: isEncoder) else {
            throw isEncoder ? .encoderMissing(codec) : .decoderMissing(codec)
        }
        guard let pointer = avcodec_alloc_context3(implementation) else { throw .outOfMemory }
        guard let packet = av_packet_alloc() else {
            var context: UnsafeMutablePointer<AVCodecContext>? = pointer
            avcodec_free_context(&context)
            throw .outOfMemory
        }
        self.codec = codec
        self.pointer = pointer
        self.packet = packet
    }

    deinit {
        var context: UnsafeMutablePointer<AVCodecContext>? = pointer
        avcodec_free_context(&context)
        var owned: UnsafeMutablePointer<AVPacket>? = packet
        av_packet_free(&owned)
    }

    private static func find(_ codec: Codec, isEncoder: Bool) -> UnsafePointer<AVCodec>? {
        for name in names(codec, isEncoder: isEncoder) {
            if let found = isEncoder ? avcodec_find_encoder_by_name(name) : avcodec_find_decoder_by_name(name) {
                return found
            }
        }
        return nil
    }

    /// Names of libavcodec's implementations, the preferred one first. FFmpeg's own AV1 decoder wants graphics hardware.
    private static func names(_ codec: Codec, isEncoder: Bool) -> [String] {
        switch codec {
        case .vp8: isEncoder ? ["libvpx"] : ["vp8", "libvpx"]
        case .vp9: isEncoder ? ["libvpx-vp9"] : ["vp9", "libvpx-vp9"]
        case .h264: isEncoder ? ["libx264", "libopenh264"] : ["h264", "libopenh264"]
        case .h265: isEncoder ? ["libx265"] : ["hevc"]
        case .av1: isEncoder ? ["libsvtav1", "libaom-av1"] : ["libdav1d", "libaom-av1"]
        case .opus: isEncoder ? ["libopus"] : ["libopus", "opus"]
        case .aac: ["aac"]
        case .pcmu: ["pcm_mulaw"]
        case .pcma: ["pcm_alaw"]
        case .g722: ["g722"]
        }
    }

    /// Gives the codec bytes that belong to the whole stream. Before `open` only.
    func setExtradata(_ bytes: [UInt8]) throws(CodecError) {
        guard !bytes.isEmpty else { return }
        guard let copy = av_mallocz(bytes.count + Int(weir_av_input_padding)) else { throw .outOfMemory }
        bytes.withUnsafeBytes { copy.copyMemory(from: $0.baseAddress!, byteCount: bytes.count) }
        // The context frees it.
        pointer.pointee.extradata = copy.assumingMemoryBound(to: UInt8.self)
        pointer.pointee.extradata_size = Int32(bytes.count)
    }

    var extradata: [UInt8] {
        guard let bytes = pointer.pointee.extradata else { return [] }
        return Array(UnsafeBufferPointer(start: bytes, count: Int(pointer.pointee.extradata_size)))
    }

    /// - Parameter options: private options of the implementation; unknown ones are an error, so that none is
    ///   misspelt.
    func open(_ options: [(String, String)] = []) throws(CodecError) {
        for (name, value) in options {
            try checked("set \(name)=\(value) of \(codec.name)", av_opt_set(pointer.pointee.priv_data, name, value, 0))
        }
        try checked("open the codec \(codec.name)", avcodec_open2(pointer, nil, nil))
    }

    /// Sends compressed bytes to a decoder.
    func send(_ bytes: [UInt8], pts: Int64) throws(CodecError) {
        try checked("make a packet of \(bytes.count) bytes", av_new_packet(packet, Int32(clamping: bytes.count)))
        defer { av_packet_unref(packet) }
        bytes.withUnsafeBytes { source in
            if let base = source.baseAddress {
                packet.pointee.data.update(from: base.assumingMemoryBound(to: UInt8.self), count: bytes.count)
            }
        }
        packet.pointee.pts = pts
        packet.pointee.dts = pts
        try checked("decode \(codec.name)", avcodec_send_packet(pointer, packet))
    }

    /// No more is coming: what the decoder holds back comes out.
    func sendEnd() { avcodec_send_packet(pointer, nil) }

    /// The decoder's next frame; `nil` if it wants more first.
    func receiveFrame() throws(CodecError) -> FrameBuffer? {
        let frame = try FrameBuffer()
        let result = avcodec_receive_frame(pointer, frame.pointer)
        if result == weir_averror(EAGAIN) || result == weir_averror_eof { return nil }
        try checked("decode \(codec.name)", result)
        return frame
    }

    /// - Parameter frame: `nil`: no more is coming.
    func send(_ frame: FrameBuffer?) throws(CodecError) {
        let result = avcodec_send_frame(pointer, frame?.pointer)
        if frame == nil && result == weir_averror_eof { return }
        try checked("encode \(codec.name)", result)
    }

    struct Encoded {
        var data: [UInt8]
        var pts: Int64
        var isKey: Bool
    }

    /// The encoder's next packet; `nil` if it wants more first.
    func receivePacket() throws(CodecError) -> Encoded? {
        let result = avcodec_receive_packet(pointer, packet)
        if result == weir_averror(EAGAIN) || result == weir_averror_eof { return nil }
        try checked("encode \(codec.name)", result)
        defer { av_packet_unref(packet) }
        let bytes = Array(UnsafeBufferPointer(start: packet.pointee.data, count: Int(packet.pointee.size)))
        return Encoded(data: bytes, pts: packet.pointee.pts, isKey: packet.pointee.flags & AV_PKT_FLAG_KEY != 0)
    }
}

/// Sole owner of an `AVFrame`.
final class FrameBuffer {
    let pointer: UnsafeMutablePointer<AVFrame>

    init() throws(CodecError) {
        guard let pointer = av_frame_alloc() else { throw .outOfMemory }
        self.pointer = pointer
    }

    deinit {
        var frame: UnsafeMutablePointer<AVFrame>? = pointer
        av_frame_free(&frame)
    }

    /// A picture with memory of its own.
    convenience init(size: VideoSize, format: AVPixelFormat) throws(CodecError) {
        try self.init()
        pointer.pointee.width = Int32(clamping: size.width)
        pointer.pointee.height = Int32(clamping: size.height)
        pointer.pointee.format = format.rawValue
        try checked("get memory for a picture", av_frame_get_buffer(pointer, 0))
    }

    /// Sound with memory of its own.
    convenience init(samples: Int32, context: UnsafeMutablePointer<AVCodecContext>) throws(CodecError) {
        try self.init()
        pointer.pointee.nb_samples = samples
        pointer.pointee.format = context.pointee.sample_fmt.rawValue
        pointer.pointee.sample_rate = context.pointee.sample_rate
        try checked(
            "copy a channel layout", av_channel_layout_copy(&pointer.pointee.ch_layout, &context.pointee.ch_layout))
        try checked("get memory for sound", av_frame_get_buffer(pointer, 0))
    }

    var size: VideoSize { VideoSize(width: Int(pointer.pointee.width), height: Int(pointer.pointee.height)) }
}
