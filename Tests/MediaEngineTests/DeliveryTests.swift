import MediaEngine
import Testing
import Wire

/// Random pictures and sound through every way that packets are gathered, cut and padded: each player gets every
/// payload once and in order, and no SRTP index serves two packets.
@Suite struct DeliveryTests {
    struct Way: Sendable, CustomTestStringConvertible {
        var burst: Int
        var gatherFrom: Int
        var gso = true
        var testDescription: String { "burst \(burst), gathers from \(gatherFrom), GSO \(gso)" }
    }
    private static let ways = [
        Way(burst: 0, gatherFrom: 1000), Way(burst: 0, gatherFrom: 1), Way(burst: 0, gatherFrom: 1, gso: false),
        Way(burst: 8, gatherFrom: 1), Way(burst: 1, gatherFrom: 1), Way(burst: 8, gatherFrom: 1000),
    ]
    private static let seeds: [UInt64] = [1, 2, 3]

    /// Sizes in clusters: pictures of one size, of nearly one, and of any.
    private static func settings(seed: UInt64) -> PublisherCore.Settings {
        func random(_ salt: UInt64, _ a: UInt32, _ b: Int) -> SeededRandom {
            SeededRandom(seed: seed << 56 ^ salt << 48 ^ UInt64(a) << 16 ^ UInt64(b))
        }
        var settings = PublisherCore.Settings()
        settings.keyFrameEvery = 13
        settings.packetsOf = { frame, isKey in
            var random = random(1, frame, 0)
            return Int.random(in: isKey ? 10...40 : 1...9, using: &random)
        }
        settings.videoLength = { frame, part in
            var ofFrame = random(2, frame, 0)
            var ofPart = random(3, frame, part + 1)
            let base = Int.random(in: TestMedia.minLength...1900, using: &ofFrame)
            let spread = [0, 3, 16, 17, 100][Int.random(in: 0..<5, using: &ofFrame)]
            return base + Int.random(in: 0...spread, using: &ofPart)
        }
        settings.audioLength = { frame in
            var random = random(4, frame, 0)
            return Int.random(in: TestMedia.minLength...200, using: &random)
        }
        return settings
    }

    private static func world(
        _ way: Way, seed: UInt64
    ) throws -> (World, WireLog, PublisherCore, [PlayerCore]) {
        let world = try World(seed: seed, workers: 2) {
            $0.burstPackets = way.burst
            $0.burstInterval = .milliseconds(1)
            $0.gatherMinPlayers = way.gatherFrom
            $0.gso = way.gso
        }
        let log = WireLog(world)
        let publisher = try world.addPublisher(settings: settings(seed: seed))
        try world.connect(publisher)
        var players: [PlayerCore] = []
        for (worker, takesRTX) in [(0, true), (0, false), (1, true), (1, false)] {
            players.append(try world.addPlayer(of: publisher, worker: worker, takesRTX: takesRTX))
        }
        for player in players { try world.connect(player) }
        return (world, log, publisher, players)
    }

    @Test(arguments: ways, seeds) func everyPayloadArrivesOnceAndInOrder(way: Way, seed: UInt64) throws {
        let (world, log, publisher, players) = try Self.world(way, seed: seed)
        try world.run(for: .seconds(4))
        publisher.isSending = false
        try world.run(for: .milliseconds(500))
        #expect(log.conflicts == [] && log.repeats == 0)
        for player in players {
            for (track, sent) in [(player.video, publisher.sentVideo), (player.audio, publisher.sentAudio)] {
                let arrived = track.packets.values.sorted { $0.order < $1.order }.compactMap { $0.part?.serial }
                let first = try #require(arrived.first)
                let isWhole = arrived == Array(first..<UInt32(sent.count))
                #expect(isWhole && arrived.count > 150, "\(arrived.count) of \(sent.count)")
                #expect(track.violations == [] && track.duplicates == 0)
            }
            #expect(player.replays == 0)
        }
        #expect(way.gso && way.gatherFrom == 1 && way.burst != 1 ? players[0].padded > 50 : true)
    }

    @Test(arguments: [ways[1], ways[3]], seeds) func losingLinksMakeNoTwoPacketsOfOneIndex(
        way: Way, seed: UInt64
    ) throws {
        let (world, log, publisher, players) = try Self.world(way, seed: seed)
        try world.run(for: .milliseconds(300))
        for peer in [publisher] + players { world.impair(peer, up: .bad, down: .bad) }
        try world.run(for: .seconds(4))
        for peer in [publisher] + players { world.impair(peer, up: .perfect, down: .perfect) }
        try world.run(for: .milliseconds(300))
        publisher.isSending = false
        try world.run(for: .milliseconds(1500))
        #expect(log.conflicts == [] && log.repeats > 20)
        for player in players {
            let serials = player.video.ordered.compactMap { $0.part?.serial }
            let first = try #require(serials.first)
            let isWhole = serials == Array(first..<UInt32(publisher.sentVideo.count))
            #expect(isWhole, "\(serials.count) from \(first) of \(publisher.sentVideo.count)")
            #expect(player.video.violations == [] && player.audio.violations == [] && player.abandoned == 0)
        }
    }
}
