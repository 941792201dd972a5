import MediaFormats
import MediaFrames
import Testing
import Wire

/// Pictures out of order (B frames), found in payloads.
@Suite struct PictureOrderTests {
    // Of libx264 and libx265 at their defaults, and of libx264 with `-bf 0`; 320×180.
    static let reordering = hex("6764000cacd941419f9f011000000300100000030320f1429960")
    static let ordered = hex("6764000cacb202833f3e02200000030020000006" + "41e28549")
    static let h265Reordering = hex(
        "42010101600000030090000003000003003ca00a080b9f796566924caf016808000003000800000300c840")
    private static let track = TrackDescription(codec: .h264)

    @Test func parameterSetsSayIt() {
        func count(_ codec: Codec, _ set: [UInt8]) -> Int? {
            NALUnits.reorderedPictures(codec, sequenceParameterSet: set.span.bytes)
        }
        #expect(count(.h264, Self.reordering) == 2)
        #expect(count(.h264, Self.ordered) == 0)
        #expect(count(.h265, Self.h265Reordering) == 2)
        #expect(
            NALUnits.size(.h264, sequenceParameterSet: Self.reordering.span.bytes) == VideoSize(width: 320, height: 180)
        )
        // In the description, and in the stream.
        let described = TrackDescription(codec: .h264, parameterSets: [Self.reordering])
        #expect(PictureOrder(described).evidence == .parameterSets)
        var order = PictureOrder(Self.track)
        order.look(at: Self.reordering.span.bytes, timestamp: 0)
        #expect(order.evidence == .parameterSets)
    }

    /// Slices that are B and refer to what was shown before.
    @Test func parameterSetsThatDenyItAreBelieved() {
        var order = PictureOrder(TrackDescription(codec: .h264, parameterSets: [Self.ordered]))
        order.look(at: [0x01, 0b1010_0000, 0].span.bytes, timestamp: 0)
        #expect(order.evidence == nil)
    }

    @Test func timestampsThatGoBack() {
        var order = PictureOrder(TrackDescription(codec: .h265))
        for timestamp in [0, 9_000, 3_000] as [UInt32] {
            order.look(at: [2, 1, 0xd0, 1].span.bytes, timestamp: timestamp)
        }
        #expect(order.evidence == .timestamps)
    }

    @Test func timestampsThatWrapDoNotGoBack() {
        var order = PictureOrder(Self.track)
        for timestamp in [.max - 2_999, 1, 3_001] as [UInt32] {
            order.look(at: [0x41, 0x9a, 1].span.bytes, timestamp: timestamp)
        }
        #expect(order.evidence == nil)
    }

    @Test func aClockThatIsSetAnewIsNoReordering() {
        var order = PictureOrder(Self.track)
        for timestamp in [2_000_000_000, 3, 3_003] as [UInt32] {
            order.look(at: [0x41, 0x9a, 1].span.bytes, timestamp: timestamp)
        }
        #expect(order.evidence == nil)
    }

    /// first_mb_in_slice 0 (`1`), slice_type 1 (`010`) or 6 (`00111`).
    @Test(arguments: [[0x01, 0b1010_0000, 0], [0x01, 0b1001_1100, 0], [0x1c, 0x81, 0b1010_0000, 0]] as [[UInt8]])
    func bSlices(_ payload: [UInt8]) {
        var order = PictureOrder(Self.track)
        order.look(at: payload.span.bytes, timestamp: 0)
        #expect(order.evidence == .slices)
    }

    @Test func pSlicesAreNone() {
        var order = PictureOrder(Self.track)
        // slice_type 0 and 5; a fragment that is not the first.
        let payloads: [[UInt8]] = [[0x41, 0b1100_0000], [0x41, 0b1001_1000], [0x1c, 0x01, 0b1010_0000]]
        for payload in payloads { order.look(at: payload.span.bytes, timestamp: 0) }
        #expect(order.evidence == nil)
    }

    /// Constrained Baseline: none, whatever comes.
    @Test func baselineHasNone() {
        #expect(NALUnits.reorderedPictures(.h264, sequenceParameterSet: SyntheticClip.h264SPS.span.bytes) == 0)
        var order = PictureOrder(TrackDescription(codec: .h264, parameterSets: SyntheticClip.parameterSets(.h264)))
        order.look(at: [0x01, 0b1010_0000, 0].span.bytes, timestamp: 0)
        #expect(order.evidence == nil)
    }

    @Test(arguments: [1, 2, 3, 4, 5] as [UInt64]) func noise(_ seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for codec in [Codec.h264, .h265] {
            var order = PictureOrder(TrackDescription(codec: codec))
            for _ in 0..<2_000 {
                let bytes: [UInt8] = (0..<Int.random(in: 0...60, using: &random)).map { _ in
                    .random(in: 0...255, using: &random)
                }
                order.look(at: bytes.span.bytes, timestamp: .random(in: 0 ... .max, using: &random))
                order.restart()
            }
        }
    }
}
