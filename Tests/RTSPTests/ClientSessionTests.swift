import MediaFormats
import RTSP
import Testing
import Wire

/// A camera by script, at the other end of a client session.
private final class Camera {
    var session: RTSPClientSession
    var now = Instant.zero
    var requests: [RTSPRequest] = []
    var others: [RTSPClientOutput] = []
    /// The response to a request; nil: none.
    var respond: (RTSPRequest) -> RTSPResponse? = { _ in nil }
    var binds = true
    private var port: UInt16 = 20_000

    static let sdp = """
        v=0
        o=- 0 0 IN IP4 10.0.0.5
        s=cam
        t=0 0
        a=control:*
        m=video 0 RTP/AVP 96
        a=rtpmap:96 H264/90000
        a=control:track1
        m=audio 0 RTP/AVP 0
        a=control:track2
        m=video 0 RTP/AVP 98
        a=rtpmap:98 H265/90000
        a=control:track3

        """

    init(_ url: String = "rtsp://cam.example.com/live", settings: RTSPClientSettings = RTSPClientSettings()) throws {
        session = RTSPClientSession(url: try #require(RTSPURL(url)), settings: settings, now: .zero, makeNonce: { "n" })
        respond = Self.agreeable
    }

    static func agreeable(_ request: RTSPRequest) -> RTSPResponse? {
        let transport = request.headers["Transport"] ?? ""
        switch request.method {
        case .options: return RTSPResponse(.ok, headers: ["Public": "OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER"])
        case .describe:
            return RTSPResponse(
                .ok, headers: ["Content-Base": "rtsp://cam.example.com/live/", "Content-Type": "application/sdp"],
                body: bytes(crlf(sdp)))
        case .setup:
            let ports = transport.contains("client_port") ? ";server_port=6000-6001;ssrc=0000ABCD" : ""
            return RTSPResponse(.ok, headers: ["Transport": transport + ports, "Session": "xyz;timeout=30"])
        case .play:
            return RTSPResponse(
                .ok,
                headers: [
                    "Session": "xyz",
                    "RTP-Info": "url=rtsp://cam.example.com/live/track2;seq=5;rtptime=6,url=track1;seq=7;rtptime=8",
                ])
        default: return RTSPResponse(.ok)
        }
    }

    /// Until nothing happens any more.
    func run() throws {
        while let output = session.poll() {
            switch output {
            case .send(let bytes):
                guard case .message(.request(let request))? = try parse(bytes).first else {
                    throw TestFailure("no request")
                }
                requests.append(request)
                if var response = respond(request) {
                    if response.headers["CSeq"] == nil { response.headers["CSeq"] = request.headers["CSeq"] }
                    session.receive(.response(response), now: now)
                }
            case .connect:
                others.append(output)
                session.connected(now: now)
            case .bind where binds:
                others.append(output)
                session.bound(.init(port, port + 1), now: now)
                port += 2
            default: others.append(output)
            }
        }
    }

    func wait(_ time: Interval) throws {
        now = now + time
        session.tick(now: now)
        try run()
    }

    var methods: [RTSPMethod?] { requests.map(\.method) }
    var failure: RTSPPullFailure? {
        for case .failed(let failure) in others { return failure }
        return nil
    }
    var playing: [RTSPPulledTrack]? {
        for case .playing(let tracks) in others { return tracks }
        return nil
    }
}

@Suite struct PullTests {
    @Test func theUsualWay() throws {
        let camera = try Camera("rtsp://admin:secret@cam.example.com/live")
        try camera.run()
        #expect(camera.methods == [.options, .describe, .setup, .setup, .play])
        #expect(
            camera.requests.map(\.uri) == [
                "rtsp://cam.example.com/live", "rtsp://cam.example.com/live", "rtsp://cam.example.com/live/track1",
                "rtsp://cam.example.com/live/track2", "rtsp://cam.example.com/live/",
            ])
        #expect(camera.requests.map { $0.cSeq ?? 0 } == [1, 2, 3, 4, 5])
        #expect(camera.requests[2].headers["Transport"] == "RTP/AVP/TCP;unicast;interleaved=0-1")
        #expect(camera.requests[3].headers["Transport"] == "RTP/AVP/TCP;unicast;interleaved=2-3")
        #expect(camera.requests[2].headers["Session"] == nil && camera.requests[3].headers["Session"] == "xyz")
        #expect(camera.requests.allSatisfy { $0.headers["Authorization"] == nil })
        let tracks = try #require(camera.playing)
        // One picture, one sound.
        #expect(tracks.map(\.description.codec) == [.h264, .pcmu])
        #expect(tracks[0].first == .init(sequence: 7, rtpTime: 8) && tracks[1].first == .init(sequence: 5, rtpTime: 6))
        #expect(camera.session.route(channel: 0, now: .zero)?.track == 0)
        #expect(camera.session.route(channel: 3, now: .zero)?.isRTCP == true)
        #expect(camera.session.route(channel: 4, now: .zero) == nil)
        camera.session.stop(now: camera.now)
        try camera.run()
        #expect(camera.methods.last == .teardown && camera.requests.last?.headers["Session"] == "xyz")
        #expect(camera.others.suffix(2) == [.disconnect, .failed(.shutdown)])
        #expect(camera.session.deadline == .distantFuture)
    }

