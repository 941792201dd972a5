import MediaEngine
import Synchronization
import Testing
import Wire

/// A worker that cannot keep pace: what players lose of it, in which order, and how it comes back.
@Suite struct OverloadTests {
    /// Waits over the limit of 60 ms; between half of it and it, where all stays as it is.
    private static let long = Interval.milliseconds(100)
    private static let bearable = Interval.milliseconds(45)

    private static func world(
        players count: Int, workers: [Int] = [0]
    ) throws -> (World, PublisherCore, [PlayerCore]) {
        let world = try World(seed: 1, workers: (workers.max() ?? 0) + 1)
        let publisher = try world.addPublisher()
        try world.connect(publisher)
        let players = try (0..<count).map { try world.addPlayer(of: publisher, worker: workers[$0 % workers.count]) }
        for player in players { try world.connect(player) }
        try world.run(for: .milliseconds(500))
        return (world, publisher, players)
    }

    private static func thinned(_ world: World) -> Int { world.counters.playersThinned.load(ordering: .relaxed) }

    /// Overloads the workers until `isEnough`, and keeps them as they are then.
    private static func overload(_ world: World, until isEnough: () -> Bool) throws {
        world.lag = long
        let end = world.now + .seconds(5)
        while world.now < end, !isEnough() { try world.run(for: .milliseconds(5)) }
        world.lag = bearable
        try #require(isEnough())
        // What is on its way, over the slowest link of a test.
        try world.run(for: .milliseconds(250))
        try #require(isEnough())
    }

    private static func relieve(_ world: World, limit: Interval = .seconds(20), until isDone: () -> Bool) throws {
        world.lag = .zero
        let end = world.now + limit
        while world.now < end, !isDone() { try world.run(for: .milliseconds(10)) }
        try #require(isDone())
    }

    /// Packets that came after `before`, by their numbers.
    private static func news(_ track: ReceivedTrack, since before: Int) -> [ReceivedTrack.Packet] {
        track.packets.values.sorted { $0.order < $1.order }.suffix(max(0, track.packets.count - before))
    }

    private static func expectNobodyLeft(_ world: World, _ peers: [PeerCore]) {
        #expect(peers.allSatisfy { !$0.isClosed && world.posted.compactMap($0.failed) == [] })
    }

    @Test func anAccidentChangesNothing() throws {
        let (world, publisher, players) = try Self.world(players: 4)
        for _ in 0..<5 {
            world.lag = .seconds(1)
            // Shorter than the distance of two looks: no more than two see it.
            try world.run(for: .milliseconds(90))
            world.lag = .zero
            try world.run(for: .milliseconds(500))
            #expect(world.counters.overloadedWorkers == 0 && Self.thinned(world) == 0 && world.counters.admits)
        }
        #expect(players.allSatisfy { $0.video.holes == 0 && $0.video.everMissing == 0 })
        Self.expectNobodyLeft(world, [publisher] + players)
    }

    @Test func pressureMakesKeyFramesRarer() throws {
        let (world, publisher, players) = try Self.world(players: 1)
        try Self.overload(world) { world.counters.overloadedWorkers == 1 }
        #expect(Self.thinned(world) == 0 && world.counters.admits, "who is there loses nothing yet")
        let before = (publisher.plis.count, world.counters.keyFrameRequestsMerged.value)
        for _ in 0..<800 {
            players[0].sendPLI(now: world.now, evenIfRecent: true)
            try world.run(for: .milliseconds(5))
        }
        // Four seconds at one in two seconds.
        #expect((2...3).contains(publisher.plis.count - before.0), "\(publisher.plis.count - before.0)")
        #expect(world.counters.keyFrameRequestsMerged.value - before.1 >= 790)
        #expect(players[0].video.holes == 0 && players[0].video.packets.count > 400)
        try Self.relieve(world) { world.counters.overloadedWorkers == 0 }
        let relieved = publisher.plis.count
        for _ in 0..<200 {
            players[0].sendPLI(now: world.now, evenIfRecent: true)
            try world.run(for: .milliseconds(5))
        }
        #expect((3...4).contains(publisher.plis.count - relieved))
    }

