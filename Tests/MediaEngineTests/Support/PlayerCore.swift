import ICE
import RTP
import Wire

/// One track as a player receives it: numbers without gaps, every number with one payload only.
struct ReceivedTrack {
    struct Packet {
        var payload: [UInt8]
        var timestamp: UInt32
        var marker: Bool
        var part: TestPart?
        var at: Instant
        var isRetransmission: Bool
        /// Place in the order of arrival.
        var order: Int
    }
    struct Missing {
        var since: Instant
        var next: Instant
        var tries: Int
    }

    private(set) var packets: [Int64: Packet] = [:]
    private(set) var first: Int64?
    private(set) var highest: Int64 = -1
    /// Rules broken, in words; a test expects none.
    private(set) var violations: [String] = []
    private(set) var duplicates = 0
    var missing: [Int64: Missing] = [:]
    private(set) var everMissing = 0
    private var unwrapper = SequenceUnwrapper()
    private var numberOfPart: [TestPart: Int64] = [:]

    mutating func receive(
        sequence: UInt16, timestamp: UInt32, marker: Bool, payload: [UInt8], part: TestPart?, isRetransmission: Bool,
        now: Instant
    ) {
        if first == nil, isRetransmission { return }
        let number = isRetransmission ? unwrapper.peek(sequence) : unwrapper.unwrap(sequence)
        if let known = packets[number] {
            duplicates += 1
            if known.payload != payload || known.timestamp != timestamp || known.marker != marker {
                violations.append("two different packets under number \(number)")
            }
            return
        }
        if let part {
            if let other = numberOfPart[part] {
                violations.append("frame \(part.frame) part \(part.part) under numbers \(other) and \(number)")
            }
            numberOfPart[part] = number
        } else if !payload.isEmpty, !TestMedia.isParameterSet(payload) {
            violations.append("payload under number \(number) is damaged")
        }
        if let first, number < first { violations.append("number \(number) lies before the first, \(first)") }
        if isRetransmission, missing[number] == nil, number > highest {
            violations.append("retransmission of \(number), which was never sent")
        }
        if first == nil { first = number }
        if number > highest {
            if highest >= 0, number > highest + 1 {
                for lost in (highest + 1)..<number {
                    missing[lost] = Missing(since: now, next: now + .milliseconds(10), tries: 0)
                    everMissing += 1
                }
            }
            highest = number
        }
        missing[number] = nil
        packets[number] = Packet(
            payload: payload, timestamp: timestamp, marker: marker, part: part, at: now,
            isRetransmission: isRetransmission, order: packets.count)
    }

    /// In the order of their numbers.
    var ordered: [Packet] { packets.keys.sorted().compactMap { packets[$0] } }
    /// Numbers between first and highest that have not come.
    var holes: Int { first.map { Int(highest - $0) + 1 - packets.count } ?? 0 }
    /// Pictures of which every part is here, each once, in order of their numbers.
    var wholeFrames: [UInt32] {
        var parts: [UInt32: Int] = [:]
        var out: [UInt32] = []
        for part in ordered.compactMap(\.part) {
            parts[part.frame, default: 0] += 1
            if parts[part.frame] == Int(part.parts) { out.append(part.frame) }
        }
        return out
    }
}

/// A player: checks everything it receives, asks for what is missing, reports.
final class PlayerCore: PeerCore {
    private static let reportInterval = Interval.milliseconds(1000)
    private static let nackRetry = Interval.milliseconds(40)
    private static let maxTries = 10
    private static let patience = Interval.milliseconds(1000)
    private static let pliInterval = Interval.milliseconds(300)

    let videoSSRC: UInt32
    let rtxSSRC: UInt32
    let audioSSRC: UInt32
    /// Without: lost packets are asked for and come again as they were.
    let takesRTX: Bool
    var sendsNACK = true
    private(set) var video = ReceivedTrack()
    private(set) var audio = ReceivedTrack()
    private(set) var reports: [(at: Instant, report: SenderReport)] = []
    private(set) var transportSequences: [UInt16] = []
    /// Packets that came with RTP padding.
    private(set) var padded = 0
    private(set) var unknownSources = 0
    private(set) var nackedNumbers = 0
    private(set) var plisSent = 0
    private(set) var abandoned = 0
    private var lastPLI = Instant(nanoseconds: .min / 2)
    private var nextReport = Instant.zero
    private var statistics: [UInt32: ReceiverStatistics] = [:]

