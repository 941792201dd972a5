import MediaFormats
import Wire

/// A frame whose time is still the publisher's.
struct AssembledFrame: Sendable {
    var frame: MediaFrame
    var timestamp: UInt32
    /// When its first packet came.
    var arrival: Instant
}

/// Packets of one track to frames: puts them in order, waits for missing ones as long as `AssemblerSettings` says, and
/// after a loss goes on at the next picture that can be decoded. A value without clock: time comes with the packets
/// and by `advance`. Takes what comes from the network; no input traps, everything kept is bounded.
struct FrameAssembler: Sendable {
    let track: Int
    let description: TrackDescription
    private let settings: AssemblerSettings

    private(set) var counts = AssemblyCounts()
    /// Frames that are ready; the caller takes them after each call.
    var ready: [AssembledFrame] = []
    /// Until when a missing packet is waited for.
    private(set) var deadline = Instant.distantFuture

    private var waiting = ReorderBuffer()
    private var received = RecentNumbers()
    /// Number of the packet that is due.
    private var expected: Int64?
    /// What is missing will not come: the next gap is a loss at once.
    private var gapIsFinal = false

    private var builder: PictureBuilder
    /// The picture that is being built: its timestamp and its first packet's arrival.
    private var current: (timestamp: UInt32, arrival: Instant)?
    private var lastFinished: UInt32?
    /// The publisher sets the marker within pictures, so that only the next timestamp ends one.
    private var markerIsUnreliable = false
    /// Something is missing that the next picture may need.
    private var needsKeyFrame: Bool
    private var layers = TemporalLayers()
    private var hasLost = false
    private var rotation = VideoRotation.none
    private var knownSets: [[UInt8]] = []
    private var aac: AACPackets?

    init(track: Int, description: TrackDescription, settings: AssemblerSettings) {
        self.track = track
        var description = description
        if description.codec == .aac, description.parameterSets.isEmpty {
            let configuration = AACPackets.configuration(formatParameters: description.formatParameters)
            if !configuration.isEmpty { description.parameterSets = [configuration] }
        }
        self.description = description
        self.settings = settings
        builder = PictureBuilder(description)
        needsKeyFrame = description.isVideo
        if description.codec == .aac { aac = AACPackets(formatParameters: description.formatParameters) }
    }

    /// Nothing can be given out before the next key frame.
    var wantsKeyFrame: Bool { needsKeyFrame && !layers.mayResume }

    // MARK: - Order

    mutating func handle(_ packet: MediaPacket, _ payload: RawSpan) {
        counts.packets += 1
        guard let due = expected else {
            expected = packet.number
            inOrder(packet, payload)
            return
        }
        let distance = packet.number.subtractingReportingOverflow(due)
        if distance.overflow || distance.partialValue.magnitude > UInt64(Self.maxJump) {
            // No gap of one stream is that wide: the source's numbers begin anew.
            resynchronise(at: packet.number)
            inOrder(packet, payload)
        } else if distance.partialValue < 0 {
            if received.contains(packet.number) { counts.duplicates += 1 } else { counts.late += 1 }
            received.insert(packet.number)
        } else if distance.partialValue == 0 {
            inOrder(packet, payload)
            takeWaiting()
        } else {
            ahead(packet, payload)
        }
        advance(now: packet.arrival)
    }

    /// Numbers further away from the due one are no loss but another numbering.
    private static let maxJump: Int64 = 20_000

    private mutating func ahead(_ packet: MediaPacket, _ payload: RawSpan) {
        guard waiting.insert(packet, payload) else {
            counts.duplicates += 1
            return
        }
        deadline = min(deadline, packet.arrival + settings.retransmissionWait)
        while waiting.count > settings.maxWaitingPackets || waiting.bytes > settings.maxWaitingBytes { giveUp() }
        if gapIsFinal { giveUp() }
    }

    /// Whatever is missing has been lost on our side and will not come.
    mutating func handleGap() {
        gapIsFinal = true
        if !waiting.isEmpty { giveUpAll() }
    }

    /// Lets waits run out.
    mutating func advance(now: Instant) {
        while deadline < .distantFuture, now >= deadline { giveUp() }
    }

