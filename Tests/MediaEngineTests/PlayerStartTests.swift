import MediaEngine
import RTP
import Testing
import Wire

/// How players come into a stream, leave it for a while and come back: always at a key frame, never with a gap.
@Suite struct PlayerStartTests {
    private static func world(
        seed: UInt64, settings: PublisherCore.Settings = .init(),
        configure: (inout EngineConfiguration) -> Void = { _ in }
    ) throws -> (World, PublisherCore) {
        let world = try World(seed: seed, configure: configure)
        let publisher = try world.addPublisher(settings: settings)
        try world.connect(publisher)
        try world.run(for: .milliseconds(500))
        return (world, publisher)
    }

    @Test(arguments: [1, 2, 3, 4, 5] as [UInt64]) func aPlayerStartsAtAKeyFrameBelowHalfTheNumbers(seed: UInt64) throws
    {
        let (world, publisher) = try Self.world(seed: seed)
        let player = try world.addPlayer(of: publisher)
        try world.connect(player)
        try world.run(for: .milliseconds(1000))
        let first = try #require(player.video.ordered.first)
        #expect(first.part?.isKey == true && first.part?.part == 0)
        let number = try #require(player.video.first)
        // The unwrapper puts the first number one roll-over above zero.
        #expect((0x1_0000..<0x1_8000).contains(number))
        #expect(player.video.holes == 0 && player.video.everMissing == 0)
        #expect(player.audio.holes == 0 && player.audio.packets.count > 40)
        #expect(player.video.violations == [] && player.audio.violations == [])
    }

    @Test func aLateJoinerGetsAKeyFrameByOneRequest() throws {
        let (world, publisher) = try Self.world(seed: 1)
        let before = publisher.plis.count
        let player = try world.addPlayer(of: publisher)
        try world.connect(player)
        let joined = world.now
        try world.run(for: .milliseconds(1000))
        #expect(publisher.plis.count == before + 1)
        let first = try #require(player.video.ordered.first)
        // Two links of 10 ms there and back, and one frame interval.
        #expect(first.at - joined < .milliseconds(110))
    }

    @Test func requestsOfTenJoiningPlayersAreMerged() throws {
        let (world, publisher) = try Self.world(seed: 2)
        let before = publisher.plis.count
        let players = try (0..<10).map { _ in try world.addPlayer(of: publisher) }
        for player in players { try world.connect(player) }
        try world.run(for: .milliseconds(1500))
        #expect(players.allSatisfy { $0.video.ordered.first?.part?.isKey == true })
        #expect((1...2).contains(publisher.plis.count - before), "\(publisher.plis.count - before) requests")
    }

    @Test func requestsOfPlayersAreThrottled() throws {
        let (world, publisher) = try Self.world(seed: 3)
        let player = try world.addPlayer(of: publisher)
        try world.connect(player)
        try world.run(for: .milliseconds(1000))
        let before = publisher.plis.count
        for _ in 0..<200 {
            player.sendPLI(now: world.now, evenIfRecent: true)
            try world.run(for: .milliseconds(5))
        }
        let count = publisher.plis.count - before
        // One second at one request in 300 ms.
        #expect((3...4).contains(count), "\(count) requests for 200")
        let gaps = zip(publisher.plis, publisher.plis.dropFirst()).map { $1 - $0 }
        #expect(gaps.allSatisfy { $0 >= .milliseconds(299) })
    }

    @Test func aRequestThatCameTooSoonIsMadeWhenItMay() throws {
        let (world, publisher) = try Self.world(seed: 11)
        let player = try world.addPlayer(of: publisher)
        try world.connect(player)
        try world.run(for: .milliseconds(1000))
        player.sendPLI(now: world.now, evenIfRecent: true)
        try world.run(for: .milliseconds(150))
        let answered = publisher.keyFrames.count
        let asked = publisher.plis.count
        // The key frame that has just come is lost to the player, too.
        player.sendPLI(now: world.now, evenIfRecent: true)
        try world.run(for: .milliseconds(100))
        #expect(publisher.plis.count == asked, "too soon")
        try world.run(for: .milliseconds(250))
        #expect(publisher.plis.count == asked + 1 && publisher.keyFrames.count == answered + 1)
    }

