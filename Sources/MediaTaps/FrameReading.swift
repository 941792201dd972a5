import MediaEngine
import MediaFormats
import MediaFrames
import RTP
import Wire

/// A stream that is put together to frames, on the reader's thread, which alone uses it.
struct FrameReading: TapReading {
    /// Records taken at a time, so that one stream with much to read does not hold up the others.
    private static let recordsPerRound = 4_096

    private let tap: FrameTap
    let patience: Interval
    private let consumer: any FrameConsumer
    private var assembler: StreamAssembler
    private(set) var isOver = false
    private var lastRequest = Instant.zero
    /// The engine merges requests; this spares its mailbox.
    private static let requestInterval = Interval.milliseconds(200)

    init(_ tap: FrameTap, consumer: any FrameConsumer, patience: Interval, settings: AssemblerSettings) {
        self.tap = tap
        self.patience = patience
        self.consumer = consumer
        assembler = StreamAssembler(tracks: tap.tracks, settings: settings)
    }

    var deadline: Instant { assembler.nextDeadline }
    var hasNews: Bool { tap.sink.hasNews }
    func cancel() { tap.cancel() }

    /// Reads what is there and gives the consumer what has become whole.
    mutating func run(now: Instant) {
        guard tap.sink.hasNews || assembler.nextDeadline <= now else { return }
        var isEnding = false
        tap.sink.read(limit: Self.recordsPerRound) { record, payload in
            switch record {
            case .packet(let packet):
                assembler.handle(MediaPacket(packet), payload: payload)
            case .report(let track, let ntp, let timestamp, let arrival):
                let placed = assembler.handleReport(
                    track: track, ntp: NTPTime(rawValue: ntp), timestamp: timestamp, arrival: arrival)
                if let placed { consumer.handle(placed) }
                consumer.handleReport(track: track, ntp: ntp, timestamp: timestamp)
            case .lost: assembler.handleGap()
            case .ended: isEnding = true
            }
            deliver()
        }
        if isEnding { assembler.finish() } else { assembler.advance(now: now) }
        deliver()
        tap.publish(tap.tracks.indices.map { assembler.counts(track: $0) })
        if isEnding {
            isOver = true
            consumer.ended()
        } else if assembler.wantsKeyFrame, now - lastRequest >= Self.requestInterval {
            lastRequest = now
            tap.requestKeyFrame()
        }
    }

    private mutating func deliver() {
        while let frame = assembler.poll() { consumer.handle(frame) }
    }
}
