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

    /// A stream of the engine: a publisher's, or one that is made of it (`StreamVariants`).
    private struct Reading {
        var feed: (feed: RTSPFeed, tap: PacketTap)?
        /// As they were when it was read last.
        var known: [TrackDescription]?
    }

    private struct State {
        /// Who publishes, by name.
        var publishers: [String: PeerID] = [:]
        /// What is read, or was.
        var readings: [PeerID: Reading] = [:]
    }

    private let engine: MediaEngine
    private let reader: PacketReader
    private let sources: RTSPSourceIdentifiers
    private let timers = Timers(ContinuousClock())
    private let state = Mutex(State())

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
        let before = state.withLock { state -> Reading? in
            guard let before = state.publishers.updateValue(publisher, forKey: name), before != publisher else {
                return nil
            }
            return state.readings.removeValue(forKey: before)
        }
        before?.feed?.tap.cancel()
    }

    package func unpublished(_ name: String, by publisher: PeerID) {
        let gone = state.withLock { state -> Reading? in
            guard state.publishers[name] == publisher else { return nil }
            state.publishers[name] = nil
            return state.readings.removeValue(forKey: publisher)
        }
        gone?.feed?.tap.cancel()
    }

    // MARK: Streams

    /// The media peer of a stream; nil: nobody publishes it.
    func publisher(of name: String) -> PeerID? { state.withLock { $0.publishers[name] } }

    /// The tracks of a stream, as far as they are known; nil: it has ended.
    func tracks(of peer: PeerID) -> [TrackDescription]? {
        let reading = state.withLock { $0.readings[peer] }
        if let feed = reading?.feed?.feed { return feed.descriptions }
        return reading?.known ?? engine.tracks(of: peer.rawValue)
    }

    /// The tracks with their parameter sets, for which some pictures may have to be waited.
    ///
    /// - Parameter name: under which the stream is played.
    func describe(_ peer: PeerID, _ name: String) async -> [TrackDescription]? {
        guard let tracks = tracks(of: peer) else { return nil }
        guard !RTSPFeed.isComplete(tracks) else { return tracks }
        guard let feed = open(peer, name) else { return nil }
        _ = await withDeadline(timers, Self.describeWait) { await feed.described.wait() }
        // Without them a client waits for those in the stream.
        return feed.descriptions
    }

    /// The stream for players in connections, read from now on; nil: it has ended.
    func open(_ peer: PeerID, _ name: String) -> RTSPFeed? {
        state.withLock { state in
            let reading = state.readings[peer] ?? Reading()
            if let feed = reading.feed?.feed, !feed.hasEnded {
                feed.touch()
                return feed
            }
            var made: RTSPFeed?
            let id = peer.rawValue
            let tap = reader.tap(publisher: id, capacity: Self.sinkBytes) { [engine, sources] tracks in
                let feed = RTSPFeed(
                    tracks: reading.known ?? tracks, ssrcs: tracks.indices.map { sources.ssrc(name, $0) },
                    cname: Self.cname, askForKeyFrame: { engine.requestKeyFrame(publisher: id) })
                made = feed
                return feed
            }
            guard let tap, let made else { return nil }
            state.readings[peer] = Reading(feed: (made, tap), known: reading.known)
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
        let idle = state.withLock { state -> [PacketTap] in
            var idle: [PacketTap] = []
            let published = Set(state.publishers.values)
            for (peer, reading) in state.readings {
                if let (feed, tap) = reading.feed, feed.isIdle(since: now - Self.linger) {
                    state.readings[peer] = Reading(feed: nil, known: feed.descriptions)
                    idle.append(tap)
                } else if reading.feed == nil, !published.contains(peer), engine.tracks(of: peer.rawValue) == nil {
                    // Of a variant that has ended.
                    state.readings[peer] = nil
                }
            }
            return idle
        }
        for tap in idle { tap.cancel() }
    }

    /// All players are told of the end; returns when the reader's thread is gone.
    package func stop() { reader.stop() }
}
