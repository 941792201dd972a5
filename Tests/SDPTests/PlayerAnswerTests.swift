import SDP
import TestSupport
import Testing

@Suite struct PlayerAnswers {
    @Test(arguments: [
        Trace.playDefault, .playVP8Only, .playOptions, .whep, Trace("Firefox", Handwritten.firefoxPlay),
        Trace("Safari", Handwritten.safariPlay), .playAudioOnly, .playVideoOnly, .call,
        Trace("webrtcbin", Handwritten.webrtcbinPublish.replacingVideo("H264", with: "VP8")),
    ])
    func everyOfferGetsAnAnswerByTheRules(_ trace: Trace) throws {
        let negotiation = try OfferAnswer.answerPlayer(
            offer: trace.offer, published: [publishedOpus, publishedVP8], options: makeOptions())
        checkRules(negotiation, offer: trace.offer, publisher: false)
        #expect(!negotiation.tracks.isEmpty)
        let sources = negotiation.tracks.flatMap { [$0.sendSSRC, $0.sendRTXSSRC] }.filter { $0 != 0 }
        #expect(Set(sources).count == sources.count)
        for track in negotiation.tracks {
            #expect(track.sendSSRC != 0)
            #expect((track.sendRTXSSRC != 0) == (track.codec.rtxPayloadType != nil))
            let section = AnswerText(negotiation.answer).sections[track.mLineIndex]
            #expect(section.has("a=ssrc:\(track.sendSSRC) cname:weir"))
            #expect(section.has("a=ssrc:\(track.sendSSRC) msid:weir weir-\(track.kind.rawValue)"))
            if track.sendRTXSSRC != 0 {
                #expect(section.has("a=ssrc-group:FID \(track.sendSSRC) \(track.sendRTXSSRC)"))
            }
        }
    }

    @Test func thePlayersOwnPayloadTypesAreUsed() throws {
        let negotiation = try OfferAnswer.answerPlayer(
            offer: Handwritten.firefoxPlay, published: [publishedOpus, publishedVP8], options: makeOptions())
        #expect(negotiation.tracks.map(\.codec.payloadType) == [109, 120])
        #expect(negotiation.tracks.map(\.codec.rtxPayloadType) == [nil, 124])
        #expect(negotiation.answer.contains("a=fmtp:109 maxplaybackrate=48000;stereo=1;useinbandfec=1\r\n"))
    }

    @Test func rembIsTheDefaultFeedback() throws {
        let offer = Trace.playDefault.offer
        let published = [publishedOpus, publishedVP8]
        let remb = try OfferAnswer.answerPlayer(offer: offer, published: published, options: makeOptions())
        #expect(remb.tracks[1].codec.feedback == ["goog-remb", "ccm fir", "nack", "nack pli"])
        #expect(remb.tracks[1].extensions == [ExtensionURI.absSendTime: 2])
        #expect(remb.tracks[0].extensions.isEmpty)

        let transport = makeOptions { $0.playerFeedback = .transportCC }
        let tcc = try OfferAnswer.answerPlayer(offer: offer, published: published, options: transport)
        #expect(tcc.tracks[1].codec.feedback == ["transport-cc", "ccm fir", "nack", "nack pli"])
        #expect(tcc.tracks[1].extensions == [ExtensionURI.transportCC: 3])

        let none = makeOptions { $0.playerFeedback = .none }
        let bare = try OfferAnswer.answerPlayer(offer: offer, published: published, options: none)
        #expect(bare.tracks[1].codec.feedback == ["ccm fir", "nack", "nack pli"])
        #expect(bare.tracks[1].extensions.isEmpty)
    }

    @Test func orientationGoesToPlayersOnlyIfThePublisherSendsIt() throws {
        var turned = publishedVP8
        turned.hasVideoOrientation = true
        let negotiation = try OfferAnswer.answerPlayer(
            offer: Trace.playDefault.offer, published: [turned], options: makeOptions())
        #expect(negotiation.tracks.first?.extensions[ExtensionURI.videoOrientation] == 13)
    }

    @Test func tracksTheStreamLacksAreRefusedWithoutFailure() throws {
        let offer = Trace.playDefault.offer
        let audio = try OfferAnswer.answerPlayer(offer: offer, published: [publishedOpus], options: makeOptions())
        checkRules(audio, offer: offer, publisher: false)
        #expect(audio.tracks.map(\.kind) == [.audio])
        #expect(AnswerText(audio.answer).bundle == ["0"])
        let video = try OfferAnswer.answerPlayer(offer: offer, published: [publishedVP8], options: makeOptions())
        checkRules(video, offer: offer, publisher: false)
        #expect(AnswerText(video.answer).sections.map(\.isRefused) == [true, false])
        #expect(AnswerText(video.answer).bundle == ["1"])
    }

    @Test func aPlayerMayAskForLessThanTheStreamHas() throws {
        let both = [publishedOpus, publishedVP8]
        let audio = try OfferAnswer.answerPlayer(
            offer: Trace.playAudioOnly.offer, published: both, options: makeOptions())
        #expect(audio.tracks.map(\.kind) == [.audio])
        let video = try OfferAnswer.answerPlayer(
            offer: Trace.playVideoOnly.offer, published: both, options: makeOptions())
        #expect(video.tracks.map(\.kind) == [.video])
    }

