import CLibAV
import Glibc

/// One libavcodec bitstream filter: packets of one form in, of another out. One thread.
final class BitstreamFilter {
    private var context: UnsafeMutablePointer<AVBSFContext>?

    /// - Parameters:
    ///   - name: of the filter; libavcodec without it is a broken installation, told as `.library`.
    ///   - stream: whose packets are to be filtered.
    init(_ name: String, for stream: UnsafeMutablePointer<AVStream>) throws(ContainerError) {
        guard let filter = av_bsf_get_by_name(name) else { throw .library(code: weir_averror(ENOSYS)) }
        guard av_bsf_alloc(filter, &context) >= 0, let context else { throw .system(errno: ENOMEM) }
        guard avcodec_parameters_copy(context.pointee.par_in, stream.pointee.codecpar) >= 0 else {
            throw .system(errno: ENOMEM)
        }
        context.pointee.time_base_in = stream.pointee.time_base
        let result = av_bsf_init(context)
        guard result >= 0 else { throw .wrongFormat }
    }

    deinit { av_bsf_free(&context) }

    /// Configuration of what comes out.
    var extradata: [UInt8] { context?.pointee.par_out?.extradataBytes ?? [] }

    /// Takes the packet's contents; `receive` then gives what becomes of them. False: the filter cannot read it.
    func send(_ packet: UnsafeMutablePointer<AVPacket>) -> Bool {
        let taken = av_bsf_send_packet(context, packet) >= 0
        if !taken { av_packet_unref(packet) }
        return taken
    }

    /// False: nothing more until the next `send`.
    func receive(into packet: UnsafeMutablePointer<AVPacket>) -> Bool { av_bsf_receive_packet(context, packet) >= 0 }

    /// Forgets what is inside, after a seek.
    func flush() { av_bsf_flush(context) }
}
