import CLibAV
import Glibc
import Wire

/// One libavformat demuxer over a descriptor of ours: owns the contexts and the descriptor. One thread.
///
/// The bytes are hostile: no other file or address is ever opened on their behalf, few formats are tried, streams and
/// probing are bounded, and so is what may be read in all.
final class InputContext: PacketInput {
    private static let bufferSize: Int32 = 64 << 10
    private static let formats = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,ogg"
    /// Files of several streams have two for each (`RecordingGroup.mostParts`).
    private static let maxStreams: Int32 = 256
    private static let probeBytes: Int64 = 4 << 20
    private static let analyzeMicroseconds: Int64 = 10_000_000
    /// A crafted index can make a demuxer seek for ever: so many times its length, and at least so many bytes, may be
    /// read of a file before it is refused.
    private static let readFactor: Int64 = 16
    private static let readAtLeast: Int64 = 256 << 20

    let length: Int64
    let longest = Interval.seconds(10 * 24 * 3_600)
    private let descriptor: Int32
    private var position: Int64 = 0
    private var budget: Int64
    private var pointer: UnsafeMutablePointer<AVFormatContext>?
    private var io: UnsafeMutablePointer<AVIOContext>?
    private let isCancelled: () -> Bool
    private(set) var readError: Int32 = 0

    var context: UnsafeMutablePointer<AVFormatContext> {
        guard let pointer else { preconditionFailure("an open file") }
        return pointer
    }

    /// Bytes from the beginning that have been taken.
    var progress: Int64 { position }

    /// - Parameters:
    ///   - path: a regular file.
    ///   - analyze: look into the streams for what their heads do not say.
    ///   - limit: read no further than this, as if the file ended there.
    ///   - isCancelled: asked now and then, from within calls; true ends them with `.cancelled`.
    convenience init(
        path: String, analyze: Bool = true, limit: Int64? = nil, isCancelled: @escaping () -> Bool = { false }
    ) throws(ContainerError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw .system(errno: errno) }
        try self.init(descriptor: descriptor, analyze: analyze, limit: limit, isCancelled: isCancelled)
    }

    /// As above, of a file that is open already. The descriptor is closed in any case.
    init(
        descriptor: Int32, analyze: Bool = true, limit: Int64? = nil, isCancelled: @escaping () -> Bool = { false }
    ) throws(ContainerError) {
        LibAV.prepare()
        self.isCancelled = isCancelled
        self.descriptor = descriptor
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw .wrongFormat
        }
        length = min(limit ?? .max, Int64(status.st_size))
        budget = 0
        renewBudget()
        try openDemuxer()
        if analyze {
            let result = avformat_find_stream_info(pointer, nil)
            guard result >= 0 else { throw failure(result) }
        }
    }

    deinit {
        avformat_close_input(&pointer)
        if let io {
            av_freep(&io.pointee.buffer)
            avio_context_free(&self.io)
        }
        close(descriptor)
    }

    private func openDemuxer() throws(ContainerError) {
        guard let buffer = av_malloc(Int(Self.bufferSize)) else { throw .system(errno: ENOMEM) }
        io = avio_alloc_context(
            buffer.assumingMemoryBound(to: UInt8.self), Self.bufferSize, 0, Unmanaged.passUnretained(self).toOpaque(),
            giveBytes, nil, moveReading)
        guard let io, let made = avformat_alloc_context() else { throw .system(errno: ENOMEM) }
        made.pointee.pb = io
        made.pointee.flags |= AVFMT_FLAG_CUSTOM_IO
        made.pointee.max_streams = Self.maxStreams
        made.pointee.probesize = Self.probeBytes
        made.pointee.max_analyze_duration = Self.analyzeMicroseconds
        made.pointee.io_open = { _, _, _, _, _ in weir_averror(EPERM) }
        made.pointee.interrupt_callback.opaque = Unmanaged.passUnretained(self).toOpaque()
        made.pointee.interrupt_callback.callback = { opaque in
            guard let opaque else { return 1 }
            return Unmanaged<InputContext>.fromOpaque(opaque).takeUnretainedValue().isCancelled() ? 1 : 0
        }
        pointer = made
        var options: OpaquePointer?
        av_dict_set(&options, "format_whitelist", Self.formats, 0)
        // On failure this frees the context and sets the pointer to nil.
        let result = avformat_open_input(&pointer, nil, nil, &options)
        av_dict_free(&options)
        guard result >= 0 else { throw failure(result) }
    }

    func failure(_ result: Int32) -> ContainerError {
        if readError != 0 { return .system(errno: readError) }
        if isCancelled() { return .cancelled }
        switch ContainerError(code: result) {
        // What libav says of bytes that it does not like; reading itself has not failed.
        case .system, .library: return .wrongFormat
        case let other: return other
        }
    }

    /// For who reads the file again from its beginning.
    func renewBudget() {
        budget = max(Self.readAtLeast, length.multipliedReportingOverflow(by: Self.readFactor).partialValue)
    }

    /// The next packet, which the caller unrefs. False: the end.
    func read(into packet: UnsafeMutablePointer<AVPacket>) throws(ContainerError) -> Bool {
        let result = av_read_frame(pointer, packet)
        if result >= 0 { return true }
        if isCancelled() { throw .cancelled }
        if readError != 0 { throw .system(errno: readError) }
        if result == weir_averror_eof || budget <= 0 { return false }
        // A torn or damaged rest: what came before is good.
        return false
    }

    fileprivate func give(_ bytes: UnsafeMutablePointer<UInt8>, _ count: Int32) -> Int32 {
        if isCancelled() { return weir_averror_exit }
        let wanted = min(Int64(count), length - position)
        guard wanted > 0, budget > 0 else { return weir_averror_eof }
        while true {
            let got = pread(descriptor, bytes, Int(wanted), off_t(position))
            if got < 0 {
                if errno == EINTR { continue }
                readError = errno
                return weir_averror(errno)
            }
            guard got > 0 else { return weir_averror_eof }
            position += Int64(got)
            budget -= Int64(got)
            return Int32(got)
        }
    }

    fileprivate func move(_ offset: Int64, _ whence: Int32) -> Int64 {
        let target: (partialValue: Int64, overflow: Bool)
        switch whence & ~weir_av_seek_force {
        case weir_av_seek_size: return length
        case SEEK_SET: target = (offset, false)
        case SEEK_CUR: target = position.addingReportingOverflow(offset)
        case SEEK_END: target = length.addingReportingOverflow(offset)
        default: return Int64(weir_averror(EINVAL))
        }
        guard !target.overflow, target.partialValue >= 0 else { return Int64(weir_averror(EINVAL)) }
        position = target.partialValue
        // Each seek costs at least the buffer that is filled anew.
        budget -= Int64(Self.bufferSize) / 16
        return position
    }
}

private func giveBytes(
    _ opaque: UnsafeMutableRawPointer?, _ bytes: UnsafeMutablePointer<UInt8>?, _ count: Int32
) -> Int32 {
    guard let opaque, let bytes, count > 0 else { return weir_averror(EINVAL) }
    return Unmanaged<InputContext>.fromOpaque(opaque).takeUnretainedValue().give(bytes, count)
}

private func moveReading(_ opaque: UnsafeMutableRawPointer?, _ offset: Int64, _ whence: Int32) -> Int64 {
    guard let opaque else { return Int64(weir_averror(EINVAL)) }
    return Unmanaged<InputContext>.fromOpaque(opaque).takeUnretainedValue().move(offset, whence)
}
