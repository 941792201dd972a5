import MediaFormats
import MediaFrames
import RTP
import Testing
import Wire

/// From a publisher's RTP packets to payloads for players.
@Suite struct TrackIntakeTests {
    static let codecs: [Codec] = [.vp8, .vp9, .h264, .h265, .av1, .opus, .pcmu, .pcma, .g722]
    /// What ffmpeg sends by UDP, and what encoders write into TCP connections.
    static let limits = [1_460, 8_000, 60_000]
    static let payloadType: UInt8 = 96

    // MARK: Sizes

    @Test(arguments: codecs, limits)
    func longPayloadsAreSplitAndFramesComeOutAsTheyWere(_ codec: Codec, limit: Int) {
        let clip = SyntheticClip(codec, frames: 40, sizes: codec.isVideo ? 20...40_000 : 1...1_000)
        let sent = packets(of: clip, limit: limit)
        let received = Receiver(codec)
        for packet in sent { received.take(packet) }
        #expect(received.outputs.allSatisfy { $0.payload.count <= 1_400 })
        #expect(received.outputs.map(\.output.number) == Array(65_536..<(65_536 + Int64(received.outputs.count))))
        let frames = received.frames
        #expect(frames.map(\.data) == clip.frames.map(\.data))
        #expect(frames.map(\.isKeyFrame) == clip.frames.map(\.isKey))
        #expect(received.intake.counts.unsplittable == 0)
    }

    @Test func fragmentsAreJoinedSoThatPacketsDoNotDouble() {
        let clip = SyntheticClip(.h264, frames: 30, keyEvery: 30, sizes: 60_000...60_000)
        let sent = packets(of: clip, limit: 1_460)
        let received = Receiver(.h264)
        for packet in sent { received.take(packet) }
        #expect(received.outputs.count < sent.count * 11 / 10)
        // Each picture is out when its last packet is in.
        #expect(received.outputs.filter(\.output.marker).count == clip.frames.count)
    }

    @Test func whatFitsIsNotTouched() {
        let clip = SyntheticClip(.h264, frames: 20)
        let sent = packets(of: clip, limit: 1_200)
        let received = Receiver(.h264)
        for packet in sent { received.take(packet) }
        #expect(received.outputs.map(\.payload) == sent.map { Array($0.bytes[12...]) })
    }

    /// Several access units in a packet, and one that is longer than a packet.
    @Test func aacIsSplitByItsAccessUnits() {
        let track = TrackDescription(
            codec: .aac, clockRate: 48_000, channels: 2, payloadType: Self.payloadType,
            formatParameters: "mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1190")
        let units: [[UInt8]] = [500, 600, 700].map { Array(repeating: UInt8($0 / 100), count: $0) }
        let headers = units.flatMap { [UInt8($0.count >> 5), UInt8(truncatingIfNeeded: $0.count << 3)] }
        let long: [UInt8] = Array(repeating: 9, count: 3_000)
        let received = Receiver(track)
        received.take(Packet(1, 0, true, [0, 48] + headers + units.flatMap { $0 }))
        received.take(Packet(2, 3_072, true, [0, 16, UInt8(3_000 >> 5), UInt8(truncatingIfNeeded: 3_000 << 3)] + long))
        #expect(received.outputs.allSatisfy { $0.payload.count <= 1_400 })
        #expect(received.outputs.map(\.output.timestamp) == [0, 1_024, 2_048, 3_072, 3_072, 3_072])
        #expect(received.outputs.map(\.output.marker) == [true, true, true, false, false, true])
        #expect(received.frames.map(\.data) == units + [long])
    }

    @Test func whatNoRuleSplitsIsLeftOutAndLeavesAGap() {
        let received = Receiver(.opus)
        received.take(Packet(1, 0, false, [0xfc, 1]))
        received.take(Packet(2, 960, false, Array(repeating: 0xfc, count: 1_500)))
        received.take(Packet(3, 1_920, false, [0xfc, 3]))
        #expect(received.outputs.map(\.output.number) == [65_536, 65_538])
        #expect(received.intake.counts.unsplittable == 1)
    }

    // MARK: Order and loss

