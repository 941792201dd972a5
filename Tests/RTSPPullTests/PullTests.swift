import MediaFormats
import NIOCore
import NIOPosix
import RTSP
import RTSPPull
import Synchronization
import TestSupport
import Testing
import Wire

@Suite(.timeLimit(.minutes(2))) struct PullerTests {
    /// Loopback is allowed, and so are the ports of tests.
    private static func settings(_ change: (inout RTSPPullSettings) -> Void = { _ in }) -> RTSPPullSettings {
        var settings = RTSPPullSettings()
        settings.hostGuard.networks = ["127.0.0.1"].compactMap { AddressRange($0) }
        change(&settings)
        return settings
    }

    private static func puller(_ url: String, _ sink: Sink, _ settings: RTSPPullSettings = settings()) -> RTSPPuller {
        RTSPPuller(url: url, settings: settings, sink: sink, seed: 1, sleep: { _ in try Task.checkCancellation() })
    }

    @Test func aCameraThatIsCutIsPulledAgain() async throws {
        let camera = Camera()
        let port = try await camera.start()
        let sink = Sink()
        let puller = Self.puller("rtsp://127.0.0.1:\(port)/live", sink)
        let run = Task { await puller.run() }
        try await camera.isAsked()
        camera.send([0x80, 96, 0, 1])
        try await sink.events.wait { $0 == [.begin([.vp8]), .packet(0, [0x80, 96, 0, 1])] }
        camera.cut()
        try await camera.isAsked(2)
        camera.send([0x80, 96, 0, 2])
        try await sink.events.wait {
            $0.dropFirst(2) == [
                .interrupted(.connectionLost, retry: true), .begin([.vp8]), .packet(0, [0x80, 96, 0, 2]),
            ]
        }
        run.cancel()
        #expect(await run.value == .shutdown)
        #expect(sink.events.value.last == .interrupted(.shutdown, retry: false))
        try await camera.state.wait { $0.requests.last?.method == .teardown }
        #expect(camera.state.value.connections == 2)
        await camera.stop()
    }

    @Test func attemptsAreBounded() async throws {
        let camera = Camera { request, _ in
            request.method == .describe ? RTSPResponse(.notFound) : Camera.agreeable(request)
        }
        let port = try await camera.start()
        let sink = Sink()
        let puller = Self.puller("rtsp://127.0.0.1:\(port)/live", sink, Self.settings { $0.policy.attempts = 3 })
        #expect(await puller.run() == .notFound)
        #expect(camera.state.value.connections == 4)
        #expect(sink.events.value.count == 4 && sink.events.value.last == .interrupted(.notFound, retry: false))
        await camera.stop()
    }

    @Test func nobodyListens() async throws {
        let camera = Camera()
        let port = try await camera.start()
        await camera.stop()
        let puller = Self.puller("rtsp://127.0.0.1:\(port)/live", Sink(), Self.settings { $0.policy.attempts = 0 })
        guard case .connect = await puller.run() else {
            Issue.record("connected")
            return
        }
    }

    @Test func addressesInsideAreNotReached() async throws {
        let camera = Camera()
        let port = try await camera.start()
        var settings = RTSPPullSettings()
        settings.policy.attempts = 0
        #expect(await Self.puller("rtsp://127.0.0.1:\(port)/", Sink(), settings).run() == .refusedHost(.address))
        #expect(
            await Self.puller("rtsp://[::ffff:127.0.0.1]:\(port)/", Sink(), settings).run() == .refusedHost(.address))
        #expect(await Self.puller("rtsp://127.0.0.1:25/", Sink(), settings).run() == .refusedHost(.port))
        #expect(await Self.puller("http://127.0.0.1/", Sink(), settings).run() == .badURL)
        // A name that points inside, alone or among others.
        for addresses in [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["169.254.169.254"]] {
            let found = addresses.compactMap { SocketAddress(ip: $0, port: UInt16(port)) }
            let puller = RTSPPuller(
                url: "rtsp://camera.example.com:\(port)/", settings: settings, sink: Sink(), resolve: { _, _ in found })
            #expect(await puller.run() == .refusedHost(.address))
        }
        #expect(camera.state.value.connections == 0)
        await camera.stop()
    }

    /// What is checked is what is connected to: a second look-up could say something else.
    @Test func aHostIsResolvedOnce() async throws {
        let camera = Camera()
        let port = try await camera.start()
        let lookUps = Mutex(0)
        let sink = Sink()
        let puller = RTSPPuller(
            url: "rtsp://camera.example.com:\(port)/live", settings: Self.settings(), sink: sink,
            resolve: { _, port in
                lookUps.withLock { $0 += 1 }
                return [SocketAddress(ipv4: 0x7f00_0001, port: port)]
            })
        let run = Task { await puller.run() }
        try await camera.isAsked()
        #expect(lookUps.withLock { $0 } == 1)
        #expect(camera.state.value.requests.first?.uri == "rtsp://camera.example.com:\(port)/live")
        run.cancel()
        _ = await run.value
        await camera.stop()
    }

    @Test func redirectsAreCheckedToo() async throws {
        let inside = Camera()
        let insidePort = try await inside.start()
        let camera = Camera { _, _ in
            RTSPResponse(RTSPStatus(302, "Moved"), headers: ["Location": "rtsp://127.0.0.2:\(insidePort)/live"])
        }
        let port = try await camera.start()
        #expect(await Self.puller("rtsp://127.0.0.1:\(port)/live", Sink()).run() == .refusedHost(.address))
        #expect(inside.state.value.connections == 0)
        let allowed = Camera { request, _ in
            RTSPResponse(RTSPStatus(302, "Moved"), headers: ["Location": "rtsp://127.0.0.1:\(insidePort)/live"])
        }
        let other = try await allowed.start()
        let sink = Sink()
        let puller = Self.puller("rtsp://127.0.0.1:\(other)/live", sink)
        let run = Task { await puller.run() }
        try await inside.isAsked()
        inside.send([0x80, 96, 0, 1])
        try await sink.events.wait { $0.first == .begin([.vp8]) }
        #expect(inside.state.value.connections == 1)
        // From the program to the camera
        sink.link.withLock { $0 }?.send(rtcp: [0x80, 201, 0, 0], track: 0)
        run.cancel()
        _ = await run.value
        for camera in [inside, camera, allowed] { await camera.stop() }
    }

    @Test func noiseEndsTheAttempt() async throws {
        let camera = Camera { _, _ in nil }
        let port = try await camera.start()
        let puller = Self.puller("rtsp://127.0.0.1:\(port)/live", Sink(), Self.settings { $0.policy.attempts = 0 })
        #expect(await puller.run() == .connectionLost)
        let silent = Self.puller(
            "rtsp://127.0.0.1:\(port)/live", Sink(),
            Self.settings {
                $0.policy.attempts = 0
                $0.client.responseTimeout = .nanoseconds(1)
            })
        #expect(
            [.noResponse(.options), .connect("no connection in time"), .connectionLost].contains(await silent.run()))
        await camera.stop()
    }

    /// It is reached and answers, and shows nothing: that is no stream.
    @Test func aCameraThatIsSilentHasNotBegun() async throws {
        let camera = Camera()
        let port = try await camera.start()
        let sink = Sink()
        let settings = Self.settings {
            $0.policy.attempts = 0
            $0.client.mediaTimeout = .milliseconds(200)
        }
        #expect(await Self.puller("rtsp://127.0.0.1:\(port)/live", sink, settings).run() == .silent)
        #expect(sink.events.value == [.interrupted(.silent, retry: false)])
        await camera.stop()
    }

    /// Many send the first picture before they answer.
    @Test func whatComesBeforeTheAnswerIsKept() async throws {
        let picture: [UInt8] = [0x80, 96, 0, 1, 9, 9]
        let report: [UInt8] = [0x80, 200, 0, 0]
        let early = Mutex<Camera?>(nil)
        let camera = Camera { request, _ in
            if request.method == .play, let camera = early.withLock({ $0 }) {
                camera.send(report, channel: 1)
                camera.send(picture)
            }
            return Camera.agreeable(request)
        }
        early.withLock { $0 = camera }
        let port = try await camera.start()
        let sink = Sink()
        let puller = Self.puller("rtsp://127.0.0.1:\(port)/live", sink)
        let run = Task { await puller.run() }
        try await sink.events.wait { $0 == [.begin([.vp8]), .packet(0, report), .packet(0, picture)] }
        run.cancel()
        _ = await run.value
        early.withLock { $0 = nil }
        await camera.stop()
    }

    @Test func theSystemResolves() async throws {
        let addresses = try await RTSPPuller.systemResolver("localhost", 554)
        #expect(!addresses.isEmpty && addresses.allSatisfy { $0.isLoopback && $0.port == 554 })
        await #expect(throws: (any Error).self) { try await RTSPPuller.systemResolver("does-not-exist.invalid", 554) }
    }
}
