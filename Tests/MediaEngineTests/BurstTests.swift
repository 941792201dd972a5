import MediaEngine
import Testing
import Wire

/// Bounded bursts: of a key frame each player gets so many packets at once and the rest in slices; sound is not held.
@Suite struct BurstTests {
    private static let slice = 8
    private static let interval = Interval.milliseconds(5)
    private static let linkDelay = LinkConditions.perfect.delay

    private static func world(
        players count: Int = 2, settings: PublisherCore.Settings = .init(),
        configure: (inout EngineConfiguration) -> Void = { _ in }
    ) throws -> (World, WireLog, PublisherCore, [PlayerCore]) {
        let world = try World(seed: 1) {
            $0.burstPackets = slice
            $0.burstInterval = interval
            // Every picture is gathered, so that it is there as a whole.
            $0.gatherMinPlayers = 1
            configure(&$0)
        }
        let log = WireLog(world)
        var settings = settings
        if settings.videoLength == nil { settings.videoLength = { 600 + ($1 * 7) % 13 } }
        let publisher = try world.addPublisher(settings: settings)
        try world.connect(publisher)
        let players = try (0..<count).map { _ in try world.addPlayer(of: publisher) }
        for player in players { try world.connect(player) }
        try world.run(for: .milliseconds(600))
        return (world, log, publisher, players)
    }

    /// Packets that came after `before`, in the order of their arrival.
    private static func news(_ track: ReceivedTrack, since before: Int) -> [ReceivedTrack.Packet] {
        track.packets.values.sorted { $0.order < $1.order }.suffix(max(0, track.packets.count - before))
    }

    /// How many came at which times after `start`, in milliseconds.
    private static func slices(_ packets: [ReceivedTrack.Packet], after start: Instant) -> [[Int64]] {
        var out: [[Int64]] = []
        for packet in packets {
            let at = (packet.at - start).milliseconds
            if out.last?[0] == at { out[out.count - 1][1] += 1 } else { out.append([at, 1]) }
        }
        return out
    }

    private static func expectEachOnce(_ player: PlayerCore, _ log: WireLog) {
        #expect(player.replays == 0 && player.video.duplicates == 0 && log.repeats == 0 && log.conflicts == [])
        #expect(player.video.violations == [] && player.video.holes == 0 && player.video.everMissing == 0)
        #expect(player.audio.violations == [] && player.audio.holes == 0)
    }

    @Test func aKeyFrameLeavesInSlicesInOrder() throws {
        let (world, log, publisher, players) = try Self.world()
        let (video, _) = try world.holdKeyFrame(of: publisher, packets: 33)
        #expect(video.count == 33)
        let before = players.map(\.video.packets.count)
        let start = world.now
        world.deliverTogether(video, from: publisher)
        try world.run(for: .milliseconds(100))
        for (player, count) in zip(players, before) {
            let news = Self.news(player.video, since: count)
            #expect(Self.slices(news, after: start) == [[10, 8], [15, 8], [20, 8], [25, 8], [30, 1]])
            #expect(news.compactMap { $0.part?.part } == Array(0..<33))
            Self.expectEachOnce(player, log)
        }
    }

    @Test func aPictureWithinTheBoundLeavesAtOnce() throws {
        let (world, log, publisher, players) = try Self.world()
        let (video, _) = try world.holdKeyFrame(of: publisher, packets: Self.slice)
        let before = players[0].video.packets.count
        let start = world.now
        world.deliverTogether(video, from: publisher)
        try world.run(for: .milliseconds(100))
        #expect(Self.slices(Self.news(players[0].video, since: before), after: start) == [[10, 8]])
        Self.expectEachOnce(players[0], log)
    }

    @Test func soundIsNotHeldByABurst() throws {
        let (world, log, publisher, players) = try Self.world()
        let (video, audio) = try world.holdKeyFrame(of: publisher, packets: 33)
        let before = players.map(\.audio.packets.count)
        world.deliverTogether(video, from: publisher)
        try world.run(for: .milliseconds(2))
        let start = world.now
        world.deliverTogether([audio], from: publisher)
        try world.run(for: .milliseconds(100))
        for (player, count) in zip(players, before) {
            #expect(Self.slices(Self.news(player.audio, since: count), after: start) == [[10, 1]])
            Self.expectEachOnce(player, log)
        }
    }

