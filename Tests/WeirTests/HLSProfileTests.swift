import HLS
import MediaFormats
import Testing
import Weir
import Wire

@Suite struct HLSProfileTests {
    private static func rung(_ text: String) -> LadderRung? {
        if case .picture(let rung, _)? = HLSProfile(text) { rung } else { nil }
    }

    @Test func profilesAreReadAsTheyAreWritten() {
        #expect(HLSProfile("audio") == .sound)
        #expect(Self.rung("720p") == LadderRung(name: "720p", height: 720, bitrate: 2_500_000))
        #expect(Self.rung("360p") == LadderRung(name: "360p", height: 360, bitrate: 600_000))
        #expect(
            Self.rung("480p30:900k")
                == LadderRung(name: "480p30", height: 480, bitrate: 900_000, framesPerSecond: 30))
        #expect(Self.rung("1080p:6M")?.bitrate == 6_000_000)
    }

    @Test func whatIsNoProfileIsRefused() {
        for text in [
            "", "720", "p", "p30", "720pp", "720p0", "720p999", "720p:", "720p:900", "720p:k", "720p:1k", "720p:900k:1",
            "89p", "9999p", "72٠p", "-720p", "720p:9999999999M", "Audio", "99999999999999999999p", "../720p",
        ] { #expect(HLSProfile(text) == nil, "\(text)") }
    }

    @Test func streamsHaveTheLadderOfTheirName() {
        var configuration = Configuration.HLS()
        #expect(configuration.ladder(of: "cam").isEmpty)
        configuration.profiles = ["360p", "audio", "720p", "360p:1M", "480p"].compactMap(HLSProfile.init)
        let ladder = configuration.ladder(of: "cam")
        #expect(ladder.rungs.map(\.name) == ["720p", "480p", "360p"] && ladder.hasSoundAlone)
        #expect(ladder.rungs.allSatisfy { HLSPath.isRendition($0.name) })
        configuration.profileStreams = []
        #expect(configuration.ladder(of: "cam").isEmpty)
    }
}
