import Wire

/// Who makes which part of the lower renditions next.
///
/// The last segments' pictures are kept. A rendition that is asked for begins some segments back, so that its first
/// playlist is not long in coming, with a *run*: one decoder on its way through the segments. Runs that meet at the end of
/// a segment become one, so that renditions that are up to date share one decoder. A value; the stream's lock guards it.
struct LadderSchedule: Sendable {
    struct Part: Sendable {
        var samples: [Sample]
        var duration: Interval
        var isGap: Bool
    }

    struct Segment: Sendable {
        let number: UInt64
        let map: UInt64
        /// Nil: no picture.
        let source: OutputTrack?
        let isIndependent: Bool
        var parts: [Part] = []
        var isWhole = false
        var bytes = 0
    }

    struct Rung: Sendable {
        /// Nil: it is not being made.
        var generation: Int?
        var run: Int?
        var lastRequest = Instant.zero
        /// All there will ever be of it has been made.
        var isFinished = false
        var failure: (reason: String, until: Instant)?
    }

    struct Run: Sendable {
        let id: Int
        let runner: any LadderRunner
        var segment: UInt64
        var part = 0
        var isRestart = true
        /// Its runner has work, or will come for some by itself.
        var isBusy = false
    }

    /// Segments that a rendition begins with, for its first playlist.
    static let beginSegments = HLSStream.leastSegments
    /// A run that is further behind loses segments: these become gaps.
    static let maxSegments = 6
    static let maxBytes = 32 << 20
    /// A rendition that could not be made is not tried again for so long.
    static let failureHold = Interval.seconds(60)

    private(set) var segments: [Segment] = []
    private var bytes = 0
    var rungs: [Rung]
    private(set) var runs: [Run] = []
    private var lastRun = 0
    private var lastGeneration = 0
    /// Something has come for runs that wait.
    private var hasNews = false

    init(rungs: Int) { self.rungs = (0..<rungs).map { _ in Rung() } }

    // MARK: What comes

    mutating func begin(number: UInt64, map: UInt64, source: OutputTrack?, isIndependent: Bool) {
        endSegment()
        segments.append(Segment(number: number, map: map, source: source, isIndependent: isIndependent))
        hasNews = true
    }

    mutating func add(_ part: Part) {
        guard let last = segments.indices.last, !segments[last].isWhole else { return }
        let size = part.samples.reduce(0) { $0 + $1.data.count }
        segments[last].parts.append(part)
        segments[last].bytes += size
        bytes += size
        hasNews = true
        trim()
    }

    mutating func endSegment() {
        guard let last = segments.indices.last, !segments[last].isWhole else { return }
        segments[last].isWhole = true
        hasNews = true
        trim()
    }

    private mutating func trim() {
        let needed = runs.map(\.segment).min() ?? .max
        while let first = segments.first, segments.count > 1 {
            let isKept = segments.count <= Self.beginSegments + 1 || first.number >= needed
            let isTooMuch = segments.count > Self.maxSegments + 1 || bytes > Self.maxBytes
            guard isTooMuch || !isKept else { return }
            bytes -= first.bytes
            segments.removeFirst()
        }
    }

    /// Runners that sleep although there is work.
    mutating func takeSleepers() -> [any LadderRunner] {
        guard hasNews else { return [] }
        hasNews = false
        let sleepers = runs.indices.filter { !runs[$0].isBusy }
        for index in sleepers { runs[index].isBusy = true }
        return sleepers.map { runs[$0].runner }
    }

    // MARK: Who wants what

    /// Begins to make a rendition.
    ///
    /// - Returns: its generation.
    mutating func start(
        _ rung: Int, rendition: Int, now: Instant, window: inout StreamWindow, makeRunner: (Int) -> any LadderRunner
    ) -> Int {
        lastGeneration += 1
        let recent = segments.suffix(Self.beginSegments + 1)
        let number = recent.first { $0.isIndependent && $0.source != nil }?.number ?? window.numberAfter
        rungs[rung] = Rung(generation: lastGeneration, lastRequest: now)
        window.startLate(rendition, at: number)
        if let run = runs.first(where: { !$0.isBusy && $0.segment == number && $0.part == 0 }) {
            rungs[rung].run = run.id
        } else {
            lastRun += 1
            runs.append(Run(id: lastRun, runner: makeRunner(lastRun), segment: number))
            rungs[rung].run = lastRun
        }
        hasNews = true
        return lastGeneration
    }

