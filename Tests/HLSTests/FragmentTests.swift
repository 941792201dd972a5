import HLS
import MediaFormats
import Testing
import Wire

/// A reader of boxes, as far as fragments need it (ISO/IEC 14496-12).
private struct Boxes {
    let bytes: [UInt8]

    func u32(_ at: Int) -> Int { bytes[at..<(at + 4)].reduce(0) { $0 << 8 | Int($1) } }
    func u64(_ at: Int) -> Int { u32(at) << 32 | u32(at + 4) }

    /// Where the contents of the boxes of that type are, in the box that begins at `range`.
    func find(_ type: String, in range: Range<Int>? = nil) -> [Range<Int>] {
        var found: [Range<Int>] = []
        var at = range?.lowerBound ?? 0
        let end = range?.upperBound ?? bytes.count
        while at + 8 <= end {
            let size = u32(at)
            guard size >= 8, at + size <= end else { return found }
            if bytes[(at + 4)..<(at + 8)].elementsEqual(type.utf8) { found.append((at + 8)..<(at + size)) }
            at += size
        }
        return found
    }

    struct Run: Equatable {
        var track: Int
        var start: Int
        var durations: [Int] = []
        var flags: [Int] = []
        var offsets: [Int] = []
        var data: [[UInt8]] = []
    }

    /// All samples of a fragment, with their bytes.
    func runs() -> [Run] {
        guard let moof = find("moof").first else { return [] }
        return find("traf", in: moof).map { traf in
            let tfhd = find("tfhd", in: traf)[0].lowerBound
            let tfdt = find("tfdt", in: traf)[0].lowerBound
            var at = find("trun", in: traf)[0].lowerBound
            var run = Run(track: u32(tfhd + 4), start: u64(tfdt + 4))
            let flags = u32(at) & 0xff_ffff
            let count = u32(at + 4)
            // Counted from the beginning of the fragment: default-base-is-moof.
            var position = u32(at + 8)
            at += 12
            for _ in 0..<count {
                run.durations.append(u32(at))
                let size = u32(at + 4)
                at += 8
                run.data.append(Array(bytes[position..<(position + size)]))
                position += size
                if flags & 0x400 != 0 {
                    run.flags.append(u32(at))
                    at += 4
                }
                if flags & 0x800 != 0 {
                    run.offsets.append(Int(Int32(truncatingIfNeeded: u32(at))))
                    at += 4
                }
            }
            return run
        }
    }
}

@Suite struct FragmentTests {
    private func writer() -> FragmentedMP4 {
        var writer = FragmentedMP4()
        let picture = CodecConfiguration(
            TrackDescription(codec: .h264, parameterSets: [Clip.sps, Clip.pps]), keyFrame: nil)
        _ = writer.begin([
            OutputTrack(configuration: picture ?? .opus(channels: 1), size: Clip.size),
            OutputTrack(configuration: .opus(channels: 2)),
        ])
        return writer
    }

    private func picture(_ number: Int, at milliseconds: Int64, _ duration: Int64, isKey: Bool = false) -> Sample {
        let frame = Clip.picture(number, at: .zero, isKey: isKey, bytes: 10)
        return Sample(
            data: frame.data, time: .milliseconds(milliseconds), duration: .milliseconds(duration), isKeyFrame: isKey)
    }

    @Test func fragmentHasItsSamplesTimesAndBytes() {
        var writer = writer()
        let pictures = [picture(1, at: 100, 40, isKey: true), picture(2, at: 140, 60)]
        let sounds = (0..<3).map {
            Sample(data: [0x7c, UInt8($0)], time: .milliseconds(103 + 20 * Int64($0)), duration: .milliseconds(20))
        }
        let part = writer.part([pictures, sounds], isFirst: true)
        let runs = Boxes(bytes: part).runs()
        #expect(runs.count == 2)
        #expect(runs[0].track == 1 && runs[0].start == 9_000 && runs[0].durations == [3_600, 5_400])
        #expect(runs[0].flags == [0x0200_0000, 0x0101_0000] && runs[0].offsets == [])
        // One NAL unit behind its length: parameter sets are in the sample entry.
        for (number, data) in runs[0].data.enumerated() {
            #expect(Array(data.prefix(5)) == [0, 0, 0, 10, number == 0 ? 0x65 : 0x41])
            #expect(data.count == 14)
        }
        #expect(runs[1].track == 2 && runs[1].start == 4_944 && runs[1].durations == [960, 960, 960])
        #expect(runs[1].data == [[0x7c, 0], [0x7c, 1], [0x7c, 2]])
    }

