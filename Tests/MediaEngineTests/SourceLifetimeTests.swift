import Glibc
import MediaEngine
import SDP
import Synchronization
import Testing
import Wire

/// Begin, bounds and end of sources, and their way through real threads.
@Suite struct SourceLifetimeTests {
    @Test func aFullRingRefusesUntilTheWorkerHasTakenSomething() throws {
        let world = try World(seed: 1)
        let feeder = try world.addSource(capacity: 1)
        let source = feeder.source
        #expect(source.capacity == PacketSource.minCapacity)
        let payload = [UInt8](repeating: 1, count: 1000)
        let time = world.now
        func send() -> Bool {
            source.send(track: 0, timestamp: 0, marker: false, arrival: time, payload.span.bytes)
        }
        var count = 0
        while send() { count += 1 }
        #expect((60...63).contains(count) && source.bytesWaiting > 1 << 15)
        try world.run(for: .milliseconds(1))
        #expect(source.bytesWaiting == 0 && send())
        let counters = try #require(world.directory.find(peer: source.id)?.counters)
        #expect(counters.packetsReceived.value == UInt64(count))
    }

    @Test func whatCannotBeSentIsRefused() throws {
        let world = try World(seed: 2)
        let source = try world.addSource().source
        let payload = [UInt8](repeating: 1, count: PacketSource.maxPayload + 1)
        func send(_ length: Int, track: Int = 0, number: Int64? = nil) -> Bool {
            source.send(
                track: track, number: number, timestamp: 0, marker: false, arrival: world.now,
                payload.span.bytes.extracting(0..<length))
        }
        #expect(send(PacketSource.maxPayload) && !send(PacketSource.maxPayload + 1))
        #expect(!send(10, track: 2) && !send(10, track: 70_000) && send(10, track: 1))
        #expect(!send(10, number: -1) && !send(10, number: .max) && !send(10, number: .min))
        #expect(send(10, number: (1 << 47) - 1) && send(10, number: 0))
        source.flush()
        try world.run(for: .milliseconds(10))
        #expect(world.workers[0].slab.slotsInUse <= 4)
    }

    @Test func emptyPayloadsLeaveNoGap() throws {
        let world = try World(seed: 3)
        let feeder = try world.addSource()
        let reader = try world.attach(to: feeder)
        let empty: [UInt8] = []
        for i in 0..<100 {
            try world.run(for: .milliseconds(20), sending: feeder, reading: [reader])
            guard i % 5 == 0 else { continue }
            feeder.source.send(
                track: 1, number: feeder.videoNumber, timestamp: 0, marker: false, arrival: world.now, empty.span.bytes)
            feeder.videoNumber += 1
        }
        let numbers = reader.video.map(\.facts.number)
        #expect(numbers.count > 150 && zip(numbers, numbers.dropFirst()).allSatisfy { $0 + 1 == $1 })
        #expect(reader.violations == [])
    }

    @Test func aClosedSourceEndsForAll() throws {
        let world = try World(seed: 4, workers: 2)
        let waker = try SinkWaker()
        let feeder = try world.addSource(waker: waker)
        let near = try world.addPlayer(of: feeder)
        let far = try world.addPlayer(of: feeder, worker: 1)
        let reader = try world.attach(to: feeder)
        try world.connect(near, far, sending: feeder)
        try world.run(for: .milliseconds(500), sending: feeder, reading: [reader])
        waker.arm()
        let registration = try #require(world.directory.find(peer: feeder.source.id))
        world.mailboxes[registration.owner.load(ordering: .acquiring)].post(.close(peer: feeder.source.id))
        try world.run(for: .milliseconds(5))
        #expect(feeder.source.isEnded)
        var entry = pollfd(fd: waker.descriptor, events: Int16(POLLIN), revents: 0)
        #expect(poll(&entry, 1, 0) == 1, "the feeding thread is woken")
        let payload: [UInt8] = [1]
        let isTaken = feeder.source.send(track: 0, timestamp: 0, marker: false, payload.span.bytes)
        #expect(!isTaken)
        reader.read()
        #expect(reader.ends == 1 && reader.violations == [])
        try world.run(for: .seconds(6))
        for player in [near, far] {
            #expect(world.posted.contains { $0.failure(of: player) == .error("the stream ended") })
        }
        #expect(world.counters.peers.load(ordering: .relaxed) == 0)
        #expect(world.workers.allSatisfy { $0.streams.isEmpty && $0.peers.isEmpty && $0.slab.slotsInUse == 0 })
        // The id is free again.
        #expect(try world.addSource().source.isEnded == false)
    }

