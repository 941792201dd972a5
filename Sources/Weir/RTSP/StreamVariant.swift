import ControlPlane
import Glibc
import Logging
import MediaEngine
import MediaFiles
import MediaFormats
import MediaFrames
import MediaTaps
import RTP
import SDP
import Synchronization
import Wire

/// One transcoded stream: frames of a published one come from the reader's thread, go through a transcoder and leave as a
/// source of the engine.
final class StreamVariant: FrameConsumer, @unchecked Sendable {
    /// The engine merges requests; this spares its mailbox.
    private static let requestInterval = Interval.milliseconds(200)
    private static let reportInterval = Interval.seconds(2)
    private static let sinkBytes = 8 << 20
    /// A stream begins with its stored pictures, of 15 s at most, and sound beside them.
    private static let maxFrames = 2_048

    /// What is sent, and how. One thread at a time: the transcoder's.
    private struct Sender {
        var source: PacketSource
        var packetisers: [Packetiser]
        var isVideo: [Bool]
        var rates: [Int64]
        var firstTimestamps: [UInt32]
        var nextReport = Instant.zero
        /// Of the clock when the last reports were made.
        var version = 0
        var keyFrameRequests: UInt64 = 0
    }

    let peer: PeerID
    let publisher: PeerID
    // Of the table that it is in, under its lock.
    var players: Set<PeerID> = []
    var generation = 0

    private struct Shared {
        var isOver = false
        var tap: FrameTap?
        var media: EngineMediaBackend?
        var ending: (@Sendable () -> Void)?
    }

    /// Where key frames come from, which players ask for.
    private enum KeyFrames {
        case transcoder, publisher
    }

    private let shared = Mutex(Shared())
    private let sender = Mutex<Sender?>(nil)
    private let clock = Mutex<VariantClock?>(nil)
    // Set before the first frame, and not changed.
    private var transcoder: StreamTranscoder?
    private var keyFrames = KeyFrames.publisher
    // Of the reader's thread.
    private var lastRequest = Instant.zero

    init(peer: PeerID, publisher: PeerID) {
        self.peer = peer
        self.publisher = publisher
    }

    /// Nothing comes any more.
    var isOver: Bool { shared.withLock { $0.isOver } }

    /// Makes the source and begins to read; called once.
    ///
    /// - Parameter passesRequests: pictures that are not transcoded come from a publisher that makes key frames when asked.
    func start(
        _ plan: VariantPlan, _ tracks: [TrackDescription], media: EngineMediaBackend, reader: FrameReader,
        passesRequests: Bool, logger: Logger?
    ) throws(MediaError) {
        var settings = StreamTranscoder.Settings()
        settings.video.reorders = true
        settings.maxFrames = Self.maxFrames
        let transcoder: StreamTranscoder
        do throws(CodecError) {
            transcoder = try StreamTranscoder(
                tracks: tracks, to: plan.codecs, settings: settings,
                failed: { track, error in
                    logger?.warning(
                        "transcoding for players failed",
                        metadata: ["track": "\(track)", "error": "\(error)"])
                }, output: { [weak self] in self?.send($0) })
        } catch {
            throw .internal("\(error)")
        }
        self.transcoder = transcoder
        keyFrames = plan.makesPictures ? .transcoder : .publisher
        let options = RTPIngest.Options(
            isInConnection: true, answersKeyFrameRequests: plan.makesPictures || passesRequests)
        let described = transcoder.tracks.map(Self.playable)
        let negotiated = described.enumerated().map { IngestTrack.negotiated($1, index: $0, options) }
        let source: PacketSource
        do throws(OnDemandFailure) {
            source = try media.addSource(
                peer: peer, tracks: negotiated, secondChoice: IngestTrack.secondChoice(described, negotiated))
        } catch {
            throw .noCapacity
        }
        sender.withLock {
            $0 = Sender(
                source: source, packetisers: described.map { Packetiser(codec: $0.codec) },
                isVideo: described.map(\.isVideo), rates: described.map { Int64($0.clockRate) },
                firstTimestamps: described.map { _ in .random(in: 0 ... .max) })
        }
        clock.withLock { $0 = VariantClock(tracks, began: Self.wallClock()) }
        guard let tap = reader.tap(publisher: publisher.rawValue, capacity: Self.sinkBytes, consumer: { _ in self })
        else {
            media.closeVariant(peer)
            throw .streamNotFound
        }
        shared.withLock { ($0.tap, $0.media) = (tap, media) }
    }

