import HLS
import MediaFormats
import Synchronization
import Testing
import Wire

/// Makes "pictures" that say which part they are of.
private final class FakeShop: LadderShop {
    struct State: Sendable {
        var places = 4
        var taken = 0
        var opened: [LadderWork.Order] = []
        var given: [Int] = []
        var runners: [FakeRunner] = []
        var isPaused = false
        var failure: String?
        /// Each part as often as it was decoded.
        var works: [LadderWork] = []
    }

    let state = Mutex(State())

    var hasPlace: Bool { state.withLock { $0.taken < $0.places } }

    func takePlace() -> String? {
        state.withLock { state in
            guard state.taken < state.places else { return "all \(state.places) places are taken" }
            state.taken += 1
            return nil
        }
    }

    func open(_ order: LadderWork.Order) { state.withLock { $0.opened.append(order) } }

    func giveBack(_ generation: Int) {
        state.withLock { state in
            state.taken -= 1
            state.given.append(generation)
        }
    }

    func makeRunner(for stream: HLSStream, run: Int) -> any LadderRunner {
        let runner = FakeRunner(stream: stream, run: run, shop: self)
        state.withLock { $0.runners.append(runner) }
        return runner
    }

    /// Runners do what has come in the meantime.
    func goOn() {
        let runners = state.withLock { state in
            state.isPaused = false
            return state.runners
        }
        for runner in runners { runner.wake() }
    }
}

private final class FakeRunner: LadderRunner {
    private weak let stream: HLSStream?
    private let run: Int
    private let shop: FakeShop

    init(stream: HLSStream, run: Int, shop: FakeShop) {
        self.stream = stream
        self.run = run
        self.shop = shop
    }

    func wake() {
        guard let stream, !shop.state.withLock({ $0.isPaused }) else { return }
        var turn = stream.ladderTurn(run: run)
        while case .work(let work) = turn { turn = stream.ladderTurn(run: run, finished: work, make(work)) }
    }

    private func make(_ work: LadderWork) -> [LadderResult] {
        let failure = shop.state.withLock { state in
            state.works.append(work)
            return state.failure
        }
        return work.orders.map { order in
            guard failure == nil else { return LadderResult(order: order, failure: failure) }
            guard !work.isGap else { return LadderResult(order: order) }
            return LadderResult(
                order: order, media: Array("\(order.rung)/\(work.segment).\(work.part);".utf8),
                isIndependent: work.part == 0, map: work.part == 0 ? Array("map \(work.map)".utf8) : nil)
        }
    }
}

private final class Published {
    let clock = TestClock()
    let shop = FakeShop()
    let stream: HLSStream
    var producer: HLSProducer
    var number = 0
    var time = Interval.zero
    static let tracks = [Clip.h264, Clip.opus]
    static let ladder = Ladder(
        rungs: [
            LadderRung(name: "144p", height: 144, bitrate: 200_000),
            LadderRung(name: "90p10", height: 90, bitrate: 100_000, framesPerSecond: 10),
        ], hasSoundAlone: true)

    init(patience: Interval = .seconds(30), idle: Interval = .seconds(20)) {
        let plan = RenditionPlan(Self.tracks, ladder: Self.ladder)
        var settings = HLSStream.Settings()
        settings.rungIdle = idle
        settings.publisherPatience = patience
        let window = StreamWindow(
            renditions: plan.renditions.map(\.name), late: plan.ladder.rungs.map(\.name), settings: settings.window,
            makeToken: countedTokens())
        let clock = self.clock
        stream = HLSStream(
            name: "cam", plan: plan, settings: settings, window: window, clock: { clock.now }, shop: shop)
        producer = HLSProducer(tracks: Self.tracks, plan: plan, settings: .init(), unixTimeAtZero: 0)
    }

    /// 25 pictures a second, a key frame each second, and sound.
    func run(_ duration: Interval) {
        let end = time + duration
        while time < end {
            clock.set(.at(time))
            let frame = Clip.picture(number, at: time, isKey: number % 25 == 0)
            stream.apply(producer.append(frame, now: clock.now), now: clock.now)
            for half in 0..<2 {
                let sound = Clip.sound(number * 2 + half, at: time + .milliseconds(20 * Int64(half)))
                stream.apply(producer.append(sound, now: clock.now), now: clock.now)
            }
            stream.advance(now: clock.now)
            number += 1
            time = time + .milliseconds(40)
        }
    }

    func idle(_ duration: Interval) {
        let end = time + duration
        while time < end {
            time = time + .milliseconds(100)
            clock.set(.at(time))
            stream.advance(now: clock.now)
        }
    }

