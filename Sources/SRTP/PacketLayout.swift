/// Byte positions in RTP and RTCP packets that protection depends on, and nonces. Pointers come with lengths that the
/// callers have checked.
enum PacketLayout {
    static let rtcpHeaderLength = 8

    /// Length of the RTP header with CSRCs and extension (RFC 3550 §5.1, §5.3.1), or `nil` when it does not fit.
    @inline(__always)
    static func rtpHeaderLength(_ packet: UnsafeRawPointer, length: Int) -> Int? {
        guard length >= 12 else { return nil }
        let first = packet.load(as: UInt8.self)
        guard first >> 6 == 2 else { return nil }
        var header = 12 + 4 * Int(first & 0x0f)
        if first & 0x10 != 0 {
            guard header + 4 <= length else { return nil }
            header += 4 + 4 * Int(bigEndian16(packet + header + 2))
        }
        return header <= length ? header : nil
    }

    @inline(__always) static func bigEndian16(_ p: UnsafeRawPointer) -> UInt16 {
        UInt16(bigEndian: p.loadUnaligned(as: UInt16.self))
    }

    @inline(__always) static func bigEndian32(_ p: UnsafeRawPointer) -> UInt32 {
        UInt32(bigEndian: p.loadUnaligned(as: UInt32.self))
    }

    @inline(__always) static func store32(_ value: UInt32, at p: UnsafeMutableRawPointer) {
        p.storeBytes(of: value.bigEndian, as: UInt32.self)
    }
}

/// A salt and what is made of it: 16 bytes as two numbers, the first byte on the wire being the highest.
struct Salt: BitwiseCopyable {
    private var high: UInt64 = 0
    private var low: UInt64 = 0

    init() {}

    /// - Parameter bytes: at most 16; missing ones are zero.
    init(_ bytes: [UInt8]) {
        for (i, byte) in bytes.prefix(16).enumerated() {
            if i < 8 { high |= UInt64(byte) << (56 - 8 * i) } else { low |= UInt64(byte) << (56 - 8 * (i - 8)) }
        }
    }

    /// 12-byte nonce of the AEAD profiles (RFC 7714 §8.1 and §9.1): 2 zero bytes, SSRC, 48-bit index, XOR salt.
    /// Writes 16 bytes, the last 4 meaningless.
    @inline(__always)
    func writeAEADNonce(_ out: UnsafeMutableRawPointer, ssrc: UInt32, index: UInt64) {
        store(out, high ^ (UInt64(ssrc) << 16 | (index >> 32) & 0xffff), low ^ (index & 0xffff_ffff) << 32)
    }

    /// 16-byte initial counter block of AES-CM (RFC 3711 §4.1.1).
    @inline(__always)
    func writeCounter(_ out: UnsafeMutableRawPointer, ssrc: UInt32, index: UInt64) {
        store(out, high ^ UInt64(ssrc), low ^ index << 16)
    }

    @inline(__always)
    private func store(_ out: UnsafeMutableRawPointer, _ high: UInt64, _ low: UInt64) {
        out.storeBytes(of: high.bigEndian, as: UInt64.self)
        out.storeBytes(of: low.bigEndian, toByteOffset: 8, as: UInt64.self)
    }
}

/// Comparison whose time does not depend on where the first difference is.
@inline(__always)
func constantTimeEqual(_ a: UnsafeRawPointer, _ b: UnsafeRawPointer, count: Int) -> Bool {
    var difference: UInt8 = 0
    for i in 0..<count {
        difference |= a.load(fromByteOffset: i, as: UInt8.self) ^ b.load(fromByteOffset: i, as: UInt8.self)
    }
    return difference == 0
}
