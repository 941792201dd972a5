import CLibAV
import Glibc
import Wire

/// How a source in the network is opened.
package struct NetworkOptions: Sendable {
    /// Protocols that it, and all that it leads to, may use.
    package var protocols: [String]
    /// Of the format, where it is not to be guessed.
    package var format: String?
    package var verifiesTLS = true
    package var userAgent = "Weir"
    /// Microseconds that are looked at for what the head does not say. Live sources begin later by that, if something of
    /// what they announce never comes.
    package var analysis = Interval.seconds(3)

    package init(protocols: [String]) { self.protocols = protocols }
}

/// One libavformat demuxer over a URL: owns the context. One thread.
///
/// Whoever uses it must keep connections from where they may not go, which libavformat does not ask about; only protocols
/// and formats are bounded here, in redirects and playlists, too.
final class NetworkInput: PacketInput {
    private static let formats = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,ogg,flv,live_flv,hls,aac"
    private static let maxStreams: Int32 = 64
    private static let probeBytes: Int64 = 4 << 20

    private var pointer: UnsafeMutablePointer<AVFormatContext>?
    private let isCancelled: () -> Bool
    private let verifiesTLS: Bool
    private let openUsually:
        (
            @convention(c) (
                UnsafeMutablePointer<AVFormatContext>?, UnsafeMutablePointer<UnsafeMutablePointer<AVIOContext>?>?,
                UnsafePointer<CChar>?, Int32, UnsafeMutablePointer<OpaquePointer?>?
            ) -> Int32
        )?

    let longest = Interval.seconds(10 * 365 * 24 * 3_600)

    var context: UnsafeMutablePointer<AVFormatContext> {
        guard let pointer else { preconditionFailure("an open source") }
        return pointer
    }

    /// - Parameter isCancelled: asked from within calls, at least each 100 ms but while names are looked up; true ends them
    ///   with `.cancelled`.
    init(
        url: String, options: NetworkOptions, isCancelled: @escaping () -> Bool
    ) throws(ContainerError) {
        LibAV.prepare()
        avformat_network_init()
        self.isCancelled = isCancelled
        verifiesTLS = options.verifiesTLS
        guard let made = avformat_alloc_context() else { throw .system(errno: ENOMEM) }
        openUsually = made.pointee.io_open
        pointer = made
        made.pointee.opaque = Unmanaged.passUnretained(self).toOpaque()
        made.pointee.max_streams = Self.maxStreams
        made.pointee.probesize = Self.probeBytes
        made.pointee.max_analyze_duration = options.analysis.microseconds
        // Nobody asks for the average rate of pictures, which takes twenty of them to find.
        made.pointee.fps_probe_size = 0
        made.pointee.interrupt_callback.opaque = Unmanaged.passUnretained(self).toOpaque()
        made.pointee.interrupt_callback.callback = { opaque in
            guard let opaque else { return 1 }
            return Unmanaged<NetworkInput>.fromOpaque(opaque).takeUnretainedValue().isCancelled() ? 1 : 0
        }
        // HLS gives what it opens few of the options that its playlist had.
        made.pointee.io_open = { context, io, url, flags, given in
            guard let opaque = context?.pointee.opaque else { return weir_averror(EPERM) }
            let input = Unmanaged<NetworkInput>.fromOpaque(opaque).takeUnretainedValue()
            guard let open = input.openUsually else { return weir_averror(EPERM) }
            if input.verifiesTLS, let given { av_dict_set(given, "tls_verify", "1", 0) }
            return open(context, io, url, flags, given)
        }
        var dictionary: OpaquePointer?
        defer { av_dict_free(&dictionary) }
        av_dict_set(&dictionary, "format_whitelist", Self.formats, 0)
        av_dict_set(&dictionary, "protocol_whitelist", options.protocols.joined(separator: ","), 0)
        av_dict_set(&dictionary, "user_agent", options.userAgent, 0)
        if options.verifiesTLS { av_dict_set(&dictionary, "tls_verify", "1", 0) }
        let format = options.format.flatMap { av_find_input_format($0) }
        // On failure this frees the context and sets the pointer to nil.
        var result = avformat_open_input(&pointer, url, format, &dictionary)
        guard result >= 0 else { throw failure(result) }
        result = avformat_find_stream_info(pointer, nil)
        guard result >= 0 else { throw failure(result) }
    }

    deinit { avformat_close_input(&pointer) }

    /// Name of the format, as libavformat has it: `hls`, `mpegts`.
    var formatName: String { context.pointee.iformat.map { String(cString: $0.pointee.name) } ?? "" }

    /// Only where the other side says it.
    var length: Int64 {
        guard let io = context.pointee.pb else { return 0 }
        return max(0, avio_size(io))
    }

    func renewBudget() {}

    func failure(_ result: Int32) -> ContainerError {
        isCancelled() ? .cancelled : ContainerError(code: result)
    }

    func read(into packet: UnsafeMutablePointer<AVPacket>) throws(ContainerError) -> Bool {
        while true {
            let result = av_read_frame(pointer, packet)
            if result >= 0 { return true }
            if isCancelled() { throw .cancelled }
            if result == weir_averror_eof { return false }
            guard result == weir_averror(EAGAIN) else { throw failure(result) }
        }
    }
}

extension ContainerError {
    /// The status with which a web server refused; hundreds where libavformat tells no more.
    package var httpStatus: Int? {
        guard case .library(let code) = self else { return nil }
        return switch code {
        case weir_averror_http_bad_request: 400
        case weir_averror_http_unauthorized: 401
        case weir_averror_http_forbidden: 403
        case weir_averror_http_not_found: 404
        case weir_averror_http_other_4xx: 400
        case weir_averror_http_server_error: 500
        default: nil
        }
    }
}
