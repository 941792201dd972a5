import MediaFormats
import Wire

// VP8 (RFC 7741), VP9 (RFC 9628) and AV1 (RTP Payload Format For AV1): the descriptor in front of each piece.
extension PayloadSplitter {
    func splitVP8(_ payload: RawSpan, _ piece: Piece, _ give: (Piece, RawSpan) -> Void) -> Bool {
        guard let descriptor = VP8Descriptor(parsing: payload), descriptor.length < payload.byteCount else {
            return false
        }
        let first = payload.extracting(0..<descriptor.length).copied()
        var rest = first
        // S: only the first piece begins the partition.
        rest[0] &= ~0x10
        return cut(payload, from: descriptor.length, first: first, rest: rest, last: { $0 }, piece, give)
    }

    func splitVP9(_ payload: RawSpan, _ piece: Piece, _ give: (Piece, RawSpan) -> Void) -> Bool {
        guard let descriptor = VP9Descriptor(parsing: payload), descriptor.length < payload.byteCount else {
            return false
        }
        var first = payload.extracting(0..<descriptor.length).copied()
        var rest = payload.extracting(0..<descriptor.structureStart).copied()
        let endsFrame: UInt8 = 0x04
        let isLast = first[0] & endsFrame
        first[0] &= ~endsFrame
        // B, E and the scalability structure are of the first, of the last, and of the first piece.
        rest[0] &= ~(0x08 | endsFrame | 0x02)
        return cut(
            payload, from: descriptor.length, first: first, rest: rest,
            last: { descriptor in
                var descriptor = descriptor
                descriptor[0] |= isLast
                return descriptor
            }, piece, give)
    }

    private func cut(
        _ payload: RawSpan, from start: Int, first: [UInt8], rest: [UInt8], last: ([UInt8]) -> [UInt8], _ piece: Piece,
        _ give: (Piece, RawSpan) -> Void
    ) -> Bool {
        guard first.count <= limit / 2 else { return false }
        let body = start..<payload.byteCount
        let count = pieces(of: body.count, room: limit - first.count)
        for index in 0..<count {
            var bytes = index == 0 ? first : rest
            if index == count - 1 { bytes = last(bytes) }
            bytes.append(payload.extracting(range(index, of: count, in: body)))
            give(Piece(timestamp: piece.timestamp, marker: piece.marker && index == count - 1), unsafe bytes.span.bytes)
        }
        return true
    }

    /// Elements, each behind its length (W is 0), in packets of at most `limit` bytes.
    func splitAV1(_ payload: RawSpan, _ piece: Piece, _ give: (Piece, RawSpan) -> Void) -> Bool {
        guard let elements = Self.elements(payload) else { return false }
        let continues: UInt8 = 0x80
        let isContinued: UInt8 = 0x40
        // Z and N are of the first packet; Y of the last.
        var out: [UInt8] = [payload[0] & (continues | 0x08)]
        var packets: [[UInt8]] = []
        for element in elements {
            var at = element.lowerBound
            while at < element.upperBound {
                let left = element.upperBound - at
                let room = limit - out.count - (min(left, limit) < 128 ? 1 : 2)
                // Between two elements: a piece of one always leaves room behind it.
                guard room > 0 else {
                    packets.append(out)
                    out = [0]
                    continue
                }
                let count = min(room, left)
                out.appendLEB128(count)
                out.append(payload.extracting(at..<(at + count)))
                at += count
                guard at < element.upperBound else { continue }
                out[0] |= isContinued
                packets.append(out)
                out = [continues]
            }
        }
        guard out.count > 1 else { return false }
        out[0] |= payload[0] & isContinued
        packets.append(out)
        for (index, packet) in packets.enumerated() {
            give(
                Piece(timestamp: piece.timestamp, marker: piece.marker && index == packets.count - 1),
                unsafe packet.span.bytes)
        }
        return true
    }

    /// Where the elements of an AV1 payload lie; nil if its lengths cannot be.
    private static func elements(_ payload: RawSpan) -> [Range<Int>]? {
        let declared = Int(payload[0] >> 4 & 0x03)
        var elements: [Range<Int>] = []
        var at = 1
        while at < payload.byteCount {
            var length = payload.byteCount - at
            if declared == 0 || elements.count < declared - 1 {
                guard let given = AV1.leb128(payload, &at), given <= payload.byteCount - at else { return nil }
                length = given
            } else if elements.count >= declared {
                return nil
            }
            elements.append(at..<(at + length))
            at += length
        }
        return elements.isEmpty ? nil : elements
    }
}
