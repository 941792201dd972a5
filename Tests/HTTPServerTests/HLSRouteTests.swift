import ControlPlane
import Foundation
import HLS
import HTTPServer
import HTTPTypes
import HummingbirdTesting
import MediaFormats
import NIOCore
import Synchronization
import Testing
import Wire

@Suite struct HLSRouteTests {
    private func withHLS(
        needsSession: Bool = false, origins: [String] = ["*"],
        _ body: @escaping @Sendable (Fixture, FakeHLS) async throws -> Void
    ) async throws {
        let backend = FakeHLS()
        backend.add("cam")
        let service = HLSService(backend: backend, needsSession: { needsSession }, corsOrigins: origins)
        try await withServer(hls: service) { server in try await body(server, backend) }
    }

    private func lines(_ response: TestResponse) -> [String] {
        response.text.split(separator: "\n").map(String.init)
    }

    @Test func playlistsLeadFromOneToTheNextToTheMedia() async throws {
        try await withHLS { server, backend in
            let main = try await server.send(.get, "/cam/cam.m3u8")
            #expect(main.status == .ok)
            #expect(main.headers[.contentType] == "application/vnd.apple.mpegurl")
            #expect(main.headers[.cacheControl] == "private, no-store")
            let time = main.headers[HTTPField.Name("X-Server-Time")!].flatMap { Int64($0) } ?? 0
            #expect(abs(Double(time) / 1_000 - Date().timeIntervalSince1970) < 60)
            let uri = try #require(lines(main).last)
            #expect(uri.hasPrefix("main/live.m3u8?s="))
            let media = try await server.send(.get, "/cam/\(uri)")
            #expect(media.status == .ok && media.headers[.cacheControl] == "public, max-age=1")
            let names = lines(media).filter { !$0.hasPrefix("#") }
            #expect(names == ["0-t1.m4s", "1-t3.m4s", "2-t4.m4s", "3-t5.m4s"])
            let segment = try await server.send(.get, "/cam/main/\(names[1])")
            #expect(segment.status == .ok && segment.body.readableBytes == 200)
            #expect(segment.headers[.contentType] == "video/iso.segment")
            #expect(segment.headers[.cacheControl] == "public, max-age=3600, immutable")
            let part = try await server.send(.get, "/cam/main/1.1-t3.m4s")
            #expect(part.body.readableBytes == 100 && part.body.getInteger(at: 0, as: UInt8.self) == 11)
            let map = try await server.send(.get, "/cam/main/init-1-t2.mp4")
            #expect(map.headers[.contentType] == "video/mp4" && map.body.readableBytes == 50)
            // The viewer was asked about once, and is counted once.
            #expect(backend.state.withLock { $0.viewers.count } == 1)
            #expect(backend.running(named: "cam")?.status.viewers == 1)
        }
    }

