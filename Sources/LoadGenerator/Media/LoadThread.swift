import CLinuxNet
import DTLS
import Glibc
import LinuxNet
import MediaFormats
import RTP
import SRTP
import Synchronization
import Wire

/// One media thread of a load: owner of its clients' sockets. It sweeps the sockets instead of being woken for each
/// packet, so that the sender does not pay for waking it; the kernel's time stamps keep the delays right.
final class LoadThread: @unchecked Sendable {
    enum Command: Sendable {
        case connect(LoadPeer, ClientSDP.Answer, deadline: Instant)
        case close(id: Int)
        case clear(CheckedContinuation<Void, Never>)
        case begin(CheckedContinuation<Void, Never>)
        case end(CheckedContinuation<Void, Never>)
        case collect(CheckedContinuation<ThreadWindow, Never>)
        case stop
    }

    /// Counts of one thread's players in one window.
    struct ThreadWindow: Sendable {
        var players: [(expected: Int, delivered: Int)] = []
        var sequenceGaps = 0
        var duplicates = 0
        var injectedLosses = 0
        var nacks = 0
        var recovered = 0
        var authenticationFailures = 0
        var receiveBufferDrops = 0
        var unmarkedPlayers = 0
        var videoDelay = DelayHistogram()
        var audioDelay = DelayHistogram()
        var cpuNanoseconds: Int64 = 0
    }

    static let scratchSize = 4096
    private static let slotSize = 2048
    private static let slots = 256
    /// Datagrams of one call.
    private static let batch = 32
    private static let connectingInterval = Interval.milliseconds(1)
    private static let publisherInterval = Interval.milliseconds(5)
    private static let pollInterval = Interval.milliseconds(10)
    /// Commands wait at most this long.
    private static let longestSleep = Interval.milliseconds(2)
    /// Between two sweeps: long enough that looking into empty sockets is a small part of the work, short enough that
    /// none overflows.
    private static let sweepIntervals = (
        least: Interval.milliseconds(5), perPlayer: Interval.microseconds(25), most: Interval.milliseconds(20)
    )

    let machine: SRTPMachine
    let context: DTLSContext
    let scratch: UnsafeMutableRawPointer
    var random: SeededRandom
    private let plan: MediaPlan
    private let index: Int
    private let clocks: [StreamClock]
    private let arena: UnsafeMutablePointer<UInt8>
    private let io: OpaquePointer
    private let arrivals: UnsafeMutablePointer<weir_arrival>
    private struct Pending: BitwiseCopyable {
        var player: Unmanaged<PlayerPeer>
        var arrival: Int64
    }
    private let pending: UnsafeMutablePointer<Pending>
    private var used = 0
    private let mailbox = Mutex<[Command]>([])
    private var peers: [Int: ClientPeer] = [:]
    private var players: ContiguousArray<PlayerPeer> = []
    private var publishers: ContiguousArray<PublisherPeer> = []
    private var connecting: ContiguousArray<ClientPeer> = []
    private var window = ThreadWindow()
    private var cpuAtBegin: Int64 = 0
    private var dropsAtBegin = 0
    /// Drops of sockets that are closed by now.
    private var formerDrops = 0
    private var running = true
    private var nextSend = Instant.distantFuture
    private let thread = Mutex<pthread_t?>(nil)

    init(index: Int, plan: MediaPlan, clocks: [StreamClock], context: DTLSContext) throws {
        self.index = index
        self.plan = plan
        self.clocks = clocks
        self.context = context
        machine = try SRTPMachine(backend: .preferred)
        random = SeededRandom(seed: plan.seed &+ UInt64(index) &* 0x1234_5678_9abc)
        arena = .allocate(capacity: Self.slots * Self.slotSize)
        guard let io = weir_client_io_new(arena, Self.slotSize, CInt(Self.slots)) else {
            arena.deallocate()
            throw LoadError.socket("allocate receive batch", code: ENOMEM)
        }
        self.io = io
        arrivals = .allocate(capacity: Self.batch)
        pending = .allocate(capacity: Self.slots)
        scratch = .allocate(byteCount: Self.scratchSize, alignment: 64)
    }

