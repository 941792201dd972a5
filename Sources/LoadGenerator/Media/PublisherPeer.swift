import CLinuxNet
import RTP
import SRTP
import Wire

/// A client that publishes: sends its clips for ever, each picture's packets spread as libwebrtc's pacer does, answers
/// key-frame requests and NACKs, reports.
final class PublisherPeer: ClientPeer {
    private static let reportInterval = Interval.milliseconds(1000)
    /// A key frame was sent so recently that a request is taken as answered.
    private static let keyFrameInterval = Interval.milliseconds(300)
    /// Packets that can be sent again.
    private static let sentCapacity = 512
    private static let roomSize = 1500

    /// One track on its way out.
    private struct Sender {
        let clip: Clip
        let ssrc: UInt32
        let payloadType: UInt8
        let clock: TrackClock
        /// Frames sent, which is the number of the next; not the place in the clip.
        var frame: Int64 = 0
        var place = 0
        var packet = 0
        /// RTP timestamp of frame 0.
        let firstTimestamp: UInt32
        var index: UInt64
        var packets: UInt32 = 0
        var bytes: UInt32 = 0
        /// When the next packet is due, and when the next frame is.
        var due: Instant
        var frameDue: Instant
        let spacing: Interval
        let frameInterval: Interval
        var lastKeyFrame = Instant(nanoseconds: .min / 2)
        var wantsKeyFrame = false

        var timestamp: UInt32 { firstTimestamp &+ UInt32(truncatingIfNeeded: frame) &* clip.ticksPerFrame }
    }
    private struct Sent {
        var index: UInt64 = .max
        var frame: Int64 = 0
        var place: Int32 = 0
        var packet: Int32 = 0
    }

    private var video: Sender?
    private var audio: Sender?
    private var sent: [Sent] = []
    private var rtxIndex: UInt64
    private let rtxType: UInt8
    private var nextReport = Instant.distantFuture
    private let streamNumber: UInt16
    private let plan: MediaPlan
    private let random: (video: UInt32, audio: UInt32)
    private let clock: StreamClock
    private let types: (video: UInt8, audio: UInt8)

    init(
        handle: LoadPeer, answer: ClientSDP.Answer, deadline: Instant, thread: LoadThread, plan: MediaPlan,
        clock: StreamClock
    ) throws(LoadError) {
        streamNumber = UInt16(truncatingIfNeeded: handle.stream)
        self.plan = plan
        self.clock = clock
        rtxType = answer.rtx
        types = (answer.video, answer.audio)
        random = (thread.random.nextWord(), thread.random.nextWord())
        rtxIndex = UInt64(thread.random.nextWord() & 0x3fff)
        try super.init(handle: handle, answer: answer, deadline: deadline, thread: thread)
    }

    override func connected(now: Instant) {
        // Streams do not begin their pictures at the same moment.
        let phase = Interval.microseconds(Int64(thread.random.nextWord() % 33_000))
        if let clip = plan.video, types.video != 0 {
            video = sender(clip, handle.sources.video, types.video, clock.video, start: now + phase, now: now)
            sent = Array(repeating: Sent(), count: Self.sentCapacity)
        }
        if let clip = plan.audio, types.audio != 0 {
            audio = sender(clip, handle.sources.audio, types.audio, clock.audio, start: now + phase, now: now)
        }
        nextReport = now
        becomeReady(now: now)
    }

    private func sender(
        _ clip: Clip, _ ssrc: UInt32, _ type: UInt8, _ clock: TrackClock, start: Instant, now: Instant
    ) -> Sender {
        let frameInterval = Interval.nanoseconds(Int64(clip.ticksPerFrame) * 1_000_000_000 / Int64(clip.clockRate))
        let packets = max(1, clip.frames.reduce(0) { $0 + $1.packets.count })
        let mean = frameInterval.nanoseconds * Int64(clip.frames.count) / Int64(packets)
        return Sender(
            clip: clip, ssrc: ssrc, payloadType: type, clock: clock,
            firstTimestamp: clip.codec.isVideo ? random.video : random.audio,
            index: UInt64(thread.random.nextWord() & 0x3fff), due: start, frameDue: start,
            spacing: .nanoseconds(Int64(Double(mean) / plan.pacingFactor)), frameInterval: frameInterval)
    }

