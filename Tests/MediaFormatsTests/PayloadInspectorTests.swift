import MediaFormats
import Testing
import Wire

private func hex(_ text: String) -> [UInt8] {
    let digits = Array(text.utf8).map { UInt8(String(UnicodeScalar($0)), radix: 16)! }
    return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
}

private func inspect(_ codec: Codec, _ bytes: [UInt8]) -> RTPPayloadFacts {
    PayloadInspector.inspect(codec, bytes.span.bytes)
}

/// Headers written by libx264, libx265, libvpx and SVT-AV1 for a picture of 322×182.
@Suite struct PayloadInspectorTests {
    static let size = VideoSize(width: 322, height: 182)
    static let highSPS = hex("6764000cacd941519e226c044000000300400000030283c50a6580")
    static let baselineSPS = hex("6742c00bd901519e226c044000000300400000030283c50a92")
    static let hevcSPS = hex("42010101600000030090000003000003003ca00a480b9c9596566924caf016808000000300800000030284")
    static let hevcVPS = hex("40010c01ffff01600000030090000003000003003c959809")
    static let vp8Frame = hex("f067009d012a4201b6000007088585888584880202031cb50bf80fe0")
    static let vp9Frame = hex("824983420014100b560438241c184a0009207fd9fa3e8fe77187")
    static let av1Sequence = hex("0a0b000000043d06d4fbf90040")
    static let av1Frame = hex("32ca151400a33824dd446c8b53ec")

    // MARK: - VP8

    @Test func vp8KeyFrameAndItsSizeAreSeen() {
        for descriptor: [UInt8] in [
            [0x10], [0x90, 0x80, 0x11], [0x90, 0x80, 0x91, 0x22], [0x90, 0xf0, 0x91, 0x22, 1, 0x20],
        ] {
            let facts = inspect(.vp8, descriptor + Self.vp8Frame)
            #expect(facts.isKeyFrameStart && facts.isFrameStart)
            #expect(facts.size == Self.size)
        }
    }

    @Test func vp8InterFramesAndLaterPacketsAreNotKeyFrames() {
        #expect(!inspect(.vp8, [0x10] + [0xf1, 0x67, 0, 0, 0]).isKeyFrameStart)
        #expect(inspect(.vp8, [0x10] + [0xf1, 0x67, 0, 0, 0]).isFrameStart)
        #expect(!inspect(.vp8, [0x00] + Self.vp8Frame).isFrameStart)
        #expect(!inspect(.vp8, [0x11] + Self.vp8Frame).isKeyFrameStart)
    }

    // MARK: - VP9

    @Test func vp9KeyFrameSizeComesFromTheFrameHeaderOrTheStructure() {
        let plain = inspect(.vp9, [0x88, 0x05] + Self.vp9Frame)
        #expect(plain.isKeyFrameStart)
        #expect(plain.size == Self.size)
        let structure: [UInt8] = [0x38, 0x00, 0xa1, 0x00, 0x5b, 0x01, 0x42, 0x00, 0xb6, 0x01, 0x10 | 0x04, 0x01]
        let layered = inspect(.vp9, [0xaa, 0x80, 0x05, 0x00, 0x00] + structure + [0xff])
        #expect(layered.isKeyFrameStart)
        #expect(layered.size == Self.size)
    }

