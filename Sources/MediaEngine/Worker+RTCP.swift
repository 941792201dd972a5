import ICE
import LinuxNet
import RTP
import SDP
import Synchronization
import Wire

/// Feedback in both directions, and everything that is due at times rather than by packets.
extension Worker {
    private static let fastInterval = Interval.milliseconds(10)
    private static let slowInterval = Interval.milliseconds(100)
    private static let feedbackInterval = Interval.milliseconds(60)
    private static let orphanGrace = Interval.seconds(5)
    private static let reportInterval = Interval.milliseconds(1000)
    /// Slow ticks in which every player is looked at once.
    private static let reviewParts = 4
    /// Sender reports of one source that follow each other closer than this are not passed on.
    private static let minReportSpacing = Interval.milliseconds(50)
    /// Sequence numbers of one NACK that are answered.
    private static let maxNackNumbers = 256

    static let cname = "weir"

    func handleRTCP(_ packet: RawSpan, peer: Peer, arrival: Instant) {
        do {
            try RTCP.parse(packet) { item in
                switch item {
                case .senderReport(let report) where peer.isPublisher:
                    self.took(report, peer: peer, arrival: arrival)
                    for block in report.blocks { self.took(block, peer: peer) }
                case .senderReport(let report): for block in report.blocks { self.took(block, peer: peer) }
                case .receiverReport(_, let blocks): for block in blocks { self.took(block, peer: peer) }
                case .nack(_, let media, let lost): self.took(nack: lost, media: media, peer: peer)
                case .pli: self.wantsKeyFrame(peer)
                case .fir: self.wantsKeyFrame(peer)
                default: break
                }
            }
        } catch {
            counters.malformed.bump()
        }
    }

    private func took(_ report: SenderReport, peer: Peer, arrival: Instant) {
        guard let stream = peer.stream else { return }
        for (i, track) in stream.tracks.enumerated() where track.ssrc == report.ssrc {
            track.statistics.receiveSenderReport(ntp: report.ntp, arrival: arrival)
            tookReport(
                track: i, ntp: report.ntp.rawValue, timestamp: report.rtpTimestamp, arrival: arrival, stream: stream)
        }
    }

    /// The publisher's clock at an RTP time of its own: kept, and told to workers and sinks.
    func tookReport(track index: Int, ntp: UInt64, timestamp: UInt32, arrival: Instant, stream: StreamState) {
        let track = stream.tracks[index]
        // Each goes to every worker with players of the stream.
        if let last = track.report, arrival - last.arrival < Self.minReportSpacing { return }
        let timestamp = timestamp &+ track.timestampOffset
        let isFirst = track.report == nil
        track.report = (ntp, timestamp, arrival)
        if isFirst { reportFirst(stream) }
        feedReport(track: index, ntp: ntp, timestamp: timestamp, arrival: arrival, of: stream)
        for worker in stream.subscribers {
            mailboxes[worker].post(
                .senderReport(stream: stream.id, track: index, ntp: ntp, timestamp: timestamp, arrival: arrival))
        }
    }

    private func took(_ block: ReportBlock, peer: Peer) {
        // Only what we send is reported on: the tracks of players.
        guard let entry = peer.trackOfSSRC.firstIndex(where: { $0.ssrc == block.ssrc }), let stream = peer.stream else {
            return
        }
        let track = stream.tracks[peer.trackOfSSRC[entry].track]
        peer.trackOfSSRC[entry].lost = max(0, block.cumulativeLost)
        // Falls slowly, so that the tracks of a player need not report together.
        let faded = peer.reportedLoss - min(peer.reportedLoss, max(1, peer.reportedLoss / 4))
        peer.reportedLoss = max(block.fractionLost, faded)
        peer.counters.packetsLost.set(peer.trackOfSSRC.reduce(0) { $0 + UInt64($1.lost) })
        peer.counters.jitterMicroseconds.set(UInt64(block.jitter) * 1_000_000 / UInt64(track.clockRate))
        // RFC 3550 §6.4.1: A - LSR - DLSR in units of 1/65536 s. Reports carry the publisher's clock moved on by our
        // own, so the sum is ours to undo: `reportClock` is what we would send now.
        guard block.lastSR != 0, let sent = reportClock(track) else { return }
        let units = Int64(Int32(bitPattern: sent &- block.lastSR &- block.delaySinceLastSR))
        guard units >= 0, units < 10 * 65_536 else { return }
        peer.took(roundTrip: .microseconds(units * 1_000_000 / 65_536))
    }

