import MediaFormats
import Wire

/// The parameter sets that a stream's next key frame needs: those of the session description, replaced one by one by
/// those that come with the pictures.
struct ParameterSets: Sendable {
    /// More than any encoder sends; a hostile one could send 32 + 256 of 64 KiB.
    static let maxSets = 32
    static let maxBytes = 64 * 1024

    private struct Entry: Sendable {
        var kind: NALUnits.Kind
        var id: UInt32
        var unit: [UInt8]
    }

    let codec: Codec
    /// In the order VPS, SPS, PPS.
    private var entries: [Entry] = []
    private var bytes = 0

    init(codec: Codec, known: [[UInt8]]) {
        self.codec = codec
        for unit in known { insert(unsafe unit.span.bytes) }
    }

    /// The NAL units, those of one kind in the order in which they came first.
    var units: [[UInt8]] { entries.map(\.unit) }

    /// Takes a parameter set; one of the same kind and number is replaced. What cannot be read, or is too much, is left
    /// out.
    mutating func insert(_ unit: RawSpan) {
        guard let id = NALUnits.parameterSetID(codec, unit) else { return }
        let kind = NALUnits.kind(codec, unit[0])
        if let index = entries.firstIndex(where: { $0.kind == kind && $0.id == id }) {
            guard !isEqual(entries[index].unit, unit) else { return }
            let change = unit.byteCount - entries[index].unit.count
            guard bytes + change <= Self.maxBytes else { return }
            entries[index].unit = unit.copied()
            bytes += change
            return
        }
        guard entries.count < Self.maxSets, bytes + unit.byteCount <= Self.maxBytes else { return }
        let place = entries.firstIndex { Self.rank($0.kind) > Self.rank(kind) } ?? entries.count
        entries.insert(Entry(kind: kind, id: id, unit: unit.copied()), at: place)
        bytes += unit.byteCount
    }

    private static func rank(_ kind: NALUnits.Kind) -> Int {
        switch kind {
        case .videoParameterSet: 0
        case .sequenceParameterSet: 1
        default: 2
        }
    }

    private func isEqual(_ unit: [UInt8], _ bytes: RawSpan) -> Bool {
        guard unit.count == bytes.byteCount else { return false }
        for i in 0..<unit.count where unit[i] != bytes[i] { return false }
        return true
    }
}
