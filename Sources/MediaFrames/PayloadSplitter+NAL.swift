import MediaFormats
import Wire

// H264 (RFC 6184) and H265 (RFC 7798): aggregates are taken apart, units and fragments are cut into fragments.
extension PayloadSplitter {
    private static let h264Aggregate: UInt8 = 24
    private static let h264Fragment: UInt8 = 28
    private static let h265Aggregate: UInt8 = 48
    private static let h265Fragment: UInt8 = 49
    private static let start: UInt8 = 0x80
    private static let end: UInt8 = 0x40

    private var headerLength: Int { codec == .h265 ? 2 : 1 }

    mutating func splitUnits(_ payload: RawSpan, _ piece: Piece, _ give: (Piece, RawSpan) -> Void) -> Bool {
        guard payload.byteCount > headerLength else {
            open = nil
            return payload.byteCount == 0
        }
        let type = codec == .h265 ? payload[0] >> 1 & 0x3f : payload[0] & 0x1f
        let isH265 = codec == .h265
        if type == (isH265 ? Self.h265Fragment : Self.h264Fragment) { return takeFragment(payload, piece, give) }
        // A unit that was begun and not ended is of no use to anybody.
        open = nil
        guard payload.byteCount > limit else {
            give(piece, payload)
            return true
        }
        if type == (isH265 ? Self.h265Aggregate : Self.h264Aggregate) { return takeApart(payload, piece, give) }
        guard type < (isH265 ? Self.h265Aggregate : Self.h264Aggregate) else { return false }
        cut(payload, piece, give)
        return true
    }

    /// Each unit of an aggregate by itself.
    private mutating func takeApart(_ payload: RawSpan, _ piece: Piece, _ give: (Piece, RawSpan) -> Void) -> Bool {
        var at = headerLength
        while at < payload.byteCount {
            guard at + 2 <= payload.byteCount else { return false }
            let length = Int(payload.loadBigEndian(at: at, as: UInt16.self))
            at += 2
            guard length > headerLength, length <= payload.byteCount - at else { return false }
            let unit = payload.extracting(at..<(at + length))
            at += length
            var piece = piece
            piece.marker = piece.marker && at == payload.byteCount
            if length <= limit { give(piece, unit) } else { cut(unit, piece, give) }
        }
        return true
    }

    /// A whole unit into fragments of about equal size.
    private mutating func cut(_ unit: RawSpan, _ piece: Piece, _ give: (Piece, RawSpan) -> Void) {
        let header = fragmentHeader(ofUnit: unit)
        let body = headerLength..<unit.byteCount
        let count = max(2, pieces(of: body.count, room: limit - header.count))
        for index in 0..<count {
            begin(header, isFirst: index == 0, isLast: index == count - 1)
            buffer.append(unit.extracting(range(index, of: count, in: body)))
            var piece = piece
            piece.marker = piece.marker && index == count - 1
            self.give(piece, give)
        }
    }

    /// Joins a fragment with what is left of those before, and gives out what is full.
    private mutating func takeFragment(_ payload: RawSpan, _ piece: Piece, _ give: (Piece, RawSpan) -> Void) -> Bool {
        guard payload.byteCount > headerLength + 1 else {
            open = nil
            return false
        }
        let bits = payload[headerLength]
        if open != nil, bits & Self.start != 0 || open?.timestamp != piece.timestamp { open = nil }
        guard open != nil || payload.byteCount > limit else {
            give(piece, payload)
            return true
        }
        var unit =
            open
            ?? OpenUnit(
                header: fragmentHeader(ofFragment: payload), timestamp: piece.timestamp,
                isFirst: bits & Self.start != 0,
                bytes: [])
        open = nil
        unit.bytes.append(payload, from: headerLength + 1)
        // An end that is none, but for the picture's: nothing follows it.
        let isEnd = bits & Self.end != 0
        let isOver = isEnd || piece.marker
        let room = limit - unit.header.count
        var at = 0
        while unit.bytes.count - at > (isOver ? 0 : room) {
            let count = min(room, unit.bytes.count - at)
            let isLast = isOver && at + count == unit.bytes.count
            begin(unit.header, isFirst: unit.isFirst, isLast: isLast && isEnd)
            buffer.append(contentsOf: unit.bytes[at..<(at + count)])
            self.give(Piece(timestamp: piece.timestamp, marker: piece.marker && isLast), give)
            unit.isFirst = false
            at += count
        }
        guard !isOver else { return true }
        unit.bytes.removeFirst(at)
        open = unit
        return true
    }

    private mutating func begin(_ header: [UInt8], isFirst: Bool, isLast: Bool) {
        buffer.removeAll(keepingCapacity: true)
        buffer += header
        buffer[header.count - 1] |= (isFirst ? Self.start : 0) | (isLast ? Self.end : 0)
    }

    private func fragmentHeader(ofUnit unit: RawSpan) -> [UInt8] {
        guard codec == .h265 else { return [unit[0] & 0xe0 | Self.h264Fragment, unit[0] & 0x1f] }
        return [unit[0] & 0x81 | Self.h265Fragment << 1, unit[1], unit[0] >> 1 & 0x3f]
    }

    private func fragmentHeader(ofFragment payload: RawSpan) -> [UInt8] {
        guard codec == .h265 else { return [payload[0], payload[1] & 0x1f] }
        return [payload[0], payload[1], payload[2] & 0x3f]
    }
}