    @Test(arguments: codecs, [1, 2, 3] as [UInt64])
    func packetsThatOvertakeEachOtherAreInOrderAgain(_ codec: Codec, seed: UInt64) {
        let clip = SyntheticClip(codec, frames: 80, sizes: codec.isVideo ? 20...9_000 : 1...400, seed: seed)
        var random = SeededRandom(seed: seed)
        // By up to 20 ms, and every tenth twice.
        var sent = packets(of: clip, limit: 1_460).map { packet -> Packet in
            var packet = packet
            packet.arrival = packet.arrival + .microseconds(Int64.random(in: 0...20_000, using: &random))
            return packet
        }
        // The first is the first to come, or nobody knows of those before.
        sent[0].arrival = .zero - .milliseconds(30)
        sent += sent.enumerated().filter { $0.offset % 10 == 3 }.map { _, packet in
            var packet = packet
            packet.arrival = packet.arrival + .milliseconds(15)
            return packet
        }
        let received = Receiver(codec, settings: IntakeSettings())
        for packet in sent.sorted(by: { $0.arrival < $1.arrival }) { received.take(packet) }
        received.intake.finish { received.note($0, $1) }
        #expect(received.frames.map(\.data) == clip.frames.map(\.data))
        #expect(received.intake.counts.lost == 0)
        #expect(received.intake.counts.late > 0)
    }

    @Test(arguments: [1, 2, 3, 4] as [UInt64])
    func lossesAreGapsAndTheRestIsWhole(seed: UInt64) {
        let clip = SyntheticClip(.h264, frames: 300, keyEvery: 15, sizes: 20...9_000, seed: seed)
        var random = SeededRandom(seed: seed)
        let sent = packets(of: clip, limit: 1_460)
        // Not the first of a picture: parameter sets that are lost with it are put in again, and the picture is whole.
        let lost = Set(
            sent.indices.dropFirst().dropLast().filter { index in
                Int.random(in: 0..<30, using: &random) == 0 && sent[index].timestamp == sent[index - 1].timestamp
            })
        let received = Receiver(.h264, settings: IntakeSettings())
        for (index, packet) in sent.enumerated() where !lost.contains(index) { received.take(packet) }
        received.intake.finish { received.note($0, $1) }
        #expect(received.intake.counts.lost == UInt64(lost.count))
        let numbers = received.outputs.map(\.output.number)
        #expect(zip(numbers, numbers.dropFirst()).allSatisfy { $0 < $1 })
        // Of the pictures that came whole none is missing but those that need a broken one.
        let broken = Set(lost.map { sent[$0].timestamp })
        let timestamps = Set(sent.map(\.timestamp)).sorted { Int32(bitPattern: $0 &- $1) < 0 }
        var expected: [[UInt8]] = []
        var isBroken = false
        for (index, frame) in clip.frames.enumerated() {
            isBroken = broken.contains(timestamps[index]) || isBroken && !frame.isKey
            if !isBroken { expected.append(frame.data) }
        }
        // Not the frames themselves, which would fill the log.
        let isAsExpected = received.frames.map(\.data) == expected
        #expect(isAsExpected, "\(received.frames.count) of \(expected.count) frames")
    }

    // MARK: Starts

    @Test func anotherSourceInTheConnectionIsANewStart() {
        let received = Receiver(.opus)
        for index in 0..<3 as Range<UInt16> { received.take(Packet(index, UInt32(index) * 960, false, [0xfc, 1])) }
        received.take(Packet(40_000, 5, false, [0xfc, 2], ssrc: 99))
        #expect(received.outputs.map(\.output.restarts) == [false, false, false, true])
        #expect(received.intake.counts.restarts == 1)
        #expect(received.outputs[3].output.number > received.outputs[2].output.number + 1)
    }

    /// Whoever guesses the ports must not silence the camera.
    @Test func anotherSourceByDatagramsIsHeardOnlyAfterSomePackets() {
        let received = Receiver(.opus, settings: IntakeSettings())
        received.take(Packet(10, 0, false, [0xfc, 1]))
        received.take(Packet(500, 0, false, [0xfc, 2], ssrc: 99))
        received.take(Packet(11, 960, false, [0xfc, 1]))
        #expect(received.outputs.count == 2)
        #expect(received.intake.counts.foreign == 1)
        for index in 501..<504 as Range<UInt16> {
            received.take(Packet(index, UInt32(index) * 960, false, [0xfc, 2], ssrc: 99))
        }
        #expect(received.outputs.map(\.output.restarts) == [false, false, true])
    }

    @Test func aJumpOfNumbersIsNoLoss() {
        let received = Receiver(.opus)
        received.take(Packet(10, 0, false, [0xfc, 1]))
        received.take(Packet(30_000, 960, false, [0xfc, 1]))
        received.take(Packet(30_001, 1_920, false, [0xfc, 1]))
        #expect(received.outputs.map(\.output.number) == [65_536, 65_538, 65_539])
        #expect(received.intake.counts.lost == 0)
        #expect(received.outputs.allSatisfy { !$0.output.restarts })
    }

