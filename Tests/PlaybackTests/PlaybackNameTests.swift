import Playback
import Testing

@Suite struct PlaybackNameTests {
    @Test func `the scheme says for whom it is`() throws {
        let own = try #require(PlaybackName("vod://a.mp4"))
        #expect(!own.isShared && own.components == ["a.mp4"])
        let shared = try #require(PlaybackName("vod-live://folder/b c.mkv"))
        #expect(shared.isShared && shared.components == ["folder", "b c.mkv"])
    }

    @Test(arguments: ["a.mp4", "vod:/a.mp4", "VOD://a.mp4", "rtsp://vod://a.mp4", "vodlive://a", ""])
    func `other names are of another kind`(name: String) { #expect(PlaybackName(name) == nil) }

    @Test(arguments: [
        "", "/", "/etc/passwd", "../a.mp4", "a/../../b", "a/./b", ".", "..", "a//b", "a/", ".hidden", "a/.hidden/b",
        "a\0.mp4", "a\n.mp4", "a\u{7f}", "a\\..\\b", String(repeating: "n", count: 300),
        String(repeating: "n/", count: 600) + "n",
    ])
    func `no name leads out of the folder`(file: String) {
        #expect(PlaybackName("vod://" + file)?.components == nil)
    }

    @Test func `escapes are letters like others`() {
        #expect(PlaybackName("vod://..%2f..%2fetc%2fpasswd")?.components == nil, "it begins with a dot")
        #expect(PlaybackName("vod://a%2f..%2f..%2fpasswd")?.components == ["a%2f..%2f..%2fpasswd"])
        #expect(PlaybackName("vod://$(id).mp4")?.components == ["$(id).mp4"])
        #expect(PlaybackName("vod://\u{1F3A5}.mp4")?.components == ["\u{1F3A5}.mp4"])
    }
}