    // MARK: - Sending

    /// When `sendDue` has something to do.
    var due: Instant { min(video?.due ?? .distantFuture, audio?.due ?? .distantFuture) }

    func sendDue(now: Instant) {
        guard !hasEnded else { return }
        while video != nil, video!.due <= now { advance(&video!, now: now) }
        while audio != nil, audio!.due <= now { advance(&audio!, now: now) }
    }

    /// Sends one packet and sets when the next is due.
    private func advance(_ sender: inout Sender, now: Instant) {
        if sender.packet == 0, sender.wantsKeyFrame {
            sender.place = 0
            sender.wantsKeyFrame = false
        }
        let frame = sender.clip.frames[sender.place]
        let isLast = sender.packet == frame.packets.count - 1
        if sender.packet == 0, frame.isKeyFrame { sender.lastKeyFrame = now }
        if sender.clip.codec.isVideo {
            sent[Int(sender.index) % Self.sentCapacity] = Sent(
                index: sender.index, frame: sender.frame, place: Int32(sender.place), packet: Int32(sender.packet))
        }
        let at = weir_realtime_ns()
        send(
            frame, packet: sender.packet, number: sender.frame, timestamp: sender.timestamp, ssrc: sender.ssrc,
            payloadType: sender.payloadType, index: sender.index, codecIsVideo: sender.clip.codec.isVideo, original: nil
        )
        sender.index += 1
        sender.packets &+= 1
        sender.bytes &+= UInt32(frame.packets[sender.packet].count)
        guard isLast else {
            sender.packet += 1
            sender.due = min(sender.due + sender.spacing, sender.frameDue + sender.frameInterval)
            return
        }
        sender.clock.sent(frame: sender.frame, at: at)
        if sender.clock.isMeasured(sender.frame) {
            sender.clock.windowPackets.wrappingAdd(frame.packets.count, ordering: .relaxed)
            if frame.isKeyFrame { sender.clock.windowKeyFrames.wrappingAdd(1, ordering: .relaxed) }
        }
        sender.packet = 0
        sender.frame += 1
        sender.place = (sender.place + 1) % sender.clip.frames.count
        sender.frameDue = sender.frameDue + sender.frameInterval
        // After a standstill of this program: no burst of what was missed.
        if now - sender.frameDue > .milliseconds(500) { sender.frameDue = now }
        sender.due = sender.frameDue
    }