    func leave() {
        stream.apply(producer.finish(), now: clock.now)
        stream.publisherGone(now: clock.now)
    }

    func comeBack() {
        guard let origin = stream.publisherBack(now: clock.now) else { return }
        number = 0
        producer = HLSProducer(
            tracks: Self.tracks, plan: stream.plan, settings: .init(), origin: origin, unixTimeAtZero: 0,
            isDiscontinuity: true)
    }

    func lines(_ rendition: String) async -> [String] {
        guard case .text(let text, _, _) = await stream.playlist(rendition: rendition, .init()) else { return [] }
        return string(text.bytes).split(separator: "\n").map(String.init)
    }

    func waiting(_ count: Int) async {
        while stream.status.waiting < count { await Task.yield() }
    }
}

/// What must be the same in all renditions, by media sequence number: durations, dates, discontinuities, parts.
private func shape(_ lines: [String]) -> [UInt64: String] {
    var number = value(lines, "#EXT-X-MEDIA-SEQUENCE").flatMap { UInt64($0) } ?? 0
    var discontinuity = value(lines, "#EXT-X-DISCONTINUITY-SEQUENCE").flatMap { Int($0) } ?? 0
    var found: [UInt64: String] = [:]
    var row = ""
    for line in lines {
        if line == "#EXT-X-DISCONTINUITY" { discontinuity += 1 }
        if line.hasPrefix("#EXTINF") || line.hasPrefix("#EXT-X-PROGRAM") { row += line }
        guard !line.hasPrefix("#") else { continue }
        found[number] = "\(row) \(discontinuity) \(line)"
        (number, row) = (number + 1, "")
    }
    return found
}

private func value(_ lines: [String], _ tag: String) -> String? {
    lines.first { $0.hasPrefix("\(tag):") }?.split(separator: ":").last.map(String.init)
}

