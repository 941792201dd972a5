import MediaEngine
import Testing
import Wire

/// Players over ICE-TCP (RFC 6544, RFC 4571): nothing is lost on the way, so what a slow one cannot take must be left
/// out before, in whole pictures.
@Suite struct TCPTests {
    private static let queue = 65_536
    private static let kernelBuffer = 16_384

    private static func world(
        seed: UInt64, workers: Int = 1
    ) throws -> (World, PublisherCore, slow: PlayerCore, other: PlayerCore, StreamPipe) {
        let world = try World(seed: seed, workers: workers) { $0.maxTCPQueue = queue }
        var settings = PublisherCore.Settings()
        settings.payloadLength = 1000
        let publisher = try world.addPublisher(settings: settings)
        try world.connect(publisher)
        let other = try world.addPlayer(of: publisher)
        try world.connect(other)
        let slow = try world.addPlayer(of: publisher)
        let pipe = try world.connectTCP(slow, kernelBuffer: kernelBuffer)
        try world.connect(slow)
        try world.run(for: .seconds(1))
        return (world, publisher, slow, other, pipe)
    }

    private static func isWhole(_ player: PlayerCore) -> Bool {
        let frames = Set(player.video.ordered.compactMap { $0.part?.frame })
        return frames.count == player.video.wholeFrames.count
    }

    @Test func aFastPlayerGetsEverything() throws {
        let (world, _, slow, other, _) = try Self.world(seed: 1)
        try world.run(for: .seconds(2))
        #expect(slow.video.ordered.first?.part?.isKey == true)
        #expect(slow.video.everMissing == 0 && slow.video.holes == 0 && slow.video.violations == [])
        #expect(slow.audio.everMissing == 0 && slow.audio.violations == [])
        let last = [slow, other].map { Int($0.video.ordered.last?.part?.frame ?? 0) }
        #expect(abs(last[0] - last[1]) <= 1)
        #expect(world.counters.tcpPicturesDropped.value == 0)
    }

    @Test(arguments: [1, 2, 3] as [UInt64]) func aStalledPlayerHasABoundedQueueAndComesBackAtAKeyFrame(
        seed: UInt64
    ) throws {
        let (world, publisher, slow, other, pipe) = try Self.world(seed: seed)
        pipe.readBudget = 0
        try world.run(for: .seconds(5))
        #expect(world.counters.tcpPicturesDropped.value > 0)
        let requests = publisher.plis.count
        try world.run(for: .seconds(2))
        #expect(publisher.plis.count == requests, "others pay for key frames that nobody can take")
        let before = pipe.bytesRead
        publisher.isSending = false
        let last = slow.video.highest
        pipe.readBudget = .max
        try world.run(for: .milliseconds(100))
        // 100 kB a second were meant for it; no more than the bound and the kernel's share had to wait.
        #expect(pipe.bytesRead - before <= Self.queue + 4 * Self.kernelBuffer)
        #expect(pipe.bytesRead - before > Self.queue / 4)
        let drained = slow.video.highest
        #expect(drained > last)
        publisher.resume(now: world.now)
        try world.run(for: .seconds(2))
        #expect(publisher.plis.count > requests, "no key frame was asked for")
        let next = try #require(slow.video.packets[drained + 1])
        #expect(next.part?.isKey == true && next.part?.part == 0)
        #expect(slow.video.everMissing == 0 && slow.video.violations == [])
        #expect(Self.isWhole(slow))
        #expect(slow.video.ordered.last?.part == other.video.ordered.last?.part)
        #expect(other.video.everMissing == 0 && other.video.holes == 0 && Self.isWhole(other))
    }

    @Test(arguments: [1, 2, 3] as [UInt64]) func aPlayerThatIsTooSlowLosesWholePictures(seed: UInt64) throws {
        let (world, publisher, slow, other, pipe) = try Self.world(seed: seed)
        // Half of what the stream needs.
        pipe.readBudget = 50
        let before = slow.video.wholeFrames.count
        let requests = publisher.plis.count
        try world.run(for: .seconds(10))
        let frames = slow.video.wholeFrames.count - before
        #expect((40...200).contains(frames), "\(frames) of 250 pictures")
        #expect(slow.video.everMissing == 0 && slow.video.violations == [])
        #expect(publisher.plis.count - requests < 25)
        #expect(other.video.everMissing == 0 && Self.isWhole(other))
        pipe.readBudget = .max
        try world.run(for: .seconds(2))
        #expect(Self.isWhole(slow))
        #expect(slow.video.ordered.last?.part == other.video.ordered.last?.part)
    }

    @Test func aConnectionThatReachesAnotherWorkerIsHandedToTheOwner() throws {
        let world = try World(seed: 4, workers: 2)
        let publisher = try world.addPublisher()
        try world.connect(publisher)
        let player = try world.addPlayer(of: publisher)
        try world.connect(player)
        try world.run(for: .milliseconds(500))
        let datagrams = world.downlinks[player.id]?.carried ?? 0
        // The peer moves from UDP to a TCP connection that worker 1 accepts.
        let pipe = try world.connectTCP(player, worker: 1, kernelBuffer: Self.kernelBuffer)
        try world.run(for: .seconds(4))
        #expect(pipe.bytesRead > 10_000)
        #expect(world.workers[1].peers.isEmpty && world.workers[0].peers.count == 2)
        #expect(player.video.violations == [] && player.video.holes == 0 && player.video.everMissing == 0)
        let moved = world.downlinks[player.id]?.carried ?? 0
        try world.run(for: .seconds(1))
        #expect(moved > datagrams && world.downlinks[player.id]?.carried == moved, "still sent over UDP")
    }

    @Test func anEndedPlayersConnectionIsClosed() throws {
        let (world, _, slow, other, pipe) = try Self.world(seed: 5)
        world.close(slow)
        try world.run(for: .milliseconds(100))
        #expect(pipe.isClosed && slow.isClosed)
        #expect(other.video.everMissing == 0)
        #expect(!world.posted.contains { $0.failure(of: slow) != nil })
    }
}
