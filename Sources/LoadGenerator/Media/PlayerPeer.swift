import MediaFormats
import RTP
import SRTP
import Wire

/// A client that plays: counts what it receives, asks for what is missing, reports as a browser does.
final class PlayerPeer: ClientPeer {
    private static let reportInterval = Interval.milliseconds(1000)
    private static let nackInterval = Interval.milliseconds(20)
    /// Without a key frame for so long the player asks for one.
    private static let keyFramePatience = Interval.milliseconds(500)
    private static let roundTrip = Interval.milliseconds(20)
    private static let ownSSRC: UInt32 = 1

    let state: UnsafeMutablePointer<PlayerState>
    let video: UnsafeMutablePointer<PlayerTrack>
    let audio: UnsafeMutablePointer<PlayerTrack>
    let clock: StreamClock
    private let plan: MediaPlan
    private var nack = NackGenerator(reorderWait: .milliseconds(5))
    private var nextReport = Instant.distantFuture
    private var nextNack = Instant.zero
    private var nextKeyFrameRequest = Instant.distantFuture
    /// Numbers asked for.
    private(set) var nacks = 0

    init(
        handle: LoadPeer, answer: ClientSDP.Answer, deadline: Instant, thread: LoadThread, plan: MediaPlan,
        clock: StreamClock
    ) throws(LoadError) {
        state = .allocate(capacity: 1)
        state.initialize(to: PlayerState())
        video = .allocate(capacity: 2)
        video.initialize(repeating: PlayerTrack(), count: 2)
        audio = video + 1
        state.pointee.videoType = answer.video
        state.pointee.rtxType = answer.rtx
        state.pointee.audioType = answer.audio
        state.pointee.isMeasured = handle.isMeasured
        self.plan = plan
        self.clock = clock
        try super.init(handle: handle, answer: answer, deadline: deadline, thread: thread)
    }

    deinit {
        state.deallocate()
        video.deallocate()
    }

    override func connected(now: Instant) {
        // Spread over the second, or all would report at once.
        nextReport = now + .milliseconds(Int64(handle.id % 1000))
        nextKeyFrameRequest = now + Self.keyFramePatience
    }

    /// Everything that is not on the packet path.
    override func poll(now: Instant) {
        super.poll(now: now)
        guard outbound != nil, !hasEnded else { return }
        if state.pointee.isReady { becomeReady(now: now) }
        if state.pointee.mayMiss, now >= nextNack { askForMissing(now: now) }
        if now >= nextReport {
            nextReport = now + Self.reportInterval
            report(now: now)
        }
        if now >= nextKeyFrameRequest { askForKeyFrame(now: now) }
    }

    func clearWindow() {
        video.pointee.delivered = 0
        audio.pointee.delivered = 0
        state.pointee.authenticationFailures = 0
        state.pointee.recovered = 0
        nacks = 0
    }

    // MARK: - Packet path

    /// A video packet under its extended number.
    @inline(__always) func note(number: Int64, isRetransmission: Bool, now: Instant) {
        nack.receive(number, isRetransmission: isRetransmission, now: now)
        state.pointee.mayMiss = nack.missingCount > 0
    }

    // MARK: - Feedback

    private func askForMissing(now: Instant) {
        nextNack = now + Self.nackInterval
        let lost = nack.due(now: now, roundTrip: Self.roundTrip)
        state.pointee.mayMiss = nack.missingCount > 0
        var bytes: [UInt8] = []
        if !lost.isEmpty {
            nacks += lost.count
            RTCPWriter.nack(sender: Self.ownSSRC, media: video.pointee.ssrc, lost: lost, into: &bytes)
        }
        if nack.takeNeedsKeyFrame() {
            RTCPWriter.pli(sender: Self.ownSSRC, media: video.pointee.ssrc, into: &bytes)
        }
        send(rtcp: bytes)
    }

    private func askForKeyFrame(now: Instant) {
        let interval = plan.keyFrameRequestInterval
        nextKeyFrameRequest = interval.map { now + $0 } ?? (isReady ? .distantFuture : now + Self.keyFramePatience)
        guard state.pointee.videoType != 0, !isReady || interval != nil else { return }
        var bytes: [UInt8] = []
        RTCPWriter.pli(sender: Self.ownSSRC, media: video.pointee.ssrc, into: &bytes)
        send(rtcp: bytes)
    }

    func receive(rtcp bytes: UnsafeRawBufferPointer, now: Instant) {
        try? RTCP.parse(bytes.bytes) { packet in
            guard case .senderReport(let report) = packet else { return }
            if report.ssrc == video.pointee.ssrc {
                Self.take(report, into: &video.pointee, now: now)
            } else if report.ssrc == audio.pointee.ssrc {
                Self.take(report, into: &audio.pointee, now: now)
            }
        }
    }

    private static func take(_ report: SenderReport, into track: inout PlayerTrack, now: Instant) {
        track.lastReport = report.ntp.middle32
        track.lastReportArrival = now.nanoseconds
    }

    private func report(now: Instant) {
        var blocks: [ReportBlock] = []
        Self.addBlock(of: &video.pointee, now: now, to: &blocks)
        Self.addBlock(of: &audio.pointee, now: now, to: &blocks)
        var bytes: [UInt8] = []
        RTCPWriter.receiverReport(ssrc: Self.ownSSRC, blocks: blocks, into: &bytes)
        send(rtcp: bytes)
    }

    /// RFC 3550 A.3; jitter is left 0: nobody asks the generator for it.
    private static func addBlock(of track: inout PlayerTrack, now: Instant, to blocks: inout [ReportBlock]) {
        guard track.highest >= 0 else { return }
        let expected = track.highest - track.first + 1
        let expectedNow = expected - track.reportedExpected
        let lostNow = max(0, expectedNow - (track.received - track.reportedReceived))
        track.reportedExpected = expected
        track.reportedReceived = track.received
        blocks.append(
            ReportBlock(
                ssrc: track.ssrc, fractionLost: expectedNow > 0 ? UInt8(min(255, lostNow * 256 / expectedNow)) : 0,
                cumulativeLost: Int32(clamping: expected - track.received),
                highestSequence: UInt32(truncatingIfNeeded: track.highest), lastSR: track.lastReport,
                delaySinceLastSR: track.lastReport == 0
                    ? 0 : UInt32(clamping: (now.nanoseconds - track.lastReportArrival) / 15_259)))
    }
}
