import RTSP
import TestSupport
import Testing

@Suite struct HTTPTunnelHeadTests {
    private static let get = "GET /cam HTTP/1.0\r\nUser-Agent: x\r\nx-sessioncookie: tD9hKgAAfB8ABCftAAAAAw\r\n"

    @Test func bothWaysAreTold() {
        let down = bytes(Self.get + "\r\n")
        #expect(
            HTTPTunnelHead.parse(down + [1, 2])
                == .head(HTTPTunnelHead(way: .down, cookie: "tD9hKgAAfB8ABCftAAAAAw"), length: down.count))
        let up = bytes("POST /cam HTTP/1.1\nX-SessionCookie:  a b\nx-sessioncookie: c\n\n")
        #expect(HTTPTunnelHead.parse(up) == .other)
        let other = bytes("POST /cam HTTP/1.1\nX-SessionCookie:  ab \nContent-Length: 32767\n\nT1BU")
        #expect(
            HTTPTunnelHead.parse(other)
                == .head(HTTPTunnelHead(way: .up, cookie: "ab"), length: other.count - 4))
    }

    @Test func eachByteIsWaitedForAndNoMore() {
        let whole = bytes(Self.get + "\r\n")
        for count in 0..<whole.count {
            #expect(HTTPTunnelHead.parse(Array(whole.prefix(count))) == .incomplete)
        }
    }

    @Test(arguments: [
        "OPTIONS * RTSP/1.0\r\n", "GET_PARAMETER rtsp://h/a RTSP/1.0\r\n", "$", "GETX", "get / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET /a RTSP/1.0\r\nx-sessioncookie: a\r\n\r\n", "POST\r\n\r\n",
        "GET / HTTP/1.0\r\nx-sessioncookie: \r\n\r\n", "GET / HTTP/1.0\r\nx-sessioncookie\r\n\r\n",
        "GET / HTTP/1.0\r\nx-sessioncookie: " + String(repeating: "a", count: 129) + "\r\n\r\n",
        "GET / HTTP/1.0\r\na: " + String(repeating: "a", count: HTTPTunnelHead.maxBytes),
    ])
    func whatIsNoTunnelIsLeftAlone(_ text: String) {
        #expect(HTTPTunnelHead.parse(bytes(text)) == .other)
    }
}

@Suite struct Base64StreamTests {
    // RFC 4648 §10
    @Test(arguments: [
        ("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYg==", "foob"), ("Zm9vYmFy", "foobar"),
    ])
    func vectors(_ encoded: String, _ plain: String) {
        var stream = Base64Stream()
        #expect(stream.decode(encoded.utf8) == bytes(plain))
    }

    @Test func paddingMayStandBetweenPieces() {
        var stream = Base64Stream()
        var out: [UInt8] = []
        for byte in "Zg==Zm8=\r\nZm9vZ g==".utf8 { out += stream.decode(CollectionOfOne(byte)) ?? [0] }
        #expect(out == bytes("ffofoof"))
    }

    @Test(arguments: ["Z=", "=", "Zm9v=", "Zg=v", "Zm9v\0", "Zm9v$"])
    func whatIsNoBase64(_ text: String) {
        var stream = Base64Stream()
        #expect(stream.decode(text.utf8) == nil)
    }
}
