import MediaFormats
import Synchronization
import Wire

/// One stream as players see it: playlists, parts, and requests that wait for what is still to come.
///
/// Shared between the thread that makes segments and all requests. A waiting request is an entry in one table; all are
/// looked at when a part has come, and at each `advance`: no thread and no timer of their own.
package final class HLSStream: Sendable {
    package struct Settings: Sendable, Hashable {
        package var window = StreamWindow.Settings()
        /// How long players may wait for a publisher that has gone; zero: its end is the end.
        package var publisherPatience: Interval = .seconds(30)
        /// Requests that may wait at a time.
        package var maxWaiting = 20_000
        /// Viewers that are told apart.
        package var maxViewers = 100_000
        /// A lower rendition is made until nobody has asked for it for so long.
        package var rungIdle: Interval = .seconds(300)

        package init() {}
    }

    package enum Phase: Sendable, Hashable {
        case live
        /// Since then the publisher is away; gaps take its place.
        case waiting(since: Instant)
        case ended(at: Instant)
    }

    /// The first playlist is held back until it has so many segments, or else so many parts for so long: there are
    /// players that refuse a shorter one.
    package static let leastSegments = 3
    package static let leastParts = 3
    package static let preparePatience = Interval.seconds(3)
    /// Nothing has come for so long: the request is told to try again.
    static let prepareLimit = Interval.seconds(20)
    /// A viewer that has not asked for so many target durations has gone.
    static let viewerTargets: Int64 = 6

    struct State {
        var window: StreamWindow
        /// Of the lower renditions.
        var ladder: LadderSchedule
        var phase = Phase.live
        var waiters: [UInt64: Waiter] = [:]
        var lastTicket: UInt64 = 0
        /// Rendered texts of `textVersion`.
        var texts: [TextKey: any StoredBytes] = [:]
        var textVersion: UInt64 = 0
        var firstPart: Instant?
        /// Until when gaps have been made, since the publisher went.
        var gapEnd = Instant.zero
        var viewers: [String: Instant] = [:]
        var lastRequest: Instant
        var tracks: [OutputTrack?] = []
        var hasLongGroups = false
        var counts = RequestCounts()
    }

    struct TextKey: Hashable {
        var rendition: Int
        var isDelta: Bool
    }

    /// For the metrics.
    package struct RequestCounts: Sendable, Hashable {
        package var refusedTooFar = 0
        package var refusedFull = 0
        package var timedOut = 0

        mutating func add(_ other: RequestCounts) {
            refusedTooFar += other.refusedTooFar
            refusedFull += other.refusedFull
            timedOut += other.timedOut
        }
    }

    package let name: String
    /// Of this output, unlike any other of the name.
    package let id: String
    package let settings: Settings
    package let plan: RenditionPlan
    package let created: Instant
    package let isTransportStream: Bool
    let store: @Sendable ([UInt8]) -> any StoredBytes
    let clock: @Sendable () -> Instant
    /// Makes lower renditions; nil: there are none.
    let shop: (any LadderShop)?
    let state: Mutex<State>

    /// - Parameters:
    ///   - window: empty.
    ///   - store: puts bytes into the form in which they are sent.
    ///   - clock: for requests; the producer gives its own times.
    ///   - shop: makes the renditions of the plan's ladder.
    package init(
        name: String, id: String = "", plan: RenditionPlan, settings: Settings = Settings(),
        window: consuming StreamWindow,
        clock: @escaping @Sendable () -> Instant,
        store: @escaping @Sendable ([UInt8]) -> any StoredBytes = { PlainBytes($0) }, shop: (any LadderShop)? = nil
    ) {
        precondition(window.renditions == plan.names, "a window of the plan")
        self.name = name
        self.id = id
        self.plan = plan
        self.settings = settings
        self.store = store
        self.clock = clock
        isTransportStream = window.isTransportStream
        created = clock()
        self.shop = shop
        let schedule = LadderSchedule(rungs: shop == nil ? 0 : plan.ladder.rungs.count)
        state = Mutex(State(window: window, ladder: schedule, lastRequest: clock()))
    }

    // MARK: The producer's side

    /// Takes what a producer has made. Requests that waited for it go on.
    package func apply(_ output: HLSProducer.Output, now: Instant) {
        // Bytes get their last form before anybody has to wait for the lock.
        let changes = output.changes.map(prepare)
        update { state in
            if let long = output.longGroups { state.hasLongGroups = long }
            for change in changes { apply(change, to: &state, now: now) }
        }
    }

    private enum Prepared {
        case begin(Segmenter.SegmentStart, maps: [(any StoredBytes)?]?)
        case part(StreamWindow.Part, pictures: [Sample])
        case endSegment
    }

    private func prepare(_ change: StreamChange) -> Prepared {
        switch change {
        case .begin(let start, let maps): .begin(start, maps: maps.map { $0.map { $0.map(store) } })
        case .part(let duration, let media, let isIndependent, let pictures):
            .part(
                StreamWindow.Part(duration: duration, media: media.map { $0.map(store) }, isIndependent: isIndependent),
                pictures: pictures)
        case .endSegment: .endSegment
        }
    }

    private func apply(_ change: Prepared, to state: inout State, now: Instant) {
        guard !state.window.isEnded else { return }
        switch change {
        case .begin(let start, let maps):
            endSegment(&state, now: now)
            if let tracks = start.tracks { state.tracks = tracks }
            state.window.begin(
                at: start.time, programDate: max(start.programDate, state.window.earliestDate),
                isDiscontinuity: start.isDiscontinuity, maps: maps)
            noteBegin(&state, isIndependent: start.isIndependent)
        case .part(let part, let pictures):
            if state.firstPart == nil { state.firstPart = now }
            state.window.add(part, pictures: pictures.count)
            guard hasRungs else { return }
            state.ladder.add(LadderSchedule.Part(samples: pictures, duration: part.duration, isGap: false))
        case .endSegment: endSegment(&state, now: now)
        }
    }

    private var hasRungs: Bool { shop != nil && !plan.ladder.rungs.isEmpty }

    private func endSegment(_ state: inout State, now: Instant) {
        state.window.endSegment(now: now)
        state.ladder.endSegment()
    }

    private func noteBegin(_ state: inout State, isIndependent: Bool) {
        guard hasRungs, let open = state.window.open else { return }
        let picture = plan.renditions[0].tracks.first.flatMap {
            state.tracks.indices.contains($0) ? state.tracks[$0] : nil
        }
        let source = picture.flatMap { $0.isVideo ? $0 : nil }
        state.ladder.begin(number: open.number, map: open.map, source: source, isIndependent: isIndependent)
    }

    /// The publisher has gone; what its producer had left has been applied.
    package func publisherGone(now: Instant) {
        update { state in
            guard case .live = state.phase else { return }
            endSegment(&state, now: now)
            if settings.publisherPatience > .zero, !state.window.segments.isEmpty {
                state.phase = .waiting(since: now)
                state.gapEnd = now
            } else {
                state.window.end()
                state.phase = .ended(at: now)
            }
        }
    }

    /// A publisher of the same name has come while players waited.
    ///
    /// - Returns: where its output begins, or nil when the stream has ended already.
    package func publisherBack(now: Instant) -> Interval? {
        update { state in
            guard case .waiting = state.phase else { return nil }
            fillGap(&state, until: now)
            endSegment(&state, now: now)
            state.phase = .live
            return state.window.endTime
        }
    }

    /// No publisher will come back, or the operator wants it so.
    package func end(now: Instant) {
        update { state in
            guard !state.window.isEnded else { return }
            endSegment(&state, now: now)
            state.window.end()
            state.phase = .ended(at: now)
        }
    }

    /// To be called every 100 ms or so: gaps while the publisher is away, requests that have waited too long, viewers
    /// that have gone.
    package func advance(now: Instant) {
        update { state in
            if case .waiting(let since) = state.phase {
                fillGap(&state, until: now)
                if now - since >= settings.publisherPatience {
                    endSegment(&state, now: now)
                    state.window.end()
                    state.phase = .ended(at: now)
                }
            }
            state.window.trim(now: now)
            let limit = settings.window.target * Self.viewerTargets
            state.viewers = state.viewers.filter { now - $0.value < limit }
        }
        stopRungs(idleFor: settings.rungIdle)
    }

    /// §6.2.1: time without media becomes segments that say so, as fast as time goes by.
    private func fillGap(_ state: inout State, until now: Instant) {
        let step = settings.window.partTarget.map { $0 } ?? settings.window.target
        while state.gapEnd + step <= now {
            state.gapEnd = state.gapEnd + step
            if let open = state.window.open, open.duration + step > settings.window.target {
                endSegment(&state, now: now)
            }
            if state.window.open == nil {
                state.window.begin(
                    at: state.window.endTime, programDate: state.window.endDate, isDiscontinuity: false, maps: nil)
                noteBegin(&state, isIndependent: false)
            }
            if hasRungs { state.ladder.add(LadderSchedule.Part(samples: [], duration: step, isGap: true)) }
            let nothing = plan.renditions.map { _ -> (any StoredBytes)? in nil }
            state.window.add(
                StreamWindow.Part(duration: step, media: nothing, isIndependent: plan.renditions.map { _ in false }))
        }
    }

    /// Of what players may load now.
    package var playlistDuration: Interval { state.withLock { $0.window.duration } }

    /// Segments that should leave memory: write them, without holding anybody up, and tell `spilled`.
    package func nextToSpill(now: Instant) -> StreamWindow.Segment? {
        state.withLock { $0.window.nextToSpill(now: now) }
    }

    package func spilled(_ number: UInt64, to media: [FileBytes?]) {
        state.withLock { $0.window.spilled(number, to: media) }
    }

    /// Nothing more can be written: what memory has no room for leaves the window.
    package func cannotSpill() { state.withLock { $0.window.cannotSpill() } }

    /// Changes the state and lets the requests go on that have waited for that.
    func update<R: Sendable>(_ body: (inout State) -> R) -> R {
        let now = clock()
        var woken: [(Waiter, WaitOutcome)] = []
        var sleepers: [any LadderRunner] = []
        let result = state.withLock { state in
            let result = body(&state)
            woken = Self.takeDue(&state, now: now)
            sleepers = state.ladder.takeSleepers()
            return result
        }
        for (waiter, outcome) in woken { waiter.resume(outcome) }
        for runner in sleepers { runner.wake() }
        return result
    }
}

extension StreamWindow {
    /// Output time up to which there are segments or parts.
    package var endTime: Interval {
        if let open { return open.start + open.duration }
        return segments.last.map { $0.start + $0.duration } ?? .zero
    }

    /// Program date of that.
    var endDate: Int64 {
        let last = open ?? segments.last
        return last.map { $0.programDate &+ $0.duration.nanoseconds } ?? 0
    }

    /// Dates must not become ambiguous (§6.2.1): the next segment may overlap the one before by half of it at most,
    /// and by less than a second.
    var earliestDate: Int64 {
        guard let last = open ?? segments.last else { return .min }
        return endDate &- min(500_000_000, last.duration.nanoseconds / 2)
    }
}
