import SDP
import TestSupport
import Testing
import Wire

@Suite struct Parser {
    private func failure(_ text: String, limits: SDPLimits = SDPLimits()) -> SDPError? {
        do {
            _ = try SessionDescription.parse(text, limits: limits)
            return nil
        } catch {
            return error
        }
    }

    @Test(arguments: Trace.publishOffers + Trace.playOffers)
    func recordedOffersAreWrittenAsTheyWereRead(_ trace: Trace) throws {
        let session = try SessionDescription.parse(trace.offer)
        #expect(session.serialise() == trace.offer)
    }

    @Test func bothLineEndsAreRead() throws {
        let offer = Trace.publishDefault.offer
        let unix = offer.replacingCRLF()
        #expect(try SessionDescription.parse(unix) == SessionDescription.parse(offer))
        #expect(try SessionDescription.parse(String(offer.dropLast())) == SessionDescription.parse(offer))
        #expect(
            try OfferAnswer.answerPublisher(offer: unix, options: makeOptions()).answer
                == OfferAnswer.answerPublisher(offer: offer, options: makeOptions()).answer)
    }

    @Test func linesWithoutUseAreSkipped() throws {
        let text = crlf(
            """
            v=0
            o=- 1 1 IN IP4 127.0.0.1
            s=Session with a name
            i=info
            u=http://example.com
            e=someone@example.com
            p=+1
            c=IN IP4 192.0.2.1
            b=X-YZ:128
            t=0 0
            r=7d 1h 0 25h
            z=0 0
            k=clear:x
            a=key:value:with:colons
            a=
            m=audio 5000/2 RTP/AVP 0
            i=title
            b=AS:64
            y=unknown
            """)
        let session = try SessionDescription.parse(text)
        #expect(session.name == "Session with a name")
        #expect(session.connection == "IN IP4 192.0.2.1")
        #expect(session.attributes == [SDPAttribute("key", "value:with:colons"), SDPAttribute("")])
        #expect(session.media.count == 1)
        #expect(session.media[0].port == 5000 && session.media[0].bandwidths == ["AS:64"])
    }

    @Test func limitsHaveClearErrors() {
        let line = "a=x\r\n"
        let head = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"
        #expect(
            failure(head + String(repeating: "a", count: 10 << 20))
                == .textTooLong(bytes: head.utf8.count + (10 << 20), limit: 256 << 10))
        #expect(failure(head + String(repeating: line, count: 4093)) == .tooManyLines(limit: 4096))
        #expect(failure(head + String(repeating: line, count: 4092)) == nil)
        #expect(
            failure(head + "a=" + String(repeating: "y", count: 8 << 10) + "\r\n")
                == .lineTooLong(line: 5, limit: 8 << 10))
        #expect(
            failure(head + String(repeating: "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n", count: 65))
                == .tooManyMedia(limit: 64))
        let error = negotiationError { () throws(NegotiationError) in
            try OfferAnswer.answerPublisher(
                offer: String(repeating: "a", count: 300_000), options: makeOptions())
        }
        #expect(error == .malformed("300000 bytes, at most 262144 are accepted"))
        #expect(error?.description == "malformed SDP: 300000 bytes, at most 262144 are accepted")
    }

    @Test(arguments: [
        ("", SDPError.malformed(line: 0, "empty description")),
        ("hello", .malformed(line: 1, "not of the form x=value")),
        ("o=- 1 1 IN IP4 0.0.0.0\r\n", .malformed(line: 1, "a description starts with v=0")),
        ("v=1\r\n", .malformed(line: 1, "a description starts with v=0")),
        ("v=0\r\nm=audio\r\n", .malformed(line: 2, "m-line with fewer than three fields")),
        ("v=0\r\nm=audio 70000 RTP/AVP 0\r\n", .malformed(line: 2, "m-line without a port")),
        ("v=0\r\nm=audio -1 RTP/AVP 0\r\n", .malformed(line: 2, "m-line without a port")),
        ("v=0\r\na=mid:\u{0}\r\n", .malformed(line: 2, "control character")),
        ("v=0\r\na=x\ra=ice-lite\r\n", .malformed(line: 2, "control character")),
        ("v=0\r\nm=audio 9 A 0\r\na=mid:a b\r\n", .malformed(line: 0, "a=mid is not a token")),
        (
            "v=0\r\nm=audio 9 A 0\r\na=mid:a\r\nm=audio 9 A 0\r\na=mid:a\r\n",
            .malformed(line: 0, "a=mid:a occurs twice")
        ),
    ])
    func brokenTextIsRefused(text: String, error: SDPError) {
        #expect(failure(text) == error)
    }

    @Test func parametersAreReadWithoutCase() {
        let list = FormatParameters(" Packetization-Mode = 1 ;; flag; =x; profile-level-id=42e01f;")
        #expect(list["packetization-mode"] == "1")
        #expect(list["flag"] == nil && list.entries.contains { $0.name == "flag" })
        #expect(list.text == "Packetization-Mode=1;flag;profile-level-id=42e01f")
        #expect(list.number("packetization-mode", default: 0) == 1)
        #expect(list.number("profile-level-id", default: 7) == 7)
        #expect(FormatParameters(String(repeating: "a=b;", count: 10_000)).entries.count == 64)
    }

    /// The worst that fits the limits: each shape repeats what a careless reader would go over again and again.
    @Test(arguments: [
        "a=fmtp:96 a=b;c=d;e=f;g=h;i=j;k=l;m=n;o=p", "a=rtcp-fb:* nack", "a=extmap:1 urn:x", "a=ssrc:1 cname:x",
        "a=ssrc-group:SIM 1 2 3 4 5 6 7 8 9 10 11 12", "a=group:BUNDLE 0 1 2 3 4 5", "a=rtpmap:96 VP8/90000",
        "a=candidate:1 1 udp 1 192.0.2.1 9 typ host", "m=video 9 UDP/TLS/RTP/SAVPF 96 97 98",
    ])
    func floodsAreAnsweredQuickly(line: String) {
        let room = (SDPLimits().text - 8000) / (line.utf8.count + 2)
        let flood = String(repeating: line + "\r\n", count: min(room, 3800))
        let offer = Trace.publishDefault.offer + flood
        let elapsed = ContinuousClock().measure {
            _ = try? OfferAnswer.answerPublisher(offer: offer, options: makeOptions())
            _ = try? OfferAnswer.answerPublisher(
                offer: offer.replacingOccurrence(of: "a=group:BUNDLE 0 1", with: flood + "a=group:BUNDLE 0 1"),
                options: makeOptions())
        }
        // Debug builds take up to 0.2 s; anything that grows faster than the text takes minutes.
        #expect(elapsed < .seconds(10))
    }

    /// Random damage to real offers: any outcome but a crash, and every answer keeps the rules.
    @Test(arguments: 0..<8)
    func damagedOffersNeverCrash(seed: UInt64) throws {
        var random = SeededRandom(seed: 0x5d9 &+ seed)
        let offers = (Trace.publishOffers + Trace.playOffers + Handwritten.publishers).map(\.offer)
        var answered = 0
        for _ in 0..<250 {
            let offer = mutate(offers.randomElement(using: &random) ?? "", with: offers, using: &random)
            let options = makeOptions { $0.preferTCP = Bool.random(using: &random) }
            if let answer = try? OfferAnswer.answerPublisher(offer: offer, options: options) {
                answered += 1
                _ = try SessionDescription.parse(answer.answer)
                #expect(answer.tracks.allSatisfy { answer.transports.indices.contains($0.transportIndex) })
            }
            let published = [publishedOpus, [publishedVP8, publishedH264("packetization-mode=1")][Int(seed % 2)]]
            if let answer = try? OfferAnswer.answerPlayer(offer: offer, published: published, options: options) {
                answered += 1
                _ = try SessionDescription.parse(answer.answer)
            }
        }
        #expect(answered > 0)
    }

    private func mutate(_ offer: String, with others: [String], using random: inout SeededRandom) -> String {
        var lines = offer.split(separator: "\r\n").map { String($0) }
        for _ in 0..<Int.random(in: 1...6, using: &random) where !lines.isEmpty {
            let at = lines.indices.randomElement(using: &random) ?? 0
            switch Int.random(in: 0..<7, using: &random) {
            case 0: lines.remove(at: at)
            case 1: lines.insert(lines[at], at: lines.indices.randomElement(using: &random) ?? 0)
            case 2: lines.swapAt(at, lines.indices.randomElement(using: &random) ?? 0)
            case 3: lines[at] = String(lines[at].prefix(Int.random(in: 0...lines[at].count, using: &random)))
            case 4:
                let other = (others.randomElement(using: &random) ?? "").split(separator: "\r\n")
                lines[at] = String(other.randomElement(using: &random) ?? "")
            case 5:
                let numbers = ["-1", "0", "65536", "4294967296", "99999999999999999999", "1e9", "", "\u{301}", "128"]
                lines[at] = lines[at].map {
                    $0.isNumber && Int.random(in: 0..<8, using: &random) == 0
                        ? numbers.randomElement(using: &random) ?? "" : String($0)
                }.joined()
            default:
                var bytes = Array(lines[at].utf8)
                for _ in 0..<3 where !bytes.isEmpty {
                    bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
                }
                lines[at] = String(decoding: bytes, as: UTF8.self)
            }
        }
        return lines.joined(separator: "\r\n") + "\r\n"
    }
}

extension String {
    fileprivate func replacingOccurrence(of line: String, with other: String) -> String {
        mappingLines { $0 == line ? other : $0 }
    }
}
