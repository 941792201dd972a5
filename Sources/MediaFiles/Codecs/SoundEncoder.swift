import CLibAV
import MediaFormats
import MediaFrames
import Wire

/// Stereo at 48 kHz to AAC or Opus, for files. One thread at a time; not for the media threads.
///
/// Encoders begin with samples that nobody gave them. They are given silence to fill these up to whole frames, which are
/// left out: the first frame that comes out begins at zero with the first sample.
package final class SoundEncoder {
    package static let rate = 48_000
    package static let channels = 2

    package let output: TrackDescription

    private let encoder: CodecContext
    private let frameSize: Int
    private var pending: [Float]
    /// Time of the first pending sample, in samples.
    private var position: Int64
    private var isFirst = true

    package init(_ codec: Codec, bitrate: Int = 128_000) throws(CodecError) {
        guard codec == .aac || codec == .opus else { throw .unsupported(codec) }
        encoder = try CodecContext(codec, isEncoder: true)
        let pointer = encoder.pointer
        pointer.pointee.sample_rate = Int32(Self.rate)
        pointer.pointee.time_base = weir_rational(1, Int32(Self.rate))
        pointer.pointee.sample_fmt = codec == .aac ? AV_SAMPLE_FMT_FLTP : AV_SAMPLE_FMT_FLT
        pointer.pointee.bit_rate = Int64(bitrate)
        pointer.pointee.flags |= weir_av_flag_global_header
        av_channel_layout_default(&pointer.pointee.ch_layout, Int32(Self.channels))
        try encoder.open(codec == .opus ? [("frame_duration", "20"), ("application", "audio")] : [])
        frameSize = max(1, Int(pointer.pointee.frame_size))
        let delay = max(0, Int(pointer.pointee.initial_padding))
        let leadIn = (frameSize - delay % frameSize) % frameSize
        pending = Array(repeating: 0, count: leadIn * Self.channels)
        position = Int64(-leadIn)
        output = TrackDescription(
            codec: codec, clockRate: Self.rate, channels: Self.channels,
            parameterSets: codec == .aac ? [encoder.extradata] : [])
    }

    /// - Parameter samples: interleaved, following those given before.
    package func encode(_ samples: [Float]) throws(CodecError) -> [MediaFrame] {
        pending += samples
        var frames: [MediaFrame] = []
        var taken = 0
        while pending.count - taken >= frameSize * Self.channels {
            try send(pending[taken..<(taken + frameSize * Self.channels)])
            taken += frameSize * Self.channels
            try receive(into: &frames)
        }
        pending.removeFirst(taken)
        return frames
    }

    /// The rest, filled up with silence. Nothing can be encoded afterwards.
    package func finish() throws(CodecError) -> [MediaFrame] {
        var frames: [MediaFrame] = []
        let missing = (frameSize * Self.channels - pending.count % (frameSize * Self.channels))
        if !pending.isEmpty { frames += try encode(Array(repeating: 0, count: missing)) }
        try encoder.send(nil)
        try receive(into: &frames)
        return frames
    }

    private func send(_ samples: ArraySlice<Float>) throws(CodecError) {
        let buffer = try FrameBuffer(samples: Int32(frameSize), context: encoder.pointer)
        guard let planes = buffer.pointer.pointee.extended_data else { throw .outOfMemory }
        let isPlanar = encoder.pointer.pointee.sample_fmt == AV_SAMPLE_FMT_FLTP
        let first = samples.startIndex
        for plane in 0..<(isPlanar ? Self.channels : 1) {
            guard let bytes = planes[plane] else { throw .outOfMemory }
            let step = isPlanar ? Self.channels : 1
            let count = samples.count / step
            UnsafeMutableRawPointer(bytes).withMemoryRebound(to: Float.self, capacity: count) { target in
                for index in 0..<count { target[index] = samples[first + plane + index * step] }
            }
        }
        buffer.pointer.pointee.pts = position
        position += Int64(frameSize)
        try encoder.send(buffer)
    }

    private func receive(into frames: inout [MediaFrame]) throws(CodecError) {
        while let encoded = try encoder.receivePacket() {
            guard encoded.pts >= 0 else { continue }
            let (seconds, rest) = encoded.pts.quotientAndRemainder(dividingBy: Int64(Self.rate))
            var frame = MediaFrame(
                track: 0, data: encoded.data,
                time: .nanoseconds(seconds * 1_000_000_000 + rest * 1_000_000_000 / Int64(Self.rate)),
                duration: .nanoseconds(Int64(frameSize) * 1_000_000_000 / Int64(Self.rate)))
            if isFirst, !output.parameterSets.isEmpty { frame.parameterSets = output.parameterSets }
            isFirst = false
            frames.append(frame)
        }
    }
}
