import MediaFormats
import Wire

// VP8 (RFC 7741) and VP9 (RFC 9628): a descriptor in front of each piece of a frame.
extension PictureBuilder {
    mutating func appendVP8(_ payload: RawSpan) {
        guard let descriptor = VP8Descriptor(parsing: payload) else {
            isBroken = true
            return
        }
        // A packet of padding: nothing behind the descriptor.
        guard descriptor.length < payload.byteCount else { return }
        guard descriptor.startsFrame != hasPicture else {
            // A middle without a beginning; a second frame under one timestamp cannot be shown either.
            isBroken = true
            return
        }
        if descriptor.startsFrame {
            size = PayloadInspector.inspect(.vp8, payload).size
            temporal = descriptor.temporal
        }
        append(payload, from: descriptor.length)
    }

    mutating func appendVP9(_ payload: RawSpan) {
        guard let descriptor = VP9Descriptor(parsing: payload) else {
            isBroken = true
            return
        }
        guard descriptor.length < payload.byteCount else { return }
        guard descriptor.startsFrame != fragmentIsOpen, layerStarts.count < 8 || !descriptor.startsFrame else {
            isBroken = true
            return
        }
        if descriptor.startsFrame {
            if layerStarts.isEmpty {
                let header = VP9.keyFrameSize(payload.extracting(descriptor.length..<payload.byteCount))
                hasKeySlice = header != nil
                size = header == nil ? nil : descriptor.size ?? header
                temporal = descriptor.temporal
            }
            layerStarts.append(data.count)
            fragmentIsOpen = true
        }
        append(payload, from: descriptor.length)
        if descriptor.endsFrame { fragmentIsOpen = false }
    }

    mutating func finishVP9() -> Picture {
        var picture = Picture(data: data, isKeyFrame: hasKeySlice, size: size, temporal: temporal)
        if layerStarts.count > 1 { appendSuperframeIndex(&picture.data) }
        return picture
    }

    /// Frames of several spatial layers are one unit for decoders and files: an index behind them tells their sizes
    /// (VP9 bitstream specification, annex B).
    private func appendSuperframeIndex(_ data: inout [UInt8]) {
        let ends = layerStarts.dropFirst() + [data.count]
        let sizes = zip(layerStarts, ends).map { $1 - $0 }
        let largest = sizes.max() ?? 0
        let width = largest < 1 << 8 ? 1 : largest < 1 << 16 ? 2 : largest < 1 << 24 ? 3 : 4
        let marker = 0xc0 | UInt8(width - 1) << 3 | UInt8(sizes.count - 1)
        data.append(marker)
        for size in sizes {
            for byte in 0..<width { data.append(UInt8(truncatingIfNeeded: size >> (8 * byte))) }
        }
        data.append(marker)
    }
}

/// A picture's place among temporal layers, as VP8 and VP9 in packets tell it: which pictures must have come before it.
package struct TemporalPlace: Equatable, Sendable {
    /// Counts the pictures of the lowest layer: this one's number, or that of the one that it builds on.
    package var base: UInt8
    package var layer: UInt8
    /// Builds on no picture of its own layer: VP8's layer sync, VP9's switching point.
    package var needsOnlyBase: Bool
}

/// What is in front of a piece of a VP8 frame (RFC 7741 §4.2).
package struct VP8Descriptor: Equatable, Sendable {
    package var length: Int
    /// Beginning of the first partition, hence of the frame.
    package var startsFrame: Bool
    package var pictureID: UInt16?
    /// Where the encoder numbers its temporal layers.
    package var temporal: TemporalPlace?

    package init?(parsing payload: RawSpan) {
        guard payload.byteCount > 0 else { return nil }
        let first = payload[0]
        startsFrame = first & 0x10 != 0 && first & 0x07 == 0
        length = 1
        guard first & 0x80 != 0 else { return }
        guard payload.byteCount > 1 else { return nil }
        let present = payload[1]
        length = 2
        if present & 0x80 != 0 {
            guard payload.byteCount > length else { return nil }
            let long = payload[length] & 0x80 != 0
            guard payload.byteCount >= length + (long ? 2 : 1) else { return nil }
            pictureID =
                long ? payload.loadBigEndian(at: length, as: UInt16.self) & 0x7fff : UInt16(payload[length] & 0x7f)
            length += long ? 2 : 1
        }
        var base: UInt8?
        if present & 0x40 != 0 {
            guard payload.byteCount > length else { return nil }
            base = payload[length]
            length += 1
        }
        guard present & 0x30 != 0 else { return }
        guard payload.byteCount > length else { return nil }
        if let base, present & 0x20 != 0 {
            temporal = TemporalPlace(
                base: base, layer: payload[length] >> 6, needsOnlyBase: payload[length] & 0x20 != 0)
        }
        length += 1
    }
}

/// What is in front of a piece of a VP9 frame (RFC 9628 §4.2).
package struct VP9Descriptor: Equatable, Sendable {
    package var length: Int
    /// Where the scalability structure begins, which ends the descriptor; `length` without one.
    package var structureStart: Int
    /// Beginning and end of the frame of one spatial layer.
    package var startsFrame: Bool
    package var endsFrame: Bool
    package var isPredicted: Bool
    package var spatialLayer: UInt8 = 0
    /// Where the encoder numbers its temporal layers; not in flexible mode.
    package var temporal: TemporalPlace?
    /// Size of the highest layer, if the scalability structure is here and tells it.
    package var size: VideoSize?

    package init?(parsing payload: RawSpan) {
        guard payload.byteCount > 0 else { return nil }
        let first = payload[0]
        let count = payload.byteCount
        isPredicted = first & 0x40 != 0
        let isFlexible = first & 0x10 != 0
        startsFrame = first & 0x08 != 0
        endsFrame = first & 0x04 != 0
        var at = 1
        if first & 0x80 != 0 {
            guard count > at else { return nil }
            at += payload[at] & 0x80 != 0 ? 2 : 1
        }
        if first & 0x20 != 0 {
            guard count > at else { return nil }
            let layers = payload[at]
            spatialLayer = layers >> 1 & 0x07
            at += isFlexible ? 1 : 2
            if !isFlexible {
                guard count >= at else { return nil }
                temporal = TemporalPlace(
                    base: payload[at - 1], layer: layers >> 5, needsOnlyBase: layers & 0x10 != 0)
            }
        }
        if isFlexible && isPredicted {
            // At most three reference indices, each saying whether another follows.
            for _ in 0..<3 {
                guard count > at else { return nil }
                at += 1
                if payload[at - 1] & 1 == 0 { break }
            }
        }
        structureStart = at
        if first & 0x02 != 0 {
            var facts = RTPPayloadFacts()
            guard VP9.skipStructure(payload, &at, &facts) else { return nil }
            size = facts.size
        }
        guard at <= count else { return nil }
        length = at
    }
}
