import TestSupport

/// Offers in the manner of clients that could not be recorded; written after their public sources, shortened.
enum Handwritten {
    private static let fingerprint = """
        sha-256 5F:F1:B4:15:BF:78:C0:C4:58:5B:B0:5C:AA:6E:11:9F:DF:0D:6E:29:4E:84:F5:83:43:8A:E2:B7:93:D3:87:5C
        """

    /// Firefox: fingerprint and ice-options at session level, own ufrag per m-line, extmap with directions, inactive
    /// candidates of names, rtx of each codec, msid but sources with cname only.
    static let firefoxPublish = crlf(
        """
        v=0
        o=mozilla...THIS_IS_SDPARTA-99.0 5871467131526410917 0 IN IP4 0.0.0.0
        s=-
        t=0 0
        a=fingerprint:\(fingerprint)
        a=group:BUNDLE 0 1
        a=ice-options:trickle
        a=msid-semantic:WMS *
        m=audio 9 UDP/TLS/RTP/SAVPF 109 9 0 8 101
        c=IN IP4 0.0.0.0
        a=candidate:0 1 UDP 2122252543 7f3a1b2c-1111-2222-3333-444455556666.local 50001 typ host
        a=candidate:0 2 UDP 2122252542 192.0.2.9 50002 typ host
        a=candidate:1 1 UDP 1686052863 198.51.100.7 50001 typ srflx raddr 0.0.0.0 rport 0
        a=sendonly
        a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
        a=extmap:2/recvonly urn:ietf:params:rtp-hdrext:csrc-audio-level
        a=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid
        a=fmtp:109 maxplaybackrate=48000;stereo=1;useinbandfec=1
        a=fmtp:101 0-15
        a=ice-pwd:4c4b6d2f1a9e4d0fa1cbe2d37b6a8f11
        a=ice-ufrag:aaaa1111
        a=mid:0
        a=msid:{f0c2e4a6} {a1b2c3d4}
        a=rtcp-mux
        a=rtpmap:109 opus/48000/2
        a=rtpmap:9 G722/8000/1
        a=rtpmap:0 PCMU/8000
        a=rtpmap:8 PCMA/8000
        a=rtpmap:101 telephone-event/8000/1
        a=setup:actpass
        a=ssrc:3911111111 cname:{99999999}
        m=video 9 UDP/TLS/RTP/SAVPF 120 124 121 125 126 127 97 98
        c=IN IP4 0.0.0.0
        a=sendonly
        a=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid
        a=extmap:4 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time
        a=extmap:5 urn:ietf:params:rtp-hdrext:toffset
        a=extmap:6/recvonly http://www.webrtc.org/experiments/rtp-hdrext/playout-delay
        a=extmap:7 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01
        a=fmtp:126 profile-level-id=42e01f;level-asymmetry-allowed=1;packetization-mode=1
        a=fmtp:97 profile-level-id=42e01f;level-asymmetry-allowed=1
        a=fmtp:120 max-fs=12288;max-fr=60
        a=fmtp:124 apt=120
        a=fmtp:121 max-fs=12288;max-fr=60
        a=fmtp:125 apt=121
        a=fmtp:127 apt=126
        a=fmtp:98 apt=97
        a=ice-pwd:5d5c7e3a2bafe51fb2dcf3e48c7b9a22
        a=ice-ufrag:bbbb2222
        a=mid:1
        a=msid:{f0c2e4a6} {e5f6a7b8}
        a=rtcp-fb:120 nack
        a=rtcp-fb:120 nack pli
        a=rtcp-fb:120 ccm fir
        a=rtcp-fb:120 goog-remb
        a=rtcp-fb:120 transport-cc
        a=rtcp-mux
        a=rtcp-rsize
        a=rtpmap:120 VP8/90000
        a=rtpmap:124 rtx/90000
        a=rtpmap:121 VP9/90000
        a=rtpmap:125 rtx/90000
        a=rtpmap:126 H264/90000
        a=rtpmap:127 rtx/90000
        a=rtpmap:97 H264/90000
        a=rtpmap:98 rtx/90000
        a=setup:actpass
        a=ssrc:2922222222 cname:{99999999}
        a=ssrc:2933333333 cname:{99999999}
        a=ssrc-group:FID 2922222222 2933333333
        """)