    @Test func overUDP() throws {
        var settings = RTSPClientSettings()
        settings.transports = [.udp, .tcp]
        let camera = try Camera(settings: settings)
        try camera.run()
        #expect(camera.requests[2].headers["Transport"] == "RTP/AVP;unicast;client_port=20000-20001")
        let tracks = try #require(camera.playing)
        #expect(tracks[1].path == .udp(.init(20_002, 20_003)))
        #expect(tracks[0].serverPorts == .init(6000, 6001) && tracks[0].ssrc == 0xabcd)
        #expect(camera.session.route(channel: 0, now: .zero) == nil)
        // A camera that refuses datagrams is asked for TCP.
        let other = try Camera(settings: settings)
        other.respond = {
            $0.headers["Transport"]?.contains("client_port") == true
                ? RTSPResponse(.unsupportedTransport) : Camera.agreeable($0)
        }
        try other.run()
        #expect(other.methods == [.options, .describe, .setup, .setup, .setup, .play])
        #expect(other.playing?.first?.path == .interleaved(.init(0, 1)))
        let never = try Camera()
        never.respond = { $0.method == .setup ? RTSPResponse(.unsupportedTransport) : Camera.agreeable($0) }
        try never.run()
        #expect(never.failure == .status(.setup, .unsupportedTransport))
    }

