import ICE
import RTP
import Wire

/// A publisher: sends test pictures and sound, answers NACK by RTX from a store of its own and PLI by a key frame,
/// and keeps what the engine told it.
final class PublisherCore: PeerCore {
    struct Settings {
        var framesPerSecond: Int64 = 25
        var packetsPerFrame = 4
        var payloadLength = 160
        /// Packets of a picture, where not every picture has the same number.
        var packetsOf: ((_ frame: UInt32, _ isKey: Bool) -> Int)?
        /// Exact payload length of a video packet, instead of about `payloadLength`.
        var videoLength: ((_ frame: UInt32, _ part: Int) -> Int)?
        var audioLength: ((_ frame: UInt32) -> Int)?
        /// Frames from one key frame to the next; 0: only when asked.
        var keyFrameEvery = 0
        var hasAudio = true
        /// Between two sender reports; browsers take up to five seconds for sound.
        var reportInterval = Interval.milliseconds(500)
        var audioReportInterval = Interval.milliseconds(500)
        var firstVideoSequence: UInt16 = 20_000
        var firstAudioSequence: UInt16 = 500
        /// After every so many pictures a packet of padding only, as a bandwidth probe; 0: never.
        var paddingEvery = 0
        var answersPLI = true
        /// What its offer says of the video codec (`a=rtcp-fb`).
        var feedback = ["nack", "nack pli", "transport-cc"]
        /// H264 instead of VP8, with these parameter sets in its SDP and none in the stream.
        var parameterSets: String?
    }

    /// One packet as first sent.
    struct Sent {
        var sequence: UInt16
        var timestamp: UInt32
        var marker: Bool
        var payload: [UInt8]
        var part: TestPart?
    }

    private static let audioFrame = Interval.milliseconds(20)
    /// Two requests for one number within less than the shortest round trip are one too many.
    private static let hasty = Interval.milliseconds(15)
    /// Packets kept for retransmission.
    private static let storeCapacity = 4096
    /// The publisher's wall clock at the world's zero: 2024-01-01.
    static let wallClock: UInt64 = 1_704_067_200_000_000_000

    var settings = Settings()
    var isSending = true
    /// Pictures alone stop.
    var videoIsMuted = false
    private(set) var sentVideo: [TestPart] = []
    private(set) var sentAudio: [TestPart] = []
    private(set) var keyFrames: [Instant] = []
    // What the engine asked for and told.
    private(set) var plis: [Instant] = []
    private(set) var nackMessages = 0
    private(set) var nackedNumbers = 0
    private(set) var unknownNacks = 0
    private(set) var hastyNacks = 0
    private var lastAsked: [UInt16: Instant] = [:]
    private(set) var retransmitted = 0
    private(set) var feedbacks: [(at: Instant, feedback: TransportFeedback)] = []
    private(set) var reports: [(at: Instant, block: ReportBlock)] = []
    private(set) var rembs: [UInt64] = []
    private(set) var firs: [UInt8] = []

    private(set) var videoSSRC = TestIDs.publisherVideo
    private(set) var rtxSSRC = TestIDs.publisherRTX
    private var start = Instant.zero
    private var videoIndex: UInt64 = 0
    private var audioIndex: UInt64 = 0
    private var rtxIndex: UInt64 = 1000
    private var transportSequence: UInt16 = 65_000
    private var videoBase: UInt32 = 0xffff_0000
    private let audioBase: UInt32 = 0x1234_5678
    private var nextFrame = Instant.zero
    private var nextAudio = Instant.zero
    private var nextReport = Instant.zero
    private var nextAudioReport = Instant.zero
    private var frame: UInt32 = 0
    private var audioFrameNumber: UInt32 = 0
    private var wantsKey = true
    private var store: [UInt16: Sent] = [:]
    private var storeOrder: [UInt16] = []
    private var videoPackets: UInt32 = 0
    private var audioPackets: UInt32 = 0

    override func connected(now: Instant) {
        start = now
        nextFrame = now
        nextAudio = now
        nextReport = now
        nextAudioReport = now
        videoIndex = UInt64(settings.firstVideoSequence)
        audioIndex = UInt64(settings.firstAudioSequence)
    }

