import SDP
import TestSupport
import Testing

@Suite struct Transports {
    private func publish(_ offer: String, _ options: AnswerOptions = makeOptions()) throws -> Negotiation {
        try OfferAnswer.answerPublisher(offer: offer, options: options)
    }
    private func failure(_ offer: String, _ options: AnswerOptions = makeOptions()) -> NegotiationError? {
        negotiationError { () throws(NegotiationError) in
            try OfferAnswer.answerPublisher(offer: offer, options: options)
        }
    }
    private func replacing(_ prefix: String, with line: String) -> String {
        Trace.publishDefault.offer.mappingLines { $0.hasPrefix(prefix) ? line : $0 }
    }

    @Test func aBundleIsOneTransport() throws {
        let negotiation = try publish(Trace.publishDefault.offer)
        #expect(negotiation.transports.count == 1)
        let transport = try #require(negotiation.transports.first)
        #expect(transport.remoteUfrag == "RJ3G" && transport.remotePassword == "EMgnv5ufNj5WlvVKZpF912EC")
        #expect(transport.localUfrag == "uf01")
        #expect(transport.fingerprints.map(\.algorithm) == ["sha-256"])
        #expect(transport.dtlsRole == .server && !transport.transportIsTCPOnly)
        #expect(negotiation.tracks.map(\.transportIndex) == [0, 0])
        #expect(AnswerText(negotiation.answer).bundle == ["0", "1"])
    }

    @Test func withoutABundleEveryLineHasItsOwnTransport() throws {
        let offer = Trace.publishDefault.offer.keepingLines { !$0.hasPrefix("a=group") }
        let negotiation = try publish(offer)
        checkRules(negotiation, offer: offer, publisher: true)
        #expect(negotiation.transports.map(\.localUfrag) == ["uf01", "uf02"])
        #expect(negotiation.tracks.map(\.transportIndex) == [0, 1])
        let answer = AnswerText(negotiation.answer)
        #expect(answer.bundle == nil)
        #expect(answer.sections.allSatisfy { $0.values("a=candidate:").count == 3 })
    }

    @Test func aPartialBundleIsKeptAsOffered() throws {
        let offer = replacing("a=group", with: "a=group:BUNDLE 1 ghost")
        let negotiation = try publish(offer)
        checkRules(negotiation, offer: offer, publisher: true)
        #expect(negotiation.transports.count == 2)
        #expect(AnswerText(negotiation.answer).bundle == ["1"])
    }

    @Test func bundleOnlyLinesTakeTheTransportOfTheTag() throws {
        let negotiation = try publish(Handwritten.webrtcbinPublish)
        #expect(negotiation.transports.count == 1)
        #expect(negotiation.transports[0].remoteUfrag == "0aBcDeFgHiJkLmNoPqRsTuVwXyZ01234")
        #expect(AnswerText(negotiation.answer).sections.map(\.isRefused) == [false, false])

        // The tagged line is not taken, the bundle-only one is: credentials still come from the tag.
        let audioOnly = makeOptions { $0.allowedCodecs = ["opus"] }
        let silent = Handwritten.webrtcbinPublish.mappingLines {
            $0.hasPrefix("m=video") ? $0.replacingCodec() : $0
        }
        #expect(failure(silent, audioOnly) == .noCommonCodecs)
        let player = try OfferAnswer.answerPlayer(
            offer: Handwritten.webrtcbinPublish, published: [publishedOpus], options: makeOptions())
        #expect(player.transports[0].remoteUfrag == "0aBcDeFgHiJkLmNoPqRsTuVwXyZ01234")
        #expect(AnswerText(player.answer).bundle == ["audio1"])
    }

    @Test func theOfferDecidesTheDTLSRole() throws {
        for (setup, answer, role) in [
            ("actpass", "passive", DTLSRole.server), ("active", "passive", .server), ("passive", "active", .client),
        ] {
            let negotiation = try publish(replacing("a=setup:", with: "a=setup:\(setup)"))
            #expect(negotiation.transports[0].dtlsRole == role)
            #expect(AnswerText(negotiation.answer).sections.allSatisfy { $0.value("a=setup:") == answer })
        }
        let none = Trace.publishDefault.offer.keepingLines { !$0.hasPrefix("a=setup") }
        #expect(try publish(none).transports[0].dtlsRole == .server)
    }

    @Test func sessionLevelValuesStandInForMissingOnes() throws {
        let negotiation = try publish(Handwritten.obsWithoutMids)
        #expect(negotiation.transports.count == 2)
        #expect(negotiation.transports.allSatisfy { $0.remoteUfrag == "cpIl" && $0.fingerprints.count == 1 })
        #expect(negotiation.tracks.allSatisfy { $0.mid == nil })
        #expect(AnswerText(negotiation.answer).session.contains("a=ice-options:trickle"))
    }

    @Test func askedForTCPOnlyTCPIsAnswered() throws {
        let tcp = makeOptions { $0.preferTCP = true }
        let negotiation = try publish(Trace.publishOptions.offer, tcp)
        let candidates = try #require(AnswerText(negotiation.answer).sections.first).values("a=candidate:")
        #expect(candidates == ["1 1 tcp 1520435199 203.0.113.10 31001 typ host tcptype passive"])
        #expect(negotiation.transports[0].transportIsTCPOnly)
        let udpOnly = makeOptions {
            $0.preferTCP = true
            $0.candidates.removeAll { $0.transport == .tcp }
        }
        #expect(failure(Trace.publishOptions.offer, udpOnly) == .noCandidates)
        #expect(failure(Trace.publishOptions.offer, makeOptions { $0.candidates = [] }) == .noCandidates)
    }

