import MediaFormats
import RTP
import RTSP
import RTSPServer
import Synchronization
import TestSupport
import Wire

/// A backend whose publishers' packets go straight to players: what a server does, without engine and control plane.
final class Loop: RTSPBackend {
    struct Published: Sendable {
        var tracks: [TrackDescription]
        var stream: RTSPStream?
        var link: RTSPLink?
    }

    struct State {
        var streams: [String: Published] = [:]
        var keyFrameRequests = 0
        var accesses: [RTSPAccess] = []
        var connections: [RTSPConnectionFacts] = []
        var stopped: [String] = []
        /// Of players in connections that are gone.
        var left: [String] = []
        var rightsEndIn: Duration?
        var datagramPlayers: [String: RTSPLink] = [:]
        var refusal: RTSPStatus?
        var waiting: [CheckedContinuation<Void, Never>] = []
        var holdsAccess = false
    }

    let state = Watched(State())
    let ssrc = Mutex<(@Sendable (String, Int) -> UInt32)?>(nil)
    let settings: RTSPFanOutSettings

    init() {
        var settings = RTSPFanOutSettings()
        // A busy machine must not take the stored pictures for want of a key frame.
        settings.keyFrameWait = .seconds(120)
        settings.freshGroup = .zero
        self.settings = settings
    }

    /// A stream without a publisher in a connection.
    func add(_ name: String, _ tracks: [TrackDescription]) -> RTSPStream {
        let stream = makeStream(name, tracks)
        state.update { $0.streams[name] = Published(tracks: tracks, stream: stream) }
        return stream
    }

    private func makeStream(_ name: String, _ tracks: [TrackDescription]) -> RTSPStream {
        let ssrc = ssrc.withLock { $0 }
        return RTSPStream(
            tracks: tracks, ssrcs: tracks.indices.map { ssrc?(name, $0) ?? UInt32($0 + 1) }, cname: "weir",
            settings: settings, askForKeyFrame: { self.state.update { $0.keyFrameRequests += 1 } })
    }

    func mayPlay(_ access: RTSPAccess, on connection: RTSPConnectionFacts) async -> RTSPDecision {
        if state.value.holdsAccess {
            await withCheckedContinuation { continuation in state.update { $0.waiting.append(continuation) } }
        }
        return state.update { state in
            state.accesses.append(access)
            state.connections.append(connection)
            return state.refusal.map { .refuse($0) } ?? .allow(endsIn: state.rightsEndIn)
        }
    }

    /// Lets those go on who wait for their access.
    func answer() {
        let waiting = state.update { state in
            state.holdsAccess = false
            defer { state.waiting = [] }
            return state.waiting
        }
        for continuation in waiting { continuation.resume() }
    }

    func describe(_ name: String, query: String?, on: RTSPConnectionFacts) async -> Result<
        [TrackDescription], RTSPRefusal
    > {
        guard let published = state.value.streams[name] else { return .failure(RTSPRefusal(.notFound)) }
        return .success(published.tracks)
    }

    func play(
        _ name: String, query: String?, tracks: [RTSPSetUpTrack], link: RTSPLink, on: RTSPConnectionFacts
    ) async -> Result<RTSPPlaying, RTSPRefusal> {
        guard let stream = state.value.streams[name]?.stream else { return .failure(RTSPRefusal(.notFound)) }
        guard case .udp? = tracks.first?.path else {
            return .success(.interleaved(stream, Seat(name: name, loop: self)))
        }
        state.update { $0.datagramPlayers[name] = link }
        return .success(.datagrams(Datagrams(name: name, loop: self), first: tracks.map { _ in .init(sequence: 3) }))
    }

    struct Seat: RTSPPlayback {
        let name: String
        let loop: Loop
        func stop() { loop.state.update { $0.left.append(name) } }
    }

    struct Datagrams: RTSPPlayback {
        let name: String
        let loop: Loop
        func stop() { loop.state.update { $0.stopped.append("player of " + name) } }
    }

    func announce(
        _ access: RTSPAccess, tracks: [TrackDescription], link: RTSPLink, on: RTSPConnectionFacts
    ) async -> Result<any RTSPPublication, RTSPRefusal> {
        let isFree = state.update { state in
            guard state.streams[access.name] == nil else { return false }
            state.streams[access.name] = Published(tracks: tracks, link: link)
            return true
        }
        guard isFree else { return .failure(RTSPRefusal(RTSPStatus(403, "Stream name is already in use"))) }
        return .success(Publication(name: access.name, tracks: tracks, loop: self))
    }

    final class Publication: RTSPPublication {
        let name: String
        let stream: RTSPStream
        let tracks: [TrackDescription]
        let loop: Loop
        let unwrappers: Mutex<[SequenceUnwrapper]>
        let isStopped = Mutex(false)

        init(name: String, tracks: [TrackDescription], loop: Loop) {
            self.name = name
            self.tracks = tracks
            self.loop = loop
            stream = loop.makeStream(name, tracks)
            unwrappers = Mutex(Array(repeating: SequenceUnwrapper(), count: tracks.count))
        }

        func start(_ tracks: [RTSPSetUpTrack]) async -> RTSPStatus? {
            loop.state.update { $0.streams[name]?.stream = stream }
            return nil
        }

        func receive(track: Int, isRTCP: Bool, _ packet: RawSpan) {
            if isRTCP {
                try? RTCP.parse(packet) { part in
                    if case .senderReport(let report) = part {
                        stream.report(track: track, ntp: report.ntp.rawValue, timestamp: report.rtpTimestamp)
                    }
                }
            } else if let header = try? RTPHeader(parsing: packet) {
                let payload = packet.extracting(
                    header.headerLength..<(header.headerLength + header.payloadLength))
                let number = unwrappers.withLock { $0[track].unwrap(header.sequence) }
                let facts = PayloadInspector.inspect(tracks[track].codec, payload)
                stream.send(
                    track: track, number: number, timestamp: header.timestamp, marker: header.marker,
                    isKeyFrameStart: facts.isKeyFrameStart && facts.isFrameStart, arrival: .zero, payload)
            }
        }

        func flush() { stream.flush() }

        func stop() {
            let isFirst = isStopped.withLock { stopped in
                defer { stopped = true }
                return !stopped
            }
            guard isFirst else { return }
            stream.end()
            loop.state.update { state in
                state.streams[name] = nil
                state.stopped.append(name)
            }
        }
    }
}
