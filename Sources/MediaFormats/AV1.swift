import Wire

/// AV1 payloads (RTP Payload Format For AV1, v1.0.0) and the sequence header (AV1 specification §5.5).
package enum AV1 {
    /// Types of OBUs (AV1 specification §6.2.2).
    package enum OBUType {
        package static let sequenceHeader: UInt8 = 1
        package static let temporalDelimiter: UInt8 = 2
        package static let frameHeader: UInt8 = 3
        package static let frame: UInt8 = 6
        package static let tileList: UInt8 = 8
        package static let padding: UInt8 = 15
    }

    /// - Parameter header: the first byte of an OBU.
    package static func type(_ header: UInt8) -> UInt8 { header >> 3 & 0x0f }

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
            if type(obu[0]) == OBUType.sequenceHeader {
                facts.hasParameterSets = true
                facts.size = size(sequenceHeader: obu)
                return
            }
        }
    }

    /// Little-endian number of seven bits a byte (§4.10.5); `at` moves behind it. Numbers of more than four bytes, which
    /// no packet can need, are none.
    package static func leb128(_ bytes: RawSpan, _ at: inout Int) -> Int? {
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

    /// - Parameter obu: a sequence header OBU, with or without its size field.
    package static func size(sequenceHeader obu: RawSpan) -> VideoSize? {
        guard obu.byteCount > 1 else { return nil }
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

    /// Whether a frame or frame header OBU begins a key frame (§5.9.2: `show_existing_frame` is 0 and `frame_type` is
    /// KEY_FRAME). Still pictures have no such bits and are taken for what the bits happen to say.
    ///
    /// - Parameter payload: what follows the OBU's header.
    package static func isKeyFrame(frameHeader payload: RawSpan) -> Bool {
        payload.byteCount > 0 && payload[0] & 0xe0 == 0
    }

    private static func skipUVLC(_ bits: inout BitReader) {
        var zeros = 0
        while bits.isValid, !bits.flag(), zeros < 32 { zeros += 1 }
        if zeros < 32 { bits.skip(zeros) }
    }
}
