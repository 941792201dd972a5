import ControlPlane
import TestSupport
import Testing

/// Sources by hand: `own://NAME` for each player, `shared://NAME` and the plain name `camera` for all.
final class FakeSources: OnDemandSources {
    struct State: Sendable {
        /// What the next ones do when they are opened.
        var opening = FakeSource.Opening.open
        /// Those that were.
        var opened: [FakeSource] = []
    }

    let state = Watched(State())

    func source(for name: String) -> (any OnDemandSource)? {
        guard name.hasPrefix("own://") || name.hasPrefix("shared://") || isReserved(name) else { return nil }
        return FakeSource(isShared: !name.hasPrefix("own://"), self)
    }

    func isReserved(_ name: String) -> Bool { name == "camera" }

    /// The source that was opened as the first, the second …
    func opened(_ index: Int) async throws -> FakeSource {
        try await state.wait { $0.opened.count > index }.opened[index]
    }
}

final class FakeSource: OnDemandSource {
    enum Opening: Sendable {
        case open
        case fail(OnDemandFailure)
        /// When the latch opens, whatever became of who waits.
        case hold(Latch)
    }

    struct State: Sendable {
        var peer: PeerID?
        var begun = 0
        var paused: [Bool] = []
        var closed = 0
        var end: OnDemandEnd?
    }

    static let lingerOfShared = Duration.seconds(30)

    let isShared: Bool
    let provider = "FILE"
    let unanswered = StatusInfo.failedToReadFile
    let state = Watched(State())
    private let sources: FakeSources

    init(isShared: Bool, _ sources: FakeSources) {
        self.isShared = isShared
        self.sources = sources
    }

    var linger: Duration { isShared ? Self.lingerOfShared : .zero }

    func open(peer: PeerID) async throws(OnDemandFailure) -> MediaDescription {
        state.update { $0.peer = peer }
        let opening = sources.state.update { sources in
            sources.opened.append(self)
            return sources.opening
        }
        switch opening {
        case .open: break
        case .fail(let failure): throw failure
        case .hold(let latch): await latch.wait()
        }
        return MediaDescription(sdp: "", hasAudio: true, hasVideo: true, audioCodec: "opus", videoCodec: "VP8")
    }

    func begin() { state.update { $0.begun += 1 } }
    func setPaused(_ paused: Bool) { state.update { $0.paused.append(paused) } }

    func close() {
        state.update { state in
            state.closed += 1
            state.end = state.end ?? .finished
        }
    }

    func finish(_ end: OnDemandEnd) { state.update { $0.end = $0.end ?? end } }
    func ended() async -> OnDemandEnd { (try? await state.wait { $0.end != nil })?.end ?? .finished }
}

/// Streams that are made because somebody plays them.
@Suite("Streams on demand", .timeLimit(.minutes(4)))
struct OnDemandTests {
    private static func expectGone(_ plant: Plant, _ source: FakeSource) async throws {
        try await source.state.wait { $0.closed > 0 }
        let peer = try #require(source.state.value.peer)
        try await plant.media.state.wait { $0.closed.contains(peer) }
    }

