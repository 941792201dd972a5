import ControlPlane
import MediaFormats
import NIOCore
import NIOSSL
import RTP
import RTSP
import RTSPServer
import TestSupport
import Testing
import WeirMetrics
import Wire

@Suite(.timeLimit(.minutes(2))) struct ServiceTests {
    private static let tracks = [TrackDescription(codec: .vp8), TrackDescription(codec: .opus)]
    private static let tcp: RTSPHeaders = ["Transport": "RTP/AVP/TCP;unicast;interleaved=0-1"]

    private static func setUp(_ client: Client, _ name: String = "cam") async throws -> RTSPHeaders {
        let first = try await client.ask(.setup, "rtsp://h/\(name)/trackID=0", tcp)
        let id = try #require(first.headers["Session"].flatMap { RTSPSessionHeader($0) }).id
        let second = try await client.ask(
            .setup, "rtsp://h/\(name)/trackID=1", ["Transport": "RTP/AVP/TCP;unicast;interleaved=2-3", "Session": id])
        #expect(second.status == .ok)
        return ["Session": id]
    }

    private static func send(_ stream: RTSPStream, _ number: Int64, key: Bool) {
        stream.send(
            track: 0, number: number, timestamp: UInt32(number), marker: true, isKeyFrameStart: key,
            arrival: .zero, (key ? Picture.key : Picture.delta).span.bytes)
        stream.flush()
    }

    @Test func aPlayerIsServed() async throws {
        try await withServer { port, loop, _ in
            let stream = loop.add("cam", Self.tracks)
            let client = try await Client(port: port)
            let described = try await client.ask(.describe, "rtsp://127.0.0.1/cam?token=x", ["User-Agent": "test"])
            #expect(described.status == .ok)
            #expect(try RTSPDescription(parsing: described.body).tracks.count == 2)
            let session = try await Self.setUp(client)
            async let played = client.ask(.play, "rtsp://h/cam", session)
            try await loop.state.wait { $0.keyFrameRequests == 1 }
            Self.send(stream, 5, key: true)
            let answer = try await played
            #expect(
                answer.headers["RTP-Info"] == "url=rtsp://h/cam/trackID=0;seq=5;rtptime=5,url=rtsp://h/cam/trackID=1")
            let packet = try await client.packet()
            #expect(packet.channel == 0 && Array(packet.bytes.dropFirst(12)) == Picture.key)
            let access = try #require(loop.state.value.accesses.last)
            #expect(access.name == "cam" && access.query == "token=x" && access.method == .play)
            let facts = try #require(loop.state.value.connections.last)
            #expect(facts.remoteAddress.hasPrefix("127.0.0.1:") && facts.localAddress == "127.0.0.1:\(port)")

            // A lost picture
            var pli: [UInt8] = []
            RTCPWriter.pli(sender: 1, media: 2, into: &pli)
            var frame: [UInt8] = []
            InterleavedFrame.append(pli, channel: 1, into: &frame)
            try await client.send(frame)
            try await loop.state.wait { $0.keyFrameRequests == 2 }

            #expect(try await client.ask(.pause, "rtsp://h/cam", session).status == .ok)
            #expect(stream.isIdle)
            async let again = client.ask(.play, "rtsp://h/cam", session)
            try await loop.state.wait { $0.keyFrameRequests == 3 }
            Self.send(stream, 9, key: true)
            #expect(try await again.status == .ok)
            stream.end()
            await client.end()
            // Both sources say goodbye.
            #expect(await client.packets.count == 3)
        }
    }

    @Test func aPublisherIsPlayed() async throws {
        try await withServer { port, loop, _ in
            let publisher = try await Client(port: port)
            let sdp = bytes("v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\na=control:streamid=0\r\n")
            let announced = try await publisher.ask(
                .announce, "rtsp://h/live", ["Content-Type": "application/sdp"], body: sdp)
            #expect(announced.status == .ok)
            let second = try await Client(port: port)
            let refused = try await second.ask(
                .announce, "rtsp://h/live", ["Content-Type": "application/sdp"], body: sdp)
            #expect(refused.status == .forbidden && refused.status.reason == "Stream name is already in use")
            await second.end()
            let setUp = try await publisher.ask(.setup, "rtsp://h/live/streamid=0", Self.tcp)
            let session = try #require(setUp.headers["Session"].flatMap { RTSPSessionHeader($0) }).id
            #expect(try await publisher.ask(.record, "rtsp://h/live", ["Session": session]).status == .ok)

            let player = try await Client(port: port)
            let playing = try await player.ask(.setup, "rtsp://h/live/trackID=0", Self.tcp)
            let id = try #require(playing.headers["Session"].flatMap { RTSPSessionHeader($0) }).id
            async let played = player.ask(.play, "rtsp://h/live", ["Session": id])
            try await loop.state.wait { $0.keyFrameRequests >= 1 }
            var frame: [UInt8] = []
            InterleavedFrame.append([0x80, 0xe0, 0, 7, 0, 0, 0, 9, 1, 2, 3, 4] + Picture.key, channel: 0, into: &frame)
            try await publisher.send(frame)
            #expect(try await played.headers["RTP-Info"] == "url=rtsp://h/live/trackID=0;seq=7;rtptime=9")
            let packet = try await player.packet()
            #expect(Array(packet.bytes.dropFirst(12)) == Picture.key && packet.bytes[1] == 0x80 | 96)
            // From the program to the publisher
            loop.state.value.streams["live"]?.link?.send(rtcp: [0x80, 201, 0, 1, 0, 0, 0, 1], track: 0)
            let report = try await publisher.packet()
            #expect(report.channel == 1 && report.bytes.count == 8)
            await publisher.close()
            try await loop.state.wait { $0.stopped == ["live"] }
            await player.end()
        }
    }

    @Test func playersOfDatagramsAreTheOutsides() async throws {
        try await withServer { port, loop, _ in
            _ = loop.add("cam", Self.tracks)
            let client = try await Client(port: port)
            let setUp = try await client.ask(
                .setup, "rtsp://h/cam/trackID=0", ["Transport": "RTP/AVP;unicast;client_port=5000-5001"])
            let id = try #require(setUp.headers["Session"].flatMap { RTSPSessionHeader($0) }).id
            let played = try await client.ask(.play, "rtsp://h/cam", ["Session": id])
            #expect(played.headers["RTP-Info"] == "url=rtsp://h/cam/trackID=0;seq=3")
            let link = try #require(loop.state.value.datagramPlayers["cam"])
            link.noteSignOfLife()
            link.end()
            await client.end()
            try await loop.state.wait { $0.stopped == ["player of cam"] }
        }
    }

    @Test func bothEndsUseTLS() async throws {
        try await withServer(tls: try Self.certificate()) { port, loop, _ in
            _ = loop.add("cam", Self.tracks)
            let client = try await Client(port: port, tls: true)
            #expect(try await client.ask(.describe, "rtsps://h/cam").status == .ok)
            #expect(loop.state.value.connections.last?.isSecure == true)
            // No TLS: closed
            let plain = try await Client(port: port)
            try await plain.send(bytes("OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n"))
            await plain.end()
        }
    }

    @Test func connectionsAreBounded() async throws {
        try await withServer(configure: { $0.connections = ConnectionBudget(limit: 2, limitPerAddress: 100) }) {
            port, _, metrics in
            let first = try await Client(port: port)
            let second = try await Client(port: port)
            #expect(try await first.ask(.options, "*").status == .ok)
            #expect(try await second.ask(.options, "*").status == .ok)
            let third = try await Client(port: port)
            await third.end()
            #expect(metrics.render().contains("weir_rtsp_connections_refused_total{reason=\"too_many_connections\"} 1"))
            await first.close()
            // Its place is free once the server has seen it go.
            while true {
                let next = try await Client(port: port)
                if let answer = try? await next.ask(.options, "*") {
                    #expect(answer.status == .ok)
                    break
                }
            }
        }
    }

    @Test func whatIsNoRTSPIsAnsweredOnceAndClosed() async throws {
        try await withServer { port, _, metrics in
            for (text, status) in [
                ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", 400), ("\u{16}\u{3}\u{1}", 400),
                ("OPTIONS " + String(repeating: "a", count: 100_000), 414),
            ] {
                let client = try await Client(port: port)
                try await client.send(bytes(text))
                #expect(try await client.response().status.code == status)
                await client.end()
            }
            #expect(metrics.render().contains("weir_rtsp_closed_total{reason=\"malformed\"} 3"))
        }
    }

    @Test func silentConnectionsAreClosed() async throws {
        try await withServer(configure: { $0.session.firstRequestTimeout = .milliseconds(1) }) { port, _, metrics in
            let client = try await Client(port: port)
            await client.end()
            #expect(metrics.render().contains("weir_rtsp_closed_total{reason=\"no_request\"} 1"))
        }
    }

    @Test func moreRequestsThanMayWaitAreReadLater() async throws {
        try await withServer { port, loop, _ in
            _ = loop.add("cam", Self.tracks)
            loop.state.update { $0.holdsAccess = true }
            let client = try await Client(port: port)
            var all: [UInt8] = []
            for number in 1...500 {
                all += RTSPRequest(.describe, "rtsp://h/cam", headers: ["CSeq": "\(number)"]).bytes
            }
            try await client.send(all)
            try await loop.state.wait { !$0.waiting.isEmpty }
            loop.answer()
            for number in 1...500 {
                let answer = try await client.response()
                #expect(answer.cSeq == UInt32(number) && answer.status == .ok)
            }
        }
    }

    @Test func aPublisherThatGoesBeforeItIsAnsweredHoldsNothing() async throws {
        try await withServer { port, loop, _ in
            let sdp = bytes("v=0\r\nm=audio 0 RTP/AVP 0\r\n")
            for number in 0..<20 {
                let client = try await Client(port: port)
                var request = RTSPRequest(.announce, "rtsp://h/live\(number)", headers: ["CSeq": "1"], body: sdp)
                request.headers["Content-Type"] = "application/sdp"
                try await client.send(request.bytes)
                await client.close()
            }
            // Each name that was held is given back.
            try await loop.state.wait { $0.streams.isEmpty }
        }
    }

    @Test func aPlayerThatReadsNothingIsCutAndHoldsUpNobody() async throws {
        try await withServer(configure: {
            $0.maxQueuedBytes = 64 << 10
            $0.slowReaderTimeout = .milliseconds(300)
        }) { port, loop, metrics in
            let stream = loop.add("cam", Self.tracks)
            let slow = try await Client(port: port, reads: true)
            let quick = try await Client(port: port)
            for client in [slow, quick] {
                let session = try await Self.setUp(client)
                let requests = loop.state.value.keyFrameRequests
                async let played = client.ask(.play, "rtsp://h/cam", session)
                try await loop.state.wait { $0.keyFrameRequests > requests }
                Self.send(stream, Int64(requests) + 1, key: true)
                #expect(try await played.status == .ok)
            }
            try await slow.setReading(false)
            // Until the server has given the slow one up; the quick one is served all the time.
            var number = Int64(10)
            while !metrics.render().contains("weir_rtsp_slow_readers_total 1") {
                number += 1
                stream.send(
                    track: 0, number: number, timestamp: UInt32(truncatingIfNeeded: number), marker: true,
                    isKeyFrameStart: true, arrival: .zero,
                    (Picture.key + [UInt8](repeating: 0, count: 50_000)).span.bytes)
                stream.flush()
                var last: [UInt8] = []
                repeat {
                    last = try await quick.packet().bytes
                } while UInt16(last[2]) << 8 | UInt16(last[3]) != UInt16(truncatingIfNeeded: number)
            }
            #expect(metrics.render().contains("weir_rtsp_connections 1"))
        }
    }

    @Test func whoDoesNotReadResponsesIsCut() async throws {
        try await withServer(configure: {
            $0.maxQueuedBytes = 64 << 10
            $0.slowReaderTimeout = .milliseconds(300)
        }) { port, _, metrics in
            let client = try await Client(port: port, reads: false)
            var requests: [UInt8] = []
            for number in 1...1000 { requests += RTSPRequest(.options, "*", headers: ["CSeq": "\(number)"]).bytes }
            // Ends when the server has closed: what is sent no longer goes anywhere.
            while (try? await client.send(requests)) != nil {}
            #expect(metrics.render().contains("weir_rtsp_slow_readers_total 1"))
        }
    }

    @Test func shutdownEndsSessions() async throws {
        let loop = Loop()
        let waiting = Watched<Client?>(nil)
        try await withServer(loop) { port, loop, _ in
            let client = try await Client(port: port)
            let sdp = bytes("v=0\r\nm=audio 0 RTP/AVP 0\r\n")
            #expect(
                try await client.ask(.announce, "rtsp://h/live", ["Content-Type": "application/sdp"], body: sdp).status
                    == .ok)
            waiting.update { $0 = client }
        }
        await waiting.value?.end()
        #expect(loop.state.value.stopped == ["live"])
    }

    private static func certificate() throws -> NIOSSLContext {
        let certificate = try NIOSSLCertificate(bytes: bytes(TestCertificate.certificate), format: .pem)
        let key = try NIOSSLPrivateKey(bytes: bytes(TestCertificate.key), format: .pem)
        return try NIOSSLContext(
            configuration: .makeServerConfiguration(
                certificateChain: [.certificate(certificate)], privateKey: .privateKey(key)))
    }
}

func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }
