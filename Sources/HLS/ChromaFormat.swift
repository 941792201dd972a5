import MediaFormats
import Wire

/// How a stream's samples are coded, for the configuration records of H.264 and H.265.
struct ChromaFormat: Hashable, Sendable {
    /// `chroma_format_idc`: 1 = 4:2:0.
    var chroma: UInt8
    var lumaDepth: UInt8
    var chromaDepth: UInt8

    /// Nil for what no decoder plays: the fields of the records have no room for it.
    init?(chroma: UInt32, lumaDepth: UInt32, chromaDepth: UInt32) {
        guard chroma <= 3, lumaDepth <= 7, chromaDepth <= 7 else { return nil }
        self.chroma = UInt8(chroma)
        self.lumaDepth = UInt8(lumaDepth) + 8
        self.chromaDepth = UInt8(chromaDepth) + 8
    }
}

extension NALUnits {
    /// From a sequence parameter set of a High profile (H.264 §7.3.2.1.1), with its header.
    static func chromaFormat(h264SPS sps: [UInt8]) -> ChromaFormat? {
        guard sps.count > 4 else { return nil }
        let span = unsafe sps.span.bytes
        var bits = BitReader(span.extracting(1..<sps.count), emulationPrevention: true)
        bits.skip(24)
        _ = bits.ue()
        let chroma = bits.ue()
        if chroma == 3 { bits.skip(1) }
        let (luma, second) = (bits.ue(), bits.ue())
        return bits.isValid ? ChromaFormat(chroma: chroma, lumaDepth: luma, chromaDepth: second) : nil
    }

    /// From a sequence parameter set (H.265 §7.3.2.2.1), with its header.
    static func chromaFormat(h265SPS sps: [UInt8]) -> ChromaFormat? {
        guard sps.count > 15 else { return nil }
        let span = unsafe sps.span.bytes
        var bits = BitReader(span.extracting(2..<sps.count), emulationPrevention: true)
        bits.skip(4)
        let subLayers = Int(bits.read(3))
        bits.skip(1 + 96)
        if subLayers > 0 {
            var behind = 0
            for _ in 0..<subLayers {
                if bits.flag() { behind += 88 }
                if bits.flag() { behind += 8 }
            }
            bits.skip(2 * (8 - subLayers) + behind)
        }
        _ = bits.ue()
        let chroma = bits.ue()
        if chroma == 3 { bits.skip(1) }
        _ = bits.ue()
        _ = bits.ue()
        if bits.flag() { for _ in 0..<4 { _ = bits.ue() } }
        let (luma, second) = (bits.ue(), bits.ue())
        return bits.isValid ? ChromaFormat(chroma: chroma, lumaDepth: luma, chromaDepth: second) : nil
    }
}