    /// As Chromium sends it, and with temporal layers.
    @Test(
        arguments: [
            ([0xdd, 0xa2, 0x9b, 0x02, 0x86, 0x00, 0x40], [0xcd, 0xa2, 0x9b, 0x86, 0x00, 0x40]),
            ([0xdd, 0x05, 0x03, 0x02, 0x86, 0x00, 0x40], [0xcd, 0x05, 0x86, 0x00, 0x40]),
            ([0xfd, 0xa2, 0x9b, 0x20, 0x02, 0x86, 0x00, 0x40], [0xcd, 0xa2, 0x9b, 0x86, 0x00, 0x40]),
            (
                [0x9f, 0xa2, 0x9a, 0x10, 0x01, 0x40, 0x00, 0xf0, 0x82, 0x49],
                [0x8f, 0xa2, 0x9a, 0x10, 0x01, 0x40, 0x00, 0xf0, 0x82, 0x49]
            ),
            ([0x50, 0x02, 0x86], [0x40, 0x86]),
        ] as [([UInt8], [UInt8])]) func vp9LosesItsFlexibleMode(payload: [UInt8], simpler: [UInt8])
    {
        var out: [UInt8] = [1, 2, 3]
        let isSimpler = VP9.withoutFlexibleMode(payload.span.bytes, into: &out)
        #expect(isSimpler && out == simpler)
        // What has no flexible mode stays as it is.
        let isSimplerStill = VP9.withoutFlexibleMode(simpler.span.bytes, into: &out)
        #expect(!isSimplerStill)
    }

    /// Upper spatial layers, what depends on a lower one, and what is torn.
    @Test(
        arguments: [
            [0xfd, 0x05, 0x02, 0x02, 0x86], [0xfd, 0x05, 0x01, 0x02, 0x86], [0xdd, 0xa2], [0xdd, 0x05, 0x03],
            [0x10 | 0x20],
        ] as [[UInt8]]) func vp9InFlexibleModeThatMustStay(payload: [UInt8])
    {
        var out: [UInt8] = []
        let isSimpler = VP9.withoutFlexibleMode(payload.span.bytes, into: &out)
        #expect(!isSimpler)
    }

    @Test func vp9InterFramesUpperLayersAndContinuationsAreNotKeyFrames() {
        #expect(!inspect(.vp9, [0xc8, 0x05] + Self.vp9Frame).isKeyFrameStart)
        #expect(!inspect(.vp9, [0x80, 0x05] + Self.vp9Frame).isKeyFrameStart)
        #expect(!inspect(.vp9, [0xa8, 0x05, 0x02, 0x00] + Self.vp9Frame).isKeyFrameStart)
        // Flexible mode with two reference indices.
        #expect(!inspect(.vp9, [0xd8, 0x05, 0x03, 0x02] + Self.vp9Frame).isKeyFrameStart)
    }

    // MARK: - H264

    @Test func h264SizeIsReadFromSPSOfBothKindsOfProfile() {
        for sps in [Self.highSPS, Self.baselineSPS] {
            let facts = inspect(.h264, sps)
            #expect(facts.size == Self.size)
            #expect(facts.hasParameterSets && facts.isKeyFrameStart)
        }
    }

    @Test func h264AggregatesAreOpened() {
        let pps: [UInt8] = [0x68, 0xcb, 0x83]
        let idr: [UInt8] = [0x65, 0x88, 0x84, 0x00]
        var packet: [UInt8] = [0x78]
        for nal in [Self.baselineSPS, pps, idr] {
            packet.appendBigEndian(UInt16(nal.count))
            packet += nal
        }
        let facts = inspect(.h264, packet)
        #expect(facts.isKeyFrameStart && facts.hasParameterSets && facts.isFrameStart)
        #expect(facts.size == Self.size)
    }

    @Test func h264FragmentsAreKeyFramesOnlyAtTheirStart() {
        #expect(inspect(.h264, [0x7c, 0x85, 0x88, 0x80]).isKeyFrameStart)
        #expect(!inspect(.h264, [0x7c, 0x05, 0x88, 0x80]).isKeyFrameStart)
        #expect(!inspect(.h264, [0x7c, 0x81, 0x9a, 0x80]).isKeyFrameStart)
        #expect(inspect(.h264, [0x7c, 0x81, 0x9a, 0x80]).isFrameStart)
        #expect(inspect(.h264, [0x41, 0x9a, 0x21]).isFrameStart)
        #expect(!inspect(.h264, [0x41, 0x5a, 0x21]).isFrameStart)
    }

