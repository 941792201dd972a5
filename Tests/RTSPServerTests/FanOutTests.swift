import MediaFormats
import NIOCore
import NIOEmbedded
import RTP
import RTSP
import RTSPServer
import Synchronization
import Testing
import Wire

/// A player whose connection takes what the test lets it take.
private final class Player: FanOutPlayer {
    let layout: ChannelLayout
    var isWritable = true
    var begun: [[RTSPAnswer.FirstPacket?]] = []
    var ended = 0
    var dropped = 0
    var wishes = 0
    private var parser = RTSPParser()
    /// Channel, and sequence number of RTP or -1 of RTCP.
    var got: [(channel: UInt8, sequence: Int, bytes: [UInt8])] = []

    init(_ pairs: [(index: Int, rtp: UInt8)] = [(0, 0), (1, 2)]) {
        layout = ChannelLayout(
            pairs.map {
                RTSPSetUpTrack(
                    index: $0.index, path: .interleaved(.init($0.rtp, $0.rtp + 1)), ssrc: 0, payloadType: 0)
            }, of: 2)
    }

    func begin(_ first: [RTSPAnswer.FirstPacket?]) { begun.append(first) }

    func write(_ bytes: ByteBuffer) {
        parser.append(Array(bytes.readableBytesView))
        do {
            let message = try parser.next { channel, packet in
                let header = try? RTPHeader(parsing: packet)
                let isRTCP = RTCP.isRTCP(packet)
                got.append((channel, isRTCP ? -1 : Int(header?.sequence ?? 0), packet.copied()))
            }
            #expect(message == nil && parser.heldBytes == 0)
        } catch {
            Issue.record("\(error)")
        }
    }

    func streamEnded() { ended += 1 }
    func noteDropped() { dropped += 1 }
    func needsKeyFrame() { wishes += 1 }

    var video: [Int] { got.filter { $0.channel == 0 && $0.sequence >= 0 }.map(\.sequence) }
    var audio: [Int] { got.filter { $0.channel == 2 && $0.sequence >= 0 }.map(\.sequence) }
}

@Suite struct FanOutTests {
    private let eventLoop = EmbeddedEventLoop()
    private let requests = Wishes()
    private let stream: RTSPStream

    init() {
        var settings = RTSPFanOutSettings()
        settings.maxBacklog = 4000
        settings.maxGroupBytes = 3000
        settings.freshGroup = .zero
        settings.pictureWait = .milliseconds(300)
        let requests = requests
        stream = RTSPStream(
            tracks: [TrackDescription(codec: .vp8), TrackDescription(codec: .opus)], ssrcs: [0xa, 0xb], cname: "weir",
            settings: settings, askForKeyFrame: { requests.count.withLock { $0 += 1 } })
    }

