import MediaFormats

/// Consumers of streams that are no players. Any thread may call; nothing waits for a worker.
extension MediaEngine {
    /// Connects a sink with the publisher's stream. It is given sound at once, and video from a key frame on: the stored
    /// group of pictures where a player would begin with that, else one that is asked for. With a publisher that has not
    /// connected yet the sink waits, and is given its first packet.
    /// - Returns: the publisher's tracks, which the sink's records count from 0; `nil`: there is no such publisher, or the
    ///   sink was detached or belongs to another. Again for the same publisher: the same answer, and nothing changes.
    @discardableResult
    package func attach(_ sink: PacketSink, publisher: UInt64) -> [TrackDescription]? {
        sinks.attach(sink, publisher: publisher)
    }

    /// Ends a sink, attached or not. Idempotent. What is in its ring may still be read; `ended` comes behind it.
    package func detach(_ sink: PacketSink) { sinks.detach(sink) }

    /// Asks the publisher for a key frame; merged and throttled with the requests of players (300 ms, 2 s under overload).
    package func requestKeyFrame(publisher: UInt64) { sinks.requestKeyFrame(publisher: publisher) }

    /// Tracks of a publisher; `nil`: there is none of that id.
    package func tracks(of publisher: UInt64) -> [TrackDescription]? { sinks.tracks(of: publisher) }
}