    @Test func withoutAKeyFrameNoPictureLeavesAndTheRequestIsRepeated() throws {
        var settings = PublisherCore.Settings()
        settings.answersPLI = false
        let (world, publisher) = try Self.world(seed: 4, settings: settings) { $0.groupCachePackets = 0 }
        // The publisher's only key frame leaves the ring.
        try world.run(for: .seconds(3))
        let player = try world.addPlayer(of: publisher)
        try world.connect(player)
        let before = publisher.plis.count
        try world.run(for: .milliseconds(4500))
        #expect(player.video.packets.isEmpty)
        #expect(player.audio.packets.count > 200, "sound does not wait for pictures")
        #expect((4...6).contains(publisher.plis.count - before))
        publisher.settings.answersPLI = true
        try world.run(for: .milliseconds(1500))
        #expect(player.video.ordered.first?.part?.isKey == true)
        #expect(player.video.everMissing == 0)
    }

    @Test(arguments: [1, 2, 3] as [UInt64]) func theGateHoldsUnderHeavyLoss(seed: UInt64) throws {
        let (world, publisher) = try Self.world(seed: seed)
        var heavy = LinkConditions.bad
        heavy.loss = 0.2
        world.impair(publisher, up: heavy, down: heavy)
        let start = world.now
        let before = publisher.plis.count
        var players: [PlayerCore] = []
        for _ in 0..<5 {
            let player = try world.addPlayer(of: publisher)
            try world.connect(player)
            players.append(player)
            try world.run(for: .milliseconds(700))
        }
        let seconds = (world.now - start).seconds
        #expect(Double(publisher.plis.count - before) <= seconds / 0.3 + 1)
        world.impair(publisher, up: .perfect, down: .perfect)
        try world.run(for: .seconds(2))
        for player in players {
            #expect(player.video.ordered.first?.part?.isKey == true)
            #expect(player.video.ordered.first?.part?.part == 0)
            #expect(player.video.violations == [])
            #expect((player.video.wholeFrames.last ?? 0) + 10 >= publisher.sentVideo.last?.frame ?? 0)
        }
    }

    @Test func aLostFirstPacketOfTheKeyFrameCostsNothingOfTheRest() throws {
        let (world, publisher) = try Self.world(seed: 5)
        let player = try world.addPlayer(of: publisher)
        try world.connect(player)
        // Media packets of the key frame that answers this player's request: only the first is lost.
        var remaining = 1
        let keyFrames = publisher.keyFrames.count
        world.dropUp(publisher) { [unowned publisher] datagram in
            guard publisher.keyFrames.count > keyFrames, datagram.count > 120, remaining > 0 else { return false }
            remaining -= 1
            return true
        }
        try world.run(for: .milliseconds(1000))
        #expect(remaining == 0, "nothing was lost: the test proves nothing")
        let key = try #require(player.video.ordered.first)
        #expect(key.part?.isKey == true && key.part?.part == 0)
        #expect(player.video.holes == 0)
        #expect(player.nackedNumbers == 0, "the engine holds the rest of the picture and need not be asked for it")
    }

    @Test func aYoungKeyFrameOfTheCacheStartsAPlayerAtOnce() throws {
        var settings = PublisherCore.Settings()
        settings.keyFrameEvery = 1_000
        let (world, publisher) = try Self.world(seed: 6, settings: settings) { $0.groupCache = .milliseconds(500) }
        let early = try world.addPlayer(of: publisher)
        try world.connect(early)
        try world.run(for: .milliseconds(100))
        let before = publisher.plis.count
        let late = try world.addPlayer(of: publisher)
        try world.connect(late)
        let joined = world.now
        try world.run(for: .milliseconds(1000))
        #expect(publisher.plis.count == before)
        let first = try #require(late.video.ordered.first)
        #expect(first.part?.isKey == true)
        #expect(first.at - joined < .milliseconds(25))
        for player in [early, late] {
            #expect(player.video.violations == [] && player.video.duplicates == 0)
            #expect(player.video.holes == 0 && player.video.everMissing == 0)
        }
    }

