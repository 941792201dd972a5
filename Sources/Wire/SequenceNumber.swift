/// RTP sequence arithmetic (RFC 3550 §A.1, RFC 1982): 16 bits that wrap.
package enum SequenceNumber {
    /// Signed distance `a - b` in -32768...32767.
    @inlinable package static func distance(from b: UInt16, to a: UInt16) -> Int {
        Int(Int16(bitPattern: a &- b))
    }
    @inlinable package static func isBefore(_ a: UInt16, _ b: UInt16) -> Bool {
        a != b && b &- a < 0x8000
    }
}

/// Extends 16-bit sequence numbers to 64 bits that never wrap, around the highest number seen so far.
package struct SequenceUnwrapper: Sendable, BitwiseCopyable {
    package private(set) var highest: Int64 = -1
    @inlinable package init() {}

    /// The extended number nearest to the highest seen. The first number is placed one roll-over above zero, so
    /// that packets older than the first still get a number that is not negative.
    package mutating func unwrap(_ sequence: UInt16) -> Int64 {
        guard highest >= 0 else {
            highest = 0x1_0000 + Int64(sequence)
            return highest
        }
        let extended = peek(sequence)
        if extended > highest { highest = extended }
        return extended
    }

    /// As `unwrap`, without taking the number as seen.
    package func peek(_ sequence: UInt16) -> Int64 {
        guard highest >= 0 else { return 0x1_0000 + Int64(sequence) }
        return highest &+ Int64(Int16(bitPattern: sequence &- UInt16(truncatingIfNeeded: highest)))
    }
}