    deinit {
        weir_client_io_free(io)
        arena.deallocate()
        arrivals.deallocate()
        pending.deallocate()
        scratch.deallocate()
    }

    func post(_ command: Command) { mailbox.withLock { $0.append(command) } }

    func start() throws {
        var created = pthread_t()
        let context = Unmanaged.passRetained(self).toOpaque()
        let result = pthread_create(
            &created, nil,
            { context in
                Unmanaged<LoadThread>.fromOpaque(context!).takeRetainedValue().run()
                return nil
            }, context)
        guard result == 0 else {
            Unmanaged<LoadThread>.fromOpaque(context).release()
            throw LoadError.socket("start a media thread", code: result)
        }
        thread.withLock { $0 = created }
    }

    func join() { if let created = thread.withLock({ $0.take() }) { pthread_join(created, nil) } }

    // MARK: - The loop

    private func run() {
        weir_name_thread("load-media-\(index)")
        if let first = plan.firstProcessor { weir_pin_thread(CInt(first + index)) }
        var nextSweep = Instant.now
        var nextPublisherSweep = nextSweep
        var nextPoll = nextSweep
        while running {
            takeCommands()
            let now = Instant.now
            sendDue(now: now)
            for peer in connecting {
                receive(peer, now: now)
                peer.poll(now: now)
            }
            if now >= nextSweep {
                for player in players { receive(player, now: now) }
                let interval = Self.sweepIntervals
                nextSweep = now + min(max(interval.perPlayer * Int64(players.count), interval.least), interval.most)
            }
            if now >= nextPublisherSweep {
                nextPublisherSweep = now + Self.publisherInterval
                for publisher in publishers { receive(publisher, now: now) }
            }
            complete(now: now)
            if now >= nextPoll {
                nextPoll = now + Self.pollInterval
                for player in players { player.poll(now: now) }
                for publisher in publishers { publisher.poll(now: now) }
                removeEnded()
            }
            if !connecting.isEmpty { settleConnecting() }
            var wake = min(nextSweep, nextSend, .now + Self.longestSleep)
            if !connecting.isEmpty { wake = min(wake, now + Self.connectingInterval) }
            if wake > .now { weir_sleep_until_ns(wake.nanoseconds) }
        }
        for peer in peers.values { peer.close() }
        peers.removeAll()
        players.removeAll()
        publishers.removeAll()
        connecting.removeAll()
    }

    private func sendDue(now: Instant) {
        guard now >= nextSend else { return }
        var next = Instant.distantFuture
        for publisher in publishers {
            if publisher.due <= now { publisher.sendDue(now: now) }
            next = min(next, publisher.due)
        }
        nextSend = next
    }

    /// Peers that have become ready, or failed, need no more hurry.
    private func settleConnecting() {
        var left: ContiguousArray<ClientPeer> = []
        for peer in connecting where !peer.hasEnded {
            if !peer.isReady {
                left.append(peer)
            } else if let player = peer as? PlayerPeer {
                players.append(player)
            } else if let publisher = peer as? PublisherPeer {
                publishers.append(publisher)
                nextSend = .zero
            }
        }
        if left.count != connecting.count {
            connecting = left
            removeEnded()
        }
    }

    private func removeEnded() {
        guard peers.values.contains(where: \.hasEnded) else { return }
        for (id, peer) in peers where peer.hasEnded {
            peers[id] = nil
            if let player = peer as? PlayerPeer { formerDrops += Int(player.state.pointee.dropped) }
        }
        players.removeAll(where: \.hasEnded)
        publishers.removeAll(where: \.hasEnded)
        connecting.removeAll(where: \.hasEnded)
    }

    // MARK: - Commands

    private func takeCommands() {
        let commands = mailbox.withLock { waiting in
            defer { waiting = [] }
            return waiting
        }
        for command in commands { perform(command) }
    }

