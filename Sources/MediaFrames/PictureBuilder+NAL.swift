import MediaFormats
import Wire

// H264 (RFC 6184, packetization modes 0 and 1) and H265 (RFC 7798, without decoding order numbers): units, aggregates
// and fragments of units.
extension PictureBuilder {
    private enum H264Type {
        static let stapA: UInt8 = 24
        static let fuA: UInt8 = 28
    }
    private enum H265Type {
        static let aggregation: UInt8 = 48
        static let fragmentation: UInt8 = 49
    }

    mutating func appendH264(_ payload: RawSpan) {
        switch payload[0] & 0x1f {
        case 1...23: unit(payload)
        case H264Type.stapA: aggregate(payload, from: 1)
        case H264Type.fuA:
            // Indicator, header: start, end, reserved, type (§5.8).
            guard payload.byteCount > 2 else { return breakOff() }
            let header = payload[0] & 0xe0 | payload[1] & 0x1f
            fragment(payload, from: 2, starts: payload[1] & 0x80 != 0, ends: payload[1] & 0x40 != 0, [header])
        default:
            // Interleaved mode, which is never negotiated, and types that are not defined.
            breakOff()
        }
    }

    mutating func appendH265(_ payload: RawSpan) {
        guard payload.byteCount > 2 else { return breakOff() }
        switch payload[0] >> 1 & 0x3f {
        case 0...47: unit(payload)
        case H265Type.aggregation: aggregate(payload, from: 2)
        case H265Type.fragmentation:
            // Two bytes of payload header, one of fragment header: start, end, type (§4.4.3).
            guard payload.byteCount > 3 else { return breakOff() }
            let first = payload[0] & 0x81 | (payload[2] & 0x3f) << 1
            let (starts, ends) = (payload[2] & 0x80 != 0, payload[2] & 0x40 != 0)
            fragment(payload, from: 3, starts: starts, ends: ends, [first, payload[1]])
        default: breakOff()
        }
    }

    private mutating func breakOff() { isBroken = true }

    /// Units, each behind its length in 16 bits.
    private mutating func aggregate(_ payload: RawSpan, from start: Int) {
        var at = start
        while at < payload.byteCount {
            guard at + 2 <= payload.byteCount else { return breakOff() }
            let length = Int(payload.loadBigEndian(at: at, as: UInt16.self))
            at += 2
            guard length > 0, length <= payload.byteCount - at else { return breakOff() }
            unit(payload.extracting(at..<(at + length)))
            at += length
        }
    }

    /// One whole unit.
    private mutating func unit(_ nal: RawSpan) {
        guard !fragmentIsOpen, nal.byteCount > (codec == .h265 ? 2 : 0) else { return breakOff() }
        let kind = NALUnits.kind(codec, nal[0])
        guard kind != .noise else { return }
        note(kind, nal)
        data += Self.startCode
        data.append(nal)
    }

    /// - Parameter header: the header of the fragmented unit.
    private mutating func fragment(_ payload: RawSpan, from start: Int, starts: Bool, ends: Bool, _ header: [UInt8]) {
        guard starts != fragmentIsOpen, !(starts && ends) else { return breakOff() }
        if starts {
            // The unit's place in `data` is remembered by where its header will be: parameter sets are noted at the end.
            fragmentIsOpen = true
            data += Self.startCode
            fragmentStart = data.count
            data += header
        }
        data.append(payload, from: start)
        guard ends else { return }
        fragmentIsOpen = false
        guard fragmentStart < data.count else { return breakOff() }
        let seen = NALNote(codec, data, from: fragmentStart)
        note(seen.kind, seen.isIntra)
        if let set = seen.parameterSet { keep(unsafe set.span.bytes) }
    }

    private mutating func note(_ kind: NALUnits.Kind, _ nal: RawSpan) {
        note(kind, codec == .h264 && kind == .slice && NALUnits.isIntra(h264Slice: nal))
        if kind.isParameterSet { keep(nal) }
    }

    private mutating func note(_ kind: NALUnits.Kind, _ isIntra: Bool) {
        guard kind.isSlice else { return }
        hasPicture = true
        if kind == .keySlice {
            hasKeySlice = true
        } else if isIntra {
            hasIntraSlice = true
        } else {
            hasInterSlice = true
        }
    }

    private mutating func keep(_ set: RawSpan) {
        sets.insert(set)
        setsInPicture += 1
        if NALUnits.kind(codec, set[0]) == .sequenceParameterSet {
            hasSequenceParameterSet = true
            size = NALUnits.size(codec, sequenceParameterSet: set) ?? size
        }
    }

    mutating func finishUnits() -> Picture {
        // Cameras may send a sequence parameter set and an intra picture instead of an IDR one.
        let isKeyFrame =
            hasKeySlice || (codec == .h264 && hasSequenceParameterSet && hasIntraSlice && !hasInterSlice)
        guard isKeyFrame else { return Picture(data: data, isKeyFrame: false, size: size) }
        let units = sets.units
        var picture = Picture(data: data, isKeyFrame: true, size: size, parameterSets: units)
        if setsInPicture < units.count {
            picture.data = units.flatMap { Self.startCode + $0 } + data
        }
        if picture.size == nil, let sps = units.first(where: { NALUnits.kind(codec, $0[0]) == .sequenceParameterSet }) {
            picture.size = NALUnits.size(codec, sequenceParameterSet: unsafe sps.span.bytes)
        }
        return picture
    }
}

/// What a unit in `data` is, without holding on to its bytes.
private struct NALNote {
    let kind: NALUnits.Kind
    let isIntra: Bool
    let parameterSet: [UInt8]?

    init(_ codec: Codec, _ data: [UInt8], from start: Int) {
        let bytes = unsafe data.span.bytes
        let nal = bytes.extracting(start..<bytes.byteCount)
        kind = NALUnits.kind(codec, nal[0])
        isIntra = codec == .h264 && kind == .slice && NALUnits.isIntra(h264Slice: nal)
        parameterSet = kind.isParameterSet ? nal.copied() : nil
    }
}