    static let firefoxPlay = firefoxPublish.mappingLines { $0 == "a=sendonly" ? "a=recvonly" : $0 }.keepingLines {
        !$0.hasPrefix("a=ssrc") && !$0.hasPrefix("a=msid:")
    }

    /// Safari: H264 in constrained high first, then constrained baseline; H265 with tier and level.
    static let safariPlay = crlf(
        """
        v=0
        o=- 2837461827346 2 IN IP4 127.0.0.1
        s=-
        t=0 0
        a=group:BUNDLE 0 1
        a=extmap-allow-mixed
        a=msid-semantic: WMS
        m=audio 9 UDP/TLS/RTP/SAVPF 111 9 0 8
        c=IN IP4 0.0.0.0
        a=rtcp:9 IN IP4 0.0.0.0
        a=ice-ufrag:sFr1
        a=ice-pwd:kQmWq0l2Zb7yVx3cNf5tHd9A
        a=ice-options:trickle
        a=fingerprint:\(fingerprint)
        a=setup:actpass
        a=mid:0
        a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
        a=recvonly
        a=rtcp-mux
        a=rtpmap:111 opus/48000/2
        a=rtcp-fb:111 transport-cc
        a=fmtp:111 minptime=10;useinbandfec=1
        a=rtpmap:9 G722/8000
        m=video 9 UDP/TLS/RTP/SAVPF 96 97 98 99 100 101 102 103
        c=IN IP4 0.0.0.0
        a=rtcp:9 IN IP4 0.0.0.0
        a=ice-ufrag:sFr1
        a=ice-pwd:kQmWq0l2Zb7yVx3cNf5tHd9A
        a=ice-options:trickle
        a=fingerprint:\(fingerprint)
        a=setup:actpass
        a=mid:1
        a=extmap:2 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time
        a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
        a=extmap:13 urn:3gpp:video-orientation
        a=recvonly
        a=rtcp-mux
        a=rtcp-rsize
        a=rtpmap:96 H264/90000
        a=rtcp-fb:96 goog-remb
        a=rtcp-fb:96 ccm fir
        a=rtcp-fb:96 nack
        a=rtcp-fb:96 nack pli
        a=fmtp:96 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640c1f
        a=rtpmap:97 rtx/90000
        a=fmtp:97 apt=96
        a=rtpmap:98 H264/90000
        a=rtcp-fb:98 goog-remb
        a=rtcp-fb:98 nack
        a=rtcp-fb:98 nack pli
        a=fmtp:98 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f
        a=rtpmap:99 rtx/90000
        a=fmtp:99 apt=98
        a=rtpmap:100 H265/90000
        a=fmtp:100 level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST
        a=rtpmap:101 rtx/90000
        a=fmtp:101 apt=100
        a=rtpmap:102 VP8/90000
        a=rtpmap:103 rtx/90000
        a=fmtp:103 apt=102
        """)

    static let safariPublish = safariPlay.mappingLines { $0 == "a=recvonly" ? "a=sendonly" : $0 }

