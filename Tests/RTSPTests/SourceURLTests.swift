import RTSP
import Testing
import Wire

/// URLs of sources that are not RTSP's, and who may be reached by them.
struct SourceURLTests {
    @Test(arguments: [
        ("rtmp://host/app/key", "host", UInt16(1935), "rtmp://host/app/key"),
        ("RTMP://Host:1935/app/key", "Host", 1935, "rtmp://Host/app/key"),
        (
            "https://cdn.example.com/a/b.m3u8?x=1&y=%2f", "cdn.example.com", 443,
            "https://cdn.example.com/a/b.m3u8?x=1&y=%2f"
        ),
        (
            "http://us%40er:p@ss@[2001:db8::1]:8080/x#f", "2001:db8::1", 8080,
            "http://us%40er:p%40ss@[2001:db8::1]:8080/x"
        ),
        ("srt://host:9000?latency=200&streamid=a/b", "host", 9000, "srt://host:9000?latency=200&streamid=a/b"),
        ("srt://:9000?mode=listener", "", 9000, "srt://:9000?mode=listener"),
        ("udp://@:5000", "", 5000, "udp://:5000"),
        ("udp://239.1.2.3:5000", "239.1.2.3", 5000, "udp://239.1.2.3:5000"),
        ("udp://@239.1.2.3:5000?sources=10.0.0.1", "239.1.2.3", 5000, "udp://239.1.2.3:5000?sources=10.0.0.1"),
    ])
    func whatIsRead(text: String, host: String, port: UInt16, written: String) throws {
        let url = try #require(SourceURL(text))
        #expect(url.host == host && url.port == port && url.text == written)
    }

    /// What libavformat would understand in another way than we do, or take for more than a place.
    @Test(arguments: [
        "rtsp://host/a", "ftp://host/a", "http:/host", "http://", "http://host:0/", "http://host:99999/", "http://a b/",
        "http://a\\@b/", "http://h/\u{1}", "srt://host", "srt://:9000", "udp://host", "udp://@:5000?localport=22",
        "srt://h:9000?mode=rendezvous", "srt://h:9000?logfile=/etc/passwd", "concat:http://a/|file:///etc/passwd",
        "file://host/a", "file:a", "file:///a?b", "hls+http://a/", "crypto+http://a/", "http://[::1%25eth0]/",
    ])
    func whatIsNone(text: String) { #expect(SourceURL(text) == nil) }

    @Test func filesAreBelowAFolder() throws {
        let url = try #require(SourceURL("file:///srv/media/b%20c/d.mp4"))
        #expect(url.path == ["srv", "media", "b c", "d.mp4"])
        #expect(url.components(below: "/srv/media/") == ["b c", "d.mp4"])
        #expect(url.components(below: "/") == url.path)
        #expect(url.components(below: "/srv/med") == nil && url.components(below: "") == nil)
        #expect(url.components(below: "srv") == nil && !url.isBelow("/srv/media/b c/d.mp4"))
        for text in [
            "file:///srv/../etc/passwd", "file:///srv/%2e%2e/x", "file:///srv/a%2fb", "file:///", "file:///%00",
        ] {
            #expect(SourceURL(text)?.components(below: "/srv") == nil, "\(text)")
        }
    }

    @Test func targetsAreToldApartByTheirSchemes() {
        #expect(PullTarget("rtsp://host/a")?.isProcess == false && PullTarget("rtmp://host/a")?.isProcess == true)
        #expect(PullTarget("vod://a") == nil && PullTarget("a") == nil)
        #expect(PullTarget.scheme(of: "RTSPS://host") == "rtsps" && PullTarget.scheme(of: "vod://a") == nil)
        #expect(PullTarget("udp://@:5000")?.host == nil && PullTarget("http://h/")?.host == "h")
    }

    @Test(
        arguments: [
            ("http://a.example.com/", nil), ("https://a.example.com:8443/", nil), ("rtmps://a.example.com/x", nil),
            ("http://a.example.com:22/", .port), ("http://a.example.com:554/", .port), ("udp://@:53", .port),
            ("http://example.org/", .host), ("udp://@:5000", nil), ("file:///x", nil),
        ] as [(String, HostGuard.Refusal?)])
    func hostsAndPortsAreChecked(text: String, expected: HostGuard.Refusal?) throws {
        var hostGuard = HostGuard()
        hostGuard.hosts = ["*.example.com"]
        let target = try #require(PullTarget(text))
        var refusal: HostGuard.Refusal?
        do throws(HostGuard.Refusal) { try hostGuard.check(target) } catch { refusal = error }
        #expect(refusal == expected)
    }
}
