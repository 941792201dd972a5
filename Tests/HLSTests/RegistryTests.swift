import HLS
import MediaFormats
import Synchronization
import Testing
import Wire

/// Publishers that come and go.
private final class FakeSource: HLSSource {
    struct State: Sendable {
        var published: [String: [TrackDescription]] = [:]
        var pumps: [String: HLSPump] = [:]
        var opened = 0
        var cancelled = 0
        var refusal: String?
    }

    let state = Mutex(State())

    func open(
        _ name: String, make: ([TrackDescription], @escaping @Sendable () -> Void) -> HLSPump?
    ) -> HLSOpening {
        if let refusal = state.withLock({ $0.refusal }) { return .refused(refusal) }
        guard let tracks = state.withLock({ $0.published[name] }), let pump = make(tracks, {}) else {
            return .notPublished
        }
        state.withLock { state in
            state.pumps[name] = pump
            state.opened += 1
        }
        return .reading(HLSReading { [self] in state.withLock { $0.cancelled += 1 } })
    }

    func isPublished(_ name: String) -> Bool { state.withLock { $0.published[name] != nil } }
}

private final class Registered {
    let clock = TestClock()
    let source = FakeSource()
    let registry: HLSRegistry
    var time = Interval.zero

    init(_ change: (inout HLSRegistry.Settings) -> Void = { _ in }) {
        var settings = HLSRegistry.Settings()
        change(&settings)
        let clock = self.clock
        registry = HLSRegistry(
            settings: settings, source: source, clock: { clock.now }, wallClock: { 1_700_000_000_000_000_000 },
            makeToken: countedTokens())
    }

    func publish(_ name: String, _ tracks: [TrackDescription] = [Clip.h264, Clip.opus]) {
        source.state.withLock { $0.published[name] = tracks }
        registry.published(name)
    }

    func leave(_ name: String) {
        let pump = source.state.withLock { state in
            state.published[name] = nil
            return state.pumps.removeValue(forKey: name)
        }
        pump?.ended(now: clock.now)
    }

    /// All publishers send for so long; time goes on for all.
    func run(_ duration: Interval) {
        let start = time
        while time < start + duration {
            clock.set(.at(time))
            let pumps = source.state.withLock { $0.pumps }
            for pump in pumps.values {
                let index = Int((time - start).nanoseconds / 40_000_000)
                pump.handle(Clip.picture(index, at: time, isKey: index % 25 == 0), now: clock.now)
                pump.handle(Clip.sound(index, at: time), now: clock.now)
                pump.handle(Clip.sound(index, at: time + .milliseconds(20)), now: clock.now)
            }
            registry.advance(now: clock.now)
            time = time + .milliseconds(40)
        }
    }

    func stream(_ name: String) -> HLSStream? {
        if case .stream(let stream) = registry.stream(name) { stream } else { nil }
    }

    func text(_ name: String) async -> String {
        guard let stream = registry.running(name),
            case .text(let text, _, _) = await stream.playlist(rendition: "main", .init())
        else { return "" }
        return string(text.bytes)
    }
}

@Suite struct RegistryTests {
    @Test func outputBeginsWithTheFirstRequestAndIsOneForAll() {
        let all = Registered()
        all.publish("cam")
        #expect(all.registry.running("cam") == nil)
        let stream = all.stream("cam")
        #expect(stream != nil && all.stream("cam") === stream && all.registry.running("cam") === stream)
        #expect(all.source.state.withLock { $0.opened } == 1)
        guard case .notFound = all.registry.stream("none") else {
            Issue.record("nobody publishes it")
            return
        }
    }

    @Test func outputBeginsAtPublishIfWanted() {
        let all = Registered { $0.autoStart = true }
        all.publish("cam")
        #expect(all.registry.running("cam") != nil)
    }

    @Test func outputThatNobodyAsksForEnds() {
        let all = Registered { $0.idleTimeout = .seconds(20) }
        all.publish("cam")
        _ = all.stream("cam")
        all.run(.seconds(19))
        #expect(all.registry.running("cam") != nil)
        all.registry.running("cam")?.touch(viewer: "a")
        all.run(.seconds(19))
        #expect(all.registry.running("cam") != nil)
        all.run(.seconds(2))
        #expect(all.registry.running("cam") == nil)
        #expect(all.source.state.withLock { $0.cancelled } == 1)
    }

