import Wire

extension H264 {
    /// What a sequence parameter set says of the pictures (H.264 §7.3.2.1.1, §E.1.1).
    package struct SequenceParameterSet: Sendable, Equatable {
        package var size: VideoSize
        /// How many pictures may come before one that is shown earlier: 0 means that pictures are shown in the order in
        /// which they come. `nil`: it does not say.
        package var reorderedPictures: Int?

        /// - Parameter nal: the NAL unit with its header byte.
        package init?(parsing nal: RawSpan) {
            guard nal.byteCount > 4 else { return nil }
            var bits = BitReader(nal.extracting(1..<nal.byteCount), emulationPrevention: true)
            let profile = bits.read(8)
            bits.skip(16)
            _ = bits.ue()
            var chroma: UInt32 = 1
            switch profile {
            case 100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135:
                chroma = bits.ue()
                if chroma == 3 { bits.skip(1) }
                _ = bits.ue()
                _ = bits.ue()
                bits.skip(1)
                if bits.flag() {
                    for list in 0..<(chroma == 3 ? 12 : 8) where bits.flag() {
                        H264.skipScalingList(&bits, list < 6 ? 16 : 64)
                    }
                }
            default: break
            }
            _ = bits.ue()
            let orderType = bits.ue()
            switch orderType {
            case 0: _ = bits.ue()
            case 1:
                bits.skip(1)
                bits.se()
                bits.se()
                let count = bits.ue()
                guard count <= 255 else { return nil }
                for _ in 0..<count { bits.se() }
            default: break
            }
            _ = bits.ue()
            bits.skip(1)
            let columns = bits.ue()
            let rows = bits.ue()
            let framesOnly = bits.flag()
            if !framesOnly { bits.skip(1) }
            bits.skip(1)
            var crop: (left: UInt32, right: UInt32, top: UInt32, bottom: UInt32) = (0, 0, 0, 0)
            if bits.flag() { crop = (bits.ue(), bits.ue(), bits.ue(), bits.ue()) }
            // 65,536 luma samples are more than any level allows.
            guard bits.isValid, columns < 4096, rows < 4096, crop.left < 65_536, crop.right < 65_536,
                crop.top < 65_536, crop.bottom < 65_536
            else { return nil }
            let fieldFactor = framesOnly ? 1 : 2
            let unitX = chroma == 1 || chroma == 2 ? 2 : 1
            let unitY = (chroma == 1 ? 2 : 1) * fieldFactor
            let width = (Int(columns) + 1) * 16 - unitX * Int(crop.left + crop.right)
            let height = (Int(rows) + 1) * 16 * fieldFactor - unitY * Int(crop.top + crop.bottom)
            guard width > 0, height > 0 else { return nil }
            size = VideoSize(width: width, height: height)
            // Baseline has no B slices; with order type 2 pictures come in the order in which they are shown (§8.2.1).
            let baseline: UInt32 = 66
            reorderedPictures = profile == baseline || orderType == 2 ? 0 : Self.reorderedPictures(&bits)
        }

        /// From `vui_parameters_present_flag` on.
        private static func reorderedPictures(_ bits: inout BitReader) -> Int? {
            guard bits.flag() else { return nil }
            let extendedSAR: UInt32 = 255
            if bits.flag(), bits.read(8) == extendedSAR { bits.skip(32) }
            if bits.flag() { bits.skip(1) }
            if bits.flag() {
                bits.skip(4)
                if bits.flag() { bits.skip(24) }
            }
            if bits.flag() {
                _ = bits.ue()
                _ = bits.ue()
            }
            // Timing.
            if bits.flag() { bits.skip(65) }
            var hasDecoderModel = false
            for _ in 0..<2 where bits.flag() {
                hasDecoderModel = true
                let count = bits.ue()
                guard count < 32 else { return nil }
                bits.skip(8)
                for _ in 0...count {
                    _ = bits.ue()
                    _ = bits.ue()
                    bits.skip(1)
                }
                bits.skip(20)
            }
            if hasDecoderModel { bits.skip(1) }
            bits.skip(1)
            guard bits.flag() else { return nil }
            bits.skip(1)
            for _ in 0..<4 { _ = bits.ue() }
            let count = bits.ue()
            // A decoded picture buffer has at most 16.
            return bits.isValid && count <= 16 ? Int(count) : nil
        }
    }
}
