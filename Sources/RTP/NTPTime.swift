/// A point in time as RTCP writes it: seconds since 1900 in 32.32 fixed point (RFC 3550 §4). Wraps in 2036.
package struct NTPTime: Hashable, Sendable, BitwiseCopyable {
    /// Seconds from 1900-01-01 to 1970-01-01.
    package static let unixEpoch: UInt64 = 2_208_988_800

    package var rawValue: UInt64

    @inlinable package init(rawValue: UInt64) { self.rawValue = rawValue }

    /// Nanoseconds since 1970, rounded down to 2^-32 s.
    package init(unixNanoseconds: UInt64) {
        let seconds = unixNanoseconds / 1_000_000_000 &+ Self.unixEpoch
        rawValue = seconds << 32 | (unixNanoseconds % 1_000_000_000) << 32 / 1_000_000_000
    }

    /// Nanoseconds since 1970, rounded to the nearest. Values before 1970 count as of the era that begins in 2036.
    package var unixNanoseconds: UInt64 {
        let seconds = UInt64(UInt32(truncatingIfNeeded: (rawValue >> 32) &- Self.unixEpoch))
        return seconds * 1_000_000_000 + ((rawValue & 0xffff_ffff) * 1_000_000_000 + 1 << 31) >> 32
    }

    /// The middle half, in units of 2^-16 s: what LSR and the round trip time are made of (RFC 3550 §6.4.1).
    @inlinable package var middle32: UInt32 { UInt32(truncatingIfNeeded: rawValue >> 16) }
}
