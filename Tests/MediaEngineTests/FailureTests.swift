import ICE
import MediaEngine
import RTP
import Testing
import Wire

/// Ends that nobody ordered, the events that tell of them, and that others never notice.
@Suite struct FailureTests {
    private static func world(
        seed: UInt64, configure: (inout EngineConfiguration) -> Void = { _ in }
    ) throws -> (World, PublisherCore, [PlayerCore]) {
        let world = try World(seed: seed, configure: configure)
        let publisher = try world.addPublisher()
        try world.connect(publisher)
        let players = try (0..<2).map { _ in try world.addPlayer(of: publisher) }
        try world.connect(players[0], players[1])
        try world.run(for: .milliseconds(500))
        return (world, publisher, players)
    }

    private static func failures(_ world: World, of peer: PeerCore) -> [EngineFailure] {
        world.posted.compactMap { $0.failure(of: peer) }
    }

    @Test func eventsTellHowAPeerComesUp() throws {
        let (world, publisher, players) = try Self.world(seed: 1)
        func story(_ peer: PeerCore) -> [String] {
            world.posted.compactMap { event in
                switch event {
                case .iceConnected(peer.id): "ice"
                case .connected(peer.id): "connected"
                case .firstMedia(peer.id): "media"
                case .videoSize(peer.id, let size): "\(size.width)x\(size.height)"
                case .failed(peer.id, _): "failed"
                default: nil
                }
            }
        }
        #expect(story(publisher).prefix(2) == ["ice", "connected"])
        #expect(Set(story(publisher).dropFirst(2)) == ["media", "320x240"] && story(publisher).count == 4)
        #expect(story(players[0]) == ["ice", "connected"])
        #expect(world.counters.peers.load(ordering: .relaxed) == 3)
    }

    @Test func aPlayerWithoutChecksFailsAfterThirtySeconds() throws {
        let (world, publisher, players) = try Self.world(seed: 2)
        try world.run(for: .seconds(31))
        #expect(Self.failures(world, of: players[0]) == [], "checks keep a peer alive")
        players[0].isSilent = true
        let silent = world.now
        try world.run(for: .seconds(27))
        #expect(Self.failures(world, of: players[0]) == [])
        let before = players[1].video.packets.count
        while Self.failures(world, of: players[0]).isEmpty, world.now - silent < .seconds(32) {
            try world.run(for: .milliseconds(100))
        }
        #expect(Self.failures(world, of: players[0]) == [.iceKeepAlive])
        #expect(world.now - silent > .seconds(27) && world.now - silent < .milliseconds(30_300))
        try world.run(for: .seconds(1))
        #expect(players[1].video.packets.count > before + 100 && players[1].video.everMissing == 0)
        #expect(Self.failures(world, of: players[1]) == [] && Self.failures(world, of: publisher) == [])
        #expect(world.directory.find(peer: players[0].id) == nil)
    }

    @Test func aGoodbyeAloneEndsAPeerAtOnce() throws {
        let (world, publisher, players) = try Self.world(seed: 5)
        func expectGone(_ peer: PeerCore, left: Int) throws {
            peer.hangUp()
            #expect(peer.outgoing.count == 1, "one record")
            // The way to the engine takes 10 ms.
            try world.run(for: .milliseconds(30))
            #expect(Self.failures(world, of: peer) == [.transportClosed])
            #expect(world.counters.peers.load(ordering: .relaxed) == left)
            #expect(world.directory.find(peer: peer.id) == nil)
        }
        try expectGone(players[0], left: 2)
        let before = players[1].video.packets.count
        try world.run(for: .seconds(1))
        #expect(players[1].video.packets.count > before + 80 && players[1].video.everMissing == 0)
        #expect(Self.failures(world, of: players[1]) == [] && Self.failures(world, of: publisher) == [])
        try expectGone(publisher, left: 1)
    }

    @Test func aPeerThatNeverFinishesItsHandshakeTimesOut() throws {
        let world = try World(seed: 3)
        let publisher = try world.addPublisher()
        // Checks pass, DTLS does not.
        world.dropUp(publisher) { ($0.first ?? 0) >= 20 }
        try world.run(for: .seconds(1))
        publisher.isSilent = true
        try world.run(for: .seconds(31))
        #expect(Self.failures(world, of: publisher) == [.dtlsError("the handshake was not finished in time")])
        #expect(world.counters.peers.load(ordering: .relaxed) == 0)
    }

    @Test func aForeignCertificateIsRefused() throws {
        let world = try World(seed: 4)
        let publisher = try world.addPublisher(fingerprint: String(repeating: "AB:", count: 31) + "AB")
        try world.run(for: .seconds(1))
        #expect(Self.failures(world, of: publisher) == [.dtlsFingerprint])
        #expect(world.workers[0].peers.isEmpty && world.workers[0].streams.isEmpty)
    }

