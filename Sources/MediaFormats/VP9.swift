import Wire

/// VP9 payloads (RFC 9628) and the uncompressed header (VP9 bitstream specification §6.2).
package enum VP9 {
    static func inspect(_ payload: RawSpan, _ facts: inout RTPPayloadFacts) {
        let first = payload[0]
        let hasPictureID = first & 0x80 != 0
        let isPredicted = first & 0x40 != 0
        let hasLayers = first & 0x20 != 0
        let isFlexible = first & 0x10 != 0
        let beginsFrame = first & 0x08 != 0
        let hasStructure = first & 0x02 != 0
        let count = payload.byteCount
        var at = 1
        var spatialLayer: UInt8 = 0
        var dependsOnLayer = false
        if hasPictureID {
            guard count > at else { return }
            at += payload[at] & 0x80 != 0 ? 2 : 1
        }
        let flexibleStart = at
        if hasLayers {
            guard count > at else { return }
            spatialLayer = payload[at] >> 1 & 0x07
            dependsOnLayer = payload[at] & 1 != 0
            at += isFlexible ? 1 : 2
        }
        if isFlexible && isPredicted {
            // At most three reference indices, each saying whether another follows.
            for _ in 0..<3 {
                guard count > at else { return }
                at += 1
                if payload[at - 1] & 1 == 0 { break }
            }
        }
        if isFlexible, spatialLayer == 0, !dependsOnLayer {
            facts.flexibleStart = UInt8(flexibleStart)
            facts.flexibleLength = UInt8(at - flexibleStart)
        }
        if hasStructure { guard skipStructure(payload, &at, &facts) else { return } }
        guard count > at else {
            facts.isEmpty = true
            return
        }
        guard beginsFrame, spatialLayer == 0 else { return }
        facts.isFrameStart = true
        guard !isPredicted else { return }
        facts.isKeyFrameStart = true
        if facts.size == nil { facts.size = keyFrameSize(payload.extracting(at..<count)) }
    }

    /// The first byte of a payload once the bytes at `flexibleStart` are cut out: neither flexible mode nor layers.
    @inline(__always) package static func withoutFlexibleMode(firstByte: UInt8) -> UInt8 { firstByte & ~0x30 }

    /// The payload as receivers understand it that know nothing of flexible mode (FFmpeg before 8), which browsers send:
    /// they need not know which pictures a picture needs, since they are given all. False: it is good as it is.
    /// - Parameter simpler: replaced by the payload; keeps its room.
    package static func withoutFlexibleMode(_ payload: RawSpan, into simpler: inout [UInt8]) -> Bool {
        let facts = PayloadInspector.inspect(.vp9, payload)
        let start = Int(facts.flexibleStart)
        guard start > 0 else { return false }
        simpler.removeAll(keepingCapacity: true)
        simpler.append(payload.extracting(0..<start))
        simpler.append(payload.extracting((start + Int(facts.flexibleLength))..<payload.byteCount))
        simpler[0] = withoutFlexibleMode(firstByte: simpler[0])
        return true
    }

    /// Scalability structure (RFC 9628 §4.2.1): the size of its highest layer is the picture's.
    package static func skipStructure(_ payload: RawSpan, _ at: inout Int, _ facts: inout RTPPayloadFacts) -> Bool {
        let count = payload.byteCount
        guard count > at else { return false }
        let head = payload[at]
        let layers = Int(head >> 5) + 1
        at += 1
        if head & 0x10 != 0 {
            guard count >= at + 4 * layers else { return false }
            let last = at + 4 * (layers - 1)
            facts.size = VideoSize(
                width: Int(payload.loadBigEndian(at: last, as: UInt16.self)),
                height: Int(payload.loadBigEndian(at: last + 2, as: UInt16.self)))
            at += 4 * layers
        }
        if head & 0x08 != 0 {
            guard count > at else { return false }
            let pictures = Int(payload[at])
            at += 1
            for _ in 0..<pictures {
                guard count > at else { return false }
                at += 1 + Int(payload[at] >> 2 & 0x03)
            }
        }
        return true
    }

    /// Size of a key frame; `nil` if the frame is another or its header cannot be read.
    package static func keyFrameSize(_ frame: RawSpan) -> VideoSize? {
        var bits = BitReader(frame)
        guard bits.read(2) == 2 else { return nil }
        let low = bits.read(1)
        let profile = bits.read(1) << 1 | low
        if profile == 3 { bits.skip(1) }
        // show_existing_frame, then frame_type: 0 is a key frame.
        guard !bits.flag(), !bits.flag() else { return nil }
        bits.skip(2)
        guard bits.read(24) == 0x498342 else { return nil }
        if profile >= 2 { bits.skip(1) }
        if bits.read(3) != 7 {
            bits.skip(1)
            if profile & 1 == 1 { bits.skip(3) }
        } else if profile & 1 == 1 {
            bits.skip(1)
        }
        let width = Int(bits.read(16)) + 1
        let height = Int(bits.read(16)) + 1
        return bits.isValid ? VideoSize(width: width, height: height) : nil
    }
}
