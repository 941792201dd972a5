import MediaFormats
import NIOCore
import RTP
import RTSP
import Synchronization
import Wire

/// Bounds of the players in connections.
package struct RTSPFanOutSettings: Sendable {
    /// How long a new player waits for a key frame that has been asked for, before it is given the stored pictures.
    package var keyFrameWait: Duration = .milliseconds(300)
    /// How long it waits where none are stored, before it is given sound alone.
    package var pictureWait: Duration = .seconds(2)
    /// Who joins is given the stored pictures at once if their key frame is so recent; zero: never.
    package var freshGroup: Interval = .milliseconds(500)
    /// Stored pictures since the last key frame, for who joins.
    package var maxGroupBytes = 4 << 20
    /// What may be on its way to one event loop; beyond it the loop's players lose pictures.
    package var maxBacklog = 8 << 20

    package init() {}
}

/// One published stream on its way to players in connections (RTSP over TCP).
///
/// The stream's packets are put together once per batch, and the same bytes go to every player: what a player costs is one
/// write per batch. A player whose connection takes no more loses what comes until it has room and a key frame comes;
/// nobody waits for it.
///
/// One thread at a time sends; all else may be called from any thread.
package final class RTSPStream: Sendable {
    private struct Loops {
        var groups: [ObjectIdentifier: FanOutGroup] = [:]
        /// For the first player of a loop.
        var stored = StoredPictures()
        /// As they were when the last batch was sent.
        var sources: [InterleavedBatch.Source] = []
        var isEnded = false
    }

    package let tracks: [TrackDescription]
    private let videoTracks: Set<Int>
    private let settings: RTSPFanOutSettings
    private let cname: String
    private let askForKeyFrame: @Sendable () -> Void
    private let builder: Mutex<BatchBuilder>
    private let loops = Mutex(Loops())
    private let joined = Atomic<Int>(0)

    /// - Parameters:
    ///   - ssrcs: Source identifiers of the tracks, those that players were told.
    ///   - askForKeyFrame: Asks the publisher; must be cheap, and is throttled by who is asked.
    package init(
        tracks: [TrackDescription], ssrcs: [UInt32], cname: String, settings: RTSPFanOutSettings = RTSPFanOutSettings(),
        askForKeyFrame: @escaping @Sendable () -> Void
    ) {
        precondition(tracks.count == ssrcs.count, "a source for each track")
        self.tracks = tracks
        videoTracks = Set(tracks.indices.filter { tracks[$0].isVideo })
        self.settings = settings
        self.cname = cname
        self.askForKeyFrame = askForKeyFrame
        let types = RTSPDescription.payloadTypes(tracks)
        builder = Mutex(
            BatchBuilder(
                tracks: tracks.indices.map { index in
                    BatchBuilder.Track(
                        payloadType: types[index], source: InterleavedBatch.Source(ssrc: ssrcs[index]))
                }, cname: cname))
    }

    // MARK: The sending thread

    /// A packet of the publisher's, to be sent by `flush`.
    ///
    /// - Parameters:
    ///   - number: Sequence number, extended.
    ///   - arrival: When the server received it: tells how tracks lie to each other while no report has.
    package func send(
        track: Int, number: Int64, timestamp: UInt32, marker: Bool, isKeyFrameStart: Bool, arrival: Instant,
        _ payload: RawSpan
    ) {
        builder.withLock {
            $0.add(
                track: track, number: number, timestamp: timestamp, marker: marker, isKeyFrameStart: isKeyFrameStart,
                arrival: arrival, payload)
        }
    }

    /// The publisher's clock at an RTP time (NTP, 32.32 bits).
    package func report(track: Int, ntp: UInt64, timestamp: UInt32) {
        builder.withLock { $0.report(track: track, ntp: NTPTime(rawValue: ntp), timestamp: timestamp) }
    }

    /// Sends what has been given: once per picture, or per batch of packets.
    package func flush() {
        guard let batch = builder.withLock({ $0.take() }) else { return }
        let key = batch.keyFrame(of: videoTracks)
        // In one step: a group that is made next has the batch in its store, and is not posted it.
        let groups = loops.withLock { loops in
            loops.stored.keep(batch, key, afterGap: false, limit: settings.maxGroupBytes)
            loops.sources = batch.sources
            return Array(loops.groups.values)
        }
        for group in groups { group.post(batch) }
    }

    /// The publisher is gone: players are told and disconnected.
    package func end() {
        builder.withLock { $0.bye() }
        flush()
        let groups = loops.withLock { loops in
            loops.isEnded = true
            loops.stored = StoredPictures()
            defer { loops.groups = [:] }
            return Array(loops.groups.values)
        }
        joined.store(0, ordering: .relaxed)
        for group in groups { group.end() }
    }

    // MARK: Players

    /// Nobody plays: what feeds the stream may stop.
    package var isIdle: Bool { loops.withLock { $0.groups.isEmpty } }

    /// Players that have joined and not left.
    package var playerCount: Int { joined.load(ordering: .relaxed) }

    package func requestKeyFrame() { askForKeyFrame() }

    /// A player joins, on its event loop. - Returns: False if the stream has ended.
    package func join(_ player: any FanOutPlayer, eventLoop: any EventLoop) -> Bool {
        let group = loops.withLock { loops -> FanOutGroup? in
            guard !loops.isEnded else { return nil }
            let id = ObjectIdentifier(eventLoop)
            if let group = loops.groups[id] { return group }
            let group = FanOutGroup(
                eventLoop: eventLoop, tracks: tracks, cname: cname, settings: settings,
                stored: loops.stored, sources: loops.sources)
            loops.groups[id] = group
            return group
        }
        guard let group else { return false }
        if !group.add(player) { askForKeyFrame() }
        joined.add(1, ordering: .relaxed)
        return true
    }

    package func leave(_ player: any FanOutPlayer, eventLoop: any EventLoop) {
        let id = ObjectIdentifier(eventLoop)
        guard let group = loops.withLock({ $0.groups[id] }) else { return }
        if group.remove(player) { joined.subtract(1, ordering: .relaxed) }
        // Joining happens on the same loop, so nobody comes in between.
        if group.isEmpty { loops.withLock { $0.groups[id] = nil } }
    }
}
