import MediaEngine
import RTP
import Testing
import Wire

/// Streams that cross from the worker of their publisher to that of a player.
@Suite struct CrossingTests {
    private static func world(seed: UInt64) throws -> (World, PublisherCore, near: PlayerCore, far: PlayerCore) {
        let world = try World(seed: seed, workers: 2)
        let publisher = try world.addPublisher(worker: 0)
        try world.connect(publisher)
        let near = try world.addPlayer(of: publisher, worker: 0)
        let far = try world.addPlayer(of: publisher, worker: 1)
        try world.connect(near, far)
        try world.run(for: .milliseconds(500))
        return (world, publisher, near, far)
    }

    @Test func aPlayerOfAnotherWorkerGetsTheSameStream() throws {
        let (world, publisher, near, far) = try Self.world(seed: 1)
        try world.run(for: .seconds(2))
        #expect(world.workers[0].peers.count == 2 && world.workers[1].peers.count == 1)
        #expect(world.workers[1].streams[publisher.id] != nil)
        for player in [near, far] {
            #expect(player.video.ordered.first?.part?.isKey == true)
            #expect(player.video.holes == 0 && player.video.everMissing == 0 && player.video.violations == [])
            #expect(player.audio.holes == 0 && player.audio.everMissing == 0 && player.audio.violations == [])
        }
        #expect(far.video.ordered.last?.part == near.video.ordered.last?.part)
        #expect(far.reports.contains { $0.report.ssrc == far.videoSSRC }, "sender reports cross too")
        #expect(far.reports.contains { $0.report.ssrc == far.audioSSRC })
    }

    @Test(arguments: [1, 2, 3] as [UInt64]) func lossesAreRepairedAcrossWorkers(seed: UInt64) throws {
        let (world, publisher, near, far) = try Self.world(seed: seed)
        for peer in [publisher, near, far] as [PeerCore] { world.impair(peer, up: .bad, down: .bad) }
        try LossyLinkTests.play(world, publisher, [near, far])
        for player in [near, far] {
            #expect(player.video.violations == [] && player.video.holes == 0 && player.abandoned == 0)
            let serials = player.video.ordered.compactMap { $0.part?.serial }
            #expect(serials == Array((serials.first ?? 0)..<UInt32(publisher.sentVideo.count)))
        }
    }

    @Test func requestsOfFarPlayersReachThePublisherMerged() throws {
        let (world, publisher, _, far) = try Self.world(seed: 2)
        let before = publisher.plis.count
        for _ in 0..<100 {
            far.sendPLI(now: world.now, evenIfRecent: true)
            try world.run(for: .milliseconds(10))
        }
        #expect((3...4).contains(publisher.plis.count - before), "\(publisher.plis.count - before)")
    }

    @Test func aReplicaWithoutPlayersGivesItsMemoryBack() throws {
        let (world, publisher, near, far) = try Self.world(seed: 3)
        world.close(far)
        try world.run(for: .milliseconds(200))
        #expect(world.workers[1].streams.isEmpty && world.workers[1].slab.slotsInUse == 0)
        // Nothing crosses any more.
        #expect(world.queues[0][1]?.isEmpty == true)
        let again = try world.addPlayer(of: publisher, worker: 1)
        try world.connect(again)
        try world.run(for: .seconds(1))
        #expect(again.video.ordered.first?.part?.isKey == true && again.video.holes == 0)
        #expect(near.video.everMissing == 0)
    }

    @Test func datagramsThatReachTheWrongWorkerAreHandedOn() throws {
        let (world, publisher, near, _) = try Self.world(seed: 4)
        // The kernel's hash of the sockets changed (a socket was added): all come to worker 1 from now on.
        world.move(publisher, to: 1)
        world.move(near, to: 1)
        let before = near.video.packets.count
        // Until the next check tells worker 1 whose address this is, its packets are unknown.
        try world.run(for: .seconds(4))
        #expect(near.video.packets.count > before + 100)
        let sent = publisher.sentVideo.count
        try world.run(for: .seconds(1))
        #expect(near.video.ordered.last?.part.map { Int($0.serial) } ?? 0 > sent)
        #expect(world.workers[0].peers.count == 2, "a peer stays with the worker that claimed it")
        #expect(near.video.violations == [])
        try world.run(for: .seconds(32))
        #expect(!world.posted.contains { $0.failure(of: publisher) != nil || $0.failure(of: near) != nil })
    }

    @Test func aPublisherThatEndsIsToldToFarPlayers() throws {
        let (world, publisher, _, far) = try Self.world(seed: 5)
        world.close(publisher)
        try world.run(for: .seconds(1))
        #expect(!world.posted.contains { $0.failure(of: far) != nil }, "the control side has the first word")
        try world.run(for: .seconds(5))
        #expect(world.posted.contains { $0.failure(of: far) == .error("the stream ended") })
        #expect(world.workers[1].streams.isEmpty && world.workers[1].peers.isEmpty)
        #expect(world.workers[1].slab.slotsInUse == 0)
    }
}
