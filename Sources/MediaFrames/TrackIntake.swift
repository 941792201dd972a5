import MediaFormats
import RTP
import Wire

/// Limits of taking in a publisher's packets.
package struct IntakeSettings: Sendable, Equatable {
    /// How long a missing packet is waited for after one behind it has come: as long as packets overtake each other on
    /// their way. Zero in a connection, where what is missing was never sent.
    package var reorderWait: Interval = .milliseconds(60)
    /// Packets and bytes that wait behind a missing one; then it is taken for lost.
    package var maxWaitingPackets = 512
    package var maxWaitingBytes = 4 << 20
    /// Longest payload that is given out.
    package var maxPayload = 1_400

    package init() {}

    /// For packets in a connection.
    package static var connection: IntakeSettings {
        var settings = IntakeSettings()
        settings.reorderWait = .zero
        return settings
    }
}

/// What has become of a track's packets.
package struct IntakeCounts: Sendable, Equatable {
    package var packets: UInt64 = 0
    /// No RTP.
    package var malformed: UInt64 = 0
    /// Of another payload type, or of another source.
    package var foreign: UInt64 = 0
    package var lost: UInt64 = 0
    /// Came twice, or after they had been given up.
    package var late: UInt64 = 0
    /// Too long for players, and not to be split.
    package var unsplittable: UInt64 = 0
    /// How often the source began anew.
    package var restarts: UInt64 = 0

    package init() {}
}

