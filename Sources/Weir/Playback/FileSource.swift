import ControlPlane
import Glibc
import LinuxNet
import MediaEngine
import MediaFiles
import MediaFormats
import Playback
import RTP
import SDP
import Synchronization
import Wire

import struct ControlPlane.MediaDescription

/// One file that is played: read and made ready on reader threads, a second ahead, and sent by the pacer when it is due.
final class FileSource: OnDemandSource {
    /// Units made ready, and sent, at a stretch before other files have their turn.
    private static let unitsPerTurn = 128

    /// What a file needs of its surroundings.
    struct Desk: Sendable {
        /// Runs that on a thread that may wait for disks; false: too many wait.
        var schedule: @Sendable (@escaping @Sendable () -> Void) -> Bool
        var open: @Sendable (PlaybackName) throws(ContainerError) -> CInt
        var media: EngineMediaBackend
        var places: TranscodingPlaces
        /// False: there are as many files as may be.
        var admit: @Sendable (FileSource) -> Bool
        /// Called once for each file that was admitted.
        var dismiss: @Sendable (FileSource) -> Void
        /// Something has become due, perhaps.
        var wake: @Sendable () -> Void
        var log: PlaybackLog
    }

    private struct Shared {
        var playout: Playout?
        /// It has, or waits for, a turn on a reader thread: one at a time.
        var isScheduled = false
        var isAdmitted = false
        var isClosed = false
        var end: OnDemandEnd?
        /// Nanoseconds since 1970 when the stream began.
        var began: UInt64 = 0
    }

    let name: PlaybackName
    let isShared: Bool
    let linger: Duration
    let provider = "VOD"
    let unanswered = StatusInfo.failedToReadFile
    private let loops: Bool
    private let desk: Desk
    private let shared = Mutex(Shared())
    private let hasEnded = Gate()
    /// Of the reader thread whose turn it is.
    nonisolated(unsafe) private var reader: FileReader?
    /// Set before the first turn of the pacer, which is the only one to send.
    private let sender = Mutex<PacketSource?>(nil)

    init(_ name: PlaybackName, loops: Bool, linger: Duration, desk: Desk) {
        self.name = name
        isShared = name.isShared
        self.loops = loops
        self.linger = linger
        self.desk = desk
    }

    // MARK: OnDemandSource

    func open(peer: PeerID) async throws(OnDemandFailure) -> MediaDescription {
        guard desk.admit(self) else {
            desk.log.refused(name, "tooMany")
            throw .tooMany
        }
        let isWanted = shared.withLock { shared in
            shared.isAdmitted = !shared.isClosed
            shared.isScheduled = shared.isAdmitted
            return shared.isAdmitted
        }
        guard isWanted else {
            desk.dismiss(self)
            throw .status(.failedToReadFile)
        }
        let opened: Result<[PlaybackTrack], PlaybackError>? = await withCheckedContinuation { continuation in
            let isTaken = desk.schedule { continuation.resume(returning: self.openFile()) }
            if !isTaken { continuation.resume(returning: nil) }
        }
        switch opened {
        case .success(let tracks):
            var lenient: [Int: String] = [:]
            for (index, track) in tracks.enumerated() { lenient[index] = track.lenientParameters }
            let source = try desk.media.addSource(
                peer: peer, tracks: Self.negotiated(tracks), secondChoice: lenient)
            sender.withLock { $0 = source }
            let audio = tracks.first { !$0.description.isVideo }
            let video = tracks.first { $0.description.isVideo }
            return MediaDescription(
                sdp: "", hasAudio: audio != nil, hasVideo: video != nil, audioCodec: audio?.description.codec.name,
                videoCodec: video?.description.codec.name)
        case .failure(let error):
            desk.log.failed(name, error)
            throw .status(error.statusInfo)
        case nil:
            desk.log.refused(name, "tooMany")
            throw .tooMany
        }
    }

    func begin() {
        let now = Instant.now
        shared.withLock { shared in
            guard shared.playout?.hasStarted == false else { return }
            shared.began = Self.wallClock()
            shared.playout?.start(now: now)
        }
        desk.wake()
    }

    func setPaused(_ paused: Bool) {
        let now = Instant.now
        shared.withLock { $0.playout?.setPaused(paused, now: now) }
        desk.wake()
    }

    func close() { finish(.finished) }

    func ended() async -> OnDemandEnd {
        await hasEnded.wait()
        return shared.withLock { $0.end } ?? .finished
    }

    /// The first end counts.
    private func finish(_ end: OnDemandEnd) {
        let (isFirst, wasAdmitted, needsTurn) = shared.withLock { shared in
            guard !shared.isClosed else { return (false, false, false) }
            shared.isClosed = true
            shared.end = end
            shared.playout = nil
            defer { shared.isScheduled = true }
            return (true, shared.isAdmitted, !shared.isScheduled)
        }
        guard isFirst else { return }
        if wasAdmitted { desk.dismiss(self) }
        hasEnded.open()
        // The file is closed where waiting for a disk harms nobody: by the turn that it has, or by one more. If there is no
        // room for that, with the last reference to us.
        if needsTurn { _ = desk.schedule { self.turn() } }
    }

    private var isClosed: Bool { shared.withLock { $0.isClosed } }

    // MARK: A reader thread