    @Test func anIdIsGivenOnce() throws {
        let world = try World(seed: 5)
        let publisher = try world.addPublisher()
        _ = try world.addSource(id: 900)
        #expect(throws: TestFailure.notConnected) { try world.addSource(id: 900) }
        #expect(throws: TestFailure.notConnected) { try world.addSource(id: publisher.id) }
    }

    @Test func sourcesAreSpreadOverTheWorkers() throws {
        let world = try World(seed: 6, workers: 3)
        let owners = try (0..<9 as Range<UInt64>).map { i in
            let feeder = try world.addSource(id: 1000 + i)
            if i == 4 { try world.run(for: .milliseconds(1)) }
            return world.directory.find(peer: feeder.source.id)?.owner.load(ordering: .relaxed)
        }
        #expect((0..<3).allSatisfy { worker in owners.count { $0 == worker } == 3 })
        try world.run(for: .milliseconds(1))
        #expect(world.workers.map(\.peers.count) == [3, 3, 3])
    }

    /// Feeder, worker and consumer are threads of their own: every packet comes through, once, in order, untorn.
    @Test func everythingComesThroughThreeThreads() throws {
        var configuration = EngineConfiguration(certificate: try TestSecurity.shared().server)
        configuration.port = 0
        configuration.listen = [SocketAddress(ipv4: 0x7f00_0001, port: 0)]
        configuration.workers = 2
        let engine = try MediaEngine(configuration: configuration) { _ in }
        let codec = RTPCodec(payloadType: 0, name: "PCMU", clockRate: 8000)
        let track = NegotiatedTrack(kind: .audio, mLineIndex: 0, mid: "0", codec: codec, extensions: [:])
        let source = try #require(engine.addSource(id: 1, tracks: [track], capacity: 1 << 16))
        let waker = try SinkWaker()
        let sink = PacketSink(capacity: 1 << 18, waker: waker)
        #expect(engine.attach(sink, publisher: 1)?.map(\.codec) == [.pcmu])
        let feeder = FeederThread(source, sink: sink, count: 200_000)
        try feeder.start()
        var expected: Int64 = 0
        // The worker may have taken some before it heard of the sink.
        var first: Int64?
        var wrong = 0
        var ends = 0
        while expected < feeder.count {
            sink.read { record, payload in
                switch record {
                case .packet(let packet):
                    if first == nil { (first, expected) = (packet.number, packet.number) }
                    if packet.number != expected || packet.timestamp != UInt32(expected) { wrong += 1 }
                    for i in stride(from: 0, to: payload.byteCount, by: 8)
                    where payload.unsafeLoadUnaligned(fromByteOffset: i, as: Int64.self) != expected &+ Int64(i) {
                        wrong += 1
                    }
                    expected += 1
                case .ended: ends += 1
                default: wrong += 1
                }
            }
            guard expected < feeder.count else { break }
            waker.wait(timeout: .seconds(120)) { sink.hasNews }
        }
        feeder.join()
        #expect(wrong == 0 && ends == 0 && sink.packetsLost == 0)
        #expect(sink.packetsWritten == UInt64(feeder.count - (first ?? 0)))
        #expect(engine.registration(of: 1)?.counters.packetsReceived.value == UInt64(feeder.count))
        engine.stop()
        #expect(source.isEnded && sink.isEnded)
        #expect(sink.read { record, _ in if case .ended = record { ends += 1 } } == 1 && ends == 1)
        #expect(engine.addSource(id: 2, tracks: [track]) == nil)
    }
}

/// A thread that sends as fast as the worker takes it, and no faster than the sink's consumer.
private final class FeederThread: @unchecked Sendable {
    let count: Int64
    private let source: PacketSource
    private let sink: PacketSink
    private var thread = pthread_t()

    init(_ source: PacketSource, sink: PacketSink, count: Int64) {
        self.source = source
        self.sink = sink
        self.count = count
    }

    func start() throws {
        let context = Unmanaged.passRetained(self).toOpaque()
        let result = pthread_create(
            &thread, nil,
            { context in
                Unmanaged<FeederThread>.fromOpaque(context!).takeRetainedValue().run()
                return nil
            }, context)
        guard result == 0 else { throw TestFailure.system(result) }
    }

    func join() { pthread_join(thread, nil) }

    private func run() {
        var words = [Int64](repeating: 0, count: 128)
        for number in 0..<count {
            let length = 1 + Int(number % 128)
            for i in 0..<length { words[i] = number &+ Int64(i * 8) }
            // Half of the sink's ring is more than the worker has still to take.
            while sink.bytesWaiting > sink.capacity / 2 { sched_yield() }
            while !source.send(
                track: 0, number: number, timestamp: UInt32(number), marker: false,
                words.span.bytes.extracting(0..<(length * 8)))
            {
                sched_yield()
            }
            if number % 7 == 0 { source.flush() }
        }
        source.flush()
    }
}
