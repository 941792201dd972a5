import MediaEngine
import RTP
import Testing
import Wire

/// Proof 3 of issue 2: a link in virtual time that loses, reorders and duplicates, between a publisher core, the
/// engine, and player cores.
@Suite struct LossyLinkTests {
    static let seeds: [UInt64] = [1, 2, 3, 4, 5, 6, 7, 8]
    /// Media under impaired links, then time for the last retransmissions.
    static let duration = Interval.seconds(8)
    static let drain = Interval.milliseconds(1500)

    /// A world with one publisher and players, connected over perfect links, then impaired.
    static func world(
        seed: UInt64, players count: Int, settings: PublisherCore.Settings = .init(), up: LinkConditions,
        down: LinkConditions, takesRTX: Bool = true
    ) throws -> (World, PublisherCore, [PlayerCore]) {
        let world = try World(seed: seed)
        let publisher = try world.addPublisher(settings: settings)
        try world.connect(publisher)
        var players: [PlayerCore] = []
        for _ in 0..<count { players.append(try world.addPlayer(of: publisher, takesRTX: takesRTX)) }
        for player in players { try world.connect(player) }
        try world.run(for: .milliseconds(200))
        world.impair(publisher, up: up, down: down)
        for player in players { world.impair(player, up: up, down: down) }
        return (world, publisher, players)
    }

    /// Sends for `duration`, then lets the last packets be repaired over clean links: nothing after the end of a
    /// stream would show the loss of its last packet.
    static func play(_ world: World, _ publisher: PublisherCore, _ players: [PlayerCore]) throws {
        try world.run(for: duration)
        for peer in [publisher] + players { world.impair(peer, up: .perfect, down: .perfect) }
        try world.run(for: .milliseconds(300))
        publisher.isSending = false
        try world.run(for: drain)
    }

    @Test(arguments: seeds) func everythingIsRecovered(seed: UInt64) throws {
        let (world, publisher, players) = try Self.world(seed: seed, players: 3, up: .bad, down: .bad)
        try Self.play(world, publisher, players)
        #expect((world.uplinks[publisher.id]?.lost ?? 0) > 20, "the link lost nothing: the test proves nothing")
        for player in players {
            #expect(player.video.violations == [] && player.audio.violations == [])
            #expect(player.video.holes == 0)
            #expect(player.abandoned == 0)
            #expect(player.unknownSources == 0)
            let serials = player.video.ordered.compactMap { $0.part?.serial }
            let first = try #require(serials.first)
            // In the player's numbering: every packet of the publisher, once, in order, up to the last.
            #expect(serials == Array(first..<UInt32(publisher.sentVideo.count)), "\(serials.count) packets")
            #expect(player.video.packets.values.contains { $0.isRetransmission })
            let frames = player.video.wholeFrames
            #expect(frames == Array((frames.first ?? 0)...UInt32(publisher.sentVideo.last?.frame ?? 0)))
        }
    }

    @Test(arguments: seeds) func recoveryStaysWithinTheWindow(seed: UInt64) throws {
        let (world, publisher, players) = try Self.world(seed: seed, players: 3, up: .bad, down: .bad)
        try Self.play(world, publisher, players)
        for player in players {
            // From capture to arrival, the losses of both links repaired. The publisher's start is not known here,
            // but the fastest packet is.
            let delays = player.video.packets.values.compactMap { packet in
                packet.part.map { packet.at.nanoseconds - $0.capture }
            }
            let fastest = try #require(delays.min())
            let slowest = try #require(delays.max())
            #expect(Interval(nanoseconds: slowest - fastest) < .milliseconds(800))
            let late = delays.filter { Interval(nanoseconds: $0 - fastest) > .milliseconds(300) }.count
            #expect(Double(late) < 0.01 * Double(delays.count), "\(late) of \(delays.count) came after 300 ms")
        }
    }

    @Test(arguments: seeds) func requestsStayInProportionToLosses(seed: UInt64) throws {
        let (world, publisher, players) = try Self.world(seed: seed, players: 3, up: .bad, down: .bad)
        try Self.play(world, publisher, players)
        // One datagram in 20; some requests are lost in their turn, and some go for what is only late.
        let lost = try #require(world.uplinks[publisher.id]?.lost)
        let asked = publisher.nackedNumbers
        #expect(asked > 20 && asked < 2 * lost, "\(asked) numbers for \(lost) losses")
        #expect(publisher.unknownNacks == 0)
        // A request that the link held back may come close before the next.
        #expect(publisher.hastyNacks <= 2, "\(publisher.hastyNacks) asked again before an answer could have come")
        #expect(publisher.plis.count <= 3, "\(publisher.plis.count) key-frame requests")
        for player in players {
            let missing = player.video.everMissing
            #expect(player.plisSent == 0)
            #expect(player.nackedNumbers < 3 * missing, "\(player.nackedNumbers) for \(missing)")
            let again = world.registrations[player.id]?.counters.packetsRetransmitted.value ?? 0
            #expect(again > 0 && Int(again) <= player.nackedNumbers)
        }
    }

    @Test(arguments: seeds) func playersWithoutRTXRecoverToo(seed: UInt64) throws {
        let (world, publisher, players) = try Self.world(
            seed: seed, players: 2, up: .bad, down: .bad, takesRTX: false)
        try Self.play(world, publisher, players)
        for player in players {
            #expect(player.video.violations == [])
            #expect(player.video.holes == 0 && player.abandoned == 0)
            #expect(!player.video.packets.values.contains { $0.isRetransmission })
        }
    }

    @Test(arguments: [20_000, 65_500, 65_535, 0, 32_767] as [UInt16])
    func thePublishersNumbersMayWrap(first: UInt16) throws {
        var settings = PublisherCore.Settings()
        settings.firstVideoSequence = first
        settings.firstAudioSequence = first
        let (world, publisher, players) = try Self.world(
            seed: UInt64(first), players: 2, settings: settings, up: .bad, down: .bad)
        try Self.play(world, publisher, players)
        for player in players {
            #expect(player.video.violations == [] && player.audio.violations == [])
            #expect(player.video.holes == 0)
            let serials = player.video.ordered.compactMap { $0.part?.serial }
            #expect(serials == Array((serials.first ?? 0)..<UInt32(publisher.sentVideo.count)))
        }
    }

    @Test func aPerfectLinkCausesNoRequests() throws {
        let (world, publisher, players) = try Self.world(seed: 9, players: 2, up: .perfect, down: .perfect)
        try Self.play(world, publisher, players)
        #expect(publisher.nackMessages == 0)
        // One for each player that joined, merged.
        #expect((1...2).contains(publisher.plis.count))
        for player in players {
            #expect(player.video.everMissing == 0 && player.audio.everMissing == 0)
            #expect(player.video.violations == [] && player.audio.violations == [])
            #expect(player.video.duplicates == 0 && player.replays == 0)
        }
    }

    @Test func theSameSeedGivesTheSameResult() throws {
        func once() throws -> [Int] {
            let (world, publisher, players) = try Self.world(seed: 77, players: 2, up: .bad, down: .bad)
            try Self.play(world, publisher, players)
            return [
                publisher.nackedNumbers, publisher.retransmitted, players[0].nackedNumbers, players[1].nackedNumbers,
                players[0].video.packets.count, players[0].video.duplicates,
            ]
        }
        #expect(try once() == once())
    }
}
