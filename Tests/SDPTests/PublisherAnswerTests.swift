import SDP
import TestSupport
import Testing

@Suite struct PublisherAnswers {
    @Test(arguments: Trace.publishOffers + Handwritten.publishers)
    func everyOfferGetsAnAnswerByTheRules(_ trace: Trace) throws {
        let negotiation = try OfferAnswer.answerPublisher(offer: trace.offer, options: makeOptions())
        checkRules(negotiation, offer: trace.offer, publisher: true)
        #expect(!negotiation.tracks.isEmpty)
        for track in negotiation.tracks {
            #expect(track.sendSSRC == 0 && track.sendRTXSSRC == 0)
            let offered = AnswerText(trace.offer).sections[track.mLineIndex]
            #expect((track.ssrc == nil) == offered.values("a=ssrc:").isEmpty)
        }
    }

    /// Name, payload types and sources that each recorded and written offer must lead to.
    @Test(
        arguments: [
            (Trace.publishDefault.offer, "VP8", 96, 97, 1_038_879_663, 621_942_622),
            (Trace.publishVP8Only.offer, "VP8", 96, 97, nil, nil),
            (Trace.publishH264Only.offer, "H264", 108, 109, nil, nil),
            (Trace.publishVP9Only.offer, "VP9", 98, 99, nil, nil),
            (Trace.publishAV1Only.offer, "AV1", 45, 46, nil, nil),
            // Stripping payload 9 took every fmtp line that begins with 9, the apt of 97 included.
            (Trace.publishPcma.offer, "VP8", 96, nil, nil, nil),
            (Trace.whip.offer, "VP8", 96, 97, nil, nil),
            (Handwritten.firefoxPublish, "VP8", 120, 124, 2_922_222_222, 2_933_333_333),
            (Handwritten.safariPublish, "H264", 98, 99, nil, nil),
            (Handwritten.aiortcPublish, "VP8", 97, 98, 1_111_111_111, 1_222_222_222),
            (Handwritten.webrtcbinPublish, "H264", 96, nil, 987_654_321, nil),
            (Handwritten.obsPublish, "H264", 96, nil, 1_413_141_314, nil),
            (Handwritten.simulcastWithDataChannel, "VP8", 96, 97, 11, 21),
        ] as [(String, String, UInt8, UInt8?, UInt32?, UInt32?)])
    func exactlyOneVideoCodecWithItsRTXIsTaken(
        offer: String, name: String, type: UInt8, rtx: UInt8?, ssrc: UInt32?, rtxSSRC: UInt32?
    ) throws {
        let negotiation = try OfferAnswer.answerPublisher(offer: offer, options: makeOptions())
        let video = try #require(negotiation.tracks.first { $0.kind == .video })
        #expect(video.codec.name == name)
        #expect(video.codec.payloadType == type)
        #expect(video.codec.rtxPayloadType == rtx)
        if let ssrc { #expect(video.ssrc == ssrc) }
        if let rtxSSRC { #expect(video.rtxSSRC == rtxSSRC) }
        #expect(video.allSSRCs.isEmpty || video.ssrc.map { video.allSSRCs.contains($0) } == true)
        let section = try #require(AnswerText(negotiation.answer).section("video"))
        #expect(section.formats == ["\(type)"] + (rtx.map { ["\($0)"] } ?? []))
    }

    @Test func preferredCodecsComeBeforeTheOffersOrder() throws {
        let offer = Trace.publishDefault.offer
        for (preference, expected) in [
            (["h264"], "H264"), (["AV1", "VP9"], "AV1"), (["H265", "VP9"], "VP9"), ([], "VP8"),
        ] {
            let options = makeOptions { $0.preferredVideoCodecs = preference }
            let negotiation = try OfferAnswer.answerPublisher(offer: offer, options: options)
            #expect(negotiation.tracks.last?.codec.name == expected)
        }
        let allowed = makeOptions { $0.allowedCodecs = ["vp9", "pcma"] }
        let negotiation = try OfferAnswer.answerPublisher(offer: offer, options: allowed)
        #expect(negotiation.tracks.map(\.codec.name) == ["PCMA", "VP9"])
    }

    @Test func constrainedBaselineInModeOneIsTheH264ToTake() throws {
        let options = makeOptions { $0.preferredVideoCodecs = ["H264"] }
        let negotiation = try OfferAnswer.answerPublisher(offer: Trace.publishDefault.offer, options: options)
        let video = try #require(negotiation.tracks.last)
        #expect(video.codec.payloadType == 108)
        #expect(
            negotiation.answer.contains(
                "a=fmtp:108 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n"))
    }

    @Test func h264WithoutParametersIsTheLastChoiceButTaken() throws {
        // What stripping payload 10 leaves of 102 to 109: formats without fmtp beside one that has it.
        let some = Trace.publishH264Only.offer.keepingLines { !$0.hasPrefix("a=fmtp:10") }
        let first = try OfferAnswer.answerPublisher(offer: some, options: makeOptions())
        #expect(first.tracks.last?.codec.payloadType == 114)
        let none = Trace.publishH264Only.offer.keepingLines { !$0.contains("packetization-mode") }
        let second = try OfferAnswer.answerPublisher(offer: none, options: makeOptions())
        #expect(second.tracks.last?.codec.name == "H264")
        #expect(second.tracks.last?.codec.payloadType == 102)
        #expect(!second.answer.contains("a=fmtp:102"))
    }

    @Test func retransmissionOfARemovedCodecIsPassedOver() throws {
        let negotiation = try OfferAnswer.answerPublisher(offer: Trace.publishH264Only.offer, options: makeOptions())
        #expect(!negotiation.answer.contains("apt=96"))
        let wild = Trace.publishDefault.offer.mappingLines {
            $0 == "a=fmtp:97 apt=96" ? "a=fmtp:97 apt=-5;x;=;;apt=300" : $0
        }
        #expect(
            try OfferAnswer.answerPublisher(offer: wild, options: makeOptions()).tracks.last?.codec.rtxPayloadType
                == nil)
    }

