import MediaFormats
import RTSP
import Testing
import Wire

/// A client that talks to a server session, and the outside that answers its questions at once (or when told).
final class Talk {
    var session: RTSPServerSession
    var now = Instant.zero
    /// What has come out, in order, but for responses and questions that were answered.
    var others: [RTSPServerOutput] = []
    var questions: [RTSPQuestion] = []
    /// `nil`: the answer is given later, by `answer`.
    var outside: (RTSPQuestion) -> RTSPAnswer? = Talk.agreeable
    private var open: [Int] = []
    private var cSeq = 0

    static let video = TrackDescription(codec: .h264, payloadType: 102)
    static let audio = TrackDescription(codec: .opus, payloadType: 111)

    static func agreeable(_ question: RTSPQuestion) -> RTSPAnswer? {
        switch question {
        case .mayPlay, .announce, .record: .allowed
        case .describe(let name, _): name == "cam" ? .tracks([video, audio]) : .refused(.notFound)
        case .play(_, _, let tracks): .playing(tracks.map { _ in .init(sequence: 7, rtpTime: 9) })
        }
    }

    init(_ settings: RTSPServerSettings = RTSPServerSettings(), remote: String = "192.0.2.7", secure: Bool = false) {
        let count = Box()
        session = RTSPServerSession(
            settings: settings,
            peer: RTSPPeer(
                remote: SocketAddress(ip: remote, port: 40_000)!, local: SocketAddress(ip: "192.0.2.1", port: 8554)!,
                isSecure: secure),
            now: .zero, makeSecret: { "secret\(count.next())" },
            makeSSRC: { 0xabc0_0000 + UInt32($0.utf8.count << 4 + $1) }, keyMaker: Talk.keyMaker())
    }

    /// No two keys of its are the same.
    static func keyMaker() -> RTSPKeyMaker {
        let count = Box()
        return RTSPKeyMaker(
            random: { length in
                let number = UInt8(truncatingIfNeeded: count.next())
                return (0..<length).map { UInt8($0) &+ number &* 31 }
            }, time: { 0xe000_0000_8000_0000 })
    }

    /// Sends a request; its CSeq is added.
    /// - Returns: the responses that came at once.
    @discardableResult
    func ask(
        _ method: RTSPMethod, _ uri: String = "rtsp://server/cam", _ headers: RTSPHeaders = [:], body: String = "",
        version: RTSPVersion = .v1
    ) throws -> [RTSPResponse] {
        cSeq += 1
        var request = RTSPRequest(method, uri, version: version, headers: headers, body: bytes(body))
        request.headers.add("CSeq", "\(cSeq)")
        return try send(request)
    }

    /// The one response to a request.
    func one(
        _ method: RTSPMethod, _ uri: String = "rtsp://server/cam", _ headers: RTSPHeaders = [:], body: String = "",
        version: RTSPVersion = .v1
    ) throws -> RTSPResponse {
        let all = try ask(method, uri, headers, body: body, version: version)
        guard all.count == 1, let only = all.first else { throw TestFailure("\(all.count) responses to \(method)") }
        guard only.cSeq == UInt32(cSeq) else { throw TestFailure("CSeq \(only.headers["CSeq"] ?? "none")") }
        return only
    }

    func send(_ request: RTSPRequest) throws -> [RTSPResponse] {
        session.receive(.request(request), now: now)
        return try drain()
    }

    /// Answers the oldest question that is open.
    func answer(_ answer: RTSPAnswer) throws -> [RTSPResponse] {
        session.answer(answer, ticket: open.removeFirst(), now: now)
        return try drain()
    }

    func wait(_ time: Interval) throws {
        now = now + time
        session.tick(now: now)
        #expect(try drain().isEmpty)
    }

    func drain() throws -> [RTSPResponse] {
        var out: [RTSPResponse] = []
        while let output = session.poll() {
            switch output {
            case .send(let bytes):
                for item in try parse(bytes) {
                    guard case .message(.response(let response)) = item else { throw TestFailure("\(item)") }
                    out.append(response)
                }
            case .ask(let ticket, let question):
                questions.append(question)
                if let answer = outside(question) {
                    session.answer(answer, ticket: ticket, now: now)
                } else {
                    open.append(ticket)
                }
            default: others.append(output)
            }
        }
        return out
    }

    // MARK: Usual beginnings

    static let tcp: RTSPHeaders = ["Transport": "RTP/AVP/TCP;unicast;interleaved=0-1"]
    static let udp: RTSPHeaders = ["Transport": "RTP/AVP;unicast;client_port=5000-5001"]

    /// Two tracks set up for playing. - Returns: the `Session` header of later requests.
    func setUp(udp: Bool = false) throws -> RTSPHeaders {
        let first = try one(.setup, "rtsp://server/cam/trackID=0", udp ? Self.udp : Self.tcp)
        guard let id = first.headers["Session"].flatMap({ RTSPSessionHeader($0) })?.id else {
            throw TestFailure("\(first.status.code) to SETUP")
        }
        let transport = udp ? "RTP/AVP;unicast;client_port=5002-5003" : "RTP/AVP/TCP;unicast;interleaved=2-3"
        let second = try one(.setup, "rtsp://server/cam/trackID=1", ["Transport": transport, "Session": id])
        guard second.status == .ok else { throw TestFailure("\(second.status.code) to the second SETUP") }
        return ["Session": id]
    }

    static let announcement = """
        v=0
        o=- 0 0 IN IP4 127.0.0.1
        s=No Name
        t=0 0
        m=video 0 RTP/AVP 96
        a=rtpmap:96 H264/90000
        a=fmtp:96 packetization-mode=1
        a=control:streamid=0
        m=audio 0 RTP/AVP 97
        a=rtpmap:97 opus/48000/2
        a=control:streamid=1

        """
    static let sdp: RTSPHeaders = ["Content-Type": "application/sdp"]

    func announce(_ uri: String = "rtsp://server/live") throws -> RTSPResponse {
        try one(.announce, uri, Self.sdp, body: Self.announcement)
    }

    /// As ffmpeg publishes.
    func setUpPublisher(udp: Bool = false) throws -> RTSPHeaders {
        guard try announce().status == .ok else { throw TestFailure("ANNOUNCE") }
        let transport =
            udp
            ? "RTP/AVP/UDP;unicast;client_port=5000-5001;mode=record"
            : "RTP/AVP/TCP;unicast;interleaved=0-1;mode=record"
        let first = try one(.setup, "rtsp://server/live/streamid=0", ["Transport": transport])
        guard let id = first.headers["Session"].flatMap({ RTSPSessionHeader($0) })?.id else {
            throw TestFailure("\(first.status.code) to SETUP")
        }
        let other =
            udp
            ? "RTP/AVP/UDP;unicast;client_port=5002-5003;mode=record"
            : "RTP/AVP/TCP;unicast;interleaved=2-3;mode=record"
        guard try one(.setup, "rtsp://server/live/streamid=1", ["Transport": other, "Session": id]).status == .ok else {
            throw TestFailure("the second SETUP")
        }
        return ["Session": id]
    }
}

private final class Box: @unchecked Sendable {
    private var value = 0
    func next() -> Int {
        value += 1
        return value
    }
}
