import CLinuxNet
import Glibc
import MediaEngine
import SDP
import Synchronization
import Testing
import Wire

/// Attaching, detaching and ends of sinks, whenever they happen.
@Suite struct SinkLifetimeTests {
    private static func world(seed: UInt64, workers: Int = 1) throws -> (World, PublisherCore) {
        let world = try World(seed: seed, workers: workers)
        let publisher = try world.addPublisher()
        try world.connect(publisher)
        try world.run(for: .milliseconds(300))
        return (world, publisher)
    }

    private static func attached(_ world: World) -> Int { world.counters.sinks.load(ordering: .relaxed) }

    @Test func aDetachedSinkGetsNothingMoreAndIsTold() throws {
        let (world, publisher) = try Self.world(seed: 1)
        let gone = try world.attach(to: publisher)
        let stays = try world.attach(to: publisher)
        try world.run(for: .seconds(1), reading: stays)
        #expect(Self.attached(world) == 2)
        world.sinks.detach(gone.sink)
        world.sinks.detach(gone.sink)
        #expect(Self.attached(world) == 1 && gone.sink.isEnded)
        #expect(world.counters.sinkBytes.load(ordering: .relaxed) == stays.sink.capacity)
        try world.run(for: .seconds(1), reading: stays)
        // What was in the ring is still there.
        gone.read()
        #expect(gone.ends == 1 && gone.video.count > 60 && gone.video.count < 120 && gone.violations == [])
        #expect(!gone.sink.hasNews && gone.read() == 0)
        #expect(stays.ends == 0 && stays.video.count > 160 && stays.violations == [])
        #expect(world.sinks.attach(gone.sink, publisher: publisher.id) == nil, "once is all")
    }

    @Test func aStreamThatEndsEndsItsSinksBehindItsLastPacket() throws {
        let (world, publisher) = try Self.world(seed: 2)
        let reader = try world.attach(to: publisher)
        // Many players: the last picture is still being gathered.
        for _ in 0..<16 {
            let player = try world.addPlayer(of: publisher)
            try world.connect(player)
        }
        try world.run(for: .milliseconds(500), reading: reader)
        let (video, _) = try world.holdPicture(of: publisher)
        reader.read()
        let before = reader.video.count
        world.deliverTogether(video.dropLast(), from: publisher)
        reader.read()
        #expect(reader.video.count == before)
        world.close(publisher)
        try world.run(for: .milliseconds(2))
        reader.read()
        #expect(reader.ends == 1 && reader.video.count == before + 3 && reader.violations == [])
        #expect(Self.attached(world) == 0 && world.counters.sinkBytes.load(ordering: .relaxed) == 0)
        #expect(world.sinks.attach(PacketSink(), publisher: publisher.id) == nil)
        #expect(world.sinks.tracks(of: publisher.id) == nil)
        #expect(Self.attached(world) == 0)
    }

    @Test func aStreamPublishedAnewNeedsANewSink() throws {
        let (world, publisher) = try Self.world(seed: 3)
        let reader = try world.attach(to: publisher)
        let other = try world.addPublisher()
        #expect(world.sinks.attach(reader.sink, publisher: publisher.id) == reader.tracks, "again is the same")
        #expect(world.sinks.attach(reader.sink, publisher: other.id) == nil)
        #expect(Self.attached(world) == 1)
        try world.run(for: .seconds(1), reading: reader)
        #expect(reader.violations == [], "attached twice is fed once")
        world.close(publisher)
        try world.connect(other)
        let next = try world.attach(to: other)
        try world.run(for: .seconds(1), reading: reader, next)
        #expect(reader.ends == 1 && next.ends == 0 && next.video.first?.part?.isKey == true)
    }

    @Test func aSinkIsFedByTheWorkerOfThePublisherWhereverPlayersAre() throws {
        let world = try World(seed: 4, workers: 2)
        let publisher = try world.addPublisher(worker: 1)
        try world.connect(publisher)
        try world.run(for: .milliseconds(300))
        let reader = try world.attach(to: publisher)
        let player = try world.addPlayer(of: publisher, worker: 0)
        try world.connect(player)
        try world.run(for: .seconds(2), reading: reader)
        #expect(reader.violations == [] && reader.video.count > 150 && reader.losses.isEmpty)
        #expect(player.video.violations == [] && player.video.everMissing == 0)
    }