    override func tick(now: Instant) {
        while isSending, now >= nextFrame {
            if !videoIsMuted { sendPicture(now: nextFrame) }
            nextFrame = nextFrame + .nanoseconds(1_000_000_000 / settings.framesPerSecond)
        }
        while isSending, settings.hasAudio, now >= nextAudio {
            sendAudio(now: nextAudio)
            nextAudio = nextAudio + Self.audioFrame
        }
        guard isSending else { return }
        if now >= nextReport {
            nextReport = now + settings.reportInterval
            sendReport(videoSSRC, videoBase, TestIDs.videoClock, packets: videoPackets, now: now)
        }
        if now >= nextAudioReport {
            nextAudioReport = now + settings.audioReportInterval
            sendReport(TestIDs.publisherAudio, audioBase, TestIDs.audioClock, packets: audioPackets, now: now)
        }
    }

    /// Time stands still while nothing is sent; afterwards frames go on from `now`.
    func resume(now: Instant) {
        isSending = true
        nextFrame = now
        nextAudio = now
    }

    /// A new sender of the same tracks: other SSRCs, numbers and times, and a key frame first.
    func restartVideo(ssrc: UInt32, rtx: UInt32, sequence: UInt16, timestamp: UInt32, now: Instant) {
        videoSSRC = ssrc
        rtxSSRC = rtx
        videoIndex = UInt64(sequence)
        videoBase = timestamp &- ticks(now, TestIDs.videoClock)
        wantsKey = true
        store = [:]
        storeOrder = []
    }

    private func ticks(_ at: Instant, _ clock: Int) -> UInt32 {
        UInt32(truncatingIfNeeded: (at - start).microseconds * Int64(clock) / 1_000_000)
    }

    // MARK: - Media

    private func sendPicture(now: Instant) {
        let every = UInt32(settings.keyFrameEvery)
        let isKey = wantsKey || (every > 0 && frame % every == 0)
        wantsKey = false
        if isKey { keyFrames.append(now) }
        let timestamp = videoBase &+ ticks(now, TestIDs.videoClock)
        let count = settings.packetsOf?(frame, isKey) ?? settings.packetsPerFrame
        for i in 0..<count {
            let part = TestPart(
                serial: UInt32(sentVideo.count), frame: frame, part: UInt8(i), parts: UInt8(count), isKey: isKey,
                capture: (now - start).nanoseconds)
            sentVideo.append(part)
            // Sizes that differ, so that the engine's joining of packets is put to use and to the test.
            let length = settings.payloadLength - (i == count - 1 ? 40 : 0)
            let payload: [UInt8]
            if settings.parameterSets != nil {
                payload = TestMedia.h264(part, length: length)
            } else if let exact = settings.videoLength?(frame, i) {
                payload = TestMedia.video(part, length: exact, isExact: true)
            } else {
                payload = TestMedia.video(part, length: length)
            }
            send(Sent(sequence: 0, timestamp: timestamp, marker: i == count - 1, payload: payload, part: part))
        }
        frame += 1
        if settings.paddingEvery > 0, Int(frame) % settings.paddingEvery == 0 { sendPadding(timestamp: timestamp) }
    }

    /// Numbers, stores and sends one video packet.
    private func send(_ packet: Sent) {
        var packet = packet
        packet.sequence = UInt16(truncatingIfNeeded: videoIndex)
        store[packet.sequence] = packet
        storeOrder.append(packet.sequence)
        if storeOrder.count > Self.storeCapacity { store[storeOrder.removeFirst()] = nil }
        videoPackets += 1
        let header = rtpHeader(
            marker: packet.marker, payloadType: TestIDs.videoType, sequence: packet.sequence,
            timestamp: packet.timestamp, ssrc: videoSSRC, padding: packet.part == nil, extensions: extensions("1"))
        send(rtpHeader: header, payload: packet.payload, ssrc: videoSSRC, index: videoIndex)
        videoIndex += 1
    }

