import Wire

/// A small H.264 encoder, constrained baseline, for pictures made up on the spot, whose sizes can be chosen freely.
///
/// Macroblocks carry either their samples as they are (I_PCM, 384 bytes) or next to nothing: DC prediction without
/// residual in key frames, P_Skip in the others. So the number of I_PCM macroblocks sets a picture's size. The last
/// macroblock of every picture is I_PCM: its last samples, right in front of the RBSP's trailing bits, are where the
/// sender puts a ``FrameMark``.
struct H264ClipEncoder {
    /// Bytes of one I_PCM macroblock: 256 samples of luma and 64 of each chroma, its type and the alignment.
    private static let sampledMacroblock = 384 + 2
    /// What a macroblock without samples takes in a key frame, at least.
    private static let plainMacroblockBits = 8
    private static let sliceHeader = 5
    /// `log2_max_frame_num_minus4`; frame_num counts modulo 256.
    private static let frameNumberBits = 8
    private static let seed: UInt64 = 0x4832_3634

    private let format: VideoFormat
    private let columns: Int
    private let rows: Int
    private var macroblocks: Int { columns * rows }

    init(_ format: VideoFormat) throws(ClipError) {
        self.format = format
        columns = (format.width + 15) / 16
        rows = (format.height + 15) / 16
        let average = FrameSizes.average(format)
        let key = average * Double(VideoFormat.keyFrameFactor)
        let plain = columns * rows * Self.plainMacroblockBits / 8 + Self.sliceHeader
        let lowest = max(
            Double(Self.sampledMacroblock + Self.sliceHeader),
            Double(plain + Self.sampledMacroblock) / Double(VideoFormat.keyFrameFactor))
        let highest = Double(columns * rows * Self.sampledMacroblock) / Double(VideoFormat.keyFrameFactor)
        guard average >= lowest else {
            throw .bitrateOutOfRange(nearest: Int(FrameSizes.bitrate(format, average: lowest).rounded(.up)) + 8)
        }
        guard key <= highest * Double(VideoFormat.keyFrameFactor) else {
            throw .bitrateOutOfRange(nearest: Int(FrameSizes.bitrate(format, average: highest)) - 8)
        }
    }

    /// NAL units of each picture: SPS, PPS and an IDR slice first, one P slice each after it.
    func encode() -> [[[UInt8]]] {
        var random = SeededRandom(seed: Self.seed)
        // What earlier pictures took less than they should have.
        var left = 0.0
        return FrameSizes(format).targets.enumerated().map { index, target in
            let isKey = index == 0
            let plain = isKey ? macroblocks * Self.plainMacroblockBits / 8 : 0
            let wanted = (target + left - Double(plain + Self.sliceHeader)) / Double(Self.sampledMacroblock)
            let count = min(max(Int(wanted.rounded()), 1), macroblocks)
            let slice = slice(index, sampled: choose(count, using: &random))
            left += target - Double(slice.count)
            return isKey ? [sps, pps, slice] : [slice]
        }
    }

    /// `profile-level-id` of the SDP (RFC 6184 §8.1).
    static func profileLevelID(_ format: VideoFormat) -> String {
        let level = String(levelIDC(format), radix: 16)
        return "42e0" + (level.count < 2 ? "0" + level : level)
    }

    /// The lowest of some levels that the size and frame rate fit (H.264 table A-1); 3.1 is what everybody offers.
    private static func levelIDC(_ format: VideoFormat) -> UInt32 {
        let size = ((format.width + 15) / 16) * ((format.height + 15) / 16)
        let levels: [(idc: UInt32, size: Int, perSecond: Int)] = [
            (31, 3_600, 108_000), (40, 8_192, 245_760), (42, 8_704, 522_240), (51, 36_864, 983_040),
        ]
        return levels.first { size <= $0.size && size * format.framesPerSecond <= $0.perSecond }?.idc ?? 62
    }

    /// H.264 §7.3.2.1.1.
    private var sps: [UInt8] {
        var bits = BitWriter()
        bits.put(66, bits: 8)  // baseline …
        bits.put(0xe0, bits: 8)  // … and constrained, and within main and extended
        bits.put(Self.levelIDC(format), bits: 8)
        bits.ue(0)  // seq_parameter_set_id
        bits.ue(Self.frameNumberBits - 4)
        bits.ue(2)  // pic_order_cnt_type: shown in the order of decoding
        bits.ue(1)  // max_num_ref_frames
        bits.flag(false)  // gaps_in_frame_num_value_allowed_flag
        bits.ue(columns - 1)
        bits.ue(rows - 1)
        bits.flag(true)  // frame_mbs_only_flag
        bits.flag(true)  // direct_8x8_inference_flag
        let cropping = (columns: (columns * 16 - format.width) / 2, rows: (rows * 16 - format.height) / 2)
        bits.flag(cropping != (0, 0))
        if cropping != (0, 0) { for edge in [0, cropping.columns, 0, cropping.rows] { bits.ue(edge) } }
        bits.flag(false)  // vui_parameters_present_flag
        return bits.unit(header: NALUnit.highestImportance | NALUnit.sps)
    }