    private func perform(_ command: Command) {
        switch command {
        case .connect(let handle, let answer, let deadline):
            do {
                let clock = clocks[handle.stream]
                let peer: ClientPeer =
                    handle.isPublisher
                    ? try PublisherPeer(
                        handle: handle, answer: answer, deadline: deadline, thread: self, plan: plan, clock: clock)
                    : try PlayerPeer(
                        handle: handle, answer: answer, deadline: deadline, thread: self, plan: plan, clock: clock)
                peers[handle.id] = peer
                connecting.append(peer)
            } catch {
                handle.failed(error)
            }
        case .close(let id):
            guard let peer = peers[id] else { return }
            complete(now: .now)
            peer.close()
            removeEnded()
        case .clear(let done):
            complete(now: .now)
            window = ThreadWindow()
            for player in players { player.clearWindow() }
            dropsAtBegin = drops
            done.resume()
        case .begin(let done):
            for publisher in publishers { publisher.beginWindow() }
            cpuAtBegin = weir_thread_cpu_ns()
            done.resume()
        case .end(let done):
            for publisher in publishers { publisher.endWindow() }
            window.cpuNanoseconds = weir_thread_cpu_ns() - cpuAtBegin
            done.resume()
        case .collect(let result): result.resume(returning: collect())
        case .stop: running = false
        }
    }

    private var drops: Int { players.reduce(formerDrops) { $0 + Int($1.state.pointee.dropped) } }

    private func collect() -> ThreadWindow {
        complete(now: .now)
        for player in players where player.state.pointee.isMeasured {
            let state = player.state.pointee
            var expected = 0
            if state.videoType != 0 { expected += player.clock.video.windowPackets.load(ordering: .relaxed) }
            if state.audioType != 0 { expected += player.clock.audio.windowPackets.load(ordering: .relaxed) }
            window.players.append((expected, player.video.pointee.delivered + player.audio.pointee.delivered))
            window.sequenceGaps += player.video.pointee.gaps + player.audio.pointee.gaps
            window.duplicates += player.video.pointee.duplicates + player.audio.pointee.duplicates
            window.nacks += player.nacks
            window.recovered += state.recovered
            window.authenticationFailures += state.authenticationFailures
            if player.video.pointee.isUnmarked || player.audio.pointee.isUnmarked { window.unmarkedPlayers += 1 }
        }
        window.receiveBufferDrops = drops - dropsAtBegin
        return window
    }

    // MARK: - Receiving

    private func receive(_ peer: ClientPeer, now: Instant) {
        let player = peer as? PlayerPeer
        var received: CInt
        repeat {
            if used + Self.batch > Self.slots { complete(now: now) }
            var dropped: UInt32 = player?.state.pointee.dropped ?? 0
            received = weir_client_receive(io, peer.descriptor, CInt(used), CInt(Self.batch), arrivals, &dropped)
            guard received > 0 else { return }
            player?.state.pointee.dropped = dropped
            let first = used
            used += Int(received)
            for i in 0..<Int(received) where arrivals[i].length > 0 {
                take(
                    slot: first + i, length: Int(arrivals[i].length), arrival: arrivals[i].kernel_time_ns, peer: peer,
                    player: player, now: now)
            }
        } while received == CInt(Self.batch)
        // A long sweep must not hold up the publishers.
        if nextSend < .distantFuture {
            let later = Instant.now
            if later >= nextSend { sendDue(now: later) }
        }
    }

    /// Tells the datagram's protocol by its first bytes (RFC 7983, RFC 5761).
    @inline(__always)
    private func take(slot: Int, length: Int, arrival: Int64, peer: ClientPeer, player: PlayerPeer?, now: Instant) {
        let bytes = UnsafeMutableRawPointer(arena + slot * Self.slotSize)
        let first = bytes.load(as: UInt8.self)
        guard first >= 128, first < 192, length >= RTPHeader.fixedLength else {
            peer.receive(control: UnsafeRawBufferPointer(start: bytes, count: length), now: now)
            return
        }
        guard let inbound = peer.inbound else { return }
        let second = bytes.load(fromByteOffset: 1, as: UInt8.self)
        if second >= 192, second <= 223 {
            guard case .ok(let plain) = inbound.unprotectRTCP(bytes, length: length) else { return }
            let plainBytes = UnsafeRawBufferPointer(start: bytes, count: plain)
            if let player { player.receive(rtcp: plainBytes, now: now) }
            if let publisher = peer as? PublisherPeer { publisher.receive(rtcp: plainBytes, now: now) }
            return
        }
        guard let player else { return }
        if plan.loss > 0, Double(random.next() >> 11) < plan.loss * 9_007_199_254_740_992 {
            window.injectedLosses += 1
            return
        }
        pending[slot] = Pending(player: .passUnretained(player), arrival: arrival)
        if !inbound.submitUnprotectRTP(bytes, length: length, userData: UInt64(slot)) {
            finishBatch(now: now)
            _ = inbound.submitUnprotectRTP(bytes, length: length, userData: UInt64(slot))
        }
    }

