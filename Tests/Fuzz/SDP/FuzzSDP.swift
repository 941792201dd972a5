import SDP

/// Input: one byte of choices, then an offer. It is read, written, read again, and answered as a publisher's and as a
/// player's; what we answer must itself be SDP of as many m-lines.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzOneInput(_ data: UnsafeRawPointer?, _ count: Int) -> CInt {
    guard let data, count > 0 else { return 0 }
    let input = UnsafeRawBufferPointer(start: data, count: count)
    let choices = input[0]
    let offer = String(decoding: input[1...], as: UTF8.self)
    guard let session = try? SessionDescription.parse(offer) else { return 0 }
    check(session)

    var options = AnswerOptions(
        candidates: [
            Candidate(ip: "192.0.2.1", port: 31001), Candidate(ip: "192.0.2.1", port: 31001, transport: .tcp),
        ],
        fingerprint: (0..<32).map { _ in "AB" }.joined(separator: ":"),
        makeCredentials: { ("weirfrag", "a-password-of-24-characters") }, makeSSRC: makeSSRC)
    options.preferTCP = choices & 1 != 0
    options.videoOrientation = choices & 2 != 0
    if choices & 4 != 0 { (options.minBitrate, options.maxBitrate) = (100, 2000) }
    options.playerFeedback = [.remb, .transportCC, .none, .remb][Int(choices >> 3 & 3)]
    let published: [PublishedTrack]
    if let negotiation = try? OfferAnswer.answerPublisher(offer: offer, options: options) {
        check(negotiation, offer: session)
        published = negotiation.tracks.map {
            PublishedTrack(kind: $0.kind, codec: $0.codec, hasVideoOrientation: options.videoOrientation)
        }
    } else {
        published = standard
    }
    // The same text as a player's: every direction turned round.
    let player = offer.turned(from: "a=sendonly", to: "a=recvonly")
    if let negotiation = try? OfferAnswer.answerPlayer(offer: player, published: published, options: options),
        let session = try? SessionDescription.parse(player)
    {
        check(negotiation, offer: session)
    }
    return 0
}

private nonisolated(unsafe) var nextSSRC: UInt32 = 0
private let makeSSRC: @Sendable () -> UInt32 = {
    nextSSRC &+= 1
    return nextSSRC
}

private let standard = [
    PublishedTrack(
        kind: .video,
        codec: RTPCodec(
            payloadType: 96, name: "VP8", clockRate: 90_000, channels: 1, fmtp: "", feedback: ["nack", "nack pli"],
            rtxPayloadType: 97), hasVideoOrientation: false),
    PublishedTrack(
        kind: .audio,
        codec: RTPCodec(
            payloadType: 111, name: "opus", clockRate: 48_000, channels: 2, fmtp: "minptime=10;useinbandfec=1",
            feedback: [], rtxPayloadType: nil), hasVideoOrientation: false),
]

/// Written and read again it is the same.
private func check(_ session: SessionDescription) {
    do {
        let again = try SessionDescription.parse(session.serialise())
        precondition(again == session, "written and read again it is another description")
    } catch {
        preconditionFailure("our own SDP: \(error)")
    }
}

private func check(_ negotiation: Negotiation, offer: SessionDescription) {
    guard let answer = try? SessionDescription.parse(negotiation.answer) else { preconditionFailure("our own answer") }
    precondition(answer.media.count == offer.media.count, "m-lines of the answer")
    for (asked, given) in zip(offer.media, answer.media) {
        precondition(asked.media == given.media, "kind of an m-line")
    }
    precondition(!negotiation.tracks.isEmpty && !negotiation.transports.isEmpty, "an agreement on nothing")
    for track in negotiation.tracks {
        precondition(negotiation.transports.indices.contains(track.transportIndex), "a track without its transport")
        precondition(offer.media.indices.contains(track.mLineIndex), "a track of no m-line")
        precondition(track.codec.payloadType < 128 && track.codec.clockRate > 0, "payload type and clock rate")
    }
}

extension String {
    /// Every `old` replaced; no Foundation here.
    fileprivate func turned(from old: String, to new: String) -> String {
        var out: [UInt8] = []
        let text = Array(utf8)
        let pattern = Array(old.utf8)
        var at = 0
        while at < text.count {
            if at + pattern.count <= text.count, text[at..<(at + pattern.count)].elementsEqual(pattern) {
                out += new.utf8
                at += pattern.count
            } else {
                out.append(text[at])
                at += 1
            }
        }
        return String(decoding: out, as: UTF8.self)
    }
}
