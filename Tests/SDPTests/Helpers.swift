import SDP
import Synchronization
import TestSupport
import Testing

extension Trace: CustomTestStringConvertible {
    package var testDescription: String { name }
}

let serverFingerprint = (0..<32).map { "A" + String($0 % 16, radix: 16).uppercased() }.joined(separator: ":")

/// Options with counted credentials (`uf01`, `uf02`, …) and SSRCs (1001, 1002, …), so that answers can be compared.
func makeOptions(_ change: (inout AnswerOptions) -> Void = { _ in }) -> AnswerOptions {
    let credentials = Counter()
    let sources = Counter(from: 1000)
    var options = AnswerOptions(
        candidates: [
            Candidate(ip: "203.0.113.10", port: 31001),
            Candidate(ip: "2001:db8::10", port: 31001),
            Candidate(ip: "203.0.113.10", port: 31001, transport: .tcp),
        ],
        fingerprint: serverFingerprint,
        makeCredentials: {
            let n = credentials.next()
            return ("uf\(n / 10)\(n % 10)", "password-of-22-characters-\(n)")
        },
        makeSSRC: { UInt32(sources.next()) })
    change(&options)
    return options
}

final class Counter: Sendable {
    private let value: Atomic<Int>
    init(from start: Int = 0) { value = Atomic(start) }
    func next() -> Int { value.add(1, ordering: .relaxed).newValue }
}

let publishedVP8 = PublishedTrack(
    kind: .video, codec: RTPCodec(payloadType: 96, name: "VP8", clockRate: 90000, rtxPayloadType: 97))
let publishedOpus = PublishedTrack(
    kind: .audio,
    codec: RTPCodec(
        payloadType: 111, name: "opus", clockRate: 48000, channels: 2, fmtp: "minptime=10;useinbandfec=1"))

func publishedH264(_ fmtp: String) -> PublishedTrack {
    PublishedTrack(kind: .video, codec: RTPCodec(payloadType: 108, name: "H264", clockRate: 90000, fmtp: fmtp))
}

func publishedVideo(_ name: String, _ fmtp: String = "") -> PublishedTrack {
    PublishedTrack(kind: .video, codec: RTPCodec(payloadType: 98, name: name, clockRate: 90000, fmtp: fmtp))
}

/// An answer taken apart by plain line rules, independent of the parser under test.
struct AnswerText {
    struct Section {
        var mLine: [String]
        var lines: [String]
        var port: String { mLine[1] }
        var isRefused: Bool { port == "0" }
        var formats: [String] { Array(mLine.dropFirst(3)) }
        var media: String { String(mLine[0].dropFirst(2)) }
        func has(_ line: String) -> Bool { lines.contains(line) }
        func values(_ prefix: String) -> [String] {
            lines.filter { $0.hasPrefix(prefix) }.map { String($0.dropFirst(prefix.count)) }
        }
        func value(_ prefix: String) -> String? { values(prefix).first }
        var direction: [String] {
            ["sendrecv", "sendonly", "recvonly", "inactive"].filter { has("a=" + $0) }
        }
        /// Names of the codecs in the order of the m-line, RTX included.
        var codecs: [String] {
            formats.compactMap { format in
                value("a=rtpmap:\(format) ")?.split(separator: "/").first.map { String($0) }
            }
        }
    }
    var session: [String] = []
    var sections: [Section] = []

    init(_ text: String) {
        for line in text.split(separator: "\r\n").map({ String($0) }) {
            if line.hasPrefix("m=") {
                sections.append(Section(mLine: line.split(separator: " ").map { String($0) }, lines: []))
            } else if sections.isEmpty {
                session.append(line)
            } else {
                sections[sections.count - 1].lines.append(line)
            }
        }
    }

    var bundle: [String]? {
        session.first { $0.hasPrefix("a=group:BUNDLE") }.map { $0.split(separator: " ").dropFirst().map { String($0) } }
    }
    func section(_ media: String) -> Section? { sections.first { $0.media == media } }
}