    /// Finishes all packets taken so far; their slots are free again.
    private func complete(now: Instant) {
        finishBatch(now: now)
        used = 0
    }

    private func finishBatch(now: Instant) {
        for done in machine.completeUnprotected() {
            let item = pending[Int(done.userData)]
            let player = item.player
            guard case .ok(let length) = done.result else {
                player._withUnsafeGuaranteedRef {
                    if done.result == .replayed {
                        // The network never doubles a packet here: the server sent one index twice.
                        $0.video.pointee.countDuplicate()
                    } else {
                        $0.state.pointee.authenticationFailures += 1
                    }
                }
                continue
            }
            player._withUnsafeGuaranteedRef {
                receive(
                    rtp: UnsafeRawBufferPointer(start: done.packet, count: length), arrival: item.arrival, player: $0,
                    now: now)
            }
        }
    }

    // MARK: - Packet path

    @inline(__always)
    private func receive(rtp packet: UnsafeRawBufferPointer, arrival: Int64, player: PlayerPeer, now: Instant) {
        guard let header = try? RTPHeader(parsing: packet.bytes), header.payloadLength > 0 else { return }
        let state = player.state
        var offset = header.headerLength
        var length = header.payloadLength
        var sequence = header.sequence
        let isAudio = header.payloadType == state.pointee.audioType
        let isRTX = header.payloadType == state.pointee.rtxType && !isAudio
        guard isAudio || isRTX || header.payloadType == state.pointee.videoType else { return }
        if isRTX {
            guard length > 2 else { return }
            sequence = packet.bytes.loadBigEndian(at: offset)
            offset += 2
            length -= 2
        }
        let clock = isAudio ? player.clock.audio : player.clock.video
        guard let clip = isAudio ? plan.audio : plan.video else { return }
        let track = isAudio ? player.audio : player.video
        if !isRTX { track.pointee.ssrc = header.ssrc }
        guard let number = track.pointee.accept(sequence) else { return }
        if isRTX { state.pointee.recovered += 1 }
        if !isAudio { player.note(number: number, isRetransmission: isRTX, now: now) }
        let isLast = isAudio || header.marker
        if isLast, let at = FrameMark.offset(codec: clip.codec, payloadLength: length), at + FrameMark.length <= length,
            let mark = FrameMark.read(packet.baseAddress! + offset + at)
        {
            track.pointee.learn(timestamp: header.timestamp, frame: mark.frame, ticks: clip.ticksPerFrame)
        }
        if !state.pointee.isReady {
            becomeReady(
                player, clip: clip, header: header, payload: packet.bytes.extracting(offset..<(offset + length)),
                isAudio: isAudio)
        }
        guard state.pointee.isMeasured,
            let delay = track.pointee.deliver(
                timestamp: header.timestamp, ticks: clip.ticksPerFrame, arrival: arrival, clock: clock)
        else { return }
        if isAudio {
            window.audioDelay.record(nanoseconds: delay)
        } else {
            window.videoDelay.record(nanoseconds: delay)
        }
    }

    private func becomeReady(_ player: PlayerPeer, clip: Clip, header: RTPHeader, payload: RawSpan, isAudio: Bool) {
        let state = player.state
        guard state.pointee.videoType != 0 else {
            state.pointee.isReady = true
            return
        }
        guard !isAudio else { return }
        if PayloadInspector.inspect(clip.codec, payload).isKeyFrameStart {
            state.pointee.keyTimestamp = header.timestamp
        }
        if header.marker, state.pointee.keyTimestamp == header.timestamp { state.pointee.isReady = true }
    }
}
