import MediaEngine
import RTP
import SRTP
import Synchronization
import Testing
import Wire

/// Plain RTP clients by SRTP, whose keys signalling has told.
@Suite struct PlainProtectionTests {
    private static let host: UInt32 = 0x0a03_0001

    private static func keys(_ number: UInt8 = 0) -> [Int: SRTPTrackKeys] {
        [
            SourceFeeder.videoTrack: .test(ours: 1 + 4 * number, theirs: 2 + 4 * number),
            SourceFeeder.audioTrack: .test(ours: 3 + 4 * number, theirs: 4 + 4 * number),
        ]
    }

    /// Beside one whose RTP is clear.
    @Test(arguments: [1, 2]) func eachPlayerGetsAllUnderItsOwnKeys(workers: Int) throws {
        let world = try World(seed: 1, workers: workers)
        let feeder = try world.addSource()
        try world.run(for: .milliseconds(500), sending: feeder)
        let clear = try PlainCore(id: 7, host: Self.host)
        let clients = try (0..<3).map {
            try PlainCore(id: 8 + UInt64($0), host: Self.host + 1 + UInt32($0), keys: Self.keys(UInt8($0)))
        }
        for client in [clear] + clients { _ = try world.add(client, publisher: feeder.source.id) }
        try world.run(for: .seconds(3), sending: feeder)
        feeder.isSending = false
        try world.run(for: .milliseconds(300))
        #expect(clear.violations == [])
        for client in clients {
            #expect(client.violations == [])
            let start = try #require(client.video.ordered.first?.part)
            #expect(start.isKey && start.part == 0)
            #expect(
                client.video.ordered.compactMap { $0.part?.serial }
                    == Array(start.serial..<UInt32(feeder.sentVideo.count)))
            #expect(client.audio.packets.count > 130 && client.audio.holes == 0 && client.video.holes == 0)
            #expect(Set(client.reports.map(\.report.ssrc)) == [PlainCore.videoSSRC, PlainCore.audioSSRC])
        }
        // What they protect with is free again.
        for client in clients {
            world.close(plain: client.id)
            try world.run(for: .milliseconds(20))
            for track in client.tracks {
                let progress = try #require(track.keys?.ledger.take())
                #expect(progress.nextRTP ?? 0 > 1 && progress.lastRTCP > 0)
            }
        }
    }

    /// Whichever worker hears them.
    @Test(arguments: [0, 1]) func reportsUnderOtherKeysAreDroppedAndCounted(worker: Int) throws {
        let world = try World(seed: 2, workers: 2)
        let feeder = try world.addSource()
        try world.run(for: .milliseconds(500), sending: feeder)
        let client = try PlainCore(id: 7, host: Self.host, keys: Self.keys())
        _ = try world.add(client, publisher: feeder.source.id)
        try world.run(for: .seconds(1), sending: feeder)
        let address = client.at(client.tracks[0].rtcpPort)
        let cipher = try #require(client.ciphers[SourceFeeder.videoTrack])
        func alive() -> Int { client.news.count { $0 == .alive } }

        let report = client.report(now: world.now)
        let other = try PlainCore.Cipher(mirroring: SRTPTrackKeys.test(ours: 0x50, theirs: 0x51).material)
        for forged in [other.protect(rtcp: report), report, report + [UInt8](repeating: 0x80, count: 14)] {
            world.injectPlain(forged, from: address, isRTCP: true, worker: worker)
            try world.run(for: .milliseconds(20), sending: feeder)
        }
        #expect(alive() == 0)
        // The last word of a clear report says that it is not encrypted.
        #expect(world.counters.authenticationFailed.value + world.counters.malformed.value == 3)
        #expect(world.counters.authenticationFailed.value >= 2)

        let real = cipher.protect(rtcp: report)
        world.injectPlain(real, from: address, isRTCP: true, worker: worker)
        try world.run(for: .milliseconds(20), sending: feeder)
        #expect(alive() == 1)
        world.injectPlain(real, from: address, isRTCP: true, worker: worker)
        try world.run(for: .milliseconds(20), sending: feeder)
        #expect(world.counters.replayed.value == 1 && client.violations == [])
    }

    /// A pause ends a player, and another takes its place: no index may come twice, which the client would see.
    @Test func whoPlaysOnBeginsBehindWhatWasSent() throws {
        let world = try World(seed: 3, workers: 2)
        let feeder = try world.addSource()
        try world.run(for: .milliseconds(500), sending: feeder)
        let keys = Self.keys()
        var client = try PlainCore(id: 20, host: Self.host, keys: keys)
        _ = try world.add(client, publisher: feeder.source.id)
        try world.run(for: .seconds(1), sending: feeder)
        var last = UInt16(truncatingIfNeeded: client.video.highest)
        for round in 1...4 {
            world.close(plain: client.id)
            let next = try PlainCore(id: 20 + UInt64(round), host: Self.host, keys: keys, after: client)
            _ = try world.add(next, publisher: feeder.source.id)
            try world.run(for: .seconds(1), sending: feeder)
            #expect(next.violations == [] && next.news.contains { if case .began = $0 { true } else { false } })
            let first = try #require(next.firstVideo).sequence
            #expect(first == last &+ 1)
            last = UInt16(truncatingIfNeeded: next.video.highest)
            client = next
        }
    }

    /// Until the player before it has given them back; for a bounded time.
    @Test func aPlayerWaitsForItsKeys() throws {
        let world = try World(seed: 4)
        let feeder = try world.addSource()
        try world.run(for: .milliseconds(500), sending: feeder)
        let keys = Self.keys()
        let ledger = try #require(keys[SourceFeeder.audioTrack]).ledger
        var progress = try #require(ledger.take())
        let client = try PlainCore(id: 7, host: Self.host, keys: keys)
        let player = try world.add(client, publisher: feeder.source.id)
        try world.run(for: .milliseconds(100), sending: feeder)
        #expect(client.datagrams == 0 && !player.isEnded)
        progress.nextRTP = 70_000
        ledger.giveBack(progress)
        try world.run(for: .milliseconds(500), sending: feeder)
        #expect(client.firstAudio?.sequence == UInt16(70_000 - 65_536) && client.violations == [])
        world.close(plain: 7)
        try world.run(for: .milliseconds(20), sending: feeder)

        _ = ledger.take()
        let late = try PlainCore(id: 8, host: Self.host, keys: keys)
        let waiting = try world.add(late, publisher: feeder.source.id)
        try world.run(for: .milliseconds(500), sending: feeder)
        #expect(waiting.isEnded && late.news == [.ended] && late.datagrams == 0)
        #expect(world.directory.find(peer: 8) == nil)
        #expect(keys[SourceFeeder.videoTrack]?.ledger.take() != nil)
    }

    // MARK: Publishers

    private final class Receiver: PlainReceiver {
        let packets = Mutex<[(track: Int, isRTCP: Bool, bytes: [UInt8])]>([])
        func receive(track: Int, isRTCP: Bool, _ packet: RawSpan) {
            let bytes = packet.copied()
            packets.withLock { $0.append((track, isRTCP, bytes)) }
        }
        func flush() {}
    }

    @Test func whatAPublisherSendsIsOpenedAndWhatOthersSendIsNot() throws {
        let world = try World(seed: 5, workers: 2)
        let keys = [SRTPTrackKeys.test(ours: 1, theirs: 2), .test(ours: 3, theirs: 4)]
        var tracks = [
            PlainTrack(track: 0, rtpPort: 6000, rtcpPort: 6001), PlainTrack(track: 1, rtpPort: 6002, rtcpPort: 6003),
        ]
        for i in tracks.indices { tracks[i].keys = keys[i] }
        let receiver = Receiver()
        func at(_ port: UInt16) -> SocketAddress { SocketAddress(ipv4: Self.host, port: port) }
        let publisher = try world.plain.addPublisher(
            client: at(1), local: World.server, tracks: tracks, receiver: receiver)
        let ciphers = try keys.map { try PlainCore.Cipher(mirroring: $0.material) }
        func packet(_ number: UInt16, _ track: Int) -> [UInt8] {
            var bytes: [UInt8] = [0x80, 96]
            bytes.appendBigEndian(number)
            bytes.appendBigEndian(UInt32(number) * 90)
            bytes.appendBigEndian(UInt32(0x7700 + track))
            return bytes + (0..<100).map { UInt8(truncatingIfNeeded: $0) &+ UInt8(truncatingIfNeeded: number) }
        }
        // Over the end of its numbers, and heard by either worker.
        var sent: [[UInt8]] = []
        for number in UInt64(65_530)..<65_545 {
            for track in 0..<2 {
                let plain = packet(UInt16(truncatingIfNeeded: number), track)
                sent.append(plain)
                world.injectPlain(
                    ciphers[track].protect(rtp: plain, index: number), from: at(6000 + 2 * UInt16(track)),
                    isRTCP: false, worker: Int(number) % 2)
            }
        }
        #expect(receiver.packets.withLock { $0.map(\.bytes) } == sent)
        // Its own keys, but the other track's; clear; what came already.
        world.injectPlain(ciphers[1].protect(rtp: packet(20, 0), index: 65_556), from: at(6000), isRTCP: false)
        world.injectPlain(packet(21, 0), from: at(6000), isRTCP: false)
        #expect(world.counters.authenticationFailed.value == 2)
        world.injectPlain(ciphers[0].protect(rtp: packet(8, 0), index: 65_544), from: at(6000), isRTCP: false)
        #expect(world.counters.replayed.value == 1 && receiver.packets.withLock { $0.count } == sent.count)
        var report: [UInt8] = []
        RTCPWriter.receiverReport(ssrc: 0x7700, blocks: [], into: &report)
        world.injectPlain(ciphers[0].protect(rtcp: report), from: at(6001), isRTCP: true)
        #expect(receiver.packets.withLock { $0.last.map(\.isRTCP) } == true)
        #expect(receiver.packets.withLock { $0.last.map(\.bytes) } == report)

        // Nobody else may use the keys meanwhile.
        var others = tracks
        for i in others.indices { others[i].rtpPort += 100; others[i].rtcpPort += 100 }
        #expect(throws: PlainError.unavailable) {
            _ = try world.plain.addPublisher(client: at(1), local: World.server, tracks: others, receiver: receiver)
        }
        publisher.end()
        let again = try world.plain.addPublisher(client: at(1), local: World.server, tracks: others, receiver: receiver)
        again.end()
    }

    /// What we tell a publisher goes under our key.
    @Test func reportsToAPublisherAreProtected() throws {
        let world = try World(seed: 6)
        let client = try PlainCore(
            id: 7, host: Self.host, hasAudio: false, keys: [SourceFeeder.videoTrack: .test(ours: 1, theirs: 2)])
        world.plainClients[client.at(client.tracks[0].rtcpPort)] = client
        let publisher = try world.plain.addPublisher(
            client: client.address, local: World.server, tracks: client.tracks, receiver: Receiver())
        var bytes: [UInt8] = []
        RTCPWriter.bye(ssrcs: [9], into: &bytes)
        for _ in 0..<3 { publisher.send(rtcp: bytes, track: SourceFeeder.videoTrack) }
        try world.run(for: .milliseconds(20))
        #expect(client.datagrams == 3 && client.goodbyes == [9] && client.violations == [])
        publisher.end()
        #expect(client.tracks[0].keys?.ledger.take()?.lastRTCP == 3)
    }
}
