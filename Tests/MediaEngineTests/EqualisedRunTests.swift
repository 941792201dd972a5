import MediaEngine
import Testing
import Wire

/// Pictures of packets that differ by a few bytes: padded so that they leave in one message, and unpadded again by who
/// receives them.
@Suite struct EqualisedRunTests {
    /// Payload lengths of a picture's packets.
    private static let uneven = [600, 598, 605, 611]

    private static func world(
        lengths: [Int], gso: Bool = true, takesRTX: Bool = true, playerWorker: Int = 0
    ) throws -> (World, WireLog, PublisherCore, PlayerCore) {
        let world = try World(seed: 1, workers: playerWorker + 1) {
            $0.gso = gso
            // Every picture is gathered.
            $0.gatherMinPlayers = 1
        }
        let log = WireLog(world)
        var settings = PublisherCore.Settings()
        settings.packetsPerFrame = lengths.count
        settings.videoLength = { lengths[$1] }
        let publisher = try world.addPublisher(settings: settings)
        try world.connect(publisher)
        let player = try world.addPlayer(of: publisher, worker: playerWorker, takesRTX: takesRTX)
        try world.connect(player)
        try world.run(for: .milliseconds(500))
        return (world, log, publisher, player)
    }

    private static func pictures(_ log: WireLog, _ player: PlayerCore) -> [WireLog.Message] {
        log.media(to: player).filter { $0.types.contains(TestIDs.videoType) }
    }

    @Test(arguments: [0, 1]) func aPictureOfUnevenPacketsIsOneMessage(worker: Int) throws {
        let (world, log, _, player) = try Self.world(lengths: Self.uneven, playerWorker: worker)
        log.forgetMessages()
        try world.run(for: .seconds(1))
        let messages = Self.pictures(log, player)
        // Sound of the same turn may be the message's shorter end.
        let pictures = messages.map { zip($0.datagrams, $0.types).filter { $1 == TestIDs.videoType }.map(\.0.count) }
        #expect((24...26).contains(pictures.count) && pictures.allSatisfy { $0.count == 4 })
        #expect(Set(pictures.joined()).count == 1)
        // What is received is what was sent, without the padding.
        let lengths = player.video.ordered.suffix(80).map(\.payload.count)
        #expect(Set(lengths) == Set(Self.uneven))
        #expect(player.padded > 3 * 24)
        #expect(player.video.violations == [] && player.video.holes == 0 && log.conflicts == [] && log.repeats == 0)
    }

    @Test func aShorterEndOfAPictureNeedsNoPadding() throws {
        let lengths = [600, 605, 598, 300]
        let (world, log, _, player) = try Self.world(lengths: lengths)
        log.forgetMessages()
        try world.run(for: .seconds(1))
        let sizes = Self.pictures(log, player).map { $0.datagrams.map(\.count) }
        #expect(
            !sizes.isEmpty && sizes.allSatisfy { $0.count == 4 && Set($0[..<3]).count == 1 && $0[3] == $0[0] - 305 })
        #expect(Set(player.video.ordered.suffix(80).map(\.payload.count)) == Set(lengths))
    }

    @Test func packetsOfDifferentSizesAreLeftAlone() throws {
        let (world, log, _, player) = try Self.world(lengths: [600, 640, 600, 640])
        log.forgetMessages()
        try world.run(for: .seconds(1))
        #expect(Self.pictures(log, player).count >= 3 * 24)
        #expect(player.padded == 0 && player.video.violations == [] && player.video.holes == 0)
    }

    @Test func withoutSegmentationNothingIsPadded() throws {
        let (world, log, _, player) = try Self.world(lengths: Self.uneven, gso: false)
        try world.run(for: .seconds(1))
        #expect(Self.pictures(log, player).allSatisfy { $0.datagrams.count == 1 })
        #expect(player.padded == 0 && player.video.packets.count > 100 && player.video.violations == [])
    }

    @Test(arguments: [0, 1]) func theLargestPacketsPassAndAreSentAgain(worker: Int) throws {
        // With a header of 24 bytes and a tag of 16 these fill a slot of the publisher's worker.
        let lengths = [2000, 2008, 1995, 2008]
        let (world, log, _, player) = try Self.world(lengths: lengths, playerWorker: worker)
        try world.run(for: .seconds(1))
        #expect(player.video.packets.count > 100 && player.padded > 50)
        let wanted = (0..<8).map { UInt16(truncatingIfNeeded: player.video.highest - 10 + $0) }
        player.sendNACK(wanted)
        try world.run(for: .milliseconds(100))
        #expect(player.video.duplicates == 8)
        #expect(player.video.violations == [] && player.video.holes == 0 && log.conflicts == [])
        #expect(Set(player.video.ordered.map(\.payload.count)) == Set(lengths))
    }

    @Test func aPaddedPacketIsSentAgainByteForByte() throws {
        let (world, log, _, player) = try Self.world(lengths: Self.uneven, takesRTX: false)
        var lost = 0
        world.dropDown(player) { datagram in
            guard WireLog.isRTP(datagram), datagram[0] & 0x20 != 0, lost < 20 else { return false }
            lost += 1
            return true
        }
        try world.run(for: .seconds(1))
        #expect(lost == 20)
        #expect(log.repeats >= 20 && log.conflicts == [])
        #expect(player.video.holes == 0 && player.video.violations == [] && player.abandoned == 0)
    }

    @Test func soundLeavesBehindThePicturesOfItsTurn() throws {
        let (world, log, publisher, player) = try Self.world(lengths: Self.uneven)
        let (video, audio) = try world.holdPicture(of: publisher)
        log.forgetMessages()
        world.deliverTogether([video[0], audio] + video[1...], from: publisher)
        let types = log.media(to: player).map(\.types)
        #expect(types == [[UInt8](repeating: TestIDs.videoType, count: 4) + [TestIDs.audioType]])
        try world.run(for: .milliseconds(50))
        #expect(player.video.holes == 0 && player.audio.holes == 0 && player.audio.violations == [])
    }

    /// Without RTX an answer has the index of the packet itself: were it given before the fan-out has decided on the
    /// padding, two different packets would leave under one.
    @Test(arguments: [false, true]) func aPacketThatWaitsForItsFanOutIsNotSentByARequest(takesRTX: Bool) throws {
        let (world, log, publisher, player) = try Self.world(lengths: Self.uneven, takesRTX: takesRTX)
        player.sendsNACK = false
        let (video, _) = try world.holdPicture(of: publisher)
        let highest = player.video.highest
        let before = player.video.packets.count
        // The two in the middle come late, and the player asks for them in that very moment.
        world.deliverTogether([video[0], video[3]], from: publisher)
        player.sendNACK([UInt16(truncatingIfNeeded: highest + 2), UInt16(truncatingIfNeeded: highest + 3)])
        let last = player.outgoing.popLast()
        let request = try #require(last)
        world.deliverTogether([(video[1], publisher), (video[2], publisher), (request, player)])
        try world.run(for: .milliseconds(100))
        #expect(log.conflicts == [] && log.repeats == 0)
        #expect(player.video.packets.count == before + 4 && player.video.holes == 0)
        #expect(player.replays == 0 && player.video.duplicates == 0 && player.video.violations == [])
    }
}
