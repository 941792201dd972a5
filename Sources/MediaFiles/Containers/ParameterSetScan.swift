import MediaFormats

/// Parameter sets within samples of MP4, beside those of the track's configuration record.
struct ParameterSetScan {
    private let codec: Codec
    private let lengthSize: Int
    private let known: Set<[UInt8]>
    /// A sample had a set that the configuration record has not: the sample entry must allow sets in the stream.
    private(set) var hasForeignSets = false

    /// - Parameter record: AVCDecoderConfigurationRecord or HEVCDecoderConfigurationRecord. Nil if it is neither.
    init?(codec: Codec, record: [UInt8]) {
        guard let record = ParameterSetRecord(codec: codec, bytes: record) else { return nil }
        self.codec = codec
        lengthSize = record.lengthSize
        known = Set(record.sets)
    }

    /// Looks for sets that the record has not.
    mutating func scan(_ sample: UnsafeRawBufferPointer) {
        guard !hasForeignSets else { return }
        var foreign = false
        _ = LengthPrefixed.forEachUnit(of: sample, lengthSize: lengthSize) { range in
            guard isParameterSet(sample[range.lowerBound]) else { return }
            if !known.contains([UInt8](sample[range])) { foreign = true }
        }
        hasForeignSets = foreign
    }

    /// The sample without its parameter sets; nil if it has none or nothing else.
    func stripped(_ sample: UnsafeRawBufferPointer) -> [UInt8]? {
        var result: [UInt8] = []
        var hasSets = false
        let isSound = LengthPrefixed.forEachUnit(of: sample, lengthSize: lengthSize) { range in
            if isParameterSet(sample[range.lowerBound]) {
                hasSets = true
            } else {
                result += sample[(range.lowerBound - lengthSize)..<range.upperBound]
            }
        }
        return isSound && hasSets && !result.isEmpty ? result : nil
    }

    private func isParameterSet(_ head: UInt8) -> Bool {
        codec == .h264 ? head & 0x1f == 7 || head & 0x1f == 8 : (32...34).contains(head >> 1 & 0x3f)
    }
}

/// Configuration record of H264 or H265 (ISO/IEC 14496-15 §5.3.3.1, §8.3.3.1). Hostile bytes.
struct ParameterSetRecord {
    /// Bytes of the length before each unit of a sample.
    private(set) var lengthSize: Int
    private(set) var sets: [[UInt8]] = []

    init?(codec: Codec, bytes record: [UInt8]) {
        guard record.first == 1 else { return nil }
        var reader = Reader(bytes: record)
        switch codec {
        case .h264:
            guard record.count > 6 else { return nil }
            lengthSize = Int(record[4] & 3) + 1
            reader.at = 5
            for mask in [0x1f, 0xff] as [UInt8] {
                guard let count = reader.byte() else { return nil }
                for _ in 0..<(count & mask) {
                    guard let set = reader.unit() else { return nil }
                    sets.append(set)
                }
            }
        case .h265:
            guard record.count > 22 else { return nil }
            lengthSize = Int(record[21] & 3) + 1
            reader.at = 22
            guard let arrays = reader.byte() else { return nil }
            for _ in 0..<arrays {
                guard reader.byte() != nil, let high = reader.byte(), let low = reader.byte() else { return nil }
                for _ in 0..<(Int(high) << 8 | Int(low)) {
                    guard let set = reader.unit() else { return nil }
                    sets.append(set)
                }
            }
        default: return nil
        }
    }

    private struct Reader {
        let bytes: [UInt8]
        var at = 0

        mutating func byte() -> UInt8? {
            guard at < bytes.count else { return nil }
            defer { at += 1 }
            return bytes[at]
        }

        /// A NAL unit behind its length in 16 bits.
        mutating func unit() -> [UInt8]? {
            guard let high = byte(), let low = byte() else { return nil }
            let length = Int(high) << 8 | Int(low)
            guard length > 0, length <= bytes.count - at else { return nil }
            defer { at += length }
            return Array(bytes[at..<(at + length)])
        }
    }
}