    @Test(arguments: [false, true]) func passwords(_ asksForOptions: Bool) throws {
        let server = Guard()
        let camera = try Camera("rtsp://admin:p@ss@cam.example.com/live")
        camera.respond = { request in
            if request.method == .options, !asksForOptions { return Camera.agreeable(request) }
            return server.refusal(of: request) ?? Camera.agreeable(request)
        }
        try camera.run()
        #expect(camera.playing != nil)
        #expect(
            camera.methods.prefix(4)
                == (asksForOptions
                    ? [.options, .options, .describe, .setup] : [.options, .describe, .describe, .setup]))
        // None is asked twice
        #expect(camera.requests.count == 6)
        #expect(camera.requests.allSatisfy { !$0.uri.contains("p@ss") })
        let wrong = try Camera("rtsp://admin:wrong@cam.example.com/live")
        wrong.respond = { server.refusal(of: $0) ?? Camera.agreeable($0) }
        try wrong.run()
        #expect(wrong.failure == .wrongPassword && wrong.requests.count <= 4)
        let none = try Camera()
        none.respond = { server.refusal(of: $0) ?? Camera.agreeable($0) }
        try none.run()
        #expect(none.failure == .wrongPassword && none.methods == [.options, .describe])
    }

    @Test func redirectsAreFollowedWithinBounds() throws {
        let camera = try Camera("rtsp://admin:secret@cam.example.com/live")
        camera.respond = { request in
            if request.method == .options, request.uri.contains("cam.") {
                return RTSPResponse(RTSPStatus(302, "Moved"), headers: ["Location": "rtsp://other.example.com:8554/a"])
            }
            return request.headers["Authorization"] == nil ? Camera.agreeable(request) : nil
        }
        try camera.run()
        let connects = camera.others.filter { if case .connect = $0 { true } else { false } }
        #expect(connects.count == 2)
        // The password was not meant for another host.
        #expect(camera.others.contains(.connect(RTSPURL(host: "other.example.com", port: 8554, path: "/a"))))
        #expect(camera.others[1] == .disconnect && camera.playing != nil)

        for (location, failure): (String?, RTSPPullFailure) in [
            ("rtsp://cam.example.com/live", .tooManyRedirects), (nil, .badRedirect), ("http://x/", .badRedirect),
            ("/relative", .badRedirect),
        ] {
            let loop = try Camera()
            loop.respond = { _ in
                var response = RTSPResponse(RTSPStatus(301, "Moved"))
                response.headers["Location"] = location
                return response
            }
            try loop.run()
            #expect(loop.failure == failure)
            #expect(loop.requests.count <= 4)
        }
        let secure = try Camera("rtsps://cam.example.com/live")
        secure.respond = { _ in RTSPResponse(RTSPStatus(302, "Moved"), headers: ["Location": "rtsp://cam.example.com/"])
        }
        try secure.run()
        #expect(secure.failure == .badRedirect)
    }

    @Test func whatCannotBeReceived() throws {
        func failure(_ status: RTSPStatus, _ body: String) throws -> RTSPPullFailure? {
            let camera = try Camera()
            camera.respond = { $0.method == .describe ? RTSPResponse(status, body: bytes(body)) : Camera.agreeable($0) }
            try camera.run()
            return camera.failure
        }
        #expect(try failure(.notFound, "") == .notFound)
        #expect(try failure(.serviceUnavailable, "") == .status(.describe, .serviceUnavailable))
        #expect(try failure(.ok, "") == .badDescription)
        #expect(try failure(.ok, "v=0\nm=video x\n") == .badDescription)
        #expect(try failure(.ok, "v=0\nm=video 0 RTP/AVP 26\n") == .noCommonCodecs(["video 26"]))
        #expect(RTSPPullFailure.notFound.info == "Rtsp stream not found")
        #expect(RTSPPullFailure.noCommonCodecs([]).info == "No common codecs")
        #expect(RTSPPullFailure.badURL.info == "Rtsp has wrong format")
        #expect(RTSPPullFailure.shutdown.info == "RtspAgent shutdown")
        for hidden in [RTSPPullFailure.refusedHost(.address), .wrongPassword, .connect("refused"), .noResponse(.play)] {
            #expect(hidden.info == "Failed to connect to rtsp stream")
        }
    }

    @Test func channelsOfTheServerCount() throws {
        let camera = try Camera()
        camera.respond = { request in
            guard request.method == .setup else { return Camera.agreeable(request) }
            let first = request.uri.hasSuffix("track1") ? 4 : 6
            return RTSPResponse(
                .ok, headers: ["Transport": "RTP/AVP/TCP;interleaved=\(first)-\(first + 1)", "Session": "a"])
        }
        try camera.run()
        #expect(camera.session.route(channel: 6, now: .zero)?.track == 1)
        #expect(camera.session.route(channel: 0, now: .zero) == nil)
        for bad in [
            "RTP/AVP/TCP;interleaved=0-1", "RTP/AVP;client_port=1-2", "RTP/AVP/TCP;multicast",
            "RTP/AVP/TCP;interleaved=0-0",
        ] {
            let other = try Camera()
            other.respond = {
                $0.method == .setup
                    ? RTSPResponse(.ok, headers: ["Transport": bad, "Session": "a"]) : Camera.agreeable($0)
            }
            try other.run()
            #expect(other.failure == .status(.setup, .unsupportedTransport), "\(bad)")
        }
        // Silence means yes.
        let terse = try Camera()
        terse.respond = { $0.method == .setup ? RTSPResponse(.ok, headers: ["Session": "a"]) : Camera.agreeable($0) }
        try terse.run()
        #expect(terse.playing?.last?.path == .interleaved(.init(2, 3)))
    }

    // MARK: Time

    @Test func eachStepHasItsTime() throws {
        for silent in [RTSPMethod.options, .describe, .setup, .play] {
            let camera = try Camera()
            camera.respond = { $0.method == silent ? nil : Camera.agreeable($0) }
            try camera.run()
            #expect(camera.session.deadline == .zero + .seconds(10))
            try camera.wait(.milliseconds(9_999))
            #expect(camera.failure == nil)
            try camera.wait(.milliseconds(1))
            #expect(camera.failure == .noResponse(silent))
        }
        var udp = RTSPClientSettings()
        udp.transports = [.udp]
        let unbound = try Camera(settings: udp)
        unbound.binds = false
        try unbound.run()
        try unbound.wait(.seconds(10))
        #expect(unbound.failure == .connect("no connection in time"))
    }

    @Test func aCameraThatFallsSilentIsGivenUp() throws {
        let camera = try Camera()
        try camera.run()
        try camera.wait(.milliseconds(9_999))
        #expect(camera.failure == nil && camera.session.playingSince == nil)
        _ = camera.session.route(channel: 0, now: camera.now)
        #expect(camera.session.playingSince == camera.now)
        // Reports are not media.
        try camera.wait(.seconds(9))
        _ = camera.session.route(channel: 1, now: camera.now)
        try camera.wait(.seconds(1))
        #expect(camera.failure == .silent)
    }

    @Test func signsOfLifeAreSentInTime() throws {
        let camera = try Camera()
        try camera.run()
        // timeout=30, of which 0.4
        for _ in 0..<30 {
            _ = camera.session.route(channel: 0, now: camera.now)
            try camera.wait(.seconds(1))
        }
        #expect(camera.methods.suffix(2) == [.getParameter, .getParameter])
        #expect(camera.requests.count == 7 && camera.requests.last?.uri == "rtsp://cam.example.com/live/")
        // A camera that does not know it after all, one that does not answer, one that has forgotten us.
        camera.respond = { _ in RTSPResponse(.notImplemented) }
        for _ in 0..<20 {
            _ = camera.session.route(channel: 0, now: camera.now)
            try camera.wait(.seconds(1))
        }
        #expect(camera.methods.suffix(2) == [.getParameter, .options])
        camera.respond = { _ in nil }
        for _ in 0..<60 {
            _ = camera.session.route(channel: 0, now: camera.now)
            try camera.wait(.seconds(1))
        }
        #expect(camera.failure == nil && camera.requests.count >= 12)
        camera.respond = { _ in RTSPResponse(.sessionNotFound) }
        for _ in 0..<20 {
            _ = camera.session.route(channel: 0, now: camera.now)
            try camera.wait(.seconds(1))
        }
        #expect(camera.failure == .endedByServer)
    }

    @Test func lateResponsesAreNotHeard() throws {
        let camera = try Camera()
        camera.respond = { $0.method == .describe ? nil : Camera.agreeable($0) }
        try camera.run()
        camera.session.receive(.response(RTSPResponse(.notFound, headers: ["CSeq": "1"])), now: .zero)
        try camera.run()
        #expect(camera.failure == nil)
        // Without a number it is the answer to what is open.
        camera.session.receive(.response(RTSPResponse(.notFound)), now: .zero)
        try camera.run()
        #expect(camera.failure == .notFound)
        camera.session.receive(.response(RTSPResponse(.ok)), now: .zero)
        camera.session.failed(.connectionLost)
        try camera.run()
        #expect(camera.others.filter { if case .failed = $0 { true } else { false } }.count == 1)
    }

    @Test func serversAskToo() throws {
        let camera = try Camera()
        try camera.run()
        func ask(_ method: RTSPMethod, _ headers: RTSPHeaders = [:]) throws -> RTSPStatus? {
            var headers = headers
            headers["CSeq"] = "77"
            camera.session.receive(.request(RTSPRequest(method, "*", headers: headers)), now: .zero)
            guard case .send(let bytes)? = camera.session.poll(),
                case .message(.response(let response))? = try parse(bytes).first
            else { return nil }
            #expect(response.cSeq == 77)
            return response.status
        }
        #expect(try ask(.options) == .ok && ask(.getParameter) == .ok && ask(.play) == .notImplemented)
        #expect(try ask(.redirect, ["Location": "rtsp://new.example.com/live"]) == .ok)
        try camera.run()
        #expect(camera.others.contains(.connect(RTSPURL(host: "new.example.com", path: "/live"))))
        #expect(try ask(.teardown) == .ok)
        try camera.run()
        #expect(camera.failure == .endedByServer)
    }

    @Test(arguments: 0..<300) func noiseFromAServer(_ seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let camera = try Camera("rtsp://a:b@cam.example.com/live")
        camera.respond = { request in
            guard Int.random(in: 0..<4, using: &random) == 0 else { return Camera.agreeable(request) }
            let status = [100, 200, 301, 401, 404, 454, 461, 500].randomElement(using: &random) ?? 200
            var headers: RTSPHeaders = [
                "Location": "rtsp://x\(seed).example.com/", "Session": ";;;", "Transport": "RTP/AVP/TCP;interleaved=9",
                "WWW-Authenticate":
                    "Digest realm=\"a\", nonce=\"\(Int.random(in: 0..<3, using: &random))\", stale=true",
                "RTP-Info": "url=,url=;seq=1", "Content-Base": "x://",
            ]
            if Bool.random(using: &random) { headers["CSeq"] = "3" }
            return RTSPResponse(RTSPStatus(status, ""), headers: headers, body: bytes("v=0\nm=audio 0 RTP/AVP 0\n"))
        }
        try camera.run()
        for _ in 0..<100 { try camera.wait(.seconds(1)) }
        // It ends, in one way or the other, and does not ask for ever.
        #expect(camera.failure != nil && camera.requests.count < 100)
        #expect(camera.others.last == .failed(camera.failure ?? .shutdown))
    }
}

