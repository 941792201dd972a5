import HLS
import Testing

@Suite struct RequestHeadTests {
    private func parse(_ text: String) -> RequestHead.Parsed { RequestHead.parse(Array(text.utf8)) }

    @Test func headIsReadAsFarAsHLSNeedsIt() throws {
        let text = """
            GET /cam/main/live.m3u8?s=abc&_HLS_msn=4 HTTP/1.1\r\nHost: x\r\nRANGE: \t bytes=0-9 \r\nif-range:"t"\r\n\
            If-None-Match: "a", "b"\r\nOrigin: https://a.example\r\nAccept-Encoding: br\r\naccept-encoding: gzip\r\n\
            Cookie: a=b\r\nCookie: c=d\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\nX-Empty:\r\n\r\n
            """
        guard case .head(let head) = parse(text + "GET /next") else {
            Issue.record("no head")
            return
        }
        #expect(head.isGet && !head.isHead && head.count == text.utf8.count)
        #expect(head.path == Array("/cam/main/live.m3u8".utf8) && head.query == "s=abc&_HLS_msn=4")
        #expect(head.fields.range == "bytes=0-9" && head.fields.ifRange == "\"t\"")
        #expect(head.fields.ifNoneMatch == "\"a\", \"b\"" && head.fields.origin == "https://a.example")
        #expect(head.fields.acceptEncoding == ["br", "gzip"] && head.fields.cookies == ["a=b", "c=d"])
        for count in 0..<text.utf8.count {
            #expect(RequestHead.parse(Array(text.utf8.prefix(count))) == .incomplete, "\(count)")
        }
    }

    @Test(arguments: [
        "POST / HTTP/1.1\r\n\r\n", "GET / HTTP/1.0\r\n\r\n", "GET / HTTP/2.0\r\n\r\n", "GET http://x/ HTTP/1.1\r\n\r\n",
        "GET  / HTTP/1.1\r\n\r\n", "GET /a b HTTP/1.1\r\n\r\n", "GET /#x HTTP/1.1\r\n\r\n", "GET /\r\n\r\n", "\r\n\r\n",
        "\n",
        "GET / HTTP/1.1\n\n", "GET / HTTP/1.1\r\nHost: x\n\r\n", "GET / HTTP/1.1\r\nContent-Length: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 00\r\n\r\n", "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length : 0\r\n\r\n", "GET / HTTP/1.1\r\n: x\r\n\r\n", "GET / HTTP/1.1\r\nx\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", "GET / HTTP/1.1\r\nA: b\u{0}\r\n\r\n",
        "GET / HTTP/1.1\r\nA: b\rc\r\n\r\n",
        "GET / HTTP/1.1\r\nConnection: close\r\n\r\n", "GET / HTTP/1.1\r\nUpgrade: h2c\r\n\r\n",
        "GET / HTTP/1.1\r\nExpect: 100-continue\r\n\r\n", "GET / HTTP/1.1\r\nRange: a\r\nRange: b\r\n\r\n",
        "GET /\u{1} HTTP/1.1\r\n\r\n",
    ])
    func whatIsUnusualIsLeftToOthers(_ text: String) { #expect(parse(text) == .other) }

    @Test func headsHaveBounds() {
        let line = "GET / HTTP/1.1\r\n"
        let many = String(repeating: "A: b\r\n", count: RequestHead.maxFields)
        guard case .head = parse(line + many + "\r\n") else {
            Issue.record("as many as may be")
            return
        }
        #expect(parse(line + many + "A: b\r\n\r\n") == .other)
        #expect(parse(line + "A: " + String(repeating: "b", count: RequestHead.maxBytes)) == .other)
    }
}
