/// Why bytes from the network could not be read.
package enum WireError: Error, Equatable, Sendable {
    case truncated(needed: Int, have: Int)
    case unsupportedVersion(UInt8)
    /// The bytes break a rule of the format; the text is a constant that names the rule.
    case malformed(StaticString)

    package static func == (a: WireError, b: WireError) -> Bool {
        switch (a, b) {
        case (.truncated(let n, let h), .truncated(let m, let i)): n == m && h == i
        case (.unsupportedVersion(let v), .unsupportedVersion(let w)): v == w
        case (.malformed(let s), .malformed(let t)): s.description == t.description
        default: false
        }
    }
}

extension RawSpan {
    /// The one place where bytes become integers (network byte order). The caller has checked the length;
    /// a wrong offset is a bug of ours and traps.
    @inlinable package func loadBigEndian<T: FixedWidthInteger & BitwiseCopyable>(
        at offset: Int, as type: T.Type = T.self
    ) -> T {
        precondition(offset >= 0 && offset <= byteCount - MemoryLayout<T>.size, "load outside the span")
        return unsafe T(bigEndian: unsafeLoadUnaligned(fromByteOffset: offset, as: T.self))
    }

    /// 24 bits, network byte order.
    @inlinable package func loadUInt24(at offset: Int) -> UInt32 {
        UInt32(self[offset]) << 16 | UInt32(self[offset + 1]) << 8 | UInt32(self[offset + 2])
    }

    @inlinable package subscript(offset: Int) -> UInt8 {
        precondition(offset >= 0 && offset < byteCount, "load outside the span")
        return unsafe unsafeLoad(fromByteOffset: offset, as: UInt8.self)
    }

    /// A copy of the bytes, for values that outlive the packet.
    package func copied() -> [UInt8] {
        unsafe withUnsafeBytes { unsafe [UInt8]($0) }
    }
}

extension [UInt8] {
    /// Appends `value` in network byte order.
    @inlinable package mutating func appendBigEndian<T: FixedWidthInteger>(_ value: T) {
        var shift = T.bitWidth - 8
        while shift >= 0 {
            append(UInt8(truncatingIfNeeded: value >> T(truncatingIfNeeded: shift)))
            shift -= 8
        }
    }

    /// Overwrites bytes at `offset` with `value` in network byte order.
    @inlinable package mutating func storeBigEndian<T: FixedWidthInteger>(_ value: T, at offset: Int) {
        var shift = T.bitWidth - 8
        var i = offset
        while shift >= 0 {
            self[i] = UInt8(truncatingIfNeeded: value >> T(truncatingIfNeeded: shift))
            shift -= 8
            i += 1
        }
    }
}

extension [UInt8] {
    /// Appends the bytes from `start` to the end.
    package mutating func append(_ bytes: RawSpan, from start: Int = 0) {
        guard start < bytes.byteCount else { return }
        unsafe bytes.extracting(start..<bytes.byteCount).withUnsafeBytes { unsafe append(contentsOf: $0) }
    }
}
