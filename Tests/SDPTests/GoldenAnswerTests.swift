import SDP
import TestSupport
import Testing

/// Whole answers, so that a change of any line is seen.
@Suite struct GoldenAnswers {
    @Test func publisherWithEveryCodec() throws {
        let negotiation = try OfferAnswer.answerPublisher(
            offer: Trace.publishDefault.offer, options: makeOptions { $0.maxBitrate = 2000 })
        #expect(
            negotiation.answer
                == crlf(
                    """
                    v=0
                    o=- 1 1 IN IP4 203.0.113.10
                    s=-
                    t=0 0
                    a=group:BUNDLE 0 1
                    a=ice-lite
                    a=ice-options:trickle
                    a=extmap-allow-mixed
                    m=audio 31001 UDP/TLS/RTP/SAVPF 111
                    c=IN IP4 203.0.113.10
                    a=mid:0
                    a=ice-ufrag:uf01
                    a=ice-pwd:password-of-22-characters-1
                    a=fingerprint:sha-256 \(serverFingerprint)
                    a=setup:passive
                    a=recvonly
                    a=rtcp-mux
                    a=rtcp-rsize
                    a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
                    a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
                    a=rtpmap:111 opus/48000/2
                    a=fmtp:111 minptime=10;useinbandfec=1
                    a=rtcp-fb:111 transport-cc
                    a=candidate:1 1 udp 2130706431 203.0.113.10 31001 typ host
                    a=candidate:2 1 udp 2130706175 2001:db8::10 31001 typ host
                    a=candidate:3 1 tcp 1520434687 203.0.113.10 31001 typ host tcptype passive
                    a=end-of-candidates
                    m=video 31001 UDP/TLS/RTP/SAVPF 96 97
                    c=IN IP4 203.0.113.10
                    b=AS:2000
                    b=TIAS:2000000
                    a=mid:1
                    a=ice-ufrag:uf01
                    a=ice-pwd:password-of-22-characters-1
                    a=fingerprint:sha-256 \(serverFingerprint)
                    a=setup:passive
                    a=recvonly
                    a=rtcp-mux
                    a=rtcp-rsize
                    a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
                    a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
                    a=rtpmap:96 VP8/90000
                    a=fmtp:96 x-google-max-bitrate=2000
                    a=rtcp-fb:96 goog-remb
                    a=rtcp-fb:96 transport-cc
                    a=rtcp-fb:96 ccm fir
                    a=rtcp-fb:96 nack
                    a=rtcp-fb:96 nack pli
                    a=rtpmap:97 rtx/90000
                    a=fmtp:97 apt=96
                    """))
    }

    @Test func playerOfVP8AndOpus() throws {
        let negotiation = try OfferAnswer.answerPlayer(
            offer: Trace.playDefault.offer, published: [publishedOpus, publishedVP8], options: makeOptions())
        #expect(
            negotiation.answer
                == crlf(
                    """
                    v=0
                    o=- 1 1 IN IP4 203.0.113.10
                    s=-
                    t=0 0
                    a=group:BUNDLE 0 1
                    a=ice-lite
                    a=ice-options:trickle
                    a=extmap-allow-mixed
                    a=msid-semantic: WMS weir
                    m=audio 31001 UDP/TLS/RTP/SAVPF 111
                    c=IN IP4 203.0.113.10
                    a=mid:0
                    a=ice-ufrag:uf01
                    a=ice-pwd:password-of-22-characters-1
                    a=fingerprint:sha-256 \(serverFingerprint)
                    a=setup:passive
                    a=sendonly
                    a=rtcp-mux
                    a=rtcp-rsize
                    a=rtpmap:111 opus/48000/2
                    a=fmtp:111 minptime=10;useinbandfec=1
                    a=msid:weir weir-audio
                    a=ssrc:1001 cname:weir
                    a=ssrc:1001 msid:weir weir-audio
                    a=candidate:1 1 udp 2130706431 203.0.113.10 31001 typ host
                    a=candidate:2 1 udp 2130706175 2001:db8::10 31001 typ host
                    a=candidate:3 1 tcp 1520434687 203.0.113.10 31001 typ host tcptype passive
                    a=end-of-candidates
                    m=video 31001 UDP/TLS/RTP/SAVPF 96 97
                    c=IN IP4 203.0.113.10
                    a=mid:1
                    a=ice-ufrag:uf01
                    a=ice-pwd:password-of-22-characters-1
                    a=fingerprint:sha-256 \(serverFingerprint)
                    a=setup:passive
                    a=sendonly
                    a=rtcp-mux
                    a=rtcp-rsize
                    a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time
                    a=rtpmap:96 VP8/90000
                    a=rtcp-fb:96 goog-remb
                    a=rtcp-fb:96 ccm fir
                    a=rtcp-fb:96 nack
                    a=rtcp-fb:96 nack pli
                    a=rtpmap:97 rtx/90000
                    a=fmtp:97 apt=96
                    a=msid:weir weir-video
                    a=ssrc-group:FID 1002 1003
                    a=ssrc:1002 cname:weir
                    a=ssrc:1002 msid:weir weir-video
                    a=ssrc:1003 cname:weir
                    a=ssrc:1003 msid:weir weir-video
                    """))
    }

    @Test func studioSoftware() throws {
        let negotiation = try OfferAnswer.answerPublisher(offer: Handwritten.obsPublish, options: makeOptions())
        #expect(
            negotiation.answer
                == crlf(
                    """
                    v=0
                    o=- 1 1 IN IP4 203.0.113.10
                    s=-
                    t=0 0
                    a=group:BUNDLE 0 1
                    a=ice-lite
                    a=ice-options:trickle
                    m=audio 31001 UDP/TLS/RTP/SAVPF 111
                    c=IN IP4 203.0.113.10
                    a=mid:0
                    a=ice-ufrag:uf01
                    a=ice-pwd:password-of-22-characters-1
                    a=fingerprint:sha-256 \(serverFingerprint)
                    a=setup:passive
                    a=recvonly
                    a=rtcp-mux
                    a=rtpmap:111 opus/48000/2
                    a=fmtp:111 minptime=10;maxaveragebitrate=96000;stereo=1;sprop-stereo=1;useinbandfec=1
                    a=candidate:1 1 udp 2130706431 203.0.113.10 31001 typ host
                    a=candidate:2 1 udp 2130706175 2001:db8::10 31001 typ host
                    a=candidate:3 1 tcp 1520434687 203.0.113.10 31001 typ host tcptype passive
                    a=end-of-candidates
                    m=video 31001 UDP/TLS/RTP/SAVPF 96
                    c=IN IP4 203.0.113.10
                    a=mid:1
                    a=ice-ufrag:uf01
                    a=ice-pwd:password-of-22-characters-1
                    a=fingerprint:sha-256 \(serverFingerprint)
                    a=setup:passive
                    a=recvonly
                    a=rtcp-mux
                    a=rtpmap:96 H264/90000
                    a=fmtp:96 profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1
                    a=rtcp-fb:96 goog-remb
                    a=rtcp-fb:96 nack
                    a=rtcp-fb:96 nack pli
                    """))
    }
}
