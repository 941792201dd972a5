import ControlPlane
import Foundation
import MediaFormats
import NIOCore
import RTP
import RTSP
import RTSPServer
import TestSupport
import Testing
import WeirMetrics
import Wire

/// RTSP through HTTP: two connections by hand.
@Suite(.timeLimit(.minutes(2))) struct HTTPTunnelTests {
    private static let tracks = [TrackDescription(codec: .vp8)]
    private static let transport: RTSPHeaders = ["Transport": "RTP/AVP/TCP;unicast;interleaved=0-1"]

    private static func head(_ method: String, cookie: String = "c00kie") -> [UInt8] {
        bytes("\(method) /cam HTTP/1.0\r\nx-sessioncookie: \(cookie)\r\nContent-Length: 32767\r\n\r\n")
    }

    private static func encoded(
        _ method: RTSPMethod, _ uri: String, _ cSeq: Int, _ headers: RTSPHeaders = [:]
    ) -> [UInt8] {
        var request = RTSPRequest(method, uri, headers: headers)
        request.headers["CSeq"] = String(cSeq)
        return Array(Data(request.bytes).base64EncodedData())
    }

    /// A client whose GET has been answered.
    private static func open(_ port: Int, cookie: String = "c00kie") async throws -> (down: Client, up: Client) {
        let down = try await Client(port: port)
        try await down.send(head("GET", cookie: cookie))
        let begun = try await down.response()
        #expect(begun.status.code == 200 && begun.headers["Content-Type"] == "application/x-rtsp-tunnelled")
        let up = try await Client(port: port)
        try await up.send(head("POST", cookie: cookie))
        return (down, up)
    }

    @Test func aPlayerIsServed() async throws {
        try await withServer { port, loop, metrics in
            let stream = loop.add("cam", Self.tracks)
            let (down, up) = try await Self.open(port)
            let describe = Self.encoded(.describe, "rtsp://h/cam", 1)
            // In pieces, groups of four cut anywhere.
            try await up.send(Array(describe.prefix(7)))
            try await up.send(Array(describe.dropFirst(7)))
            #expect(try await down.response().status == .ok)
            try await up.send(Self.encoded(.setup, "rtsp://h/cam/trackID=0", 2, Self.transport))
            let id = try #require(try await down.response().headers["Session"].flatMap { RTSPSessionHeader($0) }).id
            try await up.send(Self.encoded(.play, "rtsp://h/cam", 3, ["Session": id]))
            try await loop.state.wait { $0.keyFrameRequests == 1 }
            stream.send(
                track: 0, number: 1, timestamp: 1, marker: true, isKeyFrameStart: true, arrival: .zero,
                Picture.key.span.bytes)
            stream.flush()
            #expect(try await down.response().status == .ok)
            #expect(Array(try await down.packet().bytes.dropFirst(12)) == Picture.key)

            // The announced length is used up: the client goes on in another connection.
            let next = try await Client(port: port)
            try await next.send(Self.head("POST") + Self.encoded(.options, "*", 4))
            #expect(try await down.response().cSeq == 4)
            await up.end()
            try await next.send(Self.encoded(.teardown, "rtsp://h/cam", 5, ["Session": id]))
            #expect(try await down.response().cSeq == 5)
            #expect(stream.isIdle)
            #expect(metrics.render().contains("weir_rtsp_tunnels_total 1"))

            await down.close()
            await next.end()
        }
    }

    @Test func aPOSTOfNobodyAndASecondGETAreRefused() async throws {
        try await withServer { port, _, metrics in
            let stray = try await Client(port: port)
            try await stray.send(Self.head("POST", cookie: "unknown"))
            #expect(try await stray.response().status.code == 404)
            await stray.end()
            let (down, up) = try await Self.open(port)
            let second = try await Client(port: port)
            try await second.send(Self.head("GET"))
            #expect(try await second.response().status.code == 409)
            await second.end()
            try await up.send(Self.encoded(.options, "*", 1))
            #expect(try await down.response().status == .ok)
            try await up.send(bytes("$$$$"))
            #expect(try await up.response().status.code == 400)
            await up.end()
            #expect(metrics.render().contains("weir_rtsp_tunnels_refused_total 3"))
            await down.close()
        }
    }

    @Test func theCookieIsFreeWhenTheSessionIsGone() async throws {
        try await withServer { port, _, _ in
            let (down, up) = try await Self.open(port)
            await down.close()
            await up.end()
            let again = try await Client(port: port)
            try await again.send(Self.head("GET"))
            #expect(try await again.response().status.code == 200)
            await again.close()
        }
    }

    @Test func requestsThatMayNotWaitStayInTheTunnel() async throws {
        try await withServer { port, loop, _ in
            _ = loop.add("cam", Self.tracks)
            loop.state.update { $0.holdsAccess = true }
            let (down, up) = try await Self.open(port)
            let count = 100
            try await up.send((1...count).flatMap { Self.encoded(.describe, "rtsp://h/cam", $0) })
            try await loop.state.wait { !$0.waiting.isEmpty }
            loop.answer()
            for number in 1...count { #expect(try await down.response().cSeq == UInt32(number)) }
            await down.close()
            await up.end()
        }
    }
}
