import Wire

/// H.265 payloads (RFC 7798) and the sequence parameter set (H.265 §7.3.2.2).
enum H265 {
    private static let irap: ClosedRange<UInt8> = 16...21
    private static let vps: UInt8 = 32
    private static let sps: UInt8 = 33
    private static let aggregation: UInt8 = 48
    private static let fragmentation: UInt8 = 49

    static func inspect(_ payload: RawSpan, _ facts: inout RTPPayloadFacts) {
        let count = payload.byteCount
        guard count > 2 else { return }
        switch payload[0] >> 1 & 0x3f {
        case aggregation:
            var at = 2
            while at + 2 < count {
                let length = Int(payload.loadBigEndian(at: at, as: UInt16.self))
                guard length > 2, at + 2 + length <= count else { return }
                unit(payload.extracting((at + 2)..<(at + 2 + length)), &facts)
                at += 2 + length
            }
        case fragmentation:
            guard count > 3, payload[2] & 0x80 != 0 else { return }
            begin(payload[2] & 0x3f, firstByte: payload[3], &facts)
        case 50: break
        default: unit(payload, &facts)
        }
    }

    private static func unit(_ nal: RawSpan, _ facts: inout RTPPayloadFacts) {
        let type = nal[0] >> 1 & 0x3f
        begin(type, firstByte: nal.byteCount > 2 ? nal[2] : 0, &facts)
        if type == sps, let size = size(ofSPS: nal) { facts.size = size }
    }

    private static func begin(_ type: UInt8, firstByte: UInt8, _ facts: inout RTPPayloadFacts) {
        switch type {
        case vps, sps:
            facts.isKeyFrameStart = true
            facts.isFrameStart = true
            facts.hasParameterSets = true
        case irap:
            facts.isKeyFrameStart = true
            // first_slice_segment_in_pic_flag
            if firstByte & 0x80 != 0 { facts.isFrameStart = true }
        case 0...31: if firstByte & 0x80 != 0 { facts.isFrameStart = true }
        default: break
        }
    }

    static func size(ofSPS nal: RawSpan) -> VideoSize? {
        guard nal.byteCount > 3 else { return nil }
        var bits = BitReader(nal.extracting(2..<nal.byteCount), emulationPrevention: true)
        skipProfile(&bits)
        _ = bits.ue()
        let chroma = bits.ue()
        if chroma == 3 { bits.skip(1) }
        let width = bits.ue()
        let height = bits.ue()
        var crop: (left: UInt32, right: UInt32, top: UInt32, bottom: UInt32) = (0, 0, 0, 0)
        if bits.flag() { crop = (bits.ue(), bits.ue(), bits.ue(), bits.ue()) }
        guard bits.isValid, width < 65_536, height < 65_536, crop.left < 65_536, crop.right < 65_536,
            crop.top < 65_536, crop.bottom < 65_536
        else { return nil }
        let unitX = chroma == 1 || chroma == 2 ? 2 : 1
        let unitY = chroma == 1 ? 2 : 1
        let size = VideoSize(
            width: Int(width) - unitX * Int(crop.left + crop.right),
            height: Int(height) - unitY * Int(crop.top + crop.bottom))
        return size.width > 0 && size.height > 0 ? size : nil
    }

    /// How many pictures may come before one that is shown earlier, of the highest sub-layer
    /// (`sps_max_num_reorder_pics`); 0: pictures are shown in the order in which they come.
    static func reorderedPictures(ofSPS nal: RawSpan) -> Int? {
        guard nal.byteCount > 3 else { return nil }
        let subLayers = Int(nal[2] >> 1 & 7)
        var bits = BitReader(nal.extracting(2..<nal.byteCount), emulationPrevention: true)
        skipProfile(&bits)
        _ = bits.ue()
        if bits.ue() == 3 { bits.skip(1) }
        _ = bits.ue()
        _ = bits.ue()
        if bits.flag() { for _ in 0..<4 { _ = bits.ue() } }
        for _ in 0..<3 { _ = bits.ue() }
        var count: UInt32 = 0
        for _ in (bits.flag() ? 0 : subLayers)...subLayers {
            _ = bits.ue()
            count = bits.ue()
            _ = bits.ue()
        }
        return bits.isValid && count <= 16 ? Int(count) : nil
    }

    /// What comes before the number of a sequence parameter set: its video parameter set, layers, and
    /// profile_tier_level (H.265 §7.3.3).
    static func skipProfile(_ bits: inout BitReader) {
        bits.skip(4)
        let subLayers = Int(bits.read(3))
        bits.skip(1)
        // 88 bits of profile and 8 of level, then the same for sub-layers that have them.
        bits.skip(96)
        guard subLayers > 0 else { return }
        var skipped = 0
        for _ in 0..<subLayers {
            if bits.flag() { skipped += 88 }
            if bits.flag() { skipped += 8 }
        }
        bits.skip(2 * (8 - subLayers))
        bits.skip(skipped)
    }
}
