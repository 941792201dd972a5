import MediaEngine
import Testing
import Wire

/// Frame-end gathering: with many players the packets of a picture leave together, bounded in time; with very many,
/// sound that comes in their midst leaves with them.
@Suite struct GatheringTests {
    private static let limit = Interval.milliseconds(10)
    private static let soundLimit = Interval.milliseconds(6)

    private static func world(
        players count: Int, settings: PublisherCore.Settings = .init(), soundFrom: Int = .max
    ) throws -> (World, PublisherCore, [PlayerCore]) {
        let world = try World(seed: 1) {
            $0.gatherMinPlayers = 4
            $0.gatherLimit = limit
            $0.soundGatherLimit = soundLimit
            $0.soundGatherMinPlayers = soundFrom
            $0.groupCache = .milliseconds(500)
        }
        let publisher = try world.addPublisher(settings: settings)
        try world.connect(publisher)
        let players = try (0..<count).map { _ in try world.addPlayer(of: publisher) }
        for player in players { try world.connect(player) }
        try world.run(for: .milliseconds(600))
        return (world, publisher, players)
    }

    /// The datagrams of one picture and one sound frame, held back from the link.
    private static func picture(
        _ world: World, _ publisher: PublisherCore
    ) throws -> (video: [[UInt8]], audio: [UInt8]) {
        publisher.isSending = false
        try world.run(for: .milliseconds(100))
        publisher.resume(now: world.now)
        publisher.tick(now: world.now)
        publisher.isSending = false
        let media = publisher.outgoing.filter { $0[0] >= 128 && !(192...223).contains($0[1]) }
        publisher.outgoing = []
        let audio = try #require(media.first { $0[1] & 0x7f == TestIDs.audioType })
        return (media.filter { $0[1] & 0x7f == TestIDs.videoType }, audio)
    }

    @Test func aPictureLeavesWithItsLastPacket() throws {
        let (world, publisher, players) = try Self.world(players: 4)
        let (video, _) = try Self.picture(world, publisher)
        #expect(video.count == 4)
        let before = players.map(\.video.packets.count)
        let carried = world.downlinks[players[0].id]?.carried ?? 0
        for datagram in video.dropLast() { world.deliverTogether([datagram], from: publisher) }
        #expect(world.downlinks[players[0].id]?.carried == carried, "an open picture left")
        world.deliverTogether([video[3]], from: publisher)
        #expect(world.downlinks[players[0].id]?.carried == carried + 4)
        try world.run(for: .milliseconds(30))
        #expect(zip(players, before).allSatisfy { $0.video.packets.count == $1 + 4 && $0.video.everMissing == 0 })
    }

    @Test func anOpenPictureWaitsNoLongerThanTheLimit() throws {
        let (world, publisher, players) = try Self.world(players: 4)
        let (video, _) = try Self.picture(world, publisher)
        let carried = world.downlinks[players[0].id]?.carried ?? 0
        let start = world.now
        world.deliverTogether(Array(video.dropLast()), from: publisher)
        while world.now - start < .milliseconds(50), world.downlinks[players[0].id]?.carried == carried {
            try world.run(for: .milliseconds(1))
        }
        #expect((world.now - start) >= Self.limit && (world.now - start) <= Self.limit + .milliseconds(1))
        #expect(world.downlinks[players[0].id]?.carried == carried + 3)
    }

    @Test func soundInTheMidstOfAPictureLeavesWithItsEnd() throws {
        let (world, publisher, players) = try Self.world(players: 4, soundFrom: 4)
        let (video, audio) = try Self.picture(world, publisher)
        let before = players[0].audio.packets.count
        let carried = world.downlinks[players[0].id]?.carried ?? 0
        world.deliverTogether([video[0]], from: publisher)
        world.deliverTogether([audio], from: publisher)
        #expect(world.downlinks[players[0].id]?.carried == carried, "sound left an open picture")
        world.deliverTogether(Array(video.dropFirst()), from: publisher)
        #expect(world.downlinks[players[0].id]?.carried == carried + 5)
        try world.run(for: .milliseconds(30))
        #expect(players[0].audio.packets.count == before + 1)
        #expect(players.allSatisfy { $0.video.everMissing == 0 && $0.audio.violations == [] })
    }

    @Test func soundWaitsForAPictureNoLongerThanItsOwnLimit() throws {
        let (world, publisher, players) = try Self.world(players: 4, soundFrom: 4)
        let (video, audio) = try Self.picture(world, publisher)
        let carried = world.downlinks[players[0].id]?.carried ?? 0
        world.deliverTogether([video[0]], from: publisher)
        let start = world.now
        world.deliverTogether([audio], from: publisher)
        while world.now - start < .milliseconds(50), world.downlinks[players[0].id]?.carried == carried {
            try world.run(for: .milliseconds(1))
        }
        #expect((world.now - start) >= Self.soundLimit && (world.now - start) <= Self.soundLimit + .milliseconds(1))
        #expect(world.downlinks[players[0].id]?.carried == carried + 2)
    }

    @Test func soundBetweenPicturesNeverWaits() throws {
        let (world, publisher, players) = try Self.world(players: 4, soundFrom: 4)
        let (_, audio) = try Self.picture(world, publisher)
        let carried = world.downlinks[players[0].id]?.carried ?? 0
        world.deliverTogether([audio], from: publisher)
        #expect(world.downlinks[players[0].id]?.carried == carried + 1)
    }

    @Test func soundOfAStreamOfFewerPlayersWaitsForNoPicture() throws {
        let (world, publisher, players) = try Self.world(players: 4)
        let (video, audio) = try Self.picture(world, publisher)
        let before = players[0].audio.packets.count
        world.deliverTogether([video[0]], from: publisher)
        world.deliverTogether([audio], from: publisher)
        // The link takes 10 ms; nothing but the link may.
        try world.run(for: .milliseconds(10))
        #expect(players[0].audio.packets.count == before + 1)
        world.deliverTogether(Array(video.dropFirst()), from: publisher)
        try world.run(for: .milliseconds(30))
        #expect(players.allSatisfy { $0.video.everMissing == 0 && $0.video.violations == [] })
    }

    @Test func aPlayerThatJoinsWithinAnOpenPictureGetsItOnce() throws {
        var settings = PublisherCore.Settings()
        settings.keyFrameEvery = 1
        let (world, publisher, players) = try Self.world(players: 5, settings: settings)
        world.setPaused(true, players[4])
        let (video, _) = try Self.picture(world, publisher)
        world.deliverTogether(Array(video.dropLast()), from: publisher)
        // Three packets wait for their fan-out, and the ring has them for who starts from it.
        world.setPaused(false, players[4])
        try world.run(for: .milliseconds(2))
        world.deliverTogether([video[3]], from: publisher)
        try world.run(for: .milliseconds(50))
        for player in players {
            #expect(player.replays == 0 && player.video.duplicates == 0 && player.video.violations == [])
            #expect(player.video.holes == 0 && player.video.everMissing == 0)
            #expect(player.video.ordered.suffix(4).compactMap { $0.part?.part } == [0, 1, 2, 3])
        }
    }

    @Test func withFewPlayersNothingWaits() throws {
        let (world, publisher, players) = try Self.world(players: 3)
        let (video, _) = try Self.picture(world, publisher)
        let carried = world.downlinks[players[0].id]?.carried ?? 0
        world.deliverTogether([video[0]], from: publisher)
        #expect(world.downlinks[players[0].id]?.carried == carried + 1)
    }
}
