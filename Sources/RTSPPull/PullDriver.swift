import NIOCore
import RTP
import RTSP
import Wire

/// The state of an attempt, on its event loop.
final class PullDriver: SourceDriver {
    /// Packets that a camera sends before it has answered PLAY: they begin with the key frame.
    private static let maxHeld = 512

    private struct Held {
        let track: Int
        let isRTCP: Bool
        let bytes: [UInt8]
    }

    private let settings: RTSPPullSettings
    private let sink: any RTSPPullSink
    private let eventLoop: any EventLoop
    private let attempt: PullAttempt
    private let completion: SourceAttempt.Completion
    private var session: RTSPClientSession
    private var tracks: [RTSPPulledTrack] = []
    /// The sink has been told that media begins.
    private var hasBegun = false
    private var held: [Held] = []
    private var channel: (any Channel)?
    private var pairs: [DatagramPair] = []
    /// Of connections: what an earlier one says is not heard.
    private var generation = 0
    private var timer: Scheduled<Void>?
    private var timerDeadline = Instant.distantFuture
    private var isOver = false

    init(
        url: RTSPURL, settings: RTSPPullSettings, sink: any RTSPPullSink, eventLoop: any EventLoop,
        attempt: PullAttempt, completion: @escaping SourceAttempt.Completion
    ) {
        self.settings = settings
        self.sink = sink
        self.eventLoop = eventLoop
        self.attempt = attempt
        self.completion = completion
        session = RTSPClientSession(url: url, settings: settings.client, now: Self.now, makeNonce: Self.makeNonce)
    }

    private static var now: Instant { Instant(nanoseconds: Int64(NIODeadline.now().uptimeNanoseconds)) }

    private static let makeNonce: @Sendable () -> String = {
        var random = SystemRandomNumberGenerator()
        return String(random.next(), radix: 16) + String(random.next(), radix: 16)
    }

    // MARK: Session

    func run() {
        while !isOver, let output = session.poll() {
            switch output {
            case .connect(let url): connect(url)
            case .send(let bytes): channel?.writeAndFlush(ByteBuffer(bytes: bytes), promise: nil)
            case .bind(let track):
                if let channel { attempt.bind(track: track, beside: channel, generation) }
            case .playing(let tracks): playing(tracks)
            case .disconnect: disconnect()
            case .failed(let failure): end(failure)
            }
        }
        schedule()
    }

    private func disconnect() {
        generation += 1
        channel?.close(promise: nil)
        channel = nil
        for pair in pairs { pair.close() }
        pairs = []
        tracks = []
        held = []
        hasBegun = false
    }

    private func end(_ failure: RTSPPullFailure) {
        isOver = true
        timer?.cancel()
        timer = nil
        completion(failure, session.playingSince.map { Self.now - $0 })
    }

    /// A timer that comes too early looks and is set again, so that media, which moves the deadline with each packet, need
    /// not touch it.
    private func schedule() {
        let deadline = session.deadline
        guard !isOver, deadline != .distantFuture else {
            timer?.cancel()
            timer = nil
            return
        }
        if timer != nil, timerDeadline <= deadline { return }
        timer?.cancel()
        timerDeadline = deadline
        let at = NIODeadline.uptimeNanoseconds(UInt64(max(0, deadline.nanoseconds)))
        let attempt = attempt
        timer = eventLoop.scheduleTask(deadline: at) { attempt.onLoop { $0.tick() } }
    }

    private func tick() {
        timer = nil
        session.tick(now: Self.now)
        run()
    }

    func stop() {
        session.stop(now: Self.now)
        run()
    }

    // MARK: Connection

    private func connect(_ url: RTSPURL) {
        generation += 1
        attempt.connect(url, generation)
    }

    /// - Returns: False if nobody waits for it any more: the attempt goes elsewhere.
    func connected(_ channel: any Channel, _ generation: Int) -> Bool {
        guard !isOver, generation == self.generation else { return false }
        self.channel = channel
        session.connected(now: Self.now)
        run()
        return true
    }

    /// - Returns: As above.
    func bound(_ pair: DatagramPair, _ generation: Int) -> Bool {
        guard !isOver, generation == self.generation else { return false }
        pairs.append(pair)
        session.bound(pair.ports, now: Self.now)
        run()
        return true
    }

