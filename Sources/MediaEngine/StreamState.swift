import MediaFormats
import RTP
import SDP
import Wire

/// One track of a stream on one worker: the ring that players are served from and, on the worker that receives the
/// publisher, the state of its reception. Nothing here assumes that a track has one layer only: a layer is a source
/// of numbers for the ring.
package final class Track {
    let kind: MediaKind
    let codec: Codec?
    let clockRate: Int
    let transportIndex: Int
    /// `a=mid` of the publisher's m-line; empty when it has none.
    let mid: [UInt8]
    let payloadType: UInt8
    let rtxPayloadType: UInt8?
    package internal(set) var ring: TrackRing
    var numbering = PacketNumbering()
    var nack = NackGenerator(reorderWait: Track.reorderWait)
    var statistics = ReceiverStatistics()
    var ssrc: UInt32?
    var rtxSSRC: UInt32?
    /// SSRC before the sender was restarted: its stragglers are not another restart.
    var formerSSRC: UInt32?
    var lastKeyFrame: Int64 = -1
    var lastKeyFrameTimestamp: UInt32 = 0
    var lastTimestamp: UInt32 = 0
    /// Parameter sets of the publisher's SDP, one NAL unit each, for key frames that come without (RFC 6184 §8.2.2).
    let parameterSets: [[UInt8]]
    /// Picture that brought its own parameter sets last.
    var parameterSetTimestamp: UInt32?
    /// What is known of the publisher's answers to key-frame requests.
    var hearing = Hearing.unknown
    package enum Hearing: Sendable {
        /// Not asked yet: the current group of pictures is kept, in case the answer is none.
        case unknown
        /// Key frames come when they are asked for: nothing is kept.
        case listens
        /// Key frames come at the publisher's own times: the current group is kept, and given to who joins.
        case deaf
    }
    /// Requests in a row that were answered at once: the publisher does listen after all.
    var promptAnswers = 0
    var size = VideoSize(width: 0, height: 0)
    /// What the control side knows.
    var reportedSize: VideoSize?
    /// Added to the source's timestamps after a change of source.
    var timestampOffset: UInt32 = 0
    var orientationID: UInt8 = 0
    /// Of a source inside the process: its highest number, when its latest packet came, and when it said that the next
    /// one begins anew.
    var lastSource: Int64 = -1
    var lastArrival = Instant.zero
    var restarted: Instant?
    /// Latest sender report: the publisher's clock (64-bit NTP) at an RTP time, and when it came.
    var report: (ntp: UInt64, timestamp: UInt32, arrival: Instant)?
    var firSequence: UInt8 = 0
    var canPLI = true
    var canFIR = false
    var canNACK = false
    var canREMB = false
    var canTransportCC = false

    private static let maxParameterSets = 8
    /// Time that packets may overtake each other on the publisher's link before one counts as lost.
    static let reorderWait = Interval.milliseconds(5)

    init(_ negotiated: NegotiatedTrack, slab: PacketSlab) {
        kind = negotiated.kind
        codec = Codec(sdpName: negotiated.codec.name)
        clockRate = max(negotiated.codec.clockRate, 1)
        transportIndex = negotiated.transportIndex
        mid = negotiated.mid.map { Array($0.utf8) } ?? []
        payloadType = negotiated.codec.payloadType
        rtxPayloadType = negotiated.codec.rtxPayloadType
        ring = TrackRing(
            capacity: negotiated.kind == .video ? 2048 : 256, maxAge: .milliseconds(2000), slab: slab)
        ssrc = negotiated.ssrc
        rtxSSRC = negotiated.rtxSSRC
        orientationID = negotiated.extensions[RTPExtensionURI.videoOrientation] ?? 0
        let feedback = negotiated.codec.feedback
        canPLI = feedback.contains("nack pli")
        canFIR = feedback.contains("ccm fir")
        canNACK = feedback.contains("nack")
        canREMB = feedback.contains("goog-remb")
        canTransportCC = feedback.contains("transport-cc")
        let hasSets = codec == .h264 || codec == .h265
        let sets = hasSets ? negotiated.parameterSets.map(H264.parameterSets(sprop:)) ?? [] : []
        parameterSets = sets.count <= Self.maxParameterSets && sets.allSatisfy { $0.count <= 1200 } ? sets : []
    }
}

/// A packet that has arrived and not yet been fanned out.
package struct PendingPacket: BitwiseCopyable {
    package var track: Int32
    package var number: Int64
}