    @Test func publisherWhoComesBackInTimeGoesOnInTheSamePlaylist() async {
        let all = Registered()
        all.publish("cam")
        let stream = all.stream("cam")
        all.run(.seconds(10))
        let before = stream?.status.numberAfter ?? 0
        all.leave("cam")
        all.run(.seconds(4))
        all.publish("cam")
        all.run(.seconds(6))
        #expect(all.registry.running("cam") === stream)
        let text = await all.text("cam")
        #expect(text.contains("#EXT-X-DISCONTINUITY\n") && text.contains("#EXT-X-GAP\n"))
        #expect((stream?.status.numberAfter ?? 0) >= before + 4)
    }

    /// The new publisher is told of before the last frames of the old one have been read.
    @Test func publisherWhoIsToldOfTooEarlyIsFoundByTime() async {
        let all = Registered()
        all.publish("cam")
        let stream = all.stream("cam")
        all.run(.seconds(6))
        let old = all.source.state.withLock { $0.pumps.removeValue(forKey: "cam") }
        all.registry.published("cam")
        #expect(all.source.state.withLock { $0.opened } == 1)
        old?.ended(now: all.clock.now)
        all.run(.seconds(6))
        #expect(all.source.state.withLock { $0.opened } == 2)
        #expect(all.registry.running("cam") === stream)
        let text = await all.text("cam")
        #expect(text.contains("#EXT-X-DISCONTINUITY\n"))
    }

    @Test func publisherWhoIsGoneAgainLeavesTheViewersWaiting() {
        let all = Registered()
        all.publish("cam")
        let stream = all.stream("cam")
        all.run(.seconds(6))
        all.leave("cam")
        all.registry.published("cam")
        guard case .waiting? = stream?.status.phase else {
            Issue.record("it waits")
            return
        }
    }

    @Test func refusalOfTheSourceIsTold() {
        let all = Registered()
        all.publish("cam")
        all.source.state.withLock { $0.refusal = "no room" }
        guard case .refused("no room") = all.registry.stream("cam") else {
            Issue.record("refused")
            return
        }
    }

    @Test func requestsOfOutputsThatAreGoneStayCounted() async {
        let all = Registered()
        all.publish("cam")
        let stream = all.stream("cam")
        all.run(.seconds(6))
        _ = await stream?.playlist(rendition: "main", DeliveryDirectives(sequenceNumber: 1_000_000))
        #expect(all.registry.counts.refusedTooFar == 1)
        all.registry.terminate("cam")
        #expect(all.registry.counts.refusedTooFar == 1)
        _ = all.stream("cam")
        #expect(all.registry.counts.refusedTooFar == 1)
    }

    @Test func numbersOfANameNeverGoBack() {
        let all = Registered { $0.stream.publisherPatience = .zero }
        var last = UInt64.zero
        var discontinuity = UInt64.zero
        for round in 0..<4 {
            all.publish("cam")
            let stream = all.stream("cam")
            all.run(.seconds(9))
            let status = stream?.status
            #expect((status?.numberAfter ?? 0) > last)
            #expect((status?.lastDiscontinuity ?? 0) >= discontinuity + (round > 0 ? 1 : 0))
            last = status?.numberAfter ?? 0
            discontinuity = status?.lastDiscontinuity ?? 0
            all.leave("cam")
            // By the operator, by a request, by time: whatever ends it.
            if round == 1 { all.registry.terminate("cam") }
            if round == 2 { all.run(.seconds(70)) }
        }
    }

    @Test func endedStreamCanBePlayedUntilItIsForgotten() async {
        let all = Registered { $0.stream.publisherPatience = .zero }
        all.publish("cam")
        _ = all.stream("cam")
        all.run(.seconds(10))
        all.leave("cam")
        #expect(all.stream("cam") != nil)
        let text = await all.text("cam")
        #expect(text.hasSuffix("#EXT-X-ENDLIST\n"))
        all.run(.seconds(59))
        #expect(all.registry.running("cam") != nil)
        all.run(.seconds(2))
        #expect(all.registry.running("cam") == nil)
        guard case .notFound = all.registry.stream("cam") else {
            Issue.record("it has gone")
            return
        }
    }

    @Test func codecsWithoutAPlaceInHLSAreRefusedWithTheirName() {
        let all = Registered()
        all.publish("cam", [TrackDescription(codec: .vp8), Clip.opus])
        guard case .refused(let reason) = all.registry.stream("cam") else {
            Issue.record("refused")
            return
        }
        #expect(reason.contains("VP8"))
    }

    @Test func noMoreOutputsThanAllowed() {
        let all = Registered { $0.maxStreams = 2 }
        for name in ["a", "b", "c"] { all.publish(name) }
        #expect(all.stream("a") != nil && all.stream("b") != nil && all.stream("c") == nil)
        all.registry.terminate("a")
        #expect(all.stream("c") != nil)
        #expect(all.registry.all.map(\.name) == ["b", "c"])
    }
}