    @Test func fragmentsAreNumberedAndSayTheirTrueTimes() {
        var writer = writer()
        let first = writer.part([[picture(1, at: 0, 40, isKey: true)], []], isFirst: true)
        // A gap before it, and nothing of the other track.
        let second = writer.part([[picture(2, at: 100, 40)], []], isFirst: false)
        // An overlap: the one before was thought to be longer.
        let third = writer.part([[picture(3, at: 130, 40)], []], isFirst: false)
        let boxes = [first, second, third].map { Boxes(bytes: $0) }
        #expect(boxes.map { $0.runs().map(\.start) } == [[0], [9_000], [11_700]])
        let numbers = boxes.map { boxes in
            boxes.u32(boxes.find("mfhd", in: boxes.find("moof")[0])[0].lowerBound + 4)
        }
        #expect(numbers == [1, 2, 3])
    }

    /// The fragment begins at zero, as none can begin earlier; what follows is where it would be, and overlaps nothing.
    @Test func soundThatBeganBeforeTheLineLosesOnlyThat() {
        var writer = writer()
        let sounds = (0..<3).map {
            Sample(data: [0x7c], time: .milliseconds(-5 + 20 * Int64($0)), duration: .milliseconds(20))
        }
        let runs = Boxes(bytes: writer.part([[], sounds], isFirst: true)).runs()
        #expect(runs.map(\.start) == [0] && runs.map(\.durations) == [[720, 960, 960]])
    }

    @Test func partWithoutASampleIsAFragmentToo() {
        var writer = writer()
        let boxes = Boxes(bytes: writer.part([[], []], isFirst: false))
        #expect(boxes.find("moof").count == 1 && boxes.find("mdat").count == 1 && boxes.runs().isEmpty)
    }

    @Test func picturesOutOfOrderHaveOffsets() {
        var writer = writer()
        var late = picture(2, at: 80, 40)
        late.decodeTime = .milliseconds(40)
        let runs = Boxes(bytes: writer.part([[picture(1, at: 0, 40, isKey: true), late], []], isFirst: true)).runs()
        #expect(runs[0].durations == [3_600, 3_600] && runs[0].offsets == [0, 3_600])
    }

    @Test func durationsDoNotDriftWhereAFrameIsNoWholeNumberOfTicks() {
        var writer = writer()
        let times = (0...300).map { Interval.nanoseconds(Int64($0) * 1_001_000_000 / 30) }
        let samples = (0..<300).map { index in
            Sample(data: [0, 0, 0, 1, 0x41], time: times[index], duration: times[index + 1] - times[index])
        }
        let runs = Boxes(bytes: writer.part([samples, []], isFirst: true)).runs()
        #expect(runs[0].durations.reduce(0, +) == 900_900)
        #expect(Set(runs[0].durations).isSubset(of: [3_002, 3_003, 3_004]))
        // A third of a second is 30,000 ticks, however it was rounded before.
        let third = Sample(data: [0, 0, 0, 1, 0x41], time: .nanoseconds(333_333_333), duration: .milliseconds(40))
        #expect(Boxes(bytes: writer.part([[third], []], isFirst: false)).runs()[0].start == 30_000)
    }

    @Test func initialisationSectionTurnsThePictureAsThePublisherHoldsIt() throws {
        var writer = FragmentedMP4()
        let track = OutputTrack(configuration: .opus(channels: 2))
        #expect(track.displaySize == nil)
        let configuration = try #require(
            CodecConfiguration(TrackDescription(codec: .h264, parameterSets: [Clip.sps, Clip.pps]), keyFrame: nil))
        let turned = OutputTrack(configuration: configuration, size: Clip.size, rotation: .clockwise90)
        #expect(turned.displaySize == VideoSize(width: 180, height: 320))
        let section = writer.begin([turned])
        let boxes = Boxes(bytes: try #require(section))
        let trak = boxes.find("trak", in: boxes.find("moov")[0])[0]
        let tkhd = boxes.find("tkhd", in: trak)[0].lowerBound
        let matrix = (0..<9).map { Int(Int32(truncatingIfNeeded: boxes.u32(tkhd + 40 + 4 * $0))) }
        #expect(matrix == [0, 1 << 16, 0, -1 << 16, 0, 0, 180 << 16, 0, 1 << 30])
    }
}
