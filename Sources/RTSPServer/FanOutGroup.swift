import MediaFormats
import NIOCore
import RTSP
import Synchronization
import Wire

/// A player in a connection, on its event loop.
package protocol FanOutPlayer: AnyObject {
    var layout: ChannelLayout { get }
    /// The connection takes more.
    var isWritable: Bool { get }
    /// Media begins with these packets: answer PLAY. Called once.
    func begin(_ first: [RTSPAnswer.FirstPacket?])
    func write(_ bytes: ByteBuffer)
    func streamEnded()
    /// For counting: so many batches were not sent.
    func noteDropped()
    /// Pictures were lost; ask for a key frame.
    func needsKeyFrame()
}

/// The players of one stream on one event loop. All but `post` and `end` is called on that loop.
final class FanOutGroup: Sendable {
    private enum Phase {
        /// Nothing has been sent yet.
        case joining
        /// Sound goes, video waits for a key frame.
        case waiting
        case flowing
    }

    private final class Seat {
        let player: any FanOutPlayer
        var phase = Phase.joining
        init(_ player: any FanOutPlayer) { self.player = player }
    }

    /// What only the loop touches.
    private final class Room {
        var seats: [Seat] = []
        var stored: StoredPictures
        var sources: [InterleavedBatch.Source]
        init(_ stored: StoredPictures, _ sources: [InterleavedBatch.Source]) {
            self.stored = stored
            self.sources = sources
        }
    }

    private let eventLoop: any EventLoop
    private let videoTracks: Set<Int>
    private let clockRates: [Int]
    private let settings: RTSPFanOutSettings
    private let cname: String
    private let allocator = ByteBufferAllocator()
    private let backlog = Atomic<Int>(0)
    /// Something was not posted: behind it nobody's video goes on without a key frame.
    private let hasGap = Atomic<Bool>(false)
    private let room: NIOLoopBound<Room>

    /// To be called on the loop.
    ///
    /// - Parameters:
    ///   - stored: What the stream has sent since its last key frame; what it sends next is posted.
    ///   - sources: As they are after that.
    init(
        eventLoop: any EventLoop, tracks: [TrackDescription], cname: String, settings: RTSPFanOutSettings,
        stored: StoredPictures, sources: [InterleavedBatch.Source]
    ) {
        self.eventLoop = eventLoop
        self.cname = cname
        self.settings = settings
        videoTracks = Set(tracks.indices.filter { tracks[$0].isVideo })
        clockRates = tracks.map(\.clockRate)
        room = NIOLoopBound(Room(stored, sources), eventLoop: eventLoop)
    }

    // MARK: Any thread

    /// By one thread at a time.
    func post(_ batch: InterleavedBatch) {
        let size = batch.bytes.readableBytes
        guard backlog.load(ordering: .relaxed) + size <= settings.maxBacklog else {
            hasGap.store(true, ordering: .relaxed)
            return
        }
        backlog.add(size, ordering: .relaxed)
        let afterGap = hasGap.exchange(false, ordering: .relaxed)
        eventLoop.execute {
            self.backlog.subtract(size, ordering: .relaxed)
            self.deliver(batch, afterGap: afterGap)
        }
    }

    func end() {
        eventLoop.execute {
            let seats = self.room.value.seats
            self.room.value.seats = []
            for seat in seats { seat.player.streamEnded() }
        }
    }

    // MARK: The loop

    var isEmpty: Bool { room.value.seats.isEmpty }

    /// False if the player waits for a key frame.
    func add(_ player: any FanOutPlayer) -> Bool {
        let seat = Seat(player)
        room.value.seats.append(seat)
        let stored = room.value.stored.batches
        if let key = stored.first?.keyFrame(of: playedVideo(seat)), isFresh(key) {
            begin(seat, at: key, in: stored)
            return true
        }
        let bound = NIOLoopBound(seat, eventLoop: eventLoop)
        for wait in [settings.keyFrameWait, max(settings.keyFrameWait, settings.pictureWait)] {
            eventLoop.scheduleTask(in: TimeAmount(wait)) { self.hasWaited(wait, bound.value) }
        }
        return false
    }