    init(
        id: UInt64, address: SocketAddress, local: ICECredentials, remote: ICECredentials, security: TestSecurity,
        ssrc: UInt32, takesRTX: Bool
    ) throws {
        videoSSRC = ssrc
        rtxSSRC = ssrc + 1
        audioSSRC = ssrc + 2
        self.takesRTX = takesRTX
        try super.init(id: id, address: address, local: local, remote: remote, security: security)
    }

    override func connected(now: Instant) { nextReport = now + Self.reportInterval }

    override func receive(rtp packet: [UInt8], now: Instant) {
        guard let header = try? RTPHeader(parsing: packet.span.bytes) else { return }
        if header.paddingLength > 0 { padded += 1 }
        let end = header.headerLength + header.payloadLength
        let payload = Array(packet[header.headerLength..<end])
        if let (offset, length) = RTPExtensions.find(
            id: TestIDs.transportExtension, in: packet.span.bytes, header: header), length == 2
        {
            transportSequences.append(packet.span.bytes.loadBigEndian(at: offset))
        }
        let clock = header.ssrc == audioSSRC ? TestIDs.audioClock : TestIDs.videoClock
        switch header.ssrc {
        case videoSSRC:
            video.receive(
                sequence: header.sequence, timestamp: header.timestamp, marker: header.marker, payload: payload,
                part: TestMedia.readVideo(payload), isRetransmission: false, now: now)
        case rtxSSRC where payload.count >= 2:
            let original = Array(payload.dropFirst(2))
            video.receive(
                sequence: payload.span.bytes.loadBigEndian(at: 0), timestamp: header.timestamp, marker: header.marker,
                payload: original, part: TestMedia.readVideo(original), isRetransmission: true, now: now)
            return
        case audioSSRC:
            audio.receive(
                sequence: header.sequence, timestamp: header.timestamp, marker: header.marker, payload: payload,
                part: TestMedia.readAudio(payload), isRetransmission: false, now: now)
        default:
            unknownSources += 1
            return
        }
        statistics[header.ssrc, default: ReceiverStatistics()].receive(
            sequence: header.sequence, timestamp: header.timestamp, arrival: now, clockRate: clock)
    }

    override func receive(rtcp packet: RTCPPacket, now: Instant) {
        guard case .senderReport(let report) = packet else { return }
        reports.append((now, report))
        statistics[report.ssrc]?.receiveSenderReport(ntp: report.ntp, arrival: now)
    }

    override func tick(now: Instant) {
        if sendsNACK { askForMissing(now: now) }
        guard now >= nextReport else { return }
        nextReport = now + Self.reportInterval
        var blocks: [ReportBlock] = []
        for ssrc in [videoSSRC, audioSSRC] where statistics[ssrc] != nil {
            if let block = statistics[ssrc]?.reportBlock(ssrc: ssrc, now: now) { blocks.append(block) }
        }
        var bytes: [UInt8] = []
        RTCPWriter.receiverReport(ssrc: 1, blocks: blocks, into: &bytes)
        send(rtcp: bytes)
    }

    private func askForMissing(now: Instant) {
        var due: [UInt16] = []
        for number in video.missing.keys.sorted() {
            guard var item = video.missing[number] else { continue }
            if now - item.since >= Self.patience || item.tries >= Self.maxTries && item.next <= now {
                video.missing[number] = nil
                abandoned += 1
                sendPLI(now: now)
                continue
            }
            guard item.next <= now else { continue }
            item.tries += 1
            item.next = now + Self.nackRetry
            video.missing[number] = item
            due.append(UInt16(truncatingIfNeeded: number))
        }
        if !due.isEmpty { sendNACK(due) }
    }

    func sendNACK(_ lost: [UInt16]) {
        nackedNumbers += lost.count
        var bytes: [UInt8] = []
        // Reduced size (RFC 5506): no report before it.
        RTCPWriter.nack(sender: 1, media: videoSSRC, lost: lost, into: &bytes)
        send(rtcp: bytes)
    }

    func sendPLI(now: Instant, evenIfRecent: Bool = false) {
        guard evenIfRecent || now - lastPLI >= Self.pliInterval else { return }
        lastPLI = now
        plisSent += 1
        var bytes: [UInt8] = []
        RTCPWriter.pli(sender: 1, media: videoSSRC, into: &bytes)
        send(rtcp: bytes)
    }
}
