import MediaEngine
import MediaFormats
import RTP
import Testing
import Wire

/// Publishers inside the process: what they send reaches players and sinks as if it had come from a browser.
@Suite struct SourceTests {
    private static func serials(_ player: PlayerCore) -> [UInt32?] { player.video.ordered.map { $0.part?.serial } }

    @Test(arguments: [65_530, nil] as [Int64?]) func playersGetPicturesAndSoundOfASource(first: Int64?) throws {
        let world = try World(seed: 1)
        var settings = SourceFeeder.Settings()
        settings.firstNumber = first
        let feeder = try world.addSource(settings: settings)
        try world.run(for: .milliseconds(500), sending: feeder)
        let player = try world.addPlayer(of: feeder)
        try world.connect(player, sending: feeder)
        try world.run(for: .seconds(3), sending: feeder)
        feeder.isSending = false
        try world.run(for: .milliseconds(300))
        #expect(feeder.refused == 0 && feeder.keyFrames == 2, "one at the beginning, one for the player")
        let start = try #require(player.video.ordered.first?.part)
        #expect(start.isKey && start.part == 0)
        #expect(Self.serials(player) == (start.serial..<UInt32(feeder.sentVideo.count)).map { $0 })
        for track in [player.video, player.audio] {
            #expect(track.violations == [] && track.holes == 0 && track.everMissing == 0)
        }
        #expect(player.audio.packets.count > 140)
        #expect(Set(player.video.ordered.map(\.marker)) == [true, false])
        // The source's clock, moved on.
        for (ssrc, base, clock) in [
            (player.videoSSRC, feeder.videoBase, 90_000.0), (player.audioSSRC, feeder.audioBase, 48_000.0),
        ] {
            let reports = player.reports.map(\.report).filter { $0.ssrc == ssrc }
            #expect(reports.count >= 2)
            for report in reports {
                let elapsed = Double(report.ntp.rawValue - SourceFeeder.wallClock) / 4_294_967_296
                let expected = Double(report.rtpTimestamp &- base) / clock
                #expect(abs(elapsed - expected) < 0.002)
            }
        }
    }

    @Test func eventsAndCountersAreThoseOfAPublisher() throws {
        let world = try World(seed: 2)
        let feeder = try world.addSource()
        try world.run(for: .milliseconds(5))
        #expect(world.posted.isEmpty && world.counters.peers.load(ordering: .relaxed) == 1)
        try world.run(for: .seconds(2), sending: feeder)
        let id = feeder.source.id
        let isFirst = world.posted.map { if case .firstMedia(id) = $0 { true } else { false } }
        let sizes = world.posted.compactMap { event -> VideoSize? in
            if case .videoSize(id, let size) = event { size } else { nil }
        }
        #expect(isFirst == [true, false] && sizes == [VideoSize(width: TestMedia.width, height: TestMedia.height)])
        let counters = try #require(world.directory.find(peer: id)?.counters)
        #expect(counters.packetsReceived.value == UInt64(feeder.sentVideo.count + feeder.sentAudio.count))
        #expect(counters.videoBytesReceived.value > 50 * 4 * 150)
        #expect(counters.bytesReceived.value > counters.videoBytesReceived.value + 100 * 60)
        #expect(counters.packetsLost.value == 0)
        // A source may be silent for as long as it likes.
        try world.run(for: .seconds(90))
        #expect(world.counters.peers.load(ordering: .relaxed) == 1)
    }

