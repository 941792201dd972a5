/// Bits of an RBSP, most significant first (H.264 §7.2), and the NAL unit around it.
struct BitWriter {
    private var bytes: [UInt8] = []
    /// The last `pending` bits of it wait for their byte to fill.
    private var buffer: UInt64 = 0
    private var pending = 0

    /// Bytes begun so far.
    var byteCount: Int { bytes.count + (pending > 0 ? 1 : 0) }

    /// - Parameter count: 0...32.
    mutating func put(_ value: UInt32, bits count: Int) {
        buffer = buffer << UInt64(count) | UInt64(value)
        pending += count
        while pending >= 8 {
            pending -= 8
            bytes.append(UInt8(truncatingIfNeeded: buffer >> UInt64(pending)))
        }
        buffer &= (1 << UInt64(pending)) - 1
    }

    mutating func flag(_ value: Bool) { put(value ? 1 : 0, bits: 1) }

    /// Unsigned Exp-Golomb code (§9.1).
    mutating func ue(_ value: Int) {
        let code = UInt32(value + 1)
        let length = UInt32.bitWidth - code.leadingZeroBitCount
        put(0, bits: length - 1)
        put(code, bits: length)
    }

    /// Zero bits up to the next byte.
    mutating func align() {
        if pending > 0 { put(0, bits: 8 - pending) }
    }

    /// Whole bytes; only when aligned.
    mutating func append(_ more: some Sequence<UInt8>) {
        precondition(pending == 0, "bytes are appended at a byte's boundary")
        bytes.append(contentsOf: more)
    }

    /// Writes the trailing bits (§7.3.2.11) and gives the NAL unit: its header byte, and the RBSP with emulation
    /// prevention (§7.4.1).
    consuming func unit(header: UInt8) -> [UInt8] {
        flag(true)
        align()
        var unit = [header]
        unit.reserveCapacity(bytes.count + bytes.count / 64 + 2)
        var zeros = 0
        for byte in bytes {
            if zeros == 2, byte <= 3 {
                unit.append(3)
                zeros = 0
            }
            unit.append(byte)
            zeros = byte == 0 ? zeros + 1 : 0
        }
        return unit
    }
}
