import MediaFormats

/// Sixteen bytes in the media that say which frame of which publisher this is, so that a player of ours can tell how
/// long the frame was under way and which ones are missing.
///
/// Each byte is 0x80 and seven bits of content: none is ever 0, hence H264's emulation prevention (H.264 §7.4.1) can
/// neither occur nor shift anything. In this order, most significant bits first:
/// magic (4 bytes), publisher (3), frame (5), check (4).
package struct FrameMark: Equatable, Sendable, BitwiseCopyable {
    /// Which publisher of this run sent the frame.
    package var publisher: UInt16
    /// Counts the publisher's frames of one track from the start, over all loops of the clip.
    package var frame: UInt32

    package static let length = 16

    private static let magic: UInt32 = 0x5e1_b7a3
    private static let magicBytes = 4
    private static let publisherBytes = 3
    private static let frameBytes = 5
    private static let checkBytes = 4

    package init(publisher: UInt16, frame: UInt32) {
        self.publisher = publisher
        self.frame = frame
    }

    /// - Parameter place: room for ``length`` bytes, of any alignment.
    package func write(_ place: UnsafeMutableRawPointer) {
        var at = place
        Self.put(UInt64(Self.magic), Self.magicBytes, &at)
        Self.put(UInt64(publisher), Self.publisherBytes, &at)
        Self.put(UInt64(frame), Self.frameBytes, &at)
        Self.put(UInt64(check), Self.checkBytes, &at)
    }

    /// The mark in ``length`` bytes, or nil if these are no mark: foreign media, or damaged.
    package static func read(_ place: UnsafeRawPointer) -> FrameMark? {
        var at = place
        guard take(magicBytes, &at) == UInt64(magic),
            let publisher = take(publisherBytes, &at).flatMap(UInt16.init(exactly:)),
            let frame = take(frameBytes, &at).flatMap(UInt32.init(exactly:)), let check = take(checkBytes, &at)
        else { return nil }
        let mark = FrameMark(publisher: publisher, frame: frame)
        return check == UInt64(mark.check) ? mark : nil
    }

    /// Where the mark lies in the payload of a frame's last RTP packet, or nil if that is too short to hold one.
    ///
    /// H264: the last pixels of the last macroblock, only the byte of the RBSP's trailing bits behind them. VP8: behind
    /// the end of the frame. Opus: the padding at the packet's end.
    package static func offset(codec: Codec, payloadLength: Int) -> Int? {
        let behind = codec == .h264 ? 1 : 0
        // At least one byte of header is in front of the mark in every payload format.
        let offset = payloadLength - length - behind
        return offset > 0 ? offset : nil
    }

    /// 28 bits that depend on all others (a multiplicative hash).
    private var check: UInt32 {
        var hash = (UInt64(publisher) << 32 | UInt64(frame)) &+ 0x9e37_79b9_7f4a_7c15
        hash = (hash ^ hash >> 30) &* 0xbf58_476d_1ce4_e5b9
        hash = (hash ^ hash >> 27) &* 0x94d0_49bb_1331_11eb
        return UInt32(truncatingIfNeeded: hash >> 36)
    }

    private static func put(_ value: UInt64, _ count: Int, _ at: inout UnsafeMutableRawPointer) {
        for index in 0..<count {
            let bits = UInt8(truncatingIfNeeded: value >> UInt64(7 * (count - 1 - index))) & 0x7f
            at.storeBytes(of: bits | 0x80, as: UInt8.self)
            at += 1
        }
    }

    private static func take(_ count: Int, _ at: inout UnsafeRawPointer) -> UInt64? {
        var value: UInt64 = 0
        for _ in 0..<count {
            let byte = at.load(as: UInt8.self)
            guard byte & 0x80 != 0 else { return nil }
            value = value << 7 | UInt64(byte & 0x7f)
            at += 1
        }
        return value
    }
}