    /// Header, payload with mark, cipher, socket.
    /// - Parameter original: sequence number of the packet that this is a retransmission of (RFC 4588 §4).
    private func send(
        _ frame: ClipFrame, packet: Int, number: Int64, timestamp: UInt32, ssrc: UInt32, payloadType: UInt8,
        index: UInt64, codecIsVideo: Bool, original: UInt16?
    ) {
        guard let outbound else { return }
        let payload = frame.packets[packet]
        let room = thread.scratch
        let isLast = packet == frame.packets.count - 1
        guard payload.count + 64 <= Self.roomSize else { return }
        room.storeBytes(of: 0x80, as: UInt8.self)
        room.storeBytes(
            of: payloadType | (codecIsVideo && isLast ? 0x80 : 0), toByteOffset: 1, as: UInt8.self)
        room.storeBytes(of: UInt16(truncatingIfNeeded: index).bigEndian, toByteOffset: 2, as: UInt16.self)
        room.storeBytes(of: timestamp.bigEndian, toByteOffset: 4, as: UInt32.self)
        room.storeBytes(of: ssrc.bigEndian, toByteOffset: 8, as: UInt32.self)
        var body = room + RTPHeader.fixedLength
        if let original {
            body.storeBytes(of: original.bigEndian, as: UInt16.self)
            body += 2
        }
        payload.withUnsafeBytes { body.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
        if isLast {
            FrameMark(publisher: streamNumber, frame: UInt32(truncatingIfNeeded: number)).write(body + frame.markOffset)
        }
        let plain = room + RTPHeader.fixedLength
        let length = thread.machine.protectRTP(
            outbound, packet: room, headerLength: RTPHeader.fixedLength, payload: UnsafeRawPointer(plain),
            payloadLength: payload.count + (original == nil ? 0 : 2), ssrc: ssrc, packetIndex: index)
        thread.machine.flush()
        _ = weir_client_send(descriptor, room.assumingMemoryBound(to: UInt8.self), length)
    }

    // MARK: - Windows

    func beginWindow() {
        for sender in [video, audio].compactMap({ $0 }) {
            sender.clock.windowPackets.store(0, ordering: .relaxed)
            sender.clock.windowKeyFrames.store(0, ordering: .relaxed)
            sender.clock.windowEnd.store(.max, ordering: .relaxed)
            // The frame that is on its way now began before.
            sender.clock.windowStart.store(sender.frame + 1, ordering: .relaxed)
        }
    }

    func endWindow() {
        for sender in [video, audio].compactMap({ $0 }) {
            // A picture of which a part is sent belongs to the window.
            sender.clock.windowEnd.store(sender.frame + (sender.packet > 0 ? 1 : 0), ordering: .relaxed)
        }
    }

    // MARK: - Feedback

    override func poll(now: Instant) {
        super.poll(now: now)
        guard outbound != nil, !hasEnded, now >= nextReport else { return }
        nextReport = now + Self.reportInterval
        for sender in [video, audio].compactMap({ $0 }) {
            var bytes: [UInt8] = []
            let ahead = Double((now - (sender.frameDue - sender.frameInterval)).nanoseconds) / 1e9
            let ticks = UInt32(truncatingIfNeeded: Int64(ahead * Double(sender.clip.clockRate)))
            RTCPWriter.senderReport(
                SenderReport(
                    ssrc: sender.ssrc, ntp: NTPTime(unixNanoseconds: UInt64(max(0, weir_realtime_ns()))),
                    rtpTimestamp: sender.timestamp &+ ticks, packetCount: sender.packets, octetCount: sender.bytes,
                    blocks: []), into: &bytes)
            send(rtcp: bytes)
        }
    }

    func receive(rtcp bytes: UnsafeRawBufferPointer, now: Instant) {
        try? RTCP.parse(bytes.bytes) { packet in
            switch packet {
            case .pli, .fir:
                if video != nil, now - video!.lastKeyFrame >= Self.keyFrameInterval { video!.wantsKeyFrame = true }
            case .nack(_, let media, let lost):
                if media == video?.ssrc { for number in lost { resend(number) } }
            default: break
            }
        }
    }

    private func resend(_ sequence: UInt16) {
        guard let video else { return }
        let distance = UInt16(truncatingIfNeeded: video.index) &- sequence
        let index = video.index &- UInt64(distance)
        let known = sent[Int(index % UInt64(Self.sentCapacity))]
        guard known.index == index, distance > 0 else { return }
        let isRTX = rtxType != 0
        send(
            video.clip.frames[Int(known.place)], packet: Int(known.packet), number: known.frame,
            timestamp: video.firstTimestamp &+ UInt32(truncatingIfNeeded: known.frame) &* video.clip.ticksPerFrame,
            ssrc: isRTX ? handle.sources.rtx : video.ssrc, payloadType: isRTX ? rtxType : video.payloadType,
            index: isRTX ? rtxIndex : index, codecIsVideo: true, original: isRTX ? sequence : nil)
        if isRTX { rtxIndex += 1 }
    }
}

extension SeededRandom {
    mutating func nextWord() -> UInt32 { UInt32(truncatingIfNeeded: next()) }
}
