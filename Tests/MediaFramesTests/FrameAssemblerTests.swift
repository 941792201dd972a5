import MediaFormats
import MediaFrames
import Testing
import Wire

private func packet(
    _ number: Int64, _ timestamp: UInt32 = 0, marker: Bool = true, orientation: UInt8? = nil, at: Interval = .zero
) -> MediaPacket {
    MediaPacket(
        track: 0, number: number, timestamp: timestamp, marker: marker, orientation: orientation,
        arrival: .zero + at)
}

private let key: [UInt8] = [0x10] + SyntheticClip.frame(.vp8, isKey: true, body: [1])
private let delta: [UInt8] = [0x10] + SyntheticClip.frame(.vp8, isKey: false, body: [2])

private func vp8() -> StreamAssembler { StreamAssembler(tracks: [TrackDescription(codec: .vp8)]) }

@Suite struct FrameAssemblerTests {
    @Test func aMissingPacketIsWaitedForAndNoLonger() {
        var assembler = vp8()
        assembler.handle(packet(1), key)
        assembler.handle(packet(3, 6_000, at: .milliseconds(40)), delta)
        #expect(assembler.drain().count == 1)
        #expect(assembler.nextDeadline == .zero + .milliseconds(540))
        assembler.advance(now: .zero + .milliseconds(539))
        #expect(assembler.drain().isEmpty && !assembler.wantsKeyFrame)
        assembler.advance(now: .zero + .milliseconds(540))
        #expect(assembler.nextDeadline == .distantFuture)
        #expect(assembler.wantsKeyFrame)
        #expect(assembler.drain().isEmpty)
        #expect(assembler.counts(track: 0).lost == 1)
        #expect(assembler.counts(track: 0).framesUndecodable == 1)
        assembler.handle(packet(4, 9_000, at: .milliseconds(600)), key)
        let frames = assembler.drain()
        #expect(frames.count == 1 && frames.first?.flags == .afterLoss)
        #expect(!assembler.wantsKeyFrame)
    }

    @Test func aRetransmissionInTimeFillsTheGap() {
        var assembler = vp8()
        assembler.handle(packet(1), key)
        assembler.handle(packet(3, 6_000), delta)
        assembler.handle(packet(4, 9_000), delta)
        assembler.handle(packet(2, 3_000, at: .milliseconds(499)), delta)
        #expect(assembler.drain().count == 4)
        #expect(assembler.nextDeadline == .distantFuture)
    }

    @Test func thePacketThatFillsTheGapAtTheDeadlineStillCounts() {
        var assembler = vp8()
        assembler.handle(packet(1), key)
        assembler.handle(packet(3, 6_000), delta)
        assembler.handle(packet(2, 3_000, at: .milliseconds(500)), delta)
        #expect(assembler.drain().count == 3)
    }

    @Test func lateAndDoublePacketsAreToldApart() {
        var assembler = vp8()
        assembler.handle(packet(1), key)
        assembler.handle(packet(1), key)
        assembler.handle(packet(3, 6_000), delta)
        assembler.handle(packet(3, 6_000), delta)
        assembler.advance(now: .zero + .seconds(1))
        assembler.handle(packet(2, 3_000, at: .seconds(2)), delta)
        assembler.handle(packet(2, 3_000, at: .seconds(2)), delta)
        let counts = assembler.counts(track: 0)
        #expect(counts.duplicates == 3 && counts.late == 1 && counts.lost == 1)
    }

    @Test func afterALossOnOurSideNothingIsWaitedFor() {
        var assembler = vp8()
        assembler.handle(packet(1), key)
        assembler.handleGap()
        assembler.handle(packet(500, 90_000), key)
        let frames = assembler.drain()
        #expect(frames.count == 2 && frames.last?.flags == .afterLoss)
        #expect(assembler.nextDeadline == .distantFuture)
    }

    @Test func whatWaitsIsBounded() {
        var settings = AssemblerSettings()
        settings.maxWaitingPackets = 4
        var assembler = StreamAssembler(tracks: [TrackDescription(codec: .opus)], settings: settings)
        assembler.handle(packet(0), [0xfc, 1])
        for number in 2...6 { assembler.handle(packet(Int64(number), UInt32(number) * 960), [0xfc, 1]) }
        #expect(assembler.drain().count == 6)
        #expect(assembler.counts(track: 0).lost == 1)
    }

    @Test func otherNumbersAreAnotherBeginningAndNoLoss() {
        var assembler = StreamAssembler(tracks: [TrackDescription(codec: .opus)])
        for number in [7, 8, 1 << 40, (1 << 40) + 1, 3, 4, .max, .min] as [Int64] {
            assembler.handle(packet(number), [0xfc, 1])
        }
        #expect(assembler.drain().count == 8)
        #expect(assembler.counts(track: 0).lost == 0)
    }

