import CLibAV
import Wire

/// What a `Demuxer` reads packets from: an opened libavformat context. One thread.
protocol PacketInput: AnyObject {
    var context: UnsafeMutablePointer<AVFormatContext> { get }
    /// Bytes of the file; 0 where that is not known.
    var length: Int64 { get }
    /// Timestamps that are further from the beginning are damage.
    var longest: Interval { get }
    /// The next packet, which the caller unrefs. False: the end.
    func read(into packet: UnsafeMutablePointer<AVPacket>) throws(ContainerError) -> Bool
    /// It is read again from its beginning.
    func renewBudget()
    /// What a result of libavformat means here.
    func failure(_ result: Int32) -> ContainerError
}