    /// aiortc: video first, candidates with every m-line, three fingerprints, rtx only of VP8.
    static let aiortcPublish = crlf(
        """
        v=0
        o=- 3940000000 3940000000 IN IP4 0.0.0.0
        s=-
        t=0 0
        a=group:BUNDLE 0 1
        a=msid-semantic:WMS *
        m=video 40001 UDP/TLS/RTP/SAVPF 97 98 99 100 101 102
        c=IN IP4 192.0.2.77
        a=sendonly
        a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid
        a=extmap:3 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time
        a=mid:0
        a=msid:f1c2 4d5e
        a=rtcp:9 IN IP4 0.0.0.0
        a=rtcp-mux
        a=ssrc-group:FID 1111111111 1222222222
        a=ssrc:1111111111 cname:abc
        a=ssrc:1222222222 cname:abc
        a=rtpmap:97 VP8/90000
        a=rtcp-fb:97 nack
        a=rtcp-fb:97 nack pli
        a=rtcp-fb:97 goog-remb
        a=rtpmap:98 rtx/90000
        a=fmtp:98 apt=97
        a=rtpmap:99 H264/90000
        a=rtcp-fb:99 nack
        a=rtcp-fb:99 nack pli
        a=rtcp-fb:99 goog-remb
        a=fmtp:99 packetization-mode=1;level-asymmetry-allowed=1;profile-level-id=42001f
        a=rtpmap:100 rtx/90000
        a=fmtp:100 apt=99
        a=rtpmap:101 H264/90000
        a=rtcp-fb:101 nack
        a=fmtp:101 packetization-mode=1;level-asymmetry-allowed=1;profile-level-id=42e01f
        a=rtpmap:102 rtx/90000
        a=fmtp:102 apt=101
        a=candidate:abc 1 udp 2130706431 192.0.2.77 40001 typ host
        a=candidate:abc 1 udp 2130706431 2001:db8::77 40001 typ host
        a=end-of-candidates
        a=ice-ufrag:W2xY
        a=ice-pwd:Jk3LmN4pQr5sTu6vWx7yZa
        a=fingerprint:\(fingerprint)
        a=fingerprint:sha-1 4A:AD:B9:B1:3F:82:18:3B:54:02:12:DF:3E:5D:49:6B:19:E5:7C:AB
        a=setup:actpass
        m=audio 40001 UDP/TLS/RTP/SAVPF 96 0 8
        c=IN IP4 192.0.2.77
        a=sendonly
        a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid
        a=extmap:2 urn:ietf:params:rtp-hdrext:ssrc-audio-level
        a=mid:1
        a=msid:f1c2 6f7a
        a=rtcp:9 IN IP4 0.0.0.0
        a=rtcp-mux
        a=ssrc:3333333333 cname:abc
        a=rtpmap:96 opus/48000/2
        a=rtpmap:0 PCMU/8000
        a=rtpmap:8 PCMA/8000
        a=candidate:abc 1 udp 2130706431 192.0.2.77 40001 typ host
        a=end-of-candidates
        a=ice-ufrag:W2xY
        a=ice-pwd:Jk3LmN4pQr5sTu6vWx7yZa
        a=fingerprint:\(fingerprint)
        a=setup:actpass
        """)

    /// GStreamer webrtcbin with bundle-policy max-bundle: bundle-only second m-line, sources with msid of its own kind,
    /// H264 whose fmtp carries the parameter sets.
    static let webrtcbinPublish = crlf(
        """
        v=0
        o=- 6677889900112233 0 IN IP4 0.0.0.0
        s=-
        t=0 0
        a=ice-options:trickle
        a=group:BUNDLE video0 audio1
        m=video 9 UDP/TLS/RTP/SAVPF 96
        c=IN IP4 0.0.0.0
        a=setup:actpass
        a=ice-ufrag:0aBcDeFgHiJkLmNoPqRsTuVwXyZ01234
        a=ice-pwd:Z9y8X7w6V5u4T3s2R1q0P9o8N7m6L5k4
        a=rtcp-mux
        a=rtcp-rsize
        a=sendrecv
        a=rtpmap:96 H264/90000
        a=rtcp-fb:96 nack pli
        a=rtcp-fb:96 ccm fir
        a=rtcp-fb:96 transport-cc
        a=framerate:30
        a=fmtp:96 packetization-mode=1;profile-level-id=42c015;sprop-parameter-sets=Z0LAFdoHgeRA,aM48gA==
        a=ssrc:987654321 msid:user1@host-a webrtctransceiver0
        a=ssrc:987654321 cname:user1@host-a
        a=mid:video0
        a=fingerprint:\(fingerprint)
        m=audio 0 UDP/TLS/RTP/SAVPF 97
        c=IN IP4 0.0.0.0
        a=setup:actpass
        a=rtcp-mux
        a=rtcp-rsize
        a=sendrecv
        a=rtpmap:97 OPUS/48000/2
        a=rtcp-fb:97 transport-cc
        a=fmtp:97 sprop-stereo=1;sprop-maxcapturerate=48000
        a=ssrc:123456789 msid:user1@host-a webrtctransceiver1
        a=mid:audio1
        a=bundle-only
        a=fingerprint:\(fingerprint)
        """)

