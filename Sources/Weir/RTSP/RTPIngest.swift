import ControlPlane
import LinuxNet
import MediaEngine
import MediaFormats
import MediaFrames
import RTP
import SDP
import Synchronization
import Wire

/// RTP and RTCP of one publisher or camera on their way into the engine, where they are a stream like any other.
///
/// Packets are checked, put in order, split where players could not take them, and numbered (`TrackIntake`); sender
/// reports become the relation of the tracks' clocks. May be called from any thread, at the cost of one lock per packet of
/// a publisher, which nobody else wants as a rule.
final class RTPIngest: Sendable {
    /// What is known of the way on which packets come.
    struct Options: Sendable {
        /// In the RTSP connection: nothing is missing or out of order. Else by datagrams.
        var isInConnection: Bool
        /// The sender is said to make key frames when asked (`a=rtcp-fb` with `nack pli`). Without that the current group
        /// of pictures is kept for who joins.
        var answersKeyFrameRequests = false
    }

    /// What is told to whoever owns the ingest; called while packets are taken, so it must return at once.
    struct Listener: Sendable {
        /// RTCP for the sender: receiver reports, requests for key frames.
        var feedback: @Sendable (_ track: Int, _ packet: [UInt8]) -> Void = { _, _ in }
        /// The pictures are out of order (B frames). Once.
        var isReordered: @Sendable (PictureOrder.Evidence) -> Void = { _ in }
    }

    private struct State {
        var tracks: [TrackIntake]
        /// Came before the first packet of its source.
        var earlyReports: [SenderReport?]
        var keyFrameRequests: UInt64 = 0
        var nextReceiverReport: Instant
        var wasReordered = false
        var isStopped = false
        /// The engine had no room.
        var refused: UInt64 = 0
    }

    private static let receiverReportInterval = Interval.seconds(5)

    let peer: PeerID
    private let source: PacketSource
    private let options: Options
    private let listener: Listener
    private let ssrc = UInt32.random(in: 1 ... .max)
    private let state: Mutex<State>

    /// Makes the publisher `peer` of the engine, which `EngineMediaBackend.close(peer:)` ends.
    ///
    /// - Parameter tracks: as the sender describes them; payload types are those of its packets.
    init(
        _ tracks: [TrackDescription], peer: PeerID, media: EngineMediaBackend, options: Options,
        listener: Listener = Listener()
    ) throws(OnDemandFailure) {
        let published = tracks.enumerated().map { IngestTrack.negotiated($1, index: $0, options) }
        source = try media.addSource(
            peer: peer, tracks: published, secondChoice: IngestTrack.secondChoice(tracks, published))
        media.variants.add(publisher: peer, tracks: tracks)
        self.peer = peer
        self.options = options
        self.listener = listener
        let settings = options.isInConnection ? IntakeSettings.connection : IntakeSettings()
        state = Mutex(
            State(
                tracks: tracks.map { TrackIntake($0, settings: settings) }, earlyReports: tracks.map { _ in nil },
                nextReceiverReport: Instant.now + Self.receiverReportInterval))
        // What the description says is known before the first packet comes.
        noteOrder()
    }

    /// How packets come is known when the first is about to.
    func expect(isInConnection: Bool) {
        let settings = isInConnection ? IntakeSettings.connection : IntakeSettings()
        state.withLock { state in
            for track in state.tracks.indices where state.tracks[track].ssrc == nil {
                state.tracks[track] = TrackIntake(state.tracks[track].description, settings: settings)
            }
        }
    }

    // MARK: - What comes

    /// Takes a packet as it came from the network. Nothing goes to players before `flush`.
    func receive(track: Int, isRTCP: Bool, _ packet: RawSpan, arrival: Instant = .now) {
        state.withLock { state in
            guard state.tracks.indices.contains(track), !state.isStopped else { return }
            if isRTCP {
                report(packet, track: track, arrival, &state)
                return
            }
            let source = source
            var refused: UInt64 = 0
            state.tracks[track].receive(packet, arrival: arrival) { output, payload in
                if !Self.send(output, payload, track: track, to: source) { refused += 1 }
            }
            state.refused &+= refused
            if state.earlyReports[track] != nil, state.tracks[track].ssrc != nil {
                applyEarlyReport(track, arrival, &state)
            }
        }
    }

    private static func send(
        _ output: TrackIntake.Output, _ payload: RawSpan, track: Int, to source: PacketSource
    ) -> Bool {
        if output.restarts { source.restart(track: track, arrival: output.arrival) }
        return source.send(
            track: track, number: output.number, timestamp: output.timestamp, marker: output.marker,
            arrival: output.arrival, payload)
    }