    @Test func backendLearnsTokenKeyAndParametersAndItsRefusalIs401() async throws {
        try await withHLS(needsSession: true) { server, backend in
            backend.state.withLock { $0.decision = .refuse(code: 403, reason: "not paid") }
            let refused = try await server.send(.get, "/cam/cam.m3u8?token=abc&appKey=other&user=x%20y&_HLS_msn=1")
            #expect(refused.status == .unauthorized && refused.text.contains("not paid"))
            let viewer = try #require(backend.state.withLock { $0.viewers.first })
            #expect(
                viewer.method == .playHLS && viewer.token == "abc" && viewer.appKey == "other" && viewer.name == "cam")
            #expect(viewer.custom == JSONText(#"{"appKey":"other","token":"abc","user":"x y"}"#))
            #expect(viewer.mediaSessionId.hasSuffix("-cam-HLS"))
            let direct = try await server.send(.get, "/cam/main/live.m3u8")
            #expect(direct.status == .unauthorized)
        }
    }

    @Test func sessionEndsWithTheRightThatOpenedIt() async throws {
        try await withHLS(needsSession: true) { server, backend in
            backend.state.withLock { $0.endsIn = .seconds(90) }
            let main = try await server.send(.get, "/cam/cam.m3u8?token=good")
            #expect(main.headers[.setCookie]?.contains("Max-Age=90;") == true)
            // Playlists of viewers who were let in are not for shared caches.
            let uri = try #require(lines(main).last)
            let media = try await server.send(.get, "/cam/\(uri)")
            #expect(media.headers[.cacheControl]?.hasPrefix("private,") == true)
            backend.state.withLock { $0.endsIn = .zero }
            let late = try await server.send(.get, "/cam/cam.m3u8?token=old")
            let over = try #require(lines(late).last)
            backend.state.withLock { $0.decision = .refuse(code: 401, reason: "Token has expired") }
            #expect(try await server.send(.get, "/cam/\(over)").status == .unauthorized)
        }
    }

    @Test func sessionOpensPlaylistsOfItsStreamOnlyByURLOrCookie() async throws {
        try await withHLS(needsSession: true) { server, backend in
            backend.add("two")
            let main = try await server.send(.get, "/cam/cam.m3u8?token=good")
            let uri = try #require(lines(main).last)
            let cookie = try #require(main.headers[.setCookie])
            #expect(cookie.contains("Path=/cam/;") && cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"))
            backend.state.withLock { $0.decision = .refuse(code: 403, reason: "no") }
            #expect(try await server.send(.get, "/cam/\(uri)").status == .ok)
            let pair = String(cookie.prefix { $0 != ";" })
            #expect(try await server.send(.get, "/cam/main/live.m3u8", [.cookie: "a=b; \(pair)"]).status == .ok)
            #expect(try await server.send(.get, "/two/\(uri)").status == .unauthorized)
            let session = uri.split(separator: "=").last.map(String.init) ?? ""
            for index in [0, 5, 20, 33] {
                var text = Array(session)
                text[index] = text[index] == "A" ? "B" : "A"
                #expect(try await server.send(.get, "/cam/main/live.m3u8?s=\(String(text))").status == .unauthorized)
            }
            #expect(try await server.send(.get, "/cam/main/live.m3u8?s=").status == .unauthorized)
        }
    }

    /// The server would connect to where the URL says: nobody's playlist begins that unasked.
    @Test func aURLIsAskedAboutInAnyCase() async throws {
        try await withHLS { server, backend in
            let name = "rtsp://ann:pw@camera.example.com/live?x=1"
            backend.add(name)
            let path = "/\(HLSPath.encode(name))"
            let main = try await server.send(.get, "\(path)/\(HLSPath.encode(name)).m3u8")
            #expect(main.status == .ok && main.headers[.setCookie]?.contains("Path=\(path)/;") == true)
            #expect(backend.state.withLock { $0.viewers.map(\.name) } == [name])
            let uri = try #require(lines(main).last)
            let media = try await server.send(.get, "\(path)/\(uri)")
            #expect(media.status == .ok && media.headers[.cacheControl]?.hasPrefix("private,") == true)
            let segment = try #require(lines(media).last { !$0.hasPrefix("#") })
            #expect(try await server.send(.get, "\(path)/main/\(segment)").status == .ok)
            #expect(backend.state.withLock { $0.viewers.count } == 1)
            backend.state.withLock { $0.decision = .refuse(code: 403, reason: "no") }
            #expect(try await server.send(.get, "\(path)/main/live.m3u8").status == .unauthorized)
            #expect(try await server.send(.get, "/cam/main/live.m3u8").status == .ok)
        }
    }

    @Test func badAndFarDirectivesAre400() async throws {
        try await withHLS { server, _ in
            for query in [
                "_HLS_part=1", "_HLS_msn=x", "_HLS_msn=1&_HLS_msn=2", "_HLS_msn=99", "_HLS_msn=4&_HLS_part=9",
            ] {
                let response = try await server.send(.get, "/cam/main/live.m3u8?\(query)")
                #expect(response.status == .badRequest, "\(query)")
            }
        }
    }

    @Test func blockingReloadIsAnsweredWhenTheSegmentComesAndMayBeCachedForLong() async throws {
        try await withHLS { server, backend in
            let stream = try #require(backend.running(named: "cam"))
            async let waiting = server.send(.get, "/cam/main/live.m3u8?_HLS_msn=4")
            try await eventually { stream.status.waiting == 1 }
            backend.grow(stream, 4)
            let response = try await waiting
            #expect(response.status == .ok && response.headers[.cacheControl] == "public, max-age=12")
            #expect(lines(response).contains { $0.hasPrefix("4-") })
        }
    }

    @Test func hintedPartIsAnsweredWhenItComes() async throws {
        try await withHLS { server, backend in
            let stream = try #require(backend.running(named: "cam"))
            let list = try await server.send(.get, "/cam/main/live.m3u8")
            let hint = try #require(
                lines(list).first { $0.hasPrefix("#EXT-X-PRELOAD-HINT") }?.split(separator: "\"").last)
            async let waiting = server.send(.get, "/cam/main/\(hint)")
            try await eventually { stream.status.waiting == 1 }
            backend.grow(stream, 4)
            #expect(try await waiting.body.readableBytes == 100)
        }
    }

    @Test func whatIsNotThereIs404() async throws {
        try await withHLS { server, _ in
            for path in [
                "/none/none.m3u8", "/cam/other.m3u8", "/cam/main/0-guess.m4s", "/cam/main/9-t1.m4s",
                "/cam/other/live.m3u8", "/cam/%2e%2e/live.m3u8", "/cam/main/..%2f..%2fetc%2fpasswd",
            ] {
                let response = try await server.send(.get, path)
                #expect(response.status == .notFound, "\(path)")
            }
        }
    }

    @Test func rangesAreServedFromOneOrSeveralParts() async throws {
        try await withHLS { server, _ in
            let whole = try await server.send(.get, "/cam/main/2-t4.m4s")
            let bytes = Array(whole.body.readableBytesView)
            for (field, range) in [
                ("bytes=0-0", 0..<1), ("bytes=10-19", 10..<20), ("bytes=95-104", 95..<105), ("bytes=150-", 150..<200),
                ("bytes=-5", 195..<200), ("bytes=100-5000", 100..<200), ("bytes=-5000", 0..<200),
            ] {
                let response = try await server.send(.get, "/cam/main/2-t4.m4s", [.range: field])
                #expect(response.status == .partialContent, "\(field)")
                #expect(Array(response.body.readableBytesView) == Array(bytes[range]), "\(field)")
                #expect(response.headers[.contentRange] == "bytes \(range.lowerBound)-\(range.upperBound - 1)/200")
            }
            for field in ["bytes=200-", "bytes=-0", "bytes=5000-6000"] {
                let response = try await server.send(.get, "/cam/main/2-t4.m4s", [.range: field])
                #expect(response.status == .rangeNotSatisfiable && response.headers[.contentRange] == "bytes */200")
            }
            for field in ["bytes=5-2", "bytes=a-b", "bytes=0-1,3-4", "bytes=99999999999999999999-", "lines=1-2"] {
                #expect(try await server.send(.get, "/cam/main/2-t4.m4s", [.range: field]).status == .ok, "\(field)")
            }
            let stale = try await server.send(
                .get, "/cam/main/2-t4.m4s", [.range: "bytes=0-0", .ifRange: "\"other\""])
            #expect(stale.status == .ok && stale.body.readableBytes == 200)
        }
    }

    @Test func knownMediaIsNotSentAgain() async throws {
        try await withHLS { server, _ in
            let tag = try #require(try await server.send(.get, "/cam/main/2-t4.m4s").headers[.eTag])
            let again = try await server.send(.get, "/cam/main/2-t4.m4s", [.ifNoneMatch: tag])
            #expect(again.status == .notModified && again.body.readableBytes == 0)
        }
    }

    @Test func headIsGetWithoutItsBody() async throws {
        try await withHLS { server, _ in
            for path in ["/cam/cam.m3u8", "/cam/main/live.m3u8", "/cam/main/2-t4.m4s"] {
                let head = try await server.send(.head, path)
                #expect(head.status == .ok && head.body.readableBytes == 0)
                #expect((head.headers[.contentLength].flatMap(Int.init) ?? 0) > 0)
            }
        }
    }

    @Test func playlistsAreCompressedForWhoTakesIt() async throws {
        try await withHLS { server, _ in
            for (accept, isTaken) in [
                ("gzip", true), ("br, gzip;q=0.5", true), ("*", true), ("gzip;q=0", false), ("gzip;q=0, *", false),
                ("br", false), ("", false),
            ] {
                let response = try await server.send(.get, "/cam/main/live.m3u8", [.acceptEncoding: accept])
                #expect((response.headers[.contentEncoding] == "gzip") == isTaken, "\(accept)")
                #expect(response.headers[.vary] == "Accept-Encoding")
                // Magic of RFC 1952, or of a playlist.
                let head = Array(response.body.readableBytesView.prefix(2))
                #expect(head == (isTaken ? [0x1f, 0x8b] : Array("#E".utf8)))
            }
        }
    }

    @Test func pagesOfOtherOriginsMayPlayIfAllowed() async throws {
        try await withHLS { server, _ in
            let list = try await server.send(.get, "/cam/main/live.m3u8", [.origin: "https://a.example"])
            #expect(list.headers[.accessControlAllowOrigin] == "*")
            let missing = try await server.send(.get, "/cam/main/9-t.m4s", [.origin: "https://a.example"])
            #expect(missing.headers[.accessControlAllowOrigin] == "*")
        }
        try await withHLS(origins: ["https://a.example"]) { server, _ in
            let preflight = try await server.send(
                .options, "/cam/main/live.m3u8",
                [.origin: "https://a.example", .accessControlRequestMethod: "GET"])
            #expect(preflight.status == .noContent)
            #expect(preflight.headers[.accessControlAllowOrigin] == "https://a.example")
            #expect(preflight.headers[.accessControlAllowHeaders]?.contains("Range") == true)
            let other = try await server.send(.get, "/cam/main/live.m3u8", [.origin: "https://b.example"])
            #expect(other.headers[.accessControlAllowOrigin] == nil && other.headers[.vary]?.contains("Origin") == true)
        }
    }

    @Test func otherRoutesOfThePortStayWhatTheyAre() async throws {
        try await withHLS { server, backend in
            backend.add("whip")
            let whip = try await server.send(.get, "/whip/whip.m3u8")
            let health = try await server.send(.get, "/health")
            let post = try await server.send(.post, "/cam/cam.m3u8")
            #expect(whip.status == .noContent && health.status == .ok && post.status == .methodNotAllowed)
        }
    }

    @Test func reasonWhyAStreamCannotBeHLSIsTold() async throws {
        try await withHLS { server, backend in
            backend.state.withLock { $0.refusal = "VP8 must be transcoded, and all transcoders are busy" }
            let response = try await server.send(.get, "/cam/cam.m3u8")
            #expect(response.status == .serviceUnavailable && response.text.contains("all transcoders are busy"))
            #expect(response.headers[.retryAfter] != nil)
        }
    }
}

extension Fixture {
    fileprivate func send(_ method: HTTPRequest.Method, _ uri: String, _ headers: HTTPFields) async throws
        -> TestResponse
    {
        try await send(method, uri, nil, type: nil, headers)
    }
}
