import MediaEngine
import RTP
import Testing
import Wire

/// What a publisher may do to its numbers, and what players see of it: nothing.
@Suite struct PublisherChangeTests {
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

    @Test func paddingLeavesNoGap() throws {
        var settings = PublisherCore.Settings()
        settings.paddingEvery = 2
        let (world, publisher, player) = try Self.world(seed: 1, settings: settings)
        try world.run(for: .seconds(8))
        #expect(publisher.nackMessages == 0)
        #expect(player.video.everMissing == 0 && player.video.holes == 0)
        #expect(player.video.violations == [])
        let serials = player.video.ordered.map { $0.part?.serial }
        #expect(serials.count > 800)
        #expect(!serials.contains(nil), "padding was forwarded")
        #expect(zip(serials, serials.dropFirst()).allSatisfy { ($0 ?? 0) + 1 == $1 })
    }

    @Test(arguments: [1, 2, 3, 4, 5, 6] as [UInt64]) func paddingUnderLossLosesNoMedia(seed: UInt64) throws {
        var settings = PublisherCore.Settings()
        settings.paddingEvery = 2
        let (world, publisher, player) = try Self.world(seed: seed, settings: settings)
        world.impair(publisher, up: .bad, down: .bad)
        world.impair(player, up: .bad, down: .bad)
        try LossyLinkTests.play(world, publisher, [player])
        #expect(player.video.violations == [])
        #expect(player.video.holes == 0 && player.abandoned == 0)
        let serials = player.video.ordered.compactMap { $0.part?.serial }
        #expect(serials == Array((serials.first ?? 0)..<UInt32(publisher.sentVideo.count)))
    }

    @Test func aNewSourceContinuesNumbersAndTime() throws {
        let (world, publisher, player) = try Self.world(seed: 2)
        let before = player.video.packets.count
        publisher.restartVideo(
            ssrc: 0x7777_0001, rtx: 0x7777_0002, sequence: 65_530, timestamp: 0x4000_0000, now: world.now)
        try world.run(for: .seconds(1))
        #expect(player.video.packets.count > before + 80)
        #expect(player.video.violations == [])
        #expect(player.video.holes == 0 && player.video.everMissing == 0)
        let packets = player.video.ordered
        let steps = zip(packets, packets.dropFirst()).map { Int32(bitPattern: $1.timestamp &- $0.timestamp) }
        #expect(steps.allSatisfy { $0 >= 0 && $0 < 20_000 }, "time jumped: \(steps.filter { $0 < 0 || $0 >= 20_000 })")
    }

    @Test func lossesOfANewSourceAreRepairedByItsOwnRetransmissions() throws {
        let (world, publisher, player) = try Self.world(seed: 3)
        publisher.restartVideo(ssrc: 0x7777_0001, rtx: 0x7777_0002, sequence: 10, timestamp: 5, now: world.now)
        try world.run(for: .milliseconds(100))
        world.impair(publisher, up: .bad, down: .bad)
        try LossyLinkTests.play(world, publisher, [player])
        #expect(publisher.retransmitted > 20)
        #expect(player.video.violations == [] && player.video.holes == 0)
        let serials = player.video.ordered.compactMap { $0.part?.serial }
        #expect(serials == Array((serials.first ?? 0)..<UInt32(publisher.sentVideo.count)))
    }

    @Test func packetsReorderedWithinABatchLeaveInOrder() throws {
        let (world, publisher, player) = try Self.world(seed: 4)
        publisher.isSending = false
        try world.run(for: .milliseconds(200))
        publisher.resume(now: world.now)
        publisher.tick(now: world.now)
        let batch = publisher.outgoing
        publisher.outgoing = []
        publisher.isSending = false
        #expect(batch.count == 5 || batch.count == 6)
        let highest = player.video.highest
        world.deliverTogether(batch.reversed(), from: publisher)
        try world.run(for: .milliseconds(100))
        #expect(player.video.highest == highest + 4)
        #expect(player.video.everMissing == 0, "the player saw the packets out of order")
        #expect(publisher.nackMessages == 0)
    }

    @Test func aForeignSourceIsNotForwarded() throws {
        let (world, publisher, player) = try Self.world(seed: 5)
        let before = world.counters.unknownSSRC.value
        let header = rtpHeader(marker: true, payloadType: 55, sequence: 1, timestamp: 1, ssrc: 0x5555)
        for index in 1...20 as ClosedRange<UInt64> {
            publisher.send(rtpHeader: header, payload: [1, 2, 3], ssrc: 0x5555, index: index)
        }
        try world.run(for: .milliseconds(200))
        // The header's number does not change, so that all but the first fail authentication.
        #expect(world.counters.unknownSSRC.value == before + 1)
        #expect(player.video.violations == [] && player.unknownSources == 0)
        #expect(player.video.holes == 0)
    }
}