    /// OBS 30 by WHIP (libdatachannel): no RTX, no transport-cc, no header extensions, so no mid in packets.
    static let obsPublish = crlf(
        """
        v=0
        o=rtc 3767197920 0 IN IP4 127.0.0.1
        s=-
        t=0 0
        a=group:BUNDLE 0 1
        a=msid-semantic:WMS *
        a=setup:actpass
        a=ice-ufrag:cpIl
        a=ice-pwd:Ksy8qsjpY1WERvH8F3YpJQ
        a=ice-options:ice2,trickle
        a=fingerprint:\(fingerprint)
        m=audio 61033 UDP/TLS/RTP/SAVPF 111
        c=IN IP4 192.0.2.50
        a=mid:0
        a=sendonly
        a=ssrc:1312131213 cname:obs
        a=ssrc:1312131213 msid:obs obs-audio
        a=msid:obs obs-audio
        a=rtcp-mux
        a=rtpmap:111 opus/48000/2
        a=fmtp:111 minptime=10;maxaveragebitrate=96000;stereo=1;sprop-stereo=1;useinbandfec=1
        a=candidate:1 1 UDP 2114977791 192.0.2.50 61033 typ host
        a=candidate:2 1 UDP 2114977535 fe80::1c2d:3e4f:5a6b:7c8d%eth0 61033 typ host
        m=video 61033 UDP/TLS/RTP/SAVPF 96
        c=IN IP4 192.0.2.50
        a=mid:1
        a=sendonly
        a=ssrc:1413141314 cname:obs
        a=ssrc:1413141314 msid:obs obs-video
        a=msid:obs obs-video
        a=rtcp-mux
        a=rtpmap:96 H264/90000
        a=rtcp-fb:96 nack
        a=rtcp-fb:96 nack pli
        a=rtcp-fb:96 goog-remb
        a=fmtp:96 profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1
        """)

    /// Chromium with a simulcast of three layers in the old form, and a data channel behind it.
    static let simulcastWithDataChannel = crlf(
        """
        v=0
        o=- 1 2 IN IP4 127.0.0.1
        s=-
        t=0 0
        a=group:BUNDLE a v d
        m=audio 9 UDP/TLS/RTP/SAVPF 0 8 9
        c=IN IP4 0.0.0.0
        a=ice-ufrag:abcd
        a=ice-pwd:0123456789abcdef012345
        a=fingerprint:\(fingerprint)
        a=setup:active
        a=mid:a
        a=sendrecv
        a=rtcp-mux
        m=video 9 UDP/TLS/RTP/SAVPF 96 97
        c=IN IP4 0.0.0.0
        a=ice-ufrag:abcd
        a=ice-pwd:0123456789abcdef012345
        a=fingerprint:\(fingerprint)
        a=setup:active
        a=mid:v
        a=sendrecv
        a=rtcp-mux
        a=rtpmap:96 VP8/90000
        a=rtcp-fb:* nack
        a=rtcp-fb:96 nack pli
        a=rtpmap:97 rtx/90000
        a=fmtp:97 apt=96;rtx-time=3000
        a=ssrc-group:SIM 11 12 13
        a=ssrc-group:FID 12 22
        a=ssrc-group:FID 11 21
        a=ssrc-group:FID 13 23
        a=ssrc:21 cname:x
        a=ssrc:11 cname:x
        m=application 9 UDP/DTLS/SCTP webrtc-datachannel
        c=IN IP4 0.0.0.0
        a=ice-ufrag:abcd
        a=ice-pwd:0123456789abcdef012345
        a=fingerprint:\(fingerprint)
        a=setup:active
        a=mid:d
        a=sctp-port:5000
        """)

    /// The same from a client that knows neither mids nor BUNDLE.
    static let obsWithoutMids = obsPublish.keepingLines { !$0.hasPrefix("a=mid") && !$0.hasPrefix("a=group") }

    static let publishers: [Trace] = [
        Trace("Firefox", firefoxPublish), Trace("Safari", safariPublish), Trace("aiortc", aiortcPublish),
        Trace("webrtcbin", webrtcbinPublish), Trace("OBS", obsPublish),
        Trace("without mids", obsWithoutMids),
        Trace("simulcast", simulcastWithDataChannel),
    ]
}
