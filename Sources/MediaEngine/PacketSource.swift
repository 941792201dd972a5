import CLinuxNet
import LinuxNet
import SDP
import Synchronization
import Wire

/// A publisher inside the process, without ICE, DTLS and SRTP: a file that is played, an RTSP client that publishes, a
/// camera that is pulled. Its packets go through a bounded ring to a worker, which treats them as it does those of any
/// publisher: ring, key frames, fan-out, retransmissions to players, sinks, statistics.
///
/// One thread at a time sends, reports and flushes; all else may be called from any thread.
package final class PacketSource: @unchecked Sendable {
    /// Bytes of an RTP payload, so that what players get fits an Ethernet packet with header, extensions and tag.
    package static let maxPayload = 1400
    package static let defaultCapacity = 1 << 20
    package static let minCapacity = 1 << 16
    /// Numbers that a source may give. The upper bits are the cycles of its sequence numbers.
    private static let numbers: Range<Int64> = 0..<1 << 47

    package let id: UInt64
    private let ring: RecordRing
    private let waker: SinkWaker?
    private let trackCount: Int
    /// Of its worker.
    private let mailbox: Mailbox
    private let ended = Atomic<Bool>(false)
    private let requests = Atomic<UInt64>(0)
    /// The worker has been told of news that it has not looked for yet.
    private let isAnnounced = Atomic<Bool>(false)
    private var hasUnflushed = false

    init(id: UInt64, trackCount: Int, capacity: Int, waker: SinkWaker?, mailbox: Mailbox) {
        self.id = id
        self.trackCount = trackCount
        self.waker = waker
        self.mailbox = mailbox
        ring = RecordRing(capacity: max(capacity, Self.minCapacity))
    }

    // MARK: - The sending thread

    /// Hands over one RTP packet, to be shown to the worker by `flush`.
    /// - Parameters:
    ///   - number: the packet's sequence number, extended beyond 16 bits: what is missing or late is seen by players as
    ///     it was by the source. `nil`: the engine numbers; a track does it one way or the other. A step of 3,000 or more
    ///     is taken for a new start: numbers go on without a gap.
    ///   - timestamp: RTP time of the track's clock, wrapping.
    ///   - orientation: byte of the video-orientation extension.
    ///   - arrival: when it was received, at most a second ago; for sources that make their packets: now.
    /// - Returns: `false` when the packet was not taken: the ring is full, the source has ended, the payload is too long or
    ///   there is no such track or number.
    @discardableResult
    package func send(
        track: Int, number: Int64? = nil, timestamp: UInt32, marker: Bool, orientation: UInt8? = nil,
        arrival: Instant = .now, _ payload: RawSpan
    ) -> Bool {
        guard payload.byteCount <= Self.maxPayload, number.map(Self.numbers.contains) ?? true else { return false }
        let header = RecordHeader(
            .packet, track: track, number: number ?? 0, timestamp: timestamp, arrival: arrival,
            orientation: orientation.map { ($0 & 0x7f) + 1 } ?? 0, marker: marker, isNumbered: number != nil)
        return write(header, payload)
    }

    /// Tells the relation of the source's clock (NTP, 32.32 bits) and a track's RTP time. Without it players cannot put
    /// sound and pictures together; some seconds apart is often enough.
    package func report(track: Int, ntp: UInt64, timestamp: UInt32, arrival: Instant = .now) {
        _ = write(
            RecordHeader(
                .report, track: track, number: Int64(bitPattern: ntp), timestamp: timestamp, arrival: arrival),
            RawSpan())
    }

    /// The next packet of the track has numbers and times that have nothing to do with those before (a camera was
    /// connected anew): what players get goes on by the time that has passed.
    package func restart(track: Int, arrival: Instant = .now) {
        _ = write(RecordHeader(.restart, track: track, number: 0, arrival: arrival), RawSpan())
    }

    private func write(_ header: RecordHeader, _ payload: RawSpan) -> Bool {
        guard !isEnded, Int(header.track) < trackCount else { return false }
        guard let room = ring.reserve(RecordHeader.length + payload.byteCount) else {
            flush()
            return false
        }
        room.storeBytes(of: header, as: RecordHeader.self)
        payload.withUnsafeBytes { bytes in
            if let base = bytes.baseAddress {
                (room + RecordHeader.length).copyMemory(from: base, byteCount: bytes.count)
            }
        }
        hasUnflushed = true
        return true
    }

    /// Shows the worker what has been sent, and wakes it if need be: once per picture, or per batch of packets.
    package func flush() {
        guard hasUnflushed else { return }
        hasUnflushed = false
        ring.publish()
        announce()
    }

    // MARK: - Any thread

    /// Grows by one whenever players or sinks want a key frame; they have been merged and throttled. The waker is woken.
    package var keyFrameRequests: UInt64 { requests.load(ordering: .acquiring) }
    /// Closed, or the engine was stopped: nothing is taken any more. The waker is woken.
    package var isEnded: Bool { ended.load(ordering: .acquiring) }
    /// Bytes that the worker has not taken yet.
    package var bytesWaiting: Int { ring.bytesWaiting }
    package var capacity: Int { ring.capacity }

    func end() {
        guard !ended.exchange(true, ordering: .acquiringAndReleasing) else { return }
        wake()
    }

    private func wake() {
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        waker?.wakeIfAsleep()
    }

    /// Tells the worker that there is news, unless it knows. The exchange pairs with that of `read`: either the worker
    /// sees what was published before, or it is told again.
    private func announce() {
        guard !isAnnounced.exchange(true, ordering: .acquiringAndReleasing) else { return }
        mailbox.post(.sourceNews(peer: id))
    }

    // MARK: - The worker

    func askForKeyFrame() {
        requests.wrappingAdd(1, ordering: .releasing)
        wake()
    }

    /// Records, at most `limit`; more are announced again.
    func read(limit: Int, _ body: (RecordHeader, UnsafeRawBufferPointer) -> Void) {
        _ = isAnnounced.exchange(false, ordering: .acquiringAndReleasing)
        let count = ring.read(limit: limit) { bytes in
            body(
                bytes.load(as: RecordHeader.self), UnsafeRawBufferPointer(rebasing: bytes[RecordHeader.length...]))
        }
        if count == limit { announce() }
    }
}