    @Test func feedbackAndExtensionsAreThoseThatServe() throws {
        let negotiation = try OfferAnswer.answerPublisher(offer: Trace.publishDefault.offer, options: makeOptions())
        let audio = try #require(negotiation.tracks.first)
        let video = try #require(negotiation.tracks.last)
        #expect(video.codec.feedback == ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"])
        #expect(video.extensions == [ExtensionURI.transportCC: 3, ExtensionURI.mid: 4])
        #expect(audio.codec.feedback == ["transport-cc"])
        #expect(audio.extensions == [ExtensionURI.transportCC: 3, ExtensionURI.mid: 4])
        #expect(negotiation.reducedSizeRTCP)
        #expect(negotiation.answer.contains("a=extmap-allow-mixed\r\n"))

        let turned = makeOptions { $0.videoOrientation = true }
        let rotated = try OfferAnswer.answerPublisher(offer: Trace.publishDefault.offer, options: turned)
        #expect(rotated.tracks.last?.extensions[ExtensionURI.videoOrientation] == 13)
        #expect(PublishedTrack(rotated.tracks[1]).hasVideoOrientation)
        #expect(!PublishedTrack(video).hasVideoOrientation)
    }

    @Test func absSendTimeStandsInForTransportWideNumbers() throws {
        let negotiation = try OfferAnswer.answerPublisher(offer: Handwritten.aiortcPublish, options: makeOptions())
        let video = try #require(negotiation.tracks.first)
        #expect(video.extensions == [ExtensionURI.absSendTime: 3, ExtensionURI.mid: 1])
        #expect(!negotiation.reducedSizeRTCP)
    }

    @Test func extensionDirectionsAreReadAndAnswered() throws {
        let offer = Trace.publishDefault.offer.mappingLines {
            switch $0 {
            case "a=extmap:4 \(ExtensionURI.mid)": "a=extmap:4/sendonly \(ExtensionURI.mid)"
            case "a=extmap:3 \(ExtensionURI.transportCC)": "a=extmap:3/recvonly \(ExtensionURI.transportCC)"
            default: $0
            }
        }
        let negotiation = try OfferAnswer.answerPublisher(offer: offer, options: makeOptions())
        let video = try #require(negotiation.tracks.last)
        #expect(video.extensions[ExtensionURI.mid] == 4)
        #expect(video.extensions[ExtensionURI.transportCC] == nil)
        #expect(!video.codec.feedback.contains("transport-cc"))
        #expect(negotiation.answer.contains("a=extmap:4/recvonly \(ExtensionURI.mid)\r\n"))
    }

    @Test func bitratesBoundTheVideoOnly() throws {
        let options = makeOptions {
            $0.minBitrate = 300
            $0.maxBitrate = 2500
            $0.startBitrate = 9000
        }
        let negotiation = try OfferAnswer.answerPublisher(offer: Trace.publishDefault.offer, options: options)
        let answer = AnswerText(negotiation.answer)
        let video = try #require(answer.section("video"))
        #expect(video.values("b=") == ["AS:2500", "TIAS:2500000"])
        #expect(
            video.value("a=fmtp:96 ")
                == "x-google-min-bitrate=300;x-google-max-bitrate=2500;x-google-start-bitrate=2500")
        #expect(answer.section("audio")?.values("b=") == [])
        #expect(negotiation.tracks.map(\.maxBitrate) == [nil, 2500])
        #expect(negotiation.tracks.map(\.minBitrate) == [nil, 300])

