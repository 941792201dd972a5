import Glibc
import HLS
import HTTPServer
import NIOCore
import Testing

/// What connections answer by themselves is what the router would answer, in the order of the requests.
@Suite struct HLSConnectionTests {
    private func withHLS(
        origins: [String] = ["*"], idleTimeout: Duration = .seconds(60), segments: Int = 4, bytes: Int = 100,
        _ body: @escaping @Sendable (Fixture, FakeHLS, _ port: Int) async throws -> Void
    ) async throws {
        let backend = FakeHLS()
        backend.add("cam", segments: segments, bytes: bytes)
        let service = HLSService(backend: backend, corsOrigins: origins)
        try await withServer(HTTPConfiguration(idleTimeout: idleTimeout), hls: service) { server in
            try await body(server, backend, try #require(server.client.port))
        }
    }

    private func get(_ path: String, _ fields: String = "", method: String = "GET") -> String {
        "\(method) \(path) HTTP/1.1\r\nHost: localhost\r\n\(fields)\r\n"
    }

    /// A request with a body: from then on the router has the connection.
    private let post = "POST /cam/cam.m3u8 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nxx"

    private static let requests: [(method: String, path: String, fields: String)] = [
        ("GET", "/cam/main/live.m3u8", ""), ("HEAD", "/cam/main/live.m3u8", ""),
        ("GET", "/cam/main/live.m3u8", "Accept-Encoding: br, gzip\r\n"),
        ("GET", "/cam/main/live.m3u8?_HLS_msn=3&_HLS_part=1&_HLS_skip=YES", ""),
        ("GET", "/cam/main/live.m3u8?_HLS_part=1", ""), ("GET", "/cam/main/live.m3u8?_HLS_msn=99", ""),
        ("GET", "/cam/other/live.m3u8", "Origin: https://a.example\r\n"),
        ("GET", "/cam/main/2-t4.m4s", "Origin: https://a.example\r\n"),
        ("GET", "/cam/main/2-t4.m4s", "Origin: https://b.example\r\n"), ("HEAD", "/cam/main/2-t4.m4s", ""),
        ("GET", "/cam/main/2.1-t4.m4s", "X-Other: 1\r\nCookie: a=b; weir_hls=no\r\n"),
        ("GET", "/cam/main/init-1-t2.mp4", ""), ("GET", "/cam/main/2-t4.m4s", "Range: bytes=95-104\r\n"),
        ("HEAD", "/cam/main/2-t4.m4s", "range:bytes=-7 \r\n"),
        ("GET", "/cam/main/2-t4.m4s", "Range: bytes=5-6\r\nIf-Range: \"other\"\r\n"),
        ("GET", "/cam/main/2-t4.m4s", "Range: bytes=99999999-\r\n"),
        ("GET", "/cam/main/2-t4.m4s", "If-None-Match: \"x\", W/\"2-t4.m4s\"\r\n"),
        ("GET", "/cam/main/9-t1.m4s", ""), ("HEAD", "/cam/main/9-t1.m4s", ""), ("GET", "/none/main/live.m3u8", ""),
        ("OPTIONS", "/cam/main/live.m3u8", "Origin: https://a.example\r\n"),
    ]

    @Test(arguments: [["*"], ["https://a.example"]], [100, 40_000])
    func answersAreThoseOfTheRouter(_ origins: [String], _ bytes: Int) async throws {
        try await withHLS(origins: origins, bytes: bytes) { _, _, port in
            try await RawConnection.open(port) { connection in
                try await RawConnection.open(port) { routed in
                    try await routed.send(post)
                    #expect(try await routed.answer().status == 405)
                    for (method, path, fields) in Self.requests {
                        try await routed.send(get(path, fields, method: method))
                        let expected = try await routed.answer(isHead: method == "HEAD")
                        // Once more each: from a buffer, into a memory file, and out of it.
                        for _ in 0..<3 {
                            try await connection.send(get(path, fields, method: method))
                            let answer = try await connection.answer(isHead: method == "HEAD")
                            #expect(answer.body == expected.body, "\(method) \(path) \(fields)")
                            #expect(answer.status == expected.status, "\(method) \(path) \(fields)")
                            // The router says of nothing that it is of length 0.
                            let ours = answer.fields.filter { !($0.key == "content-length" && $0.value == "0") }
                            let theirs = expected.fields.filter { !($0.key == "content-length" && $0.value == "0") }
                            #expect(ours == theirs, "\(method) \(path) \(fields)")
                        }
                    }
                }
            }
        }
    }

    @Test func answersKeepTheOrderOfRequestsWhoeverGivesThem() async throws {
        try await withHLS { _, backend, port in
            let stream = try #require(backend.running(named: "cam"))
            try await RawConnection.open(port) { connection in
                try await connection.send(
                    get("/cam/main/1.0-t3.m4s") + get("/health") + get("/cam/main/live.m3u8?_HLS_msn=4")
                        + get("/cam/cam.m3u8") + get("/cam/main/2.1-t4.m4s", method: "HEAD")
                        + get("/cam/main/0.1-t1.m4s"))
                #expect(try await connection.answer().body.first == 10)
                #expect(try await connection.answer().fields["content-type"]?.contains("json") == true)
                try await eventually { stream.status.waiting == 1 }
                backend.grow(stream, 4)
                #expect(String(decoding: try await connection.answer().body, as: UTF8.self).contains("\n4-"))
                #expect(String(decoding: try await connection.answer().body, as: UTF8.self).contains("STREAM-INF"))
                #expect(try await connection.answer(isHead: true).fields["content-length"] == "100")
                #expect(try await connection.answer().body.first == 1)
                // Everything that came is used: the next one is another's.
                try await connection.send(get("/cam/main/3.1-t5.m4s"))
                #expect(try await connection.answer().body.first == 31)
            }
        }
    }

    @Test func requestsInKnownWordsEndWhereTheyEnded() async throws {
        try await withHLS { _, _, port in
            try await RawConnection.open(port) { connection in
                let known = get("/cam/main/2-t4.m4s")
                // More than are remembered.
                let others = (0..<20).map { get("/cam/main/2-t4.m4s", "X-Other: \($0)\r\n") }
                for text in [known] + others + others + [known, known] {
                    try await connection.send(text)
                    #expect(try await connection.answer().status == 200)
                }
                // A line end is one character.
                try await connection.send(String(known.dropLast()))
                try await connection.send("Range: bytes=0-1\r\n\r\n")
                #expect(try await connection.answer().status == 206)
                try await connection.send(known + get("/cam/main/9-t1.m4s") + known + known.prefix(9))
                for status in [200, 404, 200] { #expect(try await connection.answer().status == status) }
                try await connection.send(String(known.dropFirst(9)))
                #expect(try await connection.answer().status == 200)
            }
        }
    }

    @Test func aHeadMayComeInPieces() async throws {
        try await withHLS { _, _, port in
            try await RawConnection.open(port) { connection in
                for piece in [
                    "G", "ET /cam/main/1.0", "-t3.m4s HTTP/1.1\r", "\nHost: x\r\n\r", "\nGET /cam/main/2.0-t4.m4s",
                ] {
                    try await connection.send(piece)
                }
                #expect(try await connection.answer().body.first == 10)
                try await connection.send(" HTTP/1.1\r\n\r\n")
                #expect(try await connection.answer().body.first == 20)
            }
        }
    }

    @Test(arguments: [
        "GET /cam/main/1.0-t3.m4s HTTP/1.1\r\nHost: x\r\nBad Name: 1\r\n\r\n",
        "GET /cam/main/1.0-t3.m4s HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nxxxxx",
        "GET /cam/main/1.0-t3.m4s HTTP/9.9\r\nHost: x\r\n\r\n", "GET /cam main/1.0-t3.m4s HTTP/1.1\r\nHost: x\r\n\r\n",
        "\u{1}\u{2}\u{3}\r\n\r\n",
    ])
    func whatIsNoHTTPIsRefusedAsByTheRouter(_ text: String) async throws {
        try await withHLS { _, _, port in
            try await RawConnection.open(port) { connection in
                try await connection.send(text)
                #expect(try await connection.answer().status == 400)
                #expect(await connection.isClosed())
            }
        }
    }

    @Test func whoAsksForTheEndOfTheConnectionGetsIt() async throws {
        try await withHLS { _, _, port in
            try await RawConnection.open(port) { connection in
                try await connection.send(get("/cam/main/1.0-t3.m4s", "Connection: close\r\n"))
                #expect(try await connection.answer().body.first == 10)
                #expect(await connection.isClosed())
            }
        }
    }

    @Test func whoHangsUpWhileItWaitsIsForgotten() async throws {
        try await withHLS { _, backend, port in
            let stream = try #require(backend.running(named: "cam"))
            try await RawConnection.open(port) { connection in
                try await connection.send(get("/cam/main/live.m3u8?_HLS_msn=4"))
                try await eventually { stream.status.waiting == 1 }
                // RST, as when a viewer's machine is gone.
                let socket = try #require(connection.channel as? any SocketOptionProvider)
                try await socket.setSoLinger(linger(l_onoff: 1, l_linger: 0)).get()
                try await connection.channel.close()
            }
            try await eventually { stream.status.waiting == 0 }
        }
    }

    @Test func idleConnectionsAreClosedAndWaitingOnesAreNot() async throws {
        try await withHLS(idleTimeout: .milliseconds(300)) { _, backend, port in
            let stream = try #require(backend.running(named: "cam"))
            try await RawConnection.open(port) { waiting in
                try await waiting.send(get("/cam/main/live.m3u8?_HLS_msn=4"))
                try await eventually { stream.status.waiting == 1 }
                // This one is idle for longer than that one waits.
                try await RawConnection.open(port) { idle in
                    try await idle.send(get("/cam/main/1.0-t3.m4s") + "GET /cam/ma")
                    #expect(try await idle.answer().status == 200)
                    #expect(await idle.isClosed())
                }
                backend.grow(stream, 4)
                #expect(try await waiting.answer().status == 200)
            }
        }
    }

    @Test func whoDoesNotReadIsNotAnsweredForEver() async throws {
        let (count, bytes) = (60, 1 << 20)
        try await withHLS(segments: 2, bytes: bytes) { server, _, port in
            try await RawConnection.open(port) { connection in
                for _ in 0..<count { try await connection.send(get("/cam/main/1.0-t3.m4s")) }
                let counter = server.metrics.counter("weir_hls_requests_total", help: "", labels: [("kind", "media")])
                try await eventually { counter.value > 0 }
                // Two answers, and what the kernel's buffers and those of this end take.
                #expect(counter.value < UInt64(count / 2))
                for _ in 0..<count { #expect(try await connection.answer().body.count == bytes) }
                #expect(counter.value == UInt64(count))
            }
        }
    }
}