    /// Our encoder's output is what every browser takes.
    private static func playable(_ track: TrackDescription) -> TrackDescription {
        var track = track
        if track.codec == .opus, track.formatParameters.isEmpty { track.channels = 2 }
        return track
    }

    /// Called when it is over, once, and never from within this call.
    func onEnd(_ ending: @escaping @Sendable () -> Void) {
        let isOver = shared.withLock { shared in
            if !shared.isOver { shared.ending = ending }
            return shared.isOver
        }
        if isOver { Task { ending() } }
    }

    /// Nobody wants it any more. Idempotent.
    func stop() {
        shared.withLock { $0.tap }?.cancel()
        finish()
    }

    private func finish() {
        let (media, ending) = shared.withLock { shared -> (EngineMediaBackend?, (@Sendable () -> Void)?) in
            guard !shared.isOver else { return (nil, nil) }
            shared.isOver = true
            defer { (shared.media, shared.ending) = (nil, nil) }
            return (shared.media, shared.ending)
        }
        sender.withLock { $0 = nil }
        transcoder?.abandon()
        media?.closeVariant(peer)
        ending?()
    }

    // MARK: - The reader's thread

    func handle(_ frame: MediaFrame) {
        guard let transcoder else { return }
        var frame = frame
        frame.time = clock.withLock { $0?.place(frame) } ?? frame.time
        transcoder.add(frame)
        let now = Instant.now
        if transcoder.wantsKeyFrame, now - lastRequest >= Self.requestInterval {
            lastRequest = now
            shared.withLock { $0.tap }?.requestKeyFrame()
        }
    }

    func handleReport(track: Int, ntp: UInt64, timestamp: UInt32) {
        clock.withLock { $0?.handleReport(track: track, ntp: ntp, timestamp: timestamp) }
    }

    func ended() { finish() }

    // MARK: - The transcoder's thread

    private func send(_ frame: MediaFrame) {
        let wantsKeyFrame = sender.withLock { sender -> Bool in
            guard sender != nil else { return false }
            if let clock = clock.withLock({ $0 }) { Self.report(frame, clock, by: &sender!) }
            return Self.send(frame, by: &sender!)
        }
        guard wantsKeyFrame else { return }
        switch keyFrames {
        case .transcoder: transcoder?.requestKeyFrame()
        case .publisher: shared.withLock { $0.tap }?.requestKeyFrame()
        }
    }

    /// Before the first frame, from time to time, and at once when more is known of how the clocks belong together.
    private static func report(_ frame: MediaFrame, _ clock: VariantClock, by sender: inout Sender) {
        let now = Instant.now
        guard now >= sender.nextReport || clock.version != sender.version else { return }
        sender.nextReport = now + reportInterval
        sender.version = clock.version
        for track in sender.rates.indices {
            guard let ntp = clock.ntp(track: track, at: frame.time) else { continue }
            sender.source.report(
                track: track, ntp: ntp.rawValue, timestamp: timestamp(track, frame.time, sender), arrival: now)
        }
    }

    /// - Returns: whether players want a key frame.
    private static func send(_ frame: MediaFrame, by sender: inout Sender) -> Bool {
        let track = frame.track
        guard sender.packetisers.indices.contains(track) else { return false }
        let now = Instant.now
        let payloads = sender.packetisers[track].payloads(of: frame.data, isKeyFrame: frame.isKeyFrame)
        let time = timestamp(track, frame.time, sender)
        for (index, payload) in payloads.enumerated() {
            sender.source.send(
                track: track, timestamp: time, marker: sender.isVideo[track] && index == payloads.count - 1,
                arrival: now, payload.span.bytes)
        }
        sender.source.flush()
        let requests = sender.source.keyFrameRequests
        defer { sender.keyFrameRequests = requests }
        return requests != sender.keyFrameRequests
    }

    private static func timestamp(_ track: Int, _ time: Interval, _ sender: Sender) -> UInt32 {
        let (seconds, rest) = time.nanoseconds.quotientAndRemainder(dividingBy: 1_000_000_000)
        let ticks = seconds &* sender.rates[track] &+ rest * sender.rates[track] / 1_000_000_000
        return sender.firstTimestamps[track] &+ UInt32(truncatingIfNeeded: ticks)
    }

    private static func wallClock() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return UInt64(clamping: time.tv_sec) &* 1_000_000_000 &+ UInt64(clamping: time.tv_nsec)
    }
}
