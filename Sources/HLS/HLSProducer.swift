import MediaFormats
import Wire

/// What a producer tells its stream, in order. All of one batch is seen by players at once.
package enum StreamChange: Sendable {
    /// - `maps`: initialisation sections by rendition; nil: as before.
    /// - `tracks`: by the index of the description; nil: as before.
    case begin(Segmenter.SegmentStart, maps: [[UInt8]?]?)
    /// By rendition; nil: nothing can be loaded for its time.
    /// `pictures`: those of the picture's track, for the count, and for lower renditions to be made of.
    case part(duration: Interval, media: [[UInt8]?], isIndependent: [Bool], pictures: [Sample])
    case endSegment
}

/// Which tracks of a stream go where.
package struct RenditionPlan: Sendable, Hashable {
    package struct Rendition: Sendable, Hashable {
        /// In paths.
        package var name: String
        /// Indices of the stream's descriptions.
        package var tracks: [Int]

        package init(name: String, tracks: [Int]) {
            self.name = name
            self.tracks = tracks
        }
    }

    /// The first one has the picture, if there is one.
    package var renditions: [Rendition]
    /// What is made of that picture when somebody asks for it.
    package var ladder: Ladder

    package init(renditions: [Rendition], ladder: Ladder = Ladder()) {
        self.renditions = renditions
        self.ladder = ladder
    }

    /// Names of all renditions, those of the ladder behind the others.
    package var names: [String] { renditions.map(\.name) + ladder.rungs.map(\.name) }

    /// Sound is in the picture's rendition if there is one of it: a player then loads one part where it would load two.
    /// Where a stream has sound in several codecs, each is a rendition of its own; so is the one beside a ladder, whose
    /// pictures then share it.
    package init(_ tracks: [TrackDescription], ladder: Ladder = Ladder()) {
        let picture = tracks.indices.first { tracks[$0].isVideo }
        let sounds = tracks.indices.filter { !tracks[$0].isVideo }
        let ladder = picture == nil ? Ladder() : ladder
        guard sounds.count > 1 || !sounds.isEmpty && !ladder.isEmpty else {
            let main = Rendition(name: "main", tracks: (picture.map { [$0] } ?? []) + sounds)
            self.init(renditions: [main], ladder: ladder)
            return
        }
        let pictures = picture.map { [Rendition(name: "main", tracks: [$0])] } ?? []
        let used = sounds.map { Rendition(name: "audio-\(tracks[$0].codec.rawValue)", tracks: [$0]) }
        self.init(renditions: pictures + used, ladder: ladder)
    }
}

/// Makes a stream's segments: frames in, finished bytes out. One thread at a time; what it makes goes to an `HLSStream`.
package struct HLSProducer {
    /// What else a producer has to say.
    package struct Output {
        package var changes: [StreamChange] = []
        package var needsKeyFrame = false
        /// Nil: nothing new about it.
        package var longGroups: Bool?

        package init() {}
    }

    package let plan: RenditionPlan
    private var segmenter: Segmenter
    private var writers: [any RenditionWriter]
    /// By the index of the description.
    private var tracks: [OutputTrack?]
    /// Tracks of each writer, as it was told.
    private var written: [[Int]]
    private var isFirstPart = true

    /// - Parameters:
    ///   - makeWriter: a writer per rendition.
    ///   - origin: output time of the first sample; see `Segmenter`.
    package init(
        tracks: [TrackDescription], plan: RenditionPlan, settings: Segmenter.Settings, origin: Interval = .zero,
        unixTimeAtZero: Int64, isDiscontinuity: Bool = false,
        makeWriter: () -> any RenditionWriter = { FragmentedMP4() }
    ) {
        self.plan = plan
        segmenter = Segmenter(
            tracks: tracks, settings: settings, origin: origin, unixTimeAtZero: unixTimeAtZero,
            isDiscontinuity: isDiscontinuity)
        writers = plan.renditions.map { _ in makeWriter() }
        self.tracks = tracks.map { _ in nil }
        written = plan.renditions.map { _ in [] }
    }

    package var counts: Segmenter.Counts { segmenter.counts }
    package var hasLongGroups: Bool { segmenter.hasLongGroups }
    /// When stream time zero was; see `Segmenter`.
    package var unixTimeAtZero: Int64 {
        get { segmenter.unixTimeAtZero }
        set { segmenter.unixTimeAtZero = newValue }
    }

    package mutating func append(_ frame: MediaFrame, now: Instant) -> Output {
        output(segmenter.append(frame, now: now))
    }

    package mutating func advance(now: Instant) -> Output { output(segmenter.advance(now: now)) }

    package mutating func finish() -> Output { output(segmenter.finish()) }

    private mutating func output(_ events: [Segmenter.Event]) -> Output {
        var output = Output()
        for event in events {
            switch event {
            case .beginSegment(let start):
                output.changes.append(.begin(start, maps: start.tracks.map { begin($0) }))
                isFirstPart = true
            case .part(let part):
                output.changes.append(write(part))
                isFirstPart = false
            case .endSegment: output.changes.append(.endSegment)
            case .needKeyFrame: output.needsKeyFrame = true
            case .longGroups(let are): output.longGroups = are
            }
        }
        return output
    }

    private mutating func begin(_ new: [OutputTrack?]) -> [[UInt8]?] {
        tracks = new
        return plan.renditions.indices.map { index in
            written[index] = plan.renditions[index].tracks.filter { new[$0] != nil }
            let used = written[index].compactMap { new[$0] }
            return used.isEmpty ? nil : writers[index].begin(used)
        }
    }

    private mutating func write(_ part: Segmenter.Part) -> StreamChange {
        var media: [[UInt8]?] = []
        var isIndependent: [Bool] = []
        for index in plan.renditions.indices {
            let samples = written[index].map { part.samples[$0] }
            media.append(samples.isEmpty ? nil : writers[index].part(samples, isFirst: isFirstPart))
            let picture = written[index].first { tracks[$0]?.isVideo == true }
            isIndependent.append(
                picture.map { part.samples[$0].contains(where: \.isKeyFrame) } ?? samples.contains { !$0.isEmpty })
        }
        let pictures = tracks.indices.first { tracks[$0]?.isVideo == true }.map { part.samples[$0] } ?? []
        return .part(duration: part.duration, media: media, isIndependent: isIndependent, pictures: pictures)
    }
}
