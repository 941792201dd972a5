/// Which packet indices have been seen, up to a window behind the highest (RFC 3711 §3.3.2).
struct ReplayWindow {
    private(set) var highest: UInt64?
    private var words: [UInt64]
    private var size: UInt64 { UInt64(words.count) * 64 }

    /// - Parameter size: a multiple of 64.
    init(size: Int) { words = [UInt64](repeating: 0, count: max(1, size / 64)) }

    func isFresh(_ index: UInt64) -> Bool {
        guard let highest, index <= highest else { return true }
        guard highest - index < size else { return false }
        let place = index % size
        return words[Int(place / 64)] & (1 << (place % 64)) == 0
    }

    /// Call only for authenticated packets.
    mutating func accept(_ index: UInt64) {
        if let highest {
            if index > highest {
                let steps = min(index - highest, size)
                for step in 0..<steps { clear((index - step) % size) }
                self.highest = index
            }
        } else {
            highest = index
        }
        let place = index % size
        words[Int(place / 64)] |= 1 << (place % 64)
    }

    private mutating func clear(_ place: UInt64) { words[Int(place / 64)] &= ~(1 << (place % 64)) }

    /// The 48-bit index that `sequence` most likely stands for (RFC 3711 §3.3.1); `nil` if that would lie before
    /// the beginning.
    func estimate(_ sequence: UInt16) -> UInt64? {
        guard let highest else { return UInt64(sequence) }
        let difference = Int16(bitPattern: sequence &- UInt16(truncatingIfNeeded: highest))
        let guess = Int64(bitPattern: highest) + Int64(difference)
        return guess >= 0 && guess < 1 << 48 ? UInt64(guess) : nil
    }
}