/// Asks for a password as our own server does.
private final class Guard {
    private var authenticator = ServerAuthenticator(
        settings: RTSPAuthSettings(), users: RTSPUsers(["admin": "p@ss"]), isSecure: false, makeNonce: { "nonce" })

    func refusal(of request: RTSPRequest) -> RTSPResponse? {
        guard case .challenge(let values) = authenticator.verify(request, now: .zero) else { return nil }
        var headers = RTSPHeaders()
        for value in values { headers.add("WWW-Authenticate", value) }
        return RTSPResponse(.unauthorized, headers: headers)
    }
}

@Suite struct HostGuardTests {
    private func isAllowed(_ address: String, _ hostGuard: HostGuard = HostGuard()) throws -> Bool {
        let address = try #require(SocketAddress(ip: address, port: 554))
        return (try? hostGuard.check(address)) != nil
    }

    @Test(arguments: [
        "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.64",
        "169.254.169.254", "100.64.0.1", "100.100.100.200", "192.0.0.192", "224.0.0.1", "255.255.255.255", "198.18.0.1",
        "::", "::1", "fe80::1", "fd00:ec2::254", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
        "::127.0.0.1",
        "64:ff9b::169.254.169.254", "2002:7f00:1::", "2001:db8::1", "2001::1", "fec0::1",
    ])
    func addressesThatOnlyWeReachAreRefused(_ address: String) throws { #expect(try !isAllowed(address)) }

    @Test(arguments: [
        "8.8.8.8", "172.15.0.1", "172.32.0.1", "100.128.0.1", "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::808:808",
        "2002:808:808::1", "192.169.0.1", "11.0.0.1",
    ])
    func publicAddressesAreAllowed(_ address: String) throws { #expect(try isAllowed(address)) }

    @Test func networksOfTheConfigurationAreAllowed() throws {
        var hostGuard = HostGuard()
        hostGuard.networks = ["192.168.7.0/24", "127.0.0.1", "fd12::/16"].compactMap { AddressRange($0) }
        #expect(hostGuard.networks.count == 3)
        #expect(try isAllowed("192.168.7.200", hostGuard) && isAllowed("::ffff:192.168.7.1", hostGuard))
        #expect(try !isAllowed("192.168.8.1", hostGuard) && !isAllowed("127.0.0.2", hostGuard))
        #expect(
            try isAllowed("127.0.0.1", hostGuard) && isAllowed("fd12:1::5", hostGuard)
                && isAllowed("9.9.9.9", hostGuard))
        for bad in ["", "a", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/", "::/129", "10.0.0/8"] {
            #expect(AddressRange(bad) == nil, "\(bad)")
        }
        #expect(try #require(AddressRange("0.0.0.0/0")).contains(#require(SocketAddress(ip: "9.9.9.9", port: 0))))
        #expect(try !#require(AddressRange("0.0.0.0/0")).contains(#require(SocketAddress(ip: "::9", port: 0))))
    }

    @Test func namesAndPorts() throws {
        func refusal(_ url: String, _ hostGuard: HostGuard) throws -> HostGuard.Refusal? {
            do {
                try hostGuard.check(try #require(RTSPURL(url)))
                return nil
            } catch let refusal as HostGuard.Refusal {
                return refusal
            }
        }
        let any = HostGuard()
        #expect(
            try refusal("rtsp://a/", any) == nil && refusal("rtsps://a/", any) == nil
                && refusal("rtsp://a:8554/", any) == nil)
        #expect(try refusal("rtsp://a:25/", any) == .port && refusal("rtsp://a:80/", any) == .port)
        var some = HostGuard()
        some.hosts = ["Camera.example.com", "*.cams.example.com", "10.0.0.5"]
        #expect(try refusal("rtsp://camera.EXAMPLE.com./", some) == nil)
        #expect(try refusal("rtsp://a.b.cams.example.com/", some) == nil && refusal("rtsp://10.0.0.5/", some) == nil)
        for other in [
            "example.com", "cams.example.com", "xcams.example.com", "camera.example.com.evil.org", ".cams.example.com",
            "10.0.0.50",
        ] {
            #expect(try refusal("rtsp://\(other)/", some) == .host, "\(other)")
        }
    }
}

@Suite struct PullPolicyTests {
    @Test func waitsGrowAndAreSpread() {
        var waits: Set<Int64> = []
        for seed in UInt64(0)..<50 {
            var policy = PullPolicy(seed: seed)
            for expected in [1.0, 2, 4, 8, 16, 30, 30, 30] {
                guard let wait = policy.wait(after: .connect("refused"), playedFor: nil) else {
                    Issue.record("gave up")
                    return
                }
                #expect(abs(wait.seconds - expected) <= expected * 0.2 + 0.001)
                waits.insert(wait.nanoseconds)
            }
        }
        #expect(waits.count > 350)
    }

