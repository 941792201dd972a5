import MediaEngine
import Testing
import Wire

/// Sinks whose consumer is too slow, or gone: they lose whole groups of pictures, and nobody else notices.
@Suite struct SinkOverflowTests {
    private static func world(
        seed: UInt64, settings: PublisherCore.Settings = .init()
    ) throws -> (World, PublisherCore, PlayerCore) {
        let world = try World(seed: seed)
        let publisher = try world.addPublisher(settings: settings)
        try world.connect(publisher)
        let player = try world.addPlayer(of: publisher)
        try world.connect(player)
        try world.run(for: .milliseconds(500))
        return (world, publisher, player)
    }

    @Test func videoIsLostUpToAKeyFrameAndSoundGoesOn() throws {
        var settings = PublisherCore.Settings()
        settings.payloadLength = 1000
        settings.keyFrameEvery = 10
        let (world, publisher, player) = try Self.world(seed: 1, settings: settings)
        let reader = try world.attach(to: publisher, capacity: 1 << 16)
        try world.run(for: .seconds(1), reading: reader)
        let before = reader.packets.count
        // 57 packets of 1,000 bytes fill what is video's of the ring, in about 0.6 s. Sound has 8 KiB, 1.6 s.
        try world.run(for: .milliseconds(1800))
        #expect(reader.sink.packetsLost > 50)
        #expect(reader.sink.bytesWaiting > 1 << 15 && reader.sink.bytesWaiting <= 1 << 16)
        let players = player.video.packets.count
        reader.read()
        let soundThen = reader.packets[before...].filter { $0.facts.track == 0 }
        #expect((85...95).contains(soundThen.count), "sound went on: \(soundThen.count)")
        #expect(reader.losses.isEmpty, "nothing has come behind the loss yet")
        try world.run(for: .seconds(2), reading: reader)
        publisher.isSending = false
        try world.run(for: .milliseconds(100), reading: reader)
        #expect(reader.losses.count == 1)
        let loss = try #require(reader.losses.first)
        #expect(reader.packets[loss.next].facts.track == loss.track && reader.packets[loss.next].part?.isKey == true)
        #expect(reader.packets[loss.next].facts.isKeyFrameStart)
        // Not one is missing in the count.
        let numbers = reader.video.map(\.facts.number)
        let missing = Int(numbers[numbers.count - 1] - numbers[0]) + 1 - numbers.count
        #expect(missing == loss.packets && UInt64(missing) == reader.sink.packetsLost)
        #expect(reader.violations == [])
        try world.run(for: .milliseconds(200))
        #expect(world.counters.sinkPacketsLost.value == UInt64(missing))
        #expect(
            SinkReader.isWhole(reader.audio, from: reader.audio.first?.part?.serial ?? 0, to: publisher.sentAudio.count)
        )
        #expect(player.video.packets.count > players && player.video.violations == [] && player.video.holes == 0)
        #expect(player.video.everMissing == 0)
    }

    /// Room for a key frame is not enough: the group would be torn at once.
    @Test func aSinkThatIsMoreThanHalfFullBeginsNoGroup() throws {
        var settings = PublisherCore.Settings()
        settings.payloadLength = 1000
        settings.keyFrameEvery = 10
        let (world, publisher, _) = try Self.world(seed: 5, settings: settings)
        let reader = try world.attach(to: publisher, capacity: 1 << 16)
        try world.run(for: .seconds(1))
        #expect(reader.sink.packetsLost > 0)
        var videoRead = 0
        while videoRead < 15 {
            let before = reader.video.count
            reader.read(limit: 1)
            videoRead += reader.video.count - before
        }
        #expect(reader.sink.bytesWaiting > 1 << 15)
        try world.run(for: .milliseconds(900))
        let last = reader.video.count
        reader.read()
        #expect(reader.video.count - last < 57 - 15 + 5 && reader.losses.allSatisfy { $0.track == 0 })
        try world.run(for: .seconds(1), reading: reader)
        #expect(reader.losses.filter { $0.track == 1 }.count == 1 && reader.violations == [])
    }

    /// Nobody reads: the sink is full for good, and asks for nothing.
    @Test func aDeadConsumerCostsThePublisherNoKeyFrames() throws {
        var settings = PublisherCore.Settings()
        settings.payloadLength = 1000
        let (world, publisher, player) = try Self.world(seed: 2, settings: settings)
        let reader = try world.attach(to: publisher, capacity: 1 << 16)
        try world.run(for: .seconds(2))
        let before = publisher.plis.count
        try world.run(for: .seconds(20))
        #expect(publisher.plis.count == before)
        #expect(reader.sink.packetsLost > 2000)
        #expect(player.video.everMissing == 0)
        // It wakes up, and is given a key frame that is asked for now.
        let lost = reader.sink.packetsLost
        reader.read()
        try world.run(for: .seconds(2), reading: reader)
        #expect(publisher.plis.count == before + 1)
        let videoLoss = try #require(reader.losses.first { $0.track == 1 })
        #expect(reader.packets[videoLoss.next].part?.isKey == true)
        #expect(reader.violations == [] && reader.losses.contains { $0.track == 0 }, "sound was lost, too, and told")
        let told = UInt64(reader.losses.reduce(0) { $0 + $1.packets })
        #expect(told == reader.sink.packetsLost && told >= lost)
    }

    /// Reads half of what comes: pictures are lost in groups, each beginning with a key frame, and requests stay rare.
    @Test func aSlowConsumerGetsWholeGroups() throws {
        var settings = PublisherCore.Settings()
        settings.payloadLength = 1000
        let (world, publisher, _) = try Self.world(seed: 3, settings: settings)
        let reader = try world.attach(to: publisher, capacity: 1 << 16)
        let before = publisher.plis.count
        for _ in 0..<400 {
            try world.run(for: .milliseconds(50))
            reader.read(limit: 4)
        }
        reader.read()
        #expect(reader.losses.filter { $0.track == 1 }.count >= 5)
        #expect(publisher.plis.count - before <= 20, "\(publisher.plis.count - before) requests in 20 s")
        for loss in reader.losses where loss.track == 1 {
            #expect(reader.packets[loss.next].facts.isKeyFrameStart)
        }
        // Between losses nothing is missing.
        let starts = Set(reader.losses.filter { $0.track == 1 }.map { reader.packets[$0.next].facts.number })
        let numbers = reader.video.map(\.facts.number)
        #expect(zip(numbers, numbers.dropFirst()).allSatisfy { $0 + 1 == $1 || starts.contains($1) })
        #expect(reader.violations == [])
    }

    @Test func aRecordLimitIsKept() throws {
        let (world, publisher, _) = try Self.world(seed: 4)
        let reader = try world.attach(to: publisher)
        try world.run(for: .seconds(1))
        #expect(reader.read(limit: 0) == 0 && reader.read(limit: 7) == 7 && reader.read(limit: 1) == 1)
        #expect(reader.sink.hasNews)
        reader.read()
        #expect(!reader.sink.hasNews && reader.read() == 0)
        #expect(reader.violations == [])
    }
}
