import MediaFormats
import Wire

/// The segments of one stream that players may load, of all its renditions: these have the same segments and parts, at
/// the same times and under the same numbers. *Late* renditions (those of the ladder) get their media for a part some
/// time after the others, and only while somebody wants them: see `StreamWindow+Late`.
package struct StreamWindow: Sendable {
    package struct Settings: Sendable, Hashable {
        /// `EXT-X-TARGETDURATION`
        package var targetDuration = 2
        /// `PART-TARGET`; nil: whole segments only.
        package var partTarget: Interval? = .milliseconds(315)
        /// Segments in a live playlist.
        package var liveSegments = 8
        /// Instead of a number of segments: how far back a viewer may go.
        package var backwards: Interval?
        /// Bytes in memory; what is more goes to disk, or leaves the window.
        package var memoryLimit = 64 << 20
        /// Bytes on disk, if there is a directory for it.
        package var diskLimit = 0

        package init() {}

        var target: Interval { .seconds(Int64(targetDuration)) }
        var leastDuration: Interval { target * ServerControl.leastPlaylistTargets }
    }

    package struct Part: Sendable {
        package var duration: Interval
        /// By rendition; nil: no media, or none yet.
        package internal(set) var media: [(any StoredBytes)?]
        package internal(set) var isIndependent: [Bool]

        package init(duration: Interval, media: [(any StoredBytes)?], isIndependent: [Bool]) {
            self.duration = duration
            self.media = media
            self.isIndependent = isIndependent
        }
    }

    package struct Segment: Sendable {
        package let number: UInt64
        package let token: String
        package let start: Interval
        package let programDate: Int64
        package let isDiscontinuity: Bool
        /// Number of its initialisation sections.
        package let map: UInt64
        package internal(set) var duration = Interval.zero
        package internal(set) var parts: [Part] = []
        /// By rendition; nil: no media. Set when the segment is whole.
        package internal(set) var media: [MediaBytes?] = []
        /// When it was whole.
        package internal(set) var published = Instant.zero
        /// Pictures in it.
        package internal(set) var pictures = 0

        var memory: Int {
            media.reduce(0) { sum, media in
                if case .memory(let pieces)? = media { pieces.reduce(sum) { $0 + $1.count } } else { sum }
            }
        }

        /// The parts of a rendition as one; nil if one of them is missing: a segment with a hole counts as a hole, since
        /// players of whole segments cannot tell apart what is there.
        func whole(_ rendition: Int) -> MediaBytes? {
            let pieces = parts.compactMap { $0.media[rendition] }
            return pieces.count < parts.count ? nil : .memory(pieces)
        }
    }

    struct Map: Sendable {
        let token: String
        /// By rendition.
        var media: [(any StoredBytes)?]
    }

    /// A segment that is no longer in playlists but must still be there for who has read an old one.
    struct Removed: Sendable {
        let segment: Segment
        let until: Instant
    }

    package private(set) var settings: Settings
    package let renditions: [String]
    /// How far the late renditions have come, which are the last of `renditions`; nil: they are not made now.
    var late: [Reach?]
    package let isTransportStream: Bool
    package internal(set) var segments: [Segment] = []
    package internal(set) var open: Segment?
    package internal(set) var discontinuitySequence: UInt64
    package internal(set) var isEnded = false
    /// Changes with every change that a playlist shows.
    package internal(set) var version: UInt64 = 0
    /// Of the next segment; known before, for preload hints.
    private(set) var nextNumber: UInt64
    private(set) var nextToken: String
    var removed: [Removed] = []
    var maps: [UInt64: Map] = [:]
    private(set) var currentMap: UInt64 = 0
    package internal(set) var memory = 0
    package internal(set) var disk = 0
    /// Of the longest playlist there has been.
    private(set) var longestDuration = Interval.zero
    package internal(set) var rates: [RateMeter]
    private let makeToken: @Sendable () -> String

    /// - Parameters:
    ///   - renditions: their names in paths; the first is the main one.
    ///   - late: names of those whose media come later; they follow the others in all that is by rendition.
    ///   - firstNumber: higher than any of an earlier stream of the same name.
    ///   - makeToken: chooses names that cannot be guessed.
    package init(
        renditions: [String], late: [String] = [], settings: Settings = Settings(), isTransportStream: Bool = false,
        firstNumber: UInt64 = 0, discontinuitySequence: UInt64 = 0, makeToken: @escaping @Sendable () -> String
    ) {
        self.renditions = renditions + late
        self.late = late.map { _ in nil }
        self.settings = settings
        self.isTransportStream = isTransportStream
        self.discontinuitySequence = discontinuitySequence
        self.makeToken = makeToken
        nextNumber = firstNumber
        nextToken = makeToken()
        rates = (renditions + late).map { _ in RateMeter() }
    }

    /// Renditions whose media are given with the part.
    var promptCount: Int { renditions.count - late.count }

    /// Of the whole segments in the playlist.
    package var duration: Interval { segments.reduce(.zero) { $0 + $1.duration } }

    /// Of the last whole segment; nil before the first.
    package var lastNumber: UInt64? {
        let next = open?.number ?? nextNumber
        return segments.isEmpty || next == 0 ? nil : next - 1
    }

    /// Parts that exist, of whole segments too.
    package var partCount: Int { segments.reduce(open?.parts.count ?? 0) { $0 + $1.parts.count } }

    /// Number after the last one used.
    package var numberAfter: UInt64 { open.map { $0.number + 1 } ?? nextNumber }

    /// Discontinuity sequence number of the last segment.
    package var lastDiscontinuity: UInt64 {
        discontinuitySequence &+ UInt64(segments.count(where: \.isDiscontinuity))
            &+ (open?.isDiscontinuity == true ? 1 : 0)
    }

    // MARK: Growing

    /// - Parameter maps: new initialisation sections by rendition; nil: as before.
    package mutating func begin(
        at start: Interval, programDate: Int64, isDiscontinuity: Bool, maps new: [(any StoredBytes)?]?
    ) {
        precondition(open == nil && !isEnded, "one segment after the other")
        if let new {
            currentMap += 1
            precondition(new.count == promptCount, "a section for every rendition")
            maps[currentMap] = Map(token: makeToken(), media: new + late.map { _ in nil })
        }
        open = Segment(
            number: nextNumber, token: nextToken, start: start, programDate: programDate,
            isDiscontinuity: isDiscontinuity, map: currentMap)
        nextNumber += 1
        nextToken = makeToken()
        version += 1
    }

    package mutating func add(_ part: Part, pictures: Int = 0) {
        guard var segment = open else { return }
        precondition(part.media.count == promptCount, "a part of every rendition")
        var part = part
        part.media += late.map { _ in nil }
        part.isIndependent += late.map { _ in false }
        // Not two owners of its parts: they would be copied.
        open = nil
        segment.parts.append(part)
        segment.duration = segment.duration + part.duration
        segment.pictures += pictures
        open = segment
        for index in 0..<promptCount { rates[index].add(part.media[index]?.count ?? 0, duration: part.duration) }
        version += 1
    }

    package mutating func endSegment(now: Instant) {
        guard var segment = open else { return }
        open = nil
        version += 1
        // Nothing was in it, so nobody has heard of it.
        guard !segment.parts.isEmpty else { return }
        segment.published = now
        segment.media = renditions.indices.map { $0 < promptCount ? segment.whole($0) : nil }
        memory += segment.memory
        for index in 0..<promptCount { rates[index].endSegment() }
        segments.append(segment)
        for index in late.indices { completeLate(index) }
        longestDuration = max(longestDuration, duration)
        trim(now: now)
    }

    package mutating func end() {
        isEnded = true
        version += 1
    }

    // MARK: Shrinking

    /// Takes segments out that are too old, and forgets those that nobody can ask for any more.
    package mutating func trim(now: Instant) {
        while !isEnded, isTooLong, let first = segments.first, duration - first.duration >= settings.leastDuration {
            segments.removeFirst()
            if first.isDiscontinuity { discontinuitySequence += 1 }
            // §6.2.2: since it first appeared, its own duration and the longest playlist's; parts until three target
            // durations after they have left the playlist.
            let until = max(
                first.published + first.duration + longestDuration,
                first.published + settings.target * (2 * ServerControl.partListTargets))
            removed.append(Removed(segment: first, until: until))
            version += 1
        }
        let forgotten = removed.filter { $0.until < now }
        guard !forgotten.isEmpty else { return }
        removed.removeAll { $0.until < now }
        for gone in forgotten { release(gone.segment) }
        dropMaps()
    }

    private var isTooLong: Bool {
        guard let first = segments.first else { return false }
        if memory > settings.memoryLimit && settings.diskLimit == 0 { return true }
        if settings.diskLimit > 0 && disk > settings.diskLimit { return true }
        guard let backwards = settings.backwards else { return segments.count > max(3, settings.liveSegments) }
        return duration - first.duration >= backwards
    }

    private mutating func release(_ segment: Segment) {
        memory -= segment.memory
        for case .file(let stretch)? in segment.media { disk -= stretch.count }
    }

    private mutating func dropMaps() {
        let used = Set(segments.map(\.map) + removed.map(\.segment.map) + [currentMap])
        maps = maps.filter { used.contains($0.key) }
    }

    // MARK: Disk

    /// The oldest segment that should go to disk. Its parts are no longer asked for.
    package func nextToSpill(now: Instant) -> Segment? {
        guard settings.diskLimit > 0, memory > settings.memoryLimit else { return nil }
        let reach = settings.target * (2 * ServerControl.partListTargets)
        // A late rendition that has not come so far would lose what it has of the segment.
        let complete = late.compactMap { $0?.number }.min() ?? .max
        return segments.first { $0.memory > 0 && now - $0.published > reach && $0.number < complete }
    }

    /// Nothing more goes to disk. What is there already may stay as long as the window reaches.
    package mutating func cannotSpill() { settings.diskLimit = 0 }

    /// What `nextToSpill` gave is on disk now. By rendition, as its `media`.
    package mutating func spilled(_ number: UInt64, to media: [FileBytes?]) {
        guard let index = segments.firstIndex(where: { $0.number == number }) else { return }
        memory -= segments[index].memory
        for (rendition, stretch) in media.enumerated() {
            guard let stretch else { continue }
            segments[index].media[rendition] = .file(stretch)
            disk += stretch.count
        }
        for part in segments[index].parts.indices {
            segments[index].parts[part].media = renditions.map { _ in nil }
        }
    }
}

/// Bits per second as `BANDWIDTH` and `AVERAGE-BANDWIDTH` want them (RFC 8216bis §4.4.6.2).
package struct RateMeter: Sendable, Hashable {
    private var bytes = 0
    private var duration = Interval.zero
    private var segmentBytes = 0
    private var segmentDuration = Interval.zero
    private var peak = 0

    mutating func add(_ count: Int, duration: Interval) {
        bytes += count
        self.duration = self.duration + duration
        segmentBytes += count
        segmentDuration = segmentDuration + duration
    }

    mutating func endSegment() {
        peak = max(peak, Self.rate(segmentBytes, segmentDuration))
        (segmentBytes, segmentDuration) = (0, .zero)
    }

    /// Of the whole stream so far.
    package var average: Int { Self.rate(bytes, duration) }
    /// Of its largest segment; while there is none, of what there is.
    package var largest: Int { peak > 0 ? max(peak, average) : average }

    private static func rate(_ bytes: Int, _ duration: Interval) -> Int {
        guard duration > .zero else { return 0 }
        return Int((Double(bytes) * 8 / duration.seconds).rounded(.up))
    }
}