    /// - Returns: the generation that has ended.
    mutating func stop(_ rung: Int) -> Int? {
        let generation = rungs[rung].generation
        rungs[rung] = Rung(failure: rungs[rung].failure)
        dropIdleRuns()
        return generation
    }

    private mutating func dropIdleRuns() {
        runs.removeAll { run in !rungs.contains { $0.run == run.id } }
    }

    // MARK: Turns

    /// What a run does next.
    ///
    /// - Parameter first: index of the first rung's rendition.
    mutating func turn(_ id: Int, first: Int, window: inout StreamWindow) -> LadderTurn {
        while let index = runs.firstIndex(where: { $0.id == id }) {
            runs[index].isBusy = false
            if let oldest = segments.first?.number, runs[index].segment < oldest {
                // It was too slow, or nobody kept what it needed.
                pass(index, to: oldest, first: first, window: &window, isRestart: true)
            }
            guard let segment = segments.first(where: { $0.number == runs[index].segment }) else { return .nothing }
            let part = runs[index].part
            if part < segment.parts.count {
                runs[index].isBusy = true
                return .work(work(index, segment, part, first: first, window: window))
            }
            guard segment.isWhole else { return .nothing }
            pass(index, to: segment.number + 1, first: first, window: &window, isRestart: runs[index].isRestart)
            merge(id)
        }
        return .over
    }

    private mutating func pass(
        _ index: Int, to number: UInt64, first: Int, window: inout StreamWindow, isRestart: Bool
    ) {
        (runs[index].segment, runs[index].part, runs[index].isRestart) = (number, 0, isRestart)
        for (rung, state) in rungs.enumerated() where state.run == runs[index].id {
            window.skipLate(first + rung, to: number)
        }
    }

    private func work(
        _ index: Int, _ segment: Segment, _ part: Int, first: Int, window: StreamWindow
    ) -> LadderWork {
        let run = runs[index]
        let content = segment.parts[part]
        let orders = rungs.indices.compactMap { rung -> LadderWork.Order? in
            guard rungs[rung].run == run.id, let generation = rungs[rung].generation,
                let reach = window.reach(first + rung), reach.number == segment.number, reach.parts == part
            else { return nil }
            return LadderWork.Order(rung: rung, generation: generation)
        }
        let mayBegin = !run.isRestart || part == 0 && segment.isIndependent
        let source = segment.source
        return LadderWork(
            segment: segment.number, part: part, map: segment.map,
            source: source ?? OutputTrack(configuration: .opus(channels: 2)), samples: content.samples,
            duration: content.duration, isLast: segment.isWhole && part == segment.parts.count - 1,
            isGap: content.isGap || source == nil || !mayBegin, isRestart: run.isRestart, orders: orders)
    }

    /// A run has done what it was given.
    mutating func done(_ id: Int, _ work: LadderWork) {
        guard let index = runs.firstIndex(where: { $0.id == id }), runs[index].segment == work.segment,
            runs[index].part == work.part
        else { return }
        runs[index].part += 1
        // After a gap nothing can be decoded up to the next key frame.
        runs[index].isRestart = work.isGap
    }

    /// Runs that are at the beginning of one and the same segment become one.
    private mutating func merge(_ id: Int) {
        guard let own = runs.first(where: { $0.id == id }), own.part == 0 else { return }
        let others = runs.filter { $0.id != id && !$0.isBusy && $0.segment == own.segment && $0.part == 0 }
        for other in others {
            for rung in rungs.indices where rungs[rung].run == other.id { rungs[rung].run = id }
        }
        dropIdleRuns()
    }
}
