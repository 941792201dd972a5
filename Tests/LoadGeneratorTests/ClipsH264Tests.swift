import LoadGenerator
import MediaFormats
import Testing
import Wire

@Suite struct ClipsH264Tests {
    struct Case: Sendable, CustomTestStringConvertible {
        var width: Int
        var height: Int
        var framesPerSecond: Int
        var bitrate: Int
        var interval: Int
        var testDescription: String { "\(width)x\(height)@\(framesPerSecond) \(bitrate) bit/s, \(interval) frames" }

        func clip() throws -> Clip {
            try ClipMaker.h264(
                width: width, height: height, framesPerSecond: framesPerSecond, bitrate: bitrate,
                keyFrameInterval: interval)
        }
    }

    static let standard = Case(width: 640, height: 360, framesPerSecond: 30, bitrate: 2_000_000, interval: 60)
    static let small = Case(width: 320, height: 180, framesPerSecond: 15, bitrate: 150_000, interval: 60)
    static let cases = [
        standard, small,
        Case(width: 1280, height: 720, framesPerSecond: 30, bitrate: 4_000_000, interval: 90),
        // More frames than frame_num counts.
        Case(width: 64, height: 50, framesPerSecond: 25, bitrate: 200_000, interval: 300),
    ]

    @Test(arguments: cases) func averagesTheBitrateWithAKeyFrameFiveTimesAsLarge(_ wanted: Case) throws {
        let clip = try wanted.clip()
        #expect(clip.frames.count == wanted.interval)
        #expect(abs(clip.bitrate / Double(wanted.bitrate) - 1) < 0.05)
        let others = clip.frames.dropFirst().map { Double($0.payloadBytes) }
        let average = others.reduce(0, +) / Double(others.count)
        #expect(abs(Double(clip.frames[0].payloadBytes) / (5 * average) - 1) < 0.05)
        #expect(clip.frames.map(\.isKeyFrame) == [true] + [Bool](repeating: false, count: wanted.interval - 1))
        #expect(clip.codec == .h264 && clip.clockRate == 90_000)
        #expect(Int(clip.ticksPerFrame) == 90_000 / wanted.framesPerSecond)
    }

    @Test func twoMegabitsAreAbout223PacketsPerSecondAndTheFramesVary() throws {
        let clip = try Self.standard.clip()
        #expect((217...229).contains(clip.packetsPerSecond))
        let sizes = clip.frames.dropFirst().map { Double($0.payloadBytes) }
        let average = sizes.reduce(0, +) / Double(sizes.count)
        // ±15 %, and half a macroblock of 386 bytes with what the picture before left over.
        #expect(sizes.allSatisfy { abs($0 - average) < 0.15 * average + 390 })
        #expect(sizes.max()! > 1.1 * average && sizes.min()! < 0.9 * average)
    }

    @Test(arguments: cases) func splitsFramesEvenlyIntoPacketsThatFit(_ wanted: Case) throws {
        for frame in try wanted.clip().frames {
            // The parameter sets' packet is not part of the picture.
            let slice = frame.packets.drop { $0[0] & 0x1f == 24 }.map(\.count)
            #expect(frame.packets.count - slice.count == (frame.isKeyFrame ? 1 : 0))
            #expect(slice.max()! <= 1188)
            #expect(slice.max()! - slice.min()! <= 1)
            // As few as it takes: one packet less would have to be larger than allowed.
            #expect(slice.count == 1 || slice.reduce(0, +) > 1188 * (slice.count - 1) - 2 * slice.count)
        }
    }

