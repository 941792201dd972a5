import Wire

/// VP8 payloads (RFC 7741) and the frame header (RFC 6386 §9.1).
enum VP8 {
    static func inspect(_ payload: RawSpan, _ facts: inout RTPPayloadFacts) {
        let first = payload[0]
        var at = 1
        if first & 0x80 != 0 {
            guard payload.byteCount > at else { return }
            let present = payload[at]
            at += 1
            if present & 0x80 != 0 {
                guard payload.byteCount > at else { return }
                at += payload[at] & 0x80 != 0 ? 2 : 1
            }
            if present & 0x40 != 0 { at += 1 }
            if present & 0x30 != 0 { at += 1 }
        }
        guard payload.byteCount > at else {
            facts.isEmpty = true
            return
        }
        // Start of the first partition: the frame header follows.
        guard first & 0x10 != 0, first & 0x07 == 0 else { return }
        facts.isFrameStart = true
        guard payload[at] & 1 == 0 else { return }
        facts.isKeyFrameStart = true
        guard payload.byteCount >= at + 10, payload.loadUInt24(at: at + 3) == 0x9d012a else { return }
        let width = Int(payload[at + 6]) | Int(payload[at + 7] & 0x3f) << 8
        let height = Int(payload[at + 8]) | Int(payload[at + 9] & 0x3f) << 8
        facts.size = VideoSize(width: width, height: height)
    }
}
