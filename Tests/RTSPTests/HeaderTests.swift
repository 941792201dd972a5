import RTSP
import Testing
import Wire

@Suite struct URLTests {
    @Test func partsOfAURL() throws {
        let url = try #require(RTSPURL("RTSP://User:p%40ss@Camera-1.example.com:8554/live/ch%201?token=a/b&x=%41#f"))
        #expect(url.scheme == .rtsp && url.user == "User" && url.password == "p@ss")
        #expect(url.host == "Camera-1.example.com" && url.port == 8554)
        #expect(url.path == "/live/ch%201" && url.query == "token=a/b&x=%41")
        #expect(url.requestURI == "rtsp://Camera-1.example.com:8554/live/ch%201?token=a/b&x=%41")
        #expect("\(url)".contains("p@ss") == false)
        #expect(RTSPURL("rtsps://[2001:db8::1]/a")?.host == "2001:db8::1")
        #expect(RTSPURL("rtsps://[2001:db8::1]/a")?.requestURI == "rtsps://[2001:db8::1]/a")
        #expect(RTSPURL("rtsps://h")?.port == 322 && RTSPURL("rtsp://h:/a")?.port == 554)
        #expect(RTSPURL("rtsp://h?a=b")?.query == "a=b" && RTSPURL("rtsp://h?a=b")?.path == "")
        // Unescaped, as people type it: the last @ counts.
        #expect(RTSPURL("rtsp://admin:p@ss@10.0.0.1/a")?.password == "p@ss")
        #expect(RTSPURL("rtsp://admin:p@ss@10.0.0.1/a")?.host == "10.0.0.1")
    }

    @Test(arguments: [
        "", "rtsp://", "rtsp:///a", "http://h/a", "rtsp:/h/a", "rtsp//h", "rtsp://h:0/", "rtsp://h:65536/",
        "rtsp://h:8x/", "rtsp://h h/", "rtsp://h\r\n/", "rtsp://[::1/a", "rtsp://[::1]x/a", "rtsp://[::g]/a",
        "rtsp://h%41/a", "rtsp://%zz@h/a", "rtsp://a:%00@h/", "rtsp://ü/a", "rtsp://h\\@x/",
    ])
    func whatIsNoURL(_ text: String) { #expect(RTSPURL(text) == nil) }

    @Test func percentSigns() {
        #expect(RTSPURL.decode("a%20b%C3%BC") == "a bü")
        #expect(RTSPURL.decode("%4") == nil && RTSPURL.decode("%4x") == nil && RTSPURL.decode("%FF") == nil)
    }

    @Test(arguments: [
        ("rtsp://h/a", "trackID=1", "rtsp://h/a/trackID=1"),
        ("rtsp://h/a/", "trackID=1", "rtsp://h/a/trackID=1"),
        ("rtsp://h/a", "/trackID=1", "rtsp://h/a/trackID=1"),
        ("rtsp://h/a?x=y", "trackID=1", "rtsp://h/a?x=y/trackID=1"),
        ("rtsp://h/a/", "*", "rtsp://h/a/"),
        ("rtsp://h/a", "", "rtsp://h/a"),
        ("rtsp://h/a", "rtsp://10.0.0.5/other/track2", "rtsp://10.0.0.5/other/track2"),
        ("rtsp://h/a", "streamid=0?u=rtsp://x", "rtsp://h/a/streamid=0?u=rtsp://x"),
    ])
    func controlsAreJoined(_ base: String, _ control: String, _ joined: String) {
        #expect(ControlURL.join(base: base, control: control) == joined)
    }

    @Test func baseOfControls() {
        #expect(
            ControlURL.base(
                of: ["Content-Base": "rtsp://h/b/", "Content-Location": "rtsp://h/l"], request: "rtsp://h/r")
                == "rtsp://h/b/")
        #expect(ControlURL.base(of: ["Content-Location": "rtsp://h/l"], request: "rtsp://h/r") == "rtsp://h/l")
        #expect(ControlURL.base(of: ["Content-Base": ""], request: "rtsp://h/r") == "rtsp://h/r")
    }
}

@Suite struct TransportTests {
    /// RFC 2326 §12.39.
    @Test func listOfTheStandard() throws {
        let ways = RTSPTransport.parse(
            "RTP/AVP;multicast;ttl=127;mode=\"PLAY\",RTP/AVP;unicast;client_port=3456-3457;mode=\"PLAY\"")
        try #require(ways.count == 2)
        #expect(ways[0].isMulticast && ways[0].timeToLive == 127 && ways[0].mode == .play)
        #expect(!ways[1].isMulticast && ways[1].clientPort == .init(3456, 3457) && ways[1].lower == .udp)
    }

