import LoadGenerator
import MediaFormats
import Testing

@Suite struct ClipsOpusTests {
    static let bitrates = [32_000, 64_000, 12_000, 128_000]

    @Test(arguments: bitrates) func isASecondOfFramesOfOneSizeAtTheBitrate(_ bitrate: Int) throws {
        let clip = try ClipMaker.opus(bitrate: bitrate)
        #expect(clip.frames.count == 50 && clip.seconds == 1)
        #expect(clip.codec == .opus && clip.clockRate == 48_000 && clip.ticksPerFrame == 960)
        #expect(abs(clip.bitrate / Double(bitrate) - 1) < 0.05)
        #expect(clip.frames.allSatisfy { $0.packets.count == 1 && $0.payloadBytes == clip.frames[0].payloadBytes })
        #expect(clip.packetsPerSecond == 50)
    }

    /// RFC 6716 §3.2.5: TOC of code 3, a count byte with the padding flag, the padding's length.
    @Test(arguments: bitrates) func markLiesInThePadding(_ bitrate: Int) throws {
        for frame in try ClipMaker.opus(bitrate: bitrate).frames {
            let packet = frame.packets[0]
            #expect(packet[0] & 3 == 3)
            #expect(packet[1] & 0x40 != 0 && packet[1] & 0x3f == 1)
            #expect(Int(packet[2]) == FrameMark.length)
            #expect(frame.markOffset == packet.count - FrameMark.length)
            #expect(packet.suffix(FrameMark.length).allSatisfy { $0 == 0 })
        }
    }

    @Test func marksAreReadBackFromEveryFrame() throws {
        for (index, frame) in try ClipMaker.opus(bitrate: 32_000).frames.enumerated() {
            #expect(mark(in: frame.packets, of: .opus) == nil)
            let written = FrameMark(publisher: 300, frame: UInt32(index))
            #expect(mark(in: frame.marked(written), of: .opus) == written)
        }
    }

    @Test(.enabled(if: FFmpeg.path != nil), arguments: bitrates)
    func decodesWithMarksLoopedAndAfterAJump(_ bitrate: Int) throws {
        let clip = try ClipMaker.opus(bitrate: bitrate)
        let all = Array(clip.frames.indices)
        for (order, isMarked) in [(all, false), (all + all, true), (all[...7] + all, true)] {
            let packets = clip.payloads(order, isMarked: isMarked).flatMap { $0 }
            let outcome = try FFmpeg.decode(Depacketiser.ogg(packets), format: "ogg")
            #expect(outcome.complaints == "" && outcome.status == 0)
            #expect(outcome.hashes.count == order.count)
        }
    }

    @Test(.enabled(if: FFmpeg.path != nil)) func marksDoNotChangeTheSound() throws {
        let clip = try ClipMaker.opus(bitrate: 32_000)
        let decoded = try [false, true].map { isMarked in
            let packets = clip.payloads(Array(clip.frames.indices), isMarked: isMarked).flatMap { $0 }
            return try FFmpeg.decode(Depacketiser.ogg(packets), format: "ogg").hashes
        }
        #expect(decoded[0] == decoded[1])
        #expect(Set(decoded[0]).count > 1)
    }

    @Test(arguments: [0, 1_000, 900_000]) func tellsTheNearestBitrateWhenTheOneAskedIsOutOfReach(bitrate: Int) throws {
        do {
            _ = try ClipMaker.opus(bitrate: bitrate)
            Issue.record("\(bitrate) bit/s is not possible")
        } catch ClipError.bitrateOutOfRange(let nearest) {
            #expect(try ClipMaker.opus(bitrate: nearest).bitrate == Double(nearest))
        }
    }
}