    @Test func playingForAWhileMakesWaitsShortAgain() {
        var policy = PullPolicy(seed: 1)
        for _ in 0..<10 { _ = policy.wait(after: .silent, playedFor: nil) }
        #expect((policy.wait(after: .connectionLost, playedFor: .seconds(29))?.seconds ?? .nan) > 20)
        #expect((policy.wait(after: .connectionLost, playedFor: .seconds(30))?.seconds ?? .nan) < 1.3)
    }

    @Test func someFailuresAreWaitedOutAndSomeFinal() {
        var policy = PullPolicy(seed: 1)
        #expect((policy.wait(after: .wrongPassword, playedFor: nil)?.seconds ?? .nan) >= 48)
        #expect(policy.wait(after: .badURL, playedFor: nil) == nil)
        #expect(policy.wait(after: .refusedHost(.address), playedFor: nil) == nil)
        var settings = PullPolicy.Settings()
        settings.attempts = 2
        var bounded = PullPolicy(settings: settings, seed: 1)
        #expect((0..<2).allSatisfy { _ in bounded.wait(after: .silent, playedFor: nil) != nil })
        #expect(bounded.wait(after: .silent, playedFor: nil) == nil)
        var endless = PullPolicy(seed: 1)
        for _ in 0..<1000 { #expect(endless.wait(after: .silent, playedFor: nil) != nil) }
    }
}