/// RTP packets of one track as a publisher or a camera sends them (RFC 3550) to payloads that players can be given: in
/// order, short enough, numbered without wraps, key frames of H264 and H265 with their parameter sets.
///
/// A value without clock: time comes with the packets. Bytes are hostile; nothing traps, all that is kept is bounded.
package struct TrackIntake: Sendable {
    /// Steps of sequence numbers that are no loss (RFC 3550 §A.1).
    private static let maxDropout = 3_000
    /// So many packets of another source, or of other numbers, in a row are a new start.
    private static let probation = 3

    package private(set) var description: TrackDescription
    package private(set) var counts = IntakeCounts()
    package private(set) var statistics = ReceiverStatistics()
    package private(set) var order: PictureOrder
    /// The source that is heard.
    package private(set) var ssrc: UInt32?

    private let settings: IntakeSettings
    private var splitter: PayloadSplitter
    private var sets: ParameterSets
    /// Of the picture that had its parameter sets last.
    private var setsTimestamp: UInt32?
    private var waiting = ReorderBuffer()
    private var deadline = Instant.distantFuture
    private var unwrapper = SequenceUnwrapper()
    /// Number of the packet that is due, as the source counts.
    private var expected: Int64?
    /// Number of the next payload, as we count: above zero, so that nobody sees a number before the first.
    private var next: Int64 = 1 << 16
    /// What may turn out to be a new start: its source, its next number, and how many have come in a row.
    private var candidate: (ssrc: UInt32, next: UInt16, count: Int)?

    package init(_ track: TrackDescription, settings: IntakeSettings = IntakeSettings()) {
        description = track
        self.settings = settings
        splitter = PayloadSplitter(track, limit: settings.maxPayload)
        order = PictureOrder(track)
        sets = Self.sets(of: track)
    }

    private static func sets(of track: TrackDescription) -> ParameterSets {
        let hasSets = track.codec == .h264 || track.codec == .h265
        return ParameterSets(codec: track.codec, known: hasSets ? track.parameterSets : [])
    }

    /// The parameter sets that the next key frame needs, those that came with the pictures included.
    package var parameterSets: [[UInt8]] { sets.units }

    // MARK: - Inputs

    /// Takes a packet of the track.
    ///
    /// - Parameter output: given what is to be sent.
    package mutating func receive(_ packet: RawSpan, arrival: Instant, to output: (Output, RawSpan) -> Void) {
        counts.packets &+= 1
        guard let header = try? RTPHeader(parsing: packet) else {
            counts.malformed &+= 1
            return
        }
        guard header.payloadType == description.payloadType else {
            counts.foreign &+= 1
            return
        }
        guard let number = number(of: header, to: output) else { return }
        statistics.receive(
            sequence: header.sequence, timestamp: header.timestamp, arrival: arrival, clockRate: description.clockRate)
        let media = MediaPacket(
            track: 0, number: number, timestamp: header.timestamp, marker: header.marker, arrival: arrival)
        let payload = packet.extracting(header.headerLength..<(header.headerLength + header.payloadLength))
        let due = expected ?? number
        if number == due {
            inOrder(media, payload, to: output)
            takeWaiting(to: output)
        } else if number < due {
            counts.late &+= 1
        } else {
            guard waiting.insert(media, payload) else {
                counts.late &+= 1
                return
            }
            deadline = min(deadline, arrival + settings.reorderWait)
        }
        advance(now: arrival, to: output)
    }

    /// Lets waits for missing packets run out.
    package mutating func advance(now: Instant, to output: (Output, RawSpan) -> Void) {
        while !waiting.isEmpty,
            now >= deadline || waiting.count > settings.maxWaitingPackets || waiting.bytes > settings.maxWaitingBytes
        {
            giveUp(to: output)
        }
    }

    /// The publisher is gone: gives out what waits.
    package mutating func finish(to output: (Output, RawSpan) -> Void) {
        while !waiting.isEmpty { giveUp(to: output) }
    }

    /// The publisher, or a camera, is connected anew: its numbers, times and source have nothing to do with those before.
    ///
    /// - Parameter track: how it describes the track now; of the same codec and clock rate.
    package mutating func restart(_ track: TrackDescription, to output: (Output, RawSpan) -> Void) {
        finish(to: output)
        description = track
        splitter = PayloadSplitter(track, limit: settings.maxPayload)
        // Those of the description come first; what came with pictures may be of another resolution.
        sets = Self.sets(of: track)
        begin(nil)
    }

    /// Takes note of a sender report, which has been passed on.
    package mutating func note(report ntp: NTPTime, arrival: Instant) {
        statistics.receiveSenderReport(ntp: ntp, arrival: arrival)
    }

    /// What is reported to the source of what we received; nil before its first packet.
    package mutating func reportBlock(now: Instant) -> ReportBlock? {
        guard let ssrc, statistics.hasReceived else { return nil }
        return statistics.reportBlock(ssrc: ssrc, now: now)
    }

    // MARK: - Output

    /// One payload for players; its bytes go beside it.
    package struct Output: Sendable, Equatable, BitwiseCopyable {
        /// Extended; a gap is a loss.
        package var number: Int64
        package var timestamp: UInt32
        package var marker: Bool
        package var arrival: Instant
        /// The times from here on have nothing to do with those before.
        package var restarts = false
    }

    /// Times begin anew with what is given out next.
    private var restarts = false

    private mutating func give(
        _ timestamp: UInt32, _ marker: Bool, _ arrival: Instant, _ payload: RawSpan,
        to output: (Output, RawSpan) -> Void
    ) {
        output(
            Output(number: next, timestamp: timestamp, marker: marker, arrival: arrival, restarts: restarts), payload)
        next += 1
        restarts = false
    }

    // MARK: - Numbers

    /// The packet's extended number; nil if it is not to be heard.
    private mutating func number(of header: RTPHeader, to output: (Output, RawSpan) -> Void) -> Int64? {
        guard let ssrc else {
            begin(header.ssrc)
            return unwrapper.unwrap(header.sequence)
        }
        let isOther = header.ssrc != ssrc
        let step = unwrapper.peek(header.sequence) - unwrapper.highest
        // A source that begins anew without a word may do so with numbers that it has used not long ago.
        let isStrange = isOther || step >= Self.maxDropout || step < -Int64(settings.maxWaitingPackets)
        guard isStrange else {
            candidate = nil
            return unwrapper.unwrap(header.sequence)
        }
        let count = candidate.map { $0.ssrc == header.ssrc && $0.next == header.sequence ? $0.count + 1 : 1 } ?? 1
        candidate = (header.ssrc, header.sequence &+ 1, count)
        // In a connection nobody else can send.
        guard count >= Self.probation || settings.reorderWait == .zero else {
            counts.foreign &+= 1
            return nil
        }
        finish(to: output)
        if isOther {
            begin(header.ssrc)
        } else {
            // Its times go on.
            expected = nil
            unwrapper = SequenceUnwrapper()
            splitter.lose()
            next += 1
        }
        counts.restarts &+= 1
        return unwrapper.unwrap(header.sequence)
    }

    private mutating func begin(_ source: UInt32?) {
        restarts = restarts || ssrc != nil
        ssrc = source
        candidate = nil
        expected = nil
        unwrapper = SequenceUnwrapper()
        statistics = ReceiverStatistics()
        splitter.lose()
        order.restart()
        setsTimestamp = nil
        // Whoever puts frames together must not join what was before with what follows.
        if restarts { next += 1 }
    }

    // MARK: - Order

    private mutating func takeWaiting(to output: (Output, RawSpan) -> Void) {
        while let due = expected, let ready = waiting.take(due) {
            inOrder(ready.packet, unsafe ready.payload.span.bytes, to: output)
        }
        deadline = waiting.first.map { $0.arrival + settings.reorderWait } ?? .distantFuture
    }

    /// What is missing before the first waiting packet is lost.
    private mutating func giveUp(to output: (Output, RawSpan) -> Void) {
        guard let first = waiting.first else {
            deadline = .distantFuture
            return
        }
        let missing = max(0, first.number - (expected ?? first.number))
        counts.lost &+= UInt64(missing)
        next += missing
        if missing > 0 { splitter.lose() }
        expected = first.number
        takeWaiting(to: output)
    }

    // MARK: - Payloads

    private mutating func inOrder(_ packet: MediaPacket, _ payload: RawSpan, to output: (Output, RawSpan) -> Void) {
        expected = packet.number + 1
        // Padding alone: its number is closed up.
        guard payload.byteCount > 0 else { return }
        order.look(at: payload, timestamp: packet.timestamp)
        insertParameterSets(before: payload, packet, to: output)
        let (arrival, before) = (packet.arrival, next)
        // In variables of its own: the splitter is a part of what `give` would change.
        var (next, restarts) = (next, restarts)
        let isWhole = splitter.split(payload, timestamp: packet.timestamp, marker: packet.marker) { piece, bytes in
            output(
                Output(
                    number: next, timestamp: piece.timestamp, marker: piece.marker, arrival: arrival,
                    restarts: restarts), bytes)
            next += 1
            restarts = false
        }
        (self.next, self.restarts) = (next, restarts)
        guard !isWhole else { return }
        counts.unsplittable &+= 1
        // Something is missing, for whoever puts frames together.
        if self.next == before { self.next += 1 }
    }

    /// A key frame without its parameter sets gets those that are known, in packets of their own before it.
    private mutating func insertParameterSets(
        before payload: RawSpan, _ packet: MediaPacket, to output: (Output, RawSpan) -> Void
    ) {
        guard description.codec == .h264 || description.codec == .h265 else { return }
        collect(payload)
        guard setsTimestamp != packet.timestamp else { return }
        let facts = PayloadInspector.inspect(description.codec, payload)
        if facts.hasParameterSets {
            setsTimestamp = packet.timestamp
        } else if facts.isKeyFrameStart {
            setsTimestamp = packet.timestamp
            for set in sets.units where set.count <= settings.maxPayload {
                give(packet.timestamp, false, packet.arrival, unsafe set.span.bytes, to: output)
            }
        }
    }

    /// Keeps the parameter sets that go by whole: encoders that send them once, at their beginning, are known.
    private mutating func collect(_ payload: RawSpan) {
        let isH265 = description.codec == .h265
        guard payload.byteCount > 2 else { return }
        let type = isH265 ? payload[0] >> 1 & 0x3f : payload[0] & 0x1f
        guard type == (isH265 ? 48 : 24) else {
            if NALUnits.kind(description.codec, payload[0]).isParameterSet { sets.insert(payload) }
            return
        }
        var at = isH265 ? 2 : 1
        while at + 2 < payload.byteCount {
            let length = Int(payload.loadBigEndian(at: at, as: UInt16.self))
            guard length > 2, at + 2 + length <= payload.byteCount else { return }
            let unit = payload.extracting((at + 2)..<(at + 2 + length))
            if NALUnits.kind(description.codec, unit[0]).isParameterSet { sets.insert(unit) }
            at += 2 + length
        }
    }
}
