import Benchmark
import SDP
import TestSupport

private func options() -> AnswerOptions {
    AnswerOptions(
        candidates: [
            Candidate(ip: "203.0.113.10", port: 31001), Candidate(ip: "2001:db8::10", port: 31001),
            Candidate(ip: "203.0.113.10", port: 31001, transport: .tcp),
        ],
        fingerprint: (0..<32).map { "A" + String($0 % 16, radix: 16).uppercased() }.joined(separator: ":"),
        makeCredentials: { ("weir", "a password of 22 chars") },
        makeSSRC: { UInt32.random(in: 1...UInt32.max) })
}

/// Answers to offers recorded in Chromium.
func registerAnswers() {
    micro("SDP-answer-publisher", operations: 5) {
        let options = options()
        let offer = Trace.publishDefault.offer
        let tracks = try OfferAnswer.answerPublisher(offer: offer, options: options).tracks
        guard tracks.count == 2 else { throw MicroError("\(tracks.count) tracks") }
        return {
            for _ in 0..<5 { blackHole(try? OfferAnswer.answerPublisher(offer: offer, options: options).answer) }
        }
    }
    micro("SDP-answer-player", operations: 5) {
        let options = options()
        let offer = Trace.playDefault.offer
        let published = try OfferAnswer.answerPublisher(offer: Trace.publishDefault.offer, options: options).tracks.map
        {
            PublishedTrack($0)
        }
        let tracks = try OfferAnswer.answerPlayer(offer: offer, published: published, options: options).tracks
        guard tracks.count == 2 else { throw MicroError("\(tracks.count) tracks") }
        return {
            for _ in 0..<5 {
                blackHole(try? OfferAnswer.answerPlayer(offer: offer, published: published, options: options).answer)
            }
        }
    }
}