    @Test func fiftySinksAndPlayersOfOneStreamGetTheSame() throws {
        let (world, publisher) = try Self.world(seed: 5)
        let readers = try (0..<50).map { _ in try world.attach(to: publisher) }
        let player = try world.addPlayer(of: publisher)
        try world.connect(player)
        try world.run(for: .seconds(1))
        for reader in readers { reader.read() }
        for (i, reader) in readers.enumerated() where i % 2 == 0 { world.sinks.detach(reader.sink) }
        try world.run(for: .seconds(1))
        for reader in readers { reader.read() }
        #expect(readers.allSatisfy { $0.violations == [] && $0.losses.isEmpty })
        let rest = readers.enumerated().filter { $0.offset % 2 == 1 }.map(\.element)
        #expect(Set(rest.map(\.packets.count)).count == 1 && rest[0].video.count > 180)
        #expect(publisher.plis.count <= 2, "their requests are merged")
        #expect(player.video.violations == [] && player.video.everMissing == 0)
        #expect(Self.attached(world) == 25)
    }

    @Test func requestsForKeyFramesAreMergedWithThoseOfPlayers() throws {
        let (world, publisher) = try Self.world(seed: 6)
        let reader = try world.attach(to: publisher)
        let player = try world.addPlayer(of: publisher)
        try world.connect(player)
        try world.run(for: .seconds(1), reading: reader)
        let before = publisher.plis.count
        for i in 0..<100 {
            world.sinks.requestKeyFrame(publisher: publisher.id)
            if i % 3 == 0 { player.sendPLI(now: world.now, evenIfRecent: true) }
            try world.run(for: .milliseconds(10), reading: reader)
        }
        #expect((3...4).contains(publisher.plis.count - before), "\(publisher.plis.count - before)")
        world.sinks.requestKeyFrame(publisher: 4711)
        world.sinks.requestKeyFrame(publisher: player.id)
    }

    @Test func aSinkOfNobodyIsRefused() throws {
        let (world, publisher) = try Self.world(seed: 7)
        let player = try world.addPlayer(of: publisher)
        let sink = PacketSink()
        #expect(world.sinks.attach(sink, publisher: 4711) == nil)
        #expect(world.sinks.attach(sink, publisher: player.id) == nil, "a player is no source")
        #expect(Self.attached(world) == 0 && !sink.isEnded)
        #expect(world.sinks.attach(sink, publisher: publisher.id) != nil, "a refusal is no end")
        let never = PacketSink(capacity: 1)
        #expect(never.capacity == PacketSink.minCapacity)
        world.sinks.detach(never)
        #expect(SinkReader(never, tracks: []).read() == 1 && never.isEnded)
        #expect(world.sinks.attach(never, publisher: publisher.id) == nil)
    }

