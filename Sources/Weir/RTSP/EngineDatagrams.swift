import ControlPlane
import MediaEngine
import MediaFormats
import RTSP
import RTSPServer
import Synchronization
import Wire

/// RTSP by UDP, joined to the media engine: players in the workers' fan-out, publishers whose datagrams workers hand on.
package struct EngineDatagrams: RTSPDatagrams {
    /// The engine answers after `PlainPlayer.beginLimit`, unless it cannot keep pace.
    private static let answerLimit = Duration.seconds(2)
    private static let unheard = RTSPRefusal(
        RTSPStatus(461, "Unsupported Transport: the connection's address is unknown, use TCP"))

    private let media: EngineMediaBackend
    private let timers: Timers
    private let makeID: @Sendable () -> UInt64

    package init(media: EngineMediaBackend, timers: Timers = Timers(ContinuousClock())) {
        self.media = media
        self.timers = timers
        let last = Mutex<UInt64>(0)
        // Apart from the control plane's, which knows nothing of these.
        makeID = {
            last.withLock { last in
                last &+= 1
                return last | 1 << 63
            }
        }
    }

    package func play(
        _ name: String, publisher: PeerID, tracks: [RTSPSetUpTrack], described: [TrackDescription], link: RTSPLink,
        on connection: RTSPConnectionFacts
    ) async -> Result<(playback: any RTSPPlayback, first: [RTSPAnswer.FirstPacket]), RTSPRefusal> {
        guard (try? media.checkCapacity()) != nil else { return .failure(.init(.notEnoughBandwidth)) }
        guard let client = SocketAddress(endpoint: connection.remoteAddress),
            let local = SocketAddress(endpoint: connection.localAddress)
        else { return .failure(Self.unheard) }
        let playback = DatagramPlayback(id: makeID(), engine: media.engine)
        let first = Outcome<[PlainFirstPacket]>()
        let player: PlainPlayer
        do throws(PlainError) {
            player = try media.engine.addPlainPlayer(
                id: playback.id, publisher: publisher.rawValue, client: client, local: local,
                tracks: tracks.compactMap(PlainTrack.init)
            ) { news in
                switch news {
                case .began(let packets): first.settle(packets)
                case .alive: link.noteSignOfLife()
                case .ended:
                    // Before it has begun the answer says so; and a pause ends it, too.
                    if !first.settle([]), !playback.isStopped { link.end() }
                }
            }
        } catch {
            return .failure(error.refusal)
        }
        let packets = await withDeadline(timers, Self.answerLimit) { await first.wait() } ?? []
        first.settle([])
        guard !player.isEnded || !packets.isEmpty else { return .failure(.init(.notFound)) }
        return .success((playback, packets.map { .init(sequence: $0.sequence, rtpTime: $0.timestamp) }))
    }

    package func receiving(
        into publication: any RTSPPublication, link: RTSPLink, on connection: RTSPConnectionFacts
    ) -> any RTSPPublication {
        DatagramPublication(publication, engine: media.engine, link: link, facts: connection)
    }
}

/// A player as its connection holds it.
private final class DatagramPlayback: RTSPPlayback {
    let id: UInt64
    private let engine: MediaEngine
    private let stopped = Atomic<Bool>(false)

    init(id: UInt64, engine: MediaEngine) {
        self.id = id
        self.engine = engine
    }

    var isStopped: Bool { stopped.load(ordering: .acquiring) }

    func stop() {
        guard !stopped.exchange(true, ordering: .acquiringAndReleasing) else { return }
        engine.close(peer: id)
    }
}

/// Gives a publication what comes by UDP, once its client begins to send.
private final class DatagramPublication: RTSPPublication {
    private struct State {
        var ports: PlainPublisher?
        var isOver = false
    }

    private let publication: any RTSPPublication
    private let engine: MediaEngine
    private let link: RTSPLink
    private let facts: RTSPConnectionFacts
    private let state = Mutex(State())

    init(
        _ publication: any RTSPPublication, engine: MediaEngine, link: RTSPLink, facts: RTSPConnectionFacts
    ) {
        self.publication = publication
        self.engine = engine
        self.link = link
        self.facts = facts
    }

    func start(_ tracks: [RTSPSetUpTrack]) async -> RTSPStatus? {
        let ports = tracks.compactMap(PlainTrack.init)
        guard !ports.isEmpty else { return await publication.start(tracks) }
        guard let client = SocketAddress(endpoint: facts.remoteAddress),
            let local = SocketAddress(endpoint: facts.localAddress)
        else { return .unsupportedTransport }
        do throws(PlainError) {
            let opened = try engine.addPlainPublisher(
                client: client, local: local, tracks: ports, receiver: Receiver(publication, link: link))
            let isOver = state.withLock { state in
                if !state.isOver { state.ports = opened }
                return state.isOver
            }
            // The connection went meanwhile.
            if isOver { opened.end() }
        } catch {
            return error.refusal.status
        }
        let refusal = await publication.start(tracks)
        if refusal != nil { close() }
        return refusal
    }

    func receive(track: Int, isRTCP: Bool, _ packet: RawSpan) {
        publication.receive(track: track, isRTCP: isRTCP, packet)
    }

    func flush() { publication.flush() }

    func send(rtcp: [UInt8], track: Int) { state.withLock { $0.ports }?.send(rtcp: rtcp, track: track) }

    func stop() {
        close()
        publication.stop()
    }

    /// Nothing is given on any more once this has returned.
    private func close() {
        let ports = state.withLock { state in
            state.isOver = true
            defer { state.ports = nil }
            return state.ports
        }
        ports?.end()
    }

    private final class Receiver: PlainReceiver {
        private static let signInterval = Interval.seconds(1)
        private let publication: any RTSPPublication
        private let link: RTSPLink
        private let lastSign = Atomic<Int64>(0)

        init(_ publication: any RTSPPublication, link: RTSPLink) {
            self.publication = publication
            self.link = link
        }

        func receive(track: Int, isRTCP: Bool, _ packet: RawSpan) {
            publication.receive(track: track, isRTCP: isRTCP, packet)
        }

        func flush() {
            publication.flush()
            let now = Instant.now.nanoseconds
            guard now &- lastSign.load(ordering: .relaxed) >= Self.signInterval.nanoseconds else { return }
            lastSign.store(now, ordering: .relaxed)
            link.noteSignOfLife()
        }
    }
}

extension PlainTrack {
    /// Nil if it does not come by UDP.
    fileprivate init?(_ track: RTSPSetUpTrack) {
        guard case .udp(let ports) = track.path else { return nil }
        self.init(
            track: track.index, rtpPort: ports.rtp, rtcpPort: ports.rtcp, ssrc: track.ssrc,
            payloadType: track.payloadType, keys: track.keys)
    }
}

extension PlainError {
    fileprivate var refusal: RTSPRefusal {
        switch self {
        case .noStream: RTSPRefusal(.notFound)
        case .addressInUse, .unreachable, .badTracks, .unavailable:
            RTSPRefusal(RTSPStatus(461, "Unsupported Transport: \(self)"))
        }
    }
}

extension SocketAddress {
    /// `192.0.2.1:5000` or `[2001:db8::1]:5000`, as `description` writes it.
    init?(endpoint text: String) {
        guard let colon = text.utf8.lastIndex(of: UInt8(ascii: ":")),
            let port = UInt16(text[text.utf8.index(after: colon)...])
        else { return nil }
        var host = text[..<colon]
        if host.utf8.first == UInt8(ascii: "["), host.utf8.last == UInt8(ascii: "]") {
            host = host.dropFirst().dropLast()
        }
        self.init(ip: host, port: port)
    }
}
