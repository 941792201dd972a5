import MediaFormats
import Wire

/// Cuts a stream's frames into segments and parts. No clock, no bytes of containers: frames and times in, events out.
///
/// **The line.** Output time runs on from part to part without a hole; a part is the samples whose decoding begins in
/// its span of time. The *lead* (the picture; without one, the sound) decides where parts end; the other tracks are cut
/// at the same times.
///
/// **Parts** are 85 to 100 % of `partTarget` long (RFC 8216bis §4.4.4.9) and end where a picture begins if one does in
/// that window; else in the midst of a picture, which then reaches over the end by less than its own duration.
///
/// **Segments** begin at key frames. One is asked for shortly before the next cut is due. Where none comes, the segment
/// ends anyway before it would be longer than the target duration when rounded, and the source is named (`longGroups`).
package struct Segmenter: Sendable {
    package struct Settings: Sendable, Hashable {
        /// What a part aims at. `partTarget` is a little above, so that it may end at the nearest picture.
        package var partDuration: Interval = .milliseconds(300)
        /// What a segment aims at, 1 s at least.
        package var segmentDuration: Interval = .seconds(2)
        /// The first segments are shorter: most players want three before they begin.
        package var quickSegments = 3
        package var quickDuration: Interval = .milliseconds(600)
        /// How long a part waits for tracks that are behind, in stream time.
        package var lateness: Interval = .milliseconds(250)

        package init() {}

        /// `EXT-X-TARGETDURATION`
        package var targetDuration: Int {
            Int(max(1, (segmentDuration.nanoseconds + 999_999_999) / 1_000_000_000))
        }
        /// `PART-TARGET`
        package var partTarget: Interval { .nanoseconds(partDuration.nanoseconds / 20 * 21) }
        /// The least that a part may last that is not the last of its segment.
        var leastPart: Interval { .nanoseconds(partTarget.nanoseconds / 100 * 85 + 1) }
        /// Is still the target duration when rounded.
        var longestSegment: Interval { .seconds(Int64(targetDuration)) + .milliseconds(450) }
    }

    /// How a segment begins.
    package struct SegmentStart: Sendable, Equatable {
        package var time: Interval
        /// Nanoseconds since 1970.
        package var programDate: Int64
        package var isDiscontinuity: Bool
        /// Its first picture is a key frame.
        package var isIndependent: Bool
        /// The tracks from here on, by the index of the description: nil is not in the output. Nil: as before.
        package var tracks: [OutputTrack?]?

        package init(
            time: Interval, programDate: Int64, isDiscontinuity: Bool, isIndependent: Bool, tracks: [OutputTrack?]?
        ) {
            self.time = time
            self.programDate = programDate
            self.isDiscontinuity = isDiscontinuity
            self.isIndependent = isIndependent
            self.tracks = tracks
        }
    }

    package struct Part: Sendable, Equatable {
        package var start: Interval
        package var duration: Interval
        /// By the index of the description; without those that are not in the output.
        package var samples: [[Sample]]
    }

    package enum Event: Sendable, Equatable {
        case beginSegment(SegmentStart)
        case part(Part)
        case endSegment
        /// The publisher should send a key frame now.
        case needKeyFrame
        /// Whether segments had to be cut where no key frame was: the publisher's groups of pictures are too long.
        case longGroups(Bool)
    }

    /// Frames that were of no use, for the metrics.
    package struct Counts: Sendable, Hashable {
        /// Before the first key frame, or while one is awaited.
        package var beforeKeyFrame = 0
        /// Their time was over: silence is in their place.
        package var late = 0
        /// Silent frames made.
        package var silence = 0
        package var discontinuities = 0
        /// Segments that begin without a key frame.
        package var forcedCuts = 0

        package init() {}
    }

    /// Longest that sound alone waits for a picture that was announced.
    static let picturePatience = Interval.seconds(3)
    /// A frame so far from where the clock says it should be is on another clock.
    static let longestJump = Interval.seconds(2)
    /// Two pictures out of order are decoded at least so far apart.
    static let leastStep = Interval.microseconds(100)
    /// Frames of a track before the start.
    static let maxWaiting = 512
    /// A key frame is asked for so long before it is needed, and again.
    static let keyFrameLead = Interval.milliseconds(150)
    static let keyFrameRetry = Interval.milliseconds(500)
    /// Dates move by a hundredth of what has passed: less than the duration of a picture, with each segment.
    static let dateSlew: Int64 = 100
    /// A publisher that has not sent a key frame so long after it was asked does not send one for being asked.
    static let keyFramePatience = Interval.seconds(1)

    package let settings: Settings
    /// When stream time zero was, in nanoseconds since 1970. If it changes, dates move there slowly, so that they agree
    /// with the durations of segments; at once where a discontinuity is.
    package var unixTimeAtZero: Int64
    package internal(set) var counts = Counts()

    var lanes: [Lane]
    /// Index of the track that decides; nil: nothing has begun yet.
    var lead: Int?
    /// The one that should.
    let preferredLead: Int?
    /// Between stream time and output time.
    var offset = Interval.zero
    var isStarted = false
    /// Between two time lines: nothing is taken until a key frame comes.
    var awaitsKeyFrame = true
    var nextIsDiscontinuity: Bool
    /// When the first frame came, for the patience with pictures.
    var firstArrival: Instant?
    /// Newest time of the lead and when it came.
    var leadTime: Interval
    var leadArrival = Instant.zero
    /// When the newest frame of any track came.
    var clock = Instant.zero
    /// Where the line began.
    var lineStart = Interval.zero
    /// Where program dates count from.
    var dateAnchor: (time: Interval, unix: Int64) = (.zero, 0)

    // What has been decided, which may be ahead of what has been given out.
    var segmentStart: Interval
    var partStart: Interval
    var segmentCount = 0
    var segmentIsIndependent = true
    var begin: SegmentStart?
    /// A track has been described that is not in the output yet: it joins at the next cut.
    var isJoining = false
    var decisions: [Decision] = []

    var lastKeyFrame: Interval?
    var keyFrameInterval: Interval?
    var requestedAt: Instant?
    var firstRequestAt: Instant?
    var isUnanswered = false
    var forcedInRow = 0
    var keyedInRow = 0
    package internal(set) var hasLongGroups = false

    var events: [Event] = []

    /// - Parameters:
    ///   - tracks: of the publisher; the first picture and all sounds are used.
    ///   - origin: output time of the first sample.
    ///   - unixTimeAtZero: when stream time zero was, in nanoseconds since 1970.
    ///   - isDiscontinuity: something else came before.
    package init(
        tracks: [TrackDescription], settings: Settings = Settings(), origin: Interval = .zero, unixTimeAtZero: Int64,
        isDiscontinuity: Bool = false
    ) {
        self.settings = settings
        self.unixTimeAtZero = unixTimeAtZero
        let picture = tracks.firstIndex(where: \.isVideo)
        lanes = tracks.enumerated().map { Lane($1, isUsed: !$1.isVideo || $0 == picture) }
        preferredLead = picture ?? tracks.indices.first
        nextIsDiscontinuity = isDiscontinuity
        leadTime = origin
        segmentStart = origin
        partStart = origin
    }

    /// Output time up to which parts have been decided.
    package var end: Interval { partStart }

    /// - Returns: what happened, in order.
    package mutating func append(_ frame: MediaFrame, now: Instant) -> [Event] {
        guard lanes.indices.contains(frame.track), lanes[frame.track].isUsed else { return [] }
        if firstArrival == nil { firstArrival = now }
        take(frame, now: now)
        execute(now: now)
        return drain()
    }

    /// To be called every 100 ms or so: parts are cut on time also when nothing comes.
    package mutating func advance(now: Instant) -> [Event] {
        if isStarted, !awaitsKeyFrame {
            let time = leadNow(now)
            while time > partStart + settings.partTarget + settings.lateness { closeLate() }
        }
        askForKeyFrame(now: now)
        execute(now: now)
        return drain()
    }

    /// The publisher has gone: everything that has come goes out, and the segment ends.
    package mutating func finish() -> [Event] {
        if isStarted {
            endLine()
            while let decision = decisions.first { give(decision, isLast: true) }
        }
        return drain()
    }

    private mutating func drain() -> [Event] {
        defer { events.removeAll(keepingCapacity: true) }
        return events
    }

    /// Where the lead's newest frame would be by now.
    func leadNow(_ now: Instant) -> Interval { leadTime + max(.zero, now - leadArrival) }
}

