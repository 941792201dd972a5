import Testing
import Weir
import Wire

@Suite struct PlaybackConfigurationTests {
    private func parse(_ yaml: String) throws -> Configuration.Playback {
        try ConfigurationLoader.parse(yaml: yaml, file: "w.yaml", environment: [:]).vod
    }

    @Test func valuesAreRead() throws {
        let vod = try parse(
            "vod: {folder: /srv/films, loop: true, linger: 5s, max: 3, transcodings: 0, records: false}")
        #expect(vod.folder == "/srv/films" && vod.loop && vod.linger == .seconds(5) && vod.max == 3)
        #expect(vod.transcodings == 0 && !vod.records && vod.enabled && vod.readers == 4)
    }

    @Test(arguments: ["{max: 0}", "{readers: 65}", "{transcodings: -1}", "{linger: 25h}", "{folders: x}"])
    func wrongValuesAreRefused(value: String) {
        #expect(throws: (any Error).self) { _ = try parse("vod: \(value)") }
    }
}
