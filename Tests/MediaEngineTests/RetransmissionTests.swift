import MediaEngine
import RTP
import Testing
import Wire

/// What players may ask for, and what they get.
@Suite struct RetransmissionTests {
    private static func world(
        seed: UInt64, settings: PublisherCore.Settings = .init()
    ) throws -> (World, PublisherCore, PlayerCore, PlayerCore) {
        let world = try World(seed: seed)
        let publisher = try world.addPublisher(settings: settings)
        try world.connect(publisher)
        let players = try (0..<2).map { _ in try world.addPlayer(of: publisher) }
        try world.connect(players[0], players[1])
        try world.run(for: .milliseconds(1500))
        return (world, publisher, players[0], players[1])
    }

    @Test func aRequestIsAnsweredByTheSamePacket() throws {
        let (world, _, player, _) = try Self.world(seed: 1)
        let wanted = (0..<30).map { UInt16(truncatingIfNeeded: player.video.highest - 40 + $0) }
        player.sendNACK(wanted)
        try world.run(for: .milliseconds(100))
        // Every answer is a duplicate of what came before: byte for byte, or it would be a violation.
        #expect(player.video.duplicates == 30)
        #expect(player.video.violations == [])
    }

    @Test func aRequestThatCrossesItsAnswerIsNotAnsweredAgain() throws {
        let (world, _, player, _) = try Self.world(seed: 6)
        try world.run(for: .seconds(2))
        let wanted = (0..<20).map { UInt16(truncatingIfNeeded: player.video.highest - 30 + $0) }
        player.sendNACK(wanted)
        try world.run(for: .milliseconds(5))
        player.sendNACK(wanted)
        try world.run(for: .milliseconds(100))
        #expect(player.video.duplicates == 20, "within a round trip of 20 ms one answer is enough")
        player.sendNACK(wanted)
        try world.run(for: .milliseconds(100))
        #expect(player.video.duplicates == 40, "the first answer may have been lost")
    }

    @Test func numbersThatWereNeverSentAreIgnored() throws {
        let (world, _, player, _) = try Self.world(seed: 2)
        let highest = player.video.highest
        let first = try #require(player.video.first)
        let ahead = (100..<400).map { UInt16(truncatingIfNeeded: highest + $0) }
        let before = (1...100).map { UInt16(truncatingIfNeeded: first - $0) }
        let opposite = (0..<100).map { UInt16(truncatingIfNeeded: highest + 0x8000 + $0) }
        for numbers in [ahead, before, opposite] {
            player.sendNACK(numbers)
            try world.run(for: .milliseconds(50))
        }
        #expect(player.video.duplicates == 0)
        #expect(player.video.violations == [])
        #expect(!player.video.packets.values.contains { $0.isRetransmission })
        try world.run(for: .milliseconds(1200))
        #expect(world.registrations[player.id]?.counters.packetsRetransmitted.value == 0)
    }

    @Test func packetsOlderThanTheRingAreNotSentAgain() throws {
        let (world, _, player, _) = try Self.world(seed: 3)
        let old = (0..<50).map { UInt16(truncatingIfNeeded: player.video.highest - $0) }
        try world.run(for: .seconds(4))
        player.sendNACK(old.reversed())
        try world.run(for: .milliseconds(100))
        #expect(player.video.duplicates == 0)
    }

    @Test func aStormOfRequestsMeetsTheBudget() throws {
        var settings = PublisherCore.Settings()
        settings.payloadLength = 1000
        let (world, _, player, other) = try Self.world(seed: 4, settings: settings)
        player.sendsNACK = false
        let carried = world.downlinks[player.id]?.carried ?? 0
        let otherBefore = other.video.packets.count
        for _ in 0..<200 {
            player.sendNACK((0..<100).map { UInt16(truncatingIfNeeded: player.video.highest - 99 + $0) })
            try world.run(for: .milliseconds(5))
        }
        let sent = (world.downlinks[player.id]?.carried ?? 0) - carried
        // In one second 500 kB of burst and 1.25 MB of rate, in packets of a kilobyte, and the stream itself.
        #expect((1000...1950).contains(sent), "\(sent) packets for 20,000 numbers")
        #expect(world.counters.retransmissionsRefused.value > 15_000)
        #expect(other.video.packets.count >= otherBefore + 98 && other.video.everMissing == 0)
        #expect(player.video.violations == [])
    }

    @Test func aRequestForAnotherPlayersSourceIsIgnored() throws {
        let (world, _, player, other) = try Self.world(seed: 5)
        var bytes: [UInt8] = []
        let wanted = (0..<20).map { UInt16(truncatingIfNeeded: other.video.highest - 30 + $0) }
        RTCPWriter.nack(sender: 1, media: other.videoSSRC, lost: wanted, into: &bytes)
        player.send(rtcp: bytes)
        try world.run(for: .milliseconds(100))
        #expect(other.video.duplicates == 0 && player.video.duplicates == 0)
    }
}
