import Wire

/// How many bytes each frame of a clip shall have: the bitrate on average, a key frame ``VideoFormat/keyFrameFactor``
/// times as large as the others are on average, and these not all the same.
struct FrameSizes {
    /// P frames lie within this share of their average, as those of a real encoder with a steady bitrate do.
    private static let variation = 0.15
    private static let seed: UInt64 = 0x7765_6972

    let targets: [Double]

    init(_ format: VideoFormat) {
        let average = Self.average(format)
        var random = SeededRandom(seed: Self.seed)
        var targets = (1..<max(format.frames, 1)).map { _ in
            average * (1 + Double.random(in: -Self.variation...Self.variation, using: &random))
        }
        // The seed's luck must not move the bitrate.
        let sum = targets.reduce(0, +)
        let wanted = average * Double(targets.count)
        targets = targets.map { $0 * wanted / sum }
        self.targets = [average * Double(VideoFormat.keyFrameFactor)] + targets
    }

    /// Average of the frames other than the first, bytes.
    static func average(_ format: VideoFormat) -> Double { format.totalBytes / shares(format) }

    /// Bit/s at which the average of the frames other than the first is `average` bytes.
    static func bitrate(_ format: VideoFormat, average: Double) -> Double {
        average * shares(format) * 8 * Double(format.framesPerSecond) / Double(format.frames)
    }

    /// What the clip takes, in frames that are no key frame.
    private static func shares(_ format: VideoFormat) -> Double {
        Double(format.frames - 1 + VideoFormat.keyFrameFactor)
    }
}