    /// The stream is over: gives out what is whole.
    mutating func finish() {
        giveUpAll()
        finishPicture()
    }

    private mutating func giveUpAll() {
        while !waiting.isEmpty { giveUp() }
    }

    /// What is missing before the first waiting packet is lost.
    private mutating func giveUp() {
        guard let first = waiting.first, let due = expected else {
            deadline = .distantFuture
            return
        }
        lose(first.number - due)
        expected = first.number
        takeWaiting()
    }

    private mutating func resynchronise(at number: Int64) {
        giveUpAll()
        finishPicture()
        lose(0)
        layers.reset()
        received = RecentNumbers()
        expected = number
    }

    /// Takes the waiting packets that are due now, and sets the deadline for those that are not.
    private mutating func takeWaiting() {
        while let due = expected, let next = waiting.take(due) { inOrder(next.packet, unsafe next.payload.span.bytes) }
        deadline = waiting.first.map { $0.arrival + settings.retransmissionWait } ?? .distantFuture
    }

    private mutating func lose(_ packets: Int64) {
        counts.lost += packets
        hasLost = true
        guard description.isVideo else {
            aac?.lose()
            return
        }
        if current != nil || builder.hasPicture { counts.framesBroken += 1 }
        dropPicture()
        if packets > Self.maxResumableLoss { layers.reset() } else { layers.lose() }
        lastFinished = nil
        needsKeyFrame = true
    }

    /// The numbers of the lowest layer's pictures wrap after 256: no fewer packets than these.
    private static let maxResumableLoss: Int64 = 128

    private mutating func dropPicture() {
        builder.reset()
        current = nil
    }

    // MARK: - Pictures

    private mutating func inOrder(_ packet: MediaPacket, _ payload: RawSpan) {
        received.insert(packet.number)
        // Numbers are the caller's and at most some 2^48; one that is not must not trap.
        expected = packet.number &+ 1
        gapIsFinal = false
        if let orientation = packet.orientation { rotation = VideoRotation(orientation: orientation) }
        guard description.isVideo else { return sound(packet, payload) }
        if let current, current.timestamp != packet.timestamp { finishPicture() }
        guard !isPadding(payload) else {
            if packet.marker, current != nil, !markerIsUnreliable { finishPicture() }
            return
        }
        if current == nil {
            if lastFinished == packet.timestamp { markerIsUnreliable = true }
            guard begins(payload) else {
                if packet.marker { counts.framesUndecodable += 1 }
                return
            }
            current = (packet.timestamp, packet.arrival)
        }
        builder.append(payload)
        if packet.marker && !markerIsUnreliable { finishPicture() }
    }

    private func isPadding(_ payload: RawSpan) -> Bool {
        payload.byteCount == 0 || PayloadInspector.inspect(description.codec, payload).isEmpty
    }

    /// While a key frame is waited for, a picture is begun only where one may begin.
    private func begins(_ payload: RawSpan) -> Bool {
        guard needsKeyFrame else { return true }
        if layers.mayResume { return startsPicture(payload) }
        let facts = PayloadInspector.inspect(description.codec, payload)
        return facts.isKeyFrameStart && facts.isFrameStart || startsUnits(payload)
    }

    /// VP8 and VP9: the first packet of a picture, which may turn out to need nothing that is missing.
    private func startsPicture(_ payload: RawSpan) -> Bool {
        switch description.codec {
        case .vp8: VP8Descriptor(parsing: payload)?.startsFrame ?? false
        case .vp9: VP9Descriptor(parsing: payload).map { $0.startsFrame && $0.spatialLayer == 0 } ?? false
        default: false
        }
    }

    /// H264 and H265: what may come before the parameter sets of a key frame, and belongs to it.
    private func startsUnits(_ payload: RawSpan) -> Bool {
        switch description.codec {
        case .h264: payload[0] & 0x1f == 6 || payload[0] & 0x1f == 8 || payload[0] & 0x1f == 9
        case .h265: payload[0] >> 1 & 0x3f == 35 || payload[0] >> 1 & 0x3f == 34 || payload[0] >> 1 & 0x3f == 39
        default: false
        }
    }

