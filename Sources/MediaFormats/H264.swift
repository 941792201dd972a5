import Wire

/// H.264 payloads (RFC 6184) and the sequence parameter set (H.264 §7.3.2.1.1).
package enum H264 {
    private static let slice: UInt8 = 1
    private static let idr: UInt8 = 5
    private static let sps: UInt8 = 7
    private static let stapA: UInt8 = 24
    private static let fuA: UInt8 = 28

    static func inspect(_ payload: RawSpan, _ facts: inout RTPPayloadFacts) {
        let count = payload.byteCount
        switch payload[0] & 0x1f {
        case stapA:
            var at = 1
            while at + 2 < count {
                let length = Int(payload.loadBigEndian(at: at, as: UInt16.self))
                guard length > 0, at + 2 + length <= count else { return }
                unit(payload.extracting((at + 2)..<(at + 2 + length)), &facts)
                at += 2 + length
            }
            facts.isEmpty = count == 1
        case fuA:
            guard count > 2 else { return }
            guard payload[1] & 0x80 != 0 else { return }
            let type = payload[1] & 0x1f
            begin(type, firstByte: payload[2], &facts)
            if type == sps { facts.hasParameterSets = true }
        case 1...23: unit(payload, &facts)
        default: break
        }
    }

    private static func unit(_ nal: RawSpan, _ facts: inout RTPPayloadFacts) {
        let type = nal[0] & 0x1f
        begin(type, firstByte: nal.byteCount > 1 ? nal[1] : 0, &facts)
        guard type == sps else { return }
        facts.hasParameterSets = true
        if let size = size(ofSPS: nal) { facts.size = size }
    }

    private static func begin(_ type: UInt8, firstByte: UInt8, _ facts: inout RTPPayloadFacts) {
        switch type {
        case idr:
            facts.isKeyFrameStart = true
            // first_mb_in_slice is 0: its Exp-Golomb code is a single one bit.
            if firstByte & 0x80 != 0 { facts.isFrameStart = true }
        case slice: if firstByte & 0x80 != 0 { facts.isFrameStart = true }
        case sps:
            facts.isKeyFrameStart = true
            facts.isFrameStart = true
        default: break
        }
    }

    /// - Parameter nal: the NAL unit with its header byte.
    package static func size(ofSPS nal: RawSpan) -> VideoSize? { SequenceParameterSet(parsing: nal)?.size }

    static func skipScalingList(_ bits: inout BitReader, _ size: Int) {
        var last = 8
        var next = 8
        for _ in 0..<size where bits.isValid {
            if next != 0 {
                let code = Int(bits.ue())
                let delta = code & 1 == 1 ? (code + 1) / 2 : -(code / 2)
                next = (last + delta) & 0xff
            }
            last = next == 0 ? last : next
        }
    }

    /// Parameter sets of an SDP's `sprop-parameter-sets` (RFC 6184 §8.1): base64, separated by commas. Those of H.265
    /// (RFC 7798 §7.1) have the same form.
    package static func parameterSets(sprop: String) -> [[UInt8]] {
        sprop.split(separator: ",").prefix(16).compactMap { Base64.decode($0.utf8) }.filter { !$0.isEmpty }
    }
}

/// Base64 (RFC 4648 §4); padding may be missing.
enum Base64 {
    static func decode(_ text: some Sequence<UInt8>) -> [UInt8]? {
        var out: [UInt8] = []
        var buffer: UInt32 = 0
        var bits = 0
        for byte in text {
            let value: UInt32
            switch byte {
            case 0x41...0x5a: value = UInt32(byte - 0x41)
            case 0x61...0x7a: value = UInt32(byte - 0x61 + 26)
            case 0x30...0x39: value = UInt32(byte - 0x30 + 52)
            case 0x2b: value = 62
            case 0x2f: value = 63
            case 0x3d: continue
            default: return nil
            }
            buffer = (buffer << 6 | value) & 0xffffff
            bits += 6
            if bits >= 8 {
                bits -= 8
                out.append(UInt8(truncatingIfNeeded: buffer >> UInt32(bits)))
            }
        }
        return out
    }
}