    @Test func videoBeginsAtAKeyFrame() {
        var assembler = vp8()
        #expect(assembler.wantsKeyFrame)
        assembler.handle(packet(1), delta)
        assembler.handle(packet(2, 3_000), key)
        let frames = assembler.drain()
        #expect(frames.count == 1 && frames.first?.isKeyFrame == true && frames.first?.flags == [])
        #expect(assembler.counts(track: 0).framesUndecodable == 1)
    }

    @Test func aPictureWithoutMarkerEndsWithItsTimestamp() {
        var assembler = vp8()
        assembler.handle(packet(1, 0, marker: false), key)
        #expect(assembler.drain().isEmpty)
        assembler.handle(packet(2, 3_000, marker: false), delta)
        #expect(assembler.drain().count == 1)
        assembler.finish()
        #expect(assembler.drain().count == 1)
    }

    @Test func paddingIsNothing() {
        var assembler = vp8()
        assembler.handle(packet(1), key)
        assembler.handle(packet(2), [])
        assembler.handle(packet(3), [0x80, 0x80, 0x01])
        assembler.handle(packet(4, 3_000), delta)
        #expect(assembler.drain().count == 2)
        #expect(assembler.counts(track: 0).framesBroken == 0)
    }

    @Test func rotationHoldsUntilAnotherIsSent() {
        var assembler = vp8()
        assembler.handle(packet(1), key)
        assembler.handle(packet(2, 3_000, orientation: 1), delta)
        assembler.handle(packet(3, 6_000), delta)
        assembler.handle(packet(4, 9_000, orientation: 0x0e), delta)
        assembler.handle(packet(5, 12_000, orientation: 0), delta)
        let rotations = assembler.drain().map(\.rotation)
        #expect(rotations == [.none, .clockwise90, .clockwise90, .clockwise180, .none])
    }

    @Test func brokenPicturesAreDroppedAndCounted() {
        var assembler = vp8()
        assembler.handle(packet(1), key)
        // A second beginning within one picture.
        assembler.handle(packet(2, 3_000, marker: false), delta)
        assembler.handle(packet(3, 3_000), delta)
        assembler.handle(packet(4, 6_000), delta)
        #expect(assembler.drain().count == 1)
        #expect(assembler.counts(track: 0).framesBroken == 1)
        #expect(assembler.wantsKeyFrame)
    }
}

/// Losses in streams with temporal layers: what needs nothing that is missing goes on.
@Suite struct TemporalLayerTests {
    /// L1T3 as libwebrtc sends it: layers 0 2 1 2, a picture a packet; a base picture every four.
    private static let pattern: [(layer: UInt8, isSync: Bool)] = [(0, false), (2, true), (1, true), (2, false)]

    private func payload(_ codec: Codec, _ index: Int, isKey: Bool) -> [UInt8] {
        let (layer, isSync) = Self.pattern[index % 4]
        let base = UInt8(truncatingIfNeeded: 250 + index / 4)
        let frame = SyntheticClip.frame(codec, isKey: isKey, body: [UInt8(truncatingIfNeeded: index)])
        if codec == .vp8 {
            return [0x90, 0xe0, UInt8(index & 0x7f), base, layer << 6 | (isSync ? 0x20 : 0)] + frame
        }
        let flags: UInt8 = isKey ? 0xac : 0xec
        return [flags, UInt8(index & 0x7f), layer << 5 | (isSync ? 0x10 : 0), base] + frame
    }

    /// Bodies of the frames that come out of 40 pictures without those lost.
    private func run(_ codec: Codec, losing lost: Set<Int>) -> (bodies: [Int], wantsKeyFrame: Bool) {
        var assembler = StreamAssembler(tracks: [TrackDescription(codec: codec)])
        for index in 0..<40 where !lost.contains(index) {
            let at = Interval.milliseconds(Int64(index) * 33)
            assembler.handle(
                packet(Int64(index), UInt32(index) * 2_970, at: at), payload(codec, index, isKey: index == 0))
        }
        let wants = assembler.wantsKeyFrame
        assembler.finish()
        return (assembler.drain().compactMap { $0.data.last.map(Int.init) }, wants || assembler.wantsKeyFrame)
    }

    @Test(arguments: [Codec.vp8, .vp9]) func aLostUpperPictureCostsItsLayerUntilItCanBeJoined(_ codec: Codec) {
        // Picture 5 is of layer 2: 7 may build on it, 6 is known not to.
        #expect(run(codec, losing: [5]).bodies == Array(0..<40).filter { $0 != 5 && $0 != 7 })
        // Picture 10 is of layer 1, 11 builds on it.
        #expect(run(codec, losing: [10]).bodies == Array(0..<40).filter { $0 != 10 && $0 != 11 })
        #expect(!run(codec, losing: [5, 10]).wantsKeyFrame)
    }