/// One stream on one worker. On the worker of its publisher it is the origin; elsewhere a replica fed by a
/// `CrossingQueue`. Players' lanes lie in one array: `lanes[player * tracks.count + track]`.
package final class StreamState {
    package let id: UInt64
    package let tracks: [Track]
    let isOrigin: Bool
    let originWorker: Int
    unowned(unsafe) var publisher: Peer?
    private(set) var lanes: UnsafeMutablePointer<Lane>
    private var laneCapacity: Int
    package private(set) var players: [Peer] = [] { didSet { hasTakers = !players.isEmpty || !sinks.isEmpty } }
    /// Consumers that are no players (origin only).
    private(set) var sinks: [SinkFeed] = [] { didSet { hasTakers = !players.isEmpty || !sinks.isEmpty } }
    /// Anybody here is given the stream's packets: the one question of the receive path.
    private(set) var hasTakers = false
    /// Sinks were written to in this turn.
    var isFed = false
    /// Workers that hold a replica (origin only).
    var subscribers: Set<Int> = []
    package let pending: UnsafeMutablePointer<PendingPacket>
    package internal(set) var pendingCount = 0
    package static let maxPending = 1024
    /// When the gathered packets leave: at once, when their picture is complete or has been waited for long enough, or
    /// with the next slice of a burst.
    var due = Instant.distantFuture
    /// When the next slice of a burst begins, and the video packets that have left in this one.
    var nextSlice = Instant.zero
    var sliceUsed = 0
    var lastKeyFrameRequest = Instant(nanoseconds: .min / 2)
    var keyFrameWanted = false
    /// A request came too soon after the one before and has not been answered by a key frame since.
    var isRequestDue = false
    /// First request that no key frame has answered yet (origin and replicas keep their own).
    var unansweredRequest: Instant?
    /// An ICE-TCP player was congested and waits for a key frame once it is not; or a sink waits for one.
    var hasStalledTakers = false
    /// Players that get key frames only.
    var thinnedPlayers = 0

    package init(id: UInt64, tracks: [NegotiatedTrack], originWorker: Int, isOrigin: Bool, slab: PacketSlab) {
        self.id = id
        self.tracks = tracks.map { Track($0, slab: slab) }
        self.originWorker = originWorker
        self.isOrigin = isOrigin
        laneCapacity = 4 * max(tracks.count, 1)
        lanes = .allocate(capacity: laneCapacity)
        pending = .allocate(capacity: Self.maxPending)
    }

    deinit {
        lanes.deallocate()
        pending.deallocate()
    }

    var videoIndex: Int? { tracks.firstIndex { $0.kind == .video } }

    /// Appends a player; `make` gives the lane of each track, inactive for tracks the player does not take.
    package func add(_ player: Peer, lanes make: [Lane]) {
        precondition(make.count == tracks.count, "one lane per track")
        let used = players.count * tracks.count
        if used + tracks.count > laneCapacity {
            let bigger = UnsafeMutablePointer<Lane>.allocate(capacity: laneCapacity * 2)
            bigger.update(from: lanes, count: used)
            lanes.deallocate()
            lanes = bigger
            laneCapacity *= 2
        }
        for (i, lane) in make.enumerated() { (lanes + used + i).initialize(to: lane) }
        player.position = players.count
        players.append(player)
    }

    /// Removes a player; the last one takes its place, so that lanes stay dense.
    package func remove(_ player: Peer) {
        guard let position = player.position, position < players.count, players[position] === player else { return }
        let last = players.count - 1
        if position != last {
            players[position] = players[last]
            players[position].position = position
            (lanes + position * tracks.count).update(from: lanes + last * tracks.count, count: tracks.count)
        }
        players.removeLast()
        player.position = nil
    }

    func add(_ feed: SinkFeed) { sinks.append(feed) }
    func removeSinks(where isGone: (SinkFeed) -> Bool) { sinks.removeAll(where: isGone) }

    package func lane(of player: Peer, track: Int) -> UnsafeMutablePointer<Lane>? {
        guard let position = player.position, track < tracks.count else { return nil }
        return lanes + position * tracks.count + track
    }

    /// Whether a stored packet still waits for its fan-out.
    func isPending(_ number: Int64, of track: Track) -> Bool {
        for i in 0..<pendingCount where pending[i].number == number && tracks[Int(pending[i].track)] === track {
            return true
        }
        return false
    }

    /// Queues a stored packet for fan-out, in the order of its track's numbers: packets that were reordered within
    /// one turn are handed on in order at no cost of delay.
    package func enqueue(track: Int, number: Int64) {
        guard pendingCount < Self.maxPending else { return }
        var at = pendingCount
        pending[at] = PendingPacket(track: Int32(track), number: number)
        pendingCount += 1
        var back = at - 1
        while back >= 0 {
            if pending[back].track == Int32(track) {
                guard pending[back].number > number else { break }
                swap(&pending[back].number, &pending[at].number)
                at = back
            }
            back -= 1
        }
    }
}

extension Codec {
    /// The codec whose `a=rtpmap` name this is, whatever the case (RFC 4855 §3).
    init?(sdpName: String) {
        let lower = sdpName.lowercased()
        guard let match = Codec.allCases.first(where: { $0.rawValue == lower || $0.name.lowercased() == lower }) else {
            return nil
        }
        self = match
    }
}
