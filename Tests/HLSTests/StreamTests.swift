import HLS
import MediaFormats
import Synchronization
import Testing
import Wire

/// A stream with a publisher in virtual time.
private final class Fixture {
    let clock = TestClock()
    let stream: HLSStream
    var producer: HLSProducer
    var number = 0
    var time = Interval.zero
    /// Where the last publisher who came back goes on.
    var origin = Interval.zero

    init(settings: (inout HLSStream.Settings) -> Void = { _ in }) {
        var all = HLSStream.Settings()
        settings(&all)
        let tracks = [Clip.h264, Clip.opus]
        let plan = RenditionPlan(tracks)
        let window = StreamWindow(
            renditions: plan.renditions.map(\.name), settings: all.window, makeToken: countedTokens())
        let clock = self.clock
        stream = HLSStream(name: "cam", plan: plan, settings: all, window: window, clock: { clock.now })
        producer = Self.makeProducer(plan, .zero, false)
    }

    static func makeProducer(_ plan: RenditionPlan, _ origin: Interval, _ isDiscontinuity: Bool) -> HLSProducer {
        HLSProducer(
            tracks: [Clip.h264, Clip.opus], plan: plan, settings: .init(), origin: origin,
            unixTimeAtZero: 1_700_000_000_000_000_000, isDiscontinuity: isDiscontinuity)
    }

    /// Publishes for so long: 25 pictures a second, a key frame each second, and sound.
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

    /// Time passes and nobody publishes.
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
        self.origin = origin
        producer = Self.makeProducer(stream.plan, origin, true)
        number = 0
    }

    func text(_ directives: DeliveryDirectives = .init()) async -> String? {
        guard case .text(let text, _, _) = await stream.playlist(rendition: "main", directives) else { return nil }
        return string(text.bytes)
    }

    /// Returns when so many requests wait.
    func waiting(_ count: Int) async {
        while stream.status.waiting < count { await Task.yield() }
    }
}

@Suite struct StreamTests {
    @Test func firstPlaylistComesWithTheThirdSegment() async throws {
        let fixture = Fixture()
        fixture.run(.milliseconds(1_000))
        let stream = fixture.stream
        let request = Task { await stream.playlist(rendition: "main", .init()) }
        await fixture.waiting(1)
        fixture.run(.milliseconds(3_000))
        guard case .text(let text, false, false) = await request.value else {
            Issue.record("a playlist")
            return
        }
        #expect(string(text.bytes).split(separator: "\n").count { $0.hasPrefix("#EXTINF") } >= 3)
    }

    @Test func publisherWithLongGroupsIsShownAfterThreeSecondsOfParts() async throws {
        let fixture = Fixture()
        for index in 0..<80 {
            let time = Interval.milliseconds(40 * Int64(index))
            fixture.clock.set(.at(time))
            fixture.stream.apply(
                fixture.producer.append(Clip.picture(index, at: time, isKey: index == 0), now: fixture.clock.now),
                now: fixture.clock.now)
        }
        fixture.time = .milliseconds(3_200)
        fixture.idle(.seconds(1))
        let text = try #require(await fixture.text())
        #expect(text.contains("#EXT-X-PART:") && text.split(separator: "\n").count { $0.hasPrefix("#EXTINF") } < 3)
    }

    @Test func multivariantPlaylistSaysWhatTheStreamIs() async throws {
        let fixture = Fixture()
        fixture.run(.seconds(8))
        let list = try #require(await fixture.stream.multivariant())
        let variant = try #require(list.variants.first)
        #expect(list.variants.count == 1 && list.audio.isEmpty)
        #expect(variant.codecs == ["avc1.64000d", "opus"] && variant.uri == "main/live.m3u8")
        #expect(variant.resolution == Clip.size)
        #expect(abs((variant.frameRate ?? 0) - 25) < 0.2)
        let average = try #require(variant.averageBandwidth)
        #expect(variant.bandwidth >= average && average > 10_000 && variant.bandwidth < 60_000)
    }

