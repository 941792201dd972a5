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

    /// The same as it came: NTP time (32.32 bits) of an RTP timestamp. It may come before the track's first frame.
    func handleReport(track: Int, ntp: UInt64, timestamp: UInt32)

    /// The last call, once: the publisher has gone, the tap was cancelled, or the server stops.
    func ended()
}

extension FrameConsumer {
    /// Most have no use for it.
    package func handle(_ report: PlacedReport) {}
    package func handleReport(track: Int, ntp: UInt64, timestamp: UInt32) {}
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

extension MediaPacket {
    init(_ packet: SinkPacket) {
        self.init(
            track: packet.track, number: packet.number, timestamp: packet.timestamp, marker: packet.marker,
            orientation: packet.orientation, arrival: packet.arrival)
    }
}