    @Test(arguments: [Codec.vp8, .vp9]) func aLostBasePictureNeedsAKeyFrame(_ codec: Codec) {
        let outcome = run(codec, losing: [8])
        #expect(outcome.bodies == Array(0..<8))
        #expect(outcome.wantsKeyFrame)
    }
}

/// Parameter sets of H264 and H265.
@Suite struct ParameterSetTests {
    private let idr: [UInt8] = [0x65, 0x88, 1, 2, 3]
    private let slice: [UInt8] = [0x41, 0x9a, 1, 2, 3]

    @Test func keyFramesWithoutParameterSetsGetThoseOfTheDescription() {
        let sets = SyntheticClip.parameterSets(.h264)
        var assembler = StreamAssembler(tracks: [TrackDescription(codec: .h264, parameterSets: sets)])
        assembler.handle(packet(1), idr)
        assembler.handle(packet(2, 3_000), slice)
        let frames = assembler.drain()
        #expect(frames.count == 2)
        #expect(frames.first?.data == SyntheticClip.annexB(sets + [idr]))
        #expect(frames.first?.size == SyntheticClip.size)
        #expect(frames.first?.parameterSets == sets)
        #expect(frames.last?.data == SyntheticClip.annexB([slice]))
    }

    @Test func newParameterSetsReplaceThoseWithTheSameNumber() {
        var assembler = StreamAssembler(tracks: [TrackDescription(codec: .h264)])
        // Level 1.1 becomes 3.0: another set with the same number.
        var other = SyntheticClip.h264SPS
        other[3] = 30
        for (index, sps) in [SyntheticClip.h264SPS, SyntheticClip.h264SPS, other].enumerated() {
            let timestamp = UInt32(index * 3_000)
            assembler.handle(packet(Int64(index * 3), timestamp, marker: false), sps)
            assembler.handle(packet(Int64(index * 3 + 1), timestamp, marker: false), SyntheticClip.h264PPS)
            assembler.handle(packet(Int64(index * 3 + 2), timestamp), idr)
        }
        let sets = assembler.drain().map(\.parameterSets)
        #expect(sets == [[SyntheticClip.h264SPS, SyntheticClip.h264PPS], nil, [other, SyntheticClip.h264PPS]])
    }

    @Test func parameterSetsWithAMarkerOfTheirOwnBelongToTheNextPicture() {
        var assembler = StreamAssembler(tracks: [TrackDescription(codec: .h264)])
        assembler.handle(packet(1), SyntheticClip.h264SPS)
        assembler.handle(packet(2), SyntheticClip.h264PPS)
        assembler.handle(packet(3), idr)
        assembler.handle(packet(4, 3_000), slice)
        let frames = assembler.drain()
        #expect(frames.count == 2)
        #expect(frames.first?.data == SyntheticClip.annexB([SyntheticClip.h264SPS, SyntheticClip.h264PPS, idr]))
    }

    @Test func anIntraPictureBehindParameterSetsIsAKeyFrame() {
        var assembler = StreamAssembler(tracks: [TrackDescription(codec: .h264)])
        // slice_type 7: all slices are I. 1 (first_mb 0), 0001000.
        let intra: [UInt8] = [0x41, 0b1000_1000, 0x80, 1]
        assembler.handle(packet(1, marker: false), SyntheticClip.h264SPS)
        assembler.handle(packet(2, marker: false), SyntheticClip.h264PPS)
        assembler.handle(packet(3), intra)
        #expect(assembler.drain().map(\.isKeyFrame) == [true])
    }

    @Test func markersWithinPicturesAreFoundOut() {
        var assembler = StreamAssembler(tracks: [TrackDescription(codec: .h264)])
        // Each slice has a marker; the second one's first macroblock is not 0.
        let second: [UInt8] = [0x41, 0x42, 7]
        var number: Int64 = 0
        func send(_ timestamp: UInt32, _ units: [[UInt8]]) {
            for unit in units {
                number += 1
                assembler.handle(packet(number, timestamp), unit)
            }
        }
        send(0, [SyntheticClip.h264SPS, SyntheticClip.h264PPS, idr])
        for index in 1...5 { send(UInt32(index) * 3_000, [slice, second]) }
        assembler.finish()
        let frames = assembler.drain()
        #expect(frames.suffix(4).allSatisfy { $0.data == SyntheticClip.annexB([slice, second]) })
    }

