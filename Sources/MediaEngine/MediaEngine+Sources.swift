import SDP

/// Publishers inside the process. Any thread may call; nothing waits for a worker.
extension MediaEngine {
    /// Makes a publisher of packets that come from a thread of ours. It is connected at once: players register for its id
    /// as for any publisher, `firstMedia` and `videoSize` are posted, its counters are those of its registration. It ends
    /// by `close(peer:)`, and never by itself.
    /// - Parameters:
    ///   - tracks: kind, codec with payload type, name, clock rate, channels and format parameters, parameter sets. `nack
    ///     pli` among the codec's feedback says that the source makes key frames when asked; without it the current group
    ///     of pictures is kept for who joins. Transports and sources are ignored.
    ///   - capacity: bytes that the worker may lag behind.
    ///   - waker: woken when a key frame is wanted, and at the end.
    /// - Returns: `nil`: the id is in use, or the engine was stopped.
    package func addSource(
        id: UInt64, tracks: [NegotiatedTrack], capacity: Int = PacketSource.defaultCapacity, waker: SinkWaker? = nil
    ) -> PacketSource? {
        sources.add(id: id, tracks: tracks, capacity: capacity, waker: waker)
    }
}
