import RTSP
import Testing
import Wire

/// Messages as the standards print them.
@Suite struct StandardExamplesTests {
    /// RFC 2326 §14.1, media on demand. Its sequence number 876655 is none; the rest of RTP-Info counts.
    @Test func mediaOnDemand() throws {
        let setUp = try request(
            """
            SETUP rtsp://audio.example.com/twister/audio.en RTSP/1.0
            CSeq: 1
            Transport: RTP/AVP/UDP;unicast;client_port=3056-3057


            """)
        let way = try #require(RTSPTransport.parse(setUp.headers["Transport"] ?? "").first)
        #expect(setUp.method == .setup && way.clientPort == .init(3056, 3057) && way.lower == .udp)
        let answer = try response(
            """
            RTSP/1.0 200 OK
            CSeq: 1
            Session: 12345678
            Transport: RTP/AVP/UDP;unicast;client_port=3056-3057;server_port=5000-5001


            """)
        #expect(RTSPSessionHeader(answer.headers["Session"] ?? "")?.id == "12345678")
        #expect(RTSPTransport.parse(answer.headers["Transport"] ?? "").first?.serverPort == .init(5000, 5001))
        let play = try request(
            """
            PLAY rtsp://video.example.com/twister/video RTSP/1.0
            CSeq: 2
            Session: 23456789
            Range: smpte=0:10:00-


            """)
        #expect(RTSPRange(play.headers["Range"] ?? "") == .smpte("0:10:00-"))
        let played = try response(
            """
            RTSP/1.0 200 OK
            CSeq: 2
            Session: 12345678
            Range: smpte=0:10:00-0:20:00
            RTP-Info: url=rtsp://audio.example.com/twister/audio.en;
              seq=876655;rtptime=1032181


            """)
        #expect(
            RTPInfo.parse(played.headers["RTP-Info"] ?? "") == [
                RTPInfo(url: "rtsp://audio.example.com/twister/audio.en", rtpTime: 1_032_181)
            ])
    }

    /// RFC 2326 §14.2, a container file: aggregate control and its refusals.
    @Test func streamsOfAContainer() throws {
        let described = try response(
            """
            RTSP/1.0 200 OK
            CSeq: 1
            Content-Base: rtsp://foo.com/twister/
            Content-Type: application/sdp
            Content-Length: 265

            v=0
            o=- 2890844256 2890842807 IN IP4 172.16.2.93
            s=RTSP Session
            i=An Example of RTSP Session Usage
            a=control:rtsp://foo.com/twister
            t=0 0
            m=audio 0 RTP/AVP 0
            a=control:rtsp://foo.com/twister/audio
            m=video 0 RTP/AVP 26
            a=control:rtsp://foo.com/twister/video
            """)
        let description = try RTSPDescription(parsing: described.body)
        #expect(description.control == "rtsp://foo.com/twister")
        #expect(description.tracks.map(\.control) == ["rtsp://foo.com/twister/audio"])
        #expect(description.unsupported == ["video 26"])
        let refused = try response(
            """
            RTSP/1.0 460 Only aggregate operation allowed
            CSeq: 5


            """)
        #expect(refused.status == .onlyAggregateAllowed && refused.status.reason == "Only aggregate operation allowed")
    }

    /// RFC 2326 §14.6, recording.
    @Test func recording() throws {
        let body = """
            v=0
            o=camera1 3080117314 3080118787 IN IP4 195.27.192.36
            s=IETF Meeting, Munich - 1
            i=The thirty-ninth IETF meeting will be held in Munich, Germany
            u=http://www.ietf.org/meetings/Munich.html
            e=IETF Channel 1 <ietf39-mbone@uni-koeln.de>
            p=IETF Channel 1 +49-172-2312 451
            c=IN IP4 224.0.1.11/127
            t=3080271600 3080703600
            a=tool:sdr v2.4a6
            a=type:test
            m=audio 21010 RTP/AVP 5
            c=IN IP4 224.0.1.11/127
            a=ptime:40
            m=video 61010 RTP/AVP 31
            c=IN IP4 224.0.1.12/127
            """
        let announce = try request(
            "ANNOUNCE rtsp://server.example.com/meeting RTSP/1.0\nCSeq: 90\nContent-Type: application/sdp\nContent-Length: \(crlf(body).utf8.count)\n\n"
                + body)
        #expect(announce.method == .announce && announce.cSeq == 90)
        #expect(try RTSPDescription(parsing: announce.body).unsupported == ["audio 5", "video 31"])
        let setUp = try request(
            """
            SETUP rtsp://server.example.com/meeting/audiotrack RTSP/1.0
            CSeq: 91
            Transport: RTP/AVP;multicast;destination=224.0.1.11;port=21010-21011;mode=record;ttl=127


            """)
        let way = try #require(RTSPTransport.parse(setUp.headers["Transport"] ?? "").first)
        #expect(way.isMulticast && way.mode == .record && way.port == .init(21010, 21011) && way.timeToLive == 127)
        let record = try request(
            """
            RECORD rtsp://server.example.com/meeting RTSP/1.0
            CSeq: 93
            Session: 50887676
            Range: clock=19961110T1925-19961110T2015


            """)
        // Minutes without seconds are not of the grammar of §3.7.
        #expect(record.method == .record && RTSPRange(record.headers["Range"] ?? "") == nil)
    }

    /// RFC 7826 §13.3: SETUP of RTSP 2.0.
    @Test func setUpOfVersion2() throws {
        let setUp = try request(
            """
            SETUP rtsp://example.com/foo/bar/baz.rm RTSP/2.0
            CSeq: 302
            Transport: RTP/AVP;unicast;dest_addr=":4588"/":4589",
                       RTP/AVP/TCP;unicast;interleaved=0-1
            Accept-Ranges: npt, clock
            User-Agent: PhonyClient/1.2


            """)
        #expect(setUp.version == .v2)
        let ways = RTSPTransport.parse(setUp.headers["Transport"] ?? "")
        #expect(ways.map(\.lower) == [.udp, .tcp] && ways.first?.destinationAddresses == [":4588", ":4589"])
        let answer = try response(
            """
            RTSP/2.0 200 OK
            CSeq: 302
            Date: Fri, 20 Dec 2013 10:20:32 +0000
            Server: PhonyServer/1.1
            Transport: RTP/AVP;unicast;dest_addr="192.0.2.53:4588"/
               "192.0.2.53:4589";src_addr="198.51.100.241:6256"/
               "198.51.100.241:6257";ssrc=2A3F93ED
            Session: QKyjN8nt2WqbWw4tIYof52;timeout=60
            Accept-Ranges: npt
            Media-Properties: Random-Access=3.2, Time-Progressing,
                              Time-Duration=3600.0


            """)
        let way = try #require(RTSPTransport.parse(answer.headers["Transport"] ?? "").first)
        #expect(way.sourceAddresses == ["198.51.100.241:6256", "198.51.100.241:6257"] && way.ssrc == 0x2a3f_93ed)
        #expect(
            RTSPSessionHeader(answer.headers["Session"] ?? "")
                == RTSPSessionHeader(id: "QKyjN8nt2WqbWw4tIYof52", timeout: 60))
        #expect(answer.headers.list("Media-Properties").count == 3)
    }

    /// RFC 2326 §12.32: what is required and lacking.
    @Test func requireAndUnsupported() throws {
        let talk = Talk()
        let refused = try talk.send(
            request(
                "SETUP rtsp://server.com/foo/bar/baz.rm RTSP/1.0\nCSeq: 302\nRequire: funky-feature\nFunky-Parameter: funkystuff\n\n"
            ))
        #expect(
            refused.first?.status == .optionNotSupported && refused.first?.headers["Unsupported"] == "funky-feature")
        #expect(refused.first?.cSeq == 302)
    }
}