    @Test func aKeyFrameWithoutItsFirstSliceIsNone() {
        let sets = SyntheticClip.parameterSets(.h264)
        var assembler = StreamAssembler(tracks: [TrackDescription(codec: .h264, parameterSets: sets)])
        let secondSlice: [UInt8] = [0x65, 0x42, 7]
        assembler.handle(packet(1), secondSlice)
        assembler.handle(packet(2, 3_000, marker: false), idr)
        assembler.handle(packet(3, 3_000), secondSlice)
        #expect(assembler.drain().map(\.data) == [SyntheticClip.annexB(sets + [idr, secondSlice])])
    }

    @Test(arguments: [Codec.h264, .h265]) func piecesWithoutABeginningBreakThePicture(_ codec: Codec) {
        let clip = SyntheticClip(codec, frames: 1, sizes: 10...10)
        var packetiser = Packetiser(codec: codec)
        let key = packetiser.payloads(of: clip.frames[0].data, isKeyFrame: true)
        let middle: [UInt8] = codec == .h264 ? [0x7c, 0x01, 1, 2] : [0x62, 0x01, 0x01, 1, 2]
        let begin: [UInt8] = codec == .h264 ? [0x5c, 0x81, 0x9a, 2] : [0x62, 0x01, 0x81, 0xd0, 2]
        for broken in [[middle], [begin, begin], [begin], [begin, key[0]]] {
            var assembler = StreamAssembler(tracks: [TrackDescription(codec: codec)])
            var number: Int64 = 0
            for (index, payload) in (key + broken).enumerated() {
                number += 1
                let timestamp: UInt32 = index < key.count ? 0 : 3_000
                let marker = index == key.count - 1 || index == key.count + broken.count - 1
                assembler.handle(packet(number, timestamp, marker: marker), payload)
            }
            #expect(assembler.drain().count == 1)
            #expect(assembler.counts(track: 0).framesBroken == 1)
        }
    }

    @Test func fragmentedParameterSetsAreKnownToo() {
        let clip = SyntheticClip(.h264, frames: 1, sizes: 10...10)
        var packetiser = Packetiser(codec: .h264, limit: 64)
        let long = SyntheticClip.h264SPS + [UInt8](repeating: 0x55, count: 100)
        let data = SyntheticClip.annexB([long, SyntheticClip.h264PPS, idr])
        var assembler = StreamAssembler(tracks: [TrackDescription(codec: .h264)])
        let payloads = packetiser.payloads(of: data, isKeyFrame: true)
        #expect(payloads.count > 2 && clip.frames.count == 1)
        for (index, payload) in payloads.enumerated() {
            assembler.handle(packet(Int64(index), marker: index == payloads.count - 1), payload)
        }
        let frames = assembler.drain()
        #expect(frames.first?.data == data)
        #expect(frames.first?.parameterSets == [long, SyntheticClip.h264PPS])
    }

    @Test func configurationsAreWhatLibrariesExpect() {
        let sets = SyntheticClip.parameterSets(.h265)
        let h265 = TrackDescription(codec: .h265, parameterSets: sets)
        #expect(CodecConfiguration.extradata(for: h265) == SyntheticClip.annexB(sets))
        #expect(CodecConfiguration.extradata(for: h265, parameterSets: [[1, 2]]) == [0, 0, 0, 1, 1, 2])
        let head = CodecConfiguration.extradata(for: TrackDescription(codec: .opus))
        #expect(head == Array("OpusHead".utf8) + [1, 2, 0, 0, 0x80, 0xbb, 0, 0, 0, 0, 0])
        #expect(CodecConfiguration.audioSpecificConfig(sampleRate: 48_000, channels: 2) == [0x11, 0x90])
        #expect(CodecConfiguration.audioSpecificConfig(sampleRate: 47_999, channels: 2) == nil)
    }

    @Test func durationsOfSoundAreInItsBytes() {
        let opus = TrackDescription(codec: .opus)
        for (toc, milliseconds): ([UInt8], Int64) in [
            ([0xfc], 20), ([0xfd], 40), ([0x08], 20), ([0x18], 60), ([0x60], 10), ([0xff, 3], 60), ([0x1b, 2], 120),
        ] {
            #expect(AudioPackets.duration(opus, toc.span.bytes) == .milliseconds(milliseconds))
        }
        #expect(AudioPackets.duration(opus, [0xff, 63].span.bytes) == nil)
        #expect(
            AudioPackets.duration(TrackDescription(codec: .pcma), [UInt8](repeating: 0, count: 160).span.bytes)
                == .milliseconds(20))
        #expect(
            AudioPackets.duration(TrackDescription(codec: .g722), [UInt8](repeating: 0, count: 160).span.bytes)
                == .milliseconds(20))
    }
}
