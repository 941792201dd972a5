import Wire

/// Boxes of the ISO base media file format (ISO/IEC 14496-12), written from the outside in: a box's length is filled in
/// when its content is there.
struct BoxWriter {
    private(set) var bytes: [UInt8] = []

    init(reserving count: Int = 0) { bytes.reserveCapacity(count) }

    var count: Int { bytes.count }

    mutating func box(_ type: StaticString, _ content: (inout BoxWriter) -> Void) {
        let start = bytes.count
        u32(0)
        text(type)
        content(&self)
        bytes.storeBigEndian(UInt32(clamping: bytes.count - start), at: start)
    }

    mutating func fullBox(
        _ type: StaticString, version: UInt8 = 0, flags: UInt32 = 0, _ content: (inout BoxWriter) -> Void
    ) {
        box(type) { box in
            box.u32(UInt32(version) << 24 | flags & 0xff_ffff)
            content(&box)
        }
    }

    mutating func text(_ text: StaticString) { for byte in text.description.utf8 { bytes.append(byte) } }
    mutating func u8(_ value: UInt8) { bytes.append(value) }
    mutating func u16(_ value: UInt16) { bytes.appendBigEndian(value) }
    mutating func u32(_ value: UInt32) { bytes.appendBigEndian(value) }
    mutating func u64(_ value: UInt64) { bytes.appendBigEndian(value) }
    mutating func zeros(_ count: Int) { bytes.append(contentsOf: repeatElement(0, count: count)) }
    mutating func raw(_ content: some Sequence<UInt8>) { bytes.append(contentsOf: content) }
    mutating func store(_ value: UInt32, at offset: Int) { bytes.storeBigEndian(value, at: offset) }

    /// The 3x3 matrix of `mvhd` and `tkhd`: fixed point 16.16, last column 2.30.
    mutating func matrix(a: Int32, b: Int32, c: Int32, d: Int32, x: Int32 = 0, y: Int32 = 0) {
        for value in [a << 16, b << 16, 0, c << 16, d << 16, 0, x << 16, y << 16, 1 << 30] {
            u32(UInt32(bitPattern: value))
        }
    }
}
