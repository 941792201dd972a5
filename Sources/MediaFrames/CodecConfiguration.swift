import MediaFormats

/// What decoders and files want to know of a track before its first frame: FFmpeg's `extradata`.
package enum CodecConfiguration {
    /// Samples at 48 kHz that an Opus decoder's output is behind, of libopus at its defaults (6.5 ms).
    package static let opusPreSkip: UInt16 = 312

    /// H264 and H265: the parameter sets in Annex B form. AV1: the sequence header OBU. Opus: `OpusHead` (RFC 7845
    /// §5.1). AAC: `AudioSpecificConfig`. Else nothing is needed.
    ///
    /// - Parameter parameterSets: those of the frame from which on it is to hold; by default those of the description.
    package static func extradata(for track: TrackDescription, parameterSets: [[UInt8]]? = nil) -> [UInt8] {
        let sets = parameterSets ?? track.parameterSets
        return switch track.codec {
        case .h264, .h265: sets.flatMap { PictureBuilder.startCode + $0 }
        case .av1, .aac: sets.first ?? []
        case .opus: opusHead(channels: track.channels)
        case .vp8, .vp9, .pcmu, .pcma, .g722: []
        }
    }

    /// Identification header of Opus without the mapping of more than two channels. What is recorded live begins in the
    /// middle of a stream: whatever its decoder gives first has been sound already, so nothing is to be skipped.
    ///
    /// - Parameter preSkip: samples at 48 kHz to be thrown away at the beginning.
    package static func opusHead(channels: Int, preSkip: UInt16 = 0) -> [UInt8] {
        let rate: UInt32 = 48_000
        var head = Array("OpusHead".utf8) + [1, UInt8(clamping: min(max(1, channels), 2))]
        head += [UInt8(truncatingIfNeeded: preSkip), UInt8(truncatingIfNeeded: preSkip >> 8)]
        head += (0..<4).map { UInt8(truncatingIfNeeded: rate >> (8 * UInt32($0))) }
        // Gain 0, mapping family 0.
        return head + [0, 0, 0]
    }

    /// `AudioSpecificConfig` of AAC-LC (ISO/IEC 14496-3 §1.6.2.1); `nil` for a rate that has no index.
    package static func audioSpecificConfig(sampleRate: Int, channels: Int) -> [UInt8]? {
        let rates = [
            96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350,
        ]
        guard let index = rates.firstIndex(of: sampleRate), (1...7).contains(channels) else { return nil }
        let lowComplexity: UInt16 = 2
        let bits = lowComplexity << 11 | UInt16(index) << 7 | UInt16(channels) << 3
        return [UInt8(bits >> 8), UInt8(bits & 0xff)]
    }
}
