import CLibAV
import MediaFormats
import Wire

/// Uncompressed sound: 32-bit floats from -1 to 1.
package struct PCM: Sendable, Equatable {
    /// Of the first sample.
    package var time: Interval
    package var rate: Int
    package var channels: Int
    /// Interleaved: `channels` values per moment.
    package var samples: [Float]

    package init(time: Interval, rate: Int, channels: Int, samples: [Float]) {
        self.time = time
        self.rate = rate
        self.channels = channels
        self.samples = samples
    }
}

/// Packets of sound to uncompressed sound of a fixed rate and number of channels: what a mixer adds up. One thread at a
/// time; not for the media threads.
package final class PCMDecoder {
    private let decoder: AudioDecoder
    private let resampler: Resampler
    private let fifo: SampleFIFO
    private let rate: Int
    private let channels: Int

    /// - Parameters:
    ///   - rate: samples per second of what comes out.
    ///   - channels: 1 or 2.
    package init(_ track: TrackDescription, rate: Int = 48_000, channels: Int = 2) throws(CodecError) {
        decoder = try AudioDecoder(track)
        self.rate = rate
        self.channels = min(max(1, channels), 2)
        resampler = Resampler(
            format: AV_SAMPLE_FMT_FLT, rate: Int32(clamping: rate), channels: Int32(self.channels))
        fifo = try SampleFIFO(format: AV_SAMPLE_FMT_FLT, channels: Int32(self.channels))
    }

    /// A damaged packet gives nothing. What the resampler holds back comes with the next packet.
    package func decode(_ frame: MediaFrame) throws(CodecError) -> PCM? {
        var time: Interval?
        for decoded in try decoder.decode(frame) {
            try resampler.prepare(decoded)
            // Decoders with a delay of their own say so by the time of what they give.
            let stamp = decoded.pointer.pointee.pts
            let start = Interval(nanoseconds: stamp == weir_av_nopts ? frame.time.nanoseconds : stamp)
            time = time ?? start - .nanoseconds(resampler.delay * 1_000_000_000 / Int64(max(1, rate)))
            try resampler.convert(decoded, into: fifo)
        }
        guard let time, fifo.count > 0 else { return nil }
        return PCM(time: time, rate: rate, channels: channels, samples: try fifo.takeFloats())
    }
}

extension SampleFIFO {
    /// All samples, of a FIFO of interleaved floats.
    func takeFloats() throws(CodecError) -> [Float] {
        let count = Int(self.count) * Int(channels)
        var result = Int32(0)
        let samples = [Float](unsafeUninitializedCapacity: count) { buffer, initialized in
            var planes: [UnsafeMutableRawPointer?] = [UnsafeMutableRawPointer(buffer.baseAddress)]
            result = av_audio_fifo_read(pointer, &planes, self.count)
            initialized = result < 0 ? 0 : Int(result) * Int(channels)
        }
        try checked("take sound", result)
        return samples
    }
}