    @Test(arguments: [1, 2, 3] as [UInt64]) func lossesOfPlayersAreRepairedFromTheRing(seed: UInt64) throws {
        let world = try World(seed: seed, workers: 2)
        let feeder = try world.addSource()
        let near = try world.addPlayer(of: feeder)
        let far = try world.addPlayer(of: feeder, worker: 1)
        try world.connect(near, far, sending: feeder)
        try world.run(for: .milliseconds(300), sending: feeder)
        for player in [near, far] { world.impair(player, up: .bad, down: .bad) }
        try world.run(for: .seconds(5), sending: feeder)
        for player in [near, far] { world.impair(player, up: .perfect, down: .perfect) }
        try world.run(for: .milliseconds(300), sending: feeder)
        feeder.isSending = false
        try world.run(for: .milliseconds(1500))
        for player in [near, far] {
            #expect(player.video.everMissing > 10 && player.video.holes == 0 && player.abandoned == 0)
            #expect(player.video.violations == [] && player.audio.violations == [])
            let serials = Self.serials(player).compactMap { $0 }
            #expect(serials == Array((serials.first ?? 0)..<UInt32(feeder.sentVideo.count)))
        }
    }

    @Test func whatIsLostBeforeTheSourceIsSeenByPlayersAndCounted() throws {
        let world = try World(seed: 3)
        let feeder = try world.addSource()
        let player = try world.addPlayer(of: feeder)
        let reader = try world.attach(to: feeder)
        try world.connect(player, sending: feeder)
        feeder.drops = { $0.serial % 50 == 33 }
        try world.run(for: .seconds(3), sending: feeder, reading: [reader])
        let lost = feeder.sentVideo.count(where: { $0.serial % 50 == 33 })
        #expect(reader.violations == [] && reader.losses.isEmpty)
        let numbers = reader.video.map(\.facts.number)
        let gaps = zip(numbers, numbers.dropFirst()).map { $1 - $0 - 1 }.reduce(0, +)
        #expect(Int(gaps) == lost)
        #expect(player.video.everMissing > 4 && player.video.violations == [])
        let counters = try #require(world.directory.find(peer: feeder.source.id)?.counters)
        #expect((lost - 3...lost).contains(Int(counters.packetsLost.value)), "once a second: \(lost)")
    }

    @Test func packetsThatComeLateToTheSourceTakeTheirPlaces() throws {
        let world = try World(seed: 4)
        let feeder = try world.addSource()
        let player = try world.addPlayer(of: feeder)
        try world.connect(player, sending: feeder)
        try world.run(for: .milliseconds(300), sending: feeder)
        feeder.isSending = false
        try world.run(for: .milliseconds(100))
        let before = player.video.packets.count
        let next = feeder.videoNumber
        let time = world.now
        // 0, 2, 1, 3, and 1 once more.
        for i in [0, 2, 1, 3, 1] as [Int64] {
            let part = TestPart(
                serial: 90_000 + UInt32(i), frame: 9000, part: UInt8(i), parts: 4, isKey: false, capture: 0)
            feeder.source.send(
                track: 1, number: next + i, timestamp: 77, marker: i == 3, arrival: time,
                TestMedia.video(part, length: 100).span.bytes)
        }
        feeder.source.flush()
        try world.run(for: .milliseconds(100))
        #expect(player.video.packets.count == before + 4 && player.video.holes == 0 && player.video.violations == [])
        #expect(Self.serials(player).suffix(4) == [90_000, 90_001, 90_002, 90_003])
        #expect(player.video.duplicates == 0)
    }

    @Test func whoJoinsADeafSourceBeginsWithItsStoredGroup() throws {
        let world = try World(seed: 5)
        var settings = SourceFeeder.Settings()
        settings.answersRequests = false
        settings.keyFrameEvery = 100
        let feeder = try world.addSource(settings: settings)
        let first = try world.addPlayer(of: feeder)
        try world.connect(first, sending: feeder)
        try world.run(for: .milliseconds(1500), sending: feeder)
        let late = try world.addPlayer(of: feeder)
        let reader = try world.attach(to: feeder)
        try world.connect(late, sending: feeder)
        try world.run(for: .milliseconds(500), sending: feeder, reading: [reader])
        #expect(late.video.ordered.first?.part?.serial == 0 && reader.video.first?.part?.serial == 0)
        #expect(late.video.holes == 0 && late.video.everMissing == 0 && feeder.keyFrames == 1)
        #expect(feeder.source.keyFrameRequests == 0, "it would not hear")
        #expect(reader.violations == [])
    }

