import MediaFormats

/// Access units of a file in the form of `MediaFrame`: Annex B with start codes of four bytes, no access unit
/// delimiters, parameter sets in front of every key frame.
///
/// libavcodec's own filters put the file's parameter sets behind those that a key frame brings itself (5.1,
/// `hevc_mp4toannexb`), and so undo a change of size.
struct NALUnitForm {
    private let isH264: Bool
    /// Bytes of the length before each unit; 0: start codes.
    private let lengthSize: Int
    /// Parameter sets in force, without start codes: the file's first, then the stream's.
    private(set) var sets: [[UInt8]]

    /// - Parameter configuration: of the track: a configuration record, or units behind start codes, or nothing.
    init?(codec: Codec, configuration: [UInt8]) {
        switch codec {
        case .h264: isH264 = true
        case .h265: isH264 = false
        default: return nil
        }
        if let record = ParameterSetRecord(codec: codec, bytes: configuration) {
            lengthSize = record.lengthSize
            sets = record.sets
        } else {
            lengthSize = 0
            sets = AnnexB.units(configuration)
        }
    }

    /// - Returns: nil when nothing in it can be read. `changed`: the sets in force are others than before.
    mutating func frame(_ sample: UnsafeRawBufferPointer, isKeyFrame: Bool) -> (data: [UInt8], changed: Bool)? {
        let units = lengthSize == 0 ? AnnexB.units([UInt8](sample)) : prefixed(sample)
        var fresh: [[UInt8]] = []
        var rest: [[UInt8]] = []
        for unit in units {
            switch kind(unit[0]) {
            case .parameterSet: fresh.append(unit)
            case .delimiter: break
            case .other: rest.append(unit)
            }
        }
        let changed = merge(fresh)
        guard !rest.isEmpty else { return nil }
        // Between key frames sets may come, too, and stay where they are.
        let front = isKeyFrame ? sets : fresh
        var data: [UInt8] = []
        data.reserveCapacity(sample.count + 64)
        for unit in front + rest { data += [0, 0, 0, 1] + unit }
        return (data, changed)
    }

    private enum Kind {
        case parameterSet, delimiter, other
    }

    private func kind(_ head: UInt8) -> Kind {
        if isH264 {
            switch head & 0x1f {
            case 7, 8: return .parameterSet
            case 9: return .delimiter
            default: return .other
            }
        }
        switch head >> 1 & 0x3f {
        case 32...34: return .parameterSet
        case 35: return .delimiter
        default: return .other
        }
    }

    /// A new SPS (for H265: a new VPS or SPS) makes all sets before it void; others are added.
    private mutating func merge(_ fresh: [[UInt8]]) -> Bool {
        let news = fresh.filter { !sets.contains($0) }
        guard !news.isEmpty else { return false }
        if news.contains(where: { isH264 ? $0[0] & 0x1f == 7 : (32...33).contains($0[0] >> 1 & 0x3f) }) {
            sets = fresh
        } else {
            sets += news
            // A stream that numbers its picture parameter sets on and on: the newest are those in use.
            if sets.count > Self.mostSets { sets = fresh }
        }
        return true
    }

    private static let mostSets = 32

    private func prefixed(_ sample: UnsafeRawBufferPointer) -> [[UInt8]] {
        var units: [[UInt8]] = []
        _ = LengthPrefixed.forEachUnit(of: sample, lengthSize: lengthSize) { units.append([UInt8](sample[$0])) }
        return units
    }
}

/// NAL units behind their lengths (ISO/IEC 14496-15 §5.3.3.1).
enum LengthPrefixed {
    /// - Returns: whether the sample is whole NAL units from its beginning to its end.
    static func forEachUnit(of sample: UnsafeRawBufferPointer, lengthSize: Int, _ body: (Range<Int>) -> Void) -> Bool {
        var at = 0
        while sample.count - at > lengthSize {
            let length = sample[at..<(at + lengthSize)].reduce(0) { $0 << 8 | Int($1) }
            at += lengthSize
            guard length > 0, length <= sample.count - at else { return false }
            body(at..<(at + length))
            at += length
        }
        return at == sample.count
    }
}

/// NAL units behind start codes (H.264 Annex B).
enum AnnexB {
    static func units(_ bytes: [UInt8]) -> [[UInt8]] {
        var units: [[UInt8]] = []
        var start: Int?
        var at = 0
        while at + 2 < bytes.count {
            guard bytes[at] == 0, bytes[at + 1] == 0, bytes[at + 2] == 1 else {
                at += 1
                continue
            }
            if let start { units.append(trimmed(bytes[start..<at])) }
            at += 3
            start = at
        }
        if let start { units.append(trimmed(bytes[start...])) }
        return units.filter { !$0.isEmpty }
    }

    /// Zeros before the next start code are not of the unit.
    private static func trimmed(_ unit: ArraySlice<UInt8>) -> [UInt8] {
        var end = unit.endIndex
        while end > unit.startIndex, unit[end - 1] == 0 { end -= 1 }
        return Array(unit[unit.startIndex..<end])
    }
}
