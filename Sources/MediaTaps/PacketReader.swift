import MediaEngine
import MediaFormats
import Wire

/// What becomes of the packets of one stream, as they came but in the order of their numbers. Called on the reader's
/// thread, which serves other streams too.
package protocol PacketConsumer: AnyObject, Sendable {
    /// How long packets may wait to be handled with those that come next: players' delay against the cost of a round.
    /// Asked after each round.
    var patience: Interval { get }

    /// - Parameter payload: valid within the call only. Empty: the packet's number is taken, and nothing is in it.
    func handle(_ packet: SinkPacket, _ payload: RawSpan)

    /// The publisher's clock (NTP, 32.32 bits) at an RTP time of the track.
    func handleReport(track: Int, ntp: UInt64, timestamp: UInt32)

    /// Packets are missing before those that come next, for good.
    func handleLoss(track: Int)

    /// What has come so far is all that there is at the moment.
    func flush()

    /// The last call, once: the publisher has gone, the tap was cancelled, or the server stops.
    func ended()
}

/// One thread that reads the packets of any number of published streams, for those who pass them on: RTSP players in
/// connections. The media workers give it one copy of each packet and never wait for it.
package final class PacketReader: Sendable {
    private let engine: MediaEngine
    private let thread: TapThread

    /// Starts the thread.
    /// - Throws: `NetworkError` if the process has no descriptor or thread to spare.
    package init(engine: MediaEngine) throws {
        self.engine = engine
        thread = try TapThread("start the thread that reads packets")
    }

    /// Streams that are being read.
    package var count: Int { thread.count }

    /// Reads a publisher's stream from now on, video from its next key frame.
    ///
    /// - Parameters:
    ///   - capacity: bytes of packets that may wait for the thread.
    ///   - consumer: makes the consumer, once the tracks are known.
    /// - Returns: nil if there is no such publisher, or the reader has stopped; then no consumer was made.
    package func tap(
        publisher: UInt64, capacity: Int = PacketSink.defaultCapacity,
        consumer make: ([TrackDescription]) -> any PacketConsumer
    ) -> PacketTap? {
        var tap: PacketTap?
        thread.attach(PacketSink(capacity: capacity, waker: thread.waker), publisher, of: engine) { sink, tracks in
            let new = PacketTap(publisher: publisher, sink: sink, engine: engine)
            tap = new
            return PacketReading(new, tracks: tracks.count, consumer: make(tracks))
        }
        return tap
    }

    /// Ends all taps, as if each were cancelled, and the thread; returns when it is gone. Idempotent.
    package func stop() { thread.stop() }
}

/// One published stream, read packet by packet by one consumer. Any thread may call.
package final class PacketTap: Sendable {
    package let publisher: UInt64
    let sink: PacketSink
    private let engine: MediaEngine

    init(publisher: UInt64, sink: PacketSink, engine: MediaEngine) {
        self.publisher = publisher
        self.sink = sink
        self.engine = engine
    }

    /// No more packets are taken; the consumer is told of the end. Idempotent.
    package func cancel() { engine.detach(sink) }

    /// Packets for which the sink had no room, since the consumer's side was too slow.
    package var packetsLost: UInt64 { sink.packetsLost }
}

/// A stream that is read packet by packet, on the reader's thread, which alone uses it.
struct PacketReading: TapReading {
    /// Records taken at a time, so that one stream with much to read does not hold up the others.
    private static let recordsPerRound = 4_096

    private let tap: PacketTap
    private let consumer: any PacketConsumer
    private var sequences: [PacketSequence]
    /// Of each track, as far as they have been told.
    private var gaps: [Int]
    private(set) var patience: Interval
    /// Packets that come before wait for those that come next.
    private var next = Instant.zero
    private(set) var isOver = false

    init(_ tap: PacketTap, tracks: Int, consumer: any PacketConsumer) {
        self.tap = tap
        self.consumer = consumer
        sequences = (0..<tracks).map { _ in PacketSequence() }
        gaps = sequences.map(\.gaps)
        patience = consumer.patience
    }

    var deadline: Instant { sequences.map(\.deadline).min() ?? .distantFuture }
    var hasNews: Bool { tap.sink.hasNews }
    func cancel() { tap.cancel() }

    mutating func run(now: Instant) {
        guard hasNews && now >= next || deadline <= now else { return }
        var isEnding = false
        let count = tap.sink.read(limit: Self.recordsPerRound) { record, payload in
            switch record {
            case .packet(let packet):
                guard sequences.indices.contains(packet.track) else { return }
                sequences[packet.track].add(packet, payload, consumer.handle)
            case .report(let track, let ntp, let timestamp, _):
                consumer.handleReport(track: track, ntp: ntp, timestamp: timestamp)
            case .lost(let track, _):
                guard sequences.indices.contains(track) else { return }
                sequences[track].finish(consumer.handle)
                consumer.handleLoss(track: track)
            case .ended: isEnding = true
            }
        }
        for track in sequences.indices {
            if isEnding {
                sequences[track].finish(consumer.handle)
            } else {
                sequences[track].advance(now: now, consumer.handle)
            }
            guard sequences[track].gaps > gaps[track] else { continue }
            gaps[track] = sequences[track].gaps
            consumer.handleLoss(track: track)
        }
        consumer.flush()
        patience = consumer.patience
        next = count < Self.recordsPerRound ? now + patience : now
        if isEnding {
            isOver = true
            consumer.ended()
        }
    }
}
