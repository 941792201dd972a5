import CLibAV
import MediaFormats
import MediaFrames
import Wire

/// Sound of one codec to another: Opus to AAC and back, G.711 and G.722 to either. One thread at a time; not for the media
/// threads.
///
/// Times hold: a sample is encoded under the time that it was decoded with. Encoders want samples before those that they
/// can give (AAC 1,024, Opus 312); the first frames that come out are earlier by that, so that whoever honours times plays
/// each sample when it is due. Small differences between times and samples (clocks that run apart) are stretched away
/// unheard; holes up to `longestFill` are filled with silence; longer ones stay holes; sound that overlaps is cut.
package final class AudioTranscoder {
    package struct Settings: Sendable, Equatable {
        /// Bits per second; `nil`: 64,000 per channel.
        package var bitrate: Int?
        package init(bitrate: Int? = nil) { self.bitrate = bitrate }
    }

    /// What comes out: codec, clock rate, channels and, for AAC, its configuration.
    package let output: TrackDescription

    private static let rate: Int64 = 48_000
    /// In samples. From so far on something is missing (or too much); what is below is stretched.
    private static let tolerance = rate * 15 / 1_000
    private static let longestFill = rate * 200 / 1_000
    /// Below this nothing is done: it cannot be told from rounding.
    private static let negligible = rate / 1_000
    /// Differences are spread over so many samples, and no more than one in 200 is added or left out.
    private static let stretch: Int32 = 48_000
    private static let mostStretched: Int64 = 240

    private let decoder: AudioDecoder
    private let encoder: CodecContext
    private let resampler: Resampler
    private let fifo: SampleFIFO
    private let frameSize: Int32
    private let channels: Int32
    /// Time, in samples of the output, of the next sample to come into the FIFO; `nil` before the first one.
    private var tail: Int64?
    private var stretched = false
    private var isFirst = true
    private var track = 0

    package init(from input: TrackDescription, to codec: Codec, settings: Settings = Settings()) throws(CodecError) {
        guard codec == .aac || codec == .opus else { throw .unsupported(codec) }
        decoder = try AudioDecoder(input)
        channels = input.channels >= 2 ? 2 : 1
        encoder = try CodecContext(codec, isEncoder: true)
        let pointer = encoder.pointer
        pointer.pointee.sample_rate = Int32(Self.rate)
        pointer.pointee.time_base = weir_rational(1, Int32(Self.rate))
        pointer.pointee.sample_fmt = codec == .aac ? AV_SAMPLE_FMT_FLTP : AV_SAMPLE_FMT_FLT
        pointer.pointee.bit_rate = Int64(settings.bitrate ?? 64_000 * Int(channels))
        pointer.pointee.flags |= weir_av_flag_global_header
        av_channel_layout_default(&pointer.pointee.ch_layout, channels)
        // Opus in WebRTC: 20 ms.
        try encoder.open(codec == .opus ? [("frame_duration", "20"), ("application", "audio")] : [])
        frameSize = pointer.pointee.frame_size
        resampler = Resampler(format: pointer.pointee.sample_fmt, rate: Int32(Self.rate), channels: channels)
        fifo = try SampleFIFO(format: pointer.pointee.sample_fmt, channels: channels)
        output = TrackDescription(
            codec: codec, clockRate: Int(Self.rate), channels: codec == .opus ? 2 : Int(channels),
            parameterSets: codec == .aac ? [encoder.extradata] : [])
    }

    /// Frames that the given one completes.
    package func transcode(_ frame: MediaFrame) throws(CodecError) -> [MediaFrame] {
        track = frame.track
        var out: [MediaFrame] = []
        for samples in try decoder.decode(frame) { try take(samples, at: frame.time, into: &out) }
        return out
    }

    /// The rest, filled up with silence. Nothing can be transcoded afterwards.
    package func finish() throws(CodecError) -> [MediaFrame] {
        var out: [MediaFrame] = []
        try flushFIFO(into: &out)
        try encoder.send(nil)
        try receive(into: &out)
        return out
    }

    private func take(_ samples: FrameBuffer, at time: Interval, into out: inout [MediaFrame]) throws(CodecError) {
        try resampler.prepare(samples)
        // The first sample to come out of the resampler now is older than the frame by what it holds back.
        let start = Self.samples(time) - resampler.delay
        var skip: Int64 = 0
        if let tail {
            let difference = start - tail
            if difference > Self.longestFill {
                try flushFIFO(into: &out)
                self.tail = max(start, self.tail ?? start)
            } else if difference > Self.tolerance {
                try fifo.appendSilence(Int32(difference))
                self.tail = tail + difference
            } else if difference < -Self.tolerance {
                skip = -difference
            } else {
                try follow(difference)
            }
        } else {
            tail = start
        }
        let before = fifo.count
        try resampler.convert(samples, into: fifo, skip: skip)
        tail = (tail ?? start) + Int64(fifo.count - before)
        try encodeWholeFrames(into: &out)
    }

    /// Stretches what is to come by a difference too small to be heard, if it is to be.
    private func follow(_ difference: Int64) throws(CodecError) {
        if difference.magnitude > UInt64(Self.negligible) {
            let samples = min(max(difference, -Self.mostStretched), Self.mostStretched)
            try resampler.compensate(Int32(samples), over: Self.stretch)
            stretched = true
        } else if stretched, difference.magnitude < UInt64(Self.negligible) / 2 {
            try resampler.compensate(0, over: Self.stretch)
            stretched = false
        }
    }

    private func encodeWholeFrames(into out: inout [MediaFrame]) throws(CodecError) {
        while fifo.count >= frameSize {
            let samples = try FrameBuffer(samples: frameSize, context: encoder.pointer)
            samples.pointer.pointee.pts = (tail ?? 0) - Int64(fifo.count)
            try fifo.take(into: samples)
            try encoder.send(samples)
            try receive(into: &out)
        }
    }

    /// Fills the last frame up with silence and encodes it.
    private func flushFIFO(into out: inout [MediaFrame]) throws(CodecError) {
        guard fifo.count > 0 else { return }
        let silence = frameSize - fifo.count
        try fifo.appendSilence(silence)
        tail = tail.map { $0 + Int64(silence) }
        try encodeWholeFrames(into: &out)
    }

    private func receive(into out: inout [MediaFrame]) throws(CodecError) {
        while let encoded = try encoder.receivePacket() {
            var frame = MediaFrame(
                track: track, data: encoded.data, time: Self.interval(encoded.pts),
                duration: Self.interval(Int64(frameSize)))
            if isFirst, !output.parameterSets.isEmpty { frame.parameterSets = output.parameterSets }
            isFirst = false
            out.append(frame)
        }
    }

    private static func samples(_ time: Interval) -> Int64 {
        // Times are at most some years: no overflow in two steps.
        let (seconds, rest) = time.nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
        return seconds * rate + (rest * rate + (rest < 0 ? -500_000_000 : 500_000_000)) / 1_000_000_000
    }

    private static func interval(_ samples: Int64) -> Interval {
        let (seconds, rest) = samples.quotientAndRemainder(dividingBy: rate)
        return Interval(nanoseconds: seconds &* 1_000_000_000 &+ rest * 1_000_000_000 / rate)
    }
}