    private func reportClock(_ track: Track) -> UInt32? {
        guard let report = track.report else { return nil }
        let ntp = report.ntp &+ Self.ntpUnits(now - report.arrival)
        return UInt32(truncatingIfNeeded: ntp >> 16)
    }

    /// 32.32 fixed point seconds.
    private static func ntpUnits(_ interval: Interval) -> UInt64 {
        let ns = UInt64(max(0, interval.nanoseconds))
        // A shift binds closer than a division.
        return (ns / 1_000_000_000) << 32 | ((ns % 1_000_000_000) << 32) / 1_000_000_000
    }

    private func took(nack lost: [UInt16], media: UInt32, peer: Peer) {
        guard !peer.isPublisher, let stream = peer.stream,
            let entry = peer.trackOfSSRC.first(where: { $0.ssrc == media }),
            let lane = stream.lane(of: peer, track: entry.track)
        else { return }
        peer.counters.nacks.bump()
        for sequence in lost.prefix(Self.maxNackNumbers) {
            retransmit(sequence, lane: lane, track: stream.tracks[entry.track], peer: peer)
        }
    }

    private func wantsKeyFrame(_ peer: Peer) {
        guard !peer.isPublisher, let stream = peer.stream else { return }
        peer.counters.plis.bump()
        // A player of whom video is thinned cannot but miss pictures.
        if let video = stream.videoIndex, stream.lane(of: peer, track: video)?.pointee.isThinned == true {
            counters.keyFrameRequestsMerged.bump()
            return
        }
        if now - stream.lastKeyFrameRequest < keyFrameInterval { counters.keyFrameRequestsMerged.bump() }
        requestKeyFrame(stream)
    }

    // MARK: - Ticks

    /// Every 10 ms while there is anything to do so often: DTLS timers, packets to ask for, stored packets to send.
    func fastTick() {
        for peer in connecting {
            for transport in peer.transports {
                guard let dtls = transport.dtls, let deadline = dtls.deadline, deadline <= now else { continue }
                dtls.poll(now: now)
                drainDTLS(transport)
            }
        }
        for peer in publishers where peers[peer.id] != nil { feedback(to: peer) }
        continueCatchUp()
        continueSinks()
        beginWithKeys()
        let isBusy =
            !connecting.isEmpty || !beginning.isEmpty || !awaitingKeys.isEmpty || !catchingUp.isEmpty
            || !sinksCatchingUp.isEmpty
            || publishers.contains { Self.misses($0) }
        nextFastTick = now + (isBusy ? Self.fastInterval : Self.slowInterval)
        for peer in publishers where peer.wantsTransportFeedback { nextFastTick = min(nextFastTick, peer.nextFeedback) }
    }

    /// Whether packets of the publisher are missing.
    private static func misses(_ peer: Peer) -> Bool {
        peer.stream?.tracks.contains { $0.canNACK && $0.nack.missingCount > 0 } ?? false
    }

    /// Something has come up that cannot wait for the next slow tick.
    func hurry() { nextFastTick = min(nextFastTick, now + Self.fastInterval) }

    private func feedback(to peer: Peer) {
        guard let stream = peer.stream else { return }
        for (i, track) in stream.tracks.enumerated() {
            guard track.canNACK, let ssrc = track.ssrc else { continue }
            let due = track.nack.due(now: now, roundTrip: peer.roundTrip)
            if !due.isEmpty {
                var bytes: [UInt8] = []
                RTCPWriter.receiverReport(ssrc: peer.localSSRC, blocks: [], into: &bytes)
                RTCPWriter.nack(sender: peer.localSSRC, media: ssrc, lost: due, into: &bytes)
                peer.counters.nacks.bump()
                sendRTCP(bytes, on: transport(of: peer, track: i))
            }
            // Audio packets that are given up need no new picture.
            if track.nack.takeNeedsKeyFrame(), track.kind == .video { requestKeyFrame(stream) }
        }
        if now >= peer.nextFeedback {
            peer.nextFeedback = now + Self.feedbackInterval
            for transport in peer.transports where transport.transportCCID != 0 {
                let media = stream.tracks.lazy.compactMap(\.ssrc).first ?? 0
                var bytes: [UInt8] = []
                if transport.feedback.makeFeedback(senderSSRC: peer.localSSRC, mediaSSRC: media, into: &bytes) {
                    sendRTCP(bytes, on: transport)
                }
            }
        }
    }