    /// A sink may wait for a publisher whose client takes its time, restarts ICE, or never comes.
    @Test func sinksOfPublishersThatNeverConnectEndWithThem() throws {
        let log = Mutex(0)
        var configuration = EngineConfiguration(certificate: try TestSecurity.shared().server)
        configuration.port = 0
        configuration.listen = [SocketAddress(ipv4: 0x7f00_0001, port: 0)]
        configuration.workers = 2
        let engine = try MediaEngine(configuration: configuration) { _ in log.withLock { $0 += 1 } }
        let codec = RTPCodec(payloadType: 96, name: "VP8", clockRate: 90_000)
        let track = NegotiatedTrack(kind: .video, mLineIndex: 0, mid: "0", codec: codec, extensions: [:])
        func register(_ id: UInt64) {
            let transport = NegotiatedTransport(
                localUfrag: "local\(id)", localPassword: "a long enough password", remoteUfrag: "remote",
                remotePassword: "another long enough one", fingerprints: [], dtlsRole: .server)
            engine.register(
                id: id, publisher: nil, negotiation: Negotiation(answer: "", transports: [transport], tracks: [track]))
        }
        let sinks = (1...3 as ClosedRange<UInt64>).map { id in
            register(id)
            let sink = PacketSink()
            #expect(engine.attach(sink, publisher: id)?.count == 1)
            return sink
        }
        engine.close(peer: 1)
        #expect(sinks.map(\.isEnded) == [true, false, false])
        // New credentials before the first check: another registration, the same sinks.
        #expect(
            engine.restartICE(
                peer: 2, local: .init(ufrag: "new", password: "new new new new new new"),
                remote: .init(ufrag: "newer", password: "newer newer newer newer")))
        #expect(engine.attach(sinks[1], publisher: 2)?.count == 1)
        engine.close(peer: 2)
        #expect(sinks.map(\.isEnded) == [true, true, false])
        engine.stop()
        #expect(sinks.map(\.isEnded) == [true, true, true])
        #expect(engine.attach(PacketSink(), publisher: 3) == nil)
        #expect(engine.counters.sinks.load(ordering: .relaxed) == 0)
    }

    /// A real thread consumes what workers in virtual time produce: it finds all, and never has to wait for its time-out.
    @Test func aConsumerThreadIsWokenWheneverThereIsNews() throws {
        let (world, publisher) = try Self.world(seed: 8)
        let waker = try SinkWaker()
        let readers = try (0..<3).map { _ in try world.attach(to: publisher, capacity: 1 << 20, waker: waker) }
        let consumer = ConsumerThread(readers, waker: waker)
        try consumer.start()
        let limit = weir_monotonic_ns() + 100_000_000_000
        for _ in 0..<100 {
            try world.run(for: .milliseconds(50))
            // It has found all, and goes to sleep.
            while readers.contains(where: { $0.sink.bytesWaiting > 0 }), weir_monotonic_ns() < limit { sched_yield() }
        }
        world.close(publisher)
        try world.run(for: .milliseconds(10))
        consumer.join()
        for reader in readers {
            #expect(reader.ends == 1 && reader.violations == [] && reader.losses.isEmpty)
            #expect(reader.video.count > 450 && reader.sink.packetsWritten == UInt64(reader.packets.count))
        }
        #expect(consumer.timeouts == 0, "a wake-up was lost")
        #expect(consumer.waits >= 100)
    }

    @Test func aWakerIsWokenOnceAndOnlyWhileItsThreadSleeps() throws {
        let (world, publisher) = try Self.world(seed: 9)
        let waker = try SinkWaker()
        let reader = try world.attach(to: publisher, waker: waker)
        func signals() -> UInt64 {
            var count: UInt64 = 0
            return Glibc.read(waker.descriptor, &count, 8) == 8 ? count : 0
        }
        try world.run(for: .milliseconds(500))
        #expect(signals() == 0, "nobody sleeps")
        waker.arm()
        try world.run(for: .milliseconds(500))
        #expect(signals() == 1, "one sleep, one signal")
        waker.disarm()
        var asked = 0
        waker.wait(timeout: .seconds(600)) {
            asked += 1
            return reader.sink.hasNews
        }
        #expect(asked == 1)
        waker.wake()
        waker.wait(timeout: .seconds(600)) { false }
        // Ends wake, too.
        reader.read()
        waker.arm()
        world.sinks.detach(reader.sink)
        #expect(signals() == 1 && reader.sink.hasNews)
    }
}

/// A thread that serves some sinks until all have ended.
private final class ConsumerThread: @unchecked Sendable {
    private let readers: [SinkReader]
    private let waker: SinkWaker
    private var thread = pthread_t()
    /// Read by others after `join`.
    private(set) var waits = 0
    private(set) var timeouts = 0

    init(_ readers: [SinkReader], waker: SinkWaker) {
        self.readers = readers
        self.waker = waker
    }

    func start() throws {
        let context = Unmanaged.passRetained(self).toOpaque()
        let result = pthread_create(
            &thread, nil,
            { context in
                Unmanaged<ConsumerThread>.fromOpaque(context!).takeRetainedValue().run()
                return nil
            }, context)
        guard result == 0 else { throw TestFailure.system(result) }
    }

    func join() { pthread_join(thread, nil) }

    private func run() {
        while !readers.allSatisfy({ $0.ends > 0 }) {
            for reader in readers { reader.read() }
            guard !readers.allSatisfy({ $0.ends > 0 }) else { return }
            let start = weir_monotonic_ns()
            waits += 1
            waker.wait(timeout: .seconds(120)) { readers.contains { $0.sink.hasNews } }
            if weir_monotonic_ns() - start > 119_000_000_000 { timeouts += 1 }
        }
    }
}
