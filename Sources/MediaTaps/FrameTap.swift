import MediaEngine
import MediaFormats
import MediaFrames
import RTP
import Synchronization
import Wire

/// What becomes of the frames of one stream. Called on the reader's thread, which serves other streams too: what takes
/// long or waits for a disk belongs on a thread of the consumer's own, behind a bounded queue.
package protocol FrameConsumer: AnyObject, Sendable {
    /// Frames of one track come in decoding order; those of several tracks come as each is complete.
    func handle(_ frame: MediaFrame)

    /// The publisher has said when something was captured, by its own clock.
    func handle(_ report: PlacedReport)

    /// The last call, once: the publisher has gone, the tap was cancelled, or the server stops.
    func ended()
}

extension FrameConsumer {
    /// Most have no use for it.
    package func handle(_ report: PlacedReport) {}
}

/// One published stream, read frame by frame by one consumer. Any thread may call.
package final class FrameTap: Sendable {
    package let publisher: UInt64
    package let tracks: [TrackDescription]
    let sink: PacketSink
    private let engine: MediaEngine
    private let published = Mutex<[AssemblyCounts]>([])

    init(publisher: UInt64, tracks: [TrackDescription], sink: PacketSink, engine: MediaEngine) {
        self.publisher = publisher
        self.tracks = tracks
        self.sink = sink
        self.engine = engine
        published.withLock { $0 = tracks.map { _ in AssemblyCounts() } }
    }

    /// No more packets are taken; the consumer is given what is whole, then told of the end. Idempotent.
    package func cancel() { engine.detach(sink) }

    /// Asks the publisher for a key frame, as for the cut between two files; throttled by the engine.
    package func requestKeyFrame() { engine.requestKeyFrame(publisher: publisher) }

    /// What became of the packets of each track, as of the reader's last round.
    package var counts: [AssemblyCounts] { published.withLock { $0 } }

    /// Packets for which the sink had no room, since the consumer's side was too slow.
    package var packetsLost: UInt64 { sink.packetsLost }

    func publish(_ counts: [AssemblyCounts]) { published.withLock { $0 = counts } }
}

/// A tap on the reader's thread, which alone uses it.
struct TapReading {
    /// Records taken at a time, so that one stream with much to read does not hold up the others.
    private static let recordsPerRound = 4_096

    let tap: FrameTap
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

    /// When there is something to do although no packet came.
    var deadline: Instant { assembler.nextDeadline }

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

extension MediaPacket {
    init(_ packet: SinkPacket) {
        self.init(
            track: packet.track, number: packet.number, timestamp: packet.timestamp, marker: packet.marker,
            orientation: packet.orientation, arrival: packet.arrival)
    }
}
