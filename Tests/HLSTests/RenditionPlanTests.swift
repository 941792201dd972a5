import HLS
import MediaFormats
import Testing
import Wire

@Suite struct RenditionPlanTests {
    private let aac = TrackDescription(codec: .aac, parameterSets: [[0x11, 0x90]])

    @Test func oneSoundStaysWithThePicture() {
        #expect(RenditionPlan([Clip.h264, Clip.opus]).renditions == [.init(name: "main", tracks: [0, 1])])
        #expect(RenditionPlan([Clip.opus, Clip.h264]).renditions == [.init(name: "main", tracks: [1, 0])])
        #expect(RenditionPlan([Clip.opus]).renditions == [.init(name: "main", tracks: [0])])
        #expect(RenditionPlan([Clip.h264]).renditions == [.init(name: "main", tracks: [0])])
    }

    @Test func twoSoundsAreRenditionsOfTheirOwn() async throws {
        let tracks = [Clip.h264, Clip.opus, aac]
        let plan = RenditionPlan(tracks)
        #expect(plan.renditions.map(\.name) == ["main", "audio-opus", "audio-aac"])
        let clock = TestClock()
        let window = StreamWindow(renditions: plan.renditions.map(\.name), makeToken: countedTokens())
        let stream = HLSStream(name: "s", plan: plan, window: window, clock: { clock.now })
        var producer = HLSProducer(tracks: tracks, plan: plan, settings: .init(), unixTimeAtZero: 0)
        for index in 0..<200 {
            let time = Interval.milliseconds(40 * Int64(index))
            clock.set(.at(time))
            var frames = [Clip.picture(index, at: time, isKey: index % 25 == 0)]
            frames += (0..<2).map { Clip.sound(index * 2 + $0, at: time + .milliseconds(20 * Int64($0))) }
            frames.append(
                MediaFrame(track: 2, data: [1, 2, 3], time: time, duration: .milliseconds(40)))
            for frame in frames { stream.apply(producer.append(frame, now: clock.now), now: clock.now) }
        }
        let list = try #require(await stream.multivariant())
        #expect(list.variants.count == 1 && list.variants[0].audioGroup == "audio")
        #expect(list.variants[0].codecs == ["avc1.64000d", "opus", "mp4a.40.2"])
        #expect(list.audio.map(\.isDefault) == [true, false])
        #expect(list.audio.map(\.uri) == ["audio-opus/live.m3u8", "audio-aac/live.m3u8"])
        // All have the same segments and parts, and say so of each other.
        var shapes: Set<String> = []
        for name in plan.renditions.map(\.name) {
            guard case .text(let text, _, _) = await stream.playlist(rendition: name, .init()) else { return }
            let lines = string(text.bytes).split(separator: "\n")
            #expect(lines.count { $0.hasPrefix("#EXT-X-RENDITION-REPORT") } == 2)
            shapes.insert(lines.filter { $0.hasPrefix("#EXTINF") || $0.hasPrefix("#EXT-X-PROGRAM") }.joined())
        }
        #expect(shapes.count == 1)
    }
}