    @Test func theSlowestPlayersLoseTheirVideoFirstAndGetItBack() throws {
        let (world, publisher, players) = try Self.world(players: 8)
        let lossy = players[3]
        let far = players[5]
        world.impair(lossy, down: LinkConditions(loss: 0.3))
        world.impair(far, down: LinkConditions(delay: .milliseconds(150)))
        // Reports come once a second, and round trips are smoothed.
        try world.run(for: .seconds(5))

        try Self.overload(world) { Self.thinned(world) == 1 }
        #expect(!world.counters.admits && world.counters.overloadedWorkers == 1)
        var before = players.map(\.video.packets.count)
        try world.run(for: .milliseconds(500))
        var flowing = zip(players, before).map { $0.video.packets.count - $1 >= 40 }
        #expect(flowing == players.map { $0 !== lossy }, "the lossy link alone")

        try Self.overload(world) { Self.thinned(world) == 2 }
        before = players.map(\.video.packets.count)
        try world.run(for: .milliseconds(500))
        flowing = zip(players, before).map { $0.video.packets.count - $1 >= 40 }
        #expect(flowing == players.map { $0 !== lossy && $0 !== far }, "then the one with the longest round trip")

        // Key frames, whole, one in four seconds.
        let asked = publisher.plis.count
        before = players.map(\.video.packets.count)
        let sound = players.map(\.audio.packets.count)
        let sent = publisher.sentAudio.count
        try world.run(for: .milliseconds(12_400))
        #expect((2...4).contains(publisher.plis.count - asked), "\(publisher.plis.count - asked) requests")
        let gaps = zip(publisher.plis.suffix(3), publisher.plis.suffix(2)).map { $1 - $0 }
        #expect(gaps.allSatisfy { $0 >= .milliseconds(3900) && $0 <= .milliseconds(4300) }, "\(gaps)")
        let parts = Self.news(far.video, since: before[5]).compactMap(\.part)
        #expect(parts.allSatisfy(\.isKey) && parts.count == 4 * Set(parts.map(\.frame)).count && parts.count >= 8)
        #expect(parts.map(\.part) == parts.indices.map { UInt8($0 % 4) })
        #expect(far.video.holes == 0 && far.video.everMissing == 0, "no gap in its numbers")
        #expect(
            far.audio.holes == 0 && abs(far.audio.packets.count - sound[5] - (publisher.sentAudio.count - sent)) <= 1)
        #expect(players[0].video.packets.count - before[0] > 1200, "others lose nothing")

        // A thinned player's requests are no requests.
        let merged = world.counters.keyFrameRequestsMerged.value
        let counted = world.registrations[far.id]?.counters.plis.value ?? 0
        for _ in 0..<10 { far.sendPLI(now: world.now, evenIfRecent: true) }
        let requests = publisher.plis.count
        try world.run(for: .milliseconds(50))
        #expect(world.counters.keyFrameRequestsMerged.value >= merged + 10 && publisher.plis.count <= requests + 1)
        #expect(world.registrations[far.id]?.counters.plis.value == counted + 10)

