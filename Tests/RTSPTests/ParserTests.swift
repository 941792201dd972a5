import RTSP
import Testing
import Wire

@Suite struct ParserTests {
    /// RFC 2326 §14.1 and §14.3 (the lines as they are there), a body, and packets between the messages.
    private static let conversation: [UInt8] = {
        var out: [UInt8] = []
        out += bytes(
            crlf(
                """
                DESCRIBE rtsp://foo/twister RTSP/1.0
                CSeq: 1


                """))
        out += bytes(
            crlf(
                """
                RTSP/1.0 200 OK
                CSeq: 1
                Content-Type: application/sdp
                Content-Length: 13

                v=0
                s=sample
                """))
        InterleavedFrame.append([1, 2, 3], channel: 0, into: &out)
        InterleavedFrame.append([], channel: 1, into: &out)
        out += bytes(
            crlf(
                """
                PLAY rtsp://audio.example.com/meeting.en RTSP/1.0
                CSeq: 835
                Range: clock=19961108T142300Z-19961108T143520Z


                """))
        InterleavedFrame.append([UInt8](repeating: 0x24, count: 70), channel: 255, into: &out)
        InterleavedFrame.append([UInt8](repeating: 0x0d, count: 0xffff), channel: 3, into: &out)
        out += bytes("\r\n\r\nTEARDOWN * RTSP/1.0\r\nCSeq: 892\r\nSession: 12345678\r\n\r\n")
        return out
    }()

    @Test func messagesAndPacketsComeInOrder() throws {
        let items = try parse(Self.conversation)
        try #require(items.count == 8)
        guard case .message(.request(let first)) = items[0], case .message(.response(let second)) = items[1],
            case .message(.request(let third)) = items[4], case .message(.request(let last)) = items[7]
        else { throw TestFailure("\(items.count) other items") }
        #expect(first.method == .describe && first.uri == "rtsp://foo/twister" && first.cSeq == 1)
        #expect(second.status == .ok && second.body == bytes("v=0\r\ns=sample"))
        #expect(items[2] == .packet(0, [1, 2, 3]))
        #expect(items[3] == .packet(1, []))
        #expect(third.headers["range"] == "clock=19961108T142300Z-19961108T143520Z")
        #expect(items[5] == .packet(255, [UInt8](repeating: 0x24, count: 70)))
        #expect(items[6] == .packet(3, [UInt8](repeating: 0x0d, count: 0xffff)))
        #expect(last.uri == "*" && last.headers["SESSION"] == "12345678")
    }

    @Test(arguments: 0..<200) func chunksOfAnySizeGiveTheSame(_ seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        let most = [1, 3, 20, 300, 5000][Int(seed % 5)]
        // A third of the conversation only where each byte is a chunk: the long packet adds nothing there.
        let input = most < 20 ? Array(Self.conversation.prefix(400)) : Self.conversation
        let sizes = (0..<4000).map { _ in Int.random(in: 1...most, using: &random) }
        #expect(try parse(input, chunks: sizes) == parse(input))
    }

    @Test func whatIsHeldIsOneUnfinishedMessage() throws {
        var parser = RTSPParser()
        for _ in 0..<1000 {
            parser.append(Self.conversation)
            while try parser.next({ _, _ in }) != nil {}
            #expect(parser.heldBytes == 0)
        }
    }

    @Test func writtenAndReadItIsTheSame() throws {
        let announce = RTSPRequest(
            .announce, "rtsp://h/n",
            headers: ["CSeq": "5", "X-Empty": "", "Content-Type": "application/sdp"], body: bytes("v=0\r\n"))
        var expected = announce
        expected.headers.add("Content-Length", "5")
        #expect(try parse(announce.bytes) == [.message(.request(expected))])
        let answer = RTSPResponse(.sessionNotFound, version: .v2, headers: ["CSeq": "7"])
        #expect(try parse(answer.bytes) == [.message(.response(answer))])
    }

    @Test func linesMayEndInLFAndBeContinued() throws {
        let text = "SETUP rtsp://h/a RTSP/1.0\nCSeq : 3\nTransport: RTP/AVP;unicast;\r\n\tclient_port=1-2\n\n"
        guard case .message(.request(let request))? = try parse(bytes(text)).first else {
            throw TestFailure("no request")
        }
        #expect(request.cSeq == 3)
        #expect(request.headers["Transport"] == "RTP/AVP;unicast; client_port=1-2")
    }

    @Test func valuesOfOursCannotBeginAnotherHeader() throws {
        let answer = RTSPResponse(
            RTSPStatus(403, "No\r\nX: 1"),
            headers: ["CSeq": "1", "Server": "a\r\nSession: stolen\r\n\r\nRTSP/1.0 200 OK"])
        let items = try parse(answer.bytes)
        #expect(items.count == 1)
        guard case .message(.response(let read))? = items.first else { throw TestFailure("no response") }
        #expect(read.headers["Session"] == nil && read.headers["X"] == nil)
    }

    @Test func unknownMethodsAndVersionsAreRead() throws {
        let read = try request("FLY rtsp://h/a RTSP/3.0\nCSeq: 1\n\n")
        #expect(read.method == nil && read.methodName == "FLY" && read.version == nil)
        #expect(try request("describe rtsp://h/a RTSP/1.0\n\n").method == nil)
    }