    @Test func aPauseLeavesNoGapAndEndsWithAKeyFrame() throws {
        let (world, publisher) = try Self.world(seed: 7)
        let player = try world.addPlayer(of: publisher)
        let other = try world.addPlayer(of: publisher)
        try world.connect(player, other)
        try world.run(for: .milliseconds(1000))
        world.setPaused(true, player)
        try world.run(for: .milliseconds(50))
        let counts = (player.video.packets.count, player.audio.packets.count)
        let highest = player.video.highest
        try world.run(for: .seconds(2))
        #expect(player.video.packets.count == counts.0 && player.audio.packets.count == counts.1)
        world.setPaused(false, player)
        try world.run(for: .seconds(1))
        let next = try #require(player.video.packets[highest + 1])
        #expect(next.part?.isKey == true && next.part?.part == 0)
        for peer in [player, other] {
            #expect(peer.video.holes == 0 && peer.video.everMissing == 0)
            #expect(peer.audio.holes == 0 && peer.audio.everMissing == 0)
            #expect(peer.video.violations == [] && peer.audio.violations == [])
        }
        let serials = other.video.ordered.compactMap { $0.part?.serial }
        #expect(serials == Array((serials.first ?? 0)..<(serials.last ?? 0) + 1), "the other player noticed the pause")
    }

    @Test func aRequestForPacketsFromBeforeAPauseIsNotAnsweredWithOthers() throws {
        let (world, publisher) = try Self.world(seed: 8)
        let player = try world.addPlayer(of: publisher)
        try world.connect(player)
        try world.run(for: .milliseconds(500))
        world.setPaused(true, player)
        try world.run(for: .milliseconds(300))
        world.setPaused(false, player)
        let old = (0..<20).map { UInt16(truncatingIfNeeded: player.video.highest - $0) }
        try world.run(for: .milliseconds(300))
        player.sendNACK(old.reversed())
        try world.run(for: .milliseconds(300))
        #expect(player.video.violations == [])
    }

    @Test func mutedPicturesGoOnWithoutAGap() throws {
        let (world, publisher) = try Self.world(seed: 9)
        let player = try world.addPlayer(of: publisher)
        try world.connect(player)
        try world.run(for: .milliseconds(500))
        publisher.videoIsMuted = true
        let sounds = player.audio.packets.count
        try world.run(for: .seconds(3))
        #expect(player.audio.packets.count >= sounds + 145)
        publisher.videoIsMuted = false
        try world.run(for: .milliseconds(500))
        #expect(player.video.holes == 0 && player.video.everMissing == 0)
        let packets = player.video.ordered
        // The time that passed shows in the timestamps, and nowhere else.
        let steps = zip(packets, packets.dropFirst()).map { $1.timestamp &- $0.timestamp }
        #expect(steps.filter { $0 > 90_000 }.count == 1)
        let first = packets[0].part?.serial ?? 0
        #expect(packets.map { $0.part?.serial } == packets.indices.map { first + UInt32($0) })
    }

    @Test func aPublisherThatFallsSilentAndComesBackIsFollowed() throws {
        let (world, publisher) = try Self.world(seed: 10)
        let player = try world.addPlayer(of: publisher)
        try world.connect(player)
        try world.run(for: .milliseconds(500))
        publisher.isSending = false
        try world.run(for: .seconds(5))
        publisher.resume(now: world.now)
        try world.run(for: .milliseconds(500))
        #expect(player.video.holes == 0 && player.audio.holes == 0)
        let offsets = player.video.ordered.map { packet in
            packet.timestamp &- UInt32(truncatingIfNeeded: (packet.part?.capture ?? 0) / 1000 * 90_000 / 1_000_000)
        }
        #expect(Set(offsets).count == 1, "timestamps keep their relation to capture times")
    }
}
