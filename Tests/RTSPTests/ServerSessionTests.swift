import MediaFormats
import RTSP
import Testing
import Wire

@Suite struct PlayingTests {
    @Test func theUsualWay() throws {
        let talk = Talk()
        let options = try talk.one(.options)
        #expect(options.status == .ok && options.headers.list("Public").contains("DESCRIBE"))
        #expect(talk.questions.isEmpty)

        let described = try talk.one(
            .describe, "rtsp://server/cam?token=abc", ["Accept": "application/sdp", "User-Agent": "VLC"])
        #expect(described.status == .ok && described.headers["Content-Base"] == "rtsp://server/cam/")
        #expect(described.headers["Content-Type"] == "application/sdp")
        #expect(try RTSPDescription(parsing: described.body).tracks.map(\.description.codec) == [.h264, .opus])
        guard case .mayPlay(let access)? = talk.questions.first else { throw TestFailure("nobody was asked") }
        #expect(
            access.name == "cam" && access.query == "token=abc" && access.userAgent == "VLC"
                && access.method == .describe)
        #expect(access.url == "rtsp://server/cam")

        let session = try talk.setUp()
        let played = try talk.one(.play, "rtsp://server/cam/", session)
        #expect(played.status == .ok && played.headers["Range"] == "npt=now-")
        #expect(
            played.headers["RTP-Info"]
                == "url=rtsp://server/cam/trackID=0;seq=7;rtptime=9,url=rtsp://server/cam/trackID=1;seq=7;rtptime=9")
        #expect(
            talk.questions.last
                == .play(
                    name: "cam", query: "token=abc",
                    tracks: [
                        RTSPSetUpTrack(
                            index: 0, path: .interleaved(.init(0, 1)), ssrc: 0xabc0_0030, payloadType: 96, codec: .h264),
                        RTSPSetUpTrack(
                            index: 1, path: .interleaved(.init(2, 3)), ssrc: 0xabc0_0031, payloadType: 97, codec: .opus),
                    ]))
        // Each request was asked for, with the token of the first.
        let accesses = talk.questions.compactMap { question -> RTSPAccess? in
            if case .mayPlay(let access) = question { access } else { nil }
        }
        #expect(accesses.map(\.method) == [.describe, .setup, .setup, .play])
        #expect(accesses.allSatisfy { $0.query == "token=abc" })

        #expect(talk.session.route(channel: 3, now: talk.now)?.isRTCP == true)
        #expect(talk.session.route(channel: 3, now: talk.now)?.track == 1)
        #expect(talk.session.route(channel: 4, now: talk.now) == nil)
        #expect(try talk.one(.pause, "rtsp://server/cam/", session).status == .ok)
        #expect(talk.others == [.pause])
        #expect(talk.session.route(channel: 3, now: talk.now) == nil)
        #expect(try talk.one(.play, "rtsp://server/cam/", session).status == .ok)
        #expect(try talk.one(.teardown, "rtsp://server/cam/", session).status == .ok)
        #expect(talk.others == [.pause, .end])
        #expect(try talk.one(.play, "rtsp://server/cam/", session).status == .sessionNotFound)
    }

    /// Tracks depend on what the query asks for: who plays is given those that it was told of, whatever later requests say.
    @Test func theStreamIsPlayedAsItWasDescribed() throws {
        let talk = Talk()
        #expect(try talk.one(.describe, "rtsp://server/cam?audio=aac").status == .ok)
        #expect(talk.questions.last == .describe(name: "cam", query: "audio=aac"))
        let session = try talk.setUp()
        #expect(try talk.one(.play, "rtsp://server/cam/?token=new", session).status == .ok)
        guard case .play("cam", "audio=aac", _)? = talk.questions.last else { throw TestFailure("not played so") }
        #expect(try talk.one(.teardown, "rtsp://server/cam/", session).status == .ok)
        // Nor does a wish that was refused stick to the connection.
        talk.outside = { if case .describe = $0 { .refused(.badRequest) } else { Talk.agreeable($0) } }
        #expect(try talk.one(.describe, "rtsp://server/cam?audio=x").status == .badRequest)
        talk.outside = Talk.agreeable
        #expect(try talk.one(.describe, "rtsp://server/cam").status == .ok)
        #expect(talk.questions.last == .describe(name: "cam", query: nil))
    }

    /// A camera's, with its slashes encoded or as they are.
    @Test(arguments: ["rtsp%3A%2F%2Fann%3Ap%40w%40camera%2Flive%3Fx%3D1", "rtsp://ann:p@w@camera/live%3Fx%3D1"])
    func aURLMayBeAName(path: String) throws {
        let name = "rtsp://ann:p@w@camera/live?x=1"
        let target = RTSPTarget("rtsp://server/\(path)/trackID=1?token=t")
        #expect(target?.name == name && target?.track == 1 && target?.query == "token=t")
        let talk = Talk()
        talk.outside = { question in
            if case .describe(name, _) = question {
                .tracks([Talk.video, Talk.audio])
            } else {
                Talk.agreeable(question)
            }
        }
        let described = try talk.one(.describe, "rtsp://server/\(path)")
        #expect(described.status == .ok && described.headers["Content-Base"] == "rtsp://server/\(path)/")
        let track = "rtsp://server/\(path)/trackID=0"
        #expect(try talk.one(.setup, track, Talk.tcp).status == .ok)
    }

    /// As GStreamer announces: the first track is not `stream=0`.
    @Test func aTrackIsTheOneWhoseControlTheURLIs() throws {
        let description = """
            v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n\
            m=audio 0 RTP/AVP 96\r\na=rtpmap:96 opus/48000/2\r\na=control:stream=1\r\n\
            m=video 0 RTP/AVP 99\r\na=rtpmap:99 VP8/90000\r\na=control:stream=0\r\n
            """
        let tracks = try RTSPDescription(parsing: Array(description.utf8)).tracks
        let session = Talk().session
        let uri = "rtsp://server/live"
        #expect(session.recordTrackIndex(uri + "/stream=1", uri, tracks) == 0)
        #expect(session.recordTrackIndex(uri + "/stream=0", uri, tracks) == 1)
        #expect(session.recordTrackIndex(uri + "/stream=2", uri, tracks) == nil)
    }

    @Test func overUDP() throws {
        let talk = Talk()
        let first = try talk.one(.setup, "rtsp://server/cam/trackID=1", Talk.udp)
        #expect(
            first.headers["Transport"] == "RTP/AVP;unicast;client_port=5000-5001;server_port=8000-8001;ssrc=ABC00031")
        #expect(first.headers["Session"]?.hasSuffix(";timeout=60") == true)
        // RFC 7826
        let other = Talk()
        let second = try other.one(
            .setup, "rtsp://server/cam/trackID=1",
            ["Transport": "RTP/AVP;unicast;dest_addr=\":5000\"/\":5001\""], version: .v2)
        #expect(second.versionName == "RTSP/2.0" && second.headers["Accept-Ranges"] == "npt")
        #expect(
            second.headers["Transport"]
                == "RTP/AVP;unicast;dest_addr=\":5000\"/\":5001\";src_addr=\":8000\"/\":8001\";ssrc=ABC00031")
    }

    @Test func theFirstWayThatWeCanGoIsTaken() throws {
        let talk = Talk()
        let list =
            "RTP/AVP;multicast,RTP/SAVP;unicast;client_port=6000-6001,RTP/AVPF;unicast;client_port=1000-1001,"
            + "RTP/AVPF;unicast;client_port=7000-7001,RTP/AVP/TCP;interleaved=0-1"
        let way = try talk.one(.setup, "rtsp://server/cam/trackID=0", ["Transport": list])
        #expect(way.headers["Transport"]?.hasPrefix("RTP/AVPF;unicast;client_port=7000-7001") == true)
        var tcpOnly = RTSPServerSettings()
        tcpOnly.udpPorts = nil
        let other = Talk(tcpOnly)
        let inside = try other.one(.setup, "rtsp://server/cam/trackID=0", ["Transport": list])
        #expect(inside.headers["Transport"]?.hasPrefix("RTP/AVP/TCP;unicast;interleaved=0-1") == true)
        #expect(try other.one(.setup, "rtsp://server/cam/trackID=1", Talk.udp).status == .unsupportedTransport)
    }

    /// A way with addresses that a stranger would get the stream at.
    @Test(arguments: [
        "RTP/AVP;unicast;client_port=5000-5001;destination=198.51.100.1",
        "RTP/AVP;unicast;client_port=5000-5001;destination=server",
        "RTP/AVP;unicast;dest_addr=\"198.51.100.1:5000\"/\"192.0.2.7:5001\"",
        "RTP/AVP;unicast;dest_addr=\"192.0.2.7:5000\"/\"[2001:db8::1]:5001\"",
    ])
    func nobodyElseIsSentTo(_ transport: String) throws {
        let talk = Talk()
        #expect(try talk.one(.setup, "rtsp://server/cam/trackID=0", ["Transport": transport]).status == .forbidden)
        #expect(
            try talk.one(.setup, "rtsp://server/cam/trackID=0", ["Transport": transport], version: .v2).status
                == .destinationProhibited)
        let own = "RTP/AVP;unicast;client_port=5000-5001;destination=192.0.2.7"
        #expect(try talk.one(.setup, "rtsp://server/cam/trackID=0", ["Transport": own]).status == .ok)
    }

    @Test func statusOfWhatIsWrong() throws {
        let talk = Talk()
        func status(
            _ method: RTSPMethod, _ uri: String = "rtsp://server/cam", _ headers: RTSPHeaders = [:], body: String = ""
        ) throws -> Int {
            try talk.one(method, uri, headers, body: body).status.code
        }
        #expect(try status(.describe, "rtsp://server/none") == 404)
        #expect(try status(.describe, "rtsp://server/") == 404)
        #expect(try status(.describe, "http://server/cam") == 404)
        #expect(try status(.describe, "*") == 405)
        #expect(try status(.describe, "rtsp://server/cam", ["Accept": "text/html"]) == 406)
        #expect(try status(.describe, "rtsp://server/cam", ["Accept": "text/html, application/sdp;q=1"]) == 200)
        #expect(try status(.describe, "rtsp://server/cam", ["Require": "play.basic, feature-x, feature-y"]) == 551)
        #expect(try status(.play) == 455)
        #expect(try status(.pause) == 455)
        #expect(try status(.record) == 455)
        #expect(try status(.teardown) == 454)
        #expect(try status(.options, "*", ["Session": "guessed"]) == 454)
        #expect(try status(.setup, "rtsp://server/cam/trackID=0") == 400)
        #expect(try status(.setup, "*", Talk.tcp) == 405)
        #expect(try status(.setup, "rtsp://server/cam", Talk.tcp) == 459)
        #expect(try status(.setup, "rtsp://server/cam/trackID=2", Talk.tcp) == 404)
        #expect(try status(.setup, "rtsp://server/none/trackID=0", Talk.tcp) == 404)
        #expect(try status(.setup, "rtsp://server/cam/trackID=0", ["Transport": "RTP/AVP;multicast"]) == 461)
        #expect(try status(.setup, "rtsp://server/cam/trackID=0", ["Transport": "RTP/AVP;unicast"]) == 461)
        #expect(try status(.setup, "rtsp://server/cam/trackID=0", ["Transport": "nonsense"]) == 461)
        #expect(
            try status(.setup, "rtsp://server/cam/trackID=0", ["Transport": "RTP/AVP/TCP;interleaved=0-1;mode=record"])
                == 461)
        #expect(try status(.redirect) == 501)
        #expect(try status(.getParameter, "*") == 200)
        #expect(
            try status(.getParameter, "rtsp://server/cam", ["Content-Type": "text/parameters"], body: "jitter\r\n")
                == 451)
        #expect(
            try status(.setParameter, "rtsp://server/cam", ["Content-Type": "text/parameters"], body: "a: b\r\n") == 451
        )
        let session = try talk.setUp()
        #expect(try status(.play, "rtsp://server/cam") == 454)
        #expect(try status(.play, "rtsp://server/cam", ["Session": "secret0"]) == 454)
        #expect(try status(.play, "rtsp://server/other", session) == 404)
        #expect(try status(.play, "rtsp://server/cam/trackID=1", session) == 460)
        for range in ["npt=10-20", "npt=-5", "clock=19961108T142300Z-", "smpte=0:1:0-", "x"] {
            #expect(
                try status(.play, "rtsp://server/cam", ["Session": session["Session"] ?? "", "Range": range]) == 457,
                "\(range)")
        }
        #expect(try status(.setup, "rtsp://server/other/trackID=0", Talk.tcp) == 459)
        #expect(try status(.announce, "rtsp://server/live", Talk.sdp, body: Talk.announcement) == 455)
        #expect(try status(.record, "rtsp://server/cam", session) == 455)
        #expect(
            try status(.play, "rtsp://server/cam", ["Session": session["Session"] ?? "", "Range": "npt=0.000-"]) == 200)
        #expect(try status(.setup, "rtsp://server/cam/trackID=0", Talk.tcp) == 455)
        #expect(try status(.teardown, "rtsp://server/cam/trackID=0", session) == 460)
        #expect(try status(.play, "rtsp://server/cam", session) == 200)
        #expect(!talk.session.isClosed)
    }

    @Test func whatIsNotRTSP1() throws {
        let talk = Talk()
        func send(_ text: String) throws -> RTSPResponse {
            let all = try talk.send(request(text))
            guard let one = all.first, all.count == 1 else { throw TestFailure("\(all.count) responses") }
            return one
        }
        #expect(try send("OPTIONS * RTSP/3.0\nCSeq: 1\n\n").status == .versionNotSupported)
        #expect(try send("OPTIONS * RTSP/1.0\n\n").status == .badRequest)
        #expect(try send("OPTIONS * RTSP/1.0\nCSeq: x\n\n").status == .badRequest)
        let unknown = try send("FLY rtsp://server/cam RTSP/1.0\nCSeq: 9\n\n")
        #expect(unknown.status == .notImplemented && unknown.cSeq == 9)
        let required = try send(
            "SETUP rtsp://server/cam RTSP/1.0\nCSeq: 10\nRequire: a, play.basic\nProxy-Require: b\n\n")
        #expect(required.status == .optionNotSupported && required.headers["Unsupported"] == "a, b")
        // A response to nothing has no effect.
        talk.session.receive(.response(RTSPResponse(.ok)), now: talk.now)
        #expect(try talk.drain().isEmpty)
        talk.session.receive(.http)
        #expect(try talk.drain().map(\.status) == [.badRequest])
        #expect(talk.others == [.close(.malformed)])
    }

    @Test func pipelinedRequestsAreAnsweredInTurn() throws {
        let talk = Talk()
        talk.outside = { if case .describe = $0 { nil } else { Talk.agreeable($0) } }
        #expect(try talk.ask(.describe).isEmpty)
        for _ in 0..<15 { #expect(try talk.ask(.options).isEmpty) }
        #expect(!talk.session.isFull)
        #expect(try talk.ask(.describe, "rtsp://server/none").isEmpty)
        #expect(talk.session.isFull)
        #expect(talk.session.deadline == .distantFuture)
        let first = try talk.answer(.tracks([Talk.video]))
        #expect(first.map { $0.cSeq ?? 0 } == Array(1...16))
        #expect(!talk.session.isFull)
        let last = try talk.answer(.refused(.notFound))
        #expect(last.map(\.status) == [.notFound] && last[0].cSeq == 17)
    }

    @Test func aRefusedPlayerIsDisconnected() throws {
        for method in [RTSPMethod.describe, .setup] {
            let talk = Talk()
            talk.outside = { _ in .refused(.forbidden) }
            #expect(try talk.one(method, "rtsp://server/cam/trackID=0", Talk.tcp).status == .forbidden)
            #expect(talk.others == [.close(.refused)])
            #expect(try talk.ask(.options).isEmpty)
        }
        let talk = Talk()
        let session = try talk.setUp()
        #expect(try talk.one(.play, "rtsp://server/cam", session).status == .ok)
        talk.outside = { _ in .refused(.forbidden) }
        #expect(try talk.one(.getParameter, "rtsp://server/cam", session).status == .forbidden)
        #expect(talk.others == [.end, .close(.refused)])
        let other = Talk()
        other.outside = { _ in .refused(.unauthorized) }
        #expect(try other.one(.describe).headers["WWW-Authenticate"] == "Bearer realm=\"Weir\"")
        #expect(other.others.isEmpty)
    }

    @Test func theSessionEndsWithItsStreamOrConnection() throws {
        for ending in 0..<3 {
            let talk = Talk()
            let session = try talk.setUp()
            _ = try talk.one(.play, "rtsp://server/cam", session)
            switch ending {
            case 0: talk.session.streamEnded()
            case 1: talk.session.shutDown()
            default: talk.session.connectionLost()
            }
            _ = try talk.drain()
            #expect(talk.others == [[.end, .close(.streamEnded)], [.end, .close(.shutdown)], [.end]][ending])
            talk.session.connectionLost()
            talk.session.streamEnded()
            #expect(try talk.drain().isEmpty && talk.others.filter { $0 == .end }.count == 1)
        }
    }

    @Test func anAnswerThatComesTooLateIsNotHeard() throws {
        let talk = Talk()
        talk.outside = { _ in nil }
        _ = try talk.ask(.describe)
        talk.session.connectionLost()
        #expect(try talk.answer(.allowed).isEmpty)
        #expect(talk.others.isEmpty)
    }

    @Test func anAnswerIsHeardOnce() throws {
        let talk = Talk()
        talk.outside = { _ in nil }
        _ = try talk.ask(.describe)
        #expect(try talk.answer(.allowed).isEmpty)
        // The first question's ticket again, while the second one is open.
        talk.session.answer(.refused(.notFound), ticket: 0, now: talk.now)
        #expect(try talk.drain().isEmpty)
        #expect(try talk.answer(.tracks([Talk.video])).map(\.status) == [.ok])
    }

    // MARK: Time

    @Test func silentConnectionsAreClosed() throws {
        let talk = Talk()
        #expect(talk.session.deadline == .zero + .seconds(10))
        try talk.wait(.milliseconds(9_999))
        #expect(talk.others.isEmpty)
        try talk.wait(.milliseconds(1))
        #expect(talk.others == [.close(.noRequest)])
        let other = Talk()
        _ = try other.one(.options)
        try other.wait(.milliseconds(29_999))
        _ = try other.one(.options)
        try other.wait(.milliseconds(29_999))
        #expect(other.others.isEmpty)
        try other.wait(.milliseconds(1))
        #expect(other.others == [.close(.idle)])
    }

    @Test func sessionsNeedSignsOfLife() throws {
        let talk = Talk()
        let session = try talk.setUp(udp: true)
        _ = try talk.one(.play, "rtsp://server/cam", session)
        try talk.wait(.seconds(60))
        talk.session.noteSignOfLife(now: talk.now)
        try talk.wait(.seconds(69))
        _ = try talk.one(.getParameter, "rtsp://server/cam", session)
        try talk.wait(.milliseconds(69_999))
        #expect(talk.others.isEmpty)
        try talk.wait(.milliseconds(1))
        #expect(talk.others == [.end, .close(.sessionTimeout)])
    }

    @Test func playersInTheConnectionLiveAsLongAsTheyRead() throws {
        let talk = Talk()
        let session = try talk.setUp()
        _ = try talk.one(.play, "rtsp://server/cam", session)
        #expect(talk.session.deadline == .distantFuture)
        try talk.wait(.seconds(100_000))
        #expect(talk.others.isEmpty)
        _ = try talk.one(.pause, "rtsp://server/cam", session)
        try talk.wait(.seconds(70))
        #expect(talk.others == [.pause, .end, .close(.sessionTimeout)])
    }

    // MARK: Channels and ports

    @Test func channelsAreChosenWhereTheClientsWillNotDo() throws {
        let talk = Talk()
        let first = try talk.one(.setup, "rtsp://server/cam/trackID=0", ["Transport": "RTP/AVP/TCP;unicast"])
        #expect(first.headers["Transport"]?.contains("interleaved=0-1") == true)
        let again = try talk.one(.setup, "rtsp://server/cam/trackID=1", ["Transport": "RTP/AVP/TCP;interleaved=1-0"])
        #expect(again.headers["Transport"]?.contains("interleaved=2-3") == true)
        #expect(
            try talk.one(.setup, "rtsp://server/cam/trackID=1", ["Transport": "RTP/AVP/TCP;interleaved=4-1"])
                .headers["Transport"]?.contains("interleaved=2-3") == true)
        // A track that is set up again may keep its channels, and keeps its source.
        let third = try talk.one(.setup, "rtsp://server/cam/trackID=0", ["Transport": "RTP/AVP/TCP;interleaved=0-1"])
        #expect(third.headers["Transport"] == first.headers["Transport"])
        #expect(try talk.one(.setup, "rtsp://server/cam/trackID=0", Talk.udp).status == .unsupportedTransport)
    }

    @Test func portsAreOfOneTrack() throws {
        let talk = Talk()
        _ = try talk.one(.setup, "rtsp://server/cam/trackID=0", Talk.udp)
        for ports in ["5001-5002", "5000-5001", "6000-6000", "0-1", "80-81"] {
            let answer = try talk.one(
                .setup, "rtsp://server/cam/trackID=1", ["Transport": "RTP/AVP;unicast;client_port=\(ports)"])
            #expect(answer.status == .unsupportedTransport, "\(ports)")
        }
    }

    @Test func aTrackCanBeTakenBackBeforePlay() throws {
        let talk = Talk()
        let session = try talk.setUp()
        #expect(try talk.one(.teardown, "rtsp://server/cam/trackID=0", session).status == .ok)
        #expect(try talk.one(.play, "rtsp://server/cam/trackID=1", session).status == .ok)
        #expect(try talk.one(.teardown, "rtsp://server/cam/trackID=1", session).status == .ok)
        #expect(talk.others == [.end])
    }

    @Test func URLsOfTargets() throws {
        #expect(RTSPTarget("rtsp://h:8554/a%20b/trackID=3?t=1") == RTSPTarget("rtsp://h:8554/a%20b?t=1/trackID=3"))
        let target = try #require(RTSPTarget("rtsp://h:8554/a%20b/trackID=3?t=1"))
        #expect(
            target.name == "a b" && target.track == 3 && target.query == "t=1" && target.url == "rtsp://h:8554/a%20b")
        #expect(RTSPTarget("/cam/")?.name == "cam" && RTSPTarget("/cam?x=1")?.query == "x=1")
        #expect(RTSPTarget("rtsp://h/cam/trackID=")?.name == "cam/trackID=")
        #expect(RTSPTarget("rtsp://h/cam/trackID=9999")?.track == nil)
        #expect(RTSPTarget("rtsp://h/cam/trackID=-1")?.track == nil)
        for none in ["*", "", "cam", "rtsp://h", "rtsp://h/", "rtsp://h/%zz", "rtsp://h/?a=b", "rtsp://h/trackID=0"] {
            #expect(RTSPTarget(none) == nil, "\(none)")
        }
    }

    @Test func oldURLsWithoutHostAreUnderstood() throws {
        let talk = Talk()
        #expect(try talk.one(.describe, "/cam").headers["Content-Base"] == "/cam/")
        #expect(try talk.one(.setup, "/cam/trackID=0", Talk.tcp).status == .ok)
    }

    // MARK: Log-in

    @Test func playersLogInWhereTheyMust() throws {
        var settings = RTSPServerSettings()
        settings.users = RTSPUsers(["anna": "sesam"])
        settings.playersLogIn = true
        let talk = Talk(settings)
        #expect(try talk.one(.options).status == .ok)
        let asked = try talk.one(.describe)
        #expect(asked.status == .unauthorized && asked.headers.values("WWW-Authenticate").count == 2)
        #expect(talk.questions.isEmpty)
        var client = ClientAuthenticator(user: "anna", password: "sesam", allowsBasic: false, makeNonce: { "x" })
        let taken = client.take(asked.headers)
        #expect(taken)
        let credentials = client.credentials(method: .describe, uri: "rtsp://server/cam") ?? ""
        #expect(try talk.one(.describe, "rtsp://server/cam", ["Authorization": credentials]).status == .ok)
        guard case .mayPlay(let access)? = talk.questions.first else { throw TestFailure("nobody was asked") }
        #expect(access.user == "anna")
        // Each request by itself
        #expect(try talk.one(.setup, "rtsp://server/cam/trackID=0", Talk.tcp).status == .unauthorized)
        for attempt in 1...5 {
            #expect(
                try talk.one(.describe, "rtsp://server/cam", ["Authorization": "Basic eDp5"]).status == .unauthorized)
            #expect(talk.others == (attempt < 5 ? [] : [.close(.tooManyFailures)]))
        }
    }

    @Test func bearerTokensAreForTheOutside() throws {
        let talk = Talk()
        _ = try talk.one(.describe, "rtsp://server/cam", ["Authorization": "Bearer abc.def"])
        guard case .mayPlay(let access)? = talk.questions.first else { throw TestFailure("nobody was asked") }
        #expect(access.bearerToken == "abc.def" && access.user == nil)
    }

    // MARK: Noise

    /// Whatever comes in whatever order: one response to each request, in order, and what was held is freed.
    @Test(arguments: 0..<300) func anyOrderOfRequests(_ seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let talk = Talk()
        var held = false
        talk.outside = { question in
            switch question {
            case .play, .announce, .record: held = true
            default: break
            }
            return Talk.agreeable(question)
        }
        let uris = [
            "rtsp://server/cam", "rtsp://server/cam/trackID=0", "rtsp://server/cam/trackID=1", "*",
            "rtsp://server/live",
            "rtsp://server/live/streamid=0", "rtsp://server/live/streamid=1",
        ]
        var session: String?
        for _ in 0..<60 {
            var headers: RTSPHeaders = [:]
            if let session, Bool.random(using: &random) { headers["Session"] = session }
            let ways = [
                "RTP/AVP/TCP;interleaved=0-1", "RTP/AVP/TCP", "RTP/AVP;client_port=5000-5001",
                "RTP/AVP;client_port=5002-5003",
            ]
            headers["Transport"] = ways.randomElement(using: &random)
            let method = RTSPMethod.allCases.randomElement(using: &random) ?? .options
            let body = method == .announce ? Talk.announcement : ""
            let answer = try talk.one(method, uris.randomElement(using: &random) ?? "*", headers, body: body)
            session = answer.headers["Session"].flatMap { RTSPSessionHeader($0) }?.id ?? session
            _ = talk.session.route(channel: UInt8.random(in: 0...3, using: &random), now: talk.now)
            talk.now = talk.now + .seconds(1)
        }
        talk.session.connectionLost()
        _ = try talk.drain()
        if held { #expect(talk.others.last == .end) }
    }
}

