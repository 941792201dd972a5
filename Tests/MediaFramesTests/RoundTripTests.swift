import MediaFormats
import MediaFrames
import Testing
import Wire

/// From frames to packets and back.
@Suite struct RoundTripTests {
    static let codecs: [Codec] = [.vp8, .vp9, .h264, .h265, .av1, .opus, .pcmu, .pcma, .g722]

    @Test(arguments: codecs) func framesComeBackAsTheyWere(_ codec: Codec) {
        let clip = SyntheticClip(codec, frames: 60, sizes: codec.isVideo ? 20...9_000 : 1...400)
        let packets = clip.packets()
        #expect(packets.allSatisfy { $0.payload.count <= Packetiser.maxPayload })
        var assembler = StreamAssembler(tracks: [TrackDescription(codec: codec)])
        let frames = assembler.run(packets)
        #expect(same(frames, clip))
        #expect(frames.allSatisfy { $0.flags == [] && $0.rotation == .none })
        #expect(zip(frames, frames.dropFirst()).allSatisfy { $0.time < $1.time })
        if codec.isVideo {
            #expect(frames.allSatisfy { $0.size == ($0.isKeyFrame ? SyntheticClip.size : nil) })
            #expect(frames[0].parameterSets ?? [] == SyntheticClip.parameterSets(codec))
            #expect(frames.dropFirst().allSatisfy { $0.parameterSets == nil })
        }
    }

    @Test(arguments: codecs) func framesAreOutAsSoonAsTheirLastPacketIsIn(_ codec: Codec) {
        let clip = SyntheticClip(codec, frames: 12, sizes: 20...3_000)
        var assembler = StreamAssembler(tracks: [TrackDescription(codec: codec)])
        for (packet, payload) in clip.packets() {
            assembler.handle(packet, payload)
            #expect(assembler.drain().count == (packet.marker || !codec.isVideo ? 1 : 0))
        }
    }

    @Test(arguments: codecs, [1, 2, 3] as [UInt64])
    func lossyLinkWithRetransmissionLosesNothing(_ codec: Codec, seed: UInt64) {
        let clip = SyntheticClip(codec, frames: 150, sizes: codec.isVideo ? 20...9_000 : 1...400, seed: seed)
        var link = Link(seed: seed)
        var assembler = StreamAssembler(tracks: [TrackDescription(codec: codec)])
        let frames = assembler.run(link.carry(clip.packets()))
        #expect(same(frames, clip))
        let counts = assembler.counts(track: 0)
        #expect(counts.lost == 0 && counts.late == 0 && counts.framesBroken == 0 && counts.framesUndecodable == 0)
        #expect(counts.duplicates > 0)
        #expect(frames.allSatisfy { $0.flags == [] })
    }

    @Test(arguments: codecs, [4, 5, 6] as [UInt64])
    func whatIsLostForGoodIsLeftOutUpToTheNextDecodablePicture(_ codec: Codec, seed: UInt64) {
        let clip = SyntheticClip(codec, frames: 300, sizes: codec.isVideo ? 20...5_000 : 1...400, seed: seed)
        var link = Link(seed: seed)
        (link.loss, link.retransmission) = (0.02, 0)
        let sent = clip.packets()
        var assembler = StreamAssembler(tracks: [TrackDescription(codec: codec)])
        let frames = assembler.run(link.carry(sent))
        let lost = Set(link.lost.map(\.timestamp))
        // What should come out: whole frames, from a key frame to the next loss.
        var expected: [[UInt8]] = []
        var isBroken = false
        var packetiser = Packetiser(codec: codec, pictureID: 0x7ffe)
        var at = 0
        for frame in clip.frames {
            let count = packetiser.payloads(of: frame.data, isKeyFrame: frame.isKey).count
            let isWhole = !lost.contains(sent[at].packet.timestamp)
            at += count
            if codec.isVideo {
                if !isWhole { isBroken = true } else if frame.isKey { isBroken = false }
            }
            if isWhole && !isBroken { expected.append(frame.data) }
        }
        #expect(expected.count < clip.frames.count && expected.count > 20)
        #expect(frames.map(\.data) == expected, "other frames than those that can be decoded")
        let counts = assembler.counts(track: 0)
        // Nobody can know of packets lost behind the last one.
        #expect(counts.lost <= Int64(link.lost.count) && counts.lost >= Int64(link.lost.count) - 5)
        #expect(frames.contains { $0.flags.contains(.afterLoss) })
        if codec.isVideo {
            #expect(frames.allSatisfy { !$0.flags.contains(.afterLoss) || $0.isKeyFrame })
            #expect(counts.framesUndecodable > 0)
        }
    }

