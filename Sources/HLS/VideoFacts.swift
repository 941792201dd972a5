import MediaFormats
import Wire

/// What the header of a VP9 key frame says about its stream (VP9 bitstream specification §6.2), for `vpcC` and `CODECS`.
package struct VP9Facts: Sendable, Hashable {
    package var profile: UInt8
    /// Ten times the level: 31 is level 3.1.
    package var level: UInt8
    /// 8, 10 or 12.
    package var bitDepth: UInt8
    /// As `vpcC` counts: 1 = 4:2:0 with samples together, 2 = 4:2:2, 3 = 4:4:4.
    package var chroma: UInt8
    package var isFullRange: Bool

    /// Largest luma picture, in samples, per level (VP9 levels and bitrates).
    private static let levels: [(level: UInt8, samples: Int)] = [
        (10, 36_864), (11, 73_728), (20, 122_880), (21, 245_760), (30, 552_960), (31, 983_040), (40, 2_228_224),
        (50, 8_912_896), (60, 35_651_584),
    ]

    package init?(keyFrame: RawSpan) {
        guard let size = VP9.keyFrameSize(keyFrame) else { return nil }
        var bits = BitReader(keyFrame)
        bits.skip(2)
        let low = bits.read(1)
        profile = UInt8(truncatingIfNeeded: bits.read(1) << 1 | low)
        if profile == 3 { bits.skip(1) }
        // show_existing_frame, frame_type, show_frame, error_resilient_mode, frame_sync_code
        bits.skip(4 + 24)
        bitDepth = profile >= 2 ? (bits.flag() ? 12 : 10) : 8
        let colorSpace = bits.read(3)
        chroma = 1
        if colorSpace == 7 {
            isFullRange = true
            chroma = 3
        } else {
            isFullRange = bits.flag()
            if profile & 1 == 1 {
                let (x, y) = (bits.flag(), bits.flag())
                chroma = x ? (y ? 1 : 2) : 3
            }
        }
        guard bits.isValid else { return nil }
        let samples = size.width * size.height
        level = (Self.levels.first { samples <= $0.samples } ?? Self.levels[Self.levels.count - 1]).level
    }

    var name: String { "vp09.\(twoDigits(profile)).\(twoDigits(level)).\(twoDigits(bitDepth))" }
}

/// What a sequence header of AV1 says (AV1 specification §5.5), for `av1C` and `CODECS`.
package struct AV1Facts: Sendable, Hashable {
    package var profile: UInt8 = 0
    package var level: UInt8 = 0
    package var isHighTier = false
    package var isHighBitDepth = false
    package var isTwelveBit = false
    package var isMonochrome = false
    package var subsamplingX = true
    package var subsamplingY = true
    package var chromaPosition: UInt8 = 0

    /// - Parameter obu: with its header, with or without its size field.
    package init?(sequenceHeader obu: RawSpan) {
        guard obu.byteCount > 2, AV1.type(obu[0]) == AV1.OBUType.sequenceHeader else { return nil }
        var at = obu[0] & 0x04 != 0 ? 2 : 1
        if obu[0] & 0x02 != 0 { guard AV1.leb128(obu, &at) != nil else { return nil } }
        guard at < obu.byteCount else { return nil }
        var bits = BitReader(obu.extracting(at..<obu.byteCount))
        profile = UInt8(truncatingIfNeeded: bits.read(3))
        bits.skip(1)
        let isReduced = bits.flag()
        if isReduced { level = UInt8(truncatingIfNeeded: bits.read(5)) } else { readOperatingPoints(&bits) }
        let widthBits = Int(bits.read(4)) + 1
        let heightBits = Int(bits.read(4)) + 1
        bits.skip(widthBits + heightBits)
        readTools(&bits, isReduced: isReduced)
        readColor(&bits)
        guard bits.isValid else { return nil }
    }

    private mutating func readOperatingPoints(_ bits: inout BitReader) {
        var hasDecoderModel = false
        var delayBits = 0
        if bits.flag() {
            bits.skip(64)
            if bits.flag() { Self.skipUVLC(&bits) }
            hasDecoderModel = bits.flag()
            if hasDecoderModel {
                delayBits = Int(bits.read(5)) + 1
                bits.skip(32 + 5 + 5)
            }
        }
        let hasDisplayDelay = bits.flag()
        for point in 0...bits.read(5) where bits.isValid {
            bits.skip(12)
            let index = UInt8(truncatingIfNeeded: bits.read(5))
            let tier = index > 7 && bits.flag()
            // The first operating point is the whole stream.
            if point == 0 { (level, isHighTier) = (index, tier) }
            if hasDecoderModel, bits.flag() { bits.skip(2 * delayBits + 1) }
            if hasDisplayDelay, bits.flag() { bits.skip(4) }
        }
    }

    /// The coding tools between the picture's size and its colours.
    private func readTools(_ bits: inout BitReader, isReduced: Bool) {
        if !isReduced, bits.flag() { bits.skip(4 + 3) }
        bits.skip(3)
        if !isReduced {
            bits.skip(4)
            let hasOrderHint = bits.flag()
            if hasOrderHint { bits.skip(2) }
            let selectsScreenContentTools = bits.flag()
            let forcesScreenContentTools = selectsScreenContentTools || bits.flag()
            // seq_choose_integer_mv; without it, seq_force_integer_mv follows.
            if forcesScreenContentTools, !bits.flag() { bits.skip(1) }
            if hasOrderHint { bits.skip(3) }
        }
        bits.skip(3)
    }

    private mutating func readColor(_ bits: inout BitReader) {
        isHighBitDepth = bits.flag()
        isTwelveBit = profile == 2 && isHighBitDepth && bits.flag()
        isMonochrome = profile != 1 && bits.flag()
        var matrix: UInt32 = 2
        var primaries: UInt32 = 2
        var transfer: UInt32 = 2
        if bits.flag() { (primaries, transfer, matrix) = (bits.read(8), bits.read(8), bits.read(8)) }
        if isMonochrome { return bits.skip(2) }
        // sRGB (primaries 1, transfer 13, matrix 0) is 4:4:4 at full range without a word.
        if primaries == 1, transfer == 13, matrix == 0 {
            (subsamplingX, subsamplingY) = (false, false)
        } else {
            bits.skip(1)
            switch profile {
            case 0: break
            case 1: (subsamplingX, subsamplingY) = (false, false)
            default:
                subsamplingX = isTwelveBit ? bits.flag() : true
                subsamplingY = isTwelveBit && subsamplingX && bits.flag()
            }
            if subsamplingX, subsamplingY { chromaPosition = UInt8(truncatingIfNeeded: bits.read(2)) }
        }
        bits.skip(1)
    }

    private static func skipUVLC(_ bits: inout BitReader) {
        var zeros = 0
        while bits.isValid, !bits.flag(), zeros < 32 { zeros += 1 }
        if zeros < 32 { bits.skip(zeros) }
    }

    /// AV1 codec ISO media file format binding §5, for example `av01.0.04M.08`.
    var name: String {
        let depth: UInt8 = isTwelveBit ? 12 : isHighBitDepth ? 10 : 8
        return "av01.\(profile).\(twoDigits(level))\(isHighTier ? "H" : "M").\(twoDigits(depth))"
    }
}

private func twoDigits(_ number: UInt8) -> String { number < 10 ? "0\(number)" : "\(number)" }
