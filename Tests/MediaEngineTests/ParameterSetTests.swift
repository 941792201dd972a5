import MediaEngine
import RTP
import Testing
import Wire

/// H264 publishers that tell their parameter sets in SDP alone: players get them before every key frame.
@Suite struct ParameterSetTests {
    /// SPS of 640x480 constrained baseline, and a PPS.
    private static let sets = "Z0LAHtoCgPaEAAADAAQAAAMA8jxYuoA=,aM4PLIA="

    private static func settings() -> PublisherCore.Settings {
        var settings = PublisherCore.Settings()
        settings.parameterSets = sets
        return settings
    }

    /// Kinds of the packets of every key frame in order: 7 and 8 are parameter sets, 5 a slice of the picture.
    private static func keyFrames(_ player: PlayerCore) -> [[UInt8]] {
        var pictures: [(timestamp: UInt32, kinds: [UInt8])] = []
        for packet in player.video.ordered {
            let kind = (packet.payload.first ?? 0) & 0x1f
            guard kind != 1 else { continue }
            if pictures.last?.timestamp == packet.timestamp {
                pictures[pictures.count - 1].kinds.append(kind)
            } else {
                pictures.append((packet.timestamp, [kind]))
            }
        }
        return pictures.map(\.kinds)
    }

    @Test func everyKeyFrameIsPrecededByTheSetsOfTheSDP() throws {
        let world = try World(seed: 1)
        let publisher = try world.addPublisher(settings: Self.settings())
        try world.connect(publisher)
        var players: [PlayerCore] = []
        for _ in 0..<3 {
            players.append(try world.addPlayer(of: publisher))
            try world.connect(players[players.count - 1])
            try world.run(for: .milliseconds(1200))
        }
        for (i, player) in players.enumerated() {
            let pictures = Self.keyFrames(player)
            #expect(pictures.count == 3 - i)
            #expect(pictures.allSatisfy { $0 == [7, 8, 5, 5, 5, 5] }, "\(pictures)")
            #expect(player.video.violations == [] && player.video.holes == 0 && player.video.everMissing == 0)
        }
    }

    @Test(arguments: [1, 2, 3, 4, 5, 6] as [UInt64]) func insertedPacketsAreRepairedLikeOthers(seed: UInt64) throws {
        var settings = Self.settings()
        settings.keyFrameEvery = 10
        settings.paddingEvery = 7
        let (world, publisher, players) = try LossyLinkTests.world(
            seed: seed, players: 2, settings: settings, up: .bad, down: .bad)
        try LossyLinkTests.play(world, publisher, players)
        for player in players {
            #expect(player.video.violations == [] && player.video.holes == 0 && player.abandoned == 0)
            let serials = player.video.ordered.compactMap { $0.part?.serial }
            #expect(serials == Array((serials.first ?? 0)..<UInt32(publisher.sentVideo.count)))
            #expect(Self.keyFrames(player).count >= 19)
        }
    }
}