    @Test func `a private source is made for each player and begins when that is connected`() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            let peer = try await ann.beginPlay("a", "own://x")
            let first = try await plant.sources.opened(0)
            #expect(plant.media.state.value.calls.first?.publisher == first.state.value.peer)
            #expect(first.state.value.begun == 0)
            plant.media.send(.connected(peer))
            try await ann.expect("a", .playing)
            try await first.state.wait { $0.begun == 1 }
            try await ann.play("b", "own://x")
            let second = try await plant.sources.opened(1)
            #expect(second.state.value.peer != first.state.value.peer)
            let streams = await plant.plane.streams()
            #expect(
                streams.map(\.kind) == [.onDemand, .onDemand] && streams.allSatisfy { $0.players == 1 && $0.isLive })
            #expect(streams.map(\.name) == ["own://x#1", "own://x#2"])
            // It ends with its player, at once, and the other goes on.
            await ann.session.stop(mediaSessionId: "a")
            try await ann.expect("a", .stopped, "Stopped by user")
            try await Self.expectGone(plant, first)
            #expect(second.state.value.closed == 0)
        }
    }

    @Test func `a shared source is made once and lingers`() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            let bob = try await plant.client(.whep)
            try await ann.play("a", "shared://x")
            try await bob.play("b", "shared://x")
            let source = try await plant.sources.opened(0)
            #expect(plant.sources.state.value.opened.count == 1)
            #expect(await plant.plane.streams().map(\.players) == [2])
            await ann.session.stop(mediaSessionId: "a")
            try await ann.expect("a", .stopped, "Stopped by user")
            await bob.session.stop(mediaSessionId: "b")
            try await bob.expect("b", .stopped, "Stopped by user")
            try await plant.clock.sleeper(until: FakeSource.lingerOfShared)
            // Somebody comes back in time …
            plant.clock.advance(by: FakeSource.lingerOfShared - .seconds(1))
            try await ann.play("c", "shared://x")
            plant.clock.advance(by: .seconds(1))
            #expect(plant.sources.state.value.opened.count == 1 && source.state.value.closed == 0)
            // … and leaves for good.
            await ann.session.stop(mediaSessionId: "c")
            try await ann.expect("c", .stopped, "Stopped by user")
            try await plant.clock.sleeper(until: FakeSource.lingerOfShared * 2)
            plant.clock.advance(by: FakeSource.lingerOfShared)
            try await Self.expectGone(plant, source)
            // The name can be made anew.
            try await ann.play("d", "shared://x")
            _ = try await plant.sources.opened(1)
        }
    }

    @Test func `the end of a file stops its players and is no failure`() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            try await ann.play("a", "shared://x")
            try await plant.sources.opened(0).finish(.finished)
            try await ann.expect("a", .stopped, "Stopped by publisher stop")
            #expect(plant.count("weir_control_failures_total", [("kind", "play"), ("reason", "publisherGone")]) == 0)
            try await Self.expectGone(plant, plant.sources.opened(0))
        }
    }

    @Test func `a source that fails under way tells its players why`() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            try await ann.play("a", "own://x")
            try await plant.sources.opened(0).finish(.failed(.failedToReadFile))
            try await ann.expect("a", .failed, "Failed to read file")
        }
    }

    @Test(arguments: [
        (StatusInfo.fileNotFound, 404), (.fileWrongFormat, 415), (.failedToReadFile, 500),
        (.fileStreamingException, 500), (.transcodingDisabled, 406), (.noTranscoders, 503),
    ])
    func `a source that cannot be opened tells why`(info: StatusInfo, code: Int) async throws {
        try await withPlant { plant in
            plant.sources.state.update { $0.opening = .fail(.status(info)) }
            let ann = try await plant.client()
            await ann.session.play(ann.request("a", "own://x"))
            let status = try await ann.status()
            #expect(status.status == .failed && status.info == info.rawValue && status.code?.rawValue == code)
            #expect(plant.count("weir_control_failures_total", [("kind", "play"), ("reason", "\(info)")]) == 1)
            try await Self.expectGone(plant, plant.sources.opened(0))
        }
    }

    @Test func `players of a shared source that cannot be opened are all told`() async throws {
        try await withPlant { plant in
            let latch = Latch()
            plant.sources.state.update { $0.opening = .hold(latch) }
            let ann = try await plant.client()
            let bob = try await plant.client()
            await ann.session.play(ann.request("a", "shared://x"))
            let source = try await plant.sources.opened(0)
            await bob.session.play(bob.request("b", "shared://x"))
            try await plant.hooks.state.wait { $0.calls.count == 2 }
            // It hangs: nobody waits longer than is allowed.
            let limit = ControlConfiguration().sourceTimeout
            try await plant.clock.sleeper(until: limit)
            plant.clock.advance(by: limit)
            try await ann.expect("a", .failed, "Failed to read file")
            #expect(plant.sources.state.value.opened.count == 1)
            let status = try await bob.status()
            #expect(status.status == .failed && status.info == "Failed to read file")
            // What it made too late is taken back.
            let peer = try #require(source.state.value.peer)
            let before = source.state.value.closed
            plant.media.state.update { _ = $0.closed.remove(peer) }
            latch.open()
            try await source.state.wait { $0.closed > before }
            try await plant.media.state.wait { $0.closed.contains(peer) }
        }
    }

    @Test func `a bound that is reached is a refusal`() async throws {
        try await withPlant { plant in
            plant.sources.state.update { $0.opening = .fail(.tooMany) }
            let ann = try await plant.client()
            await ann.session.play(ann.request("a", "own://x"))
            let status = try await ann.status()
            #expect(status.info == "Limit of streams on demand is reached" && status.code == .unavailable)
        }
    }

    @Test func `the backend is asked first and may give another name, or refuse`() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            plant.hooks.state.update { $0.play = .refuse(code: 403, reason: "not today") }
            await ann.session.play(ann.request("a", "own://x"))
            try await ann.expect("a", .failed, "not today")
            #expect(plant.sources.state.value.opened.isEmpty)
            plant.hooks.state.update {
                $0.play = .change(StreamRequest(mediaSessionId: "b", name: "own://y", sdp: "OFFER"))
            }
            try await ann.play("b", "film")
            #expect(await plant.plane.streams().map(\.name) == ["own://y#1"])
            // It hears of the player, not of the source.
            #expect(plant.hooks.state.value.heard.allSatisfy { !$0.contains("PUBLISH") })
        }
    }

    @Test func `a pause stops a private source and leaves a shared one alone`() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            try await ann.play("a", "own://x")
            let shared = try await ann.play("b", "shared://x")
            let own = try await plant.sources.opened(0)
            for id in ["a", "b"] {
                await ann.session.pause(mediaSessionId: id)
                try await ann.expect(id, .paused)
            }
            try await own.state.wait { $0.paused == [true] }
            try await plant.media.state.wait { $0.paused == [shared: true] }
            await ann.session.play(ann.request("a", "own://x"))
            try await ann.expect("a", .playing)
            try await own.state.wait { $0.paused == [true, false] }
            #expect(plant.sources.state.value.opened.count == 2, "it is the same one")
            #expect(try await plant.sources.opened(1).state.value.paused.isEmpty)
        }
    }

    @Test func `nobody publishes under such a name`() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            await ann.session.publish(ann.request("a", "own://x"))
            try await ann.expect("a", .failed, "Failed to get agent storage")
        }
    }

    @Test func `the operator ends it as any stream, and sessions of clients are listed alone`() async throws {
        try await withPlant { plant in
            let ann = try await plant.client()
            try await ann.play("a", "shared://x")
            #expect(plant.plane.sessions().count == 1 && plant.plane.capacity.sessions == 1)
            let reports = await plant.plane.streamReports()
            #expect(reports.filter(\.state.published).map(\.state.name) == ["shared://x"])
            #expect(reports.filter(\.state.published).map(\.state.mediaProvider) == ["FILE"])
            #expect(await plant.plane.terminateStream("shared://x"))
            try await ann.expect("a", .failed, "Stopped by publisher stop")
        }
    }

    @Test func `a client that gives up while the source opens leaves nothing behind`() async throws {
        // Another one than the time to open, so that who sleeps until then is known.
        var configuration = ControlConfiguration()
        configuration.sourceGrace = configuration.sourceTimeout + .seconds(5)
        let limit = configuration.sourceGrace
        try await withPlant(configuration) { plant in
            let latch = Latch()
            plant.sources.state.update { $0.opening = .hold(latch) }
            let ann = try await plant.client()
            await ann.session.play(ann.request("a", "own://x"))
            let source = try await plant.sources.opened(0)
            await ann.session.stop(mediaSessionId: "a")
            try await ann.expect("a", .stopped, "Stopped by user")
            latch.open()
            // It waits for its player in vain.
            try await plant.clock.sleeper(until: limit)
            plant.clock.advance(by: limit)
            try await Self.expectGone(plant, source)
        }
    }

    @Test func `the end of the server ends sources after their players`() async throws {
        let plant = Plant(ControlConfiguration())
        let running = Task { await plant.plane.run() }
        let ann = try await plant.client()
        try await ann.play("a", "shared://x")
        await plant.plane.shutdown(timeout: .seconds(10))
        await running.value
        try await ann.expect("a", .failed, "Requested stream shutdown")
        try await Self.expectGone(plant, plant.sources.opened(0))
        #expect(plant.gauge("weir_control_streams") == 0 && plant.gauge("weir_control_sessions") == 0)
    }
}