/// A span that is to become a part, as soon as all tracks have come so far.
struct Decision: Sendable {
    var begin: Segmenter.SegmentStart?
    var start: Interval
    var end: Interval
    var isFinal: Bool
}

/// Frames of one track on their way into parts.
struct Lane: Sendable {
    let description: TrackDescription
    let isUsed: Bool
    /// Nil until it is known; a lane without is not in the output.
    var output: OutputTrack?
    /// Whole samples in decoding order.
    var pending: [Sample] = []
    /// The newest picture: how long it lasts is not known yet.
    var held: Sample?
    /// End of what has come (sound) or begin of the newest (picture).
    var next: Interval?
    /// Between the last two frames.
    var interval: Interval
    /// Nothing came when it should have: parts do not wait for it.
    var isIdle = false
    /// H264, H265: those that are in force.
    var parameterSets: [[UInt8]]
    var decodeTimes: DecodeTimes

    init(_ description: TrackDescription, isUsed: Bool) {
        self.description = description
        self.isUsed = isUsed
        parameterSets = description.parameterSets
        decodeTimes = DecodeTimes(description.codec, parameterSets: [], leastStep: Segmenter.leastStep)
        interval = description.isVideo ? .microseconds(33_333) : .milliseconds(20)
        // Sound that needs no frame to be described.
        if isUsed, !description.isVideo, let configuration = CodecConfiguration(description, keyFrame: nil) {
            output = OutputTrack(configuration: configuration)
        }
    }

    var isVideo: Bool { description.isVideo }

    /// The first picture on a line is decoded and shown at that time.
    mutating func beginDecoding(at time: Interval) {
        decodeTimes = DecodeTimes(description.codec, parameterSets: parameterSets, leastStep: Segmenter.leastStep)
        _ = decodeTimes.next(time)
    }
}
