import ControlPlane
import MediaEngine
import MediaFormats
import MediaTaps
import RTSP
import RTSPServer
import Synchronization
import WeirMetrics
import Wire

/// RTSP of the published streams: knows who publishes, and reads the packets of those that somebody plays in a
/// connection. One thread reads all of them.
package final class RTSPOutput: StreamObserver {
    /// A stream is read for so long after its last player, so that the next one finds its last key frame.
    static let linger = Interval.seconds(10)
    private static let lookInterval = Duration.seconds(1)
    /// Bytes of packets that may wait for the reader's thread.
    private static let sinkBytes = 2 << 20
    /// Longer, and clients give up DESCRIBE; a publisher that was asked for a key frame has sent one by then.
    private static let describeWait = Duration.seconds(2)
    /// In sender reports.
    private static let cname = "weir"

    private struct Publisher {
        let peer: PeerID
        var feed: (feed: RTSPFeed, tap: PacketTap)?
        /// As they were when it was read last.
        var known: [TrackDescription]?
    }

    private let engine: MediaEngine
    private let reader: PacketReader
    private let sources: RTSPSourceIdentifiers
    private let timers = Timers(ContinuousClock())
    /// Who publishes, by name.
    private let publishers = Mutex<[String: Publisher]>([:])

    /// Starts the reader's thread.
    package init(engine: MediaEngine, sources: RTSPSourceIdentifiers, metrics: MetricsRegistry) throws {
        self.engine = engine
        self.sources = sources
        reader = try PacketReader(engine: engine)
        metrics.collect { [weak self] in
            [
                WeirMetrics.Sample(
                    name: "weir_rtsp_streams", help: "Streams that are read for RTSP players in connections",
                    kind: .gauge, labels: [], value: Double(self?.reader.count ?? 0))
            ]
        }
    }

    // MARK: StreamObserver

    package func published(_ name: String, by publisher: PeerID) {
        let before = publishers.withLock { publishers -> Publisher? in
            defer { publishers[name] = Publisher(peer: publisher) }
            return publishers[name]
        }
        before?.feed?.tap.cancel()
    }

    package func unpublished(_ name: String, by publisher: PeerID) {
        let gone = publishers.withLock { publishers -> Publisher? in
            guard publishers[name]?.peer == publisher else { return nil }
            return publishers.removeValue(forKey: name)
        }
        gone?.feed?.tap.cancel()
    }

    // MARK: Streams

    /// The media peer of a stream and its tracks, as far as they are known; nil: nobody publishes it.
    func tracks(of name: String) -> (publisher: PeerID, tracks: [TrackDescription])? {
        guard let publisher = publishers.withLock({ $0[name] }) else { return nil }
        if let feed = publisher.feed?.feed { return (publisher.peer, feed.descriptions) }
        guard let tracks = publisher.known ?? engine.tracks(of: publisher.peer.rawValue) else { return nil }
        return (publisher.peer, tracks)
    }

    /// The tracks with their parameter sets, for which some pictures may have to be waited.
    func describe(_ name: String) async -> [TrackDescription]? {
        guard let (_, tracks) = tracks(of: name) else { return nil }
        guard !RTSPFeed.isComplete(tracks) else { return tracks }
        guard let feed = open(name) else { return nil }
        _ = await withDeadline(timers, Self.describeWait) { await feed.described.wait() }
        // Without them a client waits for those in the stream.
        return feed.descriptions
    }

    /// The stream for players in connections, read from now on; nil: nobody publishes it.
    func open(_ name: String) -> RTSPFeed? {
        publishers.withLock { publishers in
            guard let publisher = publishers[name] else { return nil }
            if let feed = publisher.feed?.feed, !feed.hasEnded {
                feed.touch()
                return feed
            }
            var made: RTSPFeed?
            let id = publisher.peer.rawValue
            let tap = reader.tap(publisher: id, capacity: Self.sinkBytes) { [engine, sources] tracks in
                let feed = RTSPFeed(
                    tracks: publisher.known ?? tracks, ssrcs: tracks.indices.map { sources.ssrc(name, $0) },
                    cname: Self.cname, askForKeyFrame: { engine.requestKeyFrame(publisher: id) })
                made = feed
                return feed
            }
            guard let tap, let made else { return nil }
            publishers[name]?.feed = (made, tap)
            return made
        }
    }

    // MARK: Time

    /// Ends the reading of streams that nobody plays, until the task is cancelled.
    package func run() async {
        while !Task.isCancelled {
            look(now: .now)
            try? await Task.sleep(for: Self.lookInterval)
        }
    }

    func look(now: Instant) {
        let idle = publishers.withLock { publishers -> [PacketTap] in
            var idle: [PacketTap] = []
            for (name, publisher) in publishers {
                guard let (feed, tap) = publisher.feed, feed.isIdle(since: now - Self.linger) else { continue }
                publishers[name]?.known = feed.descriptions
                publishers[name]?.feed = nil
                idle.append(tap)
            }
            return idle
        }
        for tap in idle { tap.cancel() }
    }

    /// All players are told of the end; returns when the reader's thread is gone.
    package func stop() { reader.stop() }
}
