import Synchronization
import Wire

/// Sinks: consumers of a stream that are no players. They are fed by the worker of the publisher, at the end of each
/// fan-out, when players have theirs.
extension Worker {
    // MARK: - Attaching and detaching

    /// Sinks have come, or have been detached.
    func sinksChanged(_ list: SinkList, publisher: UInt64) {
        // Without the stream the list is closed, and who closed it has ended what was in it.
        guard let stream = streams[publisher], stream.isOrigin else { return }
        removeEndedSinks(of: stream)
        for sink in list.take() where !sink.isEnded { add(sink, to: stream) }
    }

    private func add(_ sink: PacketSink, to stream: StreamState) {
        let feed = SinkFeed(sink, tracks: stream.tracks)
        stream.add(feed)
        for (i, track) in stream.tracks.enumerated() {
            guard let report = track.report else { continue }
            feed.report(track: i, ntp: report.ntp, timestamp: report.timestamp, arrival: report.arrival)
        }
        markFed(stream)
        // Where no picture has come yet, the first will be a key frame.
        guard let video = stream.videoIndex, stream.tracks[video].ring.highest >= 0 else { return }
        if !startFromCache(stream, feed: feed) { requestKeyFrame(stream) }
    }

    private func removeEndedSinks(of stream: StreamState) {
        for feed in stream.sinks where feed.sink.isEnded { count(feed) }
        stream.removeSinks { $0.sink.isEnded }
    }

    /// The publisher is about to go: its sinks get what is still on its way to them, then the end.
    func endSinks(of stream: StreamState) {
        guard !stream.sinks.isEmpty else { return }
        fanOut(stream, whole: true)
        for feed in stream.sinks {
            _ = catchUp(feed, of: stream)
            feed.publish()
            count(feed)
            feed.sink.end()
        }
        stream.removeSinks { _ in true }
    }

    // MARK: - Feeding

    /// Gives all sinks what has been gathered.
    func feedSinks(_ gathered: UnsafeBufferPointer<Gathered>, of stream: StreamState) {
        for feed in stream.sinks {
            let parts = feed.parts
            // Last video packet that the sink got out of turn.
            var ahead: Int64 = -1
            for item in gathered {
                let part = parts + item.track
                let number = item.packet.pointee.number
                if part.pointee.isStarted {
                    guard ahead < 0 || !part.pointee.needsKeyFrame || number > ahead else { continue }
                    if part.pointee.takes(item.packet) { feed.give(item.packet, track: item.track) }
                } else if part.pointee.isCatchingUp {
                    // Later ones come from the ring; this one came too late for that. Without room it is as lost as
                    // if it had never come: the rest of the group must not go with it.
                    if number < part.pointee.next, part.pointee.takes(item.packet) {
                        _ = feed.offer(item.packet, track: item.track)
                    }
                } else {
                    ahead = max(ahead, begin(item, feed: feed, of: stream))
                }
            }
            feed.publish()
        }
        markFed(stream)
    }

    /// A video packet for a sink that waits for a key frame.
    /// - Returns: the last number written out of turn; -1: none.
    private func begin(_ item: Gathered, feed: SinkFeed, of stream: StreamState) -> Int64 {
        let part = feed.parts + item.track
        let packet = item.packet
        guard packet.pointee.isKeyFrameStart, !part.pointee.isStalled || feed.sink.hasRoomToBegin else {
            if part.pointee.isStalled { feed.miss(1, track: item.track) }
            anyStalled = true
            return -1
        }
        part.pointee.start(at: packet)
        let end = forEachHeld(from: packet, track: item.track, of: stream) { held in
            feed.give(held, track: item.track)
            return part.pointee.isStarted
        }
        if end < packet.pointee.number { feed.give(packet, track: item.track) }
        return end
    }

    /// A sender report of the publisher.
    func feedReport(track: Int, ntp: UInt64, timestamp: UInt32, arrival: Instant, of stream: StreamState) {
        guard !stream.sinks.isEmpty else { return }
        for feed in stream.sinks { feed.report(track: track, ntp: ntp, timestamp: timestamp, arrival: arrival) }
        markFed(stream)
    }

    // MARK: - Starting from stored packets

    /// Starts a sink from the stored group of pictures, under the same conditions as a player. `false`: a key frame has
    /// to be asked for.
    func startFromCache(_ stream: StreamState, feed: SinkFeed) -> Bool {
        guard let video = stream.videoIndex, feed.parts[video].awaitsKeyFrame else { return true }
        guard !feed.parts[video].isStalled || feed.sink.hasRoomToBegin else { return true }
        let track = stream.tracks[video]
        guard isStoredGroupUsable(track), let first = track.ring.find(track.lastKeyFrame) else { return false }
        feed.parts[video].start(at: first)
        feed.parts[video].isStarted = false
        feed.parts[video].isCatchingUp = true
        feed.parts[video].next = track.lastKeyFrame
        if !catchUp(feed, of: stream) {
            sinksCatchingUp.append((stream, feed))
            hurry()
        }
        return true
    }

    /// Goes on with sinks that had no room for all stored packets; every fast tick.
    func continueSinks() {
        guard !sinksCatchingUp.isEmpty else { return }
        sinksCatchingUp.removeAll { catchUp($0.feed, of: $0.stream) }
    }

    /// - Returns: `true` when the sink has reached the live edge, or needs no stored packets any more.
    private func catchUp(_ feed: SinkFeed, of stream: StreamState) -> Bool {
        guard let video = stream.videoIndex, feed.parts[video].isCatchingUp, !feed.sink.isEnded else { return true }
        // What waits for its fan-out is in the ring already: the sink must not get it twice.
        fanOut(stream, whole: true)
        let part = feed.parts + video
        guard part.pointee.isCatchingUp else { return true }
        defer {
            feed.publish()
            markFed(stream)
        }
        let track = stream.tracks[video]
        if part.pointee.next < track.ring.floor {
            // It took so long that packets are gone.
            feed.miss(Int(track.ring.floor - part.pointee.next), track: video)
            part.pointee.isCatchingUp = false
            part.pointee.isStalled = true
            stream.keyFrameWanted = true
            return true
        }
        while part.pointee.next <= track.ring.highest {
            if let packet = track.ring.find(part.pointee.next) {
                guard feed.offer(packet, track: video) else { return false }
            }
            part.pointee.next += 1
        }
        part.pointee.isCatchingUp = false
        part.pointee.isStarted = true
        return true
    }

    // MARK: - Waking and counting

    private func markFed(_ stream: StreamState) {
        guard !stream.isFed else { return }
        stream.isFed = true
        fed.append(stream)
    }

    /// The end of a turn: consumers that sleep are woken.
    func wakeConsumers() {
        // What has been published is seen by who says now that it sleeps; who said so before is seen here.
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        for stream in fed {
            stream.isFed = false
            for feed in stream.sinks where feed.hasNews {
                feed.hasNews = false
                feed.sink.waker?.wakeIfAsleep()
            }
        }
        fed.removeAll(keepingCapacity: true)
    }

    /// Adds what a sink was given to the counters of all.
    func count(_ feed: SinkFeed) {
        let (written, lost) = feed.takeCounts()
        if written > 0 { counters.sinkPackets.bump(written) }
        if lost > 0 { counters.sinkPacketsLost.bump(lost) }
    }
}
