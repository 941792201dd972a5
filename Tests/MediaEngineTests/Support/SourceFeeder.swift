import MediaEngine
import SDP
import Wire

/// The thread behind a source, in virtual time: test pictures and sound, a key frame whenever one is asked for.
final class SourceFeeder {
    struct Settings {
        var packetsPerFrame = 4
        var payloadLength = 160
        /// Frames from one key frame to the next; 0: only when asked.
        var keyFrameEvery = 0
        var answersRequests = true
        /// The source numbers its packets itself, from here on; `nil`: the engine does.
        var firstNumber: Int64? = 65_530
        /// H264 with these parameter sets in its description and none in the stream.
        var parameterSets: String?
        var sendsReports = true
    }

    static let audioTrack = 0
    static let videoTrack = 1
    static let wallClock: UInt64 = 0xe000_0000_0000_0000
    private static let frameInterval = Interval.milliseconds(40)
    private static let audioInterval = Interval.milliseconds(20)
    private static let reportInterval = Interval.milliseconds(500)

    let source: PacketSource
    var settings: Settings
    var isSending = true
    /// Video packets that are lost on their way to the source.
    var drops: ((TestPart) -> Bool)?
    private(set) var sentVideo: [TestPart] = []
    private(set) var sentAudio: [TestPart] = []
    private(set) var keyFrames = 0
    private(set) var refused = 0
    var videoNumber: Int64
    private var audioNumber: Int64 = 0
    var videoBase: UInt32 = 0xffff_f000
    let audioBase: UInt32 = 0x1000
    private var frame: UInt32 = 0
    private var answered: UInt64 = 0
    private let start: Instant
    private var nextFrame: Instant
    private var nextAudio: Instant
    private var nextReport: Instant

    init(_ source: PacketSource, settings: Settings = .init(), now: Instant) {
        self.source = source
        self.settings = settings
        videoNumber = settings.firstNumber ?? 0
        start = now
        nextFrame = now
        nextAudio = now
        nextReport = now
    }

    func tick(now: Instant) {
        defer { source.flush() }
        while now >= nextFrame {
            if isSending { sendPicture(at: nextFrame) }
            nextFrame = nextFrame + Self.frameInterval
        }
        while now >= nextAudio {
            if isSending { sendAudio(at: nextAudio) }
            nextAudio = nextAudio + Self.audioInterval
        }
        guard isSending, settings.sendsReports, now >= nextReport else { return }
        nextReport = now + Self.reportInterval
        let units = Self.wallClock + UInt64(Double((now - start).nanoseconds) * 4.294967296)
        source.report(track: Self.videoTrack, ntp: units, timestamp: videoBase &+ ticks(now, 90_000), arrival: now)
        source.report(track: Self.audioTrack, ntp: units, timestamp: audioBase &+ ticks(now, 48_000), arrival: now)
    }

    private func ticks(_ at: Instant, _ clock: Int64) -> UInt32 {
        UInt32(truncatingIfNeeded: (at - start).microseconds * clock / 1_000_000)
    }

    private func sendPicture(at time: Instant) {
        let requests = source.keyFrameRequests
        let isAsked = settings.answersRequests && requests > answered
        answered = requests
        let isKey = frame == 0 || isAsked || settings.keyFrameEvery > 0 && Int(frame) % settings.keyFrameEvery == 0
        if isKey { keyFrames += 1 }
        for i in 0..<settings.packetsPerFrame {
            let part = TestPart(
                serial: UInt32(sentVideo.count), frame: frame, part: UInt8(i), parts: UInt8(settings.packetsPerFrame),
                isKey: isKey, capture: (time - start).nanoseconds)
            sentVideo.append(part)
            defer { videoNumber += 1 }
            guard drops?(part) != true else { continue }
            let payload =
                settings.parameterSets == nil
                ? TestMedia.video(part, length: settings.payloadLength)
                : TestMedia.h264(part, length: settings.payloadLength)
            let isTaken = source.send(
                track: Self.videoTrack, number: settings.firstNumber == nil ? nil : videoNumber,
                timestamp: videoBase &+ ticks(time, 90_000), marker: i == settings.packetsPerFrame - 1, arrival: time,
                payload.span.bytes)
            if !isTaken { refused += 1 }
        }
        frame += 1
    }

    private func sendAudio(at time: Instant) {
        let part = TestPart(
            serial: UInt32(sentAudio.count), frame: UInt32(sentAudio.count), part: 0, parts: 1, isKey: false,
            capture: (time - start).nanoseconds)
        sentAudio.append(part)
        let isTaken = source.send(
            track: Self.audioTrack, number: settings.firstNumber == nil ? nil : audioNumber,
            timestamp: audioBase &+ ticks(time, 48_000), marker: false, arrival: time,
            TestMedia.audio(part, length: 60).span.bytes)
        audioNumber += 1
        if !isTaken { refused += 1 }
    }
}

extension World {
    /// A source with sound and pictures, as a file or a camera would be.
    func addSource(
        id: UInt64 = 1 << 32, settings: SourceFeeder.Settings = .init(), capacity: Int = 1 << 18,
        waker: SinkWaker? = nil
    ) throws -> SourceFeeder {
        var video = track(.video, mid: "1", extensions: [:])
        video.codec.feedback = settings.answersRequests ? ["nack", "nack pli", "transport-cc"] : ["nack"]
        if let sets = settings.parameterSets {
            video.codec.name = "H264"
            video.parameterSets = sets
        }
        let tracks = [track(.audio, mid: "0", extensions: [:]), video]
        guard let source = sources.add(id: id, tracks: tracks, capacity: capacity, waker: waker) else {
            throw TestFailure.notConnected
        }
        return SourceFeeder(source, settings: settings, now: now)
    }

    func addPlayer(of feeder: SourceFeeder, worker: Int = 0) throws -> PlayerCore {
        try addPlayer(
            of: directory.find(peer: feeder.source.id), isH264: feeder.settings.parameterSets != nil, worker: worker)
    }

    /// Runs until the players have their keys, while the source sends.
    func connect(_ players: PlayerCore..., sending source: SourceFeeder) throws {
        let end = now + .seconds(5)
        while now < end, !players.allSatisfy(\.isConnected) { try run(for: .milliseconds(1), sending: source) }
        guard players.allSatisfy(\.isConnected) else { throw TestFailure.notConnected }
    }

    func attach(to feeder: SourceFeeder, capacity: Int = 1 << 18) throws -> SinkReader {
        let sink = PacketSink(capacity: capacity)
        guard let tracks = sinks.attach(sink, publisher: feeder.source.id) else { throw TestFailure.notConnected }
        return SinkReader(sink, tracks: tracks)
    }
}