    @Test func soundKeepsItsPaceThroughALiveStreamOfBursts() throws {
        var settings = PublisherCore.Settings()
        settings.packetsOf = { _, isKey in isKey ? 100 : 10 }
        settings.keyFrameEvery = 20
        // A key frame takes 65 ms to leave, the next picture comes after 40.
        let (world, log, publisher, players) = try Self.world(settings: settings)
        try world.run(for: .seconds(3))
        publisher.isSending = false
        try world.run(for: .milliseconds(300))
        for player in players {
            let delays = player.audio.packets.values.compactMap { packet in
                packet.part.map { packet.at.nanoseconds - $0.capture }
            }
            let spread = Interval(nanoseconds: (delays.max() ?? 0) - (delays.min() ?? 0))
            #expect(delays.count > 150 && spread <= .milliseconds(1), "\(spread)")
            let numbers = player.video.packets.sorted { $0.value.order < $1.value.order }.map(\.key)
            #expect(numbers == numbers.sorted(), "out of order")
            #expect(player.video.packets.values.contains { $0.part?.serial == UInt32(publisher.sentVideo.count - 1) })
            Self.expectEachOnce(player, log)
        }
    }

    @Test func aPlayerThatJoinsDuringABurstGetsTheKeyFrameOnce() throws {
        let (world, log, publisher, players) = try Self.world { $0.groupCache = .milliseconds(500) }
        world.setPaused(true, players[1])
        let (video, _) = try world.holdKeyFrame(of: publisher, packets: 33)
        let before = players.map(\.video.packets.count)
        let start = world.now
        world.deliverTogether(video, from: publisher)
        try world.run(for: .milliseconds(2))
        world.setPaused(false, players[1])
        try world.run(for: .milliseconds(100))
        let first = Self.news(players[0].video, since: before[0])
        // The stored packets go out with what waits, so that nobody gets one of them twice.
        #expect(Self.slices(first, after: start) == [[10, 8], [13, 25]])
        #expect(Self.slices(Self.news(players[1].video, since: before[1]), after: start) == [[13, 33]])
        for (player, count) in zip(players, before) {
            let news = Self.news(player.video, since: count)
            #expect(news.compactMap { $0.part?.part } == Array(0..<33))
            Self.expectEachOnce(player, log)
        }
    }

    /// The packets behind it are in the ring, some of them on their way out: who waited gets each of them once.
    @Test(arguments: [0, 5, 30]) func aKeyFrameWithALateFirstPacketIsSentOnce(delay: Int64) throws {
        let (world, log, publisher, players) = try Self.world()
        for player in players { player.sendsNACK = false }
        world.setPaused(true, players[1])
        let (video, _) = try world.holdKeyFrame(of: publisher, packets: 33)
        world.setPaused(false, players[1])
        try world.run(for: .milliseconds(50))
        let before = players.map(\.video.packets.count)
        world.deliverTogether(Array(video.dropFirst()), from: publisher)
        try world.run(for: .milliseconds(delay))
        world.deliverTogether([video[0]], from: publisher)
        try world.run(for: .milliseconds(100))
        #expect(log.repeats == 0 && log.conflicts == [])
        for (player, count) in zip(players, before) {
            let parts = Self.news(player.video, since: count).compactMap { $0.part?.part }
            #expect(parts.sorted() == Array(0..<33))
            #expect(player.replays == 0 && player.video.duplicates == 0 && player.video.violations == [])
            #expect(player.video.holes == 0)
        }
    }

    @Test func whatOverflowsTheQueueLeavesWhole() throws {
        let (world, log, publisher, players) = try Self.world { $0.burstPackets = 1 }
        var datagrams: [[UInt8]] = []
        for _ in 0..<5 { datagrams += try world.holdKeyFrame(of: publisher, packets: 255).video }
        let before = players[0].video.packets.count
        #expect(datagrams.count > StreamState.maxPending)
        world.deliverTogether(datagrams, from: publisher)
        try world.run(for: .seconds(2))
        let news = Self.news(players[0].video, since: before)
        let serials = news.compactMap { $0.part?.serial }
        #expect(serials.count == datagrams.count, "\(serials.count) of \(datagrams.count)")
        #expect(serials == serials.sorted())
        Self.expectEachOnce(players[0], log)
    }
}
