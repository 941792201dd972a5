import Wire

/// Bits of a header, most significant first. Past the end every read gives zero and `isValid` turns false, so that a
/// parser checks once, at its end.
package struct BitReader: ~Escapable {
    private let bytes: RawSpan
    private var position = 0
    private var bit = 0
    private var zeros = 0
    /// H264 and H265: a 3 after two zero bytes is not part of the data (H.264 §7.4.1).
    private let skipsEmulationPrevention: Bool
    package private(set) var isValid = true

    @_lifetime(copy bytes)
    package init(_ bytes: RawSpan, emulationPrevention: Bool = false) {
        self.bytes = bytes
        skipsEmulationPrevention = emulationPrevention
    }

    package mutating func flag() -> Bool { read(1) != 0 }

    /// - Parameter count: 0...32.
    package mutating func read(_ count: Int) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<count {
            guard position < bytes.byteCount else {
                isValid = false
                return 0
            }
            let byte = bytes[position]
            value = value << 1 | UInt32(byte >> (7 - bit) & 1)
            bit += 1
            if bit == 8 { next(after: byte) }
        }
        return value
    }

    package mutating func skip(_ count: Int) { for _ in 0..<count where isValid { _ = read(1) } }

    private mutating func next(after byte: UInt8) {
        bit = 0
        position += 1
        guard skipsEmulationPrevention else { return }
        zeros = byte == 0 ? zeros + 1 : 0
        if zeros >= 2, position < bytes.byteCount, bytes[position] == 3 {
            position += 1
            zeros = 0
        }
    }

    /// Unsigned Exp-Golomb (H.264 §9.1).
    package mutating func ue() -> UInt32 {
        var leading = 0
        while isValid, !flag() {
            leading += 1
            guard leading <= 31 else {
                isValid = false
                return 0
            }
        }
        return leading == 0 ? 0 : (1 << UInt32(leading)) - 1 + read(leading)
    }

    /// Signed Exp-Golomb; only its having been read matters here.
    package mutating func se() { _ = ue() }
}