    private func openFile() -> Result<[PlaybackTrack], PlaybackError> {
        do throws(PlaybackError) {
            let descriptor: CInt
            do throws(ContainerError) {
                descriptor = try desk.open(name)
            } catch {
                throw .container(error)
            }
            let reader = try FileReader(
                descriptor: descriptor, loops: loops, places: desk.places,
                isCancelled: { [weak self] in
                    self?.isClosed ?? true
                })
            self.reader = reader
            let clocks = reader.tracks.map { track in
                Playout.Clock(rate: track.description.clockRate, first: .random(in: 0 ... .max))
            }
            shared.withLock { shared in
                if !shared.isClosed { shared.playout = Playout(clocks: clocks) }
            }
            desk.log.opened(name, reader)
            turn()
            return .success(reader.tracks)
        } catch {
            return .failure(error)
        }
    }

    /// Reads on, as far as is wanted.
    private func turn() {
        var left = Self.unitsPerTurn
        while let reader {
            let now = Instant.now
            let (isClosed, wantsMore) = shared.withLock { shared in
                let wantsMore = shared.playout?.wantsMore(now: now) == true
                // What is wanted later has a turn of its own.
                if !wantsMore, !shared.isClosed { shared.isScheduled = false }
                return (shared.isClosed, wantsMore)
            }
            if isClosed { return self.reader = nil }
            guard wantsMore else { break }
            guard left > 0 else {
                if desk.schedule({ self.turn() }) { break }
                left = Self.unitsPerTurn
                continue
            }
            left -= 1
            do throws(PlaybackError) {
                let unit = try reader.next()
                shared.withLock { shared in
                    if let unit { shared.playout?.add(unit) } else { shared.playout?.complete() }
                }
            } catch {
                guard !self.isClosed else { continue }
                desk.log.failed(name, error)
                finish(.failed(error.statusInfo))
            }
        }
        desk.wake()
    }

    // MARK: The pacer's thread

    /// Sends what is due, and sees to it that the file is read on.
    /// - Returns: when there is more to do.
    func pace(now: Instant) -> Instant {
        guard let source = sender.withLock({ $0 }) else { return .distantFuture }
        var next = Instant.distantFuture
        var left = Self.unitsPerTurn
        var sent = true
        while sent, left > 0 {
            left -= 1
            sent = false
            var (unit, report): ((unit: MediaUnit, timestamp: UInt32)?, (timestamps: [UInt32], elapsed: Interval)?)
            var began: UInt64 = 0
            (unit, report) = (nil, nil)
            shared.withLock { shared in
                let before = shared.playout?.stalls ?? 0
                report = shared.playout?.report(now: now)
                unit = shared.playout?.next(now: now)
                desk.log.count(stalls: (shared.playout?.stalls ?? 0) - before)
                began = shared.began
                next = shared.playout?.nextDeadline ?? .distantFuture
            }
            if let report {
                let ntp = NTPTime(unixNanoseconds: began &+ UInt64(bitPattern: report.elapsed.nanoseconds)).rawValue
                for (track, timestamp) in report.timestamps.enumerated() {
                    source.report(track: track, ntp: ntp, timestamp: timestamp, arrival: now)
                }
            }
            if let unit {
                send(unit.unit, unit.timestamp, by: source, now)
                sent = true
            }
        }
        source.flush()
        review(now)
        return left > 0 ? next : now
    }

    private func send(_ unit: MediaUnit, _ timestamp: UInt32, by source: PacketSource, _ now: Instant) {
        for (index, payload) in unit.payloads.enumerated() {
            let isLast = index == unit.payloads.count - 1
            let isTaken = source.send(
                track: unit.track, timestamp: timestamp, marker: isLast && unit.isVideo,
                orientation: unit.orientation, arrival: now, payload.span.bytes)
            if !isTaken { desk.log.countDropped() }
        }
    }

    private func review(_ now: Instant) {
        let (wantsTurn, isOver) = shared.withLock { shared in
            guard let playout = shared.playout, !shared.isClosed else { return (false, false) }
            guard !playout.isOver(now: now) else { return (false, true) }
            guard !shared.isScheduled, playout.wantsMore(now: now) else { return (false, false) }
            shared.isScheduled = true
            return (true, false)
        }
        if isOver { finish(.finished) }
        if wantsTurn, !desk.schedule({ self.turn() }) { shared.withLock { $0.isScheduled = false } }
    }

    // MARK: Descriptions

    private static let videoPayloadType: UInt8 = 96
    private static let audioPayloadType: UInt8 = 111

    /// As an offer would have them. No feedback: a file makes no key frame when asked, so that the current group of
    /// pictures is kept for who joins.
    private static func negotiated(_ tracks: [PlaybackTrack]) -> [NegotiatedTrack] {
        tracks.enumerated().map { index, track in
            let description = track.description
            let codec = RTPCodec(
                payloadType: description.isVideo ? videoPayloadType : audioPayloadType, name: description.codec.name,
                clockRate: description.clockRate, channels: max(1, description.channels),
                fmtp: description.formatParameters)
            return NegotiatedTrack(
                kind: description.isVideo ? .video : .audio, mLineIndex: index, mid: "\(index)", codec: codec,
                extensions: track.rotation == .none ? [:] : [ExtensionURI.videoOrientation: 1])
        }
    }

    private static func wallClock() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return UInt64(clamping: time.tv_sec) &* 1_000_000_000 &+ UInt64(clamping: time.tv_nsec)
    }
}

extension PlaybackError {
    /// WCS's text.
    var statusInfo: StatusInfo {
        switch self {
        case .container(let error): StatusInfo(rawValue: error.playbackStatus) ?? .failedToReadFile
        case .codec: .fileStreamingException
        case .nothingToPlay: .fileWrongFormat
        case .transcodingDisabled: .transcodingDisabled
        case .noTranscoders: .noTranscoders
        }
    }
}
