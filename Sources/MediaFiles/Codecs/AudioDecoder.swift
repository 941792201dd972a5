import CLibAV
import MediaFormats
import MediaFrames
import Wire

/// Packets of sound to samples. One thread at a time.
final class AudioDecoder {
    private let context: CodecContext

    init(_ track: TrackDescription) throws(CodecError) {
        guard !track.isVideo else { throw .unsupported(track.codec) }
        context = try CodecContext(track.codec, isEncoder: false)
        let pointer = context.pointer
        pointer.pointee.sample_rate = Int32(clamping: track.sampleRate)
        av_channel_layout_default(&pointer.pointee.ch_layout, Int32(clamping: min(max(1, track.channels), 8)))
        pointer.pointee.pkt_timebase = weir_rational(1, 1_000_000_000)
        switch track.codec {
        // No pre-skip: what comes in the middle of a stream is sound from its first sample on.
        case .opus: try context.setExtradata(CodecConfiguration.opusHead(channels: track.channels))
        case .aac: try context.setExtradata(CodecConfiguration.extradata(for: track))
        default: break
        }
        try context.open()
    }

    /// - Returns: the packet's samples; a damaged packet gives none.
    func decode(_ frame: MediaFrame) throws(CodecError) -> [FrameBuffer] {
        do throws(CodecError) {
            try context.send(frame.data, pts: frame.time.nanoseconds)
            var decoded: [FrameBuffer] = []
            while let samples = try context.receiveFrame() { decoded.append(samples) }
            return decoded
        } catch {
            guard error.isDamagedData else { throw error }
            return []
        }
    }
}