    /// No more packets wait at the moment: what has come goes to players, and what there is to say to the sender is said.
    func flush(now: Instant = .now) {
        source.flush()
        noteOrder()
        for (track, packet) in feedback(now) { listener.feedback(track, packet) }
    }

    /// The sender is connected anew: numbers, sources and times have nothing to do with those before, and players see the
    /// stream go on.
    ///
    /// - Returns: False if these are other tracks, which players cannot be given: the stream must end.
    func restart(tracks: [TrackDescription], now: Instant = .now) -> Bool {
        let source = source
        let isSame = state.withLock { state in
            guard state.tracks.count == tracks.count,
                zip(state.tracks, tracks).allSatisfy({ IngestTrack.isSame($0.description, $1) })
            else { return false }
            for track in tracks.indices {
                state.tracks[track].restart(tracks[track]) { output, payload in
                    _ = Self.send(output, payload, track: track, to: source)
                }
                state.earlyReports[track] = nil
            }
            return true
        }
        if isSame { flush(now: now) }
        return isSame
    }

    /// Nothing follows; what waits behind missing packets is given out. The publisher itself ends with its peer.
    func stop() {
        let source = source
        state.withLock { state in
            guard !state.isStopped else { return }
            state.isStopped = true
            for track in state.tracks.indices {
                state.tracks[track].finish { output, payload in
                    _ = Self.send(output, payload, track: track, to: source)
                }
            }
        }
        source.flush()
    }

    /// The stream was ended from the other side: nothing is taken any more.
    var isEnded: Bool { source.isEnded }

    /// What has become of the packets, by track.
    var counts: [IntakeCounts] { state.withLock { $0.tracks.map(\.counts) } }

    /// The tracks with the parameter sets as they are now: of the description, or of the pictures.
    var tracks: [TrackDescription] {
        state.withLock { state in
            state.tracks.map { intake in
                var track = intake.description
                if track.codec == .h264 || track.codec == .h265 { track.parameterSets = intake.parameterSets }
                return track
            }
        }
    }

    // MARK: - Clocks

    private func report(_ packet: RawSpan, track: Int, _ arrival: Instant, _ state: inout State) {
        guard RTCP.isRTCP(packet) else { return }
        var reports: [SenderReport] = []
        // What stands before a broken part is as good as without it.
        try? RTCP.parse(packet) { part in
            if case .senderReport(let report) = part { reports.append(report) }
        }
        for report in reports where report.ntp.rawValue != 0 {
            switch state.tracks[track].ssrc {
            case nil: state.earlyReports[track] = report
            case report.ssrc: apply(report, track: track, arrival, &state)
            default: break
            }
        }
    }

    /// Encoders tell their clock before their first packet.
    private func applyEarlyReport(_ track: Int, _ arrival: Instant, _ state: inout State) {
        guard let report = state.earlyReports[track] else { return }
        state.earlyReports[track] = nil
        if report.ssrc == state.tracks[track].ssrc { apply(report, track: track, arrival, &state) }
    }

    private func apply(_ report: SenderReport, track: Int, _ arrival: Instant, _ state: inout State) {
        state.tracks[track].note(report: report.ntp, arrival: arrival)
        source.report(track: track, ntp: report.ntp.rawValue, timestamp: report.rtpTimestamp, arrival: arrival)
    }

    // MARK: - What is said

    private func noteOrder() {
        let evidence = state.withLock { state -> PictureOrder.Evidence? in
            guard !state.wasReordered else { return nil }
            let evidence = state.tracks.lazy.compactMap(\.order.evidence).first
            state.wasReordered = evidence != nil
            return evidence
        }
        if let evidence { listener.isReordered(evidence) }
    }

    private func feedback(_ now: Instant) -> [(Int, [UInt8])] {
        let requests = options.answersKeyFrameRequests ? source.keyFrameRequests : 0
        return state.withLock { state in
            let isDue = now >= state.nextReceiverReport
            let wantsKeyFrame = requests != state.keyFrameRequests
            guard isDue || wantsKeyFrame else { return [] }
            state.keyFrameRequests = requests
            if isDue { state.nextReceiverReport = now + Self.receiverReportInterval }
            return state.tracks.indices.compactMap { track in
                let isAsked = wantsKeyFrame && state.tracks[track].description.isVideo
                guard isDue || isAsked, let media = state.tracks[track].ssrc else { return nil }
                var packet: [UInt8] = []
                let blocks = isDue ? state.tracks[track].reportBlock(now: now).map { [$0] } ?? [] : []
                RTCPWriter.receiverReport(ssrc: ssrc, blocks: blocks, into: &packet)
                RTCPWriter.sdesCNAME(ssrc: ssrc, cname: "weir", into: &packet)
                if isAsked { RTCPWriter.pli(sender: ssrc, media: media, into: &packet) }
                return (track, packet)
            }
        }
    }
}