    func failed(_ failure: RTSPPullFailure, _ generation: Int) {
        guard !isOver, generation == self.generation else { return }
        session.failed(failure)
        run()
    }

    // MARK: Media

    var isPlaying: Bool { !tracks.isEmpty }

    private func playing(_ tracks: [RTSPPulledTrack]) {
        self.tracks = tracks
        for (index, track) in tracks.enumerated() {
            guard case .udp(let ports) = track.path, let pair = pairs.first(where: { $0.ports == ports }) else {
                continue
            }
            // What lets packets through an address translation on our side: one to each port of the camera.
            send(rtcp: Self.emptyReport, track: index)
            write(Self.emptyPacket, to: track.serverPorts?.rtp, by: pair.rtp)
        }
        let early = held
        held = []
        guard early.contains(where: { !$0.isRTCP }) else {
            held = early
            return
        }
        for packet in early { take(track: packet.track, isRTCP: packet.isRTCP, packet.bytes.span.bytes, Self.now) }
        sink.flush()
    }

    /// An RTP header and nothing more, of a payload type that no description has.
    private static let emptyPacket: [UInt8] = [0x80, 127] + [UInt8](repeating: 0, count: 10)

    private static let emptyReport: [UInt8] = {
        var bytes: [UInt8] = []
        RTCPWriter.receiverReport(ssrc: 1, blocks: [], into: &bytes)
        return bytes
    }()

    func receive(_ parser: inout RTSPParser, _ generation: Int) {
        guard generation == self.generation else { return }
        let now = Self.now
        do {
            while !isOver, generation == self.generation {
                let message = try parser.next { channel, packet in
                    guard let (track, isRTCP) = session.route(channel: channel, now: now) else { return }
                    take(track: track, isRTCP: isRTCP, packet, now)
                }
                guard let message else { break }
                session.receive(message, now: now)
                run()
            }
        } catch {
            session.receive(error)
            run()
        }
    }

    /// A datagram.
    func receive(track: Int, isRTCP: Bool, _ packet: RawSpan, _ generation: Int) {
        guard !isOver, generation == self.generation else { return }
        let now = Self.now
        if !isRTCP { session.noteMedia(now: now) }
        take(track: track, isRTCP: isRTCP, packet, now)
    }

    /// Media begins with the first RTP packet, not with the answer to PLAY: many a camera answers and sends nothing.
    private func take(track: Int, isRTCP: Bool, _ packet: RawSpan, _ now: Instant) {
        guard !tracks.isEmpty, hasBegun || !isRTCP else {
            if held.count < Self.maxHeld { held.append(Held(track: track, isRTCP: isRTCP, bytes: packet.copied())) }
            return
        }
        if !hasBegun { begin(now) }
        sink.receive(track: track, isRTCP: isRTCP, packet)
    }

    private func begin(_ now: Instant) {
        hasBegun = true
        session.noteMedia(now: now)
        sink.begin(tracks, link: RTSPPullLink(attempt))
        let early = held
        held = []
        for packet in early {
            sink.receive(track: packet.track, isRTCP: packet.isRTCP, packet.bytes.span.bytes)
        }
    }

    func readComplete(_ generation: Int) {
        guard generation == self.generation, hasBegun else { return }
        sink.flush()
    }

    // MARK: To the camera

    func send(rtcp: [UInt8], track: Int) {
        guard tracks.indices.contains(track), rtcp.count <= InterleavedFrame.maxPayload else { return }
        switch tracks[track].path {
        case .interleaved(let channels):
            // A camera that does not read gets no more than what it must.
            guard let channel, channel.isWritable else { return }
            var bytes: [UInt8] = []
            InterleavedFrame.append(rtcp, channel: channels.rtcp, into: &bytes)
            channel.writeAndFlush(ByteBuffer(bytes: bytes), promise: nil)
        case .udp(let ports):
            guard let pair = pairs.first(where: { $0.ports == ports }) else { return }
            write(rtcp, to: tracks[track].serverPorts?.rtcp, by: pair.rtcp)
        }
    }

    private func write(_ bytes: [UInt8], to port: UInt16?, by socket: any Channel) {
        guard let port, port > 0, var address = channel?.remoteAddress else { return }
        address.port = Int(port)
        let envelope = AddressedEnvelope(remoteAddress: address, data: ByteBuffer(bytes: bytes))
        socket.writeAndFlush(envelope, promise: nil)
    }
}