/// Checks everything that `wcs-signalling.md` 3.7 asks of every answer, whatever the offer.
func checkRules(
    _ negotiation: Negotiation, offer: String, publisher: Bool, sourceLocation: SourceLocation = #_sourceLocation
) {
    let text = negotiation.answer
    let answer = AnswerText(text)
    let offered = AnswerText(crlf(offer))
    func expect(_ condition: Bool, _ what: Comment) { #expect(condition, what, sourceLocation: sourceLocation) }

    expect(text.hasSuffix("\r\n") && !text.utf8.elementsEqual(text.replacingCRLF().utf8), "CRLF line ends")
    expect(answer.session.first == "v=0" && answer.session[1].hasPrefix("o=- "), "starts with v= and o=")
    expect(answer.session.contains("a=ice-lite"), "ice-lite at session level")
    expect(answer.sections.count == offered.sections.count, "as many m-lines as the offer")
    var transportsSeen: Set<String> = []
    var streams: Set<String> = []
    for (section, from) in zip(answer.sections, offered.sections) {
        expect(section.media == from.media, "m-lines in the order of the offer")
        expect(section.mLine[2] == from.mLine[2], "protocol is echoed")
        expect(section.value("a=mid:") == from.value("a=mid:"), "mid is echoed")
        expect(section.direction.count == 1, "exactly one direction")
        expect(!section.formats.isEmpty, "at least one format")
        let mid = section.value("a=mid:")
        let isBundled = mid.map { answer.bundle?.contains($0) ?? false } ?? false
        if section.isRefused {
            expect(!isBundled, "refused m-lines are outside BUNDLE")
            continue
        }
        expect(section.has("a=rtcp-mux"), "rtcp-mux")
        let setup = section.value("a=setup:")
        expect(setup == "active" || setup == "passive", "setup is never actpass")
        expect(section.values("a=fingerprint:") == ["sha-256 " + serverFingerprint], "our fingerprint")
        let direction = section.direction.first
        expect(direction == "inactive" || direction == (publisher ? "recvonly" : "sendonly"), "direction suits")
        if let ufrag = section.value("a=ice-ufrag:") {
            if transportsSeen.insert(ufrag).inserted {
                expect(!section.values("a=candidate:").isEmpty, "candidates on the first m-line of a transport")
                expect(section.has("a=end-of-candidates"), "end-of-candidates")
            } else {
                expect(isBundled, "only bundled m-lines share a transport")
            }
        } else {
            expect(false, "ice-ufrag")
        }
        expect(section.value("a=ice-pwd:") != nil, "ice-pwd")
        for (i, line) in section.lines.enumerated() where line.hasPrefix("a=fmtp:") {
            let type = line.dropFirst(7).prefix { $0 != " " }
            expect(i > 0 && section.lines[i - 1].hasPrefix("a=rtpmap:\(type) "), "fmtp right behind its rtpmap")
        }
        let codecs = section.codecs
        expect(codecs.count == section.formats.count, "every format has an rtpmap")
        expect(codecs.first != "rtx" && codecs.count <= 2 && codecs.dropFirst().allSatisfy { $0 == "rtx" }, "one codec")
        for format in section.formats { expect(from.formats.contains(format), "formats are the offer's") }
        if let msid = section.value("a=msid:") { streams.insert(String(msid.prefix { $0 != " " })) }
    }
    expect(streams.count <= 1, "one stream id for all tracks")
    expect(transportsSeen.count == negotiation.transports.count, "one transport per BUNDLE group or m-line")
    for track in negotiation.tracks {
        expect(negotiation.transports.indices.contains(track.transportIndex), "track has a transport")
        let section = answer.sections[track.mLineIndex]
        expect(section.media == track.kind.rawValue && section.value("a=mid:") == track.mid, "track names its m-line")
        expect(section.formats.first == "\(track.codec.payloadType)", "track names its payload type")
        let transport = negotiation.transports[track.transportIndex]
        expect(section.value("a=ice-ufrag:") == transport.localUfrag, "track names its transport")
    }
}

extension String {
    func replacingCRLF() -> String { String(decoding: utf8.filter { $0 != 0x0d }, as: UTF8.self) }

    /// With every line for which `keep` is false taken out.
    func keepingLines(_ keep: (String) -> Bool) -> String {
        split(separator: "\r\n").map { String($0) }.filter(keep).joined(separator: "\r\n") + "\r\n"
    }

    func mappingLines(_ change: (String) -> String) -> String {
        split(separator: "\r\n").map { change(String($0)) }.joined(separator: "\r\n") + "\r\n"
    }
}

func negotiationError(_ body: () throws(NegotiationError) -> Negotiation) -> NegotiationError? {
    do {
        _ = try body()
        return nil
    } catch {
        return error
    }
}
