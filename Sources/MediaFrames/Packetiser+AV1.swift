import MediaFormats
import Wire

// AV1 (RTP Payload Format For AV1, v1.0.0): OBUs without size fields as elements, each behind its length (W is 0).
extension Packetiser {
    func av1(_ data: [UInt8], isKeyFrame: Bool) -> [[UInt8]] {
        var payloads: [[UInt8]] = []
        var payload: [UInt8] = [0]
        for obu in Self.elements(data) {
            var rest = obu[...]
            while !rest.isEmpty {
                var room = limit - payload.count - Self.lengthBytes(min(rest.count, limit))
                if room <= 0 {
                    payloads.append(payload)
                    payload = [0]
                    room = limit - 1 - Self.lengthBytes(min(rest.count, limit))
                }
                let isFragment = rest.startIndex != obu.startIndex
                // Z: the packet begins with the rest of an OBU.
                if isFragment { payload[0] |= 0x80 }
                let piece = rest.prefix(room)
                payload.appendLEB128(piece.count)
                payload += piece
                rest = rest.dropFirst(piece.count)
                guard !rest.isEmpty else { continue }
                // Y: its last OBU goes on in the next packet.
                payload[0] |= 0x40
                payloads.append(payload)
                payload = [0]
            }
        }
        if payload.count > 1 { payloads.append(payload) }
        // N: a new coded video sequence.
        if isKeyFrame, !payloads.isEmpty { payloads[0][0] |= 0x08 }
        return payloads
    }

    private static func lengthBytes(_ length: Int) -> Int { length < 128 ? 1 : 2 }

    /// The OBUs that are sent, their size fields taken out. What cannot be read ends the list.
    private static func elements(_ data: [UInt8]) -> [[UInt8]] {
        var elements: [[UInt8]] = []
        let bytes = unsafe data.span.bytes
        var at = 0
        while at < bytes.byteCount {
            let header = bytes[at]
            let hasExtension = header & 0x04 != 0
            var payloadStart = at + (hasExtension ? 2 : 1)
            var length = bytes.byteCount - payloadStart
            guard length >= 0 else { break }
            if header & 0x02 != 0 {
                guard let given = AV1.leb128(bytes, &payloadStart), given <= bytes.byteCount - payloadStart else {
                    break
                }
                length = given
            }
            switch AV1.type(header) {
            case AV1.OBUType.temporalDelimiter, AV1.OBUType.tileList, AV1.OBUType.padding: break
            default:
                var element = [header & ~0x02]
                if hasExtension { element.append(bytes[at + 1]) }
                element += data[payloadStart..<(payloadStart + length)]
                elements.append(element)
            }
            at = payloadStart + length
        }
        return elements
    }
}