    @Test func aCameraConnectedAnewGoesOn() {
        let received = Receiver(.h264)
        let clip = SyntheticClip(.h264, frames: 5, sizes: 20...500)
        for packet in packets(of: clip, limit: 1_200) { received.take(packet) }
        received.intake.restart(Self.track(.h264)) { received.note($0, $1) }
        let before = received.outputs.count
        for packet in packets(of: clip, limit: 1_200, first: 3, timestamp: 77) { received.take(packet) }
        #expect(received.outputs[before].output.restarts)
        #expect(received.outputs[(before + 1)...].allSatisfy { !$0.output.restarts })
        #expect(received.outputs[before].output.number > received.outputs[before - 1].output.number + 1)
    }

    // MARK: Parameter sets

    @Test func keyFramesGetTheParameterSetsOfTheDescription() {
        var track = Self.track(.h264)
        track.parameterSets = SyntheticClip.parameterSets(.h264)
        let received = Receiver(track)
        received.take(Packet(1, 0, true, [0x65, 0x88, 1, 2, 3]))
        received.take(Packet(2, 3_000, true, [0x41, 0x9a, 1, 2]))
        #expect(
            received.outputs.map(\.payload) == [
                SyntheticClip.h264SPS, SyntheticClip.h264PPS, [0x65, 0x88, 1, 2, 3], [0x41, 0x9a, 1, 2],
            ])
        #expect(received.outputs.map(\.output.number) == [65_536, 65_537, 65_538, 65_539])
    }

    @Test func parameterSetsThatCameOnceAreKnownFromThenOn() {
        let received = Receiver(.h264)
        let sets = SyntheticClip.parameterSets(.h264)
        received.take(Packet(1, 0, false, sets[0]))
        received.take(Packet(2, 0, false, sets[1]))
        received.take(Packet(3, 0, true, [0x65, 0x88, 1]))
        received.take(Packet(4, 90_000, true, [0x65, 0x88, 2]))
        #expect(received.outputs.map(\.payload) == sets + [[0x65, 0x88, 1]] + sets + [[0x65, 0x88, 2]])
        #expect(received.intake.parameterSets == sets)
    }

    // MARK: Time

    /// A day of sound and pictures: numbers wrap 66 times, RTP times of pictures almost twice.
    @Test func aDayGoesByWithoutAGap() {
        var video = TrackIntake(Self.track(.vp8), settings: .connection)
        var timeline = StreamAssembler(tracks: [Self.track(.vp8)])
        let (frames, interval) = (24 * 3_600 * 5, Interval.milliseconds(200))
        var (last, count, steps) = (Interval.zero - interval, 0, 0)
        for index in 0..<frames {
            let isKey = index % 50 == 0
            let packet = Packet(
                UInt16(truncatingIfNeeded: index &+ 65_000), UInt32(truncatingIfNeeded: index &* 18_000) &- 5_000, true,
                [0x10] + SyntheticClip.frame(.vp8, isKey: isKey, body: [1]), arrival: .zero + interval * Int64(index))
            video.receive(packet.bytes.span.bytes, arrival: packet.arrival) { output, payload in
                timeline.handle(MediaPacket(output), payload: payload)
            }
            while let frame = timeline.poll() {
                count += 1
                let step = (frame.time - last).nanoseconds - interval.nanoseconds
                if abs(step) > 1_000_000 { steps += 1 }
                last = frame.time
            }
        }
        #expect(count == frames)
        #expect(steps == 0)
        #expect(video.counts.restarts == 0 && video.counts.lost == 0)
    }

    // MARK: Hostile bytes

    @Test(arguments: codecs + [.aac], [1, 2, 3] as [UInt64])
    func noiseIsCountedAndNothingElse(_ codec: Codec, seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let received = Receiver(codec, settings: IntakeSettings())
        let clip = codec == .aac ? nil : SyntheticClip(codec, frames: 5, sizes: 20...3_000, seed: seed)
        let valid = clip.map { packets(of: $0, limit: 4_000).map(\.bytes) } ?? []
        for round in 0..<4_000 {
            var bytes: [UInt8]
            if let sample = valid.randomElement(using: &random), round % 2 == 0 {
                bytes = sample
                for _ in 0..<Int.random(in: 1...6, using: &random) {
                    bytes[Int.random(in: 0..<bytes.count, using: &random)] = .random(in: 0...255, using: &random)
                }
                bytes = Array(bytes.prefix(Int.random(in: 1...bytes.count, using: &random)))
            } else {
                bytes = (0..<Int.random(in: 0...3_000, using: &random)).map { _ in .random(in: 0...255, using: &random)
                }
                if bytes.count > 2 { (bytes[0], bytes[1]) = (0x80, Self.payloadType) }
            }
            received.intake.receive(bytes.span.bytes, arrival: .zero + .milliseconds(Int64(round))) {
                received.note($0, $1)
            }
        }
        #expect(received.outputs.allSatisfy { $0.payload.count <= 1_400 })
        #expect(received.intake.counts.packets == 4_000)
        let numbers = received.outputs.map(\.output.number)
        #expect(zip(numbers, numbers.dropFirst()).allSatisfy { $0 < $1 })
    }

    @Test func otherPayloadTypesAreNotHeard() {
        let received = Receiver(.opus)
        received.take(Packet(1, 0, false, [0xfc, 1], payloadType: 97))
        #expect(received.outputs.isEmpty)
        #expect(received.intake.counts.foreign == 1)
        #expect(received.intake.ssrc == nil)
    }

    // MARK: Helpers

    static func track(_ codec: Codec) -> TrackDescription { TrackDescription(codec: codec, payloadType: payloadType) }

    struct Packet {
        var bytes: [UInt8]
        var timestamp: UInt32
        var arrival: Instant

        init(
            _ sequence: UInt16, _ timestamp: UInt32, _ marker: Bool, _ payload: [UInt8], ssrc: UInt32 = 7,
            payloadType: UInt8 = TrackIntakeTests.payloadType, arrival: Instant = .zero
        ) {
            bytes = [0x80, payloadType | (marker ? 0x80 : 0)]
            bytes.appendBigEndian(sequence)
            bytes.appendBigEndian(timestamp)
            bytes.appendBigEndian(ssrc)
            bytes += payload
            self.timestamp = timestamp
            self.arrival = arrival
        }
    }

    private func packets(
        of clip: SyntheticClip, limit: Int, first: UInt16 = 65_500, timestamp: UInt32 = .max - 9_000
    ) -> [Packet] {
        var packetiser = Packetiser(codec: clip.codec, limit: limit, pictureID: 0x7ffe)
        var sequence = first
        var all: [Packet] = []
        for (index, frame) in clip.frames.enumerated() {
            let interval: Interval = clip.codec.isVideo ? .milliseconds(40) : .milliseconds(20)
            let time = interval * Int64(index)
            let ticks = UInt32(truncatingIfNeeded: time.milliseconds * Int64(clip.codec.clockRate) / 1_000)
            let payloads = packetiser.payloads(of: frame.data, isKeyFrame: frame.isKey)
            for (place, payload) in payloads.enumerated() {
                all.append(
                    Packet(
                        sequence, timestamp &+ ticks, clip.codec.isVideo && place == payloads.count - 1, payload,
                        arrival: .zero + time + .microseconds(Int64(place) * 100)))
                sequence &+= 1
            }
        }
        return all
    }

    /// An intake, what came out of it, and the frames that this makes.
    final class Receiver {
        var intake: TrackIntake
        private(set) var outputs: [(output: TrackIntake.Output, payload: [UInt8])] = []
        private let track: TrackDescription

        convenience init(_ codec: Codec, settings: IntakeSettings = .connection) {
            self.init(TrackIntakeTests.track(codec), settings: settings)
        }

        init(_ track: TrackDescription, settings: IntakeSettings = .connection) {
            self.track = track
            intake = TrackIntake(track, settings: settings)
        }

        func take(_ packet: Packet) {
            var taken: [(TrackIntake.Output, [UInt8])] = []
            intake.receive(packet.bytes.span.bytes, arrival: packet.arrival) { taken.append(($0, $1.copied())) }
            outputs += taken.map { (output: $0.0, payload: $0.1) }
        }

        func note(_ output: TrackIntake.Output, _ payload: RawSpan) {
            outputs.append((output: output, payload: payload.copied()))
        }

        var frames: [MediaFrame] {
            var settings = AssemblerSettings()
            settings.retransmissionWait = .zero
            var assembler = StreamAssembler(tracks: [track], settings: settings)
            return assembler.run(outputs.map { (packet: MediaPacket($0.output), payload: $0.payload) })
        }
    }
}

extension MediaPacket {
    init(_ output: TrackIntake.Output) {
        self.init(
            track: 0, number: output.number, timestamp: output.timestamp, marker: output.marker,
            arrival: output.arrival)
    }
}
