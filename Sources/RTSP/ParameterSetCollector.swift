import MediaFormats
import Wire

/// The parameter sets that go by in the RTP payloads of an H.264 or H.265 track: what a session description says of it
/// before its first picture comes. Sets that are split over packets are not put together; no encoder splits them.
package struct ParameterSetCollector: Sendable {
    /// More than any encoder sends.
    static let maxSets = 16
    static let maxBytes = 16 << 10

    private struct Entry: Sendable {
        var kind: NALUnits.Kind
        var id: UInt32
        var unit: [UInt8]
    }

    private let codec: Codec
    private var entries: [Entry] = []

    /// - Parameter known: sets of the publisher's own description.
    package init(codec: Codec, known: [[UInt8]] = []) {
        self.codec = codec
        for unit in known { unsafe insert(unit.span.bytes) }
    }

    /// NAL units in the order VPS, SPS, PPS.
    package var sets: [[UInt8]] { entries.map(\.unit) }

    /// Whether a payload has parameter sets in it, by its type.
    package static func mayHold(_ codec: Codec, _ payload: RawSpan) -> Bool {
        guard payload.byteCount > 2 else { return false }
        return switch codec {
        // RFC 6184 §5.2: SPS, PPS, STAP-A.
        case .h264: [7, 8, 24].contains(payload[0] & 0x1f)
        // RFC 7798 §4.4: VPS, SPS, PPS, aggregation packets.
        case .h265: [32, 33, 34, 48].contains(payload[0] >> 1 & 0x3f)
        default: false
        }
    }

    /// - Parameter payload: of an RTP packet, without padding.
    package mutating func add(_ payload: RawSpan) {
        guard payload.byteCount > 2 else { return }
        switch codec {
        case .h264:
            if payload[0] & 0x1f == 24 { addAggregated(payload, from: 1) } else { insert(payload) }
        case .h265:
            if payload[0] >> 1 & 0x3f == 48 { addAggregated(payload, from: 2) } else { insert(payload) }
        default: break
        }
    }

    private mutating func addAggregated(_ payload: RawSpan, from start: Int) {
        var at = start
        while at + 2 < payload.byteCount {
            let length = Int(payload.loadBigEndian(at: at, as: UInt16.self))
            guard length > 0, at + 2 + length <= payload.byteCount else { return }
            insert(payload.extracting((at + 2)..<(at + 2 + length)))
            at += 2 + length
        }
    }

    private mutating func insert(_ unit: RawSpan) {
        guard unit.byteCount > 2, let id = NALUnits.parameterSetID(codec, unit) else { return }
        let kind = NALUnits.kind(codec, unit[0])
        let others = entries.filter { $0.kind != kind || $0.id != id }
        guard others.count < Self.maxSets,
            others.reduce(unit.byteCount, { $0 + $1.unit.count }) <= Self.maxBytes
        else { return }
        let entry = Entry(kind: kind, id: id, unit: unit.copied())
        if let at = entries.firstIndex(where: { $0.kind == kind && $0.id == id }) {
            entries[at] = entry
        } else {
            let place = entries.firstIndex { Self.rank($0.kind) > Self.rank(kind) } ?? entries.count
            entries.insert(entry, at: place)
        }
    }

    private static func rank(_ kind: NALUnits.Kind) -> Int {
        switch kind {
        case .videoParameterSet: 0
        case .sequenceParameterSet: 1
        default: 2
        }
    }
}
