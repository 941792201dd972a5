import Wire

/// AV1 payloads (RTP Payload Format For AV1, v1.0.0) and the sequence header (AV1 specification §5.5).
enum AV1 {
    private static let sequenceHeader: UInt8 = 1

    static func inspect(_ payload: RawSpan, _ facts: inout RTPPayloadFacts) {
        let head = payload[0]
        let continues = head & 0x80 != 0
        let declared = Int(head >> 4 & 0x03)
        guard payload.byteCount > 1 else {
            facts.isEmpty = true
            return
        }
        // N: a new coded video sequence begins; only senders of key frames may set it.
        facts.isKeyFrameStart = head & 0x08 != 0 && !continues
        facts.isFrameStart = !continues
        guard facts.isKeyFrameStart else { return }
        var at = 1
        // More elements before the sequence header than temporal delimiter and metadata are not plausible.
        for element in 0..<4 where at < payload.byteCount {
            var length = payload.byteCount - at
            if declared == 0 || element < declared - 1 {
                guard let given = leb128(payload, &at), given <= payload.byteCount - at else { return }
                length = given
            }
            guard length > 0 else { continue }
            let obu = payload.extracting(at..<(at + length))
            at += length
            if obu[0] >> 3 & 0x0f == sequenceHeader {
                facts.hasParameterSets = true
                facts.size = size(obu)
                return
            }
        }
    }

    private static func leb128(_ bytes: RawSpan, _ at: inout Int) -> Int? {
        var value = 0
        for i in 0..<4 {
            guard at < bytes.byteCount else { return nil }
            let byte = bytes[at]
            at += 1
            value |= Int(byte & 0x7f) << (7 * i)
            if byte & 0x80 == 0 { return value }
        }
        return nil
    }

    private static func size(_ obu: RawSpan) -> VideoSize? {
        var at = obu[0] & 0x04 != 0 ? 2 : 1
        if obu[0] & 0x02 != 0 { guard leb128(obu, &at) != nil else { return nil } }
        guard at < obu.byteCount else { return nil }
        var bits = BitReader(obu.extracting(at..<obu.byteCount))
        bits.skip(3 + 1)
        if bits.flag() {
            bits.skip(5)
        } else {
            var hasDecoderModel = false
            var delayBits = 0
            if bits.flag() {
                bits.skip(64)
                if bits.flag() { skipUVLC(&bits) }
                hasDecoderModel = bits.flag()
                if hasDecoderModel {
                    delayBits = Int(bits.read(5)) + 1
                    bits.skip(32 + 5 + 5)
                }
            }
            let hasDisplayDelay = bits.flag()
            for _ in 0...bits.read(5) where bits.isValid {
                bits.skip(12)
                if bits.read(5) > 7 { bits.skip(1) }
                if hasDecoderModel, bits.flag() { bits.skip(2 * delayBits + 1) }
                if hasDisplayDelay, bits.flag() { bits.skip(4) }
            }
        }
        let widthBits = Int(bits.read(4)) + 1
        let heightBits = Int(bits.read(4)) + 1
        let width = Int(bits.read(widthBits)) + 1
        let height = Int(bits.read(heightBits)) + 1
        return bits.isValid ? VideoSize(width: width, height: height) : nil
    }

    private static func skipUVLC(_ bits: inout BitReader) {
        var zeros = 0
        while bits.isValid, !bits.flag(), zeros < 32 { zeros += 1 }
        if zeros < 32 { bits.skip(zeros) }
    }
}