    @Test func formsInUse() throws {
        // ffmpeg, GStreamer, VLC, RFC 7826
        let ffmpeg = try #require(RTSPTransport.parse("RTP/AVP/TCP;unicast;interleaved=0-1;mode=record").first)
        #expect(ffmpeg.lower == .tcp && ffmpeg.interleaved == .init(0, 1) && ffmpeg.mode == .record)
        let many = RTSPTransport.parse(
            "RTP/AVPF;unicast;client_port=5000-5001,RTP/AVP;multicast,RTP/SAVP/UDP;unicast;client_port=7,RTP/AVP/TCP;interleaved=4"
        )
        try #require(many.count == 4)
        #expect(many[0].profile == .avpf && many[1].isMulticast && many[2].profile.isSecure)
        #expect(many[2].clientPort == .init(7, 8) && many[3].interleaved == .init(4, 5))
        let v2 = try #require(
            RTSPTransport.parse(
                "RTP/AVP/UDP;unicast;dest_addr=\"192.0.2.53:3456\"/\"192.0.2.53:3457\";RTCP-mux;ssrc=93CB001E"
            ).first)
        #expect(v2.destinationAddresses == ["192.0.2.53:3456", "192.0.2.53:3457"])
        #expect(v2.muxesRTCP && v2.ssrc == 0x93cb_001e)
        let camera = try #require(
            RTSPTransport.parse(
                "RTP/AVP/UDP;unicast;destination=10.0.0.2;source=10.0.0.1;client_port=6970-6971;server_port=49154-49155;ssrc=  1A2B"
            )
            .first)
        #expect(camera.serverPort == .init(49154, 49155) && camera.source == "10.0.0.1" && camera.ssrc == 0x1a2b)
        #expect(RTSPTransport.parse("rtp/avp/tcp;UNICAST;Interleaved=2-3").first?.interleaved == .init(2, 3))
    }

    @Test(arguments: [
        "", ",,", "RTP", "RAW/RAW/UDP;unicast", "RTP/AVP/SCTP", "RTP/AVP;client_port=70000-70001", "RTP/XYZ",
        "RTP/AVP;client_port=", "RTP/AVP;client_port=a-b", "RTP/AVP;client_port", "RTP/AVP/TCP;interleaved=256-257",
        "RTP/AVP/TCP;interleaved=255", "RTP/AVP;client_port=65535", "RTP/AVP;client_port=-1-2", "RTP/AVP;mode=FLY",
    ])
    func whatIsNotUnderstoodIsLeftOut(_ text: String) { #expect(RTSPTransport.parse(text).isEmpty) }

    @Test func aBadOneDoesNotHideTheNext() {
        #expect(RTSPTransport.parse("RTP/AVP;client_port=x,RTP/AVP/TCP;interleaved=0-1").count == 1)
        let many = [String](repeating: "RTP/AVP/TCP;interleaved=0-1", count: 500).joined(separator: ",")
        #expect(RTSPTransport.parse(many).count == 16)
    }

    @Test func writtenAndReadItIsTheSame() {
        var way = RTSPTransport(.udp, profile: .savpf)
        way.clientPort = .init(5000, 5001)
        way.serverPort = .init(8000, 8001)
        way.source = "192.0.2.1"
        way.destination = "192.0.2.2"
        way.ssrc = 0x0000_beef
        way.mode = .record
        way.muxesRTCP = true
        way.destinationAddresses = [":5000", ":5001"]
        way.mikey = "AQAFgM0X=="
        way.timeToLive = 3
        #expect(RTSPTransport.parse(way.text) == [way])
        var inside = RTSPTransport(.tcp)
        inside.interleaved = .init(254, 255)
        #expect(inside.text == "RTP/AVP/TCP;unicast;interleaved=254-255")
        #expect(RTSPTransport.parse(inside.text) == [inside])
    }
}

