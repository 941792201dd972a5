import CLinuxNet
import Glibc
import MediaEngine
import RTP
import SDP
import Synchronization
import Testing
import Wire

/// Plain RTP publishers: their datagrams are handed on, by one thread at a time. And both kinds over real sockets.
@Suite struct PlainPublisherTests {
    private static let host: UInt32 = 0x0a02_0001
    private static let tracks = [
        PlainTrack(track: 0, rtpPort: 6000, rtcpPort: 6001), PlainTrack(track: 1, rtpPort: 6002, rtcpPort: 6003),
    ]

    private final class Receiver: PlainReceiver {
        struct Piece: Equatable {
            var track: Int
            var isRTCP: Bool
            var bytes: [UInt8]
        }
        struct State {
            var pieces: [Piece] = []
            var flushes = 0
            var isInside = false
            var overlaps = 0
        }
        let state = Mutex(State())

        private func enter(_ work: (inout State) -> Void) {
            let overlaps = state.withLock { state in
                defer { state.isInside = true }
                return state.isInside
            }
            state.withLock { state in
                work(&state)
                if overlaps { state.overlaps += 1 }
                state.isInside = false
            }
        }

        func receive(track: Int, isRTCP: Bool, _ packet: RawSpan) {
            let bytes = packet.copied()
            enter { $0.pieces.append(Piece(track: track, isRTCP: isRTCP, bytes: bytes)) }
        }
        func flush() { enter { $0.flushes += 1 } }
    }

    private func at(_ port: UInt16) -> SocketAddress { SocketAddress(ipv4: Self.host, port: port) }

