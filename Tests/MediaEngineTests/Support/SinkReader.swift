import MediaEngine
import MediaFormats
import Wire

/// The consumer of a sink: keeps what it reads, and says what is wrong with it.
final class SinkReader {
    struct Packet {
        var facts: SinkPacket
        var payload: [UInt8]
        /// `nil`: damaged, or a parameter set.
        var part: TestPart?
    }

    let sink: PacketSink
    let tracks: [TrackDescription]
    private(set) var packets: [Packet] = []
    private(set) var reports: [(track: Int, ntp: UInt64, timestamp: UInt32, arrival: Instant)] = []
    /// Losses, and the place in `packets` of what came next.
    private(set) var losses: [(track: Int, packets: Int, next: Int)] = []
    private(set) var ends = 0
    private(set) var recordsAfterEnd = 0

    init(_ sink: PacketSink, tracks: [TrackDescription]) {
        self.sink = sink
        self.tracks = tracks
    }

    @discardableResult func read(limit: Int = .max) -> Int {
        sink.read(limit: limit) { record, payload in
            if ends > 0 { recordsAfterEnd += 1 }
            switch record {
            case .packet(let facts):
                let bytes = (0..<payload.byteCount).map { payload[$0] }
                let isVideo = tracks[facts.track].isVideo
                packets.append(
                    Packet(
                        facts: facts, payload: bytes,
                        part: isVideo ? TestMedia.readVideo(bytes) : TestMedia.readAudio(bytes)))
            case .report(let track, let ntp, let timestamp, let arrival):
                reports.append((track, ntp, timestamp, arrival))
            case .lost(let track, let count): losses.append((track, count, packets.count))
            case .ended: ends += 1
            }
        }
    }

    var video: [Packet] { packets.filter { tracks[$0.facts.track].isVideo } }
    var audio: [Packet] { packets.filter { !tracks[$0.facts.track].isVideo } }

    /// Serials in the order of the packets' numbers.
    static func serials(_ packets: [Packet]) -> [UInt32?] {
        packets.sorted { $0.facts.number < $1.facts.number }.map { $0.part?.serial }
    }

    /// Rules broken, in words: damaged payloads, numbers given twice, an order of numbers that is not that of the serials.
    var violations: [String] {
        var out: [String] = []
        for (name, all) in [("video", video), ("audio", audio)] {
            if all.contains(where: { $0.part == nil && !TestMedia.isParameterSet($0.payload) }) {
                out.append("\(name): damaged payload")
            }
            if Set(all.map(\.facts.number)).count != all.count { out.append("\(name): a number twice") }
            let serials = Self.serials(all).compactMap { $0 }
            if Set(serials).count != serials.count { out.append("\(name): a packet twice") }
            if zip(serials, serials.dropFirst()).contains(where: { $0 >= $1 }) { out.append("\(name): out of order") }
        }
        if ends > 1 || recordsAfterEnd > 0 { out.append("records after the end") }
        return out
    }

    /// Whether these are all packets of the publisher from `first` to the last, in order of their numbers, which have no
    /// gap.
    static func isWhole(_ packets: [Packet], from first: UInt32, to count: Int) -> Bool {
        let numbers = packets.map(\.facts.number).sorted()
        return zip(numbers, numbers.dropFirst()).allSatisfy { $0 + 1 == $1 }
            && serials(packets) == (first..<UInt32(count)).map { $0 }
    }
}

extension World {
    /// Attaches a new sink, and fails if it is refused.
    func attach(to publisher: PublisherCore, capacity: Int = 1 << 18, waker: SinkWaker? = nil) throws -> SinkReader {
        let sink = PacketSink(capacity: capacity, waker: waker)
        guard let tracks = sinks.attach(sink, publisher: publisher.id) else { throw TestFailure.notConnected }
        return SinkReader(sink, tracks: tracks)
    }

    /// Runs, and reads the sinks every millisecond.
    func run(for duration: Interval, reading readers: SinkReader...) throws {
        let end = now + duration
        while now < end {
            try run(for: .milliseconds(1))
            for reader in readers { reader.read() }
        }
    }
}
