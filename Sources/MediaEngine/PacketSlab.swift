/// Fixed 2 KiB packet slots of one worker. Slots are taken by the receive path and given back when a packet leaves
/// its ring; nothing is allocated once the working set has been reached. One thread only.
package final class PacketSlab {
    package static let slotSize = 2048
    private static let chunkSlots = 256

    private var free: UnsafeMutablePointer<UnsafeMutableRawPointer>
    private var freeCount = 0
    private var chunks: [UnsafeMutableRawPointer] = []
    private let maxSlots: Int
    package private(set) var totalSlots = 0

    /// - Parameter maxSlots: bound on memory: `maxSlots` × 2 KiB.
    package init(maxSlots: Int) {
        self.maxSlots = max(maxSlots, Self.chunkSlots)
        free = .allocate(capacity: self.maxSlots + Self.chunkSlots)
    }

    deinit {
        for chunk in chunks { chunk.deallocate() }
        free.deallocate()
    }

    /// `nil` when the bound is reached: the caller drops the packet and counts it.
    @inline(__always) package func take() -> UnsafeMutableRawPointer? {
        if freeCount == 0, !grow() { return nil }
        freeCount -= 1
        return free[freeCount]
    }

    @inline(__always) package func give(_ slot: UnsafeMutableRawPointer) {
        free[freeCount] = slot
        freeCount += 1
    }

    /// Memory is getting short: time to keep only what is needed.
    package var isHalfUsed: Bool { slotsInUse > maxSlots / 2 }

    package var slotsInUse: Int { totalSlots - freeCount }

    private func grow() -> Bool {
        guard totalSlots + Self.chunkSlots <= maxSlots else { return false }
        let chunk = UnsafeMutableRawPointer.allocate(byteCount: Self.chunkSlots * Self.slotSize, alignment: 64)
        chunks.append(chunk)
        for i in 0..<Self.chunkSlots { free[freeCount + i] = chunk + i * Self.slotSize }
        freeCount += Self.chunkSlots
        totalSlots += Self.chunkSlots
        return true
    }
}
