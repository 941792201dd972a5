import MediaFormats
import Wire

/// Sample entries (`stsd`): how each codec describes itself in an ISO base media file.
extension BoxWriter {
    mutating func sampleEntry(_ track: OutputTrack) {
        switch track.configuration {
        case .h264(let sps, let pps):
            visual("avc1", track) { $0.avcConfiguration(sps: sps, pps: pps) }
        case .h265(let vps, let sps, let pps):
            visual("hvc1", track) { $0.hevcConfiguration(vps: vps, sps: sps, pps: pps) }
        case .vp9(let facts):
            visual("vp09", track) { $0.vpConfiguration(facts) }
        case .av1(let header, let facts):
            visual("av01", track) { $0.av1Configuration(header, facts) }
        case .opus(let channels):
            audio("Opus", channels: channels, rate: 48_000) { $0.opusConfiguration(channels: channels) }
        case .aac(let configuration, let rate, let channels):
            audio("mp4a", channels: channels, rate: rate) { $0.aacConfiguration(configuration) }
        }
    }

    /// `VisualSampleEntry` (ISO/IEC 14496-12 §12.1.3)
    private mutating func visual(
        _ type: StaticString, _ track: OutputTrack, _ configuration: (inout BoxWriter) -> Void
    ) {
        box(type) { box in
            box.zeros(6)
            box.u16(1)
            box.zeros(16)
            box.u16(UInt16(clamping: track.size?.width ?? 0))
            box.u16(UInt16(clamping: track.size?.height ?? 0))
            // 72 dots per inch, both ways
            box.u32(0x48_0000)
            box.u32(0x48_0000)
            box.u32(0)
            box.u16(1)
            box.zeros(32)
            box.u16(24)
            box.u16(0xffff)
            configuration(&box)
        }
    }

    /// `AudioSampleEntry` (ISO/IEC 14496-12 §12.2.3)
    private mutating func audio(
        _ type: StaticString, channels: Int, rate: Int, _ configuration: (inout BoxWriter) -> Void
    ) {
        box(type) { box in
            box.zeros(6)
            box.u16(1)
            box.zeros(8)
            box.u16(UInt16(clamping: channels))
            box.u16(16)
            box.zeros(4)
            box.u32(UInt32(clamping: rate) << 16)
            configuration(&box)
        }
    }

    /// `AVCDecoderConfigurationRecord` (ISO/IEC 14496-15 §5.3.3.1)
    private mutating func avcConfiguration(sps: [[UInt8]], pps: [[UInt8]]) {
        box("avcC") { box in
            let first = sps[0]
            box.u8(1)
            box.raw(first[1..<4])
            box.u8(0xfc | 3)
            box.u8(0xe0 | UInt8(sps.count))
            for set in sps { box.parameterSet(set) }
            box.u8(UInt8(pps.count))
            for set in pps { box.parameterSet(set) }
            // The profiles above Baseline, Main and Extended say how their samples are coded.
            if ![66, 77, 88].contains(first[1]), let format = NALUnits.chromaFormat(h264SPS: first) {
                box.u8(0xfc | format.chroma)
                box.u8(0xf8 | (format.lumaDepth - 8))
                box.u8(0xf8 | (format.chromaDepth - 8))
                box.u8(0)
            }
        }
    }

    private mutating func parameterSet(_ set: [UInt8]) {
        u16(UInt16(clamping: set.count))
        raw(set)
    }

    /// `HEVCDecoderConfigurationRecord` (ISO/IEC 14496-15 §8.3.3.1)
    private mutating func hevcConfiguration(vps: [[UInt8]], sps: [[UInt8]], pps: [[UInt8]]) {
        box("hvcC") { box in
            let format = NALUnits.chromaFormat(h265SPS: sps[0])
            box.u8(1)
            box.raw(H265Profile(sps: sps[0])?.bytes ?? [])
            // min_spatial_segmentation_idc, parallelismType: not known
            box.u16(0xf000)
            box.u8(0xfc)
            box.u8(0xfc | (format?.chroma ?? 1))
            box.u8(0xf8 | ((format?.lumaDepth ?? 8) - 8))
            box.u8(0xf8 | ((format?.chromaDepth ?? 8) - 8))
            // avgFrameRate: not known
            box.u16(0)
            // One temporal layer, NAL units behind lengths of four bytes
            box.u8(1 << 3 | 1 << 2 | 3)
            let groups: [(type: UInt8, sets: [[UInt8]])] = [(32, vps), (33, sps), (34, pps)]
            box.u8(UInt8(groups.count))
            for group in groups {
                box.u8(0x80 | group.type)
                box.u16(UInt16(group.sets.count))
                for set in group.sets { box.parameterSet(set) }
            }
        }
    }

    /// VP Codec ISO Media File Format Binding
    private mutating func vpConfiguration(_ facts: VP9Facts) {
        fullBox("vpcC", version: 1) { box in
            box.u8(facts.profile)
            box.u8(facts.level)
            box.u8(facts.bitDepth << 4 | facts.chroma << 1 | (facts.isFullRange ? 1 : 0))
            // Colour primaries, transfer, matrix: unspecified
            box.raw([2, 2, 2])
            box.u16(0)
        }
    }

    /// AV1 Codec ISO Media File Format Binding §2.3
    private mutating func av1Configuration(_ header: [UInt8], _ facts: AV1Facts) {
        box("av1C") { box in
            box.u8(0x81)
            box.u8(facts.profile << 5 | facts.level)
            var flags: UInt8 = facts.isHighTier ? 0x80 : 0
            if facts.isHighBitDepth { flags |= 0x40 }
            if facts.isTwelveBit { flags |= 0x20 }
            if facts.isMonochrome { flags |= 0x10 }
            if facts.subsamplingX { flags |= 0x08 }
            if facts.subsamplingY { flags |= 0x04 }
            box.u8(flags | facts.chromaPosition)
            box.u8(0)
            box.raw(header)
        }
    }

    /// Encapsulation of Opus in ISO Base Media File Format §4.3.2. No pre-skip: a live stream has no beginning to drop.
    private mutating func opusConfiguration(channels: Int) {
        box("dOps") { box in
            box.u8(0)
            box.u8(UInt8(clamping: channels))
            box.u16(0)
            box.u32(48_000)
            box.u16(0)
            box.u8(0)
        }
    }

    /// `ESDBox` (ISO/IEC 14496-14 §6.7.2) around the `AudioSpecificConfig`.
    private mutating func aacConfiguration(_ configuration: [UInt8]) {
        fullBox("esds") { box in
            let length = UInt8(clamping: configuration.count)
            // ES_Descriptor: no dependencies
            box.raw([3, 23 &+ length, 0, 0, 0])
            // DecoderConfigDescriptor: MPEG-4 audio, an audio stream; sizes and rates not known
            box.raw([4, 15 &+ length, 0x40, 0x15])
            box.zeros(11)
            box.raw([5, length])
            box.raw(configuration)
            // SLConfigDescriptor: as in MP4 files
            box.raw([6, 1, 2])
        }
    }
}
