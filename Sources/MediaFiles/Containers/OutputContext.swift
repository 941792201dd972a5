import CLibAV
import Glibc

/// One libavformat muxer over a `ByteOutput`: owns both C contexts and the first error of the output. One thread.
final class OutputContext {
    /// What libavformat gathers before it calls us: large enough that a fragment is few system calls.
    private static let bufferSize: Int32 = 64 << 10

    let output: any ByteOutput
    let context: UnsafeMutablePointer<AVFormatContext>
    /// The first refusal of the output. libavformat's own result may name another cause, or none.
    private(set) var outputError: Int32 = 0
    private var hasHeader = false
    private var hasTrailer = false

    init(format: ContainerFormat, output: any ByteOutput) throws(ContainerError) {
        LibAV.prepare()
        self.output = output
        var made: UnsafeMutablePointer<AVFormatContext>?
        let result = avformat_alloc_output_context2(&made, nil, format.muxerName, nil)
        guard let made else { throw ContainerError(code: result) }
        context = made
        let canSeek = output.seek != nil
        guard let buffer = av_malloc(Int(Self.bufferSize)),
            let io = avio_alloc_context(
                buffer.assumingMemoryBound(to: UInt8.self), Self.bufferSize, 1,
                Unmanaged.passUnretained(self).toOpaque(), nil, takeBytes, canSeek ? movePosition : nil)
        else { throw .system(errno: ENOMEM) }
        io.pointee.seekable = canSeek ? AVIO_SEEKABLE_NORMAL : 0
        context.pointee.pb = io
        context.pointee.flags |= AVFMT_FLAG_CUSTOM_IO
    }

    deinit {
        // libavformat frees what its muxer has allocated only after a header, and only by a trailer.
        if hasHeader, !hasTrailer {
            outputError = outputError == 0 ? ECANCELED : outputError
            av_write_trailer(context)
        }
        if let io = context.pointee.pb {
            av_freep(&io.pointee.buffer)
            var owned: UnsafeMutablePointer<AVIOContext>? = io
            avio_context_free(&owned)
            context.pointee.pb = nil
        }
        avformat_free_context(context)
    }

    func newStream() throws(ContainerError) -> UnsafeMutablePointer<AVStream> {
        guard let stream = avformat_new_stream(context, nil) else { throw .system(errno: ENOMEM) }
        return stream
    }

    func stream(_ index: Int) -> UnsafeMutablePointer<AVStream> {
        precondition(index >= 0 && index < Int(context.pointee.nb_streams), "a stream of this file")
        return context.pointee.streams[index]!
    }

    /// - Parameter options: of the muxer; one that it does not know is a bug of ours.
    func writeHeader(options: [String: String]) throws(ContainerError) {
        var dictionary: OpaquePointer?
        for (key, value) in options { av_dict_set(&dictionary, key, value, 0) }
        let result = avformat_write_header(context, &dictionary)
        let unknown = av_dict_count(dictionary)
        av_dict_free(&dictionary)
        guard result >= 0 else { throw failure(result) }
        precondition(unknown == 0, "the muxer knows our options")
        hasHeader = true
        try check(0)
    }

    /// - Parameter packet: nil ends the present fragment or cluster.
    func write(_ packet: UnsafeMutablePointer<AVPacket>?, interleaved: Bool = false) throws(ContainerError) {
        let result = interleaved ? av_interleaved_write_frame(context, packet) : av_write_frame(context, packet)
        try check(result)
    }

    /// Hands over what libavformat has gathered.
    func flush() throws(ContainerError) {
        avio_flush(context.pointee.pb)
        try check(0)
    }

    func writeTrailer() throws(ContainerError) {
        hasTrailer = true
        try check(av_write_trailer(context))
        try flush()
    }

    private func check(_ result: Int32) throws(ContainerError) {
        guard result >= 0, outputError == 0 else { throw failure(result) }
        if let error = context.pointee.pb?.pointee.error, error < 0 { throw failure(error) }
    }

    private func failure(_ result: Int32) -> ContainerError {
        outputError != 0 ? .system(errno: outputError) : ContainerError(code: result)
    }

    fileprivate func take(_ bytes: UnsafeRawBufferPointer) -> Int32 {
        // After a refusal nothing more goes out: bytes behind a hole would be worse than none.
        if outputError == 0 { outputError = output.write(bytes) }
        return outputError == 0 ? Int32(bytes.count) : weir_averror(outputError)
    }

    fileprivate func move(_ offset: Int64, _ whence: Int32) -> Int64 {
        let target: Int64
        switch whence & ~weir_av_seek_force {
        case weir_av_seek_size: return output.size
        case SEEK_SET: target = offset
        case SEEK_CUR: target = output.position + offset
        case SEEK_END: target = output.size + offset
        default: return Int64(weir_averror(EINVAL))
        }
        guard let seek = output.seek else { return Int64(weir_averror(ESPIPE)) }
        let error = seek(target)
        return error == 0 ? target : Int64(weir_averror(error))
    }
}

private func takeBytes(
    _ opaque: UnsafeMutableRawPointer?, _ bytes: UnsafeMutablePointer<UInt8>?, _ count: Int32
) -> Int32 {
    guard let opaque, let bytes, count >= 0 else { return weir_averror(EINVAL) }
    return Unmanaged<OutputContext>.fromOpaque(opaque).takeUnretainedValue()
        .take(UnsafeRawBufferPointer(start: bytes, count: Int(count)))
}

private func movePosition(_ opaque: UnsafeMutableRawPointer?, _ offset: Int64, _ whence: Int32) -> Int64 {
    guard let opaque else { return Int64(weir_averror(EINVAL)) }
    return Unmanaged<OutputContext>.fromOpaque(opaque).takeUnretainedValue().move(offset, whence)
}
