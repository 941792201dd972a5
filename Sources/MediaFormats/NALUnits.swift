import Wire

/// Kinds of NAL units and what their first bits say, for H.264 (table 7-1) and H.265 (table 7-1).
package enum NALUnits {
    package enum Kind: Sendable, Hashable {
        /// A part of a picture that others must come before.
        case slice
        /// A part of a picture that a decoder can begin with (IDR; H265: all random access points).
        case keySlice
        case videoParameterSet, sequenceParameterSet, pictureParameterSet
        /// Supplemental information and all else that belongs to a picture.
        case other
        /// Access unit delimiter or filler data: nothing that a frame must keep.
        case noise

        package var isParameterSet: Bool {
            switch self {
            case .videoParameterSet, .sequenceParameterSet, .pictureParameterSet: true
            case .slice, .keySlice, .other, .noise: false
            }
        }
        package var isSlice: Bool { self == .slice || self == .keySlice }
    }

    /// - Parameter header: the first byte of the NAL unit.
    package static func kind(h264 header: UInt8) -> Kind {
        switch header & 0x1f {
        case 1...4: .slice
        case 5: .keySlice
        case 7: .sequenceParameterSet
        case 8: .pictureParameterSet
        case 9, 12: .noise
        default: .other
        }
    }

    /// - Parameter header: the first byte of the NAL unit.
    package static func kind(h265 header: UInt8) -> Kind {
        switch header >> 1 & 0x3f {
        case 0...15: .slice
        case 16...23: .keySlice
        case 32: .videoParameterSet
        case 33: .sequenceParameterSet
        case 34: .pictureParameterSet
        case 35, 38: .noise
        default: .other
        }
    }

    package static func kind(_ codec: Codec, _ header: UInt8) -> Kind {
        codec == .h265 ? kind(h265: header) : kind(h264: header)
    }

    /// Number of a parameter set among those of its kind: a later one with the same number replaces it. `nil` if the
    /// bytes are no parameter set.
    ///
    /// - Parameter nal: the NAL unit with its header.
    package static func parameterSetID(_ codec: Codec, _ nal: RawSpan) -> UInt32? {
        guard nal.byteCount > 2 else { return nil }
        let kind = kind(codec, nal[0])
        var bits = BitReader(nal.extracting((codec == .h265 ? 2 : 1)..<nal.byteCount), emulationPrevention: true)
        let id: UInt32
        switch kind {
        case .videoParameterSet: id = bits.read(4)
        case .sequenceParameterSet:
            if codec == .h265 { H265.skipProfile(&bits) } else { bits.skip(24) }
            id = bits.ue()
        case .pictureParameterSet: id = bits.ue()
        case .slice, .keySlice, .other, .noise: return nil
        }
        return bits.isValid ? id : nil
    }

    /// Whether an H.264 slice refers to no other picture: `slice_type` I or SI (H.264 §7.4.3).
    ///
    /// - Parameter nal: the NAL unit with its header, or its beginning.
    package static func isIntra(h264Slice nal: RawSpan) -> Bool {
        guard nal.byteCount > 1 else { return false }
        var bits = BitReader(nal.extracting(1..<nal.byteCount), emulationPrevention: true)
        _ = bits.ue()
        let type = bits.ue() % 5
        return bits.isValid && (type == 2 || type == 4)
    }

    /// Size that a sequence parameter set announces.
    package static func size(_ codec: Codec, sequenceParameterSet nal: RawSpan) -> VideoSize? {
        codec == .h265 ? H265.size(ofSPS: nal) : H264.size(ofSPS: nal)
    }

    /// How many pictures may come before one that is shown earlier, as a sequence parameter set says: 0 means that
    /// pictures are shown in the order in which they come. `nil`: it does not say.
    package static func reorderedPictures(_ codec: Codec, sequenceParameterSet nal: RawSpan) -> Int? {
        codec == .h265
            ? H265.reorderedPictures(ofSPS: nal) : H264.SequenceParameterSet(parsing: nal)?.reorderedPictures
    }

    /// Whether an H.264 slice may refer to pictures that are shown later: `slice_type` B (H.264 §7.4.3).
    ///
    /// - Parameter nal: the NAL unit with its header, or its beginning.
    package static func isBidirectional(h264Slice nal: RawSpan) -> Bool {
        guard nal.byteCount > 1 else { return false }
        var bits = BitReader(nal.extracting(1..<nal.byteCount), emulationPrevention: true)
        _ = bits.ue()
        let type = bits.ue() % 5
        return bits.isValid && type == 1
    }

    /// NAL units of a byte stream (H.264 Annex B): what lies between start codes of three or four bytes, without zero
    /// bytes behind it. Anything before the first start code is not a unit.
    package static func ranges(annexB bytes: RawSpan) -> [Range<Int>] {
        var ranges: [Range<Int>] = []
        var start: Int?
        var at = 0
        func close(_ start: Int, _ end: Int) {
            var end = end
            while end > start, bytes[end - 1] == 0 { end -= 1 }
            if end > start { ranges.append(start..<end) }
        }
        while at + 3 <= bytes.byteCount {
            // The third byte tells how far the next start code is away at least.
            let third = bytes[at + 2]
            if third > 1 {
                at += 3
            } else if third == 1, bytes[at] == 0, bytes[at + 1] == 0 {
                if let start { close(start, at) }
                at += 3
                start = at
            } else {
                at += 1
            }
        }
        if let start { close(start, bytes.byteCount) }
        return ranges
    }
}
