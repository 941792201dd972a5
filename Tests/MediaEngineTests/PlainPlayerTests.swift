import MediaEngine
import MediaFormats
import RTP
import Testing
import Wire

/// Plain RTP players (RTSP over UDP) in the workers' fan-out.
@Suite struct PlainPlayerTests {
    private static let host: UInt32 = 0x0a01_0001
    private static func serials(_ track: ReceivedTrack) -> [UInt32] { track.ordered.compactMap { $0.part?.serial } }

    /// On the worker of the publisher, and on another.
    @Test(arguments: [0, 1]) func playersGetPicturesAndSoundFromAKeyFrameOn(worker: Int) throws {
        let world = try World(seed: 1, workers: 2)
        let feeder = try world.addSource()
        try world.run(for: .milliseconds(700), sending: feeder)
        // Players go to the worker with fewer peers.
        if worker == 0 {
            _ = try world.add(PlainCore(id: 50, host: Self.host + 1), publisher: feeder.source.id)
        }
        let browser = try world.addPlayer(of: feeder)
        let client = try PlainCore(id: 7, host: Self.host)
        let player = try world.add(client, publisher: feeder.source.id)
        try world.connect(browser, sending: feeder)
        try world.run(for: .seconds(3), sending: feeder)
        feeder.isSending = false
        try world.run(for: .milliseconds(300))
        #expect(world.directory.find(peer: 7)?.owner.load(ordering: .relaxed) == (worker == 0 ? 0 : 1))
        #expect(client.violations == [] && !player.isEnded)
        let start = try #require(client.video.ordered.first?.part)
        #expect(start.isKey && start.part == 0)
        #expect(Self.serials(client.video) == Array(start.serial..<UInt32(feeder.sentVideo.count)))
        for track in [client.video, client.audio] {
            #expect(track.violations == [] && track.holes == 0 && track.everMissing == 0 && track.duplicates == 0)
        }
        #expect(client.audio.packets.count > 130)
        // Both of one moment.
        let sound = try #require(client.audio.ordered.first?.part)
        #expect(abs(sound.capture - start.capture) < 60_000_000)
        #expect(browser.video.holes == 0 && browser.video.violations == [])
    }