    @Test(arguments: [
        ("GET / HTTP/1.1\r\n\r\n", RTSPParseError.http),
        ("HTTP/1.1 200 OK\r\n\r\n", .http),
        ("\u{16}\u{3}\u{1}", .malformed("a message begins with a letter")),
        ("OPTIONS *\r\n\r\n", .malformed("a request line has three fields")),
        ("OPTIONS * * RTSP/1.0\r\n\r\n", .malformed("a request line has three fields")),
        ("OPTIONS * RTSV/1.0\r\n\r\n", .malformed("version")),
        ("OPT(ONS * RTSP/1.0\r\n\r\n", .malformed("name of the method")),
        ("OPTIONS * RTSP/1.0\r\nCSeq 1\r\n\r\n", .malformed("a field without a colon")),
        ("OPTIONS * RTSP/1.0\r\n: 1\r\n\r\n", .malformed("name of a field")),
        ("OPTIONS * RTSP/1.0\r\nC Seq: 1\r\n\r\n", .malformed("name of a field")),
        ("OPTIONS * RTSP/1.0\r\n continued\r\n\r\n", .malformed("a continued line without a field")),
        ("OPTIONS * RTSP/1.0\r\nA: \u{0}\r\n\r\n", .malformed("control character")),
        ("OPTIONS rtsp://s\t/cam RTSP/1.0\r\n\r\n", .malformed("control character")),
        ("OPTIONS * RTSP/1.0\r\nA: b\rc\r\n\r\n", .malformed("control character")),
        ("RTSP/1.0 20 OK\r\n\r\n", .malformed("status code")),
        ("RTSP/1.0 2000 OK\r\n\r\n", .malformed("status code")),
        ("RTSP/1.0 099 OK\r\n\r\n", .malformed("status code")),
        ("A * RTSP/1.0\r\nContent-Length: -1\r\n\r\n", .malformed("Content-Length")),
        ("A * RTSP/1.0\r\nContent-Length: 1, 1\r\n\r\n", .malformed("Content-Length")),
        ("A * RTSP/1.0\r\nContent-Length: 1\r\ncontent-length: 2\r\n\r\n", .malformed("two lengths of one body")),
        ("A * RTSP/1.0\r\nContent-Length: 262145\r\n\r\n", .bodyTooLarge(limit: 256 << 10)),
        ("A * RTSP/1.0\r\nContent-Length: 99999999999999999999\r\n\r\n", .bodyTooLarge(limit: 256 << 10)),
    ])
    func whatBreaksTheGrammarIsRefused(_ text: String, _ error: RTSPParseError) {
        #expect(failure(of: bytes(text)) == error)
    }

    @Test func everyLengthHasABound() {
        let endless = bytes("OPTIONS * RTSP/1.0\r\nA: ") + [UInt8](repeating: 0x61, count: 1 << 20)
        #expect(failure(of: endless) == .lineTooLong(limit: 16 << 10))
        let lines = bytes("OPTIONS * RTSP/1.0\r\n") + (0..<9000).flatMap { _ in bytes("A: b\r\n") }
        #expect(failure(of: lines) == .headTooLong(limit: 32 << 10))
        let fields = bytes("OPTIONS * RTSP/1.0\r\n") + (0..<101).flatMap { _ in bytes("A: b\r\n") } + bytes("\r\n")
        #expect(failure(of: fields) == .tooManyFields(limit: 100))
        #expect(failure(of: bytes("OPTIONS * RTSP/1.0\r\n") + (0..<100).flatMap { _ in bytes("A: b\r\n") }) == nil)
    }

    @Test func afterAnErrorNothingIsRead() {
        var parser = RTSPParser()
        parser.append(bytes("\u{1}"))
        #expect(throws: RTSPParseError.malformed("a message begins with a letter")) { try parser.next { _, _ in } }
        parser.append(bytes("OPTIONS * RTSP/1.0\r\n\r\n"))
        #expect(throws: RTSPParseError.malformed("a message begins with a letter")) { try parser.next { _, _ in } }
        #expect(parser.heldBytes == 0)
    }

    /// A length that promises more than comes swallows what follows it: the packet is not given, nor anything behind.
    @Test func aPacketWithAWrongLengthIsWaitedFor() throws {
        #expect(try parse([0x24, 0, 0, 50] + bytes("OPTIONS * RTSP/1.0\r\n\r\n")).isEmpty)
        // Too short: the rest is no message.
        #expect(failure(of: [0x24, 0, 0, 2, 0x80, 0x60, 0x00, 0x01]) == .malformed("a message begins with a letter"))
    }

    @Test(arguments: 0..<300) func noiseNeverTraps(_ seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var input = Self.conversation.prefix(600).map { $0 }
        for _ in 0..<Int.random(in: 1...8, using: &random) {
            let at = Int.random(in: 0..<input.count, using: &random)
            input[at] = UInt8.random(in: 0...255, using: &random)
        }
        _ = try? parse(input, chunks: [Int.random(in: 1...700, using: &random)])
    }
}