/// How sources come to workers.
package struct SourceControl: Sendable {
    let directory: Directory
    let mailboxes: [Mailbox]
    let counters: EngineCounters

    package init(directory: Directory, mailboxes: [Mailbox], counters: EngineCounters) {
        self.directory = directory
        self.mailboxes = mailboxes
        self.counters = counters
    }

    /// See `MediaEngine.addSource`.
    package func add(id: UInt64, tracks: [NegotiatedTrack], capacity: Int, waker: SinkWaker?) -> PacketSource? {
        guard let worker = mailboxes.leastLoaded(counters) else { return nil }
        let source = PacketSource(
            id: id, trackCount: tracks.count, capacity: capacity, waker: waker, mailbox: mailboxes[worker])
        let negotiation = Negotiation(answer: "", transports: [], tracks: tracks.map(Self.local))
        let registration = PeerRegistration(
            id: id, publisher: nil, negotiation: negotiation, sinks: SinkList(), source: source)
        guard directory.insertNew(registration) else { return nil }
        // Closed meanwhile.
        guard registration.claim(worker: worker) else { return nil }
        mailboxes[worker].load.wrappingAdd(1, ordering: .relaxed)
        mailboxes[worker].post(.source(registration))
        return source
    }

    /// A source is asked for key frames, if it makes them, and for nothing else that a publisher may be asked for.
    private static func local(_ track: NegotiatedTrack) -> NegotiatedTrack {
        var track = track
        track.transportIndex = 0
        track.ssrc = nil
        track.rtxSSRC = nil
        track.codec.rtxPayloadType = nil
        track.codec.feedback.removeAll { $0 != "nack pli" && $0 != "ccm fir" }
        return track
    }
}