    /// A packet of padding only (RFC 3550 §5.1): the last byte counts the padding.
    func sendPadding(timestamp: UInt32) {
        var padding = [UInt8](repeating: 0, count: 200)
        padding[199] = 200
        send(Sent(sequence: 0, timestamp: timestamp, marker: false, payload: padding, part: nil))
    }

    private func sendAudio(now: Instant) {
        let part = TestPart(
            serial: UInt32(sentAudio.count), frame: audioFrameNumber, part: 0, parts: 1, isKey: false,
            capture: (now - start).nanoseconds)
        sentAudio.append(part)
        let header = rtpHeader(
            marker: audioFrameNumber == 0, payloadType: TestIDs.audioType,
            sequence: UInt16(truncatingIfNeeded: audioIndex),
            timestamp: audioBase &+ ticks(now, TestIDs.audioClock), ssrc: TestIDs.publisherAudio,
            extensions: extensions("0"))
        let length = settings.audioLength?(audioFrameNumber) ?? 60
        send(
            rtpHeader: header, payload: TestMedia.audio(part, length: length, isExact: settings.audioLength != nil),
            ssrc: TestIDs.publisherAudio, index: audioIndex)
        audioIndex += 1
        audioFrameNumber += 1
        audioPackets += 1
    }

    private func extensions(_ mid: String) -> [(id: UInt8, value: [UInt8])] {
        defer { transportSequence &+= 1 }
        return [
            (TestIDs.midExtension, Array(mid.utf8)),
            (
                TestIDs.transportExtension,
                [UInt8(transportSequence >> 8), UInt8(truncatingIfNeeded: transportSequence)]
            ),
        ]
    }

    private func sendReport(_ ssrc: UInt32, _ base: UInt32, _ clock: Int, packets: UInt32, now: Instant) {
        var bytes: [UInt8] = []
        RTCPWriter.senderReport(
            SenderReport(
                ssrc: ssrc, ntp: NTPTime(unixNanoseconds: Self.wallClock + UInt64((now - start).nanoseconds)),
                rtpTimestamp: base &+ ticks(now, clock), packetCount: packets, octetCount: packets &* 100, blocks: []),
            into: &bytes)
        RTCPWriter.sdesCNAME(ssrc: ssrc, cname: "publisher", into: &bytes)
        send(rtcp: bytes)
    }

    // MARK: - Feedback

    override func receive(rtcp packet: RTCPPacket, now: Instant) {
        switch packet {
        case .nack(_, let media, let lost) where media == videoSSRC:
            nackMessages += 1
            nackedNumbers += lost.count
            for sequence in lost {
                if let last = lastAsked[sequence], now - last < Self.hasty { hastyNacks += 1 }
                lastAsked[sequence] = now
                retransmit(sequence)
            }
        case .pli(_, let media) where media == videoSSRC:
            plis.append(now)
            if settings.answersPLI { wantsKey = true }
        case .fir(_, let entries):
            for entry in entries where entry.ssrc == videoSSRC {
                firs.append(entry.sequence)
                if settings.answersPLI { wantsKey = true }
            }
        case .receiverReport(_, let blocks): for block in blocks { reports.append((now, block)) }
        case .transportFeedback(let feedback): feedbacks.append((now, feedback))
        case .remb(_, let bitrate, _): rembs.append(bitrate)
        default: break
        }
    }

    /// RFC 4588 §4: the original sequence number, then the original payload.
    private func retransmit(_ sequence: UInt16) {
        guard let packet = store[sequence] else {
            unknownNacks += 1
            return
        }
        retransmitted += 1
        rtxIndex += 1
        var payload: [UInt8] = []
        payload.appendBigEndian(sequence)
        if packet.part != nil { payload += packet.payload }
        let header = rtpHeader(
            marker: packet.marker, payloadType: TestIDs.rtxType, sequence: UInt16(truncatingIfNeeded: rtxIndex),
            timestamp: packet.timestamp, ssrc: rtxSSRC, extensions: extensions("1"))
        send(rtpHeader: header, payload: payload, ssrc: rtxSSRC, index: rtxIndex)
    }
}
