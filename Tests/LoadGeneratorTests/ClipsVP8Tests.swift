import LoadGenerator
import MediaFormats
import Testing

@Suite struct ClipsVP8Tests {
    struct Case: Sendable, CustomTestStringConvertible {
        var width: Int
        var height: Int
        var framesPerSecond: Int
        var bitrate: Int
        var interval: Int
        var testDescription: String { "\(width)x\(height)@\(framesPerSecond) \(bitrate) bit/s, \(interval) frames" }

        func clip() throws -> Clip {
            try ClipMaker.vp8(
                width: width, height: height, framesPerSecond: framesPerSecond, bitrate: bitrate,
                keyFrameInterval: interval)
        }

        func ivf(_ frames: [[[UInt8]]]) -> [UInt8]? {
            Depacketiser.ivf(frames, framesPerSecond: framesPerSecond, width: width, height: height)
        }
    }

    static let cases = [
        Case(width: 640, height: 360, framesPerSecond: 30, bitrate: 2_000_000, interval: 60),
        Case(width: 320, height: 180, framesPerSecond: 15, bitrate: 150_000, interval: 60),
        Case(width: 320, height: 180, framesPerSecond: 30, bitrate: 1_000_000, interval: 30),
    ]

    @Test(arguments: cases) func averagesTheBitrateWithALargerKeyFrame(_ wanted: Case) throws {
        let clip = try wanted.clip()
        #expect(clip.frames.count == wanted.interval)
        #expect(abs(clip.bitrate / Double(wanted.bitrate) - 1) < 0.05)
        let others = clip.frames.dropFirst().map { Double($0.payloadBytes) }
        let ratio = Double(clip.frames[0].payloadBytes) * Double(others.count) / others.reduce(0, +)
        #expect((4.0...6.0).contains(ratio))
        #expect(clip.frames.map(\.isKeyFrame) == [true] + [Bool](repeating: false, count: wanted.interval - 1))
        #expect(clip.codec == .vp8 && clip.clockRate == 90_000 && clip.formatParameters == "")
        #expect(Int(clip.ticksPerFrame) == 90_000 / wanted.framesPerSecond)
    }

    @Test(arguments: cases) func splitsFramesEvenlyIntoPacketsThatFit(_ wanted: Case) throws {
        for frame in try wanted.clip().frames {
            let sizes = frame.packets.map(\.count)
            #expect(sizes.max()! <= 1188)
            #expect(sizes.max()! - sizes.min()! <= 1)
            #expect(sizes.count == 1 || sizes.reduce(0, +) > 1188 * (sizes.count - 1) - sizes.count)
        }
    }

    @Test(arguments: cases) func onlyTheFirstFrameIsAKeyFrame(_ wanted: Case) throws {
        for (index, frame) in try wanted.clip().frames.enumerated() {
            let facts = frame.packets.map { PayloadInspector.inspect(.vp8, $0.span.bytes) }
            #expect(facts[0].isFrameStart && facts[0].isKeyFrameStart == (index == 0))
            #expect(facts.dropFirst().allSatisfy { !$0.isFrameStart && !$0.isKeyFrameStart })
            if index == 0 { #expect(facts[0].size == VideoSize(width: wanted.width, height: wanted.height)) }
        }
    }

    @Test func marksAreReadBackFromEveryFrame() throws {
        try Self.cases[1].clip().expectMarks(of: 7)
    }

    @Test(.enabled(if: FFmpeg.path != nil), arguments: cases)
    func decodesWithMarksLoopedAndAfterAJumpToTheKeyFrame(_ wanted: Case) throws {
        try wanted.clip().expectDecoded(as: "ivf", width: wanted.width, height: wanted.height) { wanted.ivf($0) }
    }

    @Test(.enabled(if: FFmpeg.path != nil)) func pictureMovesAndNeitherMarksNorLoopsChangeIt() throws {
        let wanted = Self.cases[1]
        let clip = try wanted.clip()
        let all = Array(clip.frames.indices)
        let plain = try #require(wanted.ivf(clip.payloads(all, isMarked: false)))
        let marked = try #require(wanted.ivf(clip.payloads(all + all, isMarked: true)))
        let hashes = try FFmpeg.decode(plain, format: "ivf").hashes
        #expect(Set(hashes).count == all.count)
        #expect(try FFmpeg.decode(marked, format: "ivf").hashes == hashes + hashes)
    }

    @Test func sameArgumentsGiveTheSameClip() throws {
        let clips = try [Self.cases[1].clip(), Self.cases[1].clip()]
        #expect(clips[0].frames.map(\.packets) == clips[1].frames.map(\.packets))
    }

    @Test(arguments: [1_000, 8_000]) func tellsTheNearestBitrateWhenTheOneAskedIsTooLow(bitrate: Int) throws {
        let wanted = Case(width: 640, height: 360, framesPerSecond: 30, bitrate: bitrate, interval: 30)
        do {
            _ = try wanted.clip()
            Issue.record("\(bitrate) bit/s is not possible")
        } catch ClipError.bitrateOutOfRange(let nearest) {
            #expect(nearest > bitrate)
        }
    }

    @Test func refusesWhatNobodyCanMake() {
        let wanted = Case(width: 641, height: 360, framesPerSecond: 30, bitrate: 2_000_000, interval: 60)
        #expect(throws: ClipError.self) { try wanted.clip() }
    }
}
