import MediaEngine
import RTP
import Testing
import Wire

/// Reports and feedback in both directions.
@Suite struct FeedbackTests {
    private static let loss = 0.05

    private static func run(seed: UInt64) throws -> (World, PublisherCore, PlayerCore) {
        let (world, publisher, players) = try LossyLinkTests.world(seed: seed, players: 1, up: .bad, down: .bad)
        try LossyLinkTests.play(world, publisher, players)
        return (world, publisher, players[0])
    }

    @Test(arguments: [1, 2, 3] as [UInt64]) func receiverReportsTellTheLinksLoss(seed: UInt64) throws {
        let (world, publisher, _) = try Self.run(seed: seed)
        let blocks = publisher.reports.map(\.block).filter { $0.ssrc == TestIDs.publisherVideo }
        #expect((6...12).contains(blocks.count))
        let mean = blocks.reduce(0.0) { $0 + Double($1.fractionLost) / 256 } / Double(blocks.count)
        #expect((0.02...0.08).contains(mean), "\(mean)")
        let last = try #require(blocks.last)
        let sent = Double(publisher.sentVideo.count)
        #expect((0.02 * sent...0.08 * sent).contains(Double(last.cumulativeLost)))
        #expect(last.jitter > 0 && last.jitter < 90 * 10, "jitter of 3 ms, in units of 1/90 ms")
        // The publisher's reports are acknowledged: it can compute its round trip.
        #expect(last.lastSR != 0)
        let counters = try #require(world.registrations[publisher.id]?.counters)
        let audio = publisher.reports.map(\.block).last { $0.ssrc == TestIDs.publisherAudio }
        #expect(
            Int64(counters.packetsLost.value) == Int64(max(0, last.cumulativeLost))
                + Int64(max(0, audio?.cumulativeLost ?? 0)))
    }

    @Test func theRoundTripOfAPlayerIsMeasured() throws {
        let (world, _, player) = try Self.run(seed: 1)
        let counters = try #require(world.registrations[player.id]?.counters)
        // Twice 10 ms and the world's steps of 1 ms.
        #expect((18_000...32_000).contains(counters.roundTripMicroseconds.value))
        // 3 ms of even jitter at a 90 kHz clock; 0 would mean that nobody wrote it.
        #expect((300...6_000).contains(counters.jitterMicroseconds.value), "\(counters.jitterMicroseconds.value)")
        #expect(counters.nacks.value > 0)
        #expect(counters.packetsLost.value > 0)
    }

    /// Sound is reported on less often than pictures: the engine moves the reports on by different times.
    @Test(arguments: [(1, 500, 500), (2, 1000, 5000), (3, 4000, 1000), (4, 2500, 3000)] as [(UInt64, Int64, Int64)])
    func senderReportsKeepSoundAndPicturesTogether(seed: UInt64, video: Int64, audio: Int64) throws {
        var settings = PublisherCore.Settings()
        settings.reportInterval = .milliseconds(video)
        settings.audioReportInterval = .milliseconds(audio)
        let (world, publisher, players) = try LossyLinkTests.world(
            seed: seed, players: 1, settings: settings, up: .bad, down: .bad)
        try LossyLinkTests.play(world, publisher, players)
        let player = players[0]
        func captureError(_ track: ReceivedTrack, _ ssrc: UInt32, _ clock: Int) throws -> [Int64] {
            let reports = player.reports.filter { $0.report.ssrc == ssrc }
            #expect(reports.count >= 5)
            return reports.compactMap { entry in
                // The packet that is nearest to the report, mapped to the publisher's wall clock by it.
                let before = track.packets.values.filter { $0.at <= entry.at && $0.part != nil }
                guard let packet = before.max(by: { $0.at < $1.at }), let capture = packet.part?.capture else {
                    return nil
                }
                let units = Int64(Int32(bitPattern: packet.timestamp &- entry.report.rtpTimestamp))
                let wall = Int64(entry.report.ntp.unixNanoseconds) + units * 1_000_000_000 / Int64(clock)
                return wall - Int64(PublisherCore.wallClock) - capture
            }
        }
        let pictures = try captureError(player.video, player.videoSSRC, TestIDs.videoClock)
        let sound = try captureError(player.audio, player.audioSSRC, TestIDs.audioClock)
        // Both clocks tell the capture time of the publisher itself, to a fraction of a millisecond.
        #expect(pictures.allSatisfy { abs($0) < 1_000_000 }, "\(pictures)")
        #expect(sound.allSatisfy { abs($0) < 1_000_000 }, "\(sound)")
    }

    @Test func senderReportsCountWhatWasSent() throws {
        let (_, _, player) = try Self.run(seed: 4)
        let reports = player.reports.map(\.report).filter { $0.ssrc == player.videoSSRC }
        let last = try #require(reports.last)
        #expect(zip(reports, reports.dropFirst()).allSatisfy { $0.packetCount <= $1.packetCount })
        #expect(Int(last.packetCount) <= player.video.packets.count && last.packetCount > 700)
    }

    @Test(arguments: [1, 2] as [UInt64]) func transportFeedbackComesSteadilyAndTellsTheLoss(seed: UInt64) throws {
        let (world, publisher, players) = try LossyLinkTests.world(
            seed: seed, players: 1, up: .bad, down: .perfect)
        let start = world.now
        try world.run(for: LossyLinkTests.duration)
        _ = players
        let feedbacks = publisher.feedbacks.filter { $0.at > start }
        let gaps = zip(feedbacks, feedbacks.dropFirst()).map { ($1.at - $0.at).milliseconds }
        #expect(gaps.allSatisfy { (50...100).contains($0) }, "\(gaps.filter { !(50...100).contains($0) })")
        #expect(gaps.count > 80)
        let told = feedbacks.reduce(0) { $0 + $1.feedback.statusCount }
        let lost = feedbacks.reduce(0) { $0 + $1.feedback.lostCount }
        let share = Double(lost) / Double(told)
        // What is late, at the edge of a feedback, counts as lost until it is told of again.
        #expect((0.02...0.16).contains(share), "\(lost) of \(told)")
    }

    @Test(arguments: [1, 2, 3] as [UInt64]) func theRoundTripOfAPublisherIsMeasured(seed: UInt64) throws {
        let (world, publisher, _) = try Self.run(seed: seed)
        // Twice 10 ms, jitter of up to 3 ms a way, and the world's steps of 1 ms.
        let measured = world.registrations[publisher.id]?.counters.roundTripMicroseconds.value ?? 0
        #expect((18_000...40_000).contains(measured), "\(measured) µs")
    }

    @Test func countersTellWhatWentInAndOut() throws {
        let (world, publisher, players) = try LossyLinkTests.world(
            seed: 6, players: 1, up: .perfect, down: .perfect)
        try LossyLinkTests.play(world, publisher, players)
        let (player, from, to) = (
            players[0], world.registrations[publisher.id]?.counters, world.registrations[players[0].id]?.counters
        )
        let sent = UInt64(publisher.sentVideo.count + publisher.sentAudio.count)
        #expect(from?.packetsReceived.value == sent && from?.packetsLost.value == 0)
        #expect((from?.bytesReceived.value ?? 0) > sent * 80)
        #expect((from?.videoBytesReceived.value ?? 0) < from?.bytesReceived.value ?? 0)
        let media = player.video.packets.values.map(\.payload.count)
        #expect(to?.packetsSent.value == UInt64(media.count + player.audio.packets.count))
        #expect(to?.videoBytesSent.value == UInt64(media.reduce(0, +)))
        #expect(to?.packetsRetransmitted.value == 0 && to?.nacks.value == 0)
    }

    @Test func aPublisherWithoutTransportFeedbackIsToldTheBitrateByREMB() throws {
        let world = try World(seed: 7) { $0.maxBitrate = 2_500_000 }
        var settings = PublisherCore.Settings()
        settings.feedback = ["nack", "nack pli", "goog-remb"]
        let publisher = try world.addPublisher(settings: settings)
        try world.connect(publisher)
        try world.run(for: .seconds(4))
        #expect(publisher.rembs.count >= 3)
        // 18 bits of mantissa.
        #expect(publisher.rembs.allSatisfy { $0 <= 2_500_000 && $0 > 2_499_900 })
    }

    @Test func aPublisherThatTakesFIRAloneIsAskedByFIR() throws {
        let world = try World(seed: 8)
        var settings = PublisherCore.Settings()
        settings.feedback = ["nack", "ccm fir"]
        let publisher = try world.addPublisher(settings: settings)
        try world.connect(publisher)
        try world.run(for: .milliseconds(500))
        for _ in 0..<2 {
            let player = try world.addPlayer(of: publisher)
            try world.connect(player)
            try world.run(for: .milliseconds(800))
            #expect(player.video.ordered.first?.part?.isKey == true)
        }
        #expect(publisher.plis.isEmpty)
        #expect(publisher.firs == [1, 2], "each request has a number of its own (RFC 5104 §4.3.1.1)")
    }

    @Test func playersTransportNumbersAreContinuousOverAllTheirPackets() throws {
        let (world, _, players) = try LossyLinkTests.world(seed: 5, players: 2, up: .bad, down: .perfect)
        try world.run(for: .seconds(3))
        for player in players {
            let numbers = player.transportSequences
            #expect(numbers.count > 300)
            #expect(zip(numbers, numbers.dropFirst()).allSatisfy { $1 == $0 &+ 1 })
        }
    }
}