    @Test func aPublisherWithoutMediaFails() throws {
        let (world, publisher, _) = try Self.world(seed: 5) { $0.rtpTimeout = .seconds(6) }
        publisher.isSending = false
        try world.run(for: .milliseconds(5800))
        #expect(Self.failures(world, of: publisher) == [])
        try world.run(for: .milliseconds(500))
        #expect(Self.failures(world, of: publisher) == [.rtpActivity])
    }

    @Test func playersOfAPublisherThatIsGoneAreTold() throws {
        let (world, publisher, players) = try Self.world(seed: 6)
        let joining = try world.addPlayer(of: publisher)
        world.dropUp(joining) { ($0.first ?? 0) >= 20 }
        try world.run(for: .milliseconds(200))
        world.close(publisher)
        try world.run(for: .seconds(4))
        #expect(publisher.isClosed)
        // The control side has the first word; the engine ends players that it has forgotten.
        #expect(players.allSatisfy { Self.failures(world, of: $0) == [] })
        try world.run(for: .seconds(2))
        #expect(Self.failures(world, of: publisher) == [], "an end that was ordered is no news")
        for player in players {
            #expect(Self.failures(world, of: player) == [.error("the stream ended")])
            #expect(player.isClosed)
        }
        // One that was still in its handshake learns it when that is done.
        world.dropUp(joining, nil)
        let end = world.now + .seconds(5)
        while world.now < end, Self.failures(world, of: joining).isEmpty { try world.run(for: .milliseconds(10)) }
        #expect(Self.failures(world, of: joining).count == 1)
        #expect(world.workers[0].peers.isEmpty && world.workers[0].streams.isEmpty)
    }

    @Test func aClosedPlayerGetsGoodbyeAndLeavesNothingBehind() throws {
        let (world, publisher, players) = try Self.world(seed: 7)
        world.close(players[0])
        try world.run(for: .milliseconds(100))
        #expect(players[0].isClosed && !players[1].isClosed)
        let got = players[0].video.packets.count
        let before = players[1].video.packets.count
        try world.run(for: .seconds(1))
        #expect(players[0].video.packets.count == got)
        #expect(players[1].video.packets.count == before + 100 && players[1].video.everMissing == 0)
        #expect(Self.failures(world, of: players[0]) == [])
        world.close(players[1])
        world.close(publisher)
        try world.run(for: .milliseconds(200))
        #expect(world.workers[0].peers.isEmpty && world.workers[0].streams.isEmpty)
        #expect(world.workers[0].slab.slotsInUse == 0)
        #expect(world.counters.peers.load(ordering: .relaxed) == 0)
    }

    @Test func packetsOfUnknownAddressesAreCountedAndDropped() throws {
        let (world, publisher, _) = try Self.world(seed: 8)
        let before = world.counters.unknownSource.value
        for first in [0x16, 0x80, 0xc8] as [UInt8] {
            world.inject([first] + [UInt8](repeating: 0, count: 60), from: SocketAddress(ipv4: 0x0909_0909, port: 9))
        }
        #expect(world.counters.unknownSource.value == before + 3)
        #expect(world.workers[0].peers.count == 3)
        // A check with the right name and a wrong password claims nothing.
        let stranger = try world.addPlayer(of: publisher, wrongPassword: true)
        try world.run(for: .milliseconds(500))
        #expect(world.workers[0].peers.count == 3)
        #expect(!stranger.stunErrors.isEmpty && Set(stranger.stunErrors) == [401])
        #expect(world.counters.stunRejected.value >= 5)
    }

    @Test func aWrongTagIsCountedAndChangesNothing() throws {
        let (world, publisher, players) = try Self.world(seed: 9)
        publisher.isSending = false
        try world.run(for: .milliseconds(100))
        publisher.resume(now: world.now)
        publisher.tick(now: world.now)
        let media = publisher.outgoing.filter { $0[0] >= 128 && $0.count > 120 }
        publisher.outgoing = []
        publisher.isSending = false
        let packets = players[0].video.packets.count
        world.deliverTogether(
            media.map { datagram in
                var broken = datagram
                broken[broken.count - 1] ^= 1
                return broken
            }, from: publisher)
        #expect(world.counters.authenticationFailed.value == UInt64(media.count) && media.count >= 3)
        try world.run(for: .milliseconds(50))
        #expect(players[0].video.packets.count == packets)
        world.deliverTogether(media + media, from: publisher)
        #expect(world.counters.replayed.value == UInt64(media.count))
        try world.run(for: .milliseconds(50))
        #expect(players[0].video.packets.count == packets + media.count)
    }
}
