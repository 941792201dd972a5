import Dispatch
import MediaFiles
import Playback
import RTSP
import Synchronization
import Wire

/// One source from its opening to its end: read on a thread of its own, sent on the process's first one.
final class SourceSession: Sendable {
    /// Beyond the limit of opening, which libavformat keeps but while names are looked up.
    private static let grace = Interval.seconds(2)
    private static let roomPoll = DispatchTimeInterval.milliseconds(20)

    private struct State {
        var pacer: (any UnitPacer)?
        var writer: PacketWriter?
        var failure: RTSPPullFailure?
        /// By when the source must be opened; nil: it is.
        var openingEnd: Instant?
    }

    private struct Turn {
        var bytes: [UInt8] = []
        var hasMedia = false
        /// When to look again.
        var deadline = Instant.distantFuture
        var end: RTSPPullFailure?
    }

    private let url: SourceURL
    private let order: SourceOrder
    private let state: Mutex<State>
    /// The reader has something for the sender.
    private let news = Bell()
    /// The sender has made room.
    private let room = Bell()

    init(url: SourceURL, order: SourceOrder) {
        self.url = url
        self.order = order
        state = Mutex(State(openingEnd: SourceProcess.now + order.openingLimit))
    }

    /// - Returns: status to exit with.
    func run() -> CInt {
        DispatchQueue(label: "weir.source").async { self.read() }
        return send()
    }

    // MARK: Reading

    private func read() {
        do throws(ContainerError) {
            let demuxer = try SourceOpening.open(url, order) { self.isTooLate }
            let reader = try SourceReader(demuxer)
            // The first that is said, before the sender has something to say.
            guard SourceProcess.write(SourceOrder.answer(reader.tracks)) else { return fail(.shutdown) }
            state.withLock { state in
                state.openingEnd = nil
                state.writer = PacketWriter(reader.tracks, began: SourceProcess.wallClock())
                state.pacer = reader.makePacer(now: SourceProcess.now)
            }
            news.ring()
            while let unit = try reader.next() { add(unit) }
            guard reader.hasEnd else { return fail(.connectionLost) }
            state.withLock { $0.pacer?.complete() }
            news.ring()
        } catch {
            let isOpen = state.withLock { $0.openingEnd == nil }
            fail(isOpen ? .connectionLost : SourceOpening.failure(error))
        }
    }

    /// Asked by libavformat. A source that is open may take its time: the sender sees when nothing comes.
    private var isTooLate: Bool {
        state.withLock { $0.openingEnd }.map { $0 < SourceProcess.now } ?? false
    }

    private func add(_ unit: MediaUnit) {
        while !state.withLock({ $0.pacer?.wantsMore(now: SourceProcess.now) ?? false }) { room.wait(Self.roomPoll) }
        state.withLock { $0.pacer?.add(unit) }
        news.ring()
    }

    private func fail(_ failure: RTSPPullFailure) {
        state.withLock { $0.failure = $0.failure ?? failure }
        news.ring()
    }

    // MARK: Sending

    private func send() -> CInt {
        let begun = SourceProcess.now
        var heard: Instant?
        while true {
            let now = SourceProcess.now
            let turn = turn(now)
            if turn.hasMedia { heard = now }
            if !turn.bytes.isEmpty {
                room.ring()
                guard SourceProcess.write(turn.bytes) else { return 1 }
            }
            if let end = turn.end { return SourceProcess.end(end) }
            let isOpening = state.withLock { $0.openingEnd != nil }
            if !isOpening, heard == nil { heard = now }
            let limit = heard.map { $0 + order.mediaLimit } ?? begun + order.openingLimit + Self.grace
            if now >= limit { return SourceProcess.end(heard == nil ? .connect("no answer in time") : .silent) }
            let wait = (min(turn.deadline, limit) - SourceProcess.now).nanoseconds
            if wait > 0 { news.wait(.nanoseconds(Int(wait))) }
        }
    }

    private func turn(_ now: Instant) -> Turn {
        state.withLock { state in
            var turn = Turn()
            // Taken out, so that it is changed in its place and not copied.
            guard var pacer = state.pacer.take(), var writer = state.writer else {
                turn.end = state.failure
                return turn
            }
            while let (unit, timestamp) = pacer.next(now: now) {
                writer.append(unit, timestamp: timestamp, into: &turn.bytes)
            }
            turn.hasMedia = !turn.bytes.isEmpty
            if let (timestamps, elapsed) = pacer.report(now: now) {
                writer.append(report: timestamps, elapsed: elapsed, into: &turn.bytes)
            }
            turn.deadline = pacer.nextDeadline
            turn.end = state.failure ?? (pacer.isOver(now: now) ? .finished : nil)
            (state.pacer, state.writer) = (pacer, writer)
            return turn
        }
    }
}

/// Wakes one thread that waits. Rung several times before it is heard, it wakes once.
private final class Bell: Sendable {
    private let semaphore = DispatchSemaphore(value: 0)
    private let isRung = Atomic<Bool>(false)

    func ring() {
        if !isRung.exchange(true, ordering: .acquiringAndReleasing) { semaphore.signal() }
    }

    func wait(_ limit: DispatchTimeInterval) {
        guard semaphore.wait(timeout: .now() + limit) == .success else { return }
        isRung.store(false, ordering: .releasing)
    }
}
