import MediaFormats
import Wire

/// The lower renditions that a stream has beside its own: a ladder for players to climb as their networks allow.
package struct Ladder: Sendable, Hashable {
    /// Highest first.
    package var rungs: [LadderRung]
    /// The sound without the picture, for the worst of networks.
    package var hasSoundAlone: Bool

    package init(rungs: [LadderRung] = [], hasSoundAlone: Bool = false) {
        self.rungs = rungs
        self.hasSoundAlone = hasSoundAlone
    }

    package var isEmpty: Bool { rungs.isEmpty && !hasSoundAlone }
}

/// A lower rendition as it is configured: the published picture made smaller, in H264 of the main profile.
package struct LadderRung: Sendable, Hashable {
    /// In paths.
    package var name: String
    /// Pixels of the shorter side: a phone held upright has its 720p, too.
    package var height: Int
    /// Most bits per second of the picture.
    package var bitrate: Int
    /// Most pictures per second; nil: as published.
    package var framesPerSecond: Int?

    package init(name: String, height: Int, bitrate: Int, framesPerSecond: Int? = nil) {
        self.name = name
        self.height = height
        self.bitrate = bitrate
        self.framesPerSecond = framesPerSecond
    }

    /// What becomes of a picture: never larger than it is, of the same shape, even.
    package func size(of source: VideoSize) -> VideoSize {
        let short = min(source.width, source.height)
        guard short > height, short > 0 else { return Self.even(source) }
        return Self.even(
            VideoSize(
                width: (source.width * height + short / 2) / short, height: (source.height * height + short / 2) / short
            ))
    }

    /// Whether there is anything to gain.
    package func isLower(than source: VideoSize) -> Bool { height < min(source.width, source.height) }

    private static func even(_ size: VideoSize) -> VideoSize {
        VideoSize(width: max(2, (size.width + 1) & ~1), height: max(2, (size.height + 1) & ~1))
    }

    /// Ten times the H264 level (ITU-T H.264 table A-1) that is enough for that picture 60 times a second: said before
    /// the first picture has been made, and then to the encoder, so that `CODECS` is right.
    package static func level(of size: VideoSize) -> Int {
        let blocks = ((size.width + 15) / 16) * ((size.height + 15) / 16)
        return (levels.first { blocks <= $0.blocks && blocks * fastest <= $0.perSecond } ?? levels[levels.count - 1])
            .level
    }

    private static let fastest = 60
    private static let levels: [(level: Int, blocks: Int, perSecond: Int)] = [
        (30, 1_620, 40_500), (31, 3_600, 108_000), (32, 5_120, 216_000), (40, 8_192, 245_760), (42, 8_704, 522_240),
        (51, 36_864, 983_040), (52, 36_864, 2_073_600),
    ]

    /// Name for `CODECS` (RFC 6381): main profile, as libx264 writes it.
    package static func codecName(of size: VideoSize) -> String {
        "avc1.4d40" + CodecConfiguration.hex(UInt8(clamping: level(of: size)))
    }

    /// What is said of its largest segment before there is one: a buffer of half a second more than the bit rate lets
    /// through in two seconds.
    var expectedBandwidth: Int { bitrate / 4 * 5 }
}

/// Makes the lower renditions of one stream: libavcodec on threads of its own, or a test's own.
package protocol LadderShop: Sendable {
    /// Whether one more rendition may be made now.
    var hasPlace: Bool { get }

    /// Takes a place for a rendition.
    ///
    /// - Returns: why there is none; nil: it has been taken.
    func takePlace() -> String?

    /// Whoever works for that order will need a coder. Called once for each place taken.
    func open(_ order: LadderWork.Order)

    /// A rendition is not made any more: its coder is of no use, its place is free. Called once for each that was opened.
    ///
    /// - Parameter generation: of the order.
    func giveBack(_ generation: Int)

    /// Somebody who works off what `HLSStream.ladderTurn` gives for that run.
    func makeRunner(for stream: HLSStream, run: Int) -> any LadderRunner
}

package protocol LadderRunner: AnyObject, Sendable {
    /// There may be work. Any thread; never waits.
    func wake()
}

/// A part that is to be made.
package struct LadderWork: Sendable {
    /// For whom. A generation is one beginning of one rendition: its coder begins anew with it.
    package struct Order: Sendable, Hashable {
        package var rung: Int
        package var generation: Int

        package init(rung: Int, generation: Int) {
            self.rung = rung
            self.generation = generation
        }
    }

    package var segment: UInt64
    package var part: Int
    /// Number of the initialisation section that it needs.
    package var map: UInt64
    /// The picture as it is given.
    package var source: OutputTrack
    /// In decoding order.
    package var samples: [Sample]
    package var duration: Interval
    /// Ends its segment: nothing of it may be left in the decoder.
    package var isLast: Bool
    /// Nothing can be decoded here: a gap, or the samples before a key frame.
    package var isGap: Bool
    /// What was decoded before is not what comes before this.
    package var isRestart: Bool
    /// Who is to have it; the others have it already.
    package var orders: [Order]

    package init(
        segment: UInt64, part: Int, map: UInt64, source: OutputTrack, samples: [Sample], duration: Interval,
        isLast: Bool, isGap: Bool, isRestart: Bool, orders: [Order]
    ) {
        self.segment = segment
        self.part = part
        self.map = map
        self.source = source
        self.samples = samples
        self.duration = duration
        self.isLast = isLast
        self.isGap = isGap
        self.isRestart = isRestart
        self.orders = orders
    }
}

/// What became of it for one rendition.
package struct LadderResult: Sendable {
    package var order: LadderWork.Order
    /// Nil: a gap.
    package var media: [UInt8]?
    package var isIndependent: Bool
    /// If it is new.
    package var map: [UInt8]?
    /// The rendition cannot go on.
    package var failure: String?

    package init(
        order: LadderWork.Order, media: [UInt8]? = nil, isIndependent: Bool = false, map: [UInt8]? = nil,
        failure: String? = nil
    ) {
        self.order = order
        self.media = media
        self.isIndependent = isIndependent
        self.map = map
        self.failure = failure
    }
}

package enum LadderTurn: Sendable {
    case work(LadderWork)
    /// Nothing now; `wake` will tell.
    case nothing
    /// Nothing ever: the runner is not needed any more.
    case over
}