    @Test func requestForTheNextPartWaitsForItAndNoLonger() async throws {
        let fixture = Fixture()
        fixture.run(.seconds(8))
        let before = try #require(await fixture.text())
        let sequence = try #require(
            before.split(separator: "\n").first { $0.hasPrefix("#EXT-X-MEDIA-SEQUENCE:") }?.split(separator: ":").last
                .flatMap { UInt64($0) })
        let open = sequence + UInt64(before.split(separator: "\n").count { $0.hasPrefix("#EXTINF") })
        let parts = before.split(separator: "\n").count {
            $0.contains("URI=\"\(open).") && $0.hasPrefix("#EXT-X-PART:")
        }
        let stream = fixture.stream
        let request = Task {
            await stream.playlist(
                rendition: "main", DeliveryDirectives(sequenceNumber: open, part: UInt64(parts)))
        }
        await fixture.waiting(1)
        #expect(fixture.stream.status.waiting == 1)
        fixture.run(.milliseconds(400))
        guard case .text(let text, true, false) = await request.value else {
            Issue.record("a playlist")
            return
        }
        #expect(string(text.bytes).contains("URI=\"\(open).\(parts)-"))
        #expect(fixture.stream.status.waiting == 0)
    }

    @Test func requestsTooFarAheadAreRefusedAtOnce() async {
        let fixture = Fixture()
        fixture.run(.seconds(8))
        for directives in [
            DeliveryDirectives(sequenceNumber: 1_000), DeliveryDirectives(sequenceNumber: .max, part: .max),
        ] {
            guard case .tooFar = await fixture.stream.playlist(rendition: "main", directives) else {
                Issue.record("400")
                return
            }
        }
        #expect(fixture.stream.status.counts.refusedTooFar == 2)
    }

    @Test func requestIsHeldForThreeTargetDurationsAtMost() async {
        let fixture = Fixture()
        fixture.run(.seconds(8))
        let next = fixture.stream.status.numberAfter
        let stream = fixture.stream
        let request = Task { await stream.playlist(rendition: "main", .init(sequenceNumber: next)) }
        await fixture.waiting(1)
        // The publisher is stuck: nobody tells the stream that it has gone.
        fixture.idle(.milliseconds(5_900))
        #expect(fixture.stream.status.waiting == 1)
        fixture.idle(.milliseconds(200))
        guard case .unavailable = await request.value else {
            Issue.record("503")
            return
        }
        #expect(fixture.stream.status.counts.timedOut == 1)
    }

    @Test func noMoreRequestsWaitThanAllowed() async {
        let fixture = Fixture { $0.maxWaiting = 3 }
        fixture.run(.seconds(8))
        let next = fixture.stream.status.numberAfter
        let stream = fixture.stream
        let requests = (0..<3).map { _ in
            Task { await stream.playlist(rendition: "main", .init(sequenceNumber: next)) }
        }
        await fixture.waiting(3)
        guard case .unavailable = await stream.playlist(rendition: "main", .init(sequenceNumber: next)) else {
            Issue.record("503")
            return
        }
        #expect(stream.status.counts.refusedFull == 1)
        fixture.run(.seconds(6))
        for request in requests {
            guard case .text = await request.value else {
                Issue.record("a playlist")
                return
            }
        }
    }

    @Test func viewerWhoGoesAwayWaitsNoMore() async {
        let fixture = Fixture()
        fixture.run(.seconds(8))
        let next = fixture.stream.status.numberAfter
        let stream = fixture.stream
        let request = Task { await stream.playlist(rendition: "main", .init(sequenceNumber: next)) }
        await fixture.waiting(1)
        request.cancel()
        _ = await request.value
        #expect(stream.status.waiting == 0)
    }

    @Test func hintedPartIsGivenWhenItIsThere() async throws {
        let fixture = Fixture()
        fixture.run(.seconds(8))
        let text = try #require(await fixture.text())
        let hint = try #require(
            text.split(separator: "\n").first { $0.hasPrefix("#EXT-X-PRELOAD-HINT") }?.split(separator: "\"").last)
        let resource = try #require(HLSPath("/cam/main/\(hint)")).resource
        let stream = fixture.stream
        let request = Task { await stream.media(resource) }
        await fixture.waiting(1)
        fixture.run(.milliseconds(400))
        guard case .media(let media) = await request.value else {
            Issue.record("the part")
            return
        }
        #expect(media.count > 500)
        guard case .notFound = await stream.media(.part(rendition: "main", sequenceNumber: 3, part: 0, token: "guess"))
        else {
            Issue.record("404")
            return
        }
    }

    @Test func lostPublisherLeavesGapsAndComesBackBehindADiscontinuity() async throws {
        let fixture = Fixture()
        fixture.run(.seconds(10))
        let before = fixture.stream.status.numberAfter
        fixture.leave()
        fixture.idle(.seconds(5))
        let away = try #require(await fixture.text())
        #expect(away.contains("#EXT-X-GAP\n") && away.contains("GAP=YES") && !away.contains("#EXT-X-ENDLIST"))
        fixture.comeBack()
        fixture.run(.seconds(5))
        // Ten seconds of media and five of gaps, whose last part may still be to come.
        #expect(fixture.origin > .milliseconds(14_500) && fixture.origin <= .milliseconds(15_100))
        let back = try #require(await fixture.text())
        #expect(back.contains("#EXT-X-DISCONTINUITY\n"))
        #expect(fixture.stream.status.numberAfter > before)
        #expect(fixture.stream.status.phase == .live)
        // A segment per target duration was there all the time.
        #expect(fixture.stream.status.numberAfter >= before + 4)
    }

    /// Two hours in virtual time, in which the publisher is away twelve times.
    @Test func twoHoursWithAbsencesKeepNumbersDatesAndMemory() async throws {
        let fixture = Fixture()
        var before = (sequence: -1, discontinuities: -1, next: UInt64(0))
        var most = 0
        for _ in 0..<12 {
            fixture.run(.seconds(595))
            let lines = try #require(await fixture.text()).split(separator: "\n")
            func number(_ tag: String) -> Int? {
                lines.first { $0.hasPrefix("#EXT-X-\(tag):") }.flatMap { Int($0.drop { $0 != ":" }.dropFirst()) }
            }
            let sequence = try #require(number("MEDIA-SEQUENCE"))
            let now = (sequence: sequence, discontinuities: number("DISCONTINUITY-SEQUENCE") ?? 0)
            let next = fixture.stream.status.numberAfter
            #expect(now.sequence > before.sequence && now.discontinuities > before.discontinuities || before.next == 0)
            // Ten minutes of segments of two seconds, and few segments in the window.
            #expect(before.next == 0 || (290...330).contains(next - before.next))
            #expect(lines.count { $0.hasPrefix("#EXTINF") } <= 10)
            most = max(most, fixture.stream.status.memory)
            #expect(fixture.stream.status.memory <= 1 << 20)
            before = (now.sequence, now.discontinuities, next)
            fixture.leave()
            fixture.idle(.seconds(5))
            fixture.comeBack()
        }
        #expect(most > 0)
        // Absences and all, the line is as long as the time that has passed.
        #expect(fixture.origin > .seconds(7_190) && fixture.origin < .seconds(7_210))
    }

    @Test func lostPublisherWhoStaysAwayEndsTheStream() async throws {
        let fixture = Fixture { $0.publisherPatience = .seconds(8) }
        fixture.run(.seconds(10))
        fixture.leave()
        let next = fixture.stream.status.numberAfter
        let stream = fixture.stream
        let request = Task { await stream.playlist(rendition: "main", .init(sequenceNumber: next + 1)) }
        await fixture.waiting(1)
        fixture.idle(.seconds(9))
        guard case .text(let text, _, _) = await request.value else {
            Issue.record("whoever waits is told")
            return
        }
        _ = text
        let ended = try #require(await fixture.text(.init(sequenceNumber: .max)))
        #expect(ended.hasSuffix("#EXT-X-ENDLIST\n"))
        #expect(stream.publisherBack(now: fixture.clock.now) == nil)
    }

    @Test func endWithoutPatienceIsTheEndAtOnce() async throws {
        let fixture = Fixture { $0.publisherPatience = .zero }
        fixture.run(.seconds(10))
        fixture.leave()
        let text = try #require(await fixture.text())
        #expect(text.contains("#EXT-X-ENDLIST") && !text.contains("#EXT-X-GAP"))
    }

    @Test func datesNeverBecomeAmbiguous() async throws {
        let fixture = Fixture { $0.publisherPatience = .seconds(60) }
        fixture.run(.seconds(10))
        let now = fixture.clock.now
        // A publisher whose clock is an hour behind.
        for _ in 0..<2 {
            var output = HLSProducer.Output()
            output.changes = [
                .begin(
                    .init(
                        time: .zero, programDate: 1_699_996_400_000_000_000, isDiscontinuity: true, isIndependent: true,
                        tracks: nil), maps: nil),
                .part(duration: .seconds(1), media: [[1]], isIndependent: [true], pictures: []), .endSegment,
            ]
            fixture.stream.apply(output, now: now)
        }
        let dates = try #require(await fixture.text()).split(separator: "\n").filter { $0.hasPrefix("#EXT-X-PROGRAM") }
        #expect(dates.count > 5 && zip(dates, dates.dropFirst()).allSatisfy { $0 < $1 })
    }

    @Test func viewersAreCountedWhileTheyAsk() {
        let fixture = Fixture { $0.maxViewers = 2 }
        fixture.run(.seconds(1))
        for viewer in ["a", "b", "a", "c"] { fixture.stream.touch(viewer: viewer) }
        #expect(fixture.stream.status.viewers == 2)
        fixture.idle(.seconds(11))
        fixture.stream.touch(viewer: "b")
        fixture.idle(.seconds(2))
        #expect(fixture.stream.status.viewers == 1)
        #expect(fixture.stream.status.idle == .seconds(2))
    }

    @Test func textIsMadeOncePerVersion() async throws {
        let made = Mutex(0)
        let clock = TestClock()
        let plan = RenditionPlan([Clip.h264])
        let window = StreamWindow(renditions: ["main"], makeToken: countedTokens())
        let stream = HLSStream(name: "s", plan: plan, window: window, clock: { clock.now }) { bytes in
            made.withLock { $0 += 1 }
            return PlainBytes(bytes)
        }
        stream.end(now: clock.now)
        for _ in 0..<10 { _ = await stream.playlist(rendition: "main", .init()) }
        #expect(made.withLock { $0 } == 1)
    }
}