    @Test func datagramsAreHandedOnByPort() throws {
        let world = try World(seed: 1, workers: 2)
        let receiver = Receiver()
        let publisher = try world.plain.addPublisher(
            client: at(1), local: World.server, tracks: Self.tracks, receiver: receiver)
        for (i, port) in [6000, 6001, 6002, 6003].enumerated() as EnumeratedSequence<[UInt16]> {
            world.injectPlain([0x80, UInt8(i)], from: at(port), isRTCP: i % 2 == 1, worker: i % 2)
        }
        #expect(
            receiver.state.withLock { $0.pieces } == [
                .init(track: 0, isRTCP: false, bytes: [0x80, 0]), .init(track: 0, isRTCP: true, bytes: [0x80, 1]),
                .init(track: 1, isRTCP: false, bytes: [0x80, 2]), .init(track: 1, isRTCP: true, bytes: [0x80, 3]),
            ])
        #expect(receiver.state.withLock { $0.flushes } == 4, "once per turn")
        world.injectPlain([1], from: at(6004), isRTCP: false)
        world.injectPlain([1], from: at(6000), isRTCP: true)
        world.injectPlain([1], from: SocketAddress(ipv4: Self.host + 1, port: 6000), isRTCP: false)
        #expect(world.counters.unknownClient.value == 3)
        publisher.end()
        publisher.end()
        world.injectPlain([1], from: at(6000), isRTCP: false)
        #expect(world.counters.unknownClient.value == 4 && receiver.state.withLock { $0.pieces.count } == 4)
        #expect(publisher.isEnded)
        // Others may have the ports now.
        _ = try world.plain.addPublisher(client: at(1), local: World.server, tracks: Self.tracks, receiver: receiver)
        world.injectPlain([1], from: at(6000), isRTCP: false)
        #expect(receiver.state.withLock { $0.pieces.count } == 5)
    }

    @Test func whatEndedIsForgottenInTheEnd() throws {
        let world = try World(seed: 2)
        for i in 0..<3000 as Range<UInt32> {
            let client = SocketAddress(ipv4: Self.host + i, port: 0)
            let publisher = try world.plain.addPublisher(
                client: client, local: World.server, tracks: Self.tracks, receiver: Receiver())
            world.injectPlain([1], from: SocketAddress(ipv4: Self.host + i, port: 6000), isRTCP: false)
            publisher.end()
        }
        #expect(world.counters.unknownClient.value == 0)
        #expect(world.workers[0].knownPlainSources <= 1024)
    }

    @Test func reportsGoToThePublishersPortOfTheTrack() throws {
        let world = try World(seed: 3)
        // Takes what is sent to the publisher's ports.
        let ears = try PlainCore(id: 1, host: Self.host, port: 6000)
        for track in ears.tracks {
            for port in [track.rtpPort, track.rtcpPort] { world.plainClients[ears.at(port)] = ears }
        }
        let publisher = try world.plain.addPublisher(
            client: at(0), local: World.server, tracks: Self.tracks, receiver: Receiver())
        var bytes: [UInt8] = []
        RTCPWriter.bye(ssrcs: [5], into: &bytes)
        publisher.send(rtcp: bytes, track: 1)
        publisher.send(rtcp: bytes, track: 9)
        try world.run(for: .milliseconds(2))
        #expect(ears.goodbyes == [5] && ears.datagrams == 1 && ears.violations == [])
        publisher.end()
        publisher.send(rtcp: bytes, track: 1)
        try world.run(for: .milliseconds(2))
        #expect(ears.datagrams == 1)
    }

    // MARK: - Real sockets

    /// A client's pair of ports on loopback.
    private final class Ports {
        let rtp: CInt
        let rtcp: CInt
        let numbers: (rtp: UInt16, rtcp: UInt16)
        private static let loopback = SocketAddress(ipv4: 0x7f00_0001, port: 0)

        init() throws {
            func open() throws -> (CInt, UInt16) {
                var c = Self.loopback.c
                let fd = weir_udp_open(&c, 0, 0)
                try #require(fd >= 0)
                var bound = weir_address()
                _ = weir_local_address(fd, &bound)
                return (fd, bound.port)
            }
            let (a, b) = (try open(), try open())
            (rtp, rtcp) = (a.0, b.0)
            numbers = (a.1, b.1)
        }
        deinit {
            close(rtp)
            close(rtcp)
        }

        static func wait(_ descriptor: CInt) -> Bool {
            var one = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            return poll(&one, 1, 20_000) == 1
        }

        /// The next datagram and the port that it came from.
        static func receive(_ descriptor: CInt) throws -> ([UInt8], from: UInt16) {
            try #require(wait(descriptor), "a datagram in time")
            var bytes = [UInt8](repeating: 0, count: 2048)
            var name = sockaddr_in()
            var length = socklen_t(MemoryLayout<sockaddr_in>.size)
            let count = withUnsafeMutablePointer(to: &name) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    recvfrom(descriptor, &bytes, bytes.count, 0, $0, &length)
                }
            }
            try #require(count > 0)
            return (Array(bytes[..<count]), UInt16(bigEndian: name.sin_port))
        }

        static func send(_ bytes: [UInt8], from descriptor: CInt, to port: UInt16) {
            var name = sockaddr_in()
            name.sin_family = sa_family_t(AF_INET)
            name.sin_port = port.bigEndian
            name.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
            _ = withUnsafePointer(to: &name) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    sendto(descriptor, bytes, bytes.count, 0, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
        }
    }

    private static func configuration(listen: UInt32 = 0x7f00_0001) throws -> EngineConfiguration {
        var configuration = EngineConfiguration(certificate: try TestSecurity.shared().server)
        configuration.port = 0
        configuration.plainPort = 0
        configuration.listen = [SocketAddress(ipv4: listen, port: 0)]
        configuration.workers = 2
        return configuration
    }

    /// Until it is so, or for 20 s.
    private func wait(for isSo: () -> Bool) {
        let limit = ContinuousClock.now + .seconds(20)
        while !isSo(), ContinuousClock.now < limit { usleep(1000) }
    }

    @Test func playersAndPublishersShareThePortsOfAllWorkers() throws {
        let engine = try MediaEngine(configuration: try Self.configuration()) { _ in }
        defer { engine.stop() }
        let port = try #require(engine.plainPort)
        #expect(port % 2 == 0)
        let codec = RTPCodec(payloadType: 0, name: "PCMU", clockRate: 8000)
        let track = NegotiatedTrack(kind: .audio, mLineIndex: 0, mid: "0", codec: codec, extensions: [:])
        let source = try #require(engine.addSource(id: 1, tracks: [track]))
        let local = SocketAddress(ipv4: 0x7f00_0001, port: 0)
        let alive = Mutex(0)
        let clients = try (0..<8).map { _ in try Ports() }
        for (i, client) in clients.enumerated() {
            _ = try engine.addPlainPlayer(
                id: 10 + UInt64(i), publisher: 1, client: local, local: local,
                tracks: [
                    PlainTrack(
                        track: 0, rtpPort: client.numbers.rtp, rtcpPort: client.numbers.rtcp, ssrc: 0x77,
                        payloadType: 0)
                ]
            ) { news in if news == .alive { alive.withLock { $0 += 1 } } }
        }
        source.report(track: 0, ntp: 1 << 40, timestamp: 1)
        let payload: [UInt8] = [1, 2, 3, 4]
        // Players may join while it sends.
        for client in clients {
            var packet: [UInt8] = []
            while packet.isEmpty {
                source.send(track: 0, timestamp: 160, marker: false, payload.span.bytes)
                source.flush()
                var one = pollfd(fd: client.rtp, events: Int16(POLLIN), revents: 0)
                guard poll(&one, 1, 20) == 1 else { continue }
                let (bytes, from) = try Ports.receive(client.rtp)
                #expect(from == port)
                packet = bytes
            }
            #expect(packet.count == 16 && Array(packet[8..<12]) == [0, 0, 0, 0x77])
            let (report, from) = try Ports.receive(client.rtcp)
            #expect(from == port + 1 && RTCP.isRTCP(report.span.bytes))
        }
        var bytes: [UInt8] = []
        RTCPWriter.receiverReport(ssrc: 1, blocks: [], into: &bytes)
        for client in clients { Ports.send(bytes, from: client.rtcp, to: port + 1) }
        wait { alive.withLock { $0 } == clients.count }
        #expect(alive.withLock { $0 } == clients.count, "whichever worker heard them")

        let receiver = Receiver()
        let ports = try (0..<4).map { _ in try Ports() }
        let publisher = try engine.addPlainPublisher(
            client: local, local: local,
            tracks: ports.enumerated().map {
                PlainTrack(track: $0.offset, rtpPort: $0.element.numbers.rtp, rtcpPort: $0.element.numbers.rtcp)
            }, receiver: receiver)
        for i in 0..<200 {
            for client in ports { Ports.send([0x80, UInt8(i)], from: client.rtp, to: port) }
        }
        wait { receiver.state.withLock { $0.pieces.count } == 800 }
        publisher.end()
        let state = receiver.state.withLock { $0 }
        #expect(state.overlaps == 0 && state.pieces.count == 800)
        for track in 0..<4 {
            #expect(state.pieces.filter { $0.track == track }.map { $0.bytes[1] } == (0..<200).map { UInt8($0) })
        }
        #expect(engine.counters.unknownClient.value == 0)
        // The sockets are closed with their objects, which nothing else keeps any more.
        withExtendedLifetime(ports) { Ports.send(bytes, from: ports[0].rtp, to: port) }
        wait { engine.counters.unknownClient.value == 1 }
        #expect(engine.counters.unknownClient.value == 1)
    }

    @Test func portsAreClaimedAndOdd() throws {
        var configuration = try Self.configuration()
        let engine = try MediaEngine(configuration: configuration) { _ in }
        defer { engine.stop() }
        let port = try #require(engine.plainPort)
        for wanted in [port, port + 1] {
            configuration.plainPort = wanted
            #expect(throws: (any Error).self) { try MediaEngine(configuration: configuration) { _ in } }
        }
        configuration.plainPort = nil
        let without = try MediaEngine(configuration: configuration) { _ in }
        defer { without.stop() }
        #expect(without.plainPort == nil)
        let address = SocketAddress(ipv4: 0x7f00_0001, port: 0)
        #expect(throws: PlainError.unavailable) {
            try without.addPlainPublisher(
                client: address, local: address, tracks: Self.tracks, receiver: Receiver())
        }
    }
}