    @Test func vp9LayersBecomeASuperframe() {
        let base = SyntheticClip.frame(.vp9, isKey: true, body: [1, 2, 3])
        let upper = [UInt8](repeating: 7, count: 300)
        // Layer indices; I, L, F, B, E. The upper layer is predicted from the lower one only.
        let packets: [[UInt8]] = [
            [0xbc, 0x80, 0x01, 0x00] + base,
            [0xb8, 0x80, 0x01, 0x03] + upper[..<200],
            [0xb4, 0x80, 0x01, 0x03] + upper[200...],
        ]
        var assembler = StreamAssembler(tracks: [TrackDescription(codec: .vp9)])
        for (index, payload) in packets.enumerated() {
            let packet = MediaPacket(
                track: 0, number: Int64(index), timestamp: 0, marker: index == 2, arrival: .zero)
            assembler.handle(packet, payload)
        }
        let frames = assembler.drain()
        #expect(frames.count == 1)
        let marker: UInt8 = 0xc0 | 1 << 3 | 1
        #expect(frames.first?.data == base + upper + [marker, UInt8(base.count), 0, 44, 1, marker])
        #expect(frames.first?.isKeyFrame == true)
    }

    @Test func av1TemporalDelimitersAndSizesAreThePayloadFormatsOwn() {
        // W is 2: a temporal delimiter with its length, a frame without; sizes inside the OBUs are allowed.
        let frame = SyntheticClip.obu(6, [0x10, 9, 9])
        let sequence = SyntheticClip.av1Sequence
        let payload: [UInt8] = [0x38, 2, 0x12, 0x00, UInt8(sequence.count)] + sequence + frame
        var assembler = StreamAssembler(tracks: [TrackDescription(codec: .av1)])
        assembler.handle(MediaPacket(track: 0, number: 0, timestamp: 0, marker: true, arrival: .zero), payload)
        #expect(assembler.drain().map(\.data) == [sequence + frame])
    }

    @Test func aacUnitsComeBackAlsoInPiecesAndSeveralToAPacket() {
        let track = TrackDescription(
            codec: .aac,
            formatParameters: "streamtype=5; mode=AAC-hbr; config=1190; SizeLength=13;IndexLength=3;indexdeltalength=3")
        var assembler = StreamAssembler(tracks: [track])
        var packetiser = Packetiser(codec: .aac, limit: 200)
        let long = (0..<500).map { UInt8(truncatingIfNeeded: $0) }
        let payloads = packetiser.payloads(of: long, isKeyFrame: true)
        #expect(payloads.count == 3 && payloads[0].prefix(4) == [0, 16, 15, 0xa0])
        // Two units in one packet: 32 bits of headers.
        let both: [UInt8] = [0, 32, 0, 3 << 3, 0, 2 << 3, 1, 2, 3, 4, 5]
        for (index, payload) in ([both] + payloads + [[0, 16, 0, 8, 9], [0, 16, 0, 16, 9], [9]]).enumerated() {
            let timestamp: UInt32 = index == 0 ? 0 : index < 4 ? 2_048 : 3_072
            let packet = MediaPacket(
                track: 0, number: Int64(index), timestamp: timestamp, marker: true,
                arrival: .zero + .microseconds(Int64(timestamp) * 1_000 / 48))
            assembler.handle(packet, payload)
        }
        let frames = assembler.drain()
        #expect(frames.map(\.data) == [[1, 2, 3], [4, 5], long, [9]])
        #expect(frames.map(\.parameterSets) == [[[0x11, 0x90]], nil, nil, nil])
        let times = zip(frames, [0, 21_333, 42_666, 64_000] as [Int64])
        #expect(times.allSatisfy { abs($0.time.microseconds - $1) < 3_000 })
        #expect(assembler.counts(track: 0).framesBroken == 1)
    }
}
