import MediaFormats
import Wire

// AV1 (RTP Payload Format For AV1, v1.0.0): OBUs and fragments of OBUs as elements behind an aggregation header.
extension PictureBuilder {
    mutating func appendAV1(_ payload: RawSpan) {
        let head = payload[0]
        let continues = head & 0x80 != 0
        let isContinued = head & 0x40 != 0
        let declared = Int(head >> 4 & 0x03)
        // A new coded video sequence never begins in the middle of an OBU (§4.4).
        guard continues == fragmentIsOpen, !(continues && head & 0x08 != 0) else {
            isBroken = true
            return
        }
        var at = 1
        var element = 0
        while at < payload.byteCount {
            // With W the last element has no length; W is 0: each has one.
            var length = payload.byteCount - at
            if declared == 0 || element < declared - 1 {
                guard let given = AV1.leb128(payload, &at), given <= payload.byteCount - at else {
                    isBroken = true
                    return
                }
                length = given
            } else if element >= declared {
                isBroken = true
                return
            }
            obu.append(payload.extracting(at..<(at + length)))
            at += length
            element += 1
            fragmentIsOpen = at == payload.byteCount && isContinued
            if !fragmentIsOpen { finishOBU() }
            guard !isBroken else { return }
        }
        if declared != 0 && element != declared { isBroken = true }
    }

    /// Writes the OBU behind those that are there, with a size field (AV1 specification §5.3).
    private mutating func finishOBU() {
        // Taken out while it is read, and given back with its memory for the next one.
        var obu: [UInt8] = []
        swap(&obu, &self.obu)
        defer {
            obu.removeAll(keepingCapacity: true)
            swap(&obu, &self.obu)
        }
        guard let header = obu.first else { return }
        let bytes = unsafe obu.span.bytes
        var at = header & 0x04 != 0 ? 2 : 1
        var length = bytes.byteCount - at
        if header & 0x02 != 0 {
            guard let given = AV1.leb128(bytes, &at), given <= bytes.byteCount - at else {
                isBroken = true
                return
            }
            length = given
        }
        guard length >= 0 else {
            isBroken = true
            return
        }
        let payload = bytes.extracting(at..<(at + length))
        let type = AV1.type(header)
        switch type {
        case AV1.OBUType.temporalDelimiter, AV1.OBUType.tileList, AV1.OBUType.padding: return
        case AV1.OBUType.frame, AV1.OBUType.frameHeader:
            if !hasPicture { hasKeySlice = AV1.isKeyFrame(frameHeader: payload) }
            hasPicture = true
        default: break
        }
        let start = data.count
        data.append(header | 0x02)
        if header & 0x04 != 0 { data.append(bytes[1]) }
        data.appendLEB128(length)
        data.append(payload)
        guard type == AV1.OBUType.sequenceHeader else { return }
        hasSequenceParameterSet = true
        size = AV1.size(sequenceHeader: bytes) ?? size
        sequenceHeader = [UInt8](data[start...])
    }

    mutating func finishAV1() -> Picture {
        guard hasKeySlice else { return Picture(data: data, isKeyFrame: false, size: size) }
        var picture = Picture(data: data, isKeyFrame: true, size: size)
        guard !sequenceHeader.isEmpty else { return picture }
        picture.parameterSets = [sequenceHeader]
        if !hasSequenceParameterSet {
            picture.data = sequenceHeader + data
            picture.size = AV1.size(sequenceHeader: unsafe sequenceHeader.span.bytes)
        }
        return picture
    }
}

extension [UInt8] {
    /// Little-endian number of seven bits a byte (AV1 specification §4.10.5).
    mutating func appendLEB128(_ value: Int) {
        var rest = value
        repeat {
            append(UInt8(rest & 0x7f) | (rest > 0x7f ? 0x80 : 0))
            rest >>= 7
        } while rest > 0
    }
}