    @Test func requestsOfPlayersReachTheSourceMerged() throws {
        let world = try World(seed: 6, workers: 2)
        let waker = try SinkWaker()
        let feeder = try world.addSource(waker: waker)
        let near = try world.addPlayer(of: feeder)
        let far = try world.addPlayer(of: feeder, worker: 1)
        try world.connect(near, far, sending: feeder)
        try world.run(for: .seconds(1), sending: feeder)
        let before = feeder.source.keyFrameRequests
        waker.arm()
        for i in 0..<100 {
            (i % 2 == 0 ? near : far).sendPLI(now: world.now, evenIfRecent: true)
            try world.run(for: .milliseconds(10), sending: feeder)
        }
        #expect((3...4).contains(feeder.source.keyFrameRequests - before))
        var isWoken = false
        waker.wait(timeout: .seconds(600)) {
            isWoken = true
            return true
        }
        #expect(isWoken)
    }

    @Test func aStepOfTheNumbersIsNoLoss() throws {
        let world = try World(seed: 7)
        let feeder = try world.addSource()
        let player = try world.addPlayer(of: feeder)
        try world.connect(player, sending: feeder)
        try world.run(for: .milliseconds(500), sending: feeder)
        for step in [1 << 30, -4000, 3000] as [Int64] {
            feeder.videoNumber += step
            try world.run(for: .milliseconds(500), sending: feeder)
        }
        #expect(player.video.everMissing == 0 && player.video.holes == 0 && player.video.violations == [])
        let serials = Self.serials(player).compactMap { $0 }
        #expect(serials.count > 150 && zip(serials, serials.dropFirst()).allSatisfy { $0 + 1 == $1 })
    }

    @Test func aRestartedSourceGoesOnByTheTimeThatHasPassed() throws {
        let world = try World(seed: 8)
        let feeder = try world.addSource()
        let player = try world.addPlayer(of: feeder)
        let reader = try world.attach(to: feeder)
        try world.connect(player, sending: feeder)
        try world.run(for: .milliseconds(500), sending: feeder, reading: [reader])
        feeder.isSending = false
        try world.run(for: .seconds(3), sending: feeder, reading: [reader])
        feeder.source.restart(track: 1, arrival: world.now)
        feeder.videoNumber = 17
        feeder.videoBase = 0x1234_5678
        feeder.isSending = true
        try world.run(for: .seconds(1), sending: feeder, reading: [reader])
        #expect(player.video.everMissing == 0 && player.video.holes == 0 && player.video.violations == [])
        let numbers = reader.video.map(\.facts.number)
        #expect(zip(numbers, numbers.dropFirst()).allSatisfy { $0 + 1 == $1 } && reader.violations == [])
        let times = reader.video.map(\.facts.timestamp)
        let steps = zip(times, times.dropFirst()).map { $1 &- $0 }
        let pauses = steps.filter { $0 > 3600 }
        #expect(pauses.count == 1 && (2.9...3.1).contains(Double(pauses[0]) / 90_000))
        #expect(Set(steps).count == 3)
        // The relation of the clocks is told anew, in the stream's time.
        let last = try #require(reader.reports.last { $0.track == 1 })
        let packet = try #require(reader.video.last)
        #expect(abs(Int32(bitPattern: last.timestamp &- packet.facts.timestamp)) < 90_000)
    }

    @Test func parameterSetsOfTheDescriptionAreSentBeforeKeyFrames() throws {
        let world = try World(seed: 9)
        var settings = SourceFeeder.Settings()
        settings.parameterSets = "Z0LAHg==,aM48gA=="
        let feeder = try world.addSource(settings: settings)
        let player = try world.addPlayer(of: feeder)
        try world.connect(player, sending: feeder)
        try world.run(for: .seconds(1), sending: feeder)
        #expect(player.video.ordered.prefix(3).map { $0.payload.first } == [0x67, 0x68, 0x65])
        #expect(player.video.violations == [] && player.video.everMissing == 0)
    }
}
