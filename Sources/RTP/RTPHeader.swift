import Wire

/// The fixed header, the CSRC list and the place of the extension block of one RTP packet (RFC 3550 §5.1, §5.3.1).
/// A plain value: the bytes stay with the caller, all places are offsets from the start of the packet.
package struct RTPHeader: Sendable, BitwiseCopyable {
    /// Bytes of a header without CSRCs and extensions.
    package static let fixedLength = 12
    static let version: UInt8 = 2

    package var marker: Bool
    /// 0...127
    package var payloadType: UInt8
    package var sequence: UInt16
    package var timestamp: UInt32
    package var ssrc: UInt32
    /// Bytes before the payload: fixed header, CSRCs and the extension block.
    package var headerLength: Int
    /// Bytes of padding at the end, with its count byte; 0 without padding.
    package var paddingLength: Int
    /// Bytes between header and padding; 0 for a packet of padding only.
    package var payloadLength: Int
    /// "Defined by profile" of the extension block (RFC 8285: 0xBEDE, 0x100x); 0 without one.
    package var extensionProfile: UInt16
    /// Where the extension data begin, after profile and length; 0 without an extension block.
    package var extensionOffset: Int
    /// Bytes of extension data.
    package var extensionLength: Int

    /// - Throws: `truncated`, `unsupportedVersion`, or `malformed` for a padding count that cannot be.
    package init(parsing packet: RawSpan) throws(WireError) {
        let count = packet.byteCount
        guard count >= Self.fixedLength else { throw .truncated(needed: Self.fixedLength, have: count) }
        let first = packet[0]
        guard first >> 6 == Self.version else { throw .unsupportedVersion(first >> 6) }
        let second = packet[1]
        marker = second & 0x80 != 0
        payloadType = second & 0x7f
        sequence = packet.loadBigEndian(at: 2)
        timestamp = packet.loadBigEndian(at: 4)
        ssrc = packet.loadBigEndian(at: 8)
        var end = Self.fixedLength + 4 * Int(first & 0x0f)
        extensionProfile = 0
        extensionOffset = 0
        extensionLength = 0
        if first & 0x10 != 0 {
            guard end + 4 <= count else { throw .truncated(needed: end + 4, have: count) }
            extensionProfile = packet.loadBigEndian(at: end)
            extensionLength = 4 * Int(packet.loadBigEndian(at: end + 2, as: UInt16.self))
            extensionOffset = end + 4
            end = extensionOffset + extensionLength
        }
        guard end <= count else { throw .truncated(needed: end, have: count) }
        headerLength = end
        paddingLength = 0
        if first & 0x20 != 0 {
            paddingLength = Int(packet[count - 1])
            guard paddingLength > 0, paddingLength <= count - end else {
                throw .malformed("RTP padding count outside the packet")
            }
        }
        payloadLength = count - end - paddingLength
    }
}