        let crossed = makeOptions {
            $0.minBitrate = 5000
            $0.maxBitrate = 1000
        }
        #expect(
            try OfferAnswer.answerPublisher(offer: Trace.publishDefault.offer, options: crossed)
                .tracks.last?.minBitrate == 1000)
        let absurd = makeOptions {
            $0.minBitrate = .min
            $0.maxBitrate = .max
        }
        _ = try OfferAnswer.answerPublisher(offer: Trace.publishDefault.offer, options: absurd)
    }

    @Test func stereoSendersAreAskedForStereo() throws {
        let negotiation = try OfferAnswer.answerPublisher(offer: Handwritten.webrtcbinPublish, options: makeOptions())
        #expect(negotiation.answer.contains("a=rtpmap:97 opus/48000/2\r\n"))
        #expect(negotiation.answer.contains("a=fmtp:97 sprop-stereo=1;sprop-maxcapturerate=48000;stereo=1\r\n"))
        let obs = try OfferAnswer.answerPublisher(offer: Handwritten.obsPublish, options: makeOptions())
        #expect(
            obs.answer.contains(
                "a=fmtp:111 minptime=10;maxaveragebitrate=96000;stereo=1;sprop-stereo=1;useinbandfec=1\r\n"))
    }

    @Test func parameterSetsAreKeptForTheEngineAndLeftOutOfTheAnswer() throws {
        let negotiation = try OfferAnswer.answerPublisher(offer: Handwritten.webrtcbinPublish, options: makeOptions())
        #expect(negotiation.tracks.first?.parameterSets == "Z0LAFdoHgeRA,aM48gA==")
        #expect(!negotiation.answer.contains("sprop-parameter-sets"))
        #expect(negotiation.answer.contains("a=fmtp:96 packetization-mode=1;profile-level-id=42c015\r\n"))
    }

    @Test func parameterSetsOfH265AreKeptInTheirOrder() throws {
        let offer = Handwritten.webrtcbinPublish
            .replacing("a=rtpmap:96 H264/90000", with: "a=rtpmap:96 H265/90000")
            .replacing(
                "packetization-mode=1;profile-level-id=42c015;sprop-parameter-sets=Z0LAFdoHgeRA,aM48gA==",
                with: "sprop-pps=RAHA8Q==;sprop-vps=QAEMAf//;sprop-sps=QgEBAWA=")
        let negotiation = try OfferAnswer.answerPublisher(offer: offer, options: makeOptions())
        #expect(negotiation.tracks.first?.codec.name == "H265")
        #expect(negotiation.tracks.first?.parameterSets == "QAEMAf//,QgEBAWA=,RAHA8Q==")
        #expect(!negotiation.answer.contains("sprop-vps") && !negotiation.answer.contains("sprop-pps"))
    }

    @Test func staticPayloadTypesNeedNoRtpmap() throws {
        let negotiation = try OfferAnswer.answerPublisher(
            offer: Handwritten.simulcastWithDataChannel, options: makeOptions())
        #expect(negotiation.tracks.first?.codec.name == "PCMU")
        #expect(negotiation.answer.contains("a=rtpmap:0 PCMU/8000\r\n"))
        let options = makeOptions { $0.preferredAudioCodecs = ["G722"] }
        #expect(
            try OfferAnswer.answerPublisher(offer: Handwritten.simulcastWithDataChannel, options: options)
                .tracks.first?.codec.payloadType == 9)
    }

    @Test func offersWithoutACodecOfOursAreRefused() {
        let theora = Trace.publishVP8Only.offer.mappingLines {
            $0 == "a=rtpmap:96 VP8/90000" ? "a=rtpmap:96 theora/90000" : $0
        }
        #expect(
            negotiationError { () throws(NegotiationError) in
                try OfferAnswer.answerPublisher(offer: theora, options: makeOptions())
            } == .noCommonCodecs)
        let plain = Trace.publishDefault.offer.mappingLines {
            $0.hasPrefix("m=")
                ? $0.split(separator: " ").enumerated().map { $0 == 2 ? "RTP/AVP" : String($1) }
                    .joined(separator: " ") : $0
        }
        #expect(
            negotiationError { () throws(NegotiationError) in
                try OfferAnswer.answerPublisher(offer: plain, options: makeOptions())
            } == .noCommonCodecs)
    }

    @Test func offersThatSendNothingAreRefused() {
        #expect(
            negotiationError { () throws(NegotiationError) in
                try OfferAnswer.answerPublisher(offer: Trace.playDefault.offer, options: makeOptions())
            } == .noMedia)
    }

    @Test func theLineThatDoesNotSendIsInactiveInABundleAndRefusedOutsideIt() throws {
        var isVideo = false
        let mixed = Trace.publishDefault.offer.mappingLines {
            if $0.hasPrefix("m=") { isVideo = $0.hasPrefix("m=video") }
            return $0 == "a=sendonly" && isVideo ? "a=recvonly" : $0
        }
        let bundled = try OfferAnswer.answerPublisher(offer: mixed, options: makeOptions())
        checkRules(bundled, offer: mixed, publisher: true)
        #expect(bundled.tracks.map(\.kind) == [.audio])
        #expect(AnswerText(bundled.answer).sections.map(\.direction) == [["recvonly"], ["inactive"]])
        #expect(AnswerText(bundled.answer).bundle == ["0", "1"])

        let loose = mixed.keepingLines { !$0.hasPrefix("a=group") }
        let unbundled = try OfferAnswer.answerPublisher(offer: loose, options: makeOptions())
        checkRules(unbundled, offer: loose, publisher: true)
        #expect(unbundled.transports.count == 1)
        #expect(AnswerText(unbundled.answer).sections.map(\.isRefused) == [false, true])
    }
}