    /// H.264 §7.3.2.2.
    private var pps: [UInt8] {
        var bits = BitWriter()
        bits.ue(0)  // pic_parameter_set_id
        bits.ue(0)  // seq_parameter_set_id
        bits.flag(false)  // entropy_coding_mode_flag: CAVLC
        bits.flag(false)  // bottom_field_pic_order_in_frame_present_flag
        bits.ue(0)  // num_slice_groups_minus1
        bits.ue(0)  // num_ref_idx_l0_default_active_minus1
        bits.ue(0)  // num_ref_idx_l1_default_active_minus1
        bits.flag(false)  // weighted_pred_flag
        bits.put(0, bits: 2)  // weighted_bipred_idc
        for _ in 0..<3 { bits.ue(0) }  // pic_init_qp_minus26, pic_init_qs_minus26, chroma_qp_index_offset
        bits.flag(true)  // deblocking_filter_control_present_flag
        bits.flag(false)  // constrained_intra_pred_flag
        bits.flag(false)  // redundant_pic_cnt_present_flag
        return bits.unit(header: NALUnit.highestImportance | NALUnit.pps)
    }

    /// The one slice of picture `index` (H.264 §7.3.3 and §7.3.4).
    ///
    /// - Parameter sampled: per macroblock, whether it is I_PCM.
    private func slice(_ index: Int, sampled: [Bool]) -> [UInt8] {
        let isKey = index == 0
        var bits = BitWriter()
        bits.ue(0)  // first_mb_in_slice
        bits.ue(isKey ? 7 : 5)  // slice_type: all slices of the picture are I, or P
        bits.ue(0)  // pic_parameter_set_id
        bits.put(UInt32(index % (1 << Self.frameNumberBits)), bits: Self.frameNumberBits)
        if isKey {
            bits.ue(0)  // idr_pic_id
            bits.flag(false)  // no_output_of_prior_pics_flag
            bits.flag(false)  // long_term_reference_flag
        } else {
            bits.flag(false)  // num_ref_idx_active_override_flag
            bits.flag(false)  // ref_pic_list_modification_flag_l0
            bits.flag(false)  // adaptive_ref_pic_marking_mode_flag
        }
        bits.ue(0)  // slice_qp_delta
        bits.ue(1)  // disable_deblocking_filter_idc: off, samples stay what they are
        if isKey { writeKey(sampled, index, &bits) } else { writeChanges(sampled, index, &bits) }
        return bits.unit(header: NALUnit.highestImportance | (isKey ? NALUnit.idr : NALUnit.slice))
    }

    private func writeKey(_ sampled: [Bool], _ index: Int, _ bits: inout BitWriter) {
        for at in sampled.indices {
            if sampled[at] {
                bits.ue(25)  // I_PCM
                writeSamples(at, index, &bits)
                continue
            }
            bits.ue(3)  // I_16x16_2_0_0: DC prediction, nothing coded but …
            bits.ue(0)  // intra_chroma_pred_mode: DC
            bits.ue(0)  // mb_qp_delta
            // … the number of luma DC coefficients, none. Its code depends on the neighbours (§9.2.1): I_PCM counts as
            // 16 coefficients, everything else here as 0, so the mean of the neighbours that exist is 0, 8 or 16.
            let nearSamples = (at % columns > 0 && sampled[at - 1]) || (at >= columns && sampled[at - columns])
            if nearSamples { bits.put(0b0000_11, bits: 6) } else { bits.flag(true) }
        }
    }

    private func writeChanges(_ sampled: [Bool], _ index: Int, _ bits: inout BitWriter) {
        var skipped = 0
        for at in sampled.indices {
            guard sampled[at] else {
                skipped += 1
                continue
            }
            bits.ue(skipped)  // mb_skip_run
            skipped = 0
            bits.ue(5 + 25)  // I_PCM behind the five types of P macroblocks
            writeSamples(at, index, &bits)
        }
    }

    /// Slanted stripes that move. No sample is below 16, so emulation prevention never lengthens them.
    private func writeSamples(_ macroblock: Int, _ picture: Int, _ bits: inout BitWriter) {
        bits.align()
        let left = macroblock % columns * 16
        let top = macroblock / columns * 16
        bits.append((0..<256).map { UInt8(32 + (2 * (left + $0 % 16) + top + $0 / 16 + 5 * picture) & 0x7f) })
        let hue = UInt8(64 + (left + 3 * picture) & 0x7f)
        bits.append(repeatElement(hue, count: 64))
        bits.append(repeatElement(255 - hue, count: 64))
    }

    /// `count` macroblocks, the last one among them, the others by chance (Knuth's algorithm S).
    private func choose(_ count: Int, using random: inout SeededRandom) -> [Bool] {
        var needed = count - 1
        var chosen = [Bool](repeating: false, count: macroblocks)
        for at in 0..<(macroblocks - 1) where Int.random(in: 0..<(macroblocks - 1 - at), using: &random) < needed {
            chosen[at] = true
            needed -= 1
        }
        chosen[macroblocks - 1] = true
        return chosen
    }
}
