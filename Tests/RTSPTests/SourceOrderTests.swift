import MediaFormats
import RTSP
import Testing
import Wire

/// What the server and a process that reads a source say to each other.
struct SourceOrderTests {
    private func message(_ bytes: [UInt8]) throws -> RTSPMessage? {
        var parser = RTSPParser(limits: SourceOrder.limits)
        parser.append(bytes)
        return try parser.next { _, _ in }
    }

    @Test func anOrderComesAsItWasGiven() throws {
        var order = SourceOrder(url: "http://a:b@h/x?y=1")
        order.hosts = (0..<1_000).map { "host-\($0).\(String(repeating: "x", count: 200)).example.com" }
        order.networks = ["10.0.0.0/8", "fd00::/8"]
        order.folder = "/srv/a b"
        order.verifiesTLS = false
        (order.openingLimit, order.mediaLimit) = (.milliseconds(1_500), .seconds(7))
        let read = try message(order.bytes).flatMap { SourceOrder($0) }
        #expect(read == order)
        #expect(throws: Never.self) { try order.hostGuard.check(SocketAddress(ipv4: 0x0a00_0001, port: 80)) }
        #expect(throws: HostGuard.Refusal.address) {
            try order.hostGuard.check(SocketAddress(ipv4: 0x7f00_0001, port: 80))
        }
    }

    @Test func whatIsNoOrderIsNotTaken() throws {
        for text in [
            "RTSP/1.0 200 OK\r\n\r\n", "PLAY http://h/ RTSP/1.0\r\n\r\n",
            "DESCRIBE http://h/ RTSP/1.0\r\nContent-Length: 9\r\n\r\nwhatever ",
            "DESCRIBE http://h/ RTSP/1.0\r\nContent-Length: 10\r\n\r\nopening -1",
        ] {
            let read = try message(Array(text.utf8))
            #expect(read.flatMap { SourceOrder($0) } == nil, "\(text)")
        }
    }

    @Test(
        arguments: [
            .badURL, .refusedHost(.address), .refusedHost(.host), .refusedHost(.port), .connect("no route: x\r\ny"),
            .wrongPassword, .notFound, .badDescription, .noCommonCodecs(["mpeg4", "mp3"]), .silent, .finished,
            .connectionLost,
        ] as [RTSPPullFailure])
    func failuresComeAsTheyWereTold(failure: RTSPPullFailure) throws {
        guard case .response(let response) = try message(SourceReport.bytes(failure)) else {
            Issue.record("no response")
            return
        }
        let read = SourceReport.failure(response)
        if case .connect = failure {
            // Nothing in a text can end its line.
            #expect(read == .connect("no route: x  y"))
        } else {
            #expect(read == failure)
        }
    }

    @Test func tracksAreDescribed() throws {
        let sets: [[UInt8]] = [
            [0x67, 0x42, 0xc0, 0x1e, 0xda, 0x02, 0x80, 0xbf, 0xe5, 0xc0, 0x44], [0x68, 0xce, 0x0f, 0xc8],
        ]
        let tracks = [
            TrackDescription(codec: .h264, payloadType: 96, parameterSets: sets),
            TrackDescription(
                codec: .aac, clockRate: 44_100, channels: 2, payloadType: 97, parameterSets: [[0x12, 0x10]]),
        ]
        guard case .response(let response) = try message(SourceOrder.answer(tracks)) else {
            Issue.record("no response")
            return
        }
        let read = try RTSPDescription(parsing: response.body).tracks.map(\.description)
        #expect(read.map(\.codec) == [.h264, .aac] && read.map(\.payloadType) == [96, 97])
        #expect(read.map(\.parameterSets) == tracks.map(\.parameterSets) && read[1].clockRate == 44_100)
    }
}