    /// Every 100 ms: reports that are due, timeouts, old packets, key-frame requests not yet answered.
    func slowTick() {
        nextSlowTick = now + Self.slowInterval
        for stream in streams.values {
            for track in stream.tracks {
                track.ring.expire(now: now, keepingFrom: keptGroup(of: track))
                if let known = track.reportedSize, known != track.size, let publisher = stream.publisher {
                    reportSize(of: track, peer: publisher)
                }
            }
            for feed in stream.sinks { count(feed) }
            reviewKeyFrameRequest(stream)
        }
        for peer in publishers where peers[peer.id] != nil { review(peer) }
        // Of the rest a part each time.
        var left = (roster.count + Self.reviewParts - 1) / Self.reviewParts
        while left > 0, !roster.isEmpty {
            if nextReviewed >= roster.count { nextReviewed = 0 }
            let peer = roster[nextReviewed]
            nextReviewed += 1
            left -= 1
            if !peer.isPublisher || !peer.isConnected { review(peer) }
        }
        reviewOverload()
        counters.packetsSent.bump(egress.packetsSent &- reportedPackets)
        reportedPackets = egress.packetsSent
        counters.packetsDropped.bump(egress.packetsDropped &- reportedDrops)
        reportedDrops = egress.packetsDropped
        counters.sendMessages.bump(egress.messagesSent &- reportedMessages)
        reportedMessages = egress.messagesSent
        counters.sendRuns.bump(egress.runsSent.messages &- reportedRuns.messages)
        counters.packetsInRuns.bump(egress.runsSent.packets &- reportedRuns.packets)
        reportedRuns = egress.runsSent
        listenAgain()
        for connection in Array(connections.values)
        where !connection.isIdentified && now - connection.opened > TCPConnection.checkTimeout {
            refuse(connection)
        }
    }

    /// Ends a peer that has been silent for too long, and reports to one that has not been reported to for a while.
    private func review(_ peer: Peer) {
        if let reason = expiry(of: peer) {
            fail(peer, reason)
            return
        }
        guard peer.isConnected, now >= peer.nextReport else { return }
        peer.nextReport = now + Self.reportInterval
        if peer.source != nil {
            reviewSource(peer)
        } else if peer.isPublisher {
            reportToPublisher(peer)
        } else if peer.plain != nil {
            reportToPlain(peer)
        } else {
            reportToPlayer(peer)
        }
        publishCounters(of: peer)
    }

    func reportSize(of track: Track, peer: Peer) {
        track.reportedSize = track.size
        post(.videoSize(peer.id, track.size))
    }

    private func expiry(of peer: Peer) -> EngineFailure? {
        if peer.transports.contains(where: { $0.agent.isExpired(now: now) }) {
            return peer.isConnected ? .iceKeepAlive : .iceTimeout
        }
        // Who feeds a source knows better when it is at its end.
        if peer.isPublisher, peer.source == nil, peer.isConnected, now - peer.lastRTP > configuration.rtpTimeout {
            return .rtpActivity
        }
        // The control side ends players itself and says why; this is for those that it does not know of any more.
        if let orphaned = peer.orphaned, now - orphaned > Self.orphanGrace { return .error("the stream ended") }
        return nil
    }