@Suite struct PublishingTests {
    @Test func asFFmpegDoes() throws {
        let talk = Talk()
        let session = try talk.setUpPublisher()
        guard case .announce(let access, let tracks)? = talk.questions.first else {
            throw TestFailure("nobody was asked")
        }
        #expect(access.name == "live" && access.method == .announce)
        #expect(tracks.map(\.codec) == [.h264, .opus] && tracks.map(\.payloadType) == [96, 97])
        #expect(talk.session.route(channel: 0, now: talk.now) == nil)
        let recorded = try talk.one(
            .record, "rtsp://server/live", ["Session": session["Session"] ?? "", "Range": "npt=0.000-"])
        #expect(recorded.status == .ok && recorded.headers["Session"] != nil)
        #expect(
            talk.questions.last
                == .record(
                    name: "live",
                    tracks: [
                        RTSPSetUpTrack(index: 0, path: .interleaved(.init(0, 1)), ssrc: 0, payloadType: 96),
                        RTSPSetUpTrack(index: 1, path: .interleaved(.init(2, 3)), ssrc: 0, payloadType: 97),
                    ]))
        #expect(talk.session.route(channel: 0, now: talk.now)?.isRTCP == false)
        #expect(talk.session.route(channel: 1, now: talk.now)?.isRTCP == true)
        // Nobody is asked whether the publisher may play.
        #expect(try talk.one(.getParameter, "rtsp://server/live", session).status == .ok)
        #expect(talk.questions.count == 2)
        #expect(try talk.one(.setup, "rtsp://server/live/streamid=1", Talk.tcp).status == .methodNotValidInState)
        #expect(try talk.one(.play, "rtsp://server/live", session).status == .methodNotValidInState)
        #expect(try talk.one(.describe, "rtsp://server/live").status == .methodNotValidInState)
        #expect(try talk.announce().status == .methodNotValidInState)
        #expect(try talk.one(.teardown, "rtsp://server/live", session).status == .ok)
        #expect(talk.others == [.end])
        // The connection may publish again.
        _ = try talk.setUpPublisher()
    }

    @Test(arguments: [
        ("rtsp://server/live?token=x", "rtsp://server/live?token=x/streamid=0"),
        ("rtsp://server/live?token=x", "rtsp://server/live/streamid=0?token=x"),
        ("rtsp://server/live?token=x", "rtsp://server/live/streamid=0"),
        ("rtsp://server/live", "rtsp://server/live/stream=0"),
        ("rtsp://server/live", "rtsp://server/live/trackID=0"),
        ("rtsp://server/live/", "rtsp://server:8554/live/streamid=0"),
        ("/live", "/live/streamid=0"),
    ])
    func URLsOfTracks(_ announced: String, _ setUp: String) throws {
        let talk = Talk()
        #expect(try talk.announce(announced).status == .ok)
        #expect(try talk.one(.setup, setUp, Talk.tcp).status == .ok)
    }

    @Test func overUDP() throws {
        let talk = Talk()
        let session = try talk.setUpPublisher(udp: true)
        #expect(try talk.one(.record, "rtsp://server/live", session).status == .ok)
        #expect(talk.session.route(channel: 0, now: talk.now) == nil)
        try talk.wait(.seconds(69))
        talk.session.noteSignOfLife(now: talk.now)
        try talk.wait(.seconds(69))
        #expect(talk.others.isEmpty)
        try talk.wait(.seconds(1))
        #expect(talk.others == [.end, .close(.sessionTimeout)])
    }

    @Test func packetsAreSignsOfLife() throws {
        let talk = Talk()
        let session = try talk.setUpPublisher()
        _ = try talk.one(.record, "rtsp://server/live", session)
        for _ in 0..<10 {
            try talk.wait(.seconds(60))
            _ = talk.session.route(channel: 2, now: talk.now)
        }
        #expect(talk.others.isEmpty)
        // Of no track
        try talk.wait(.seconds(60))
        _ = talk.session.route(channel: 9, now: talk.now)
        try talk.wait(.seconds(10))
        #expect(talk.others == [.end, .close(.sessionTimeout)])
    }

    @Test func statusOfWhatIsWrong() throws {
        func announce(_ headers: RTSPHeaders, _ body: String, uri: String = "rtsp://server/live") throws -> RTSPResponse
        {
            try Talk().one(.announce, uri, headers, body: body)
        }
        #expect(try announce(["Content-Type": "text/plain"], Talk.announcement).status == .unsupportedMediaType)
        #expect(try announce(Talk.sdp, "").status == .badRequest)
        let jpeg = try announce(Talk.sdp, "v=0\nm=video 0 RTP/AVP 26\n")
        #expect(jpeg.status == .unsupportedMediaType && jpeg.status.reason.contains("video 26"))
        #expect(try announce(Talk.sdp, Talk.announcement, uri: "rtsp://server/").status == .notFound)
        #expect(try announce(Talk.sdp, Talk.announcement, uri: "*").status == .methodNotAllowed)
        #expect(
            try announce(Talk.sdp, Talk.announcement, uri: "rtsp://server/live/trackID=0").status == .methodNotAllowed)
        var settings = RTSPServerSettings()
        settings.allowsPublishing = false
        let closed = Talk(settings)
        let refused = try closed.announce()
        #expect(refused.status == .methodNotAllowed && !refused.headers.list("Allow").contains("ANNOUNCE"))
        let talk = Talk()
        _ = try talk.announce()
        #expect(try talk.one(.record, "rtsp://server/live").status == .methodNotValidInState)
        #expect(try talk.one(.setup, "rtsp://server/live", Talk.tcp).status == .aggregateNotAllowed)
        #expect(try talk.one(.setup, "rtsp://server/live/streamid=2", Talk.tcp).status == .notFound)
        #expect(
            try talk.one(.setup, "rtsp://server/live/streamid=0", ["Transport": "RTP/AVP/TCP;mode=play"]).status
                == .unsupportedTransport)
        _ = try talk.one(.setup, "rtsp://server/live/streamid=0", Talk.tcp)
        #expect(try talk.one(.record, "rtsp://server/live").status == .sessionNotFound)
    }

    @Test func aRefusedPublisherHoldsNothing() throws {
        let taken = Talk()
        taken.outside = { _ in .refused(RTSPStatus(403, "Stream name is already in use")) }
        let answer = try taken.announce()
        #expect(answer.status == .forbidden && answer.status.reason == "Stream name is already in use")
        #expect(taken.others == [.end, .close(.refused)])
        let full = Talk()
        full.outside = { if case .record = $0 { .refused(.notEnoughBandwidth) } else { Talk.agreeable($0) } }
        let session = try full.setUpPublisher()
        #expect(try full.one(.record, "rtsp://server/live", session).status == .notEnoughBandwidth)
        #expect(full.others == [.end])
        #expect(try full.one(.record, "rtsp://server/live", session).status == .sessionNotFound)
    }

    @Test func anAnnouncementWithoutMoreIsForgotten() throws {
        let talk = Talk()
        _ = try talk.announce()
        try talk.wait(.seconds(30))
        #expect(talk.others == [.end, .close(.idle)])
    }
}
