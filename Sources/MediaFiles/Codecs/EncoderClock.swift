import MediaFormats
import Wire

/// Times of pictures as our encoders count them.
enum EncoderClock {
    /// Per second: the clock of RTP video (RFC 6184 §8.1).
    static let ticksPerSecond: Int64 = 90_000

    static func ticks(_ time: Interval) -> Int64 {
        let (seconds, rest) = time.nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
        return seconds * ticksPerSecond + rest * ticksPerSecond / 1_000_000_000
    }
}

extension NALUnits {
    /// The parameter sets of an H264 picture in Annex B form, without start codes.
    static func h264ParameterSets(annexB data: [UInt8]) -> [[UInt8]] {
        ranges(annexB: data.span.bytes)
            .filter { kind(h264: data[$0.lowerBound]).isParameterSet }
            .map { Array(data[$0]) }
    }
}