    @Test func candidatesAreListedInOrderOfPreference() throws {
        let negotiation = try publish(Trace.publishDefault.offer)
        let section = try #require(AnswerText(negotiation.answer).sections.first)
        #expect(
            section.values("a=candidate:") == [
                "1 1 udp 2130706431 203.0.113.10 31001 typ host",
                "2 1 udp 2130706175 2001:db8::10 31001 typ host",
                "3 1 tcp 1520434687 203.0.113.10 31001 typ host tcptype passive",
            ])
        #expect(section.value("c=") == "IN IP4 203.0.113.10")
        let six = makeOptions { $0.candidates = [Candidate(ip: "2001:db8::1", port: 5)] }
        #expect(try publish(Trace.publishDefault.offer, six).answer.contains("c=IN IP6 2001:db8::1\r\n"))
    }

    @Test func offeredNamesAndSecondComponentsAreIgnored() throws {
        let firefox = try publish(Handwritten.firefoxPublish)
        #expect(firefox.transports[0].remoteCandidates == [Candidate(ip: "198.51.100.7", port: 50001)])
        let whip = try publish(Trace.whip.offer)
        #expect(Set(whip.transports[0].remoteCandidates.map(\.ip)) == ["192.0.2.2", "fd00::2"])
        #expect(whip.transports[0].remoteCandidates.allSatisfy { $0.transport == .udp })
        let many =
            Trace.publishDefault.offer
            + (0..<500).map { "a=candidate:1 1 udp 1 192.0.2.1 \($0 + 1) typ host\r\n" }.joined()
        #expect(try publish(many).transports[0].remoteCandidates.count == 32)
    }

    @Test func missingOrBrokenTransportsAreNamed() {
        let offer = Trace.publishDefault.offer
        #expect(failure(offer.keepingLines { $0 != "a=rtcp-mux" }) == .rtcpMuxRequired)
        #expect(failure(offer.keepingLines { !$0.hasPrefix("a=ice-ufrag") }) == .missingCredentials)
        #expect(failure(offer.keepingLines { !$0.hasPrefix("a=ice-pwd") }) == .missingCredentials)
        #expect(failure(replacing("a=ice-ufrag", with: "a=ice-ufrag:abc")) == .missingCredentials)
        #expect(failure(replacing("a=ice-pwd", with: "a=ice-pwd:0123456789abcdef01234")) == .missingCredentials)
        #expect(failure(replacing("a=ice-pwd", with: "a=ice-pwd:0123456789abcdef01234 56")) == .missingCredentials)
        #expect(
            failure(replacing("a=ice-ufrag", with: "a=ice-ufrag:" + String(repeating: "a", count: 257)))
                == .missingCredentials)
        #expect(failure(offer.keepingLines { !$0.hasPrefix("a=fingerprint") }) == .missingFingerprint)
        for value in ["sha-256", "sha-256 AB:CD", "md5 00:11", "sha-256 " + String(repeating: "zz:", count: 31) + "zz"]
        {
            #expect(failure(replacing("a=fingerprint", with: "a=fingerprint:\(value)")) == .missingFingerprint)
        }
    }

    @Test func severalFingerprintsAreAllKept() throws {
        let negotiation = try publish(Handwritten.aiortcPublish)
        #expect(negotiation.transports[0].fingerprints.map(\.algorithm) == ["sha-256", "sha-1"])
        let lower = Trace.publishDefault.offer.mappingLines {
            $0.hasPrefix("a=fingerprint") ? $0.lowercased() : $0
        }
        #expect(
            try publish(lower).transports[0].fingerprints
                == publish(Trace.publishDefault.offer).transports[0]
                .fingerprints)
    }

    @Test func dataChannelsAndFurtherLinesAreRefusedInPlace() throws {
        let offer = Handwritten.simulcastWithDataChannel
        let negotiation = try publish(offer)
        checkRules(negotiation, offer: offer, publisher: true)
        let data = try #require(AnswerText(negotiation.answer).section("application"))
        #expect(data.mLine == ["m=application", "0", "UDP/DTLS/SCTP", "webrtc-datachannel"])
        #expect(AnswerText(negotiation.answer).bundle == ["a", "v"])

        let twice =
            Trace.publishAudioOnly.offer
            + Trace.publishAudioOnly.offer
            .split(separator: "\r\n").drop { !$0.hasPrefix("m=") }.map { $0 == "a=mid:0" ? "a=mid:7" : String($0) }
            .joined(separator: "\r\n") + "\r\nm=text 9 foo\r\n"
        let second = try publish(twice)
        checkRules(second, offer: twice, publisher: true)
        #expect(AnswerText(second.answer).sections.map(\.isRefused) == [false, true, true])
    }
}

extension String {
    /// An m-line with another payload type, so that none of its formats has an rtpmap.
    fileprivate func replacingCodec() -> String {
        split(separator: " ").dropLast().joined(separator: " ") + " 127"
    }
}
