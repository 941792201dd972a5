import MediaEngine
import MediaFormats
import Testing
import Wire

/// What a sink is given of a stream: everything, once, from a key frame on.
@Suite struct SinkTests {
    private static func world(
        seed: UInt64, settings: PublisherCore.Settings = .init(), workers: Int = 1,
        configure: (inout EngineConfiguration) -> Void = { _ in }
    ) throws -> (World, PublisherCore) {
        let world = try World(seed: seed, workers: workers, configure: configure)
        let publisher = try world.addPublisher(settings: settings)
        try world.connect(publisher)
        try world.run(for: .milliseconds(500))
        return (world, publisher)
    }

    @Test func aSinkAttachedBeforeThePublisherConnectsGetsItsFirstPackets() throws {
        let world = try World(seed: 1)
        let publisher = try world.addPublisher()
        let reader = try world.attach(to: publisher)
        #expect(world.counters.sinks.load(ordering: .relaxed) == 1)
        #expect(world.counters.sinkBytes.load(ordering: .relaxed) == 1 << 18)
        #expect(
            reader.tracks == [
                TrackDescription(codec: .opus, payloadType: TestIDs.audioType),
                TrackDescription(codec: .vp8, payloadType: TestIDs.videoType),
            ])
        try world.connect(publisher)
        try world.run(for: .seconds(3), reading: reader)
        publisher.isSending = false
        try world.run(for: .milliseconds(100), reading: reader)
        #expect(reader.violations == [] && reader.losses.isEmpty && reader.ends == 0)
        #expect(SinkReader.isWhole(reader.video, from: 0, to: publisher.sentVideo.count))
        #expect(SinkReader.isWhole(reader.audio, from: 0, to: publisher.sentAudio.count))
        #expect(publisher.plis.isEmpty, "the first picture is a key frame anyway")
        // What is said of packets.
        let first = try #require(reader.video.first)
        #expect(first.facts.isKeyFrameStart && first.facts.isFrameStart && !first.facts.marker)
        #expect(reader.video.filter(\.facts.isKeyFrameStart).count == 1)
        #expect(reader.video.allSatisfy { $0.facts.marker == ($0.part?.part == 3) })
        #expect(reader.video.allSatisfy { $0.facts.isFrameStart == ($0.part?.part == 0) })
        #expect(zip(reader.packets, reader.packets.dropFirst()).allSatisfy { $0.facts.arrival <= $1.facts.arrival })
        let steps = zip(reader.video, reader.video.dropFirst()).map { $1.facts.timestamp &- $0.facts.timestamp }
        #expect(Set(steps) == [0, 3600])
        // Reports of both tracks, on the stream's clocks.
        for track in 0...1 {
            let reports = reader.reports.filter { $0.track == track }
            #expect((5...7).contains(reports.count))
            let clock = reader.tracks[track].clockRate
            for (a, b) in zip(reports, reports.dropFirst()) {
                let ticks = Double(b.timestamp &- a.timestamp) / Double(clock)
                #expect(abs(ticks - Double(b.ntp - a.ntp) / 4_294_967_296) < 0.001)
            }
        }
        #expect(reader.sink.packetsWritten == UInt64(reader.packets.count) && reader.sink.packetsLost == 0)
        #expect(world.counters.sinkPackets.value > UInt64(reader.packets.count) * 9 / 10)
    }

    @Test func aLateSinkBeginsWithAKeyFrameThatIsAskedFor() throws {
        let (world, publisher) = try Self.world(seed: 2)
        let reader = try world.attach(to: publisher)
        try world.run(for: .seconds(1), reading: reader)
        #expect(publisher.plis.count == 1 && publisher.keyFrames.count == 2)
        let first = try #require(reader.video.first)
        #expect(first.facts.isKeyFrameStart && first.part?.isKey == true && first.part?.part == 0)
        #expect(reader.violations == [])
        publisher.isSending = false
        try world.run(for: .milliseconds(100), reading: reader)
        #expect(SinkReader.isWhole(reader.video, from: first.part?.serial ?? 0, to: publisher.sentVideo.count))
        // Sound does not wait for it.
        #expect((reader.packets.first?.facts.track).map { !reader.tracks[$0].isVideo } == true)
        #expect(reader.reports.prefix(2).map(\.track) == [0, 1], "the latest reports come first")
    }

    @Test func aYoungStoredGroupIsGivenAtOnce() throws {
        var settings = PublisherCore.Settings()
        settings.keyFrameEvery = 25
        let (world, publisher) = try Self.world(seed: 3, settings: settings) { $0.groupCache = .milliseconds(900) }
        let reader = try world.attach(to: publisher)
        try world.run(for: .milliseconds(2), reading: reader)
        #expect(reader.video.first?.part?.serial == 0 && reader.video.count > 20)
        try world.run(for: .seconds(1), reading: reader)
        publisher.isSending = false
        try world.run(for: .milliseconds(100), reading: reader)
        #expect(publisher.plis.isEmpty && reader.violations == [])
        #expect(SinkReader.isWhole(reader.video, from: 0, to: publisher.sentVideo.count))
    }

    /// Groups of 100 pictures; what is stored of one when the sink comes is larger than its ring.
    @Test(arguments: [0, 2]) func theGroupOfADeafPublisherComesInPartsWhenTheRingIsSmall(burst: Int) throws {
        var settings = PublisherCore.Settings()
        settings.answersPLI = false
        settings.keyFrameEvery = 100
        settings.payloadLength = 600
        // With a bound on bursts part of a picture is always waiting for its slice.
        let (world, publisher) = try Self.world(seed: 4, settings: settings) { $0.burstPackets = burst }
        let early = try world.attach(to: publisher)
        // It takes one unanswered request to know that the publisher is deaf.
        try world.run(for: .milliseconds(1500), reading: early)
        #expect(early.video.first?.part?.serial == 0)
        try world.run(for: .milliseconds(1000), reading: early)
        let late = try world.attach(to: publisher, capacity: 1 << 16)
        try world.run(for: .milliseconds(1))
        late.read()
        #expect((80...120).contains(late.video.count), "\(late.video.count) packets in 64 KiB")
        try world.run(for: .milliseconds(700), reading: early, late)
        publisher.isSending = false
        try world.run(for: .milliseconds(100), reading: early, late)
        for reader in [early, late] {
            #expect(reader.violations == [] && reader.losses.isEmpty)
            #expect(SinkReader.isWhole(reader.video, from: 0, to: publisher.sentVideo.count))
        }
        #expect(publisher.keyFrames.count == 1, "the publisher answered after all")
    }

    /// The cursor of a sink that catches up passes a hole, which is then repaired.
    @Test func aRepairBehindTheCursorOfASinkThatCatchesUpIsGivenToo() throws {
        var settings = PublisherCore.Settings()
        settings.answersPLI = false
        settings.keyFrameEvery = 200
        settings.payloadLength = 600
        let (world, publisher) = try Self.world(seed: 11, settings: settings)
        let early = try world.attach(to: publisher)
        try world.run(for: .milliseconds(3000), reading: early)
        let late = try world.attach(to: publisher, capacity: 1 << 16)
        try world.run(for: .milliseconds(20))
        var held: [[UInt8]] = []
        world.dropUp(publisher) { datagram in
            guard WireLog.isRTP(datagram) else { return false }
            if datagram[1] & 0x7f == TestIDs.rtxType { return true }
            guard datagram[1] & 0x7f == TestIDs.videoType, held.isEmpty else { return false }
            held.append(datagram)
            return true
        }
        try world.run(for: .milliseconds(800), reading: early)
        // A ring takes 89 packets, some 380 are stored, and the hole is behind the first 300.
        for _ in 0..<3 {
            late.read()
            try world.run(for: .milliseconds(12), reading: early)
        }
        let hole = try #require(
            zip(early.video, early.video.dropFirst()).first { $0.facts.number + 1 < $1.facts.number })
        let number = hole.0.facts.number + 1
        late.read(limit: 20)
        #expect(late.sink.packetsLost == 0)
        #expect(
            late.sink.packetsWritten < UInt64(publisher.sentVideo.count), "it has caught up: the test proves nothing")
        world.deliverTogether(held, from: publisher)
        try world.run(for: .milliseconds(300), reading: early, late)
        #expect(early.video.contains { $0.facts.number == number })
        publisher.isSending = false
        try world.run(for: .milliseconds(200), reading: early, late)
        #expect(late.violations == [] && late.losses.isEmpty)
        #expect(SinkReader.isWhole(late.video, from: 0, to: publisher.sentVideo.count))
    }

    @Test(arguments: [1, 2, 3, 4] as [UInt64]) func lossesOfThePublisherAreRepairedForSinksToo(seed: UInt64) throws {
        let (world, publisher) = try Self.world(seed: seed)
        let reader = try world.attach(to: publisher)
        let player = try world.addPlayer(of: publisher)
        try world.connect(player)
        world.impair(publisher, up: .bad, down: .bad)
        try world.run(for: .seconds(6), reading: reader)
        world.impair(publisher, up: .perfect, down: .perfect)
        try world.run(for: .milliseconds(300), reading: reader)
        publisher.isSending = false
        try world.run(for: .milliseconds(1500), reading: reader)
        #expect(publisher.retransmitted > 20 && reader.violations == [] && reader.losses.isEmpty)
        let first = try #require(reader.video.map(\.facts.number).min())
        let start = try #require(reader.video.first { $0.facts.number == first }?.part)
        #expect(start.isKey && start.part == 0)
        #expect(SinkReader.isWhole(reader.video, from: start.serial, to: publisher.sentVideo.count))
        #expect(
            zip(reader.video, reader.video.dropFirst()).contains { $0.facts.number > $1.facts.number },
            "nothing came late: the test proves nothing")
    }

    @Test(arguments: [0, 4]) func aKeyFrameWhoseFirstPacketComesLateIsWhole(burst: Int) throws {
        var settings = PublisherCore.Settings()
        settings.packetsOf = { _, isKey in isKey ? 12 : 4 }
        let (world, publisher) = try Self.world(seed: 5, settings: settings) { $0.burstPackets = burst }
        let reader = try world.attach(to: publisher)
        var lost = 0
        let before = publisher.keyFrames.count
        world.dropUp(publisher) { [unowned publisher] datagram in
            guard publisher.keyFrames.count > before, datagram.count > 120, lost == 0 else { return false }
            lost += 1
            return true
        }
        try world.run(for: .seconds(1), reading: reader)
        publisher.isSending = false
        try world.run(for: .milliseconds(200), reading: reader)
        #expect(lost == 1 && publisher.retransmitted >= 1)
        #expect(reader.violations == [])
        let first = try #require(reader.video.first?.part)
        #expect(first.isKey && first.part == 0 && first.parts == 12)
        #expect(SinkReader.isWhole(reader.video, from: first.serial, to: publisher.sentVideo.count))
    }

    @Test func paddingForTheSakeOfPlayersIsNotGivenToSinks() throws {
        var settings = PublisherCore.Settings()
        settings.videoLength = { [600, 598, 605, 611][$1] }
        let (world, publisher) = try Self.world(seed: 6, settings: settings) { $0.gatherMinPlayers = 1 }
        let reader = try world.attach(to: publisher)
        let player = try world.addPlayer(of: publisher)
        try world.connect(player)
        try world.run(for: .seconds(1), reading: reader)
        #expect(player.padded > 50)
        #expect(reader.violations == [] && reader.video.count > 80)
        #expect(Set(reader.video.map(\.payload.count)) == [600, 598, 605, 611])
    }

    @Test func aNewSourceOfThePublisherGoesOnInNumbersAndTime() throws {
        let (world, publisher) = try Self.world(seed: 7)
        let reader = try world.attach(to: publisher)
        try world.run(for: .seconds(1), reading: reader)
        publisher.restartVideo(
            ssrc: 0x7777_0001, rtx: 0x7777_0002, sequence: 65_530, timestamp: 0x4000_0000, now: world.now)
        try world.run(for: .seconds(1), reading: reader)
        publisher.isSending = false
        try world.run(for: .milliseconds(100), reading: reader)
        let first = reader.video.first?.part?.serial ?? 0
        #expect(reader.violations == [])
        #expect(SinkReader.isWhole(reader.video, from: first, to: publisher.sentVideo.count))
        let steps = zip(reader.video, reader.video.dropFirst()).map { $1.facts.timestamp &- $0.facts.timestamp }
        #expect(steps.allSatisfy { $0 < 20_000 })
    }

    @Test func parameterSetsOfTheDescriptionComeBeforeKeyFrames() throws {
        var settings = PublisherCore.Settings()
        // Z0LAHg== and aM48gA== are an SPS and a PPS.
        settings.parameterSets = "Z0LAHg==,aM48gA=="
        let (world, publisher) = try Self.world(seed: 8, settings: settings)
        let reader = try world.attach(to: publisher)
        #expect(reader.tracks[1].codec == .h264 && reader.tracks[1].parameterSets.map(\.first) == [0x67, 0x68])
        try world.run(for: .seconds(1), reading: reader)
        #expect(reader.video.prefix(3).map { $0.payload.first } == [0x67, 0x68, 0x65])
        #expect(reader.video.prefix(3).map(\.facts.isKeyFrameStart) == [true, false, false])
        #expect(reader.violations == [])
    }

    @Test func aStreamWithoutVideoIsGivenAtOnce() throws {
        let (world, publisher) = try Self.world(seed: 9)
        publisher.videoIsMuted = true
        // For so long that there is no talk of a picture any more.
        try world.run(for: .milliseconds(1100))
        let reader = try world.attach(to: publisher)
        try world.run(for: .seconds(3), reading: reader)
        #expect(reader.video.isEmpty && (148...152).contains(reader.audio.count))
        // The camera comes on again.
        publisher.videoIsMuted = false
        try world.run(for: .seconds(2), reading: reader)
        #expect(reader.video.first?.part?.isKey == true && reader.video.count > 80 && reader.violations == [])
    }

    @Test func aPublisherThatBeginsInMidstOfAGroupIsAskedForAKeyFrame() throws {
        let world = try World(seed: 10)
        let publisher = try world.addPublisher()
        let reader = try world.attach(to: publisher)
        // Its first picture is lost for good.
        var isFirst = true
        world.dropUp(publisher) { datagram in isFirst && datagram.count > 120 && WireLog.isRTP(datagram) }
        publisher.settings.feedback = ["nack pli"]
        try world.connect(publisher)
        try world.run(for: .milliseconds(30), reading: reader)
        isFirst = false
        try world.run(for: .seconds(3), reading: reader)
        #expect(!publisher.plis.isEmpty)
        #expect(reader.video.first?.facts.isKeyFrameStart == true && reader.video.count > 100)
    }
}