    @Test func parameterSetsOfAnSDPAreDecoded() {
        #expect(H264.parameterSets(sprop: "Z0IAKeKQFAe2AtwEBAaQeJEV,aM48gA==")[1] == [0x68, 0xce, 0x3c, 0x80])
        #expect(H264.parameterSets(sprop: "!!!,").isEmpty)
    }

    // MARK: - H265

    @Test func h265ParameterSetsAndIRAPAreKeyFrames() {
        let sps = inspect(.h265, Self.hevcSPS)
        #expect(sps.isKeyFrameStart && sps.hasParameterSets)
        #expect(sps.size == Self.size)
        var aggregate: [UInt8] = [0x60, 0x01]
        for nal in [Self.hevcVPS, Self.hevcSPS] {
            aggregate.appendBigEndian(UInt16(nal.count))
            aggregate += nal
        }
        #expect(inspect(.h265, aggregate).size == Self.size)
        #expect(inspect(.h265, [0x62, 0x01, 0x93, 0x80, 0x11]).isKeyFrameStart)
        #expect(!inspect(.h265, [0x62, 0x01, 0x13, 0x80, 0x11]).isKeyFrameStart)
        #expect(!inspect(.h265, [0x02, 0x01, 0xd0, 0x11]).isKeyFrameStart)
    }

    // MARK: - AV1

    @Test func av1SequencesAreKeyFrames() {
        var counted: [UInt8] = [0x28, UInt8(Self.av1Sequence.count)]
        counted += Self.av1Sequence + Self.av1Frame
        let facts = inspect(.av1, counted)
        #expect(facts.isKeyFrameStart)
        #expect(facts.size == Self.size)
        // W = 0: every element has a length; a temporal delimiter first.
        let all: [UInt8] = [0x08, 2, 0x12, 0, UInt8(Self.av1Sequence.count)] + Self.av1Sequence + [1, 0x30]
        #expect(inspect(.av1, all).size == Self.size)
        #expect(!inspect(.av1, [0x20] + Self.av1Frame).isKeyFrameStart)
        #expect(!inspect(.av1, [0x90] + Self.av1Frame).isFrameStart)
    }

    // MARK: - Everything

    @Test(arguments: Codec.allCases) func audioAndEmptyPayloadsSayNothing(_ codec: Codec) {
        #expect(inspect(codec, []).isEmpty)
        if !codec.isVideo { #expect(inspect(codec, [1, 2, 3]) == RTPPayloadFacts()) }
    }

    @Test(arguments: Codec.allCases) func truncatedAndAlteredPayloadsNeverTrap(_ codec: Codec) {
        let seeds: [[UInt8]] = [
            [0x90, 0xf0, 0x91, 0x22, 1, 0x20] + Self.vp8Frame, [0x8a, 0x85, 0x38, 0, 1, 0, 1] + Self.vp9Frame,
            Self.highSPS, [0x78, 0, 27] + Self.highSPS, Self.hevcSPS, [0x60, 1, 0, 43] + Self.hevcSPS,
            [0x28, 13] + Self.av1Sequence + Self.av1Frame, [0x08, 2, 0x12, 0, 13] + Self.av1Sequence,
        ]
        var random = SeededRandom(seed: 11)
        for seed in seeds {
            for length in 0...seed.count { _ = inspect(codec, Array(seed.prefix(length))) }
            for _ in 0..<2000 {
                var bytes = seed
                for _ in 0..<Int.random(in: 1...6, using: &random) {
                    bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
                }
                let facts = inspect(codec, bytes)
                if let size = facts.size { #expect(size.width > 0 && size.height > 0) }
            }
        }
    }

    @Test func namesAreThoseOfSDP() {
        #expect(Codec.vp8.name == "VP8" && Codec.opus.name == "opus" && Codec.g722.name == "G722")
        #expect(Codec.allCases.filter(\.isVideo).count == 5)
    }
}
