import MediaEngine
import MediaFormats
import MediaFrames
import MediaTaps
import TestSupport
import Testing
import Wire

/// From a publisher to whole frames over real threads: a source inside the process, a worker, the reader.
@Suite(.timeLimit(.minutes(5))) struct FrameReaderTests {
    @Test func everyFrameOfAStreamComesOnceAndInOrder() async throws {
        let world = try World()
        let frames = Frames()
        let source = try world.publish(1)
        let tap = try #require(world.reader.tap(publisher: 1) { _ in frames })
        #expect(tap.tracks.map(\.codec) == [.pcmu])
        try await world.send(1_000, from: source, readBy: frames)
        let got = frames.state.value.frames
        #expect(got.map(\.data) == (0..<1_000).map(World.payload))
        #expect(got.allSatisfy { $0.track == 0 && $0.isKeyFrame })
        #expect(zip(got, got.dropFirst()).allSatisfy { $1.time > $0.time })
        #expect(!frames.state.value.hasEnded && tap.packetsLost == 0)
        world.stop()
        #expect(frames.state.value.hasEnded)
        #expect(tap.counts.map(\.frames) == [1_000] && tap.counts[0].lost == 0)
    }

    @Test func aTapEndsWithItsPublisherAndWithCancellation() async throws {
        let world = try World()
        defer { world.stop() }
        let (stays, leaves, cancelled) = (Frames(), Frames(), Frames())
        let sources = try [world.publish(1), world.publish(2)]
        try #require(world.reader.tap(publisher: 1) { _ in stays } != nil)
        try #require(world.reader.tap(publisher: 2) { _ in leaves } != nil)
        let tap = try #require(world.reader.tap(publisher: 1) { _ in cancelled })
        try await world.send(10, from: sources[0], readBy: stays)
        try await world.send(10, from: sources[1], readBy: leaves)
        try await cancelled.state.wait { $0.frames.count == 10 }
        world.engine.close(peer: 2)
        try await leaves.state.wait(\.hasEnded)
        tap.cancel()
        tap.cancel()
        try await cancelled.state.wait(\.hasEnded)
        try await world.send(10, from: sources[0], readBy: stays, after: 10)
        #expect(!stays.state.value.hasEnded && cancelled.state.value.frames.count == 10)
        #expect(leaves.state.value.ends == 1 && cancelled.state.value.ends == 1)
    }

    @Test func manyStreamsAreReadByOneThread() async throws {
        let world = try World()
        defer { world.stop() }
        let all = try (1...20).map { id in
            let frames = Frames()
            let source = try world.publish(UInt64(id))
            try #require(world.reader.tap(publisher: UInt64(id)) { _ in frames } != nil)
            return (source, frames)
        }
        #expect(world.reader.count == 20)
        for (source, frames) in all { try await world.send(50, from: source, readBy: frames) }
        for (_, frames) in all { #expect(frames.state.value.frames.map(\.data) == (0..<50).map(World.payload)) }
    }

    @Test func withoutAPublisherOrAReaderThereIsNoTap() throws {
        let world = try World()
        #expect(world.reader.tap(publisher: 7) { _ in Frames() } == nil && world.reader.count == 0)
        _ = try world.publish(1)
        world.stop()
        world.reader.stop()
        #expect(world.reader.tap(publisher: 1) { _ in Frames() } == nil && world.reader.count == 0)
    }

    @Test func aStopEndsAllTapsBeforeItReturns() throws {
        let world = try World()
        let all = try (1...5).map { id in
            let frames = Frames()
            _ = try world.publish(UInt64(id))
            try #require(world.reader.tap(publisher: UInt64(id)) { _ in frames } != nil)
            return frames
        }
        world.reader.stop()
        #expect(all.allSatisfy { $0.state.value.ends == 1 } && world.reader.count == 0)
        world.engine.stop()
    }
}

extension World {
    /// Sends packets a few at a time, each lot when the one before has been read.
    fileprivate func send(
        _ count: Int, from source: PacketSource, readBy frames: Frames, after first: Int = 0
    ) async throws {
        let lot = 100
        for number in first..<first + count {
            let payload = Self.payload(number)
            let isTaken = source.send(
                track: 0, number: Int64(number), timestamp: UInt32(number * 160), marker: false, payload.span.bytes)
            try #require(isTaken)
            guard number % lot == lot - 1 || number == first + count - 1 else { continue }
            source.flush()
            try await frames.state.wait { $0.frames.count > number }
        }
    }
}

private final class Frames: FrameConsumer {
    struct State: Sendable {
        var frames: [MediaFrame] = []
        var ends = 0
        var hasEnded: Bool { ends > 0 }
    }

    let state = Watched(State())

    func handle(_ frame: MediaFrame) { state.update { $0.frames.append(frame) } }
    func ended() { state.update { $0.ends += 1 } }
}
