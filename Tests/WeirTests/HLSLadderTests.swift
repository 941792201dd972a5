import HLS
import Logging
import MediaFiles
import MediaFormats
import Synchronization
import Testing
import Weir
import Wire

/// Encoders and decoders as they are, without a network.
@Suite struct HLSLadderTests {
    private static let size = VideoSize(width: 320, height: 180)
    private static let interval = Interval.milliseconds(40)

    /// Pictures of which each is brighter than the one before, as a publisher sends them.
    private static func source(_ count: Int, keyEvery group: Int = 25) throws -> [Sample] {
        let encoder = try ScaledEncoder(ScaledEncoder.Settings(size: size, bitrate: 2_000_000, level: 31))
        return try (0..<count).map { index in
            let time = interval * Int64(index)
            let picture = try VideoPicture(size: size, time: time) { _, _ in UInt8(20 + index % 200) }
            let encoded = try #require(try encoder.encode(picture, time: time, isKey: index % group == 0))
            return Sample(data: encoded.data, time: time, duration: interval, isKeyFrame: encoded.isKey)
        }
    }

    private static func work(_ samples: ArraySlice<Sample>, part: Int, rungs: Int, isLast: Bool = false) -> LadderWork {
        LadderWork(
            segment: 0, part: part, map: 1,
            source: OutputTrack(configuration: .h264(sps: [[0x67, 1, 2, 3]], pps: [[0x68]]), size: size),
            samples: Array(samples), duration: interval * Int64(samples.count), isLast: isLast, isGap: false,
            isRestart: part == 0, orders: (0..<rungs).map { LadderWork.Order(rung: $0, generation: $0 + 1) })
    }

    @Test func announcedCodecIsTheOneThatTheEncoderWrites() throws {
        for (width, height) in [(1_280, 720), (854, 480), (640, 360), (426, 240), (160, 90), (1_080, 1_920)] {
            let size = VideoSize(width: width, height: height)
            let encoder = try ScaledEncoder(
                ScaledEncoder.Settings(size: size, bitrate: 1_000_000, level: LadderRung.level(of: size)))
            let picture = try VideoPicture(size: size) { x, y in UInt8(truncatingIfNeeded: x ^ y) }
            let encoded = try #require(try encoder.encode(picture, time: .zero, isKey: true))
            let frame = MediaFrame(track: 0, data: encoded.data, time: .zero, parameterSets: encoded.parameterSets)
            let made = CodecConfiguration(TrackDescription(codec: .h264), keyFrame: frame)
            #expect(made?.name == LadderRung.codecName(of: size))
        }
    }

    @Test func everyPictureIsMadeSmallerInItsPlace() throws {
        let samples = try Self.source(50)
        let decoder = try LadderDecoder(.h264)
        let coder = HLSLadderCoder(
            LadderRung(name: "90p", height: 90, bitrate: 300_000), order: .init(rung: 0, generation: 1),
            isTransportStream: false)
        var found: [Sample] = []
        for part in 0..<5 {
            let work = Self.work(samples[(part * 10)..<(part * 10 + 10)], part: part, rungs: 1, isLast: part == 4)
            coder.begin(work)
            decoder.decode(work.samples, isLast: work.isLast) { coder.take($0, slot: $1, source: work.source) }
            found += coder.made
            let result = coder.finish(work)
            #expect(result.media?.isEmpty == false && (result.map != nil) == (part == 0))
            #expect(result.isIndependent == (part == 0) && result.failure == nil)
        }
        #expect(found.map(\.decodeTime) == samples.map(\.decodeTime))
        #expect(found.map(\.isKeyFrame) == samples.indices.map { $0 == 0 })
        let pictures = try VideoDecoder(TrackDescription(codec: .h264))
        for (index, sample) in found.enumerated() {
            let frame = MediaFrame(track: 0, data: sample.data, time: sample.time, isKeyFrame: sample.isKeyFrame)
            let picture = try #require(try pictures.decode(frame).first)
            #expect(picture.size == VideoSize(width: 160, height: 90))
            #expect(abs(Int(picture.luma(x: 80, y: 45) ?? 0) - (20 + index)) < 6)
        }
    }

    @Test func pictureThatCannotBeDecodedTakesNoOthersPlace() throws {
        var samples = try Self.source(20)
        samples[7].data = [0, 0, 0, 1, 0x41]
        let decoder = try LadderDecoder(.h264)
        var slots: [(Interval, Interval)] = []
        decoder.decode(samples, isLast: true) { slots.append(($0.time, $1.time)) }
        #expect(slots.count >= 18 && slots.allSatisfy { $0.0 == $0.1 })
    }

    @Test func framesPerSecondAreLimitedAndNoPartBeginsWithAHole() {
        var thinner = PictureThinner()
        var taken: [Int] = []
        for index in 0..<300
        where thinner.takes(
            at: Self.interval * Int64(index), isFirst: index % 8 == 0, framesPerSecond: 10)
        {
            taken.append(index)
        }
        #expect(stride(from: 0, to: 300, by: 8).allSatisfy { taken.contains($0) })
        // 25 a second: every third, and the first of each part.
        #expect(taken.count > 110 && taken.count < 125)
        #expect(thinner.dropped == 0)
    }

    @Test func slowEncoderMakesFewerPicturesAndGoesBackWhenItCan() {
        var thinner = PictureThinner()
        func part(_ cost: Interval) -> Int {
            var taken = 0
            for index in 0..<10
            where thinner.takes(
                at: Self.interval * Int64(index), isFirst: index == 0, framesPerSecond: nil)
            {
                taken += 1
            }
            thinner.note(work: cost * Int64(taken), media: .milliseconds(400))
            return taken
        }
        #expect((0..<20).allSatisfy { _ in part(.milliseconds(10)) == 10 })
        let slow = (0..<60).map { _ in part(.milliseconds(100)) }
        #expect(slow.last == 3 && thinner.dropped > 0)
        let fast = (0..<60).map { _ in part(.milliseconds(5)) }
        #expect(fast.last == 10)
    }

    @Test func placesAreCountedWithThoseOfStreams() throws {
        let places = HLSTranscodePlaces(maxPictures: 2, maxSounds: 1)
        let plan = HLSTrackPlan([TrackDescription(codec: .vp8)], sound: .published)
        #expect(places.take(plan) == nil && places.takeRendition() == nil)
        #expect(!places.hasPicture && places.counts.renditions == 1 && places.counts.pictures == 2)
        #expect(try #require(places.takeRendition()).contains("hls.max_transcodes"))
        #expect(places.take(plan) != nil)
        let shop = HLSLadderShop(
            name: "cam", rungs: [LadderRung(name: "90p", height: 90, bitrate: 1)], isTransportStream: false,
            places: places, logger: Logger(label: "test"))
        places.giveBack(plan)
        #expect(shop.hasPlace && shop.takePlace() == nil)
        let order = LadderWork.Order(rung: 0, generation: 7)
        shop.open(order)
        #expect(shop.coder(order) != nil)
        shop.giveBack(7)
        shop.giveBack(7)
        #expect(shop.coder(order) == nil && places.counts.pictures == 1)
    }
}
