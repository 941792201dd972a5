import MediaFormats
import Wire

// H264 (RFC 6184) and H265 (RFC 7798): neighbouring units that fit one payload are aggregated, longer ones fragmented.
extension Packetiser {
    func h264(_ data: [UInt8]) -> [[UInt8]] {
        pack(data, headerLength: 1) { units in
            // The highest importance of those inside (§5.7.1).
            [units.reduce(0) { max($0, data[$1.lowerBound] & 0x60) } | 24]
        } fragment: { header, first, last in
            [header[0] & 0xe0 | 28, header[0] & 0x1f | (first ? 0x80 : 0) | (last ? 0x40 : 0)]
        }
    }

    func h265(_ data: [UInt8]) -> [[UInt8]] {
        pack(data, headerLength: 2) { units in
            // The lowest layer and temporal identifiers of those inside (§4.4.2).
            let layers = units.map { (data[$0.lowerBound] & 1) << 5 | data[$0.lowerBound + 1] >> 3 }
            let layer = layers.min() ?? 0
            let temporal = units.map { data[$0.lowerBound + 1] & 7 }.min() ?? 1
            return [48 << 1 | layer >> 5, layer << 3 | temporal]
        } fragment: { header, first, last in
            let type = header[0] >> 1 & 0x3f
            return [header[0] & 0x81 | 49 << 1, header[1], type | (first ? 0x80 : 0) | (last ? 0x40 : 0)]
        }
    }

    private func pack(
        _ data: [UInt8], headerLength: Int, aggregate: ([Range<Int>]) -> [UInt8],
        fragment: ([UInt8], Bool, Bool) -> [UInt8]
    ) -> [[UInt8]] {
        var payloads: [[UInt8]] = []
        var together: [Range<Int>] = []
        var length = headerLength
        func flush() {
            if together.count == 1 {
                payloads.append(Array(data[together[0]]))
            } else if !together.isEmpty {
                var payload = aggregate(together)
                for unit in together {
                    payload.appendBigEndian(UInt16(unit.count))
                    payload += data[unit]
                }
                payloads.append(payload)
            }
            together = []
            length = headerLength
        }
        for unit in NALUnits.ranges(annexB: unsafe data.span.bytes)
        where unit.count > headerLength && NALUnits.kind(codec, data[unit.lowerBound]) != .noise {
            if length + 2 + unit.count > limit { flush() }
            if unit.count <= limit {
                together.append(unit)
                length += 2 + unit.count
                continue
            }
            let header = Array(data[unit].prefix(headerLength))
            let pieces = Self.split(data[unit].dropFirst(headerLength), limit: limit - headerLength - 1)
            for (index, piece) in pieces.enumerated() {
                payloads.append(fragment(header, index == 0, index == pieces.count - 1) + piece)
            }
        }
        flush()
        return payloads
    }
}