    /// By the stream's own time: nothing has come since that much later.
    private func isFresh(_ key: InterleavedBatch.Frame) -> Bool {
        let newest = room.value.stored.batches.last?.sources.compactMap { $0.last?.arrival }.max()
        return newest.map { $0 - key.arrival < settings.freshGroup } ?? false
    }

    /// False if it was not there.
    func remove(_ player: any FanOutPlayer) -> Bool {
        let before = room.value.seats.count
        room.value.seats.removeAll { $0.player === player }
        return room.value.seats.count < before
    }

    /// No key frame came in time: who joins is given the pictures that are stored, or sound alone.
    private func hasWaited(_ time: Duration, _ seat: Seat) {
        guard seat.phase == .joining, room.value.seats.contains(where: { $0 === seat }) else { return }
        let stored = room.value.stored.batches
        guard let first = stored.first, let key = first.keyFrame(of: playedVideo(seat)) else {
            guard time >= settings.pictureWait else { return }
            seat.phase = .waiting
            seat.player.begin(firstPackets(seat.player, nil, []))
            return sendReports(room.value.sources, to: seat)
        }
        begin(seat, at: key, in: stored)
    }

    private func playedVideo(_ seat: Seat) -> Set<Int> {
        videoTracks.filter { seat.player.layout[$0] != nil }
    }

    private func deliver(_ batch: InterleavedBatch, afterGap: Bool) {
        let room = room.value
        let key = batch.keyFrame(of: videoTracks)
        room.sources = batch.sources
        room.stored.keep(batch, key, afterGap: afterGap, limit: settings.maxGroupBytes)
        var variants: [ChannelLayout: ByteBuffer] = [:]
        for seat in room.seats {
            if afterGap, seat.phase == .flowing, !playedVideo(seat).isEmpty { seat.phase = .waiting }
            deliver(batch, key, to: seat, &variants)
        }
    }

    private func deliver(
        _ batch: InterleavedBatch, _ key: InterleavedBatch.Frame?, to seat: Seat,
        _ variants: inout [ChannelLayout: ByteBuffer]
    ) {
        let player = seat.player
        let video = playedVideo(seat)
        if seat.phase == .joining {
            if video.isEmpty {
                begin(seat, at: nil, in: [batch])
            } else if let key {
                begin(seat, at: key, in: [batch])
            }
            return
        }
        guard player.isWritable else {
            player.noteDropped()
            if seat.phase == .flowing, !video.isEmpty { seat.phase = .waiting }
            return
        }
        switch seat.phase {
        case .joining: break
        case .flowing:
            let layout = player.layout
            if layout.isPlain { return player.write(batch.bytes) }
            if let ready = variants[layout] { return player.write(ready) }
            let bytes = layout.bytes(of: batch, allocator: allocator) { _ in true }
            variants[layout] = bytes
            if bytes.readableBytes > 0 { player.write(bytes) }
        case .waiting:
            if let key {
                seat.phase = .flowing
                send(batch, from: key, to: seat)
            } else {
                player.needsKeyFrame()
                let sound = player.layout.bytes(of: batch, allocator: allocator) { !video.contains($0.track) }
                if sound.readableBytes > 0 { player.write(sound) }
            }
        }
    }

    /// Answers PLAY and sends the batches from the key frame on.
    private func begin(_ seat: Seat, at key: InterleavedBatch.Frame?, in batches: [InterleavedBatch]) {
        seat.phase = .flowing
        seat.player.begin(firstPackets(seat.player, key, batches))
        // A request that waited behind PLAY may have ended it.
        guard room.value.seats.contains(where: { $0 === seat }) else { return }
        sendReports(batches.last?.sources ?? [], to: seat)
        for (index, batch) in batches.enumerated() {
            guard index == 0, let key else {
                send(batch, from: nil, to: seat)
                continue
            }
            send(batch, from: key, to: seat)
        }
    }

