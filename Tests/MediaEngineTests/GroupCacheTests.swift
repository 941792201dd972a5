import MediaEngine
import RTP
import Testing
import Wire

/// Publishers that do not answer key-frame requests (OBS, cameras): their current group of pictures is kept, and
/// joining players start from it instead of waiting a whole one.
@Suite struct GroupCacheTests {
    private static let groupLength = 100

    private static func deaf(_ every: Int = groupLength) -> PublisherCore.Settings {
        var settings = PublisherCore.Settings()
        settings.answersPLI = false
        settings.keyFrameEvery = every
        return settings
    }

    /// Publishes for long enough that one player has found out that requests are in vain.
    private static func world(seed: UInt64, workers: Int = 1) throws -> (World, PublisherCore, PlayerCore) {
        let world = try World(seed: seed, workers: workers)
        let publisher = try world.addPublisher(settings: deaf())
        try world.connect(publisher)
        try world.run(for: .milliseconds(300))
        let first = try world.addPlayer(of: publisher)
        try world.connect(first)
        try world.run(for: .milliseconds(1500))
        return (world, publisher, first)
    }

    @Test(arguments: [1, 2, 3] as [UInt64]) func aJoiningPlayerStartsFromTheStoredGroup(seed: UInt64) throws {
        let (world, publisher, first) = try Self.world(seed: seed)
        // In the middle of the second group.
        let end = world.now + .seconds(8)
        while world.now < end, publisher.keyFrames.count < 2 { try world.run(for: .milliseconds(20)) }
        try world.run(for: .milliseconds(1800))
        let late = try world.addPlayer(of: publisher)
        try world.connect(late)
        let joined = world.now
        try world.run(for: .milliseconds(1000))
        let start = try #require(late.video.ordered.first)
        #expect(start.part?.isKey == true && start.part?.frame == UInt32(Self.groupLength))
        #expect(start.at - joined < .milliseconds(60))
        for player in [first, late] {
            #expect(player.video.violations == [])
            #expect(player.video.holes == 0 && player.video.everMissing == 0 && player.replays == 0)
            let serials = player.video.ordered.compactMap { $0.part?.serial }
            #expect(zip(serials, serials.dropFirst()).allSatisfy { $0 + 1 == $1 })
        }
        #expect(publisher.keyFrames.count == 2, "the publisher answered after all")
        // At the live edge, not behind it.
        #expect(late.video.ordered.last?.part == first.video.ordered.last?.part)
    }

    @Test func aWholeGroupDoesNotLeaveInOneBurst() throws {
        let (world, publisher, _) = try Self.world(seed: 4)
        let end = world.now + .seconds(8)
        while world.now < end, publisher.keyFrames.count < 2 { try world.run(for: .milliseconds(20)) }
        try world.run(for: .milliseconds(3000))
        let late = try world.addPlayer(of: publisher)
        try world.connect(late)
        try world.run(for: .milliseconds(1000))
        let times = late.video.ordered.map(\.at)
        var most = 0
        for (i, time) in times.enumerated() {
            most = max(most, times[i...].prefix { $0 - time < .milliseconds(9) }.count)
        }
        #expect(times.count > 300)
        #expect(most < 150, "\(most) packets at once")
    }

    @Test func requestsToADeafPublisherStayRare() throws {
        let (world, publisher, first) = try Self.world(seed: 5)
        let before = publisher.plis.count
        for _ in 0..<5 {
            let player = try world.addPlayer(of: publisher)
            try world.connect(player)
            try world.run(for: .milliseconds(1000))
            #expect(player.video.packets.count > 50)
        }
        #expect(publisher.plis.count - before <= 10)
        #expect(first.video.everMissing == 0)
    }

    @Test func aPublisherThatListensHasNothingKept() throws {
        let world = try World(seed: 6)
        let publisher = try world.addPublisher()
        try world.connect(publisher)
        for _ in 0..<2 {
            let player = try world.addPlayer(of: publisher)
            try world.connect(player)
            try world.run(for: .seconds(2))
        }
        try world.run(for: .seconds(10))
        // Two seconds of 100 + 50 packets, and what a slow tick of expiry lags behind.
        #expect(world.workers[0].slab.slotsInUse < 400, "\(world.workers[0].slab.slotsInUse) slots")
    }

    @Test func aReplicaStartsFromTheOriginsGroup() throws {
        let (world, publisher, _) = try Self.world(seed: 7, workers: 2)
        let remote = try world.addPlayer(of: publisher, worker: 1)
        try world.connect(remote)
        let joined = world.now
        try world.run(for: .milliseconds(1000))
        let start = try #require(remote.video.ordered.first)
        #expect(start.part?.isKey == true && start.part?.frame == 0)
        #expect(start.at - joined < .milliseconds(60))
        #expect(remote.video.violations == [] && remote.video.everMissing == 0 && remote.video.holes == 0)
    }

    @Test(arguments: [1, 2, 3] as [UInt64]) func lossesDuringTheCatchUpAreRepaired(seed: UInt64) throws {
        let (world, publisher, _) = try Self.world(seed: seed)
        let late = try world.addPlayer(of: publisher)
        try world.connect(late)
        world.impair(publisher, up: .bad, down: .bad)
        world.impair(late, up: .bad, down: .bad)
        try LossyLinkTests.play(world, publisher, [late])
        #expect(late.video.violations == [] && late.video.holes == 0 && late.abandoned == 0)
    }
}