@Suite struct LadderTests {
    @Test func renditionsAreListedBeforeTheyAreMade() async throws {
        let all = Published()
        all.run(.seconds(8))
        let list = try #require(await all.stream.multivariant())
        #expect(
            list.variants.map(\.uri) == [
                "main/live.m3u8", "144p/live.m3u8", "90p10/live.m3u8", "audio-opus/live.m3u8",
            ])
        #expect(
            list.variants.map(\.resolution) == [
                Clip.size, .init(width: 256, height: 144), .init(width: 160, height: 90), nil,
            ])
        #expect(list.variants[1].codecs == ["avc1.4d401e", "opus"] && list.variants[3].codecs == ["opus"])
        #expect(list.variants.allSatisfy { $0.audioGroup == "audio" && $0.bandwidth >= ($0.averageBandwidth ?? .max) })
        #expect(list.variants[2].frameRate == 10 && list.variants[3].frameRate == nil)
        #expect(list.audio.map(\.name) == ["audio-opus"])
        #expect(all.shop.state.withLock { $0.opened.isEmpty && $0.works.isEmpty })
    }

    @Test func largerRenditionsThanTheSourceAreNotListedAndNeverMade() {
        let rung = LadderRung(name: "720p", height: 720, bitrate: 1)
        #expect(!rung.isLower(than: .init(width: 1_280, height: 720)))
        #expect(rung.size(of: .init(width: 639, height: 479)) == .init(width: 640, height: 480))
        #expect(rung.size(of: .init(width: 1_080, height: 1_920)) == .init(width: 720, height: 1_280))
        #expect(rung.size(of: .init(width: 1_920, height: 1_080)) == .init(width: 1_280, height: 720))
        #expect(LadderRung.level(of: .init(width: 1_280, height: 720)) == 32)
    }

    @Test func renditionHasTheSameSegmentsAsTheOriginal() async throws {
        let all = Published()
        all.run(.seconds(9))
        let before = await all.lines("144p")
        #expect(shape(before).count >= 3)
        all.run(.milliseconds(3_300))
        let original = await all.lines("main")
        let lower = await all.lines("144p")
        #expect(shape(lower).count >= 4 && shape(lower).allSatisfy { shape(original)[$0] == $1 })
        #expect(value(lower, "#EXT-X-TARGETDURATION") == value(original, "#EXT-X-TARGETDURATION"))
        // Parts of the open segment, the hint, the map.
        let edge = { (lines: [String]) in lines.filter { $0.hasPrefix("#EXT-X-PRELOAD") || $0.hasPrefix("#EXT-X-MAP") }
        }
        #expect(edge(lower) == edge(original))
        #expect(original.contains { $0.hasPrefix("#EXT-X-RENDITION-REPORT:URI=\"../144p/") })
        #expect(!original.contains { $0.contains("90p10") })
        #expect(!lower.contains("#EXT-X-GAP"))
        let reports = lower.filter { $0.hasPrefix("#EXT-X-RENDITION-REPORT") }.compactMap {
            $0.split(separator: ",", maxSplits: 1).last
        }
        #expect(Set(reports).count == 1)
    }

    @Test func mediaOfARenditionAreItsOwn() async throws {
        let all = Published()
        all.run(.seconds(9))
        let lines = await all.lines("144p")
        let name = try #require(lines.last { !$0.hasPrefix("#") })
        let path = try #require(HLSPath("/cam/144p/\(name)"))
        guard case .media(let media) = await all.stream.media(path.resource), case .memory(let pieces) = media else {
            Issue.record("a segment")
            return
        }
        #expect(string(pieces[0].bytes).hasPrefix("0/") && pieces.count > 1)
        let map = try #require(lines.first { $0.hasPrefix("#EXT-X-MAP") }?.split(separator: "\"").dropFirst().first)
        guard case .media = await all.stream.media(try #require(HLSPath("/cam/144p/\(map)")).resource) else {
            Issue.record("a map")
            return
        }
        guard case .notFound = await all.stream.media(try #require(HLSPath("/cam/90p10/\(name)")).resource) else {
            Issue.record("one that is not made has nothing")
            return
        }
    }

    @Test func firstPlaylistIsHeldUntilThreeSegmentsAreMade() async throws {
        let all = Published()
        all.run(.seconds(9))
        all.shop.state.withLock { $0.isPaused = true }
        let stream = all.stream
        let request = Task { await stream.playlist(rendition: "144p", .init()) }
        await all.waiting(1)
        all.run(.milliseconds(400))
        #expect(stream.status.waiting == 1)
        all.shop.goOn()
        guard case .text(let text, _, _) = await request.value else {
            Issue.record("a playlist")
            return
        }
        #expect(string(text.bytes).split(separator: "\n").count { $0.hasPrefix("#EXTINF") } >= 3)
    }

    @Test func renditionThatNobodyAsksForStopsAndCanBeginAgain() async throws {
        let all = Published()
        all.run(.seconds(9))
        _ = await all.lines("144p")
        all.run(.seconds(19))
        #expect(all.stream.rungs.map(\.isMade) == [true, false])
        _ = await all.lines("main")
        all.run(.seconds(2))
        #expect(all.stream.rungs.map(\.isMade) == [false, false])
        #expect(all.shop.state.withLock { $0.taken == 0 && $0.given.count == 1 })
        let works = all.shop.state.withLock { $0.works.count }
        let memory = all.stream.status.memory
        all.run(.seconds(4))
        #expect(all.shop.state.withLock { $0.works.count } == works)
        #expect(abs(all.stream.status.memory - memory) < memory / 2)
        #expect(await !all.lines("main").contains { $0.contains("144p") })
        let again = await all.lines("144p")
        let original = shape(await all.lines("main"))
        #expect(shape(again).count >= 3 && shape(again).allSatisfy { original[$0] == $1 })
    }

    @Test func renditionWithoutAPlaceIsNotListedAndRefusedWithTheReason() async throws {
        let all = Published()
        all.shop.state.withLock { $0.places = 1 }
        all.run(.seconds(9))
        _ = await all.lines("144p")
        let list = try #require(await all.stream.multivariant())
        #expect(list.variants.map(\.uri) == ["main/live.m3u8", "144p/live.m3u8", "audio-opus/live.m3u8"])
        guard case .refused(let reason) = await all.stream.playlist(rendition: "90p10", .init()) else {
            Issue.record("there is no place")
            return
        }
        #expect(reason == "all 1 places are taken")
    }

    @Test func renditionsShareOneDecoderOnceTheyAreUpToDate() async {
        let all = Published()
        all.run(.seconds(9))
        _ = await all.lines("144p")
        all.run(.milliseconds(2_700))
        // Begins some segments back, beside the one that is up to date.
        #expect(await shape(all.lines("90p10")).count >= 3)
        all.run(.seconds(5))
        all.shop.state.withLock { $0.works = [] }
        all.run(.seconds(4))
        let works = all.shop.state.withLock { $0.works }
        #expect(works.count > 10 && works.allSatisfy { $0.orders.count == 2 && !$0.isRestart })
    }

    @Test func encoderThatDoesNotKeepUpLeavesGapsAndGoesOn() async throws {
        let all = Published(idle: .seconds(300))
        all.run(.seconds(9))
        _ = await all.lines("144p")
        all.shop.state.withLock { $0.isPaused = true }
        all.run(.seconds(30))
        let original = await all.lines("main")
        all.shop.goOn()
        let lower = await all.lines("144p")
        #expect(shape(lower).allSatisfy { shape(original)[$0] == $1 } && !shape(lower).isEmpty)
        #expect(value(lower, "#EXT-X-MEDIA-SEQUENCE").flatMap { Int($0) } ?? 0 > 3)
        #expect(lower.contains("#EXT-X-GAP"))
        let last = try #require(lower.lastIndex { $0.hasPrefix("#EXTINF") })
        #expect(lower[last - 1] != "#EXT-X-GAP")
        // What began after the hole began with a key frame.
        let restarts = all.shop.state.withLock { $0.works.filter(\.isRestart) }
        #expect(restarts.allSatisfy { $0.isGap || $0.part == 0 })
    }

    @Test func publisherLostAndBackIsTheSameInAllRenditions() async {
        let all = Published()
        all.run(.seconds(9))
        _ = await all.lines("144p")
        all.leave()
        all.idle(.seconds(4))
        all.comeBack()
        let pause = all.time
        all.run(.seconds(6))
        #expect(all.time > pause)
        let original = await all.lines("main")
        let lower = await all.lines("144p")
        #expect(lower.contains("#EXT-X-GAP") && lower.contains("#EXT-X-DISCONTINUITY"))
        #expect(shape(lower).count >= 5 && shape(lower).allSatisfy { shape(original)[$0] == $1 })
        #expect(lower.count { $0 == "#EXT-X-GAP" } == original.count { $0 == "#EXT-X-GAP" })
        #expect(lower.count { $0.hasPrefix("#EXT-X-MAP") } == original.count { $0.hasPrefix("#EXT-X-MAP") })
    }

    @Test func renditionEndsWithTheStreamAndItsPlaceIsFree() async {
        let all = Published(patience: .zero)
        all.run(.seconds(9))
        _ = await all.lines("144p")
        all.shop.state.withLock { $0.isPaused = true }
        all.run(.seconds(2))
        all.leave()
        #expect(await all.lines("main").contains("#EXT-X-ENDLIST"))
        #expect(await all.lines("144p").contains("#EXT-X-ENDLIST") == false)
        all.shop.goOn()
        let lower = await all.lines("144p")
        #expect(lower.contains("#EXT-X-ENDLIST") && !lower.contains("#EXT-X-GAP"))
        #expect(all.shop.state.withLock { $0.taken } == 0)
        #expect(shape(lower).keys.max() == shape(await all.lines("main")).keys.max())
    }

    @Test func requestForAPartOfARenditionWaitsForThatRendition() async throws {
        let all = Published()
        all.run(.seconds(9))
        let lines = await all.lines("144p")
        all.shop.state.withLock { $0.isPaused = true }
        all.run(.seconds(1))
        let open = try #require(shape(lines).keys.max()) + 1
        let parts = lines.count { $0.hasPrefix("#EXT-X-PART:") && $0.contains("URI=\"\(open).") }
        let stream = all.stream
        let directives = DeliveryDirectives(sequenceNumber: open, part: UInt64(parts))
        guard case .text = await stream.playlist(rendition: "main", directives) else {
            Issue.record("the original has it")
            return
        }
        let request = Task { await stream.playlist(rendition: "144p", directives) }
        await all.waiting(1)
        all.shop.goOn()
        guard case .text(let text, true, false) = await request.value else {
            Issue.record("a playlist")
            return
        }
        #expect(string(text.bytes).contains("URI=\"\(open).\(parts)-"))
    }

    @Test func renditionThatCannotBeMadeIsRefusedForAWhile() async {
        let all = Published()
        all.run(.seconds(9))
        all.shop.state.withLock { $0.failure = "no encoder" }
        let stream = all.stream
        // The first request finds out, and does not wait for what will not come.
        guard case .refused("no encoder") = await stream.playlist(rendition: "144p", .init()) else {
            Issue.record("it cannot be made")
            return
        }
        all.shop.state.withLock { $0.failure = nil }
        guard case .refused(let reason) = await stream.playlist(rendition: "144p", .init()) else {
            Issue.record("it has just failed")
            return
        }
        #expect(reason == "no encoder" && all.shop.state.withLock { $0.taken } == 0)
        all.run(.seconds(60))
        guard case .text = await stream.playlist(rendition: "144p", .init()) else {
            Issue.record("it may work now")
            return
        }
    }
}
