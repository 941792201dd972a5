import MediaEngine
import MediaFormats
import MediaTaps
import SDP
import TestSupport
import Testing
import Wire

/// From a publisher to its packets in order over real threads: a source inside the process, a worker, the reader.
@Suite(.timeLimit(.minutes(5))) struct PacketReaderTests {
    @Test func packetsComeUntouchedAndInOrder() async throws {
        let world = try World()
        defer { world.stop() }
        let packets = Packets()
        let source = try world.publish(1)
        _ = try #require(world.packets.tap(publisher: 1) { _ in packets })
        // A turn of the worker's is far less than what a track keeps.
        for first in stride(from: 0, to: 500, by: 50) {
            for number in first..<first + 50 { try send(number, from: source) }
            source.flush()
            try await packets.state.wait { $0.got.count == first + 50 }
        }
        let got = packets.state.value.got
        #expect(got.map(\.payload) == (0..<500).map(World.payload))
        #expect(zip(got, got.dropFirst()).allSatisfy { $1.number == $0.number + 1 })
        #expect(got.map(\.timestamp).first == got.map(\.timestamp).last.map { $0 &- 499 * 160 })
        #expect(packets.state.value.flushes > 0)
    }

    @Test func whatIsSentAgainComesInItsPlace() async throws {
        let world = try World()
        defer { world.stop() }
        let packets = Packets()
        let source = try world.publish(1)
        _ = try #require(world.packets.tap(publisher: 1) { _ in packets })
        for number in [0, 1, 2] { try send(number, from: source) }
        source.flush()
        try await packets.state.wait { $0.got.count == 3 }
        for number in [5, 4, 6, 3, 7] { try send(number, from: source) }
        source.flush()
        try await packets.state.wait { $0.got.count == 8 }
        #expect(packets.state.value.got.map(\.payload) == (0..<8).map(World.payload))
        #expect(packets.state.value.losses == 0)
    }

    @Test func whatNeverComesIsNotWaitedForForEver() async throws {
        let world = try World()
        defer { world.stop() }
        let packets = Packets()
        let source = try world.publish(1)
        _ = try #require(world.packets.tap(publisher: 1) { _ in packets })
        for number in [0, 1, 4, 5] { try send(number, from: source) }
        source.flush()
        try await packets.state.wait { $0.got.count == 4 }
        // Too late: what was behind it has been passed on.
        for number in [2, 6] { try send(number, from: source) }
        source.flush()
        try await packets.state.wait { $0.got.count == 5 }
        let got = packets.state.value.got
        #expect(got.map(\.payload) == [0, 1, 4, 5, 6].map(World.payload))
        #expect(got.map { $0.number - got[0].number } == [0, 1, 4, 5, 6])
        #expect(packets.state.value.losses == 1)
    }

    @Test func aTapEndsWithItsPublisherItsCancellationAndTheReader() async throws {
        let world = try World()
        let all = [Packets(), Packets(), Packets()]
        for id in 1...3 { _ = try world.publish(UInt64(id)) }
        _ = try #require(world.packets.tap(publisher: 1) { _ in all[0] })
        let tap = try #require(world.packets.tap(publisher: 2) { _ in all[1] })
        _ = try #require(world.packets.tap(publisher: 3) { _ in all[2] })
        world.engine.close(peer: 1)
        try await all[0].state.wait { $0.ends == 1 }
        tap.cancel()
        tap.cancel()
        try await all[1].state.wait { $0.ends == 1 }
        #expect(all[2].state.value.ends == 0)
        world.packets.stop()
        #expect(all.allSatisfy { $0.state.value.ends == 1 } && world.packets.count == 0)
        #expect(world.packets.tap(publisher: 3) { _ in Packets() } == nil)
        world.stop()
    }

    @Test func theConfigurationOfAACIsInItsDescription() throws {
        let world = try World()
        defer { world.stop() }
        let fmtp = "streamtype=5;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1210"
        var codec = RTPCodec(payloadType: 97, name: "MPEG4-GENERIC", clockRate: 44_100, fmtp: fmtp)
        codec.channels = 2
        _ = try world.publish(1, codec)
        let track = try #require(world.engine.tracks(of: 1)?.first)
        #expect(track.codec == .aac && track.parameterSets == [[0x12, 0x10]] && track.channels == 2)
        codec.fmtp = "mode=AAC-hbr;config=zz"
        _ = try world.publish(2, codec)
        #expect(world.engine.tracks(of: 2)?.first?.parameterSets == [])
    }

    private func send(_ number: Int, from source: PacketSource) throws {
        let payload = World.payload(number)
        let isTaken = source.send(
            track: 0, number: Int64(number), timestamp: UInt32(number * 160), marker: false, payload.span.bytes)
        try #require(isTaken)
    }
}

private final class Packets: PacketConsumer {
    struct Packet: Sendable {
        var number: Int64
        var timestamp: UInt32
        var payload: [UInt8]
    }
    struct State: Sendable {
        var got: [Packet] = []
        var flushes = 0
        var losses = 0
        var ends = 0
    }

    let state = Watched(State())
    let patience = Interval.milliseconds(1)

    func handle(_ packet: SinkPacket, _ payload: RawSpan) {
        let copy = Packet(number: packet.number, timestamp: packet.timestamp, payload: payload.copied())
        state.update { $0.got.append(copy) }
    }
    func handleReport(track: Int, ntp: UInt64, timestamp: UInt32) {}
    func handleLoss(track: Int) { state.update { $0.losses += 1 } }
    func flush() { state.update { $0.flushes += 1 } }
    func ended() { state.update { $0.ends += 1 } }
}