        // Who was thinned last is back first.
        try Self.relieve(world) { Self.thinned(world) == 1 }
        #expect(!world.counters.admits)
        let frame = try #require(publisher.sentVideo.last?.frame)
        let gained = far.video.packets.count
        try world.run(for: .milliseconds(2600))
        let back = Self.news(far.video, since: gained).compactMap(\.part).filter { $0.frame > frame }
        #expect(back.first?.isKey == true && back.contains { !$0.isKey }, "full video with the next key frame")
        try Self.relieve(world) { Self.thinned(world) == 0 && world.counters.admits }
        try Self.relieve(world) { world.counters.overloadedWorkers == 0 }
        world.impair(lossy, down: .perfect)
        try world.run(for: .seconds(2))
        publisher.isSending = false
        try world.run(for: .milliseconds(500))
        let whole = players[0].video.wholeFrames.suffix(25)
        #expect(whole.count == 25 && players.allSatisfy { $0.video.wholeFrames.suffix(25) == whole })
        for player in players where player !== lossy {
            #expect(player.video.holes == 0 && player.video.everMissing == 0 && player.audio.holes == 0)
        }
        #expect(players.allSatisfy { $0.video.violations == [] && $0.audio.violations == [] })
        Self.expectNobodyLeft(world, [publisher] + players)
    }

    @Test func picturesThatHaveBegunAreFinished() throws {
        let (world, publisher, players) = try Self.world(players: 8)
        // The packets of a picture come one by one, those of two pictures never at a time.
        world.impair(publisher, up: LinkConditions(delay: .milliseconds(1), jitter: .milliseconds(30)))
        try world.run(for: .seconds(1))
        for _ in 0..<5 {
            try Self.overload(world) { Self.thinned(world) == players.count }
            try Self.relieve(world, limit: .seconds(60)) { Self.thinned(world) == 0 }
            try world.run(for: .seconds(3))
        }
        publisher.isSending = false
        try world.run(for: .milliseconds(500))
        for player in players {
            let begun = Set(player.video.packets.values.compactMap { $0.part?.frame })
            let torn = begun.subtracting(player.video.wholeFrames).sorted()
            #expect(torn == [], "pictures cut short")
            #expect(begun.count < Set(publisher.sentVideo.map(\.frame)).count - 50 && player.video.violations == [])
        }
        Self.expectNobodyLeft(world, [publisher] + players)
    }

    @Test func atWorstEverybodyGetsKeyFramesAndAllTheSound() throws {
        let (world, publisher, players) = try Self.world(players: 5)
        world.lag = Self.long
        try world.run(for: .seconds(4))
        #expect(Self.thinned(world) == 5 && !world.counters.admits)
        let before = players.map(\.video.packets.count)
        try world.run(for: .seconds(9))
        for (player, count) in zip(players, before) {
            let parts = Self.news(player.video, since: count).compactMap(\.part)
            #expect((8...12).contains(parts.count) && parts.allSatisfy(\.isKey))
            #expect(player.video.holes == 0 && player.video.everMissing == 0 && player.video.violations == [])
            #expect(player.audio.holes == 0 && player.audio.everMissing == 0 && player.audio.packets.count > 600)
        }
        Self.expectNobodyLeft(world, [publisher] + players)
    }

    @Test func playersThatLeaveAreThinnedNoMore() throws {
        let (world, _, players) = try Self.world(players: 3)
        try Self.overload(world) { Self.thinned(world) == 3 }
        world.close(players[0])
        try world.run(for: .milliseconds(1300))
        #expect(Self.thinned(world) == 2)
        for player in players { world.close(player) }
        try world.run(for: .milliseconds(1300))
        #expect(Self.thinned(world) == 0)
        // Nobody is left to lose anything, but the worker has not caught up either.
        #expect(!world.counters.admits)
    }

    @Test func aWorkerThatIsFedByAnotherNoticesItsOwnDelay() throws {
        let (world, _, players) = try Self.world(players: 4, workers: [0, 1])
        try Self.overload(world) { world.counters.overloadedWorkers == 2 }
        try Self.overload(world) { Self.thinned(world) == 4 }
        #expect(!world.counters.admits)
        try Self.relieve(world, limit: .seconds(30)) { world.counters.overloadedWorkers == 0 }
        #expect(world.counters.admits && Self.thinned(world) == 0)
        try world.run(for: .seconds(1))
        #expect(players.allSatisfy { $0.video.holes == 0 && $0.audio.holes == 0 && $0.video.violations == [] })
    }

    /// What the operator heard of the first worker.
    private static func news(_ world: World) -> [OverloadNews] {
        world.posted.compactMap { if case .overload(worker: 0, let news) = $0 { news } else { nil } }
    }

    @Test func beginAndEndOfThinningAreToldOnceHoweverItGoesUpAndDown() throws {
        let (world, _, _) = try Self.world(players: 8)
        #expect(Self.news(world) == [])
        try Self.overload(world) { world.counters.overloadedWorkers == 1 }
        #expect(Self.news(world) == [], "who is there loses nothing yet")
        let begin = world.now
        for most in [3, 1, 2] {
            try Self.overload(world) { Self.thinned(world) == most }
            #expect(Self.news(world) == [.began(thinned: 1, players: 8)])
            try Self.relieve(world) { Self.thinned(world) == 0 }
        }
        let end = world.now
        try world.run(for: OverloadEpisode.calm - .milliseconds(500))
        #expect(Self.news(world).count == 1)
        try world.run(for: .seconds(1))
        let news = Self.news(world)
        guard news.count == 2, case .ended(let lasted, mostThinned: 3) = news[1] else {
            Issue.record("\(news)")
            return
        }
        #expect(lasted > .seconds(2) && lasted <= end - begin)
        // The next one is another.
        try Self.overload(world) { Self.thinned(world) == 1 }
        #expect(Self.news(world).count == 3 && Self.news(world).last == .began(thinned: 1, players: 8))
    }

    @Test func aCarriedOverloadWidensInSteps() throws {
        let (world, _, _) = try Self.world(players: 8)
        world.lag = Self.long
        var steps: [Int] = []
        for _ in 0..<300 {
            try world.run(for: .milliseconds(10))
            if steps.last != Self.thinned(world) { steps.append(Self.thinned(world)) }
        }
        #expect(steps == [0, 1, 2, 3, 4, 5, 6, 7, 8], "an eighth at each step")
    }
}

extension PeerCore {
    /// The event's reason, if it tells of this peer's failure.
    fileprivate func failed(_ event: EngineEvent) -> EngineFailure? { event.failure(of: self) }
}