    @Test(
        arguments: [
            (Trace.playH264Only.offer, [publishedOpus, publishedVP8]),
            (Trace.playVP8Only.offer, [publishedOpus, publishedVideo("H265")]),
            (Trace.playAudioOnly.offer, [publishedVP8]),
            (Trace.playVideoOnly.offer, [publishedOpus]),
            (Trace.playDefault.offer, []),
            (Trace.playDefault.offer, [publishedVideo("VP9", "profile-id=7")]),
            (Trace.playDefault.offer, [publishedVideo("AV1", "profile=2")]),
            (Trace.playDefault.offer, [publishedVideo("H263-2000")]),
        ] as [(String, [PublishedTrack])])
    func aCodecThatThePlayerLacksIsNoCommonCodec(offer: String, published: [PublishedTrack]) {
        #expect(
            negotiationError { () throws(NegotiationError) in
                try OfferAnswer.answerPlayer(offer: offer, published: published, options: makeOptions())
            } == .noCommonCodecs)
    }

    @Test func offersThatReceiveNothingAreRefused() {
        #expect(
            negotiationError { () throws(NegotiationError) in
                try OfferAnswer.answerPlayer(
                    offer: Trace.publishDefault.offer, published: [publishedVP8], options: makeOptions())
            } == .noMedia)
    }

    /// Published parameters, payload type that Chromium's (`playDefault`) or Safari's offer gives them.
    @Test(
        arguments: [
            ("profile-level-id=42e01f;packetization-mode=1", 108, 98),
            ("packetization-mode=1;profile-level-id=42C028", 108, 98),
            ("profile-level-id=42e01f", 114, 98),
            ("profile-level-id=42001f;packetization-mode=1", 102, 98),
            ("profile-level-id=4d0034;packetization-mode=1", 116, nil),
            ("profile-level-id=4d4034", 39, nil),
            ("profile-level-id=640c34;packetization-mode=1", nil, 96),
            ("profile-level-id=f40034;packetization-mode=1", 41, nil),
            ("profile-level-id=64001f;packetization-mode=1", nil, nil),
            ("profile-level-id=42e01f;packetization-mode=2", nil, nil),
            ("profile-level-id=+12345;packetization-mode=1", nil, nil),
            ("", 104, 98),
        ] as [(String, UInt8?, UInt8?)])
    func h264IsMatchedByProfileAndMode(fmtp: String, chromium: UInt8?, safari: UInt8?) {
        for (offer, expected) in [(Trace.playDefault.offer, chromium), (Handwritten.safariPlay, safari)] {
            let negotiation = try? OfferAnswer.answerPlayer(
                offer: offer, published: [publishedH264(fmtp)], options: makeOptions())
            #expect(negotiation?.tracks.first?.codec.payloadType == expected)
        }
    }

    @Test(
        arguments: [
            ("VP9", "", 98), ("VP9", "profile-id=0", 98), ("VP9", "profile-id=2", 100), ("VP9", "profile-id=1", 35),
            ("AV1", "", 45), ("AV1", "level-idx=5;profile=0;tier=0", 45), ("AV1", "profile=1", 47),
        ] as [(String, String, UInt8)])
    func profilesOfOtherCodecsAreMatched(name: String, fmtp: String, type: UInt8) throws {
        let negotiation = try OfferAnswer.answerPlayer(
            offer: Trace.playDefault.offer, published: [publishedVideo(name, fmtp)], options: makeOptions())
        #expect(negotiation.tracks.first?.codec.payloadType == type)
    }

    @Test func h265IsMatchedByProfileAndTier() throws {
        let fine = try OfferAnswer.answerPlayer(
            offer: Handwritten.safariPlay, published: [publishedVideo("H265", "level-id=180;profile-id=1")],
            options: makeOptions())
        #expect(fine.tracks.first?.codec.payloadType == 100)
        for fmtp in ["profile-id=2", "tier-flag=1"] {
            #expect(
                negotiationError { () throws(NegotiationError) in
                    try OfferAnswer.answerPlayer(
                        offer: Handwritten.safariPlay, published: [publishedVideo("H265", fmtp)], options: makeOptions()
                    )
                } == .noCommonCodecs)
        }
    }

    @Test func sourcesNeverCollideEvenWithABadGenerator() throws {
        var options = makeOptions()
        options.makeSSRC = { 0 }
        let negotiation = try OfferAnswer.answerPlayer(
            offer: Trace.playDefault.offer, published: [publishedOpus, publishedVP8], options: options)
        let sources = negotiation.tracks.flatMap { [$0.sendSSRC, $0.sendRTXSSRC] }.filter { $0 != 0 }
        #expect(sources.count == 3 && Set(sources).count == 3)
    }
}

extension String {
    fileprivate func replacingVideo(_ name: String, with other: String) -> String {
        mappingLines { $0 == "a=rtpmap:96 \(name)/90000" ? "a=rtpmap:96 \(other)/90000" : $0 }
    }
}
