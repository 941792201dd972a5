import MediaEngine
import RTP
import Testing
import Wire

/// What a worker tells of a peer: headers of the packets it holds, never their payload.
@Suite struct InspectionTests {
    @Test func aPublishersLatestHeadersAreShown() throws {
        let world = try World(seed: 1)
        let publisher = try world.addPublisher()
        try world.connect(publisher)
        try world.run(for: .milliseconds(800))
        let inspection = try #require(world.inspect(publisher.id, packets: 20))
        #expect(inspection.transports.map(\.isSecure) == [true])
        #expect(inspection.transports.allSatisfy { $0.path != nil && $0.silence.map { $0 < .seconds(1) } == true })
        #expect(inspection.tracks.count == 2 && inspection.tracks.allSatisfy { $0.packets.count == 20 && $0.isFlowing })
        for track in inspection.tracks {
            for packet in track.packets {
                let header = try RTPHeader(parsing: packet.header.span.bytes)
                #expect(header.headerLength == packet.header.count)
                #expect(header.sequence == packet.sequence && header.ssrc == track.ssrc)
                #expect(packet.age >= .zero && packet.age < .seconds(2) && packet.payloadLength > 0)
            }
            #expect(zip(track.packets, track.packets.dropFirst()).allSatisfy { $1.sequence &- $0.sequence == 1 })
        }
    }

    @Test func aPlayersNumbersAreThoseItWasSent() throws {
        let world = try World(seed: 2)
        let publisher = try world.addPublisher()
        try world.connect(publisher)
        try world.run(for: .milliseconds(300))
        let player = try world.addPlayer(of: publisher)
        try world.connect(player)
        try world.run(for: .milliseconds(900))
        let inspection = try #require(world.inspect(player.id, packets: 10))
        let track = try #require(inspection.tracks.first { $0.kind == .video })
        #expect(track.isFlowing && track.packets.count == 10)
        let got = Dictionary(
            player.video.packets.map { (UInt16(truncatingIfNeeded: $0.key), $0.value) }, uniquingKeysWith: { $1 })
        // The last ones may still be on their way.
        let arrived = track.packets.filter { got[$0.sequence] != nil }
        #expect(arrived.count >= 3)
        #expect(arrived.allSatisfy { got[$0.sequence]?.timestamp == $0.timestamp })
        #expect(arrived.allSatisfy { got[$0.sequence]?.payload.count == $0.payloadLength })
        #expect(track.packets.allSatisfy { $0.header.isEmpty })
    }

    @Test func nobodyIsToldAsNobody() throws {
        let world = try World(seed: 3)
        let publisher = try world.addPublisher()
        #expect(world.inspect(publisher.id, packets: 10) == nil)
        try world.connect(publisher)
        #expect(world.inspect(4_711, packets: 10) == nil)
        #expect(world.inspect(publisher.id, packets: 0)?.tracks.allSatisfy { $0.packets.isEmpty } == true)
    }
}

extension World {
    /// By whichever worker has the peer.
    func inspect(_ id: UInt64, packets: Int) -> PeerInspection? {
        workers.lazy.compactMap { $0.inspect(peer: id, packets: packets) }.first
    }
}