    private mutating func finishPicture() {
        guard let begun = current else { return }
        guard builder.hasPicture || builder.isBroken || builder.fragmentIsOpen else {
            // Parameter sets with a marker or timestamp of their own: they belong to what follows.
            current = nil
            return
        }
        current = nil
        lastFinished = begun.timestamp
        guard let picture = builder.finish() else {
            counts.framesBroken += 1
            hasLost = true
            needsKeyFrame = true
            layers.lose()
            return
        }
        guard picture.isKeyFrame || canDecode(picture) else {
            counts.framesUndecodable += 1
            hasLost = true
            return
        }
        needsKeyFrame = false
        layers.give(picture.temporal, isKeyFrame: picture.isKeyFrame)
        var frame = MediaFrame(
            track: track, data: picture.data, time: .zero, isKeyFrame: picture.isKeyFrame,
            size: picture.isKeyFrame ? picture.size : nil, rotation: rotation)
        if picture.isKeyFrame, !picture.parameterSets.isEmpty, picture.parameterSets != knownSets {
            knownSets = picture.parameterSets
            frame.parameterSets = knownSets
        }
        give(frame, begun.timestamp, begun.arrival)
    }

    /// Whether a picture that is no key frame has all that it needs.
    private mutating func canDecode(_ picture: Picture) -> Bool {
        guard needsKeyFrame || layers.isIncomplete else { return true }
        if let place = picture.temporal, layers.canDecode(place) { return true }
        // Upper layers are left out until one can be joined; the lowest must be whole.
        let isUpper = picture.temporal.map { $0.layer > 0 } ?? false
        if !isUpper { needsKeyFrame = true }
        layers.refuse(picture.temporal)
        return false
    }

    // MARK: - Sound

    private mutating func sound(_ packet: MediaPacket, _ payload: RawSpan) {
        guard payload.byteCount > 0 else { return }
        let duration = AudioPackets.duration(description, payload)
        guard description.codec == .aac else {
            let frame = MediaFrame(track: track, data: payload.copied(), time: .zero, duration: duration)
            return give(frame, packet.timestamp, packet.arrival)
        }
        guard let units = aac?.units(payload, timestamp: packet.timestamp) else {
            counts.framesBroken += 1
            hasLost = true
            return
        }
        for unit in units {
            var frame = MediaFrame(track: track, data: unit.data, time: .zero, duration: duration)
            let configuration = description.parameterSets
            if knownSets.isEmpty, !configuration.isEmpty {
                knownSets = configuration
                frame.parameterSets = configuration
            }
            give(frame, unit.timestamp, packet.arrival)
        }
    }

    private mutating func give(_ frame: MediaFrame, _ timestamp: UInt32, _ arrival: Instant) {
        var frame = frame
        if hasLost && counts.frames > 0 { frame.flags.insert(.afterLoss) }
        hasLost = false
        counts.frames += 1
        ready.append(AssembledFrame(frame: frame, timestamp: timestamp, arrival: arrival))
    }

    mutating func countDiscontinuity() { counts.discontinuities += 1 }
}

/// Which of the last numbers have been received, to tell a duplicate from a packet that comes too late.
struct RecentNumbers: Sendable {
    private static let window: Int64 = 2_048
    private var bits = [UInt64](repeating: 0, count: Int(window) / 64)
    private var highest: Int64 = -1

    mutating func insert(_ number: Int64) {
        guard number >= 0 else { return }
        if number > highest {
            if highest < 0 || number - highest >= Self.window {
                for i in bits.indices { bits[i] = 0 }
            } else {
                for between in (highest + 1)...number { set(between, false) }
            }
            highest = number
        }
        if number > highest - Self.window { set(number, true) }
    }

    func contains(_ number: Int64) -> Bool {
        guard number >= 0, number <= highest, number > highest - Self.window else { return false }
        let place = Int(number % Self.window)
        return bits[place / 64] >> UInt64(place % 64) & 1 == 1
    }

    private mutating func set(_ number: Int64, _ value: Bool) {
        let place = Int(number % Self.window)
        let bit: UInt64 = 1 << UInt64(place % 64)
        if value { bits[place / 64] |= bit } else { bits[place / 64] &= ~bit }
    }
}