    @Test(arguments: cases) func keyFrameStartsWithTheParameterSetsOfTheSize(_ wanted: Case) throws {
        let clip = try wanted.clip()
        for (index, frame) in clip.frames.enumerated() {
            let facts = frame.packets.map { PayloadInspector.inspect(.h264, $0.span.bytes) }
            #expect(facts[0].isFrameStart && facts[0].isKeyFrameStart == (index == 0))
            #expect(facts[0].hasParameterSets == (index == 0))
            if index == 0 { #expect(facts[0].size == VideoSize(width: wanted.width, height: wanted.height)) }
        }
    }

    @Test(arguments: cases) func marksAreReadBackFromEveryFrame(_ wanted: Case) throws {
        try wanted.clip().expectMarks(of: 0xfffe)
    }

    @Test(.enabled(if: FFmpeg.path != nil), arguments: cases)
    func decodesWithMarksLoopedAndAfterAJumpToTheKeyFrame(_ wanted: Case) throws {
        try wanted.clip().expectDecoded(as: "h264", width: wanted.width, height: wanted.height) {
            Depacketiser.annexB($0)
        }
    }

    @Test(.enabled(if: FFmpeg.path != nil)) func pictureMovesAndLoopsAreTheSamePictures() throws {
        let clip = try Self.small.clip()
        let all = Array(clip.frames.indices)
        let media = try #require(Depacketiser.annexB(clip.payloads(all + all, isMarked: false)))
        let hashes = try FFmpeg.decode(media, format: "h264").hashes
        #expect(Set(hashes).count == all.count)
        #expect(Array(hashes.prefix(all.count)) == Array(hashes.suffix(all.count)))
    }

    @Test(.enabled(if: FFmpeg.path != nil)) func ffmpegWouldComplainAboutABrokenClip() throws {
        let clip = try Self.small.clip()
        var frames = clip.payloads(Array(clip.frames.indices), isMarked: false)
        frames[9].removeLast()
        frames[9].append([frames[8].last![0], 0xff, 0xff])
        let outcome = try FFmpeg.decode(frames.flatMap { $0.flatMap { [0, 0, 1] + $0 } }, format: "h264")
        #expect(outcome.complaints != "" || outcome.status != 0)
    }

    @Test func sameArgumentsGiveTheSameClip() throws {
        let clips = try [Self.small.clip(), Self.small.clip()]
        #expect(clips[0].frames.map(\.packets) == clips[1].frames.map(\.packets))
    }

    @Test(arguments: [(640, 360, 30), (1920, 1080, 30), (320, 180, 15)])
    func tellsTheNearestBitrateWhenTheOneAskedIsOutOfReach(width: Int, height: Int, framesPerSecond: Int) throws {
        for asked in [10_000, 900_000_000] {
            var nearest: Int?
            let wanted = Case(
                width: width, height: height, framesPerSecond: framesPerSecond, bitrate: asked, interval: 5)
            do { _ = try wanted.clip() } catch ClipError.bitrateOutOfRange(let bitrate) { nearest = bitrate }
            var possible = wanted
            possible.bitrate = try #require(nearest)
            #expect(abs(try possible.clip().bitrate / Double(possible.bitrate) - 1) < 0.05)
        }
    }

    @Test(arguments: [
        Case(width: 641, height: 360, framesPerSecond: 30, bitrate: 2_000_000, interval: 60),
        Case(width: 8, height: 360, framesPerSecond: 30, bitrate: 2_000_000, interval: 60),
        Case(width: 640, height: 360, framesPerSecond: 0, bitrate: 2_000_000, interval: 60),
        Case(width: 640, height: 360, framesPerSecond: 7, bitrate: 2_000_000, interval: 60),
        Case(width: 640, height: 360, framesPerSecond: 30, bitrate: 0, interval: 60),
        Case(width: 640, height: 360, framesPerSecond: 30, bitrate: .max, interval: 60),
        Case(width: 640, height: 360, framesPerSecond: 30, bitrate: 2_000_000, interval: 0),
    ]) func refusesWhatNobodyCanMake(_ wanted: Case) {
        #expect(throws: ClipError.self) { try wanted.clip() }
    }

    @Test func levelOfTheOfferFitsTheSize() throws {
        #expect(try Self.standard.clip().formatParameters.hasSuffix(";profile-level-id=42e01f"))
        let large = Case(width: 1920, height: 1080, framesPerSecond: 30, bitrate: 6_000_000, interval: 30)
        #expect(try large.clip().formatParameters.hasSuffix(";profile-level-id=42e028"))
    }
}