@Suite struct OtherHeaderTests {
    @Test(arguments: [
        ("npt=now-", RTSPRange.live),
        ("npt=0.000-", .npt(from: .time(.zero), to: nil)),
        ("npt=10-20.5", .npt(from: .time(.seconds(10)), to: .time(.milliseconds(20_500)))),
        ("npt=-20", .npt(from: nil, to: .time(.seconds(20)))),
        ("npt=0:10:20.123456789-", .npt(from: .time(.seconds(620) + .nanoseconds(123_456_789)), to: nil)),
        ("clock=19961108T143720.25Z-", .clock(from: "19961108T143720.25Z", to: nil)),
        (
            "clock=19961108T142300Z-19961108T143520Z;time=19970123T143720Z",
            .clock(from: "19961108T142300Z", to: "19961108T143520Z")
        ),
        ("smpte=0:10:20-;time=19970123T153600Z", .smpte("0:10:20-")),
        ("smpte-30-drop=10:07:33:05.01-", .smpte("10:07:33:05.01-")),
    ])
    func rangesOfTheStandard(_ text: String, _ range: RTSPRange) {
        #expect(RTSPRange(text) == range)
        #expect(RTSPRange(range.text) == range || text.contains("smpte") || text.contains("123456789"))
    }

    @Test(arguments: [
        "", "npt", "npt=", "npt=-", "npt=1", "npt=a-", "npt=1-b", "npt=1:2-", "npt=1:60:0-", "npt=1:0:60-",
        "npt=-1-2", "npt=99999999999999999999-", "npt=1e5-", "clock=-", "clock=1996-", "clock=19961108T143720-",
        "days=1-2", "npt=1.x-", "npt=1:2:3:4-",
    ])
    func rangesThatAreNone(_ text: String) { #expect(RTSPRange(text) == nil) }

    @Test func textOfNormalPlayTime() {
        #expect(RTSPRange.npt(from: .time(.milliseconds(1_005)), to: .time(.seconds(7))).text == "npt=1.005-7.000")
        #expect(RTSPRange.live.text == "npt=now-")
    }

    /// RFC 2326 §12.33 and RFC 7826 §18.45.
    @Test func infoOfStreams() {
        let text =
            "url=rtsp://foo.com/bar.avi/streamid=0;seq=45102, url=rtsp://foo.com/bar.avi/streamid=1;seq=30211;rtptime=17"
        let infos = RTPInfo.parse(text)
        #expect(
            infos == [
                RTPInfo(url: "rtsp://foo.com/bar.avi/streamid=0", sequence: 45102),
                RTPInfo(url: "rtsp://foo.com/bar.avi/streamid=1", sequence: 30211, rtpTime: 17),
            ])
        #expect(infos[1].text(.v1) == "url=rtsp://foo.com/bar.avi/streamid=1;seq=30211;rtptime=17")
        let v2 = RTPInfo.parse(
            "url=\"rtsp://example.com/foo/audio\" ssrc=0A13C760:seq=45102;rtptime=12345678,url=\"rtsp://example.com/foo/video\" ssrc=9A9DE123:seq=30211;rtptime=29567112"
        )
        #expect(
            v2 == [
                RTPInfo(
                    url: "rtsp://example.com/foo/audio", sequence: 45102, rtpTime: 12_345_678, ssrc: 0x0a13_c760),
                RTPInfo(
                    url: "rtsp://example.com/foo/video", sequence: 30211, rtpTime: 29_567_112, ssrc: 0x9a9d_e123),
            ])
        #expect(RTPInfo.parse(v2[0].text(.v2)) == [v2[0]])
        #expect(RTPInfo.parse("seq=1;url").isEmpty)
        #expect(RTPInfo.parse("url=a;seq=65536;rtptime=x") == [RTPInfo(url: "a")])
    }

    @Test func sessions() {
        #expect(RTSPSessionHeader("47112344;timeout=30") == RTSPSessionHeader(id: "47112344", timeout: 30))
        #expect(RTSPSessionHeader(" 1 ; Timeout = 5 ")?.timeout == 5)
        #expect(RTSPSessionHeader("a;timeout=0")?.timeout == nil && RTSPSessionHeader("a;timeout=x")?.timeout == nil)
        #expect(RTSPSessionHeader("a;timeout=9999999999")?.timeout == 86_400)
        #expect(RTSPSessionHeader("") == nil && RTSPSessionHeader(";timeout=1")?.id == "timeout=1")
        #expect(RTSPSessionHeader(String(repeating: "a", count: 257)) == nil)
        #expect(RTSPSessionHeader(id: "a", timeout: 60).text == "a;timeout=60")
    }

    @Test func listsMayBeSpread() {
        var headers: RTSPHeaders = ["Require": "a, b", "CSeq": "1"]
        headers.add("require", "c,,")
        #expect(headers.list("Require") == ["a", "b", "c"])
        headers["Require"] = nil
        #expect(headers.list("Require").isEmpty)
    }
}