    private func reportToPublisher(_ peer: Peer) {
        guard let stream = peer.stream else { return }
        var lost: UInt64 = 0
        for transport in peer.transports {
            var blocks: [ReportBlock] = []
            var video: [UInt32] = []
            for (i, track) in stream.tracks.enumerated() where self.transport(of: peer, track: i) === transport {
                guard let ssrc = track.ssrc, track.statistics.hasReceived else { continue }
                let block = track.statistics.reportBlock(ssrc: ssrc, now: now)
                blocks.append(block)
                lost += UInt64(max(0, block.cumulativeLost))
                peer.counters.jitterMicroseconds.set(UInt64(block.jitter) * 1_000_000 / UInt64(track.clockRate))
                if track.canREMB, !track.canTransportCC || transport.transportCCID == 0 { video.append(ssrc) }
            }
            var bytes: [UInt8] = []
            RTCPWriter.receiverReport(ssrc: peer.localSSRC, blocks: blocks, into: &bytes)
            RTCPWriter.sdesCNAME(ssrc: peer.localSSRC, cname: Self.cname, into: &bytes)
            if !video.isEmpty {
                let negotiated = peer.negotiation.tracks.compactMap(\.maxBitrate).max() ?? 0
                let bitrate = negotiated > 0 ? negotiated * 1000 : configuration.maxBitrate
                RTCPWriter.remb(
                    sender: peer.localSSRC, bitrate: UInt64(bitrate), ssrcs: video, into: &bytes)
            }
            sendRTCP(bytes, on: transport)
        }
        peer.counters.packetsLost.set(lost)
    }

    /// Sender reports on the publisher's clock, moved on to now: audio and video of a player stay in sync because
    /// both keep the publisher's own relation of wall clock and RTP time.
    private func reportToPlayer(_ peer: Peer) {
        guard let stream = peer.stream else { return }
        for transport in peer.transports {
            var bytes: [UInt8] = []
            for (i, track) in stream.tracks.enumerated() {
                guard let lane = stream.lane(of: peer, track: i), lane.pointee.isActive, lane.pointee.isStarted,
                    let report = senderReport(of: track, lane: lane),
                    let negotiated = peer.negotiation.tracks.first(where: { $0.sendSSRC == lane.pointee.ssrc }),
                    peer.transports[min(negotiated.transportIndex, peer.transports.count - 1)] === transport
                else { continue }
                RTCPWriter.senderReport(report, into: &bytes)
                RTCPWriter.sdesCNAME(ssrc: lane.pointee.ssrc, cname: Self.cname, into: &bytes)
            }
            if !bytes.isEmpty { sendRTCP(bytes, on: transport) }
        }
    }

    /// `nil`: the publisher has told nothing of its clock yet.
    func senderReport(of track: Track, lane: UnsafeMutablePointer<Lane>) -> SenderReport? {
        guard let report = track.report else { return nil }
        let elapsed = now - report.arrival
        let ticks = elapsed.nanoseconds / 1000 * Int64(track.clockRate) / 1_000_000
        return SenderReport(
            ssrc: lane.pointee.ssrc, ntp: NTPTime(rawValue: report.ntp &+ Self.ntpUnits(elapsed)),
            rtpTimestamp: report.timestamp &+ UInt32(truncatingIfNeeded: ticks),
            packetCount: UInt32(truncatingIfNeeded: lane.pointee.packetsSent),
            octetCount: UInt32(truncatingIfNeeded: lane.pointee.bytesSent), blocks: [])
    }

    /// Copies the lanes' counters to where anyone may read them.
    func publishCounters(of peer: Peer) {
        guard let stream = peer.stream, !peer.isPublisher, peer.position != nil else { return }
        var packets: UInt64 = 0
        var bytes: UInt64 = 0
        var again: UInt64 = 0
        var video: UInt64 = 0
        for i in stream.tracks.indices {
            guard let lane = stream.lane(of: peer, track: i) else { continue }
            if stream.tracks[i].kind == .video { video += lane.pointee.bytesSent }
            packets += lane.pointee.packetsSent
            bytes += lane.pointee.bytesSent
            again += lane.pointee.retransmitted
        }
        peer.counters.packetsSent.set(packets)
        peer.counters.bytesSent.set(bytes)
        peer.counters.videoBytesSent.set(video)
        peer.counters.packetsRetransmitted.set(again)
    }
}
