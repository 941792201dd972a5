import ControlPlane
import MediaEngine
import MediaFormats
import MediaTaps
import RTSP
import RTSPServer
import Synchronization
import Wire

/// Carries the packets of one published stream to its RTSP players in connections, and picks out of them what session
/// descriptions want to know.
///
/// Packets come on the reader's thread.
final class RTSPFeed: PacketConsumer {
    let stream: RTSPStream
    /// The parameter sets of all pictures are known.
    let described = Gate()

    private let tracks: [TrackDescription]
    private let collectors: Mutex<[ParameterSetCollector?]>
    private let isOver = Atomic<Bool>(false)
    private let lastUse: Mutex<Instant>
    /// Packets of each track in which there was nothing: those behind close up, or they would look like a loss.
    /// Of the reader's thread.
    nonisolated(unsafe) private var empty: [Int64]
    /// Room for one payload. Of the reader's thread.
    nonisolated(unsafe) private var simpler: [UInt8] = []
    /// Sound that came in the midst of a picture of AV1 goes behind that: FFmpeg 8 gathers the fragments of a picture in
    /// the packet that it gives out next, and loses the picture to whatever comes between. Of the reader's thread.
    nonisolated(unsafe) private var held: [(packet: SinkPacket, payload: [UInt8])] = []
    nonisolated(unsafe) private var isInPicture = false
    /// Should the end of a picture never come.
    private static let mostHeld = 8

    init(tracks: [TrackDescription], ssrcs: [UInt32], cname: String, askForKeyFrame: @escaping @Sendable () -> Void) {
        self.tracks = tracks
        stream = RTSPStream(tracks: tracks, ssrcs: ssrcs, cname: cname, askForKeyFrame: askForKeyFrame)
        collectors = Mutex(
            tracks.map { track in
                track.codec.hasParameterSets
                    ? ParameterSetCollector(codec: track.codec, known: track.parameterSets) : nil
            })
        empty = tracks.map { _ in 0 }
        lastUse = Mutex(.now)
        openIfComplete()
    }

    // MARK: Any thread

    /// The publisher has gone.
    var hasEnded: Bool { isOver.load(ordering: .acquiring) }

    /// Somebody asks about the stream, or is about to join.
    func touch() { lastUse.withLock { $0 = .now } }

    /// Nobody plays, and nobody has asked since.
    func isIdle(since time: Instant) -> Bool { stream.isIdle && lastUse.withLock { $0 < time } }

    /// The tracks with the parameter sets that have gone by.
    var descriptions: [TrackDescription] {
        collectors.withLock { collectors in
            tracks.indices.map { index in
                var track = tracks[index]
                if let sets = collectors[index]?.sets, !sets.isEmpty { track.parameterSets = sets }
                return track
            }
        }
    }

    /// Whether a description of these tracks says all that a client wants to know before the first picture.
    static func isComplete(_ tracks: [TrackDescription]) -> Bool { tracks.allSatisfy { $0.hasAllParameterSets } }

    private func openIfComplete() {
        if Self.isComplete(descriptions) { described.open() }
    }

    // MARK: PacketConsumer

    /// A round costs one write per player: the more there are, the more packets it carries.
    static func patience(players: Int) -> Interval {
        min(.microseconds(1_000 + 20 * Int64(clamping: players)), longestPatience)
    }
    private static let longestPatience = Interval.milliseconds(20)

    var patience: Interval { Self.patience(players: stream.playerCount) }

    func handle(_ packet: SinkPacket, _ payload: RawSpan) {
        guard payload.byteCount > 0 else {
            empty[packet.track] += 1
            return
        }
        if ParameterSetCollector.mayHold(tracks[packet.track].codec, payload) {
            collectors.withLock { $0[packet.track]?.add(payload) }
            openIfComplete()
        }
        switch tracks[packet.track].codec {
        case .vp9: sendSimpler(packet, payload)
        case .av1:
            send(packet, payload)
            isInPicture = !packet.marker
            if !isInPicture { release() }
        default:
            guard isInPicture, !tracks[packet.track].isVideo else { return send(packet, payload) }
            held.append((packet, payload.copied()))
            if held.count == Self.mostHeld { release() }
        }
    }

    private func release() {
        isInPicture = false
        for (packet, payload) in held { send(packet, unsafe payload.span.bytes) }
        held.removeAll(keepingCapacity: true)
    }

    private func sendSimpler(_ packet: SinkPacket, _ payload: RawSpan) {
        var room: [UInt8] = []
        swap(&room, &simpler)
        if VP9.withoutFlexibleMode(payload, into: &room) {
            send(packet, unsafe room.span.bytes)
        } else {
            send(packet, payload)
        }
        swap(&room, &simpler)
    }

    private func send(_ packet: SinkPacket, _ payload: RawSpan) {
        stream.send(
            track: packet.track, number: packet.number &- empty[packet.track], timestamp: packet.timestamp,
            marker: packet.marker, isKeyFrameStart: packet.isKeyFrameStart, arrival: packet.arrival, payload)
    }

    func handleReport(track: Int, ntp: UInt64, timestamp: UInt32) {
        stream.report(track: track, ntp: ntp, timestamp: timestamp)
    }

    func handleLoss(track: Int) {
        release()
        // Nobody else misses it: what these players say goes no further than their connections.
        if tracks[track].isVideo { stream.requestKeyFrame() }
    }

    func flush() { stream.flush() }

    func ended() {
        release()
        isOver.store(true, ordering: .releasing)
        described.open()
        stream.end()
    }
}

extension Codec {
    /// Pictures cannot be decoded without sets that are not part of them.
    fileprivate var hasParameterSets: Bool { self == .h264 || self == .h265 }
}

extension TrackDescription {
    fileprivate var hasAllParameterSets: Bool {
        let kinds = Set(parameterSets.compactMap { $0.first.map { NALUnits.kind(codec, $0) } })
        return switch codec {
        case .h264: kinds.isSuperset(of: [.sequenceParameterSet, .pictureParameterSet])
        case .h265: kinds.isSuperset(of: [.videoParameterSet, .sequenceParameterSet, .pictureParameterSet])
        default: true
        }
    }
}