    @Test(arguments: [1, 2]) func theAnswerToPlayIsRightAndReportsComeFirst(workers: Int) throws {
        let world = try World(seed: 2, workers: workers)
        let feeder = try world.addSource()
        try world.run(for: .milliseconds(900), sending: feeder)
        let client = try PlainCore(id: 7, host: Self.host)
        _ = try world.add(client, publisher: feeder.source.id)
        try world.run(for: .milliseconds(600), sending: feeder)
        let first = try #require(client.first)
        let video = try #require(client.firstVideo)
        let audio = try #require(client.firstAudio)
        #expect(first.map(\.sequence) == [video.sequence, audio.sequence])
        #expect(first[0].timestamp == video.timestamp)
        // The sound's time is that of the picture.
        let behind = Int32(bitPattern: audio.timestamp &- (try #require(first[1].timestamp)))
        #expect((-960...2880).contains(behind), "\(behind)")
        for (ssrc, packets, base, clock) in [
            (PlainCore.videoSSRC, client.video, feeder.videoBase, 90_000.0),
            (PlainCore.audioSSRC, client.audio, feeder.audioBase, 48_000.0),
        ] {
            let report = try #require(client.reports.first { $0.report.ssrc == ssrc })
            let begin = try #require(packets.ordered.map(\.at).min())
            #expect(report.at <= begin)
            let elapsed = Double(report.report.ntp.rawValue - SourceFeeder.wallClock) / 4_294_967_296
            #expect(abs(elapsed - Double(report.report.rtpTimestamp &- base) / clock) < 0.002)
        }
        #expect(client.news.count == 1)
    }

    @Test func withoutReportsTheSoundsTimeIsByArrival() throws {
        let world = try World(seed: 3)
        var settings = SourceFeeder.Settings()
        settings.sendsReports = false
        let feeder = try world.addSource(settings: settings)
        try world.run(for: .milliseconds(900), sending: feeder)
        let client = try PlainCore(id: 7, host: Self.host)
        _ = try world.add(client, publisher: feeder.source.id)
        try world.run(for: .seconds(2), sending: feeder)
        let first = try #require(client.first)
        let audio = try #require(client.firstAudio)
        let behind = Int32(bitPattern: audio.timestamp &- (try #require(first[1].timestamp)))
        #expect((-960...2880).contains(behind), "\(behind)")
        #expect(client.reports.isEmpty && client.audio.packets.count > 80)
        // The publisher tells of its clock at last.
        feeder.settings.sendsReports = true
        try world.run(for: .milliseconds(20), sending: feeder)
        #expect(Set(client.reports.map(\.report.ssrc)) == [PlainCore.videoSSRC, PlainCore.audioSSRC])
    }

    @Test func withoutAKeyFrameSoundComesAfterABoundedWait() throws {
        let world = try World(seed: 4)
        let feeder = try world.addSource()
        // Nothing is whole that could do instead.
        feeder.drops = { $0.part == 2 }
        try world.run(for: .milliseconds(500), sending: feeder)
        feeder.drops = { _ in true }
        let client = try PlainCore(id: 7, host: Self.host)
        _ = try world.add(client, publisher: feeder.source.id)
        try world.run(for: .milliseconds(290), sending: feeder)
        #expect(client.news == [] && client.audio.packets.isEmpty)
        try world.run(for: .milliseconds(60), sending: feeder)
        let first = try #require(client.first)
        #expect(first[0].timestamp == nil && first[1].sequence == client.firstAudio?.sequence)
        #expect(!client.audio.packets.isEmpty && client.video.packets.isEmpty)
        feeder.drops = nil
        try world.run(for: .seconds(3), sending: feeder)
        #expect(client.video.ordered.first?.part?.isKey == true && client.video.violations == [])
        #expect(first[0].sequence == client.firstVideo?.sequence)
        #expect(client.audio.holes == 0 && client.news.count == 1)
    }

    @Test func afterThatWaitStoredPicturesHaveToDo() throws {
        let world = try World(seed: 15)
        let feeder = try world.addSource()
        try world.run(for: .milliseconds(1700), sending: feeder)
        // It has said that it makes key frames when it is asked.
        feeder.settings.answersRequests = false
        let client = try PlainCore(id: 7, host: Self.host)
        _ = try world.add(client, publisher: feeder.source.id)
        try world.run(for: .milliseconds(290), sending: feeder)
        #expect(client.datagrams == client.reports.count && client.news == [])
        try world.run(for: .milliseconds(1500), sending: feeder)
        let first = try #require(client.first)
        #expect(client.video.ordered.first?.part?.serial == 0 && client.video.holes == 0 && client.violations == [])
        #expect(first[0] == client.firstVideo.map { PlainFirstPacket(sequence: $0.sequence, timestamp: $0.timestamp) })
        #expect(client.audio.holes == 0 && client.audio.packets.count > 60)
    }

    @Test func whoTakesSoundAloneWaitsForNoPicture() throws {
        let world = try World(seed: 5)
        let feeder = try world.addSource()
        try world.run(for: .milliseconds(500), sending: feeder)
        let asked = feeder.source.keyFrameRequests
        let client = try PlainCore(id: 7, host: Self.host, hasVideo: false)
        _ = try world.add(client, publisher: feeder.source.id)
        try world.run(for: .milliseconds(60), sending: feeder)
        let audio = try #require(client.firstAudio)
        #expect(client.first == [PlainFirstPacket(sequence: audio.sequence, timestamp: audio.timestamp)])
        try world.run(for: .seconds(1), sending: feeder)
        #expect(client.violations == [] && client.audio.holes == 0 && client.audio.packets.count > 45)
        #expect(feeder.source.keyFrameRequests <= asked + 1)
    }

    @Test func whoJoinsADeafSourceBeginsWithItsStoredGroup() throws {
        let world = try World(seed: 6)
        var settings = SourceFeeder.Settings()
        settings.answersRequests = false
        settings.keyFrameEvery = 100
        let feeder = try world.addSource(settings: settings)
        try world.run(for: .milliseconds(1900), sending: feeder)
        let client = try PlainCore(id: 7, host: Self.host)
        _ = try world.add(client, publisher: feeder.source.id)
        try world.run(for: .milliseconds(5), sending: feeder)
        let first = try #require(client.first, "at once")
        try world.run(for: .milliseconds(1500), sending: feeder)
        #expect(client.video.ordered.first?.part?.serial == 0 && client.video.holes == 0)
        #expect(first[0].sequence == client.firstVideo?.sequence && first[0].timestamp == client.firstVideo?.timestamp)
        // The sound of now is ahead of the stored picture by what has passed since.
        let sound = try #require(client.firstAudio).timestamp
        let ahead = Double(sound &- (try #require(first[1].timestamp))) / 48_000
        #expect((1.8...2.0).contains(ahead))
        #expect(client.violations == [])
    }

    // MARK: - Ends

    @Test func theEndOfTheStreamIsToldByBye() throws {
        let world = try World(seed: 7, workers: 2)
        let feeder = try world.addSource()
        let clients = try (0..<4 as Range<UInt32>).map { try PlainCore(id: UInt64($0) + 10, host: Self.host + $0) }
        let players = try clients.map { try world.add($0, publisher: feeder.source.id) }
        try world.run(for: .seconds(1), sending: feeder)
        let owners = clients.map { world.directory.find(peer: $0.id)?.owner.load(ordering: .relaxed) }
        #expect(Set(owners) == [0, 1])
        world.close(plain: feeder.source.id)
        try world.run(for: .milliseconds(10))
        for (client, player) in zip(clients, players) {
            #expect(client.goodbyes == [PlainCore.videoSSRC, PlainCore.audioSSRC])
            #expect(client.news.last == .ended && client.news.count == 2 && player.isEnded)
            #expect(client.violations == [])
        }
        #expect(world.counters.peers.load(ordering: .relaxed) == 0)
        let before = clients.map(\.datagrams)
        try world.run(for: .seconds(7), sending: feeder)
        #expect(clients.map(\.datagrams) == before)
    }

    @Test func whoIsClosedGetsNothingMoreNotEvenAGoodbye() throws {
        let world = try World(seed: 8)
        let feeder = try world.addSource()
        let client = try PlainCore(id: 7, host: Self.host)
        let other = try PlainCore(id: 8, host: Self.host, port: 5000)
        let player = try world.add(client, publisher: feeder.source.id)
        _ = try world.add(other, publisher: feeder.source.id)
        try world.run(for: .seconds(1), sending: feeder)
        world.close(plain: 7)
        #expect(player.isEnded && client.news.last == .ended)
        let before = client.datagrams
        try world.run(for: .seconds(2), sending: feeder)
        #expect(client.datagrams == before && client.goodbyes.isEmpty)
        #expect(other.video.holes == 0 && other.video.packets.count > 250)
        // Its address is free; as after a pause.
        let again = try PlainCore(id: 9, host: Self.host)
        _ = try world.add(again, publisher: feeder.source.id)
        try world.run(for: .seconds(1), sending: feeder)
        #expect(again.video.ordered.first?.part?.isKey == true && again.video.holes == 0 && again.violations == [])
    }

    @Test func whoIsClosedBeforeItsWorkerKnowsItNeverBegins() throws {
        let world = try World(seed: 9)
        let feeder = try world.addSource()
        try world.run(for: .milliseconds(500), sending: feeder)
        let client = try PlainCore(id: 7, host: Self.host)
        _ = try world.add(client, publisher: feeder.source.id)
        world.close(plain: 7)
        try world.run(for: .milliseconds(600), sending: feeder)
        #expect(client.datagrams == 0 && client.news == [.ended])
        #expect(world.counters.peers.load(ordering: .relaxed) == 1)
    }

    // MARK: - Refusals

    @Test func whatCannotBeServedIsRefused() throws {
        let world = try World(seed: 10)
        let feeder = try world.addSource()
        try world.run(for: .milliseconds(100), sending: feeder)
        let id = feeder.source.id
        let client = try PlainCore(id: 7, host: Self.host)
        _ = try world.add(client, publisher: id)
        let taken = client.at(4000)
        #expect(throws: PlainError.addressInUse(taken)) {
            try world.add(PlainCore(id: 8, host: Self.host), publisher: id)
        }
        // Not even its RTP port for somebody's RTCP.
        #expect(throws: PlainError.addressInUse(taken)) {
            try world.add(PlainCore(id: 8, host: Self.host, port: 3999), publisher: id)
        }
        #expect(throws: PlainError.noStream) { try world.add(PlainCore(id: 9, host: Self.host + 1), publisher: 99) }
        // A player is no stream.
        #expect(throws: PlainError.noStream) { try world.add(PlainCore(id: 9, host: Self.host + 1), publisher: 7) }
        func refusal(_ client: SocketAddress, _ local: SocketAddress, _ tracks: [PlainTrack]) -> PlainError? {
            do throws(PlainError) {
                _ = try world.plain.addPlayer(
                    id: 20, publisher: id, client: client, local: local, tracks: tracks, listener: { _ in })
                return nil
            } catch { return error }
        }
        let here = SocketAddress(ipv4: Self.host + 2, port: 0)
        let six = try #require(SocketAddress(ip: "2001:db8::1", port: 0))
        let one = PlainTrack(track: 1, rtpPort: 4000, rtcpPort: 4001, ssrc: 1, payloadType: 96)
        #expect(refusal(six, six, [one]) == .unreachable(six))
        #expect(refusal(here, six, [one]) == .unreachable(here))
        var samePort = one
        samePort.track = 0
        var sameTrack = one
        (sameTrack.rtpPort, sameTrack.rtcpPort) = (4002, 4003)
        var missing = one
        missing.track = 2
        var negative = one
        negative.track = -1
        var zero = one
        zero.rtcpPort = 0
        for tracks in [[], [one, samePort], [one, sameTrack], [missing], [negative], [zero]] {
            #expect(refusal(here, World.server, tracks) == .badTracks)
        }
        #expect(refusal(here, World.server, [one]) == nil)
    }

    // MARK: - What clients send

    @Test func reportsOfPlayersAreSignsOfLifeWhereverTheyAreHeard() throws {
        let world = try World(seed: 11, workers: 2)
        let feeder = try world.addSource()
        let client = try PlainCore(id: 7, host: Self.host)
        _ = try world.add(client, publisher: feeder.source.id)
        try world.run(for: .seconds(2), sending: feeder)
        let owner = world.directory.find(peer: 7)?.owner.load(ordering: .relaxed) ?? 0
        let counters = try #require(world.directory.find(peer: 7)?.counters)
        func alive() -> Int { client.news.count { $0 == .alive } }
        for (i, worker) in [owner, 1 - owner].enumerated() {
            // No more than once a second, however many.
            for _ in 0..<10 {
                let report = client.report(now: world.now, fractionLost: UInt8(50 + i))
                world.injectPlain(report, from: client.at(4001), isRTCP: true, worker: worker)
                try world.run(for: .milliseconds(10), sending: feeder)
            }
            #expect(alive() == i + 1)
            try world.run(for: .seconds(1), sending: feeder)
        }
        #expect(counters.packetsLost.value == 7)
        #expect(counters.roundTripMicroseconds.value < 100_000)
        #expect(world.counters.unknownClient.value == 0)
    }

    @Test func aPlayerMayAskForAKeyFrame() throws {
        let world = try World(seed: 12, workers: 2)
        let feeder = try world.addSource()
        let client = try PlainCore(id: 7, host: Self.host)
        _ = try world.add(client, publisher: feeder.source.id)
        try world.run(for: .seconds(1), sending: feeder)
        let before = feeder.source.keyFrameRequests
        var bytes: [UInt8] = []
        RTCPWriter.receiverReport(ssrc: 1, blocks: [], into: &bytes)
        RTCPWriter.pli(sender: 1, media: PlainCore.videoSSRC, into: &bytes)
        world.injectPlain(bytes, from: client.at(4001), isRTCP: true)
        try world.run(for: .milliseconds(20), sending: feeder)
        #expect(feeder.source.keyFrameRequests == before + 1)
    }

    @Test func strangersAndNonsenseAreDroppedAndCounted() throws {
        let world = try World(seed: 13)
        let feeder = try world.addSource()
        let client = try PlainCore(id: 7, host: Self.host)
        _ = try world.add(client, publisher: feeder.source.id)
        try world.run(for: .seconds(1), sending: feeder)
        let report = client.report(now: world.now)
        // Another address, another port, RTCP at the port of RTP and the other way round.
        let foreign: [(SocketAddress, Bool)] = [
            (SocketAddress(ipv4: Self.host + 1, port: 4001), true), (client.at(4100), true), (client.at(4001), false),
            (client.at(4000), true),
        ]
        for (address, isRTCP) in foreign { world.injectPlain(report, from: address, isRTCP: isRTCP) }
        #expect(world.counters.unknownClient.value == 4)
        // Shall open a firewall; says nothing.
        world.injectPlain([0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], from: client.at(4000), isRTCP: false)
        world.injectPlain([0xce, 0xfa, 0xed, 0xfe], from: client.at(4000), isRTCP: false)
        #expect(world.counters.unknownClient.value == 4 && world.counters.malformed.value == 0)
        for bytes in [[0], [0x80], [0x80, 200, 0xff, 0xff], [0x80, 201, 0, 9, 1, 2, 3, 4]] as [[UInt8]] {
            world.injectPlain(bytes, from: client.at(4001), isRTCP: true)
        }
        #expect(world.counters.malformed.value == 4)
        try world.run(for: .milliseconds(100), sending: feeder)
        #expect(client.video.holes == 0 && client.violations == [])
        world.close(plain: 7)
        try world.run(for: .milliseconds(10), sending: feeder)
        world.injectPlain(report, from: client.at(4001), isRTCP: true)
        #expect(world.counters.unknownClient.value == 5, "gone")
    }

    // MARK: - Cost

    @Test func picturesLeaveInRunsAsTheyDoForAllOthers() throws {
        let world = try World(seed: 14)
        var settings = SourceFeeder.Settings()
        settings.packetsPerFrame = 8
        settings.payloadLength = 1100
        let feeder = try world.addSource(settings: settings)
        let clients = try (0..<20 as Range<UInt32>).map { try PlainCore(id: UInt64($0) + 10, host: Self.host + $0) }
        for client in clients { _ = try world.add(client, publisher: feeder.source.id) }
        try world.run(for: .seconds(2), sending: feeder)
        for client in clients {
            #expect(client.violations == [] && client.video.holes == 0)
            let pictures = client.video.packets.count / 8
            #expect(pictures > 40)
            // One message a picture, of all its packets.
            #expect(client.runs.count { $0 >= 8 } >= pictures - 2)
        }
        #expect(clients.allSatisfy { $0.video.packets.count == clients[0].video.packets.count })
    }
}