    private func join(_ player: Player) { #expect(stream.join(player, eventLoop: eventLoop)) }

    /// One packet in a batch of its own.
    private func video(_ number: Int64, key: Bool = false, size: Int = 20) {
        stream.send(
            track: 0, number: number, timestamp: UInt32(number) * 3000, marker: true, isKeyFrameStart: key,
            arrival: Instant(nanoseconds: number * 1_000_000_000 / 30),
            [UInt8](repeating: 1, count: size).span.bytes)
        stream.flush()
        eventLoop.run()
    }

    private func audio(_ number: Int64) {
        stream.send(
            track: 1, number: number, timestamp: UInt32(number) * 960, marker: false, isKeyFrameStart: false,
            arrival: Instant(nanoseconds: number * 20_000_000),
            [2, 3].span.bytes)
        stream.flush()
        eventLoop.run()
    }

    @Test func aPlayerBeginsWithAKeyFrame() throws {
        let player = Player()
        join(player)
        #expect(requests.count.withLock { $0 } == 1)
        video(10)
        audio(20)
        #expect(player.begun.isEmpty && player.got.isEmpty)
        video(11, key: true)
        #expect(player.begun == [[.init(sequence: 11, rtpTime: 33_000), .init(rtpTime: 17_600)]])
        video(12)
        audio(21)
        #expect(player.video == [11, 12] && player.audio == [21])
        let first = try #require(player.got.first)
        #expect(first.bytes.prefix(12) == [0x80, 0x80 | 96, 0, 11, 0, 0, 0x80, 0xe8, 0, 0, 0, 0xa])
        // Late: the connection has its own order.
        video(9)
        video(12)
        #expect(player.video == [11, 12])
    }

    @Test func whatIsBeforeTheKeyFrameInItsBatchIsLeftOut() {
        let player = Player()
        join(player)
        for number in Int64(1)...5 {
            stream.send(
                track: 0, number: number, timestamp: 1, marker: true, isKeyFrameStart: number == 3,
                arrival: .zero, [1].span.bytes)
            stream.send(
                track: 1, number: number, timestamp: 1, marker: true, isKeyFrameStart: false, arrival: .zero,
                [1].span.bytes)
        }
        stream.flush()
        eventLoop.run()
        #expect(player.video == [3, 4, 5] && player.audio == [1, 2, 3, 4, 5])
    }

    @Test func withoutAKeyFrameTheStoredPicturesAreGiven() {
        let early = Player()
        join(early)
        video(1, key: true)
        video(2)
        let late = Player()
        join(late)
        eventLoop.advanceTime(by: .milliseconds(299))
        #expect(late.begun.isEmpty)
        video(3)
        eventLoop.advanceTime(by: .milliseconds(1))
        #expect(late.begun == [[.init(sequence: 1, rtpTime: 3000), .init()]])
        video(4)
        #expect(late.video == [1, 2, 3, 4] && early.video == [1, 2, 3, 4])
    }

    @Test func aNewLoopKnowsTheStoredPictures() {
        video(1, key: true)
        video(2)
        stream.report(track: 0, ntp: 1 << 32, timestamp: 3000)
        stream.flush()
        let other = EmbeddedEventLoop()
        let player = Player()
        #expect(stream.join(player, eventLoop: other))
        video(3)
        other.run()
        #expect(player.got.isEmpty)
        other.advanceTime(by: .milliseconds(300))
        #expect(player.video == [1, 2, 3] && player.got.first?.channel == 1)
    }

    /// Parameter sets begin a key frame; its picture does so again.
    @Test func storedPicturesBeginWithTheirParameterSets() {
        let early = Player()
        join(early)
        for number in Int64(1)...4 {
            stream.send(
                track: 0, number: number, timestamp: number < 4 ? 700 : 3700, marker: number > 2,
                isKeyFrameStart: number < 3, arrival: .zero, [1].span.bytes)
            stream.flush()
            eventLoop.run()
        }
        let late = Player()
        join(late)
        eventLoop.advanceTime(by: .milliseconds(300))
        #expect(late.video == [1, 2, 3, 4] && early.video == [1, 2, 3, 4])
    }

    @Test func withoutAnyPictureSoundBegins() {
        let player = Player()
        join(player)
        stream.report(track: 1, ntp: 1 << 32, timestamp: 3000)
        stream.flush()
        eventLoop.advanceTime(by: .milliseconds(300))
        // The clock before the sound.
        #expect(player.begun.count == 1 && player.got.map(\.channel) == [3])
        audio(5)
        video(1)
        #expect(player.audio == [5] && player.video.isEmpty && player.wishes > 0)
        video(2, key: true)
        #expect(player.video == [2])
        #expect(player.begun.count == 1)
    }

    @Test func tracksThatWereNotSetUpAreNotSent() {
        let sound = Player([(1, 2)])
        let other = Player([(0, 8), (1, 4)])
        join(sound)
        join(other)
        audio(1)
        #expect(sound.begun == [[nil, .init(sequence: 1, rtpTime: 960)]])
        video(1, key: true)
        audio(2)
        #expect(sound.audio == [1, 2] && sound.video.isEmpty)
        #expect(other.got.map(\.channel) == [8, 4])
    }

    @Test func aSlowPlayerLosesPicturesAndNobodyElseDoes() {
        let slow = Player()
        let quick = Player()
        join(slow)
        join(quick)
        video(1, key: true)
        slow.isWritable = false
        video(2)
        audio(2)
        slow.isWritable = true
        audio(3)
        video(3)
        #expect(slow.video == [1] && slow.audio == [3] && slow.dropped == 2 && slow.wishes > 0)
        video(4, key: true)
        video(5)
        #expect(slow.video == [1, 4, 5])
        #expect(quick.video == [1, 2, 3, 4, 5] && quick.audio == [2, 3] && quick.dropped == 0)
    }

    @Test func aLoopThatIsBehindLosesPicturesInsteadOfMemory() {
        let player = Player()
        join(player)
        video(1, key: true)
        // More than the backlog, while the loop does not run.
        for number in Int64(2)..<200 {
            stream.send(
                track: 0, number: number, timestamp: 0, marker: true, isKeyFrameStart: false,
                arrival: .zero, [UInt8](repeating: 0, count: 100).span.bytes)
            stream.flush()
        }
        eventLoop.run()
        let reached = player.video.count
        #expect(reached > 10 && reached < 50)
        // Nothing that needs what was lost.
        video(200)
        #expect(player.video.count == reached)
        video(201, key: true)
        video(202)
        #expect(player.video.suffix(2) == [201, 202])
    }

    @Test func storedPicturesAreBounded() {
        let early = Player()
        join(early)
        video(1, key: true)
        for number in Int64(2)..<10 { video(number, size: 500) }
        let late = Player()
        join(late)
        eventLoop.advanceTime(by: .milliseconds(300))
        video(10)
        // Too much was stored: it waits for the next key frame.
        #expect(late.begun.count == 1 && late.video.isEmpty)
        video(11, key: true)
        #expect(late.video == [11])
    }

    @Test func reportsGoToPlayersAndTellTheTimeOfSound() throws {
        let player = Player()
        join(player)
        // The same moment on both clocks, then a picture 3 s later and another clock's report 1 s later.
        stream.report(track: 0, ntp: 1000 << 32, timestamp: 90_000)
        stream.report(track: 1, ntp: 1001 << 32, timestamp: 48_000)
        stream.send(
            track: 0, number: 7, timestamp: 90_000 + 270_000, marker: true, isKeyFrameStart: true, arrival: .zero,
            [1].span.bytes)
        stream.flush()
        eventLoop.run()
        #expect(player.begun == [[.init(sequence: 7, rtpTime: 360_000), .init(rtpTime: 48_000 + 2 * 48_000)]])
        let reports = player.got.filter { $0.sequence < 0 }
        // Before everything else, and those of the batch.
        #expect(player.got.prefix(2).map(\.channel) == [1, 3] && reports.map(\.channel) == [1, 3, 1, 3])
        var seen: [SenderReport] = []
        for report in reports {
            try RTCP.parse(report.bytes.span.bytes) { if case .senderReport(let part) = $0 { seen.append(part) } }
        }
        #expect(seen.map(\.rtpTimestamp) == [90_000, 48_000, 90_000, 48_000])
        #expect(seen.map(\.ssrc) == [0xa, 0xb, 0xa, 0xb])
    }

    @Test func withoutReportsTheTimesAreThoseAtWhichPacketsCame() {
        video(30)
        audio(49)
        audio(50)
        let player = Player()
        join(player)
        eventLoop.advanceTime(by: .milliseconds(300))
        // No key frame: the newest packet says what time it is, and video has not begun.
        #expect(player.begun == [[.init(rtpTime: 90_000), .init(rtpTime: 48_000)]])
        video(60, key: true)
        let late = Player()
        join(late)
        video(61, key: true)
        // The picture came 1.0333 s after the sound that was known last.
        #expect(late.begun == [[.init(sequence: 61, rtpTime: 183_000), .init(rtpTime: 48_000 + 49_600)]])
    }

    @Test func aRecentKeyFrameNeedNotBeWaitedFor() {
        let requests = Wishes()
        let stream = RTSPStream(
            tracks: [TrackDescription(codec: .vp8), TrackDescription(codec: .opus)], ssrcs: [0xa, 0xb], cname: "weir",
            askForKeyFrame: { requests.count.withLock { $0 += 1 } })
        func send(_ number: Int64, key: Bool, after milliseconds: Int64) {
            stream.send(
                track: 0, number: number, timestamp: UInt32(number) * 3000, marker: true, isKeyFrameStart: key,
                arrival: .zero + .milliseconds(milliseconds), [1].span.bytes)
            stream.flush()
            eventLoop.run()
        }
        send(1, key: true, after: 0)
        send(2, key: false, after: 499)
        let player = Player()
        #expect(stream.join(player, eventLoop: eventLoop))
        #expect(player.begun == [[.init(sequence: 1, rtpTime: 3000), .init()]] && player.video == [1, 2])
        #expect(requests.count.withLock { $0 } == 0)
        send(3, key: false, after: 500)
        let late = Player()
        #expect(stream.join(late, eventLoop: eventLoop))
        #expect(late.begun.isEmpty && requests.count.withLock { $0 } == 1 && player.video == [1, 2, 3])
    }

    @Test func playersAreCounted() {
        let player = Player()
        join(player)
        join(Player())
        #expect(stream.playerCount == 2)
        stream.leave(player, eventLoop: eventLoop)
        stream.leave(player, eventLoop: eventLoop)
        #expect(stream.playerCount == 1)
        stream.end()
        eventLoop.run()
        #expect(stream.playerCount == 0)
    }

    @Test func theEndIsTold() throws {
        let player = Player()
        join(player)
        video(1, key: true)
        stream.end()
        eventLoop.run()
        #expect(player.ended == 1)
        let last = try #require(player.got.last)
        var byes: [[UInt32]] = []
        try RTCP.parse(last.bytes.span.bytes) { if case .bye(let sources) = $0 { byes.append(sources) } }
        #expect(byes == [[0xb]])
        #expect(!stream.join(Player(), eventLoop: eventLoop) && stream.isIdle)
    }

    @Test func whoHasLeftGetsNothing() {
        let player = Player()
        let other = Player()
        join(player)
        join(other)
        video(1, key: true)
        stream.leave(player, eventLoop: eventLoop)
        stream.leave(player, eventLoop: eventLoop)
        video(2)
        #expect(player.video == [1] && other.video == [1, 2] && !stream.isIdle)
        stream.leave(other, eventLoop: eventLoop)
        #expect(stream.isIdle)
        eventLoop.advanceTime(by: .seconds(1))
        stream.end()
        eventLoop.run()
        #expect(player.ended == 0)
    }
}

private final class Wishes: Sendable {
    let count = Mutex(0)
}