    /// What the clocks are, before the first packet: clients that play before they know start anew when they are told.
    private func sendReports(_ sources: [InterleavedBatch.Source], to seat: Seat) {
        var bytes: [UInt8] = []
        for (track, source) in sources.enumerated() {
            guard let channels = seat.player.layout[track], let packet = source.senderReport(cname: cname) else {
                continue
            }
            InterleavedFrame.append(packet, channel: channels.rtcp, into: &bytes)
        }
        if !bytes.isEmpty { seat.player.write(ByteBuffer(bytes: bytes)) }
    }

    /// The batch without what is of video and before the key frame.
    private func send(_ batch: InterleavedBatch, from key: InterleavedBatch.Frame?, to seat: Seat) {
        let start = key?.range.lowerBound ?? 0
        let bytes = seat.player.layout.bytes(of: batch, allocator: allocator) { frame in
            frame.isRTCP || !videoTracks.contains(frame.track) || frame.range.lowerBound >= start
        }
        if bytes.readableBytes > 0 { seat.player.write(bytes) }
    }

    // MARK: RTP-Info

    /// First packet of each track that the player gets, and the RTP time that belongs to the first picture, so that a
    /// client has the tracks in time before any report has reached it.
    private func firstPackets(
        _ player: any FanOutPlayer, _ key: InterleavedBatch.Frame?, _ batches: [InterleavedBatch]
    ) -> [RTSPAnswer.FirstPacket?] {
        let sources = batches.last?.sources ?? room.value.sources
        let frames = batches.lazy.flatMap(\.frames).filter { !$0.isRTCP }
        let played = frames.filter { player.layout[$0.track] != nil }
        let begin = key.map(Moment.init) ?? played.first.map(Moment.init) ?? Self.latest(sources)
        return clockRates.indices.map { track in
            guard player.layout[track] != nil else { return nil }
            if let key, key.track == track {
                return RTSPAnswer.FirstPacket(sequence: key.sequence, rtpTime: key.timestamp)
            }
            return RTSPAnswer.FirstPacket(
                sequence: frames.first { $0.track == track }?.sequence,
                rtpTime: begin.flatMap { rtpTime(of: track, at: $0, sources) })
        }
    }

    /// A point of the stream's time.
    fileprivate struct Moment {
        var track: Int
        var timestamp: UInt32
        var arrival: Instant
    }

    private static func latest(_ sources: [InterleavedBatch.Source]) -> Moment? {
        sources.indices.compactMap { track in
            sources[track].last.map { Moment(track: track, timestamp: $0.timestamp, arrival: $0.arrival) }
        }.max { $0.arrival < $1.arrival }
    }

    /// By the reports of both tracks; where one has not come yet, by when the packets did.
    private func rtpTime(of track: Int, at moment: Moment, _ sources: [InterleavedBatch.Source]) -> UInt32? {
        guard sources.indices.contains(track), sources.indices.contains(moment.track) else { return nil }
        if track == moment.track { return moment.timestamp }
        let known = sources[moment.track]
        let wanted = sources[track]
        let rate = Double(clockRates[track])
        if let there = known.report, let here = wanted.report, clockRates[moment.track] > 0 {
            let sinceReport =
                Double(Int32(bitPattern: moment.timestamp &- there.timestamp)) / Double(clockRates[moment.track])
            let between = Double(Int64(bitPattern: there.ntp.rawValue &- here.ntp.rawValue)) / 4_294_967_296
            if let time = Self.add(sinceReport + between, to: here.timestamp, rate) { return time }
        }
        guard let last = wanted.last else { return nil }
        return Self.add(Double((moment.arrival - last.arrival).nanoseconds) / 1e9, to: last.timestamp, rate)
    }

    private static func add(_ seconds: Double, to timestamp: UInt32, _ rate: Double) -> UInt32? {
        let ticks = (seconds * rate).rounded()
        guard ticks.magnitude < 4e9 else { return nil }
        return timestamp &+ UInt32(truncatingIfNeeded: Int64(ticks))
    }
}

extension FanOutGroup.Moment {
    fileprivate init(_ frame: InterleavedBatch.Frame) {
        self.init(track: frame.track, timestamp: frame.timestamp, arrival: frame.arrival)
    }
}
