import Synchronization

/// Packets of streams on their way from the worker that receives them to one that has players of theirs: a
/// single-producer single-consumer ring of copies, one per ordered worker pair. A copy per stream and worker
/// (never per player) costs some 50 ns and leaves every slot with one owner for life.
package final class CrossingQueue: @unchecked Sendable {
    /// Packets, for few and for many workers: there is a queue per ordered pair. 2,048 are some 100 Mbit/s for 150 ms,
    /// and 4 MiB, all of which is in use after a while.
    package static func capacity(workers: Int) -> Int { workers <= 4 ? 2048 : 1024 }
    package let capacity: Int
    private static let headerRoom = 128
    private static let stride = PacketSlab.slotSize + headerRoom

    package struct Header: BitwiseCopyable {
        package var stream: UInt64
        package var track: Int32
        package var length: Int32
        package var packet: StoredPacket
    }

    /// Taken at the first packet: most pairs of many workers never exchange one. Written by the producer before the
    /// release of `tail` that tells the consumer of a packet.
    private var memory: UnsafeMutableRawPointer?
    private let head = Atomic<Int>(0)
    private let tail = Atomic<Int>(0)
    package init(capacity: Int = CrossingQueue.capacity(workers: 1)) {
        self.capacity = capacity
    }
    deinit { memory?.deallocate() }

    /// Producer side. `false`: full, the packet is lost to that worker.
    package func push(stream: UInt64, track: Int, packet: StoredPacket) -> Bool {
        let t = tail.load(ordering: .relaxed)
        guard t - head.load(ordering: .acquiring) < capacity, let slot = packet.slot else { return false }
        let base = memory ?? .allocate(byteCount: capacity * Self.stride, alignment: 64)
        memory = base
        let entry = base + (t % capacity) * Self.stride
        let length = Int(packet.payloadLength)
        entry.storeBytes(
            of: Header(stream: stream, track: Int32(track), length: Int32(length), packet: packet), as: Header.self)
        (entry + Self.headerRoom).copyMemory(from: slot + Int(packet.payloadOffset), byteCount: length)
        tail.store(t + 1, ordering: .releasing)
        return true
    }

    /// Consumer side: calls `body` for each waiting packet, at most `limit`.
    package func drain(limit: Int, _ body: (Header, UnsafeRawPointer) -> Void) -> Int {
        let h = head.load(ordering: .relaxed)
        let available = min(tail.load(ordering: .acquiring) - h, limit)
        guard available > 0, let base = memory else { return 0 }
        for i in 0..<available {
            let entry = base + ((h + i) % capacity) * Self.stride
            body(entry.load(as: Header.self), UnsafeRawPointer(entry + Self.headerRoom))
            head.store(h + i + 1, ordering: .releasing)
        }
        return available
    }

    package var isEmpty: Bool { tail.load(ordering: .acquiring) == head.load(ordering: .relaxed) }
}
